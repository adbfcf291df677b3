"""A JSON value taken apart into the strings that are scanned, and what its keys say of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.errors import UsageError
from mpp_exec.privacy import embedded, grids, labels, meter, places, rules, secret_names
from mpp_exec.privacy.detect import BETWEEN, candidates_in, detect
from mpp_exec.privacy.finding import Candidate, Finding
from mpp_exec.privacy.keys import is_pair, option_of
from mpp_exec.privacy.leaf import AWS, Leaf
from mpp_exec.privacy.naming import SILENT, Naming
from mpp_exec.privacy.numerals import SMALL, check_depth, digits
from mpp_exec.privacy.writing import Explain, Writer

if TYPE_CHECKING:
    from mpp_exec.privacy.literals import Literals
    from mpp_exec.privacy.patterns import Patterns
    from mpp_exec.privacy.second_opinion import SecondOpinion

# How many strings of a value may stand between an AWS access key ID and its secret.
_NEAR_ID: Final = 6


class Document:
    """A value, and of its strings, numbers and distinct keys those that anything may be found in.

    Args:
        value: a string, or any JSON value.
        every_number: take in numbers too that are too small for anything that a detector finds.

    Attributes:
        naming: its keys.

    Raises:
        UsageError: ``privacy.not_json`` or ``privacy.too_deep``.
    """

    def __init__(self, value: Any, *, every_number: bool) -> None:
        self._value = value
        self._every_number = every_number
        # JSON keys under which a private key block is open: a file is often an array of its lines, or
        # of objects that hold one line each.
        self._open: set[str] = set()
        # Every string and number in document order, and the key above each.
        self._texts: list[str] = []
        self._above: list[str] = []
        self.naming = Naming()
        self._strings: dict[int, Leaf] = {}
        if isinstance(value, str):
            self._texts.append(value)
            self._above.append("")
            self._leaf(0)
        else:
            self._read(value, "", "", 0)
            if self._texts:
                self._search()
        for leaf in (*self.naming.odd.values(), *self._strings.values()):
            if leaf.anchored:
                leaf.candidates += detect(leaf.text, leaf.key)
                meter.add(len(leaf.candidates))
        for number, text in enumerate(self._texts):
            if _has_brackets(text):
                self._read_text(number, text)
        self._find_aws_pairs()

    def _read_text(self, number: int, text: str) -> None:
        """Take in what the keys of JSON say that a string holds."""
        leaf = self._strings.get(number)
        found = leaf.candidates if leaf else []
        keys = Keys()
        said = embedded.announced(text, found, keys, is_counted)
        if said is not found:
            self._leaf(number).candidates = said
        if more := list(embedded.escaped(text, keys, is_counted)):
            self._leaf(number).candidates += more

    def _find_aws_pairs(self) -> None:
        """Take in AWS secret access keys, which have no form of their own, a few strings from their ID."""
        ids = [number for number, leaf in self._strings.items() if rules.is_aws_key_id(leaf.candidates)]
        for number in ids:
            for beside in range(max(0, number - _NEAR_ID), min(len(self._texts), number + _NEAR_ID + 1)):
                meter.step()
                if beside != number and (found := rules.aws_secret_beside(self._texts[beside])):
                    self._leaf(beside).candidates.append(found)

    def _search(self) -> None:
        """Mark the strings that the detectors may find something in, and take in what keys announce."""
        joined = BETWEEN.join(self._texts)
        if "PRIVATE KEY" in joined:
            self._read_key_lines()
        # What only its key gives away is not searched, and what no key announces is.
        for leaf in self._strings.values():
            leaf.candidates = leaf.announced(leaf.text)
        for number in candidates_in(self._texts, joined):
            self._leaf(number).anchored = True

    @property
    def keys(self) -> Collection[Leaf]:
        """Every distinct key that something may be found in."""
        return self.naming.odd.values()

    @property
    def strings(self) -> Collection[Leaf]:
        """Every string and number that something may be found in."""
        return self._strings.values()

    def read_more(self, value: Any) -> tuple[list[str], dict[int, Leaf]]:
        """Read another value, of which only what keys announce is taken in.

        Return its strings and numbers, and by their number in it those that keys announce.

        Raises:
            UsageError: ``privacy.too_deep``.
        """
        self._texts, self._above = [], []
        self._strings.clear()
        self._read(value, "", "", 0)
        return self._texts, {number: leaf for number, leaf in self._strings.items() if leaf.label}

    def find_patterns(self, patterns: Patterns | SecondOpinion) -> None:
        """Look for what *patterns* find, in every string, number and key."""
        for name in self.naming.known:
            if (found := patterns.find(name)) and name not in self.naming.odd:
                self.naming.odd[name] = Leaf(name, "")
            if found:
                self.naming.odd[name].candidates += found
        for number, text in enumerate(self._texts):
            if found := patterns.find(text):
                self._leaf(number).candidates += found

    def find_known(self, literals: Literals) -> None:
        """Take in what *literals* stand in, too."""
        names = [name for name in self.naming.known if name not in self.naming.odd]
        for number in literals.found_in(names):
            self.naming.odd[names[number]] = Leaf(names[number], "")
        for number in literals.found_in(self._texts):
            self._leaf(number)

    def put_under_written_keys(self) -> Iterator[Leaf]:
        """Read again, and yield, the strings below keys that are written otherwise than they were read.

        A reader of what is written has no other context, so neither must the last word on it.
        """
        written = {leaf.text: leaf.written for leaf in self.naming.odd.values() if leaf.written is not None}
        for number, above in enumerate(self._above):
            if above in written:
                leaf = self._leaf(number)
                leaf.key = written[above]
                leaf.label = places.settled([labels.announced(leaf.key)])[0] or leaf.label
                leaf.candidates += leaf.scan(leaf.text)
                yield leaf

    def written(self, explain: Explain | None = None) -> tuple[Any, tuple[Finding, ...]]:
        """Return the value with what became of its strings, and all findings in document order.

        *explain* says why one counts (``writing.Explain``).
        """
        writer = Writer(self._strings, self.naming.odd, every_number=self._every_number)
        writer.explain = explain
        writer.plain = isinstance(self._value, str)
        value = writer.write(self._value)
        return value, tuple(writer.findings)

    def _leaf(self, number: int) -> Leaf:
        """Return the string of a number, which something may be found in."""
        leaf = self._strings.get(number)
        if leaf is None:
            leaf = self._strings[number] = Leaf(self._texts[number], self._above[number])
            leaf.anchored = True
        return leaf

    def _read(self, value: Any, key: str, label: str, depth: int) -> None:
        if isinstance(value, dict):
            self._read_object(value, key, label, depth)
        elif isinstance(value, list):
            self._read_list(value, key, label, depth)
        else:
            text = value if isinstance(value, str) else digits(value, every_number=self._every_number)
            if text is not None:
                if label and label not in SILENT:
                    self._strings[len(self._texts)] = Leaf(text, key, label)
                self._texts.append(text)
                self._above.append(key)

    def _read_object(self, value: dict[str, Any], key: str, label: str, depth: int) -> None:
        check_depth(depth)
        names, naming = tuple(value), self.naming
        try:
            below = naming.labels[names] if not label else naming.nested[label, not key, names]
        except (KeyError, TypeError):  # met for the first time, or what is no key hashes to nothing
            below = naming.below(names, key, label)
        if naming.pairs and names in naming.pairs:
            names, below = naming.named(value, names, below)
        if label == "secret" or "kind" in value or "sensitive" in value:
            names, below = naming.declared(value, names, below, key if label == "secret" else "")
        texts, above = self._texts, self._above
        for name, item, announced in zip(names, value.values(), below, strict=True):
            # Most values are strings without a label, or small numbers.
            if type(item) is str:
                if announced and announced not in SILENT:
                    self._strings[len(texts)] = Leaf(item, name, announced)
                texts.append(item)
                above.append(name)
            elif type(item) is list and item and type(item[0]) is list:
                self._read_rows(item, grids.named_beside(value.items(), item), (name, announced), depth + 1)
            elif type(item) is not int or self._every_number or not -SMALL < item < SMALL:
                self._read(item, name, announced, depth + 1)

    def _read_rows(self, rows: list[Any], names: Sequence[str], under: tuple[str, str], depth: int) -> None:
        """Read a list of lists, those of a table as objects with the *names* of its columns as keys."""
        key, label = under
        body = iter(rows)
        if not names and (names := grids.named_above(rows)):
            self._read(next(body), key, label, depth + 1)
        for row in body:
            is_row = names and grids.is_row(row, names)
            self._read(dict(zip(names, row, strict=True)) if is_row else row, key, label, depth + 1)

    def _read_list(
        self, value: list[Any], key: str, label: str, depth: int, beside: Iterable[tuple[str, Any]] = ()
    ) -> None:
        check_depth(depth)
        if value and type(value[0]) is list:
            self._read_rows(value, grids.named_beside(beside, value), (key, label), depth)
            return
        if len(value) == 2 and not label and is_pair(value):
            name, secret = value
            self._read(name, key, label, depth + 1)
            self._read(secret, name, "secret" if secret_names.strength(name) else AWS, depth + 1)
            return
        option = ""
        for item in value:
            if option and isinstance(item, str) and not item.startswith("--"):
                self._read(item, option, "secret", depth + 1)
                option = ""
                continue
            self._read(item, key, label, depth + 1)
            option = option_of(item) if not label and type(item) is str and item[:1] == "-" else ""

    def _read_key_lines(self) -> None:
        """Take in the strings that go on with a private key that one before them has begun."""
        for number, (text, key) in enumerate(zip(self._texts, self._above, strict=True)):
            after_key = key in self._open
            if after_key:
                self._leaf(number).after_key = True
            if rules.opens_private_key(text):
                self._open.add(key)
            elif after_key:
                continues = rules.continues_private_key(text)
                if continues is False or (continues and "PRIVATE KEY" in text):
                    self._open.discard(key)


_SILENCE: Final = embedded.Said(None, {})
# How many levels of JSON in the strings of JSON are read by their keys.
_INSIDE: Final = 3


class Keys:
    """Says what the keys of JSON values announce (``embedded.Read``), of one after the other.

    So do those of JSON in their strings, as many levels down as *inside* says.
    """

    def __init__(self, inside: int = _INSIDE) -> None:
        self._document = Document([], every_number=False)
        self._inside = inside

    def __call__(self, value: Any) -> embedded.Said:
        """Return what the keys of *value* announce; of one that is nested too deep nothing."""
        if type(value) is dict and self._document.naming.is_silent(value) and not self._holds_text(value):
            return _SILENCE
        try:
            texts, strings = self._document.read_more(value)
        except UsageError:
            return embedded.Said(-1, {})
        below = {number: (leaf.text, leaf.key, leaf.announced(leaf.text)) for number, leaf in strings.items()}
        for number, text in enumerate(texts) if self._inside else ():
            if _has_brackets(text) and (
                more := embedded.announced(text, [], Keys(self._inside - 1), is_counted)
            ):
                _, key, found = below.get(number, (text, "", []))
                below[number] = text, key, found + more
        return embedded.Said(len(texts), below)

    def _holds_text(self, value: dict[str, Any]) -> bool:
        """Tell whether a string of *value* may hold JSON that is read."""
        return self._inside > 0 and any(type(each) is str and _has_brackets(each) for each in value.values())


def _has_brackets(text: str) -> bool:
    return "{" in text or "[" in text


def without_quiet(text: str, found: list[Candidate]) -> list[Candidate]:
    """Return *found* less the names and addresses that no key of JSON in *text* makes one."""
    if not any(map(embedded.is_quiet, found)):
        return found
    quiet = embedded.quiet(text, Keys(), is_counted)
    return [
        each
        for each in found
        if not (embedded.is_quiet(each) and each.start in quiet and not embedded.is_mailbox(text, each))
    ]


def keys_in_text(text: str) -> embedded.KeysAbove:
    """Return what tells the keys of JSON in *text* that announce what is found in it."""
    return embedded.KeysAbove(text, Keys(), is_counted)


def is_counted(number: Any) -> bool:
    """Tell whether a number of a value is one of its strings and numbers, or too small."""
    return digits(number, every_number=False) is not None

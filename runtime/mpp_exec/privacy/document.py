"""A JSON value taken apart into the strings that are scanned, and put together again."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any, Final

from mpp_exec.errors import UsageError
from mpp_exec.privacy import labelled, labels, meter, rules
from mpp_exec.privacy.detect import Prepared, detect, prepare
from mpp_exec.privacy.finding import Candidate, Finding

MAX_DEPTH: Final = 128
# Numbers below this have fewer digits than any value that is looked for.
_SMALL: Final = 10**5
# No number with a fraction holds a value before its point but a card's, from here on.
_AS_LONG_AS_A_CARD: Final = 10**11
_PARTS_OF_NAMES: Final = frozenset(("first", "last", "middle", "given", "family", "full"))
# What a label says about all that is nested below it: ``"phone": {"home": …}``.
_NESTED: Final = frozenset(("phone", "ssn", "passport", "drivers_license", "bank_account", "address"))


class Leaf:
    """One string, key or number of a value: as read, and what became of it.

    Attributes:
        text: the string, or the digits of the number.
        key: nearest JSON key above it, "" if there is none.
        label: kind that the keys above it announce, "" if none.
        after_key: a private key block is open in front of it.
        candidates: what the detectors found.
        spans: what counts as found, in order, once that is settled.
        written: the string with its spans replaced, None where it stays as it is.
    """

    __slots__ = ("after_key", "candidates", "key", "label", "spans", "text", "written")

    def __init__(self, text: str, key: str, label: str = "", *, after_key: bool = False) -> None:
        self.text = text
        self.key = key
        self.label = label
        self.after_key = after_key
        self.candidates: list[Candidate] = []
        self.spans: list[Candidate] = []
        self.written: str | None = None

    def scan(self, text: str, prepared: Prepared | None = None) -> list[Candidate]:
        """Return what the detectors would find if *text* stood here."""
        found = detect(text, self.key, prepared)
        if self.label:
            found += labelled.under(self.label, self.key, text)
        if self.after_key and rules.continues_private_key(text):
            found.append(Candidate("secret", 0, len(text), 0.9, text, "private_key"))
        meter.add(len(found))
        return found


class Document:
    """A value, its strings and numbers in document order, and each distinct key once.

    Args:
        value: a string, or any JSON value.
        every_number: take in numbers too that are too small for anything that a detector finds.

    Raises:
        UsageError: ``privacy.not_json`` or ``privacy.too_deep``.
    """

    def __init__(self, value: Any, *, every_number: bool) -> None:
        self._value = value
        self._every_number = every_number
        # JSON keys under which a private key block is open: a file is often an array of its lines, or
        # of objects that hold one line each.
        self._open: set[str] = set()
        self._strings: list[Leaf] = []
        self._keys: dict[str, Leaf] = {}
        self._labels: dict[str, str] = {}
        self._personal: dict[str, bool] = {}
        self._read(value, "", "", 0)
        leaves = (*self._keys.values(), *self._strings)
        prepared = prepare("\n".join([leaf.text for leaf in leaves]))
        for leaf in leaves:
            leaf.candidates = leaf.scan(leaf.text, prepared)

    @property
    def keys(self) -> Collection[Leaf]:
        """Every distinct key."""
        return self._keys.values()

    @property
    def strings(self) -> Collection[Leaf]:
        """Every string and number, in document order."""
        return self._strings

    def put_under_written_keys(self) -> Iterator[Leaf]:
        """Read again, and yield, the strings below keys that are written otherwise than they were read.

        A reader of what is written has no other context, so neither must the last word on it.
        """
        for leaf in self._strings:
            above = self._keys.get(leaf.key)
            if above and above.written is not None:
                leaf.key = above.written
                leaf.label = labels.announced(leaf.key) or leaf.label
                leaf.candidates += leaf.scan(leaf.text)
                yield leaf

    def written(self) -> tuple[Any, tuple[Finding, ...]]:
        """Return the value with what became of its strings, and all findings in document order."""
        writer = _Writer(self._strings, self._keys, every_number=self._every_number)
        writer.plain = isinstance(self._value, str)
        value = writer.write(self._value)
        return value, tuple(writer.findings)

    def _read(self, value: Any, key: str, label: str, depth: int) -> None:
        if isinstance(value, str):
            self._read_string(value, key, label)
        elif isinstance(value, list):
            _check_depth(depth)
            for item in value:
                self._read(item, key, label, depth + 1)
        elif isinstance(value, dict):
            _check_depth(depth)
            for name, item in value.items():
                if not isinstance(name, str):
                    raise _not_json(name, "the key of an object")
                if name not in self._keys:
                    self._keys[name] = Leaf(name, "")
                    self._labels[name] = labels.announced(name)
                self._read(item, name, self._label(name, value, key, label), depth + 1)
        elif (digits := _digits(value, every_number=self._every_number)) is not None:
            self._strings.append(Leaf(digits, key, label))

    def _label(self, name: str, beside: dict[str, Any], above: str, outer: str) -> str:
        """Return what *name* announces, beside other keys of its object and below another."""
        label = self._labels[name]
        if label == "name?":
            return "person" if outer == "person?" or any(map(self._is_personal, beside)) else label
        if label or not outer:
            return label
        if outer in ("person", "name?") and name.lower() in _PARTS_OF_NAMES:
            return "person"
        return outer if outer in _NESTED or (outer == "secret" and not above) else ""

    def _is_personal(self, key: str) -> bool:
        known = self._personal.get(key)
        if known is None:
            known = self._personal[key] = isinstance(key, str) and labels.is_personal(key)
        return known

    def _read_string(self, text: str, key: str, label: str) -> None:
        after_key = key in self._open
        self._strings.append(Leaf(text, key, label, after_key=after_key))
        if rules.opens_private_key(text):
            self._open.add(key)
        elif after_key:
            continues = rules.continues_private_key(text)
            if continues is False or (continues and "PRIVATE KEY" in text):
                self._open.discard(key)


class _Writer:
    def __init__(self, strings: list[Leaf], keys: dict[str, Leaf], *, every_number: bool) -> None:
        self._strings = iter(strings)
        self._keys = keys
        self._keys_found = any(leaf.spans for leaf in keys.values())
        self._every_number = every_number
        self._path: list[str | int] = []
        self.plain = False  # the value is one string, and no pointer leads to it
        self.findings: list[Finding] = []

    def write(self, value: Any) -> Any:
        if isinstance(value, str):
            leaf = self._next()
            return value if leaf.written is None else leaf.written
        if isinstance(value, (dict, list)):
            return self._write_array(value) if isinstance(value, list) else self._write_object(value)
        if _digits(value, every_number=self._every_number) is not None:
            leaf = self._next()
            return value if leaf.written is None else leaf.written or None  # dropped: null
        return value

    def _next(self) -> Leaf:
        leaf = next(self._strings)
        if leaf.spans:
            self._report(leaf)
        return leaf

    def _report(self, leaf: Leaf, *, in_key: bool = False) -> None:
        tokens = (str(token).replace("~", "~0").replace("/", "~1") for token in self._path)
        pointer = None if self.plain else "".join(f"/{token}" for token in tokens)
        self.findings += [
            Finding(span.kind, span.start, span.end, span.score, pointer, span.rule or None, in_key)
            for span in leaf.spans
        ]

    def _write_array(self, value: list[Any]) -> list[Any]:
        written = []
        for index, item in enumerate(value):
            self._path.append(index)
            written.append(self.write(item))
            self._path.pop()
        return written

    def _write_object(self, value: dict[str, Any]) -> dict[str, Any]:
        names = self._names(value) if self._keys_found else value
        written: dict[str, Any] = {}
        for name, (key, item) in zip(names, value.items(), strict=True):
            self._path.append(name)
            if self._keys_found:
                self._report(self._keys[key], in_key=True)
            written[name] = self.write(item)
            self._path.pop()
        return written

    def _names(self, value: dict[str, Any]) -> list[str]:
        """Return the keys as written. Those that a mask has made equal are numbered: none is lost."""
        leaves = [self._keys[key] for key in value]
        taken = {leaf.text for leaf in leaves if leaf.written is None}
        used: dict[str, int] = {}
        names = []
        for leaf in leaves:
            name = leaf.text if leaf.written is None else leaf.written
            while leaf.written is not None and name in taken:
                used[leaf.written] = used.get(leaf.written, 1) + 1
                name = f"{leaf.written}~{used[leaf.written]}"
            taken.add(name)
            names.append(name)
        return names


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise UsageError(
            "privacy.too_deep",
            f"the value is nested more than {MAX_DEPTH} levels deep",
            "flatten it, or redact its parts one by one",
        )


def _digits(value: Any, *, every_number: bool) -> str | None:
    """Return the digits of a number that could be or hold a value, None for what cannot."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        if -_SMALL < value < _SMALL and not every_number:
            return None
        try:
            return int.__repr__(value)
        except ValueError:  # more digits than the interpreter converts, and so than JSON can carry
            raise _not_json(value, "a number of that length") from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _not_json(value, "a number that is not finite")
        if value.is_integer() and abs(value) >= _SMALL:
            return f"{value:.0f}"
        return float.__repr__(value) if every_number or abs(value) >= _AS_LONG_AS_A_CARD else None
    raise _not_json(value, "a value")


def _not_json(value: Any, what: str) -> UsageError:
    return UsageError(
        "privacy.not_json",
        f"{what} of type {type(value).__name__} cannot be in JSON",
        "pass null, a boolean, a finite number, a string, a list, or a dict with strings as keys",
    )

"""Redaction of one result: every channel, and every string, key and number in it.

Two passes: first everything is read, so that a value found in one place is known everywhere; then
everything is written. What was written is read again before it is believed: where a mask has joined
or uncovered something, that is masked too, so that redacting a redacted value changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter, rules
from mpp_exec.privacy.detect import detect, detect_parts
from mpp_exec.privacy.document import Document, without_quiet
from mpp_exec.privacy.finding import MASK, ORGANISATION, Candidate, Finding, listed
from mpp_exec.privacy.leaf import Leaf
from mpp_exec.privacy.literals import RECEIVED, USER_CONFIG, Literals
from mpp_exec.privacy.mask import bare, in_json_text, replacement
from mpp_exec.privacy.policy import ACTIONS, LEAVING, MASK_ALL, Action, RedactionPolicy
from mpp_exec.privacy.rewriting import Rewriting
from mpp_exec.privacy.spans import SECRETS, apart, merged, position
from mpp_exec.privacy.writing import Explain

if TYPE_CHECKING:
    from mpp_exec.privacy.patterns import Patterns
    from mpp_exec.privacy.second_opinion import SecondOpinion

# How much around what was replaced in a string is read again.
_AROUND: Final = 320
# Code points at the end of a text that was cut off, which may be half of a value.
_CUT: Final = 4096
CUT_OFF: Final = "[cut off]\n"
"""What stands in their place."""
# Values in which nothing stands.
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
# How often a string is written and read again before all of it is masked.
_PASSES: Final = 4
# Rules that need more than the value to recognise it: its name before it, or a boundary around it.
_LEARNED: Final = ("aws_access_key", "github_token", "private_key")
# ``user:password``, of which the password alone is a secret as well; one that is a word is left alone.
_PAIRS: Final = ("url_credential", "user_option")
_SHORTEST_PASSWORD: Final = 6
# Of a password that is a bare word, which may as well be the name of something, other places are left alone.
_SURE: Final = 0.7
# What is called so in one place is a variable everywhere else: ``key_file``.
_NAME_IN_CODE: Final = lazily(r"[a-z]{1,24}(?:_[a-z]{1,24}){1,6}")
# Kinds and rules that a label gives away: the same value is one where nothing announces it, too.
_ANNOUNCED: Final = listed(
    """
    address bank_account date_of_birth drivers_license health_id national_id passport person phone ssn
    tax_id username vin
    assigned_password assigned_secret command_password user_option second_opinion
    """
)


MakeToken = Callable[[str, str], str]
"""Returns the token of a kind and a value, "" if it can have none."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A redacted value and what was found in it.

    Attributes:
        value: the input with every finding replaced; the input itself where there were none.
        findings: in document order, without the values; those whose kind is allowed too.
    """

    value: Any
    findings: tuple[Finding, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of findings by kind, sorted by kind."""
        if not self.findings:
            return {}
        return dict(sorted(Counter(finding.kind for finding in self.findings).items()))

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``redact --json`` prints."""
        name = "text" if isinstance(self.value, str) else "value"
        return {name: self.value, "findings": [finding.to_json() for finding in self.findings]}


def redact(value: Any, policy: RedactionPolicy | None = None, *, secrets: Iterable[str] = ()) -> Redacted:
    """Redact one value; see :class:`Redactor` for several that belong together.

    Args:
        value: a string, or any JSON value. A number that holds a value becomes a string.
        policy: what happens to each kind; everything is masked by default.
        secrets: values that are redacted wherever they stand, whatever the policy says.

    Raises:
        UsageError: ``privacy.not_json`` or ``privacy.too_deep``.
    """
    return Redactor(policy, secrets=secrets).redact(value)


class Redactor:
    """Redacts what belongs to one result. A value that it has found once it knows from then on.

    Make one for each result, and give it channels that exist at the same time in one call of
    :meth:`redact_many`: a value found in any of them is redacted in all. Not thread-safe.

    Args:
        policy: what happens to each kind; everything is masked by default.
        secrets: values that are redacted wherever they stand, whatever the policy says
            (sensitive ``user_config``).
        bounds: what it may cost, each time; nothing is bounded without.
        tokens: makes tokens; without it, what should become one is masked.
        received: kind and value of what the tool was handed in the place of tokens. It never leaves in the
            clear, nor in part, also where its kind is allowed.
        explain: say of each finding why it counts.

    Raises:
        UsageError: ``privacy.no_engine``, ``privacy.bad_pattern``: the policy's rules cannot be tried;
            ``privacy.no_model``: nor can a second opinion be had.
    """

    def __init__(
        self,
        policy: RedactionPolicy | None = None,
        *,
        secrets: Iterable[str] = (),
        bounds: meter.Bounds | None = None,
        tokens: MakeToken | None = None,
        received: Iterable[tuple[str, str]] = (),
        explain: bool = False,
    ) -> None:
        self._policy = policy or MASK_ALL
        self._patterns = _patterns(self._policy)
        self._second = _second_opinion(self._policy)
        self._explain = explain
        self._bounds = bounds
        self._tokens = tokens
        self._literals = Literals()
        self._received: set[tuple[str, str]] = set()
        for kind, value in received:
            self._literals.add_configured(value, kind, RECEIVED)
            self._received.add((kind, value))
            self._received.update((found.kind, found.value) for found in detect(value))
        for secret in secrets:
            self._literals.add_configured(secret)
        self._every_number = bool(self._literals)
        self._known: set[tuple[str, str]] = set()
        self._rewriting: Rewriting | None = None  # of the string that was written last

    def redact(self, value: Any) -> Redacted:
        """Redact one value, a string or any JSON value.

        Raises:
            as :meth:`redact_many`.
        """
        return self.redact_many({"": value})[""]

    def redact_many(self, channels: Mapping[str, Any]) -> dict[str, Redacted]:
        """Redact values that belong together, each a string or any JSON value. Same names out.

        Raises:
            UsageError: ``privacy.not_json`` or ``privacy.too_deep``.
            StoppedError: it has passed its bounds, or was cancelled.
        """
        with meter.bounded(self._bounds):
            return self._redacted(channels)

    def redact_block(self, text: str, start: int, end: int) -> tuple[str, int, list[Finding]]:
        """Redact what stands between two offsets of *text*, with all of that in sight.

        Return what is written of it; where it ends, which is behind *end* where a value goes over that; and
        what was found in it, in offsets of *text*.

        Raises:
            StoppedError: as :meth:`redact_many`.
        """
        self._rewriting = None
        clean = self.redact(text)
        stop = max([end, *(each.end for each in clean.findings if each.start < end)])
        found = [each for each in clean.findings if each.end > start and each.start < stop]
        rewriting = self._rewriting
        return text[start:stop] if rewriting is None else rewriting.part(start, stop), stop, found

    def without_cut_end(self, text: str) -> str:
        """Return *text*, which ends where its writer was stopped, less what half a value could stand in.

        That is its last line, or as much of it as any value is long; and what of a known value is before it.
        """
        kept = text[: max(text.rfind("\n") + 1, len(text) - _CUT)]
        begun = self._literals.begun(kept)
        if begun < len(kept):
            kept = f"{kept[:begun]}[SECRET]"
        return kept if kept == text else f"{kept}{CUT_OFF}"

    def _redacted(self, channels: Mapping[str, Any]) -> dict[str, Redacted]:
        # Most channels of most results are empty: to say so costs far less than to read them.
        documents = {
            name: Document(value, every_number=self._every_number)
            for name, value in channels.items()
            if value not in _NOTHING
        }
        if not documents:
            return {name: Redacted(value) for name, value in channels.items()}
        for document in documents.values():
            if self._patterns:
                document.find_patterns(self._patterns)
            if self._second:
                document.find_patterns(self._second)
            self._learn(document.keys)
            self._learn(document.strings)
        if self._literals:
            for document in documents.values():
                document.find_known(self._literals)
        keys_found = {name: self._settle_all(document.keys) for name, document in documents.items()}
        for name, document in documents.items():
            if keys_found[name]:
                self._learn(document.put_under_written_keys())
        redacted: dict[str, Redacted] = {}
        for name, value in channels.items():
            read = documents.get(name)
            if read and (self._settle_all(read.strings) or keys_found[name]):
                redacted[name] = Redacted(*read.written(_reasons() if self._explain else None))
            else:
                redacted[name] = Redacted(value)
        return redacted

    def _learn(self, leaves: Iterable[Leaf]) -> None:
        for leaf in leaves:
            for candidate in leaf.candidates:
                if not candidate.weak:
                    self._known.add((candidate.kind, candidate.value))
                    if candidate.rule in _LEARNED:
                        self._literals.add_found(candidate)
                    if candidate.kind in SECRETS or (candidate.rule or candidate.kind) in _ANNOUNCED:
                        self._learn_elsewhere(leaf, candidate)

    def _learn_elsewhere(self, leaf: Leaf, candidate: Candidate) -> None:
        """Make a value known where nothing beside it tells what it is: a password without its user, too."""
        if candidate.rule == "private_key" or _NAME_IN_CODE.fullmatch(candidate.value):
            return
        if candidate.rule == "assigned_password" and candidate.score < _SURE and candidate.value.isalpha():
            return
        self._literals.add_seen(leaf.text[candidate.start : candidate.end], candidate)
        if (candidate.rule or candidate.kind) in _PAIRS:
            password = candidate.value.partition(":")[2]
            if len(password) >= _SHORTEST_PASSWORD and not password.isalpha():
                self._literals.add_seen(password, candidate._replace(kind="secret", value=password))

    def _settle_all(self, leaves: Iterable[Leaf]) -> bool:
        """Decide what becomes of every string. Tell whether anything was found in them."""
        found = False
        for leaf in leaves:
            meter.step()
            if leaf.candidates or self._literals:
                found |= self._settle(leaf)
        return found

    def _settle(self, leaf: Leaf) -> bool:
        believed = self._believed(leaf.text, leaf.candidates)
        if not believed:
            return False
        hidden, allowed = self._parted(believed)
        if hidden:
            hidden, self._rewriting = self._write(leaf, hidden)
            leaf.written = self._rewriting.text
        # What is hidden wins over what is allowed: a secret does not leave inside an e-mail address.
        leaf.spans = sorted(hidden + apart(allowed, hidden), key=position) if allowed else hidden
        return True

    def _parted(self, believed: list[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
        """Return what has to be replaced and what is allowed, each in order and without overlap."""
        hidden: list[Candidate] = []
        allowed: list[Candidate] = []
        for candidate in believed:
            (allowed if self._action(candidate) == "allow" else hidden).append(candidate)
        return self._merged(hidden), merged(allowed)

    def _merged(self, hidden: list[Candidate]) -> list[Candidate]:
        """Return what has to be replaced, in order, where spans overlap as one.

        What leaves something of its value, or hands it to another tool, leaves no more of what it holds than
        is left of that: a rule over a whole line does not make a token of the number in it that is dropped.
        """
        joined = merged(hidden)
        if self._policy.leaves_something and len(joined) < len(hidden):
            parts = iter(sorted(hidden, key=position))
            part = next(parts, None)
            for number, span in enumerate(joined):
                while part is not None and part.start < span.end:
                    joined[number] = self._stricter(joined[number], part)
                    part = next(parts, None)
        return joined

    def _stricter(self, span: Candidate, part: Candidate) -> Candidate:
        """Return *span* as what *part* of it is, if that is less to be seen."""
        action = self._action(span)
        if action not in LEAVING or not (part.kind in self._policy.actions or span.rule == ORGANISATION):
            return span
        is_stricter = ACTIONS.index(self._action(part)) > ACTIONS.index(action)
        return part._replace(start=span.start, end=span.end) if is_stricter else span

    def _believed(self, text: str, candidates: list[Candidate]) -> list[Candidate]:
        """Return the candidates that count, and every occurrence of what is known already."""
        believed = [c for c in candidates if not c.weak or (c.kind, c.value) in self._known]
        if not self._literals:
            return believed
        known = self._literals.find(text)
        meter.add(len(known))
        return believed + known

    def _action(self, candidate: Candidate) -> Action:
        action = self._policy.action(candidate.kind)
        if action == "allow" and candidate.rule == USER_CONFIG:
            return "mask"
        if self._received and action in ("allow", "partial") and self._is_received(candidate):
            return "token"
        return action

    def _is_received(self, candidate: Candidate) -> bool:
        return candidate.rule == RECEIVED or (candidate.kind, candidate.value) in self._received

    def _write(self, leaf: Leaf, hidden: list[Candidate]) -> tuple[list[Candidate], Rewriting]:
        """Return what had to be replaced in a string, and the string with that replaced."""
        for _ in range(_PASSES):
            marked = list(bare(leaf.text, hidden))
            hidden = [span for span, _ in marked]
            rewriting = Rewriting(leaf.text, hidden, [self._replacement(leaf, *each) for each in marked])
            left = without_quiet(
                leaf.text,
                [
                    rewriting.in_original(candidate)
                    for candidate in self._believed(rewriting.text, self._read_again(leaf, rewriting))
                    if self._action(candidate) != "allow"
                ],
            )
            opened = rules.opens_private_key(rewriting.text) and not rules.opens_private_key(leaf.text)
            if not left and not opened:
                return hidden, rewriting
            hidden = self._merged(hidden + left)
        whole = hidden[0]._replace(start=0, end=len(leaf.text))
        return [whole], Rewriting(leaf.text, [whole], [f"[{whole.kind.upper()}]"])

    def _read_again(self, leaf: Leaf, rewriting: Rewriting) -> list[Candidate]:
        """Return what is found in a string that was written, around what was replaced in it."""
        text = rewriting.text
        found = self._patterns.find(text) if self._patterns else []
        if not MASK.fullmatch(text):  # nothing is left of most: no detector finds anything in a mask
            found += leaf.announced(text)
            found += detect_parts(text, list(rewriting.around(_AROUND)), leaf.key)
        meter.add(len(found))
        return found

    def _replacement(self, leaf: Leaf, span: Candidate, quote: str) -> str:
        action = self._action(span)
        if action == "drop" and leaf.after_key:
            action = "mask"  # what is left must not read as more of the key
        token = ""
        if action == "token" and self._tokens is not None:
            token = self._tokens(span.kind, leaf.text[span.start : span.end])
        if token:
            return in_json_text(token, quote)
        return in_json_text(replacement(span, action, self._policy), quote)


def _patterns(policy: RedactionPolicy) -> Patterns | None:
    if not policy.rules:
        return None
    from mpp_exec.privacy.patterns import compiled  # noqa: PLC0415  # few policies have rules

    return compiled(policy.rules)


def _second_opinion(policy: RedactionPolicy) -> SecondOpinion | None:
    if not policy.second_opinion:
        return None
    from mpp_exec.privacy.second_opinion import SecondOpinion  # noqa: PLC0415  # few policies ask for one

    return SecondOpinion()


def _reasons() -> Explain:
    from mpp_exec.privacy.explain import Reasons  # noqa: PLC0415  # only where somebody asks

    return Reasons()

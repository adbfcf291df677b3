"""Which kind is masked, hashed, made a token, dropped or allowed, and who decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, get_args

from mpp_exec.errors import UsageError
from mpp_exec.privacy.finding import KINDS

if TYPE_CHECKING:
    from mpp_exec.consent.redaction_rules import RedactionRule

Action = Literal["allow", "token", "partial", "hash", "mask", "drop"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
"""From the most that is left of a value to the least."""

LEAVING: Final[tuple[Action, ...]] = ("token", "partial")
"""Those by which something of a value is to be seen, or to be had, and that are not ``allow``."""

BINARY: Final = "binary"
"""Stands among the kinds for content that is no text, and that nobody reads: it is allowed or dropped."""

HASH_KEY_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class RedactionPolicy:
    """What happens to a value of each kind.

    Attributes:
        actions: action by kind; a kind that is not named is masked, and ``binary`` allowed.
        hash_key: 32 bytes that ``hash`` is keyed with, derived from the home's key. Needed only
            where a kind is hashed; never shown.
        rules: what the organisation has redacted besides, of kinds of its own.
        second_opinion: ``presidio`` where a language model is asked about prose, too.

    Raises:
        UsageError: ``privacy.unknown_kind``, ``privacy.unknown_action``, ``privacy.hash_key`` (missing, or
            not 32 bytes).
    """

    actions: Mapping[str, Action] = field(default_factory=dict)
    hash_key: bytes | None = field(default=None, repr=False)
    rules: tuple[RedactionRule, ...] = ()
    second_opinion: str = ""

    def __post_init__(self) -> None:
        own = frozenset(rule.name for rule in self.rules)
        checked = {kind: _checked(kind, action, own) for kind, action in sorted(self.actions.items())}
        object.__setattr__(self, "actions", MappingProxyType(checked))
        if self.hash_key is None and "hash" in checked.values():
            raise UsageError(
                "privacy.hash_key",
                "the action hash needs a key",
                "pass the key that the home derives for redaction hashes, or choose mask",
            )
        if self.hash_key is not None and len(self.hash_key) != HASH_KEY_SIZE:
            raise UsageError(
                "privacy.hash_key",
                f"the redaction hash key has {len(self.hash_key)} bytes instead of {HASH_KEY_SIZE}",
                "pass the key that the home derives for redaction hashes",
            )

    def action(self, kind: str) -> Action:
        """Return what happens to values of *kind*."""
        return self.actions.get(kind, "mask")

    @property
    def makes_tokens(self) -> bool:
        """Whether values of some kind become tokens."""
        return "token" in self.actions.values()

    @property
    def leaves_something(self) -> bool:
        """Whether something is left of values of some kind, or can be had."""
        return any(action in LEAVING for action in self.actions.values())

    @property
    def drops_binary(self) -> bool:
        """Whether content that is no text is withheld."""
        return self.actions.get(BINARY) == "drop"


MASK_ALL: Final = RedactionPolicy()


def effective_actions(
    *,
    organisation: Mapping[str, str] | None = None,
    granted: Mapping[str, str] | None = None,
    requested: Iterable[str] = (),
    rules: Iterable[RedactionRule] = (),
) -> dict[str, Action]:
    """Return the actions that hold, in order of authority: organisation, user's grant, manifest.

    Each of them can only narrow what stands below it. What the organisation says of a kind is the most
    that is left of it, whatever was granted; the user can leave less. Its ``allow`` leaves the kind to
    the user. A grant's ``allow`` holds only for a kind that the manifest asks to return (*requested*),
    and what the manifest asks for means nothing until it is granted. Kinds left out are masked. The
    organisation's *rules* have kinds of their own.

    Raises:
        UsageError: as :class:`RedactionPolicy`.
    """
    own = frozenset(rule.name for rule in rules)
    asked = {kind: _checked(kind, "allow", own) for kind in requested}
    actions: dict[str, Action] = {}
    for kind, word in sorted((granted or {}).items()):
        action = _checked(kind, word, own)
        if action != "allow" or kind in asked or kind == BINARY:
            actions[kind] = action
    for kind, word in sorted((organisation or {}).items()):
        action = _checked(kind, word, own)
        if action != "allow":
            actions[kind] = max(action, actions.get(kind, action), key=ACTIONS.index)
    return actions


def _checked(kind: str, action: str, own: frozenset[str]) -> Action:
    if kind not in KINDS and kind != BINARY and kind not in own:
        raise UsageError(
            "privacy.unknown_kind", f"no kind of sensitive data is called {kind!r}", _nearest(kind, KINDS)
        )
    known: tuple[Action, ...] = ("allow", "drop") if kind == BINARY else ACTIONS
    for each in known:
        if each == action:
            return each
    raise UsageError(
        "privacy.unknown_action", f"{kind} cannot be {action!r} in results", _nearest(action, known)
    )


def _nearest(word: str, words: tuple[str, ...]) -> str:
    import difflib  # noqa: PLC0415  # only for mistakes

    near = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {near[0]}?" if near else f"one of {', '.join(words)}"

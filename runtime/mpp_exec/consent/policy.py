"""The most that the organisation allows, as values: a stack of layers that can only take rights away.

A permission stands if every layer admits it. A bound is the smallest of all layers, a confirmation the
strictest. So the order of layers does not matter, and no layer can widen another. ``policy_file`` reads
layers from files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar, get_args

from mpp_exec.consent.redaction_rules import RedactionRule
from mpp_exec.errors import ConsentError
from mpp_exec.package.manifest import CONFIRMS, OPERATIONS, Confirm, Operation
from mpp_exec.permissions import IMPORT_ONCE, Limits, Permissions, Privacy, path_covers
from mpp_exec.vocabulary import HostPort, format_duration, format_size

_T = TypeVar("_T")

Action = Literal["allow", "token", "partial", "hash", "mask", "drop"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
"""What may be done with a kind of sensitive data, from the most that is left of it to the least."""

BINARY: Final = "binary"
"""Stands among the kinds for content that is no text, and that nobody reads: it is allowed or dropped."""
BINARY_ACTIONS: Final[tuple[Action, ...]] = ("allow", "drop")

LIMIT_WORDS: Final[dict[str, tuple[str, Callable[[int], str]]]] = {
    "wall_ms": ("wall", format_duration),
    "cpu_ms": ("cpu", format_duration),
    "memory": ("memory", format_size),
    "processes": ("processes", str),
    "open_files": ("open_files", str),
    "output": ("output", format_size),
    "scratch": ("scratch", format_size),
}
"""For each field of :class:`Limits` its key in TOML, and how its value is written there."""


def stricter(one: Confirm, other: Confirm) -> Confirm:
    """Return whichever asks more often: ``never`` < ``once`` < ``always``."""
    return max(one, other, key=CONFIRMS.index)


@dataclass(frozen=True, slots=True)
class Withheld:
    """One permission that was requested and not granted: its word, as ``--without`` takes it, and why."""

    permission: str
    reason: str


@dataclass(frozen=True, slots=True)
class NetworkPattern:
    """Destinations that may be granted: a :class:`HostPort`, any host (``*:443``) or any port (``h:*``)."""

    host: str
    port: int

    def __str__(self) -> str:
        host = "*" if self.host == "*" else str(HostPort(self.host, 1)).removesuffix(":1")
        return f"{host}:{self.port or '*'}"

    def covers(self, destination: HostPort) -> bool:
        """Return whether *destination*, itself perhaps a wildcard, lies within this pattern."""
        if self.port and self.port != destination.port:
            return False
        return self.host == "*" or HostPort(self.host, destination.port).covers(destination)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLayer:
    """One policy file. None means that the file sets no bound; an empty tuple means that nothing is allowed.

    Attributes:
        source: where it came from, for messages.
        carry_over: whether an update that is not wider may keep its grant.
        publishers: names and key ids of publishers that may be used.
        denied_publishers: names and key ids that may not, whatever ``publishers`` says.
        network, environment, subprocess: what may be granted.
        read, write: folders in which paths may be granted. They are compared by text with the final
            path, so a folder given by a link admits nothing.
        storage: bytes at most.
        limits: the largest value for fields of :class:`Limits`.
        degradations: names that a user may accept.
        import_once: whether a tool may be imported once, and its calls be served by copies.
        confirm: the least confirmation for tools of an operation.
        redaction: action per kind of sensitive data.
        redaction_rules: the organisation's own rules, in addition.
        second_opinion: ``presidio``, "" for none.
    """

    source: str
    carry_over: bool = True
    publishers: tuple[str, ...] | None = None
    denied_publishers: tuple[str, ...] = ()
    network: tuple[NetworkPattern, ...] | None = None
    environment: tuple[str, ...] | None = None
    subprocess: tuple[str, ...] | None = None
    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None
    storage: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    degradations: tuple[str, ...] | None = None
    import_once: bool = True
    confirm: Mapping[Operation, Confirm] = field(default_factory=dict)
    redaction: Mapping[str, Action] = field(default_factory=dict)
    redaction_rules: tuple[RedactionRule, ...] = ()
    second_opinion: str = ""

    def publisher_refusal(self, publisher: str, key_id: str) -> str:
        """Return why packages of this publisher may not be used, empty if they may."""
        names = {publisher, key_id}
        if names.intersection(self.denied_publishers):
            return f"{self.source} denies publisher {publisher}"
        if self.publishers is not None and not names.intersection(self.publishers):
            return f"{self.source} does not list publisher {publisher}"
        return ""

    def ceiling(self, asked: Permissions) -> tuple[Permissions, list[Withheld]]:
        """Return what of *asked* this layer admits, and a reason for each entry that it does not."""
        withheld: list[Withheld] = []

        def keep(name: str, entries: tuple[_T, ...], admits: Callable[[_T], bool]) -> tuple[_T, ...]:
            kept = tuple(entry for entry in entries if admits(entry))
            withheld.extend(
                Withheld(f"{name}={entry}", f"{self.source} does not allow it")
                for entry in entries
                if entry not in kept
            )
            return kept

        storage = asked.storage
        if self.storage is not None and storage > self.storage:
            storage = self.storage
            withheld.append(Withheld("storage", f"{self.source} allows {format_size(self.storage)} at most"))
        # A path that may be written may be read. So a bound on reading also applies to writing unless
        # writing has a bound of its own.
        readable = None if self.read is None else (*self.read, *(self.write or ()))
        writable = self.read if self.write is None else self.write
        allowed = Permissions(
            network=keep("network", asked.network, lambda entry: _any_covers(self.network, entry)),
            environment=keep("environment", asked.environment, _within(self.environment)),
            subprocess=keep("subprocess", asked.subprocess, _within(self.subprocess)),
            storage=storage,
            read=keep("filesystem.read", asked.read, _below(readable)),
            write=keep("filesystem.write", asked.write, _below(writable)),
        )
        return allowed, withheld

    def bound(self, asked: Limits) -> tuple[Limits, list[Withheld]]:
        """Return *asked* with every bound lowered to what this layer allows, and what was lowered."""
        lowered = {name: most for name, most in self.limits.items() if getattr(asked, name) > most}
        withheld = []
        for name, most in lowered.items():
            key, text = LIMIT_WORDS[name]
            withheld.append(Withheld(f"limits.{key}", f"{self.source} allows {text(most)} at most"))
        return replace(asked, **lowered), withheld

    def to_json(self) -> dict[str, Any]:
        """Return the bounds of this layer, in the words of the file; fields without a bound are left out."""
        listed: dict[str, Any] = {
            "source": self.source,
            "carry_over": self.carry_over,
            "publishers": {"allow": _list(self.publishers), "deny": _list(self.denied_publishers or None)},
            "permissions": {
                "network": _list(self.network),
                "environment": _list(self.environment),
                "subprocess": _list(self.subprocess),
                "storage": None if self.storage is None else format_size(self.storage),
                "filesystem": {"read": _list(self.read), "write": _list(self.write)},
            },
            "limits": _limits_json(self.limits),
            "degradations": {"allow": _list(self.degradations)},
            "import_once": None if self.import_once else False,
            "confirm": dict(self.confirm),
            "redaction": dict(self.redaction),
            "second_opinion": self.second_opinion or None,
            "redaction_rule": [rule.to_json() for rule in self.redaction_rules] or None,
        }
        pruned = _pruned(listed)
        return pruned if isinstance(pruned, dict) else {}


@dataclass(frozen=True, slots=True)
class Policy:
    """All layers together. Without any, everything is allowed that a person agrees to."""

    layers: tuple[PolicyLayer, ...] = ()

    def require_publisher(self, publisher: str, key_id: str) -> None:
        """Refuse a publisher that a layer denies or does not list.

        Raises:
            ConsentError: ``policy.publisher``.
        """
        for layer in self.layers:
            if reason := layer.publisher_refusal(publisher, key_id):
                raise ConsentError(
                    "policy.publisher", reason, "ask whoever administers this policy to add the publisher"
                )

    def ceiling(self, asked: Permissions) -> tuple[Permissions, tuple[Withheld, ...]]:
        """Return what of *asked* every layer admits, and why the rest is withheld."""
        withheld: list[Withheld] = []
        for layer in self.layers:
            asked, refused = layer.ceiling(asked)
            withheld += refused
        return asked, tuple(withheld)

    def bound(self, asked: Limits) -> tuple[Limits, tuple[Withheld, ...]]:
        """Return *asked* lowered to what every layer allows, and what was lowered."""
        withheld: list[Withheld] = []
        for layer in self.layers:
            asked, lowered = layer.bound(asked)
            withheld += lowered
        return asked, tuple(withheld)

    def disclose(self, asked: Privacy) -> tuple[Privacy, tuple[Withheld, ...]]:
        """Return *asked* less the kinds that a layer wants redacted in every case.

        A tool may receive a kind only if no layer demands more than a token for it: a value that is to be
        made unrecognisable for good is not handed to another tool.
        """
        actions = self.redaction
        admitted = {"allow": ("allow",), "receive": ("allow", "token")}
        kept: dict[str, list[str]] = {"allow": [], "receive": []}
        withheld: list[Withheld] = []
        for word, kinds in (("allow", asked.allow), ("receive", asked.receive)):
            for kind in kinds:
                action = actions.get(kind, "allow")
                if action in admitted[word]:
                    kept[word].append(kind)
                else:
                    reason = f"policy wants it redacted ({action})"
                    withheld.append(Withheld(f"privacy.{word}={kind}", reason))
        return Privacy(tuple(kept["allow"]), tuple(kept["receive"])), tuple(withheld)

    def redact(self, chosen: Mapping[str, Action]) -> tuple[dict[str, Action], tuple[Withheld, ...]]:
        """Return the *chosen* actions, each raised to at least what the layers demand for its kind."""
        least = self.redaction
        actions = {
            kind: max(action, least.get(kind, action), key=ACTIONS.index)
            for kind, action in sorted(chosen.items())
        }
        withheld = tuple(
            Withheld(f"privacy.{kind}={chosen[kind]}", f"policy wants it redacted ({action})")
            for kind, action in actions.items()
            if action != chosen[kind]
        )
        return actions, withheld

    def confirmation(self, operation: Operation, asked: Confirm) -> Confirm:
        """Return *asked* raised to what the layers demand of tools of this operation."""
        for layer in self.layers:
            asked = stricter(asked, layer.confirm.get(operation, "never"))
        return asked

    def degradation_refusal(self, name: str) -> str:
        """Return why the degradation *name* may not be accepted, empty if it may."""
        for layer in self.layers:
            if layer.degradations is not None and name not in layer.degradations:
                return f"{layer.source} does not allow the degradation {name}"
        return ""

    def once(self, *, asked: bool) -> tuple[bool, tuple[Withheld, ...]]:
        """Return whether a tool that *asked* for it may be imported once, and why not."""
        refused = next((layer for layer in self.layers if not layer.import_once), None)
        if not asked or refused is None:
            return asked, ()
        return False, (Withheld(IMPORT_ONCE, f"{refused.source} does not allow it"),)

    @property
    def carry_over(self) -> bool:
        """Whether an update that is provably no wider keeps its grant."""
        return all(layer.carry_over for layer in self.layers)

    @property
    def redaction(self) -> dict[str, Action]:
        """The action per kind; if layers differ, the action that leaves least of the value."""
        merged: dict[str, Action] = {}
        for layer in self.layers:
            for kind, action in layer.redaction.items():
                merged[kind] = max(merged.get(kind, action), action, key=ACTIONS.index)
        return dict(sorted(merged.items()))

    @property
    def second_opinion(self) -> str:
        """The additional detector for free text, "" for none. No layer can take it back."""
        return next((layer.second_opinion for layer in self.layers if layer.second_opinion), "")

    @property
    def redaction_rules(self) -> tuple[RedactionRule, ...]:
        """The rules of all layers; no layer can remove the rules of another."""
        return tuple(dict.fromkeys(rule for layer in self.layers for rule in layer.redaction_rules))

    def to_json(self) -> dict[str, Any]:
        """Return the effective policy: its layers, and the combined value of each field."""
        storages = [layer.storage for layer in self.layers if layer.storage is not None]
        limits: dict[str, int] = {}
        for layer in self.layers:
            for name, most in layer.limits.items():
                limits[name] = min(most, limits.get(name, most))
        confirm = {each: self.confirmation(each, "never") for each in OPERATIONS}
        names = {rule.name for rule in self.redaction_rules}
        return {
            "layers": [layer.to_json() for layer in self.layers],
            "effective": {
                "carry_over": self.carry_over,
                "storage": format_size(min(storages)) if storages else None,
                "limits": _limits_json(limits),
                "confirm": {each: least for each, least in confirm.items() if least != "never"},
                "redaction": self.redaction,
                **({"redaction_rules": sorted(names)} if names else {}),
                **({"second_opinion": self.second_opinion} if self.second_opinion else {}),
            },
        }


def _any_covers(patterns: Iterable[NetworkPattern] | None, destination: HostPort) -> bool:
    return patterns is None or any(pattern.covers(destination) for pattern in patterns)


def _within(allowed: tuple[str, ...] | None) -> Callable[[str], bool]:
    return lambda entry: allowed is None or entry in allowed


def _below(roots: Iterable[str] | None) -> Callable[[str], bool]:
    return lambda path: roots is None or any(path_covers(root, path) for root in roots)


def _list(entries: Iterable[object] | None) -> list[str] | None:
    return None if entries is None else [str(entry) for entry in entries]


def _limits_json(limits: Mapping[str, int]) -> dict[str, str]:
    return {key: text(limits[name]) for name, (key, text) in LIMIT_WORDS.items() if name in limits}


def _pruned(value: Any) -> Any:
    """Return *value* without entries that are None or empty tables."""
    if not isinstance(value, dict):
        return value
    kept = {key: _pruned(inner) for key, inner in value.items()}
    return {key: inner for key, inner in kept.items() if inner is not None and inner != {}}

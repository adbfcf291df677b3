"""Compares what a new version asks for with what was shown to the person who approved the old one.

An update keeps its grant only if nothing that was shown is different, or each difference is
provably narrower. Anything that this module cannot compare counts as wider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec.consent.grant import Grant
from mpp_exec.consent.policy import LIMIT_WORDS, Policy
from mpp_exec.encoding import dumps, json_dumps
from mpp_exec.package import canonical
from mpp_exec.package.manifest import CONFIRMS
from mpp_exec.package.maps import limits_from, permissions_from, privacy_from
from mpp_exec.package.semver import Version
from mpp_exec.permissions import Permissions
from mpp_exec.trust.verify import SignedManifest
from mpp_exec.vocabulary import format_size

# These keys are not shown at approval, or are no promise to the person who approves; all other keys are.
# So a key that a later version of the manifest adds is shown and compared until somebody decides otherwise.
_NOT_SHOWN: Final = frozenset(
    {"manifest_version", "name", "version", "license", "homepage", "expires", "publisher_key", "files"}
)
_NOT_SHOWN_RUNTIME: Final = frozenset({"path", "platforms"})
_NOT_SHOWN_TOOL: Final = frozenset({"entry"})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, in words for a person; *widens* unless it is provably no wider."""

    text: str
    widens: bool

    def __str__(self) -> str:
        return f"{'+' if self.widens else '-'} {self.text}"


def shown(package: SignedManifest) -> dict[str, Any]:
    """Return everything of *package* that a person is shown when approving it, as a CBOR map."""
    value = canonical.to_value(package.manifest)
    kept = {key: each for key, each in value.items() if key not in _NOT_SHOWN}
    kept["runtime"] = {key: each for key, each in value["runtime"].items() if key not in _NOT_SHOWN_RUNTIME}
    kept["tools"] = [
        {key: each for key, each in tool.items() if key not in _NOT_SHOWN_TOOL} for tool in value["tools"]
    ]
    kept["key_id"] = package.key_id
    return kept


def difference(old: Grant, new: SignedManifest) -> list[Change]:
    """Compare what was shown for *old* with what *new* shows. The widening changes come first."""
    before, after = dict(old.shown), shown(new)
    changes: list[Change] = []
    for key in sorted({*before, *after}):
        compare = _COMPARE.get(key)
        if _same(before.get(key), after.get(key)):
            continue
        if compare is None or key not in before or key not in after:
            changes.append(_replaced(key.replace("_", " "), before.get(key), after.get(key)))
        else:
            changes += compare(before[key], after[key])
    return sorted(changes, key=lambda change: not change.widens)


def carries_over(old: Grant, new: SignedManifest, policy: Policy) -> bool:
    """Return whether *new* may run under what was agreed to for *old*, without asking anybody.

    This is True only if everything shown is the same or provably narrower, the key is the same, the version
    is later, and policy allows carrying over. It is never True for an older version.
    """
    return (
        policy.carry_over
        and old.package == new.manifest.name
        and old.key_id == new.key_id
        and Version(new.manifest.version) > Version(old.version)
        and not any(change.widens for change in difference(old, new))
    )


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are the same in CBOR or JSON; Python says 1 == 1.0 == True."""
    return dumps(one) == dumps(other)


def _replaced(what: str, before: Any, after: Any) -> Change:
    if isinstance(before, str) and isinstance(after, str):
        return Change(f"{what}: was {before!r}, now {after!r}", widens=True)
    return Change(f"{what}: was {json_dumps(before)}, now {json_dumps(after)}", widens=True)


def _runtime(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Change]:
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if _same(old, new):
            continue
        if key == "requires" and old is not None and new is not None and set(new) <= set(old):
            gone = ", ".join(sorted(set(old) - set(new)))
            yield Change(f"no longer takes {gone} from the host", widens=False)
        elif key == "import_once" and new is None:
            yield Change("no longer asks to be imported once", widens=False)
        elif key == "import_once" and old is None and new is True:
            yield Change("asks to be imported once, and to be copied for each call", widens=True)
        else:
            yield _replaced({"kind": "kind of program", "env": "environment"}.get(key, key), old, new)


def _tools(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> Iterable[Change]:
    old_tools = {tool["name"]: tool for tool in before}
    new_tools = {tool["name"]: tool for tool in after}
    for name in sorted({*old_tools, *new_tools}):
        if name not in new_tools:
            yield Change(f"tool {name} is gone", widens=False)
        elif name not in old_tools:
            tool = new_tools[name]
            asks = _ASKS.get(tool["confirm"], tool["confirm"])
            said = ": ".join(filter(None, (tool["title"], tool["description"])))
            yield Change(f"new tool {name} ({tool['operation']}, {asks}): {said}", widens=True)
        else:
            yield from _tool(name, old_tools[name], new_tools[name])


def _tool(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Change]:
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if _same(old, new):
            continue
        change = _replaced(f"tool {name}, {_TOOL_WORDS.get(key, key)}", old, new)
        if key == "operation":
            # `read` is enforced (nothing is mounted writable). Between the others it is a claim.
            change = Change(change.text, widens=new != "read")
        elif key == "confirm" and old in CONFIRMS and new in CONFIRMS:
            change = Change(change.text, widens=CONFIRMS.index(new) < CONFIRMS.index(old))
        yield change


_ASKS: Final = {"never": "runs without asking", "once": "asks once", "always": "asks at every call"}
_TOOL_WORDS: Final = {"inputSchema": "input schema", "outputSchema": "output schema"}


def _permissions(before: Any, after: Any) -> Iterable[Change]:
    old, new = permissions_from(before), permissions_from(after)
    if old.storage != new.storage:
        text = f"storage: was {format_size(old.storage)}, now {format_size(new.storage)}"
        yield Change(text, widens=new.storage > old.storage)
    for word, entry in _entries(new):
        if not old.gives(entry):
            yield Change(f"asks for {word}", widens=True)
    for path in old.read:
        if new.mounts_writable(path) and not old.mounts_writable(path) and path not in new.write:
            yield Change(f"no longer keeps {path} read-only inside what it may write", widens=True)
    for word, entry in _entries(old):
        if not new.gives(entry):
            yield Change(f"no longer asks for {word}", widens=False)


def _entries(permissions: Permissions) -> Iterable[tuple[str, Permissions]]:
    """Yield each single permission except storage: its word, and a value with that permission alone."""
    words: tuple[tuple[str, str], ...] = (
        ("network", "network"),
        ("environment", "environment"),
        ("subprocess", "subprocess"),
        ("read", "filesystem.read"),
        ("write", "filesystem.write"),
    )
    for field, word in words:
        for entry in getattr(permissions, field):
            alone: dict[str, Any] = {field: (entry,)}
            yield f"{word}={entry}", Permissions(**alone)


def _limits(before: Any, after: Any) -> Iterable[Change]:
    old, new = limits_from(before), limits_from(after)
    for name, (key, text) in LIMIT_WORDS.items():
        had, has = getattr(old, name), getattr(new, name)
        if had != has:
            yield Change(f"limits.{key}: was {text(had)}, now {text(has)}", widens=has > had)


def _config(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Change]:
    for key in sorted({*before, *after}):
        if key not in after:
            yield Change(f"setting {key} is gone", widens=False)
        elif key not in before:
            secret = ", a secret" if after[key]["sensitive"] else ""
            variable = f", handed over as {after[key]['env']}" if after[key]["env"] else ""
            yield Change(f"new setting {key} ({after[key]['type']}{secret}{variable})", widens=True)
        elif not _same(before[key], after[key]):
            yield _replaced(f"setting {key}", before[key], after[key])


def _privacy(before: Any, after: Any) -> Iterable[Change]:
    old, new = privacy_from(before), privacy_from(after)
    for word in ("allow", "receive"):
        had, has = set(getattr(old, word)), set(getattr(new, word))
        for kind in sorted(has - had):
            yield Change(f"asks for privacy.{word}={kind}", widens=True)
        for kind in sorted(had - has):
            yield Change(f"no longer asks for privacy.{word}={kind}", widens=False)


_COMPARE: Final[dict[str, Callable[[Any, Any], Iterable[Change]]]] = {
    "runtime": _runtime,
    "tools": _tools,
    "permissions": _permissions,
    "limits": _limits,
    "user_config": _config,
    "privacy": _privacy,
}

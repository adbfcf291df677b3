"""Explains why something did not work inside, and which permission would allow it.

A tool gets ENOENT for what it was not granted, so that it learns nothing. Its caller is told what the
sandbox knows: which path was tried, and that no grant names it. Whether the path exists on the host is not
looked up, because the model reads the explanation, too.

The launcher of a Python tool notes what the tool tried and was denied, even if the tool did not fail. These
notes are the tool's own word, and only a hint for people. Each note is compared with the plan here, and is
reported only where the plan does deny it. The same holds for the error messages of other programs and
servers that fail (``complaints``). What these tried without a message is known of a traced call only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from mpp_exec import encoding
from mpp_exec.characters import forbidden_character, visible
from mpp_exec.permissions import HostPort, Permissions
from mpp_exec.sandbox import native
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.vocabulary import VocabularyError, parse_host_port, parse_program

_MISSING = (errno.ENOENT, errno.EACCES, errno.EPERM)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_OWN: Final = ("/app", "/dev", "/mpp", "/proc", "/python", "/sys")

_SHOWS: Final = ("bind", "tmpfs", "hold")

DENIALS_MAX: Final = 16
"""Denials that a result tells of."""

_TEXT_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Denial:
    """One thing that a tool tried and was not given.

    All of it is for people and models to read, one line each. The tool chose the path, so invisible
    characters in it, including line breaks, are escaped.

    Attributes:
        kind: ``path``, ``host``, ``program``, ``variable`` or ``call``.
        tried: which one, "" where that is not known (the host of a socket).
        permission: where a package asks for it, ``filesystem.read`` say; "" where none would allow it.
        toml: the line of ``[permissions]`` that asks for it; "" with no permission.
        sentence: all of it, for people.
    """

    kind: Literal["path", "host", "program", "variable", "call"]
    tried: str
    permission: str
    toml: str
    sentence: str

    def __post_init__(self) -> None:
        for name in ("tried", "sentence"):
            object.__setattr__(self, name, visible(getattr(self, name)))

    def to_value(self) -> dict[str, str]:
        """Return it as JSON, less the sentence."""
        told = {"kind": self.kind, "tried": self.tried, "permission": self.permission, "toml": self.toml}
        return {name: text for name, text in told.items() if text or name in ("kind", "tried")}

    def told_as(self, given: str, clean: Clean) -> Denial:
        """Return it without what *clean* takes out of *given*, the tool's own spelling of what was tried.

        The report spells it differently (a path without ``//``, a host in lower case), so a value in it would
        no longer be recognised.
        """
        shown = clean(given)
        if shown == given:
            return self
        sentence = self.sentence.replace(self.tried, shown) if self.tried else self.sentence
        return replace(self, tried=shown, toml="", sentence=sentence)


Clean = Callable[[str], str]
"""Takes sensitive data out of a text."""


def _as_it_is(text: str) -> str:
    return text


def explain_denial(plan: SandboxPlan, path: str | None, number: int | None, clean: Clean = _as_it_is) -> str:
    """Return a sentence for an OSError that a tool raised about *path*, "" where no permission is missing.

    *clean* is shown the path as the tool spelled it, before it is told in another way.
    """
    if number == errno.ENOSYS:
        missing = "no other program" if plan.network else "no network and no other program"
        beside = "; sockets are TCP and UDP, and none listens" if plan.network else ""
        return (
            f"the sandbox refused a system call: this package was granted {missing}{beside}; "
            "it would have to ask for more under [permissions]"
        )
    if path is None:
        return ""
    if number == errno.ENOSPC and _within(_normal(path), plan.scratch):
        return f"{plan.scratch} is full: its limit is {plan.limits.scratch >> 20} MiB, [limits] scratch"
    absolute = _normal(os.path.join(plan.scratch, path))  # noqa: PTH118 - a path inside, not on this host
    if number in _MISSING and (denial := _unread(plan, absolute)):
        return denial.told_as(path, clean).sentence
    if number in _READ_ONLY and (denial := _unwritten(plan, absolute)):
        return denial.told_as(path, clean).sentence
    return ""


def denials(
    plan: SandboxPlan,
    tried: Mapping[str, Any],
    clean: Clean = _as_it_is,
    *,
    granted: Permissions,
    asked: Permissions,
) -> tuple[Denial, ...]:
    """Return what *plan* denies of what it is said was *tried*, each once, DENIALS_MAX at most.

    *tried* is the tool's own report, of any form. *clean* gets each entry in the tool's spelling, before it
    is reported in another one. The entries of ``refused`` come from the broker: host, port (0 for a question
    about a name), and the reason. *granted* is what the plan was made from. Variables are reported only if
    the package *asked* for them and was not given them, because programs look for many variables that are set
    nowhere.
    """
    found: dict[Denial, None] = {}
    words: dict[str, Callable[[str], Denial | None]] = {
        "read": lambda text: _unread(plan, _normal(text)) if text.startswith("/") else None,
        "write": lambda text: _unwritten(plan, _normal(text)) if text.startswith("/") else None,
        "program": lambda text: _unstarted(plan, text),
        "host": lambda text: _unreached(plan, text, granted),
        "variable": lambda text: _unseen(plan, text, granted, asked),
    }
    known: set[str] = set()
    for word, explain in words.items():
        for text in _texts(tried.get(word)):
            if (denial := explain(text)) is not None:
                found[denial.told_as(text, clean)] = None
                known.add(denial.tried.rpartition(":")[0])
    for host, port, why in tried.get("refused", ()):
        if (port or host not in known) and (denial := _not_had(plan, host, port, why, granted)) is not None:
            found[denial.told_as(denial.tried, clean)] = None
    hosts = any(each.kind == "host" for each in found)
    # A socket after a lookup is the same attempt.
    told = [each for each in found if not (hosts and each.kind == "call" and each.permission == "network")]
    return tuple(told[:DENIALS_MAX])


def _normal(path: str) -> str:
    # Two slashes in front mean nothing of their own on Linux; POSIX lets them, and normpath keeps them.
    return os.path.normpath(f"/{path.lstrip('/')}")


def _texts(value: Any) -> Iterable[str]:
    entries = value[:64] if isinstance(value, list) else []
    return (each for each in entries if isinstance(each, str) and len(each) <= _TEXT_MAX)


def _unread(plan: SandboxPlan, path: str) -> Denial | None:
    shown = any(
        _within(path, entry.target) if entry.kind in _SHOWS else path == entry.target
        for entry in plan.entries
        if entry.kind in (*_SHOWS, "file")
    )
    if shown:
        return None
    return _path(plan, path, "read")


def _unwritten(plan: SandboxPlan, path: str) -> Denial | None:
    shown = [entry for entry in plan.entries if entry.kind in _SHOWS and _within(path, entry.target)]
    if not shown:
        return _path(plan, path, "write")
    nearest = max(shown, key=lambda entry: len(entry.target))
    if not nearest.attributes & native.MOUNT_RDONLY:
        return None
    if any(_within(path, own) for own in _OWN):
        return Denial(
            "path", path, "", "", f"{path} is the sandbox's own: only {plan.scratch} can be written"
        )
    sentence = (
        f"{nearest.target} is granted to {plan.package} for reading only: writing needs "
        "[permissions.filesystem] write, and a tool whose operation is write"
    )
    return Denial("path", path, "filesystem.write", _line("write", nearest.target), sentence)


def _path(plan: SandboxPlan, path: str, access: Literal["read", "write"]) -> Denial:
    if any(_within(path, own) for own in _OWN) or path == "/":
        return Denial(
            "path", path, "", "", f"{path} belongs to the sandbox itself: no permission shows more of it"
        )
    sentence = (
        f"{path} is not granted to {plan.package}: to allow it, the package must ask for it under "
        f"[permissions.filesystem] {access}, and you must approve it: mpp-exec approve {plan.package}"
    )
    return Denial("path", path, f"filesystem.{access}", _line(access, path), sentence)


def _unstarted(plan: SandboxPlan, text: str) -> Denial | None:
    name = text.rpartition("/")[2]
    if any(program.name == name for program in plan.started) or (not name and plan.started):
        return None
    if not name:
        what, line = "another process", 'subprocess = ["PROGRAM"]'
        return Denial(
            "call", "fork", "subprocess", line, _needs(plan, "the system call fork", what, "subprocess")
        )
    try:
        parse_program(name)
    except VocabularyError:
        return None
    return Denial(
        "program",
        name,
        "subprocess",
        _line("subprocess", name),
        _needs(plan, name, "a program", "subprocess"),
    )


def _unreached(plan: SandboxPlan, text: str, granted: Permissions) -> Denial | None:
    host, _, port = text.rpartition(":")
    if not host:
        if granted.network:
            return None
        line = 'network = ["HOST:PORT"]'
        return Denial(
            "call", "socket", "network", line, _needs(plan, "the system call socket", "network", "network")
        )
    is_whole = port.isdigit() and int(port) > 0
    try:
        wanted = parse_host_port(f"{host}:{port if is_whole else _LIKELY}")
    except VocabularyError:
        return None
    if _reaches(granted, wanted):
        return None
    # Who asked for its name alone has not said which port.
    tried = str(wanted) if is_whole else wanted.host
    return Denial(
        "host", tried, "network", _line("network", str(wanted)), _needs(plan, tried, "a host", "network")
    )


_LIKELY: Final = 443
"""The port of a line to type, where it is not known."""

_NOT_HAD: Final = {
    "address": "it leads to a private address, or one of this host: [permissions] network can name an "
    "address, as in 10.0.0.5:{port}, and you must approve it",
    "hello": "the tool began TLS for another host name, or for none",
    "resolve": "the name does not resolve: no resolver of this host knows an address for it",
    "connect": "nothing answers there",
    "limit": "too many connections at once",
}


def _not_had(plan: SandboxPlan, host: str, port: int, why: str, granted: Permissions) -> Denial | None:
    """Return what the broker did not connect to: a host that is not granted, or one that is, and why."""
    if not host:
        return None
    where = f"[{host}]" if ":" in host else host
    denial = _unreached(plan, f"{where}:{port or ''}", granted)
    if denial is not None or why not in _NOT_HAD:
        return denial
    tried = f"{where}:{port}" if port else where
    verb = "was refused to" if why in ("address", "hello", "limit") else "could not be reached by"
    sentence = f"{tried} {verb} {plan.package}: {_NOT_HAD[why].format(port=port or _LIKELY)}"
    return Denial("host", tried, "", "", sentence)


def _reaches(granted: Permissions, wanted: HostPort) -> bool:
    return granted.covers(Permissions(network=(wanted,)))


def _unseen(plan: SandboxPlan, name: str, granted: Permissions, asked: Permissions) -> Denial | None:
    if name in granted.environment or name not in asked.environment:
        return None
    sentence = (
        f"the variable {name} was withheld from {plan.package}; to allow it: mpp-exec approve {plan.package}"
    )
    return Denial("variable", name, "environment", _line("environment", name), sentence)


def _needs(plan: SandboxPlan, tried: str, what: str, permission: str) -> str:
    return (
        f"{tried} was refused to {plan.package}: {what} needs [permissions] {permission}, "
        f"and you must approve it: mpp-exec approve {plan.package}"
    )


def _line(key: str, entry: str) -> str:
    """Return a line of TOML, "" for what no package can ask for. A JSON string is a basic string of TOML."""
    return "" if forbidden_character(entry) else f"{key} = [{encoding.json_dumps(entry)}]"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")

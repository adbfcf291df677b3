"""Reads policy from files that the organisation and the user wrote, and trusts none of them unchecked.

The organisation's policy is ``/etc/mpp-exec/policy.toml``, owned by root and writable by nobody else. Only
ENOENT means that there is no policy: a file that cannot be read, parsed or trusted stops every call.
``$MPP_POLICY`` and the home's own ``policy.toml`` are further layers, and layers only narrow.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from mpp_exec.consent import redaction_rules
from mpp_exec.consent.policy import (
    ACTIONS,
    BINARY,
    BINARY_ACTIONS,
    Action,
    NetworkPattern,
    Policy,
    PolicyLayer,
)
from mpp_exec.errors import ConsentError, InternalError, MppError
from mpp_exec.faults import of_os_error
from mpp_exec.owners import stranger
from mpp_exec.package.fields import FieldError, Fields, nearest
from mpp_exec.package.manifest import CONFIRMS, OPERATIONS
from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import (
    VocabularyError,
    parse_duration,
    parse_env_name,
    parse_host_port,
    parse_kind,
    parse_path,
    parse_program,
    parse_size,
)

_T = TypeVar("_T")

SYSTEM_POLICY: Final = Path("/etc/mpp-exec/policy.toml")
MAX_POLICY: Final = 1024 * 1024
"""Bytes of a policy file."""

_SETTLED_NS: Final = 2_000_000_000  # older than any clock tick with which a file system stamps changes
_STOPPED: Final = "correct it; until then nothing runs"
_PUBLISHER: Final = lazily(r"[a-z0-9][a-z0-9-]{0,62}|sha256:[0-9a-f]{64}", re.ASCII)
_DEGRADATION: Final = lazily(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)
_LIMITS: Final[dict[str, tuple[str, Callable[[str], int] | None]]] = {  # TOML key → field of Limits
    "wall": ("wall_ms", parse_duration),
    "cpu": ("cpu_ms", parse_duration),
    "memory": ("memory", parse_size),
    "processes": ("processes", None),
    "open_files": ("open_files", None),
    "output": ("output", parse_size),
    "scratch": ("scratch", parse_size),
}


class PolicyFiles:
    """The files that make up the policy of one home; they are read again whenever one of them changes.

    *system* and *system_owner* (a uid) are parameters for tests; nothing in the environment can change them.
    Thread-safe without a lock, and so usable after a fork.
    """

    def __init__(
        self,
        home: Path,
        *,
        system: Path = SYSTEM_POLICY,
        system_owner: int = 0,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._system = system
        self._system_owner = system_owner
        self._named = Path(environ["MPP_POLICY"]).absolute() if environ.get("MPP_POLICY") else None
        self._own = home / "policy.toml"
        self._seen: dict[Path, tuple[tuple[int, ...], PolicyLayer]] = {}
        self._places = [
            # Each folder is looked at as in _open_trusted: the system's folder may not be a link.
            (os.lstat if path == system else os.stat, os.fspath(path.parent), os.fspath(path))
            for path in (self._system, self._named, self._own)
            if path is not None
        ]
        self._last: tuple[tuple[int, ...], Policy] | None = None

    def protected(self) -> tuple[Path, ...]:
        """Return the paths that no grant may reach: the folder of the organisation's policy, the user's file.

        The home's own policy is inside the home, which is protected as a whole.
        """
        return (self._system.parent, *([self._named] if self._named else []))

    def places(self) -> tuple[Path, ...]:
        """Return where policy is looked for, the organisation's first."""
        return (self._system, *([self._named] if self._named else []), self._own)

    def load(self) -> Policy:
        """Read all layers.

        Raises:
            ConsentError: ``policy.*``; InternalError: ``host.exhausted``. Nothing may run then.
        """
        user = {0, os.geteuid()}
        looked = self._looked(*user)
        last = self._last
        if last is not None and last[0] == looked:
            return last[1]
        layers = [
            self._layer(self._system, {self._system_owner}, narrowing=False),
            self._layer(self._named, user, narrowing=True, required=True) if self._named else None,
            self._layer(self._own, user, narrowing=True),
        ]
        policy = Policy(tuple(layer for layer in layers if layer is not None))
        # Keep the policy only if the files had settled before, and none was touched meanwhile.
        settled = [seen[1] for seen in list(self._seen.values())]  # at once: another thread may add to it
        is_kept = all(layer is None or any(layer is each for each in settled) for layer in layers)
        self._last = (looked, policy) if looked and is_kept and self._looked(*user) == looked else None
        return policy

    def _looked(self, *users: int) -> tuple[int, ...]:
        """Return the identities of all folders and files now, absent ones too; () if they are unknown."""
        found = [*users]
        for look, folder, path in self._places:
            for ask, name in ((look, folder), (os.lstat, path)):
                try:
                    status = ask(name)
                except FileNotFoundError:
                    found.append(-1)
                    continue
                except OSError:
                    return ()
                found += (status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_size)
                found += (status.st_mtime_ns, status.st_ctime_ns) if ask is os.lstat else (0, 0)
        return tuple(found)

    def _layer(
        self, path: Path, owners: set[int], *, narrowing: bool, required: bool = False
    ) -> PolicyLayer | None:
        try:
            descriptor = _open_trusted(path, owners, strict=not narrowing)
        except FileNotFoundError:
            if required:
                hint = "$MPP_POLICY names it: create it, or unset the variable"
                raise _refusal("missing", path, "does not exist", hint) from None
            return None
        try:
            if required:
                _refuse_exposed(path)
            status = os.fstat(descriptor)
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            seen = self._seen.get(path)
            if seen is not None and seen[0] == stamp:
                return seen[1]
            layer = parse_layer(_read(descriptor, path), str(path), narrowing=narrowing)
        finally:
            os.close(descriptor)
        # A second change within one tick of the clock would leave the same stamp.
        if abs(time.time_ns() - status.st_ctime_ns) > _SETTLED_NS:
            self._seen[path] = (stamp, layer)
        return layer


def _refuse_exposed(path: Path) -> None:
    """Refuse a *path* on which a stranger could replace this file by another file of the user.

    The system's file and the home's own need no such check: only root and the user can change their paths.
    """
    try:
        found = stranger(os.fspath(path.parent), also=(Path("/").stat().st_uid,))  # root, in a user namespace
    except OSError as error:
        raise _refusal("unreadable", path, f"cannot be reached: {error.strerror}") from error
    if found is not None:
        hint = "keep it where nobody but you and root can move or replace it"
        raise _refusal("exposed", path, f"is reached over {found[0]}, which another user can change", hint)


def _open_trusted(path: Path, owners: set[int], *, strict: bool) -> int:
    """Open *path* if only *owners* can have written it or replaced it in its folder.

    FileNotFoundError passes through; any other failure is an MppError. With *strict*, the folder also may
    not be a link, nor sticky and open to all like ``/tmp``.
    """
    folder = path.parent if strict else Path(os.path.realpath(path.parent))
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        holder = os.open(folder, os.O_PATH | os.O_DIRECTORY | flags)
        try:
            _require_owner(os.fstat(holder), folder, owners, sticky=not strict, kind=stat.S_IFDIR)
            descriptor = os.open(path.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | flags, dir_fd=holder)
        finally:
            os.close(holder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _refusal("link", path, "is reached through a link, or not a file in a folder") from error
        raise _unreadable(path, error) from error
    try:
        _require_owner(os.fstat(descriptor), path, owners, sticky=False, kind=stat.S_IFREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_owner(status: os.stat_result, path: Path, owners: set[int], *, sticky: bool, kind: int) -> None:
    if stat.S_IFMT(status.st_mode) != kind:
        raise _refusal("link", path, "is not a regular file")
    if sticky and status.st_mode & stat.S_ISVTX:
        return  # /tmp: others can add files there, but not touch ours
    if status.st_uid not in owners:
        names = " or ".join(map(str, sorted(owners)))
        hint = f"if its text is right: chown {max(owners)} {path}"
        raise _refusal("owner", path, f"belongs to user {status.st_uid}, not to {names}", hint)
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        hint = f"if its text is right: chmod go-w {path}"
        raise _refusal("writable", path, f"can be written by others (mode {mode:04o})", hint)


def _read(descriptor: int, path: Path) -> str:
    try:
        chunks = []
        size = 0
        while chunk := os.read(descriptor, 1 << 16):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_POLICY:
                raise _refusal("too_large", path, f"is larger than {MAX_POLICY} bytes")
        return b"".join(chunks).decode()
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise _refusal("malformed", path, "is not UTF-8 text") from error


def _unreadable(path: Path, error: OSError) -> MppError:
    """Return the error that stops the call: a host resource is exhausted, or the file cannot be read."""
    what = f"cannot be read: {error.strerror}"
    if of_os_error(error) in ("descriptors", "memory"):
        return InternalError("host.exhausted", f"policy {path} {what}", "try again later")
    return _refusal("unreadable", path, what)


def _refusal(reason: str, path: Path, what: str, hint: str = _STOPPED) -> ConsentError:
    return ConsentError(f"policy.{reason}", f"policy {path} {what}", hint)


def parse_layer(text: str, source: str, *, narrowing: bool) -> PolicyLayer:
    """Parse the TOML of one policy file. Unknown keys are errors that name the nearest known one.

    A *narrowing* layer is a user's layer. It may not leave any kind unredacted.

    Raises:
        ConsentError: ``policy.malformed``, ``policy.unknown_key``, ``policy.wrong_type``,
            ``policy.unknown_word`` or ``policy.widens``.
    """
    import tomllib  # noqa: PLC0415 -- most homes have no policy

    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of thousands of digits
        raise ConsentError(
            "policy.malformed", f"policy {source} is not TOML: {error}", "correct it; until then nothing runs"
        ) from error
    try:
        return _layer(document, source, narrowing=narrowing)
    except FieldError as error:
        where = f"key {error.key} " if error.key else ""
        raise ConsentError(
            f"policy.{error.reason}",
            f"policy {source}: {where}{error.message}",
            error.hint or "correct it; until then nothing runs",
        ) from error


_SECOND_OPINION: Final = "second_opinion"
_IMPORT_ONCE: Final = "import_once"


def _layer(document: dict[str, Any], source: str, *, narrowing: bool) -> PolicyLayer:
    known = ("carry_over", "publishers", "permissions", "limits", "degradations", "confirm", "redaction")
    top = Fields(document, "", (*known, _IMPORT_ONCE, _SECOND_OPINION, redaction_rules.KEY))
    publishers = Fields(top.take("publishers", dict, {}), "publishers", ("allow", "deny"))
    asked = ("network", "environment", "subprocess", "storage", "filesystem")
    permissions = Fields(top.take("permissions", dict, {}), "permissions", asked)
    paths = Fields(permissions.take("filesystem", dict, {}), "permissions.filesystem", ("read", "write"))
    degradations = Fields(top.take("degradations", dict, {}), "degradations", ("allow",))
    confirm = Fields(top.take("confirm", dict, {}), "confirm", OPERATIONS)
    return PolicyLayer(
        source=source,
        carry_over=top.flag("carry_over", default=True),
        publishers=_words(publishers, "allow", _parse_publisher),
        denied_publishers=_words(publishers, "deny", _parse_publisher) or (),
        network=_words(permissions, "network", parse_network_pattern),
        environment=_words(permissions, "environment", parse_env_name),
        subprocess=_words(permissions, "subprocess", parse_program),
        read=_words(paths, "read", parse_path),
        write=_words(paths, "write", parse_path),
        storage=_quantity(permissions, "storage", parse_size) if permissions.has("storage") else None,
        limits=_limits(top.take("limits", dict, {})),
        degradations=_words(degradations, "allow", _parse_degradation),
        import_once=top.flag(_IMPORT_ONCE, default=True),
        confirm={each: confirm.choice(each, CONFIRMS) for each in OPERATIONS if confirm.has(each)},
        redaction=_redaction(top.take("redaction", dict, {}), narrowing=narrowing),
        second_opinion=top.choice(_SECOND_OPINION, ("presidio",)) if top.has(_SECOND_OPINION) else "",
        redaction_rules=redaction_rules.parse_rules(top.take(redaction_rules.KEY, list, [])),
    )


def _words(table: Fields, name: str, parse: Callable[[str], _T]) -> tuple[_T, ...] | None:
    if not table.has(name):
        return None
    parsed = []
    for index, text in enumerate(table.texts(name)):
        try:
            parsed.append(parse(text))
        except VocabularyError as error:
            key = f"{table.key(name)}[{index}]"
            raise FieldError("unknown_word", key, f"cannot be read: {error.message}", error.hint) from error
    return tuple(dict.fromkeys(parsed))


def _quantity(table: Fields, name: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(table.text(name))
    except VocabularyError as error:
        raise FieldError("unknown_word", table.key(name), error.message, error.hint) from error


def _limits(value: Any) -> dict[str, int]:
    table = Fields(value, "limits", tuple(_LIMITS))
    found: dict[str, int] = {}
    for key, (name, parse) in _LIMITS.items():
        if table.has(key):
            most = _quantity(table, key, parse) if parse else table.integer(key)
            if most < 1:
                raise FieldError("unknown_word", table.key(key), "must be at least 1")
            found[name] = most
    return found


def _redaction(value: Any, *, narrowing: bool) -> dict[str, Action]:
    if not isinstance(value, dict):
        raise FieldError("wrong_type", "redaction", "must be a table")
    found: dict[str, Action] = {}
    for kind, action in value.items():
        key = f"redaction.{kind}"
        try:
            parse_kind(kind)
        except VocabularyError as error:
            raise FieldError("unknown_word", key, error.message, error.hint) from error
        known = BINARY_ACTIONS if kind == BINARY else ACTIONS
        if action not in known:
            raise FieldError("unknown_word", key, f"cannot be {action!r}", nearest(str(action), known))
        if narrowing and action == "allow":
            raise FieldError(
                "widens",
                key,
                "cannot be 'allow' here: only the organisation's policy may leave data unredacted",
            )
        found[kind] = action
    return found


def parse_network_pattern(text: str) -> NetworkPattern:
    """Parse ``host:port`` as in a manifest; here ``*`` may stand for any host and for any port.

    Raises:
        VocabularyError: the text is neither.
    """
    host, _, port = text.rpartition(":")
    if port == "*":
        return NetworkPattern("*" if host == "*" else parse_host_port(f"{host}:1").host, 0)
    if host == "*":
        return NetworkPattern("*", parse_host_port(f"any.example:{port}").port)
    parsed = parse_host_port(text)
    return NetworkPattern(parsed.host, parsed.port)


def _parse_publisher(text: str) -> str:
    if _PUBLISHER.fullmatch(text) is None:
        raise VocabularyError(
            f"{text!r} is neither publisher nor key id", "write acme, or sha256:<64 hex digits>"
        )
    return text


def _parse_degradation(text: str) -> str:
    if _DEGRADATION.fullmatch(text) is None:
        raise VocabularyError(f"{text!r} names no degradation", "see `mpp-exec doctor` for their names")
    return text

"""The words of the ledger: what one entry says, and the hash that ties it to the one before.

An entry is a CBOR map. Its hash covers a fixed label, its sequence number, the hash of the entry
before it and its bytes, so that no entry can be changed, moved, left out or put in without every
later hash changing too::

    hash(n) = SHA-256("mpp-exec ledger entry v1" NUL || n as 8 bytes, big-endian || hash(n-1) || body(n))

The first entry (kind ``genesis``) follows 32 zero bytes and holds a random number, so that no two
ledgers share a hash. Values only; nothing here touches a file.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from mpp_exec.audit.storable import storable
from mpp_exec.encoding import dumps, dumps_ordered, loads
from mpp_exec.errors import InternalError, MppError
from mpp_exec.permissions import Limits, Permissions

HASH_SIZE: Final = 32
NO_ENTRY: Final = bytes(HASH_SIZE)
"""What stands as the hash before the first entry."""

MAX_BODY: Final = 256 * 1024
"""Bytes of one entry; far above what the largest manifest needs."""

_LINK_LABEL: Final = b"mpp-exec ledger entry v1\0"


class Kind(StrEnum):
    """What an entry reports."""

    GENESIS = "genesis"
    START = "start"
    OUTCOME = "outcome"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    INSTALL = "install"
    UNINSTALL = "uninstall"
    DOWNGRADE = "downgrade"
    APPROVE = "approve"
    REVOKE = "revoke"
    PUBLISHER_ADD = "publisher.add"
    PUBLISHER_ROTATE = "publisher.rotate"
    PUBLISHER_REMOVE = "publisher.remove"
    PUBLISHER_REVOKE = "publisher.revoke"
    PUBLISHER_LIFT = "publisher.lift"
    CONFIRM = "confirm"
    CONFIRM_USED = "confirm.used"
    KEYGEN = "keygen"
    POLICY = "policy"
    ERASE = "erase"
    RESTART = "restart"


ENDINGS: Final = frozenset({Kind.OUTCOME, Kind.UNKNOWN})
"""The kinds that end a call; a list shows them with its start."""


class Outcome(StrEnum):
    """How a call ended. ``failed`` is a failure that is no tool's result; its code stands beside it."""

    OK = "ok"
    TOOL_ERROR = "tool_error"
    TIMEOUT = "timeout"
    CPU = "cpu"
    MEMORY = "memory"
    OUTPUT = "output"
    PROCESSES = "processes"
    SYSCALL = "syscall"
    KILLED = "killed"
    PROTOCOL = "protocol"
    FAILED = "failed"


RUNNING: Final = "running"
"""Shown for a call without an outcome whose writer lives."""

UNKNOWN: Final = "unknown"
"""Shown for a call that will never have an outcome: whoever could have written it is gone."""


def link(sequence: int, previous: bytes, body: bytes) -> bytes:
    """Return the 32-byte hash of an entry, given its number, the hash before it and its CBOR bytes."""
    return hashlib.sha256(b"%b%b%b%b" % (_LINK_LABEL, sequence.to_bytes(8), previous, body)).digest()


def milliseconds(moment: datetime) -> int:
    """Return an aware *moment* as milliseconds since 1970-01-01T00:00:00Z."""
    return round(moment.timestamp() * 1000)


def moment(at: int) -> datetime:
    """Return the UTC time of :func:`milliseconds`."""
    return datetime.fromtimestamp(at / 1000, UTC)


@dataclass(frozen=True)
class Caller:
    """Who asked. ``principal`` and ``client`` are what the calling side says of itself, not proven.

    Attributes:
        uid: the real user id of the process that recorded the entry.
        pid: its process id; of a call that the resident runtime makes, its client's.
        user: the host's name for ``uid``, empty if it has none.
        principal: on whose behalf, as the embedding program put it.
        client: the program that asked, such as an MCP client's name and version.
    """

    uid: int
    pid: int
    user: str = ""
    principal: str = ""
    client: str = ""

    @classmethod
    def current(cls, *, principal: str = "", client: str = "", pid: int | None = None) -> Caller:
        """Describe this process, with what it says of itself. The same value every time, and encoded once.

        *pid* is another process of the same user, where this one works for it.
        """
        return _caller(os.getuid(), os.getpid() if pid is None else pid, principal, client)

    @functools.cached_property
    def encoded(self) -> bytes:
        """The CBOR bytes that go into an entry, made once."""
        return dumps(storable(asdict(self), []))


@functools.lru_cache(maxsize=64)
def _caller(uid: int, pid: int, principal: str, client: str) -> Caller:
    return Caller(uid, pid, _name_of(uid), principal, client)


@functools.lru_cache(maxsize=8)  # the name service may be slow, and is not asked with every call
def _name_of(uid: int) -> str:
    import pwd  # noqa: PLC0415 -- only whoever records needs the name service

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@dataclass(frozen=True, slots=True)
class PackageRef:
    """One exact package. ``key`` (the publisher's key id) and ``digest`` are ``sha256:<hex>``."""

    name: str
    version: str
    publisher: str
    key: str
    digest: str


@dataclass(frozen=True)
class Terms:
    """What is called and what it may do: the same for every call under one plan, so encoded once.

    Attributes:
        package: the package called.
        tool: the tool's name in it.
        granted: what the plan lets it reach.
        withheld: words of what the manifest asked for and the user or the policy did not give.
        limits: the bounds that apply.
        mechanisms: names of what enforces the plan, such as ``landlock`` or ``seccomp``.
        degradations: what this host does not enforce and the grant accepts, by name.
    """

    package: PackageRef
    tool: str
    granted: Permissions
    withheld: tuple[str, ...]
    limits: Limits
    mechanisms: tuple[str, ...]
    degradations: tuple[str, ...] = ()

    @property
    def reaches_outside(self) -> bool:
        """Whether a call may leave a trace outside its sandbox, so that its start goes on record first.

        A plan that is degraded counts, whatever it grants: less is enforced than it says.
        """
        granted = self.granted
        return bool(
            granted.network or granted.write or granted.subprocess or granted.storage or self.degradations
        )

    @functools.cached_property
    def encoded(self) -> bytes:
        """The CBOR bytes that go into an entry, made once."""
        return dumps(
            storable(
                {
                    "package": asdict(self.package),
                    "tool": self.tool,
                    "granted": permissions_value(self.granted),
                    "withheld": self.withheld,
                    "limits": asdict(self.limits),
                    "mechanisms": self.mechanisms,
                    "degradations": self.degradations,
                },
                [],
            )
        )


def permissions_value(permissions: Permissions) -> dict[str, Any]:
    """Return *permissions* as a map for an entry; network destinations are ``host:port`` texts."""
    value = asdict(permissions)
    value["network"] = [str(destination) for destination in permissions.network]
    return value


def encode(kind: Kind, at: int, content: Mapping[str, Any]) -> bytes:
    """Return the bytes of an entry of *kind* made at *at* (ms), with *content* beside these two.

    Raises:
        InternalError: ``ledger.unencodable`` if *content* is no CBOR value or too large.
    """
    try:
        floats: list[float] = []
        clean = storable({**content, "kind": str(kind), "at": at}, floats)
        body = dumps(clean) if floats else dumps_ordered(clean)
    except (MppError, TypeError, ValueError) as error:
        raise InternalError(
            "ledger.unencodable", f"{kind} cannot be written on the ledger: {error}", _FAULT
        ) from error
    if len(body) > MAX_BODY:
        raise InternalError(
            "ledger.unencodable",
            f"{kind} takes {len(body)} bytes on the ledger where {MAX_BODY} are the most",
            "grant fewer, broader paths",
        )
    return body


_FAULT: Final = "nothing ran; please report this"


_NESTED: Final = ("caller", "terms")  # byte strings that hold CBOR again, encoded once and used often


def decode(body: bytes) -> dict[str, Any]:
    """Return what :func:`encode` was given, with caller and terms unfolded.

    Raises:
        PackageError: ``cbor.*``, the bytes are no deterministic CBOR.
        ValueError: they are, but no entry.
    """
    content = loads(body, max_size=MAX_BODY)
    if not (isinstance(content, dict) and isinstance(content.get("at"), int)):
        raise ValueError("an entry is a map with a time")  # noqa: TRY004 -- the caller asks for one kind of error
    Kind(str(content.get("kind")))
    for name in _NESTED:
        if name in content:
            if not isinstance(content[name], bytes):
                raise ValueError(f"{name} is not encoded")
            content[name] = _unfold(content[name])
    return content


@functools.lru_cache(maxsize=32)  # the same few callers and terms stand in most of a ledger's entries
def _unfold(data: bytes) -> Any:
    return loads(data, max_size=MAX_BODY)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as read back. ``ending`` is the entry that ended the call, for a start that has one.

    Everything but the four stored fields is derived from ``body``, so what is shown is what the hash
    covers. ``content`` is empty if the body cannot be read. ``alive`` says of a start whether the
    process that made it still runs.
    """

    sequence: int
    previous: bytes
    hash: bytes
    body: bytes
    ending: Entry | None = None
    alive: bool = False
    content: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            content = decode(self.body)
        except (MppError, ValueError):
            content = {}
        object.__setattr__(self, "content", content)

    @property
    def intact(self) -> bool:
        """Whether the body is readable and gives this hash. Only ``Ledger.verify`` proves the chain."""
        is_one = bool(self.content) and self.sequence > 0
        return is_one and link(self.sequence, self.previous, self.body) == self.hash

    @property
    def kind(self) -> str:
        """One of :class:`Kind`, or ``""`` for a body that cannot be read."""
        return str(self.content.get("kind", ""))

    @property
    def at(self) -> datetime | None:
        """When it was written, by the clock of that time; the order is ``sequence``'s, not time's."""
        at = self.content.get("at")
        try:
            return None if at is None else moment(at)
        except (OverflowError, ValueError, OSError):
            return None

    @property
    def invocation(self) -> str:
        """The call that the entry belongs to, or ``""``."""
        return str(self.content.get("call", ""))

    @property
    def package(self) -> str:
        """``publisher/name`` or ``""``."""
        package = self._of_terms("package")
        return str(package.get("name", "")) if isinstance(package, dict) else ""

    @property
    def tool(self) -> str:
        """The tool's name or ``""``."""
        return str(self._of_terms("tool") or "")

    @property
    def outcome(self) -> str:
        """An :class:`Outcome`, ``running`` or ``unknown`` for a call; ``""`` for anything else."""
        if self.ending is not None:
            return self.ending.outcome
        if self.kind == Kind.START:
            return RUNNING if self.alive else UNKNOWN
        if self.kind == Kind.UNKNOWN:
            return UNKNOWN
        return str(self.content.get("outcome", ""))

    def _of_terms(self, name: str) -> Any:
        terms = self.content.get("terms")
        return (terms if isinstance(terms, dict) else self.content).get(name)

    def content_json(self) -> dict[str, Any]:
        """Return what the body says, as a JSON object: byte strings in hex, the time as ISO 8601."""
        at = self.at
        return {**_jsonable(self.content), "at": None if at is None else iso(at)}

    def to_json(self) -> dict[str, Any]:
        """Return everything there is to know of the entry, as one JSON object."""
        shown = {
            "sequence": self.sequence,
            "hash": self.hash.hex(),
            "previous": self.previous.hex(),
            "intact": self.intact,
            **self.content_json(),
        }
        if self.kind == Kind.START:
            shown["outcome"] = self.outcome
        if self.ending is not None:
            shown["ending"] = self.ending.to_json()
        return shown


def iso(when: datetime) -> str:
    """Return *when* as ISO 8601 in UTC with milliseconds and ``Z``."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    return value

"""Entries to be: what a start, an outcome and everything else put on record, and with which key.

Values in, :class:`Record` out. Commitment keys are made here and leave only sealed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from mpp_exec.audit import commitment
from mpp_exec.audit.entry import Caller, Kind, Outcome, PackageRef, Terms, encode

SEAL_PURPOSE: Final = "ledger-commitments"
"""The home's sub-key under which commitment keys lie in the database."""


class Record(NamedTuple):
    """One entry to be appended: its bytes, the columns that repeat them, and what goes with it.

    ``key`` is the commitment key as it will lie in the database. ``writer`` is set on a start,
    ``erases`` holds the numbers of the entries whose keys an ``erase`` removes. ``maybe_after`` is set
    on a start that may be on record already: somewhere behind the entry of that number.
    """

    kind: Kind
    at: int
    body: bytes
    call: str = ""
    package: str = ""
    tool: str = ""
    writer: str = ""
    key: bytes | None = None
    erases: tuple[int, ...] = ()
    maybe_after: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended.

    Attributes:
        outcome: in one word.
        result: what will be handed over, a JSON value; None if nothing is. Only a keyed commitment to
            it is kept.
        code: the error code of a failure that is no tool's result.
        redactions: how often each kind was redacted.
        timing: µs for each stage.
        network: what the tool connected to and what it was refused, redacted; {} where it has no hosts.
    """

    outcome: Outcome
    result: Any = None
    code: str = ""
    redactions: Mapping[str, int] = field(default_factory=dict)
    timing: Mapping[str, int] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)


class Promise(NamedTuple):
    """The key of one commitment that an entry is to make, its digest, and itself sealed under the home."""

    key: bytes
    digest: bytes
    sealed: bytes

    @classmethod
    def new(cls, seal_key: bytes) -> Promise:
        """Return a fresh one: it can be made before there is a value to commit to."""
        from mpp_exec.trust.keys import seal  # noqa: PLC0415 -- loads libsodium

        key = commitment.new_key()
        return cls(key, commitment.key_digest(key), seal(seal_key, key))

    def to(self, what: commitment.What, value: Any) -> dict[str, Any]:
        """Return what the entry says of *value*.

        Raises:
            InternalError: ``ledger.uncommittable``.
        """
        return {"key": self.digest, what: commitment.commit(self.key, what, value)}


def new_invocation() -> str:
    """Return the id of a call: 128 random bits in the form of a UUID."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def genesis(at: int, *, writer: str) -> Record:
    """Return the first entry, unlike that of any other ledger."""
    return Record(Kind.GENESIS, at, encode(Kind.GENESIS, at, {"nonce": os.urandom(32), "writer": writer}))


def start(
    at: int,
    call: str,
    *,
    writer: str,
    terms: Terms,
    caller: Caller,
    arguments: Any,
    confirmed_by: str,
    received: Mapping[str, int],
    seal_key: bytes,
) -> Record:
    """Return the start of *call*; *arguments* is any JSON value, *received* counts values for tokens in it.

    Raises:
        InternalError: ``ledger.uncommittable`` or ``ledger.unencodable``.
    """
    promise = Promise.new(seal_key)
    promised, sealed = promise.to("arguments", arguments), promise.sealed
    content = {"call": call, "writer": writer, "caller": caller.encoded, "terms": terms.encoded, **promised}
    if confirmed_by:
        content["confirmed_by"] = confirmed_by
    if received:
        content["received"] = received
    body = encode(Kind.START, at, content)
    return Record(
        Kind.START,
        at,
        body,
        call=call,
        package=terms.package.name,
        tool=terms.tool,
        writer=writer,
        key=sealed,
    )


def outcome(at: int, call: str, ending: Ending, promise: Promise) -> Record:
    """Return the outcome of *call*; *promise* is for its result alone.

    Raises:
        InternalError: ``ledger.uncommittable`` or ``ledger.unencodable``.
    """
    content: dict[str, Any] = {
        "call": call,
        "outcome": str(ending.outcome),
        "redactions": ending.redactions,
        "timing": ending.timing,
    }
    if ending.code:
        content["code"] = ending.code
    if ending.network:
        content["network"] = ending.network
    sealed = None
    if ending.result is not None:
        content |= promise.to("result", ending.result)
        sealed = promise.sealed
    return Record(Kind.OUTCOME, at, encode(Kind.OUTCOME, at, content), call=call, key=sealed)


def unknown(at: int, call: str, *, started: int, writer: str) -> Record:
    """Return what ends a *call* whose own writer is dead; *started* is the number of its start."""
    body = encode(Kind.UNKNOWN, at, {"call": call, "started": started, "writer": writer})
    return Record(Kind.UNKNOWN, at, body, call=call)


def event(
    at: int,
    kind: Kind,
    *,
    writer: str,
    caller: Caller,
    package: PackageRef | None,
    tool: str,
    code: str,
    detail: Mapping[str, Any],
) -> Record:
    """Return an entry that belongs to no call; *detail* holds CBOR values.

    Raises:
        InternalError: ``ledger.unencodable``.
    """
    content: dict[str, Any] = {"writer": writer, "caller": caller.encoded}
    if package is not None:
        content["package"] = asdict(package)
    content |= {name: value for name, value in (("tool", tool), ("code", code), ("detail", detail)) if value}
    name = "" if package is None else package.name
    return Record(kind, at, encode(kind, at, content), package=name, tool=tool)


def erase(at: int, call: str, *, writer: str, caller: Caller, erased: tuple[int, ...]) -> Record:
    """Return the entry that says that the keys of the entries *erased* are gone."""
    content = {"call": call, "writer": writer, "caller": caller.encoded, "erased": erased}
    return Record(Kind.ERASE, at, encode(Kind.ERASE, at, content), call=call, erases=erased)


def open_key(seal_key: bytes, sealed: bytes, digest: Any) -> bytes | None:
    """Return the commitment key in *sealed*, or None if it is not the one of that *digest*."""
    from mpp_exec.trust.keys import SealError, open_sealed  # noqa: PLC0415 -- loads libsodium

    try:
        key = open_sealed(seal_key, sealed)
    except (SealError, TypeError):
        return None
    return key if commitment.key_digest(key) == digest else None

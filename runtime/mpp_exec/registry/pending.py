"""Calls that wait for a person: from a client that cannot ask, answered at a terminal, used once.

A row is about exactly one call of one asker. Everything that is shown of the call, down to the arguments and
what the tool can reach, must be the same again when the answer is used. The row is sealed under a key of this
home, with its own id and state inside: a row that somebody edited, copied from another row or brought from
another home does not count. Rows end with the grant under which they were asked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from mpp_exec.consent.confirm import ConfirmationRequest
from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import ConsentError, PackageError, UsageError
from mpp_exec.registry.database import Database, Transaction
from mpp_exec.trust.keys import HomeKey, SealError, keyed_hash, open_sealed, random_bytes, seal

LIFETIME: Final = timedelta(minutes=10)
"""How long a person has to answer, and then how long the answer is good."""

MAX_OF_ASKER: Final = 8
"""Calls of one asker that wait; the oldest gives way, so that a model that keeps asking fills nothing."""

MAX_OF_HOME: Final = 64

State = Literal["waiting", "granted", "refused"]

_MAX_SEALED: Final = 1 << 20  # bytes; four times the size of a call that can be shown


@dataclass(frozen=True, slots=True)
class Asker:
    """The party that makes a call, which alone can use the answer.

    Attributes:
        principal: on whose behalf the call is made.
        connection: unique among all connections.
        client: the program's own name for itself, shown to the person.
    """

    principal: str
    connection: str
    client: str


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that waits for an answer or for its use. *since* and *until* are UTC, to the millisecond."""

    id: str
    asker: Asker
    request: ConfirmationRequest
    state: State
    since: datetime
    until: datetime

    def stands(self, now: datetime) -> bool:
        """Return whether it is neither too old nor (if the clock was set back) from the future."""
        return self.since <= now < self.until


Record = Callable[[PendingCall], None]
"""Puts a change on record, as the last thing in its transaction: what it raises undoes the change."""


class PendingCalls:
    """The calls of a home that wait for a person, under sub-keys of the home's *key*. Safe for threads."""

    def __init__(self, database: Database, key: HomeKey) -> None:
        self._database = database
        self._seal_key = key.derive("pending-calls")
        self._name_key = key.derive("pending-calls-names")

    def ask(self, request: ConfirmationRequest, asker: Asker, now: datetime, used: Record) -> PendingCall:
        """Return the state of this very call of *asker*; a call that is not listed waits from now on.

        ``granted`` is returned once, to one caller, after *used* has recorded it; the row is then gone.

        Raises:
            ConsentError: ``confirm.too_many``: other callers fill the list.
        """
        name = self._name(request, asker)
        with self._database.writing() as rows:
            _forget_old(rows, now)
            found = self._find(rows, "call", name)
            if found is None or not found.stands(now) or (found.request, found.asker) != (request, asker):
                return self._wait(rows, name, request, asker, now)
            if found.state == "granted":
                rows.run("DELETE FROM pending WHERE id = ?", found.id)
                used(found)
            return found

    def _wait(
        self, rows: Transaction, name: bytes, request: ConfirmationRequest, asker: Asker, now: datetime
    ) -> PendingCall:
        owner = self._owner(asker)
        rows.run("DELETE FROM pending WHERE call = ?", name)
        own = rows.rows("SELECT id FROM pending WHERE owner = ? ORDER BY since, rowid", owner)
        for (old,) in own[: max(0, len(own) - MAX_OF_ASKER + 1)]:
            rows.run("DELETE FROM pending WHERE id = ?", old)
        (count,) = rows.row("SELECT count(*) FROM pending") or (0,)
        if count >= MAX_OF_HOME:
            raise ConsentError(
                "confirm.too_many",
                f"{count} calls wait for a person already",
                "a person answers them: mpp-exec confirm lists them; each ends by itself in ten minutes",
            )
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        made = PendingCall(random_bytes(5).hex(), asker, request, "waiting", now, now + LIFETIME)
        rows.run(
            "INSERT INTO pending (id, call, owner, name, since, until, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)",
            made.id,
            name,
            owner,
            request.package,
            _stamp(made.since),
            _stamp(made.until),
            self._sealed(made),
        )
        return made

    def all(self, now: datetime) -> list[PendingCall]:
        """Return the calls that wait for an answer or for its use, the oldest first."""
        with self._database.reading() as rows:
            names = rows.rows("SELECT id FROM pending ORDER BY since, rowid")
            found = [self._find(rows, "id", name) for (name,) in names]
        return [each for each in found if each is not None and each.stands(now)]

    def find(self, name: str, now: datetime) -> PendingCall:
        """Return the call with this id.

        Raises:
            UsageError: ``confirm.unknown``: there is no such call, or it has ended.
        """
        with self._database.reading() as rows:
            return self._standing(rows, name, now)

    def decide(self, shown: PendingCall, *, granted: bool, now: datetime, record: Record) -> PendingCall:
        """Store a person's answer to the call that was *shown*; it is valid for LIFETIME from *now*.

        Raises:
            UsageError: ``confirm.unknown``: the call has ended meanwhile.
            ConsentError: ``confirm.answered``: somebody has answered it already.
        """
        with self._database.writing() as rows:
            found = self._standing(rows, shown.id, now)
            if found.state != "waiting" or found != shown:
                raise answered(found)
            state: State = "granted" if granted else "refused"
            now = now.replace(microsecond=now.microsecond // 1000 * 1000)
            decided = replace(found, state=state, since=now, until=now + LIFETIME)
            rows.run(
                "UPDATE pending SET since = ?, until = ?, sealed = ? WHERE id = ?",
                _stamp(decided.since),
                _stamp(decided.until),
                self._sealed(decided),
                decided.id,
            )
            record(decided)
            return decided

    def _standing(self, rows: Transaction, name: str, now: datetime) -> PendingCall:
        found = self._find(rows, "id", name) if name.isascii() else None
        if found is None or not found.stands(now):
            raise UsageError(
                "confirm.unknown",
                f"no call waits as {name}",
                "it was used, is over ten minutes old, gave way to later ones of its client, ended when the "
                "approval changed, or is another home's (--home DIR); mpp-exec confirm lists those that wait",
            )
        return found

    def _find(
        self, rows: Transaction, column: Literal["id", "call"], value: str | bytes
    ) -> PendingCall | None:
        row = rows.row(f"SELECT id, sealed FROM pending WHERE {column} = ?", value)  # noqa: S608 -- two words
        found = None if row is None else self._opened(row[1])
        return found if found is not None and row is not None and found.id == row[0] else None

    def _sealed(self, call: PendingCall) -> bytes:
        asker = call.asker
        return seal(
            self._seal_key,
            dumps(
                {
                    "id": call.id,
                    "state": call.state,
                    "since": _stamp(call.since),
                    "until": _stamp(call.until),
                    "asker": [asker.principal, asker.connection, asker.client],
                    "request": call.request.to_map(),
                }
            ),
        )

    def _opened(self, sealed: Any) -> PendingCall | None:
        with suppress(SealError, PackageError):
            data = open_sealed(self._seal_key, sealed if isinstance(sealed, bytes) else b"")
            value = loads(data, max_size=_MAX_SEALED)
            return PendingCall(
                value["id"],
                Asker(*value["asker"]),
                ConfirmationRequest.of_map(value["request"]),
                value["state"],
                _time(value["since"]),
                _time(value["until"]),
            )
        return None

    def _name(self, request: ConfirmationRequest, asker: Asker) -> bytes:
        return keyed_hash(self._name_key, dumps([request.to_map(), asker.principal, asker.connection]))

    def _owner(self, asker: Asker) -> bytes:
        return keyed_hash(self._name_key, dumps([asker.principal, asker.connection]))


def forget(rows: Transaction, package: str) -> None:
    """End the waiting calls of *package*: its grant has changed."""
    rows.run("DELETE FROM pending WHERE name = ?", package)


def answered(call: PendingCall) -> ConsentError:
    """Return the error for an answer to a call that is not waiting for one."""
    hint = (
        "it runs once, if its client makes it again in time: mpp-exec confirm lists how long that is"
        if call.state == "granted"
        else "that holds for ten minutes; to run it yourself all the same: mpp-exec run with --confirm"
    )
    return ConsentError("confirm.answered", f"the call {call.id} was {call.state} already", hint)


def _forget_old(rows: Transaction, now: datetime) -> None:
    rows.run("DELETE FROM pending WHERE until <= ? OR since > ?", _stamp(now), _stamp(now))


def _stamp(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)

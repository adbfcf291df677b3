"""Keyed commitments: what can be confirmed, by whom, and until when."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from pathlib import Path

import pytest

from ledger_samples import (
    ARGUMENTS,
    CALLER,
    ENDING,
    HOME_KEY,
    OTHER_HOME_KEY,
    OUTSIDE,
    RESULT,
    attacker,
    call,
    codes,
    fill,
    open_ledger,
    snapshot,
)
from mpp_exec.audit import commitment
from mpp_exec.audit.commitment import Match
from mpp_exec.audit.entry import Outcome
from mpp_exec.audit.record import SEAL_PURPOSE, Ending
from mpp_exec.errors import InternalError, UsageError
from mpp_exec.trust.keys import open_sealed


def test_a_commitment_is_hmac_over_canonical_json() -> None:
    key = b"\x05" * 32
    text = b'{"a":[1,2.5,null,true],"\xc3\xa9":"x"}'
    expected = hmac.new(key, b"mpp-exec ledger arguments v1\0" + text, hashlib.sha256).digest()
    assert commitment.commit(key, "arguments", {"é": "x", "a": [1, 2.5, None, True]}) == expected


def test_arguments_and_result_are_kept_apart() -> None:
    key = commitment.new_key()
    assert commitment.commit(key, "arguments", {}) != commitment.commit(key, "result", {})


def test_equal_arguments_have_unequal_commitments(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    starts = list(open_ledger(tmp_path).list(kinds=["start"]))
    assert len({entry.content["arguments"] for entry in starts}) == 5
    assert len({entry.content["key"] for entry in starts}) == 5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ARGUMENTS, Match.MATCHES),
        (dict(reversed(ARGUMENTS.items())), Match.MATCHES),
        ({**ARGUMENTS, "name": "Jane Roe"}, Match.DIFFERS),
        ({**ARGUMENTS, "more": None}, Match.DIFFERS),
        (None, Match.DIFFERS),
    ],
)
def test_arguments_are_confirmed_by_whoever_has_them(tmp_path: Path, value: object, expected: Match) -> None:
    invocation = fill(tmp_path, 1)[0]
    assert open_ledger(tmp_path).prove(invocation, "arguments", value) is expected


def test_what_was_not_handed_over_was_not_committed_to(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        invocation = call(ledger, ending=Ending(Outcome.TIMEOUT))
        assert ledger.prove(invocation, "result", RESULT) is Match.ABSENT
        assert ledger.prove("1", "arguments", ARGUMENTS) is Match.ABSENT


def test_the_key_lies_outside_of_the_chain_and_sealed(tmp_path: Path) -> None:
    invocation = fill(tmp_path, 1)[0]
    entry = open_ledger(tmp_path).show(invocation)
    database = sqlite3.connect(tmp_path / "ledger.db")
    (sealed,) = database.execute("SELECT sealed FROM keys WHERE sequence = ?", (entry.sequence,)).fetchone()
    database.close()
    key = open_sealed(HOME_KEY.derive(SEAL_PURPOSE), sealed)
    assert commitment.matches(key, "arguments", ARGUMENTS, entry.content["arguments"])
    assert key not in b"".join(snapshot(tmp_path).values())


def test_the_ledger_alone_confirms_no_guess(tmp_path: Path) -> None:
    """With the database but another home's key, right arguments cannot be told from wrong ones."""
    invocation = fill(tmp_path, 1)[0]
    with pytest.raises(InternalError) as caught:
        open_ledger(tmp_path, key=OTHER_HOME_KEY).prove(invocation, "arguments", ARGUMENTS)
    assert caught.value.code == "ledger.tampered"


def test_an_erased_key_is_gone_from_the_disk_and_the_chain_stands(tmp_path: Path) -> None:
    first, second = fill(tmp_path, 2)
    database = sqlite3.connect(tmp_path / "ledger.db")
    sealed = [row[0] for row in database.execute("SELECT sealed FROM keys ORDER BY sequence LIMIT 2")]
    database.close()
    hashes = [entry.hash for entry in open_ledger(tmp_path).list()]
    with open_ledger(tmp_path) as ledger:
        call(ledger)  # so that there is a log when the keys go
        assert ledger.erase(first, CALLER) == 2
        everything = b"".join(snapshot(tmp_path).values())
        assert not any(key in everything for key in sealed)
        assert ledger.prove(first, "arguments", ARGUMENTS) is Match.ERASED
        assert ledger.prove(first, "result", RESULT) is Match.ERASED
        assert ledger.prove(second, "arguments", ARGUMENTS) is Match.MATCHES
        assert ledger.erase(first, CALLER) == 0
    assert [entry.hash for entry in open_ledger(tmp_path).list()][-len(hashes) :] == hashes
    report = open_ledger(tmp_path).verify()
    assert (report.ok, report.erased) == (True, 2)
    (entry,) = open_ledger(tmp_path).list(kinds=["erase"])
    assert (entry.invocation, entry.content["erased"]) == (first, [3, 4])


def test_a_running_call_keeps_its_key(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        with pytest.raises(UsageError) as caught:
            ledger.erase(token.invocation, CALLER)
        assert caught.value.code == "ledger.running"
        ledger.finish(token, ENDING)
        assert ledger.erase(token.invocation, CALLER) == 2


def test_a_key_put_back_after_it_was_erased_is_noticed(tmp_path: Path) -> None:
    invocation = fill(tmp_path, 1)[0]
    database = sqlite3.connect(tmp_path / "ledger.db")
    kept = database.execute("SELECT * FROM keys").fetchall()
    database.close()
    with open_ledger(tmp_path) as ledger:
        ledger.erase(invocation, CALLER)
    with attacker(tmp_path) as attack:
        attack.executemany("INSERT INTO keys VALUES (?, ?)", kept)
    assert set(codes(tmp_path)) == {"key.restored"}

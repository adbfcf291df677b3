"""Attack: locks of files that every sandbox sees as messages, from one call to the next and between packages.

What holds the lock waits for its call: it was there before the one that looks, and will be there after it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.profiles import tool_profile
from sandbox_lab import CACHE, Lab, call

HEAD = """
import fcntl, os, struct
FLOCK = "hhxxxxqqixxxx"
file = open(os.__file__)
def attempt(command, kind, start, length):
    try:
        said = fcntl.fcntl(file, command, struct.pack(FLOCK, kind, 0, start, length, 0))
        return struct.unpack(FLOCK, said)[2:4]
    except OSError as error:
        return error.strerror
"""
RECORD = "attempt(6, 0, 4242, 7)"
FOUND = "attempt(5, 1, 0, 0)"
WHOLE = "fcntl.flock(file, fcntl.LOCK_SH)"
TAKEN = """[fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB), "nobody's"][1]"""


def holder(lab: Lab, act: str, *, writes: bool = False) -> Parked:
    """A sandbox that has done *act* at import and waits for its call."""
    plan = lab.python(f"{HEAD}done = {act}\ndef run():\n    return done\n")
    made = Parked(weakened(plan) if writes else plan, constants=(), cache=CACHE, early_start=True)
    while made.look(1000) == "preparing":
        pass
    assert made.state == "ready"
    return made


def weakened(plan: SandboxPlan) -> SandboxPlan:
    """The defence taken away: the calls of a tool that may leave files behind."""
    return replace(plan, tool_profile=tool_profile("python", subprocess=False, writes=True))


def looker(lab: Lab, act: str) -> SandboxPlan:
    return lab.python(
        f"{HEAD}def run():\n    try:\n        return {act}\n"
        "    except OSError as error:\n        return error.strerror\n"
    )


@pytest.mark.parametrize(
    ("hold", "look", "seen", "message"),
    [
        (RECORD, FOUND, [0, 0], [4242, 7]),
        (WHOLE, TAKEN, "nobody's", "Resource temporarily unavailable"),
    ],
    ids=["record", "whole file"],
)
def test_a_call_reads_what_another_left_in_a_lock(
    lab: Lab, hold: str, look: str, seen: object, message: object
) -> None:
    plan = looker(lab, look)
    for writes, expected in ((False, seen), (True, message)):
        held = holder(lab, hold, writes=writes)
        try:
            # Whoever looks, also one that may leave files behind: nothing is held.
            assert call(weakened(plan)) == expected
            if not writes:
                assert call(plan) == seen
        finally:
            held.close()


@pytest.mark.parametrize("command", [36, 37, 38])
@pytest.mark.parametrize("writes", [False, True])
def test_a_lock_that_outlives_its_descriptor_is_taken(lab: Lab, command: int, *, writes: bool) -> None:
    """Such locks are counted by nothing, and held by what keeps no descriptor: a mapping."""
    plan = looker(lab, f"attempt({command}, 0, 0, 1)")
    assert call(weakened(plan) if writes else plan) == "Function not implemented"


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_a_database_in_scratch_works_where_no_lock_is_taken(lab: Lab, mode: str) -> None:
    plan = lab.python(f"""
import sqlite3
def run():
    one, other = (sqlite3.connect("/tmp/x.db", timeout=0.1, isolation_level=None) for _ in range(2))
    one.execute("PRAGMA journal_mode = {mode}")
    one.execute("CREATE TABLE t (n)")
    one.execute("BEGIN IMMEDIATE")
    one.execute("INSERT INTO t VALUES (1)")
    try:
        other.execute("BEGIN IMMEDIATE")
        held = False
    except sqlite3.OperationalError as error:
        held = str(error)
    one.execute("COMMIT")
    other.execute("INSERT INTO t VALUES (2)")
    one.close()
    return held, other.execute("SELECT sum(n) FROM t").fetchone()[0]
""")
    assert call(plan) == ["database is locked", 3]

"""Attack: a tool in a dialogue keeps its supervisor busy with what it said and does as it likes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_servers import raw
from mpp_exec.dialogue.session import Session
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import native, parked, supervise
from mpp_exec.sandbox.parked import Parked
from sandbox_lab import CACHE, Lab, init_processes, run
from stage import NAME, Stage

MIB = 1 << 20
WAITS = "echo x; read it; read it"
# None of them comes near the limit by itself: RLIMIT_AS is no help.
HOARDS = """
    echo x
    for each in 1 2 3 4 5 6 7 8 9 10 11 12; do
        (x=aaaaaaaa; while [ ${#x} -lt 4000000 ]; do x=$x$x; done; read it; read it) &
    done
    read it; read it
"""
ATTACKS: dict[str, tuple[str, Limits, bool, str]] = {
    "outlives its deadline": (WAITS, Limits(wall_ms=700), False, "timeout"),
    "is withdrawn and goes on": (WAITS, Limits(wall_ms=60_000), True, "killed"),
    "takes memory in many processes": (
        HOARDS,
        Limits(wall_ms=60_000, cpu_ms=60_000, memory=32 * MIB),
        False,
        "memory",
    ),
}


class Busy:
    """Works on the first thing that it hears until the tool is dead, for *patience* seconds at most."""

    def __init__(self, patience: float, begin: Callable[[], object] = lambda: None) -> None:
        self._patience, self._begin = patience, begin
        self.saw_the_end = False

    def hear(self, said: bytes) -> bytes | None:
        if said and not self.saw_the_end:
            self._begin()
            until = time.monotonic() + self._patience
            while not self.saw_the_end and time.monotonic() < until:
                self.saw_the_end = not any(map(_lives, init_processes()))
        return None


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Unguarded:
    """The native part, whose supervision stands still while what was said is worked on."""

    def __getattr__(self, name: str) -> Any:
        if name == "mpp_guard":
            return lambda _sandbox, _outcome: 0
        return getattr(_NATIVE, name)


_NATIVE = native.lib


@pytest.fixture(autouse=True)
def _one_thread_at_a_time() -> Iterator[None]:
    """Nobody takes the interpreter's lock from the work: a thread that needed it would be no help."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


def attack(lab: Lab, name: str, patience: float) -> tuple[str, bool]:
    """Return the outcome, and whether the tool was dead before the work was over."""
    script, limits, withdrawn, _ = ATTACKS[name]
    started = ("sh",) if script is HOARDS else ()
    compiled = lab.program(None, "sh", "-c", script, requires=("sh",), subprocess=started, limits=limits)
    cancelled, cancel = os.pipe()
    try:
        busy = Busy(patience, (lambda: os.write(cancel, b"x")) if withdrawn else lambda: None)
        done = run(compiled, b"", dialogue=busy, cancel_fd=cancelled)
    finally:
        os.close(cancelled)
        os.close(cancel)
    return done.outcome, busy.saw_the_end


@pytest.mark.parametrize("name", ATTACKS)
def test_while_its_words_are_worked_on_a_tool(lab: Lab, name: str) -> None:
    outcome, died = attack(lab, name, 20)
    assert died, "it ran for as long as its words were worked on"
    assert outcome == ATTACKS[name][-1]


def test_without_namespaces_it_is_ended_as_well(lab: Lab) -> None:
    """Its init is told once: told twice, it would end before what it has to end."""
    outcome, died = attack(lab.without_namespaces(), "is withdrawn and goes on", 20)
    assert (outcome, died) == ("killed", True)


def test_attack_is_real_without_the_thread_that_looks_after_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "lib", Unguarded())
    _, died = attack(lab, "outlives its deadline", 1.2)
    assert not died


def test_while_its_handshake_is_worked_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there is a call it has the limits of one."""
    busy = Busy(20)

    class Slow(Session):
        def hear(self, said: bytes) -> bytes | None:
            return busy.hear(said)

    monkeypatch.setattr(parked, "Session", Slow)
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        stage.server(raw("print('x', flush=True); time.sleep(3600)"), limits=Limits(wall_ms=1500))
        with stage.runtime.preparer.prepared(NAME, "") as ready:
            recipe = ready.recipe
        made = Parked(
            recipe.plan, constants=recipe.constants, cache=CACHE, early_start=True, command=recipe.command
        )
        try:
            while made.look(20) != "ended":
                pass
        finally:
            made.close()
    assert busy.saw_the_end

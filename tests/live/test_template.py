"""Copies of a template: what an interpreter that was started in the sandbox would be, and sooner."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mpp_exec.sandbox import pool as pool_module
from mpp_exec.sandbox import stock, template
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.pool import Pool
from mpp_exec.sandbox.template import Template, can_be_copied
from sandbox_lab import CACHE, Lab, answer, descendants, is_template, run, waits
from self_description import SELF
from stage import NAME, Stage

PLAIN = "def run(**given):\n    return given\n"

RANDOM = """
import os, random, ssl, tempfile, uuid
def run():
    return [os.urandom(16).hex(), random.random(), random.SystemRandom().random(), ssl.RAND_bytes(16).hex(),
            str(uuid.uuid4()), next(tempfile._get_candidate_names())]
"""


def value(made: Parked) -> Any:
    return answer(run(made.plan, b'{"arguments":{}}', parked=made))["value"]


@pytest.fixture
def source(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[SandboxPlan, Template]]:
    """A plan of the marked source, and a template of it."""
    compiled = lab.python(getattr(request, "param", PLAIN))
    made = Template(compiled)
    yield compiled, made
    made.close()


@pytest.mark.parametrize("source", [SELF], indirect=True)
def test_copy_is_what_an_interpreter_is_that_was_started_inside(
    source: tuple[SandboxPlan, Template],
) -> None:
    compiled, made = source
    started, copy = value(waits(compiled, None)), value(waits(compiled, made))
    assert copy.keys() == started.keys()
    for name in started:
        assert copy[name] == started[name], name


@pytest.mark.parametrize("source", [RANDOM], indirect=True)
def test_every_copy_has_randomness_of_its_own(source: tuple[SandboxPlan, Template]) -> None:
    compiled, made = source
    drawn = [value(waits(compiled, made)) for _ in range(3)]
    for column in zip(*drawn, strict=True):
        assert len(set(column)) == len(drawn)


def test_generator_of_a_library_is_seeded_in_every_copy(lab: Lab) -> None:
    """As numpy keeps one: what a package brings is loaded when the copy is complete."""
    library = "import random\nstate = random.Random()\ndef draw():\n    return state.random()\n"
    compiled = lab.python("import kept\ndef run():\n    return kept.draw()\n", files={"kept.py": library})
    made = Template(compiled)
    try:
        assert value(waits(compiled, made)) != value(waits(compiled, made))
    finally:
        made.close()


def test_copy_outlives_its_template(source: tuple[SandboxPlan, Template]) -> None:
    compiled, made = source
    copy = waits(compiled, made)
    made.close()
    assert value(copy) == {}
    assert not made.serves


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_template_that_is_gone_or_hangs_is_done_without(
    source: tuple[SandboxPlan, Template], how: signal.Signals
) -> None:
    """Whoever asked gets a sandbox that is made in the ordinary way, and the next one does not ask."""
    compiled, made = source
    waits(compiled, made).close()
    (pid,) = templates()
    os.kill(pid, how)
    other = Parked(compiled, constants=(), cache=CACHE, early_start=True, template=made)
    assert pid not in descendants(os.getpid()), "or it makes a second init on that socket, once it goes on"
    while other.look(1000) == "preparing":
        pass
    assert (other.state, other.is_copied, made.serves) == ("ready", False, False)
    assert value(other) == {}
    made.close()
    assert pid not in descendants(os.getpid())


def test_signal_to_the_template_reaches_no_copy(source: tuple[SandboxPlan, Template]) -> None:
    """A Ctrl-C, or a kill of the whole group: it waits there, and nobody is interrupted by it later."""
    compiled, made = source
    waits(compiled, made).close()
    (pid,) = templates()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        os.kill(pid, number)
    assert value(waits(compiled, made)) == {}
    assert os.getsid(pid) == pid, "of no terminal"


def templates() -> set[int]:
    """The templates that this process has."""
    return {pid for pid in descendants(os.getpid()) if is_template(pid)}


def test_plan_that_may_start_programs_is_not_copied(lab: Lab) -> None:
    assert can_be_copied(lab.python(PLAIN))
    assert not can_be_copied(lab.python(PLAIN, subprocess=["sh"]))
    assert not can_be_copied(lab.program(None, "sh", "-c", "true", requires=("sh",)))


# -- in the pool ------------------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A runtime with a Python tool."""
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        made.python("def run(**given):\n    return given\n")
        yield made


def pool_of(stage: Stage) -> Pool:
    """Call until a sandbox waits, and return the pool."""
    stage.runtime.call(NAME)
    stage.runtime.call(NAME)
    pool = stage.runtime._open().sandboxes
    assert until(lambda: pool.waiting > 0)
    return pool


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each call that a prepared sandbox serves from now on: whether it is a copy."""
    served: list[bool] = []
    call = Parked.call

    def counted(parked: Parked, *words: Any, **more: Any) -> Any:
        served.append(parked.is_copied)
        return call(parked, *words, **more)

    monkeypatch.setattr(Parked, "call", counted)
    return served


def test_what_waits_is_a_copy(stage: Stage, lent: list[bool]) -> None:
    pool_of(stage)
    assert stage.runtime.call(NAME, arguments={"text": "x"}).structured == {"text": "x"}
    assert lent == [True]


def test_call_that_finds_none_waiting_makes_a_copy(stage: Stage, lent: list[bool]) -> None:
    """Several at once: what waits serves one of them."""
    pool_of(stage)
    lent.clear()
    with ThreadPoolExecutor(4) as callers:
        results = list(
            callers.map(lambda number: stage.runtime.call(NAME, arguments={"n": number}), range(4))
        )
    assert [result.structured for result in results] == [{"n": number} for number in range(4)]
    assert lent == [True] * 4


def test_long_call_outlives_the_thread_that_would_end_with_nothing_to_keep(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was copied from is that thread's, and so is it."""
    pool = pool_of(stage)
    shelf = next(iter(pool._stock.shelves.values()))
    recipe = shelf.recipe
    monkeypatch.setattr(stock, "IDLE", 0.2)  # not before: it would be idle before there is one
    monkeypatch.setattr(pool_module, "_LINGER", 0.0)
    with pool.lent(recipe) as first, pool.lent(recipe) as second:
        assert first is not None
        assert second is not None
        assert second.is_copied
        assert until(lambda: not pool._stock.shelves), "nobody has called for a while"
        assert until(lambda: not templates())
        assert second.look() == "ready"


def test_template_ends_with_what_it_is_for(stage: Stage) -> None:
    pool_of(stage)
    assert len(templates()) == 1
    stage.runtime.close()
    assert not templates()


def test_template_ends_with_a_thread_that_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel kills it then; whoever made it has to take note of that."""
    pool = pool_of(stage)
    (made,) = templates()
    thread = pool._thread
    assert thread is not None
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    monkeypatch.setattr(pool._stock, "retire", lambda _: 1 / 0)
    thread.join(30)
    assert made not in descendants(os.getpid())


def test_template_ends_when_a_key_is_withdrawn(stage: Stage) -> None:
    """A change of the home empties the pool, and nothing is kept of what was prepared under the old one."""
    pool_of(stage)
    before = templates()
    stage.python("def run(**given):\n    return 2\n", version="1.0.1")
    assert until(lambda: not before & templates())


def test_template_that_is_killed_is_done_without(stage: Stage, lent: list[bool]) -> None:
    pool = pool_of(stage)
    (victim,) = templates()
    os.kill(victim, signal.SIGKILL)
    for number in range(3):
        assert stage.runtime.call(NAME, arguments={"n": number}).structured == {"n": number}
        assert until(lambda: pool.waiting > 0)
    assert lent[-1] is False


def test_template_is_replaced_before_its_layout_is_known_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "COPIES", 2)
    pool = pool_of(stage)
    seen = templates()
    for _ in range(3):
        stage.runtime.call(NAME)
        assert until(lambda: pool.waiting > 0)
        seen |= templates()
    assert len(seen) >= 2
    assert len(templates()) == 1


def test_tool_that_cannot_be_prepared_is_not_copied_for_a_call(stage: Stage, lent: list[bool]) -> None:
    """It asks for its call's number while it is imported: every call starts it, as before."""
    stage.python(
        "import os\nnumber = os.environ['MPP_INVOCATION']\ndef run():\n    return number\n", version="1.0.1"
    )
    answers = [stage.runtime.call(NAME).structured for _ in range(4)]
    assert len({str(each) for each in answers}) == 4
    assert not lent

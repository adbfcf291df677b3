"""Reports of an init that its tool has taken over: the host believes none that init itself would not make."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox import native
from mpp_exec.sandbox.spawn import Completed
from needs import missing
from sandbox_lab import Lab, init_processes, run
from weakened import weakened

pytestmark = pytest.mark.skipif("MPP_GUEST" in os.environ, reason="a guest has no compiler")

WATCHES = "for (;;) attend(&context, children, tool, 0);"
SAYS = {
    "a failure at a step that is none": "fail(MPP_STEP_COUNT, -5, 0);",
    "a failure at no step": "fail(MPP_STEP_NONE, -5, 0);",
    "a failure without an error": "fail(MPP_STEP_LAYOUT, 0, 0);",
    "a failure with another's error": "fail(MPP_STEP_LAYOUT, 5, 0);",
    "a second beginning": f"report(&started); {WATCHES}",
    "it waits for its call": f"report(&parked); {WATCHES}",
    "nothing that is known": f"started.kind = 99; report(&started); {WATCHES}",
    "half a report": f"sys3(SYS_write, CONTROL, &started, 8); {WATCHES}",
}
FAREWELL = "started.kind = MPP_REPORT_EXITED; report(&started); for (;;) continue;"


@pytest.fixture
def told(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Completed]]:
    """What comes of a call whose init does *what*, in the place of watching over its tool."""
    if shutil.which("cc") is None:
        missing("there is no C compiler")
    made: list[int] = []

    def tell(what: str) -> Completed:
        made.append(weakened(tmp_path, "init.c", (WATCHES, what)))
        monkeypatch.setattr(native, "init_program", lambda: made[-1])
        compiled = lab.program(
            None, "sh", "-c", "while :; do :; done", requires=("sh",), limits=Limits(wall_ms=5000)
        )
        return run(compiled, parked=None)

    yield tell
    for descriptor in made:
        os.close(descriptor)


@pytest.mark.parametrize("what", SAYS)
def test_report_that_init_cannot_make_ends_the_call(told: Callable[[str], Completed], what: str) -> None:
    """Not as a fault of the host's, nor as a call that never began, and with nothing forgotten."""
    done = told(SAYS[what])
    assert (done.outcome, done.reason) == ("killed", "its sandbox was killed from outside")
    assert not init_processes()


def test_farewell_of_one_that_stays_gives_its_tool_no_time(told: Callable[[str], Completed]) -> None:
    """It had ten seconds, in which no limit was kept any more."""
    done = told(FAREWELL)
    assert done.outcome == "ok"
    assert done.timing["reap"] < 3_000_000
    assert not init_processes()

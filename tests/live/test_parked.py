"""A sandbox that is prepared ahead of its call: complete before it, given its grants with it, used once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mpp_exec.errors import HostError
from mpp_exec.permissions import Limits
from mpp_exec.sandbox.call import Brought, Call
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import CACHE, Lab, answer, descendants, prepared, run, without_cgroup

ECHO = "def run(**given):\n    return given\n"
LOOK = """
import os
def seen(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path).read()
    except OSError as error:
        return error.strerror
def run(paths):
    return [seen(path) for path in paths]
"""


@contextmanager
def parked(compiled: SandboxPlan, *, early: bool = True) -> Iterator[Parked]:
    """A sandbox of *compiled*, as far as it came."""
    made = Parked(compiled, constants=(), cache=CACHE, early_start=early)
    try:
        while made.look(1000) == "preparing":
            pass
        yield made
    finally:
        made.close()


def serve(made: Parked, arguments: Any) -> Any:
    """Make the call in *made* and return the tool's value."""
    done = run(made.plan, json.dumps({"arguments": arguments}).encode(), parked=made)
    return answer(done)["value"]


def test_tool_is_imported_before_its_call(lab: Lab) -> None:
    compiled = lab.python("import time\nat = time.monotonic_ns()\ndef run():\n    return at\n")
    with parked(compiled) as made:
        assert made.state == "ready"
        before = time.monotonic_ns()
        assert serve(made, {}) < before


@pytest.mark.parametrize("early", [True, False])
def test_call_is_answered(lab: Lab, early: bool) -> None:
    with parked(lab.python(ECHO), early=early) as made:
        assert serve(made, {"text": "grüße", "n": [1, None]}) == {"text": "grüße", "n": [1, None]}


def test_program_is_started_with_the_command_and_variables_of_its_call(lab: Lab) -> None:
    compiled = lab.program(None, "sh", "-c", "echo $GIVEN $1", requires=("sh",))
    with parked(compiled, early=False) as made:
        command = (*compiled.argv, "x", "word")
        done = run(compiled, b"", parked=made, arguments=command, variables=(("GIVEN", "variable"),))
    assert (done.outcome, done.output) == ("ok", b"variable word\n")


def test_program_gets_nothing_of_a_longer_command_that_it_was_prepared_with(lab: Lab) -> None:
    """A setting of several values that has none takes words away: the plan's are more than the call's."""
    compiled = lab.program(None, "sh", "-c", "echo $#:$*", "x", "${user_config.a}", "b", requires=("sh",))
    with parked(compiled, early=False) as made:
        done = run(compiled, b"", parked=made, arguments=(*compiled.argv[:-2], "b"))
    assert (done.outcome, done.output) == ("ok", b"1:b\n")


def test_what_is_granted_is_not_there_before_the_call(lab: Lab, ground: Path) -> None:
    """Asked without an event that the launcher could hear: by stat(2)."""
    (ground / "file").write_text("granted")
    source = f"import os\nearly = os.path.exists({str(ground / 'file')!r})\n{LOOK}\n"
    source += "def run(paths):\n    return [early, *map(seen, paths)]\n"
    with parked(lab.python(source, read=[ground])) as made:
        assert serve(made, {"paths": [str(ground / "file")]}) == [False, "granted"]


def test_storage_comes_with_the_call(lab: Lab, ground: Path) -> None:
    source = "import os\nearly = os.listdir('/') if False else os.path.exists('/storage/x')\n"
    source += "def run():\n    open('/storage/x', 'w').write('kept')\n    return early\n"
    compiled = lab.python(source, storage_folder=ground, storage=1 << 20)
    for _ in range(2):
        with parked(compiled) as made:
            assert serve(made, {}) is False
    assert (ground / "x").read_text() == "kept"


@pytest.mark.parametrize(
    "needs",
    ["open({path!r})", "os.listdir({folder!r})", "os.environ['MPP_INVOCATION']", "1 / 0", "exit()"],
)
def test_tool_that_needs_its_call_to_start_is_not_prepared(lab: Lab, ground: Path, needs: str) -> None:
    """Whatever it makes of the refusal: it would go on without what its call has."""
    (ground / "file").write_text("granted")
    attempt = needs.format(path=str(ground / "file"), folder=str(ground))
    source = f"import os\ntry:\n    {attempt}\nexcept (OSError, KeyError):\n    pass\n{ECHO}"
    with parked(lab.python(source, read=[ground])) as made:
        assert made.state == "ended"


def test_number_of_the_call_is_a_variable_in_it(lab: Lab) -> None:
    compiled = lab.python("import os\ndef run():\n    return os.environ['MPP_INVOCATION']\n")
    with parked(compiled) as made:
        assert serve(made, {}) == "lab"


def test_each_has_random_numbers_of_its_own(lab: Lab) -> None:
    source = "import os, random, ssl, uuid\nat_import = random.random()\ndef run():\n"
    source += "    own = [uuid.uuid4().hex, os.urandom(8).hex(), ssl.RAND_bytes(8).hex()]\n"
    source += "    return [at_import, random.random(), *own]\n"
    compiled = lab.python(source)
    seen: list[list[Any]] = []
    for _ in range(3):
        with parked(compiled) as made:
            seen.append(serve(made, {}))
    for column in zip(*seen, strict=True):
        assert len(set(column)) == len(seen)


def test_one_serves_one_call(lab: Lab) -> None:
    compiled = lab.python(ECHO)
    with parked(compiled) as made:
        assert serve(made, {"n": 1}) == {"n": 1}
        assert made.state == "ended"
        assert serve(made, {"n": 2}) == {"n": 2}, "in another one"


def test_signal_of_the_host_ends_no_sandbox(lab: Lab) -> None:
    """One that came when it was looked whether it lives; a call with hosts came to nothing by that."""
    compiled = lab.program(None, "sh", "-c", "echo done", requires=("sh",))
    call = Call(b"", "lab")
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    said = []
    try:
        for _ in range(100):
            with parked(compiled, early=False) as made:
                signal.setitimer(signal.ITIMER_REAL, 0.00003, 0.00003)
                raw = made.call(Brought(call, b"", (), wall_ns=10**10, cache=CACHE))
                signal.setitimer(signal.ITIMER_REAL, 0)
                said.append((raw.step, raw.output))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert said == [("none", b"done\n")] * 100


def test_limit_of_time_runs_from_the_call(lab: Lab) -> None:
    compiled = lab.python("import time\ndef run():\n    time.sleep(60)\n", limits=Limits(wall_ms=2000))
    with parked(compiled) as made:
        done = run(compiled, b'{"arguments":{}}', parked=made, wall_ms=300)
    assert done.outcome == "timeout"
    assert done.timing["run"] < 2_000_000


@pytest.mark.parametrize(
    "hog",
    [
        "import threading\ndef spin():\n    while True:\n        pass\nthreading.Thread(target=spin).start()",
        "held = bytearray(200 << 20)\nfor page in range(0, len(held), 4096):\n    held[page] = 1",
        "import os\nos.write(3, b'more')",
    ],
    ids=["processor", "memory", "output"],
)
def test_what_it_uses_while_it_waits_ends_it(lab: Lab, hog: str) -> None:
    compiled = lab.python(f"{hog}\n{ECHO}", limits=Limits(memory=128 << 20))
    with parked(compiled) as made:
        for _ in range(200):
            if made.look(20) == "ended":
                return
    pytest.fail("it still waits")


ENDING = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ready, done = os.pipe()
if os.fork() == 0:
    while time.process_time() < 0.5:
        pass
    os.write(done, b"x")
    time.sleep(1)
    os._exit(0)
os.read(ready, 1)
"""


def test_process_that_ends_while_it_waits_ends_no_sandbox(lab: Lab) -> None:
    """Without a cgroup what it had used is in no sum any more: less than before is not too much."""
    compiled = without_cgroup(lab.python(f"{ENDING}{ECHO}", subprocess=("true",)))
    with parked(compiled) as made:
        assert made.state == "ready"
        there = descendants(os.getpid())
        assert until(lambda: made.look(20) == "ended" or len(descendants(os.getpid())) < len(there))
        assert [made.look(20) for _ in range(5)] == ["ready"] * 5


def test_tool_that_does_not_get_ready_is_given_up_after_its_limit_of_time(lab: Lab) -> None:
    compiled = lab.python("import time\ntime.sleep(60)\n", limits=Limits(wall_ms=500))
    with parked(compiled) as made:
        assert made.state == "ended"


@pytest.mark.parametrize("early", [True, False])
def test_nothing_is_left(lab: Lab, ground: Path, early: bool) -> None:
    (ground / ".git/hooks").mkdir(parents=True)
    compiled = lab.python(LOOK, write=[ground])

    def work() -> None:
        with parked(compiled, early=early):
            pass
        with parked(compiled, early=early) as made:
            serve(made, {"paths": []})

    def traces() -> tuple[object, ...]:
        return sorted(Path("/proc/self/fd").iterdir()), descendants(os.getpid())

    work()
    before = traces()
    for _ in range(3):
        work()
    assert traces() == before


def test_grant_that_is_gone_at_the_call_is_refused_as_ever(lab: Lab, ground: Path) -> None:
    (ground / "in").mkdir()
    compiled = lab.python(LOOK, read=[ground / "in"])
    with parked(compiled) as made:
        (ground / "in").rename(ground / "elsewhere")
        with pytest.raises(HostError) as caught:
            serve(made, {"paths": []})
    assert caught.value.code == "host.grant_changed"


def test_the_lab_can_prepare_what_it_runs(lab: Lab, probe: Path) -> None:
    """What the tests of other files run prepared, when they are told to, is."""
    for compiled in (lab.python(ECHO), lab.program(probe, "echo")):
        made = prepared(compiled)
        assert made is not None
        made.close()


def test_a_single_file_is_mounted_at_the_call(lab: Lab, ground: Path) -> None:
    (ground / "one.txt").write_text("granted")
    compiled = lab.python("def run(path):\n    return open(path).read()\n", read=[ground / "one.txt"])
    with parked(compiled) as made:
        request = json.dumps({"arguments": {"path": str(ground / "one.txt")}}).encode()
        done = run(made.plan, request, parked=made)
    assert answer(done)["value"] == "granted"
    assert "release" in done.timing, "by the sandbox that waited"

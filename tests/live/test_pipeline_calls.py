"""One call, whole: from an installed package to a redacted result that is on the ledger."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

import forge
from ctrl_c import CtrlC
from forge import KEY
from mpp_exec import ConsentError, MppError, UsageError
from mpp_exec.consent.config import Settings
from mpp_exec.consent.confirm import ConfirmationRequest
from mpp_exec.package.manifest import ConfigField, RuntimeSpec, Tool
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits, Permissions
from sandbox_lab import bounded, init_processes
from stage import NAME, Stage

ECHO = "def run(**arguments):\n    return arguments\n"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def test_a_call_returns_what_the_tool_returned(stage: Stage) -> None:
    stage.python(ECHO)
    arguments = {"text": "grüße", "n": [1, 2.5, None, {"deep": True}]}
    result = stage.runtime.call(NAME, "run", arguments)
    assert (result.structured, result.is_error, result.outcome) == (arguments, False, "ok")


def test_the_meta_of_a_result_is_the_contracts(stage: Stage) -> None:
    stage.python("def run():\n    return 'mail jane@example.com'\n")
    meta = stage.runtime.call(NAME).to_call_tool_result()["_meta"]
    assert meta["mpp-exec/package"]["name"] == NAME
    assert meta["mpp-exec/package"]["digest"].startswith("sha256:")
    assert meta["mpp-exec/outcome"] == "ok"
    assert meta["mpp-exec/redactions"] == {"email": 1}
    assert {"verify", "validate", "sandbox", "redact", "commit"} <= meta["mpp-exec/timing"].keys()
    assert all(value >= 0 for value in meta["mpp-exec/timing"].values())


def test_of_versions_that_were_replaced_nothing_is_kept(stage: Stage) -> None:
    """A resident runtime sees hundreds of them where somebody works on a package."""
    for number in range(3):
        stage.python(ECHO, version=f"1.0.{number}")
        for _ in range(2):
            assert stage.runtime.call(NAME, "run", {}).outcome == "ok"
    verifier = stage.runtime._open().verifier
    assert [len(kept) for kept in (verifier._checked, verifier._trusted)] == [1, 1]


def test_a_call_and_its_outcome_are_on_the_ledger_without_their_text(stage: Stage) -> None:
    stage.python(ECHO)
    result = stage.runtime.call(NAME, "run", {"word": "needle-in-arguments"})
    entry = stage.runtime.ledger.show(result.invocation)
    assert entry.ending is not None
    assert entry.ending.content["outcome"] == "ok"
    assert entry.content["terms"]["package"]["key"] == KEY.key_id if hasattr(KEY, "key_id") else True
    for path in stage.home.rglob("*"):
        if path.is_file():
            assert b"needle-in-arguments" not in path.read_bytes()
    assert not stage.runtime.ledger.verify().problems


def test_an_unapproved_package_does_not_run_and_the_refusal_is_recorded(stage: Stage) -> None:
    stage.python(ECHO)
    stage.runtime.store.revoke(NAME)
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME)
    assert refused.value.code == "grant.none"
    newest = next(iter(stage.runtime.ledger.list(limit=1)))
    assert (newest.kind, newest.content["code"]) == ("refused", "grant.none")


def test_a_grant_withdrawn_while_it_runs_ends_the_call_within_a_second(stage: Stage) -> None:
    """The quickest of three: the others may have waited for this machine, not for the runtime."""
    quickest = min(_seconds_to_withdraw(stage, version) for version in ("1.0.1", "1.0.2", "1.0.3"))
    assert quickest < (10.0 if "MPP_GUEST" in os.environ else 1.0), "an emulator keeps no time"


def _seconds_to_withdraw(stage: Stage, version: str) -> float:
    stage.python(
        "import time\ndef run():\n    print('up', flush=True)\n    time.sleep(60)\n",
        limits=bounded(wall_ms=50_000),
        version=version,
    )
    before = sum(entry.kind == "start" for entry in stage.runtime.ledger.list())
    found: list[object] = []
    caller = threading.Thread(target=lambda: found.append(stage.runtime.call(NAME)))
    caller.start()
    until(lambda: sum(entry.kind == "start" for entry in stage.runtime.ledger.list()) > before)
    began = time.monotonic()
    stage.runtime.store.revoke(NAME)
    caller.join(timeout=10)
    seconds = time.monotonic() - began
    assert getattr(found[0], "outcome", None) == "killed"
    assert "withdrawn" in getattr(found[0], "reason", "")
    return seconds


def until(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"n": "x"}, "arguments.schema"), ({}, "arguments.schema"), ({"n": float("nan")}, "arguments.not_json")],
)
def test_arguments_against_the_schema_run_nothing(
    stage: Stage, arguments: dict[str, object], code: str
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    stage.python(ECHO, tool={"input_schema": schema})
    with pytest.raises(UsageError) as refused:
        stage.runtime.call(NAME, "run", arguments)
    assert refused.value.code == code
    assert "'x'" not in refused.value.message


def test_arguments_too_deep_are_refused(stage: Stage) -> None:
    stage.python(ECHO)
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"d": deep}
    with pytest.raises(UsageError) as refused:
        stage.runtime.call(NAME, "run", deep)
    assert refused.value.code == "arguments.not_json"


def test_a_result_against_its_schema_is_a_protocol_failure(stage: Stage) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    stage.python("def run():\n    return {'n': 'seven'}\n", tool={"output_schema": schema})
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.structured) == ("protocol", None)
    assert "seven" not in json.dumps(result.to_call_tool_result())


def test_a_denied_file_is_explained(stage: Stage) -> None:
    stage.python("def run(path):\n    return open(path).read()\n")
    result = stage.runtime.call(NAME, "run", {"path": "/etc/shadow"})
    assert (result.outcome, result.is_error) == ("tool_error", True)
    assert "/etc/shadow is not granted" in result.denied
    assert result.meta["mpp-exec/denied"] == result.denied


def test_a_granted_variable_is_seen_and_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEN", "yes")
    monkeypatch.setenv("UNSEEN", "no")
    stage.python(
        "import os\ndef run():\n    return dict(os.environ)\n", permissions=Permissions(environment=("SEEN",))
    )
    variables = stage.runtime.call(NAME).structured
    assert variables is not None
    assert variables["SEEN"] == "yes"
    assert "UNSEEN" not in variables


def test_a_secret_reaches_the_tool_and_is_redacted_wherever_it_comes_out(stage: Stage) -> None:
    field = ConfigField("token", "string", required=True, sensitive=True, env="TOKEN")
    source = (
        "import os, sys\n"
        "def run():\n"
        "    print(os.environ['TOKEN'], file=sys.stderr)\n"
        "    return {'length': len(os.environ['TOKEN']), 'is': os.environ['TOKEN']}\n"
    )
    stage.python(source, user_config=(field,), settings=Settings(secrets={"token": "correct-horse-battery"}))
    result = stage.runtime.call(NAME)
    assert result.structured is not None
    assert result.structured["length"] == len("correct-horse-battery")
    assert "correct-horse" not in json.dumps(result.to_call_tool_result()) + result.stderr
    for path in stage.home.rglob("*"):
        if path.is_file():
            assert b"correct-horse" not in path.read_bytes()


def test_storage_outlives_the_call_and_is_read_only_for_a_read_tool(stage: Stage) -> None:
    source = (
        "import os\n"
        "def run(write):\n"
        "    path = os.environ['MPP_STORAGE'] + '/note'\n"
        "    if write:\n"
        "        open(path, 'w').write('kept')\n"
        "    return open(path).read()\n"
    )
    stage.python(source, permissions=Permissions(storage=1 << 20), tool={"operation": "write"})
    assert stage.runtime.call(NAME, "run", {"write": True}).structured == {"result": "kept"}
    assert stage.runtime.call(NAME, "run", {"write": False}).structured == {"result": "kept"}


def test_a_tool_that_fills_its_storage_is_ended(stage: Stage) -> None:
    source = (
        "import os\n"
        "def run():\n"
        "    n = 0\n"
        "    while True:\n"
        "        n += 1\n"
        "        open(f\"{os.environ['MPP_STORAGE']}/{n}\", 'wb').write(b'x' * 65536)\n"
    )
    limits = Limits(wall_ms=20_000, cpu_ms=20_000)
    stage.python(source, permissions=Permissions(storage=1 << 20), tool={"operation": "write"}, limits=limits)
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.reason) == ("killed", "its storage is full")
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME)
    assert refused.value.code == "storage.full"


def test_a_changed_file_of_an_installed_package_never_runs(stage: Stage) -> None:
    stage.python(ECHO)
    assert not stage.runtime.call(NAME).is_error
    code = next(stage.home.glob("packages/*/files/code.py"))
    code.chmod(0o644)
    code.write_text(ECHO.replace("arguments\n", "'evil' \n"))
    with pytest.raises(MppError) as refused:
        stage.runtime.call(NAME)
    assert refused.value.exit_code == 3


def test_a_timeout_shortens_the_limit_and_never_lengthens_it(stage: Stage) -> None:
    stage.python("import time\ndef run():\n    time.sleep(30)\n", limits=Limits(wall_ms=600))
    began = time.monotonic()
    assert stage.runtime.call(NAME, timeout=0.3).outcome == "timeout"
    assert stage.runtime.call(NAME, timeout=60).outcome == "timeout"
    assert time.monotonic() - began < (60 if "MPP_GUEST" in os.environ else 5), "an emulator keeps no time"
    with pytest.raises(UsageError):
        stage.runtime.call(NAME, timeout=0)


def test_ctrl_c_in_the_main_thread_ends_the_call_at_once_and_is_on_record(stage: Stage) -> None:
    stage.python("import time\ndef run():\n    time.sleep(60)\n", limits=bounded(wall_ms=50_000))

    def interrupt() -> None:
        until(lambda: any(entry.kind == "start" for entry in stage.runtime.ledger.list(limit=3)))
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    began = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            stage.runtime.call(NAME)
    finally:
        signal.signal(signal.SIGINT, before)
        sender.join()
    assert time.monotonic() - began < 10
    newest = next(iter(stage.runtime.ledger.list(limit=1)))
    assert newest.ending is not None
    assert newest.ending.content["code"] == "python.KeyboardInterrupt"


AUDIT = tuple(f"audit/{name}.py" for name in ("ledger", "committer", "commit", "journal", "database"))


def test_ctrl_c_between_any_two_lines_leaves_no_call_without_an_end(stage: Stage) -> None:
    stage.python(ECHO)
    stage.runtime.call(NAME)
    watched = ("pipeline.py", "invocation.py", "admission.py", "spawn.py", "withdraw.py", *AUDIT)
    interrupted = 0
    stride = 1 if "MPP_GUEST" not in os.environ else 7  # a call for each: some take seconds in an emulator
    for line in itertools.count(1, stride):
        with contextlib.suppress(KeyboardInterrupt), CtrlC(line, watched) as interruption:
            stage.runtime.call(NAME)
        if not interruption.was_raised:
            break
        interrupted += 1
    assert interrupted > 60 // stride
    calls = [entry for entry in stage.runtime.ledger.list() if entry.invocation]
    assert len(calls) > 20 // stride
    assert not [entry for entry in calls if entry.kind == "start" and entry.ending is None]
    assert len({entry.invocation for entry in calls}) == len(calls)
    assert stage.runtime.ledger.verify().ok
    stage.runtime.close()  # and with it what was prepared for calls to come
    assert not init_processes()


def test_an_endless_timeout_is_the_packages_own_limit(stage: Stage) -> None:
    stage.python(ECHO)
    assert not stage.runtime.call(NAME, timeout=float("inf")).is_error


class Person:
    """Answers confirmations, and keeps what was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[ConfirmationRequest] = []

    def __call__(self, request: ConfirmationRequest) -> bool:
        self.asked.append(request)
        return self.answer


def test_a_destructive_tool_asks_every_time_and_shows_the_arguments(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    person = Person(answer=True)
    with Stage(tmp_path, confirm=person) as stage:
        stage.python(ECHO, tool={"operation": "destructive", "confirm": "always"})
        for _ in range(2):
            assert not stage.runtime.call(NAME, "run", {"what": "everything"}).is_error
        assert [request.arguments for request in person.asked] == [{"what": "everything"}] * 2
        person.answer = False
        with pytest.raises(ConsentError) as refused:
            stage.runtime.call(NAME, "run", {"what": "everything"})
        assert refused.value.code == "confirm.refused"


def test_once_is_remembered_until_the_grant_changes(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    person = Person(answer=True)
    with Stage(tmp_path, confirm=person) as stage:
        stage.python(ECHO, tool={"confirm": "once"})
        for _ in range(3):
            stage.runtime.call(NAME)
        assert len(person.asked) == 1


def test_without_anybody_to_ask_nothing_runs(stage: Stage) -> None:
    stage.python(ECHO, tool={"operation": "destructive", "confirm": "always"})
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME, "run", {"confirm": True, "confirmed": "yes"})
    assert refused.value.code == "confirm.required"


def test_the_organisations_policy_narrows_at_once(stage: Stage) -> None:
    stage.python(ECHO)
    assert not stage.runtime.call(NAME).is_error
    stage.system_policy.write_text('[publishers]\ndeny = ["acme"]\n', encoding="utf-8")
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME)
    assert refused.value.code.startswith("policy.")


def test_a_policy_that_cannot_be_parsed_stops_every_call(stage: Stage) -> None:
    stage.python(ECHO)
    stage.system_policy.write_text("not toml [", encoding="utf-8")
    with pytest.raises(ConsentError):
        stage.runtime.call(NAME)


def test_acall_serves_many_tasks_at_once(stage: Stage) -> None:
    stage.python(ECHO)

    async def many() -> list[object]:
        calls = (stage.runtime.acall(NAME, "run", {"n": n}) for n in range(8))
        return [result.structured for result in await asyncio.gather(*calls)]

    assert asyncio.run(many()) == [{"n": n} for n in range(8)]


def test_cancelling_a_task_kills_the_sandbox_and_is_on_the_ledger(stage: Stage) -> None:
    stage.python("import time\ndef run():\n    time.sleep(60)\n", limits=bounded(wall_ms=50_000))

    async def cancelled() -> None:
        task = asyncio.create_task(stage.runtime.acall(NAME))
        await asyncio.to_thread(
            until, lambda: any(entry.kind == "start" for entry in stage.runtime.ledger.list(limit=3))
        )
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - began < (80 if "MPP_GUEST" in os.environ else 10)
    newest = next(iter(stage.runtime.ledger.list(limit=1)))
    assert newest.ending is not None
    assert newest.ending.content["outcome"] == "killed"


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_closing_leaves_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = open_descriptors(), threading.active_count()
    with Stage(tmp_path) as stage:
        stage.python(ECHO)
        stage.runtime.call(NAME)
        asyncio.run(stage.runtime.acall(NAME))
    after = open_descriptors(), threading.active_count()
    # The descriptor of the init program stays open for the life of the process.
    assert len(after[0] - before[0]) <= 1
    assert after[1] == before[1]


def test_a_closed_runtime_refuses(stage: Stage) -> None:
    stage.python(ECHO)
    stage.runtime.close()
    with pytest.raises(UsageError) as refused:
        stage.runtime.call(NAME)
    assert refused.value.code == "runtime.closed"


@contextlib.contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """Have another thread hold *lock* for the length of the block."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("busy", [False, True], ids=["", "while a thread opens the runtime"])
def test_a_forked_child_calls_on_its_own(stage: Stage, busy: bool) -> None:
    stage.python(ECHO)
    stage.runtime.call(NAME)
    read_end, write_end = os.pipe()
    with contextlib.ExitStack() as stack:
        if busy:
            stack.enter_context(held(stage.runtime._lock))
        pid = os.fork()
        if pid == 0:
            _call_as_child(stage, write_end)
    os.close(write_end)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(read_end) as answers:
        assert (status, json.load(answers)) == (0, {"who": "child"})
    assert stage.runtime.call(NAME, "run", {"who": "parent"}).structured == {"who": "parent"}


def _call_as_child(stage: Stage, answer: int) -> NoReturn:
    status = 1
    signal.alarm(60)  # a child that waits for a thread of the parent's waits for ever
    try:
        result = stage.runtime.call(NAME, "run", {"who": "child"})
        os.write(answer, json.dumps(result.structured).encode())
        status = 0
    finally:
        os._exit(status)


def test_a_denial_that_the_tool_handles_itself_is_told(stage: Stage) -> None:
    """A good end, and all the same it is said what was refused, as text and as a list."""
    stage.python(
        """
def run(path):
    try:
        return open(path).read()
    except OSError:
        return "nothing"
"""
    )
    result = stage.runtime.call(NAME, "run", {"path": "/etc/shadow"})
    assert (result.outcome, result.structured) == ("ok", {"result": "nothing"})
    assert "/etc/shadow is not granted" in result.meta["mpp-exec/denied"]
    (denial,) = result.meta["mpp-exec/denials"]
    assert denial == {
        "kind": "path",
        "tried": "/etc/shadow",
        "permission": "filesystem.read",
        "toml": 'read = ["/etc/shadow"]',
    }


@pytest.mark.parametrize(
    ("script", "denial"),
    [
        ("read line </srv/in.txt", {"kind": "path", "permission": "filesystem.read", "tried": "/srv/in.txt"}),
        ("cat /srv/in.txt", {"kind": "program", "permission": "subprocess", "tried": "cat"}),
        (
            "echo 'curl: (6) Could not resolve host: example.org' >&2; exit 6",
            {"kind": "host", "permission": "network", "tried": "example.org"},
        ),
    ],
)
def test_a_denial_that_a_program_complains_of_is_told(
    stage: Stage, script: str, denial: dict[str, str]
) -> None:
    """Of a program nothing is noted: what it says itself is read, and held against the plan."""
    package = forge.package_of(
        {"bin/run": f"#!/bin/sh\n{script}\n".encode()},
        executable=("bin/run",),
        runtime=RuntimeSpec(kind="exec", command=("bin/run",), requires=(Requirement("sh", ""),)),
        tools=(Tool(name="run", description="", input_schema={"type": "object"}),),
    )
    _, signed = stage.install(package)
    stage.approve(signed)
    result = stage.runtime.call(NAME, "run", {})
    assert result.is_error
    told = [{name: each[name] for name in denial} for each in result.meta["mpp-exec/denials"]]
    assert told == [denial]
    assert denial["tried"] in result.meta["mpp-exec/denied"]


def test_a_program_that_ends_well_complains_of_nothing(stage: Stage) -> None:
    package = forge.package_of(
        {"bin/run": b"#!/bin/sh\necho 'cat: /srv/a: No such file or directory' >&2; echo '{}'\n"},
        executable=("bin/run",),
        runtime=RuntimeSpec(kind="exec", command=("bin/run",), requires=(Requirement("sh", ""),)),
        tools=(Tool(name="run", description="", input_schema={"type": "object"}),),
    )
    _, signed = stage.install(package)
    stage.approve(signed)
    assert "mpp-exec/denials" not in stage.runtime.call(NAME, "run", {}).meta


def test_what_a_denial_quotes_is_redacted(stage: Stage) -> None:
    """A path is the tool's to choose, and so a way out as any other."""
    stage.python("def run(path):\n    return open(path).read()\n")
    result = stage.runtime.call(NAME, "run", {"path": "/srv/4111111111111111"})
    assert "4111111111111111" not in json.dumps(result.to_call_tool_result())
    assert result.denials[0]["tried"] == "/srv/[CREDIT_CARD]"


def test_a_call_that_meets_the_end_of_the_runtime_has_not_begun(stage: Stage) -> None:
    """Between its turn and its first word on the ledger: as if it had come a moment later."""
    stage.python(ECHO)
    stage.runtime._open().ledger.close()
    with pytest.raises(UsageError) as refused:
        stage.runtime.call(NAME)
    assert refused.value.code == "runtime.closed"

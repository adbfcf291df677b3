"""A resident runtime: a call through it is what it is without one, and it comes and goes cleanly."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import DEADLINE, PROGRAM, Shell
from mpp_exec.serving.service import MAX_CLIENTS
from served import (
    CLIENT,
    Runtime,
    hello,
    normal,
    read_frame,
    require_client,
    run_client,
    serving,
    start_client,
    until,
)

TOOL = """\
import os, sys, time

def call(text="", number=0, flag=False):
    if text == "raise":
        raise ValueError("it went wrong")
    if text == "sleep":
        time.sleep(60)
    if text == "stderr":
        print("said aside", file=sys.stderr)
    if text == "mail":
        return "write to jane.doe@example.com"
    if text == "unicode":
        return "héllo \\u202e \\x1b[31m"
    if text == "large":
        return "x" * 500_000
    if text == "variable":
        return os.environ.get("SEEN_BY_TOOL", "nothing")
    return {"text": text, "number": number, "flag": flag}
"""
SCHEMA = (
    '{ type = "object", properties = { text = { type = "string" }, number = { type = "integer" }, '
    'flag = { type = "boolean" } }, additionalProperties = false }'
)
PERMISSIONS = '[permissions]\nenvironment = ["SEEN_BY_TOOL"]\n'

SERVED: list[tuple[list[str], bytes]] = [
    (["acme/all"], b""),
    (["acme/all", "text=words", "number=3", "flag=true"], b""),
    (["acme/all", "call", "text=named"], b""),
    (["acme/all", "text=json", "--json"], b""),
    (["--json", "acme/all"], b""),
    (["acme/all", "--args", '{"text": "given"}'], b""),
    (["acme/all", '--args={"text": "given"}', "number=4"], b""),
    (["acme/all", "--args", "-"], b'{"text": "from stdin"}'),
    (["acme/all", "--args=-"], b""),
    (["acme/all", "--args", "-"], b"no json"),
    (["acme/all", "--args", "-", "--json"], b"[]"),
    (["acme/all", "--args", "@input.json"], b""),
    (["acme/all", "--args", "not json"], b""),
    (["acme/all", "text=a", "text=b"], b""),
    (["acme/all", "txet=a"], b""),
    (["acme/all", "number=a", "--json"], b""),
    (["acme/all", "--args", '{"number": "a"}'], b""),
    (["acme/all", "unknown"], b""),
    (["acme/all", "call", "word"], b""),
    (["acme/none"], b""),
    (["acme/none", "--json"], b""),
    ([], b""),
    (["--", "acme/all", "text=after"], b""),
    (["acme/all", "text=raise"], b""),
    (["acme/all", "text=raise", "--json"], b""),
    (["acme/all", "text=stderr"], b""),
    (["acme/all", "text=mail"], b""),
    (["acme/all", "text=mail", "--json"], b""),
    (["acme/all", "text=unicode"], b""),
    (["acme/all", "text=unicode", "--json"], b""),
    (["acme/all", "text=large"], b""),
    (["acme/all", "text=sleep", "--timeout", "0.5"], b""),
    (["acme/all", "text=sleep", "--timeout=0.5", "--json"], b""),
    (["acme/all", "--timeout", "0"], b""),
    (["acme/all", "--timeout", "soon"], b""),
    (["acme/all", "text=variable"], b""),
    (["acme/revoked", "text=a"], b""),
]
NOT_SERVED: list[tuple[list[str], bytes]] = [
    (["acme/all", "--args", "@missing.json"], b""),
    (["acme/all", "--args", "@."], b""),
    (["acme/all", "--args", "-"], b" " * (4 << 20) + b"{}"),
    (["acme/all", "--args", "{}", "--args", '{"text": "last"}'], b""),
    (["acme/all", "--tiemout", "3"], b""),
    (["--help"], b""),
    (["acme/asking"], b""),
]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    require_client()
    root = tmp_path_factory.mktemp("serve")
    root.chmod(0o755)
    shell = Shell(root, {"SEEN_BY_TOOL": "of the runtime"})
    shell.install("acme/all", code=TOOL, schema=SCHEMA, toml=PERMISSIONS)
    shell.install("acme/asking", schema=SCHEMA, code=TOOL, extra='confirm = "always"')
    shell.install("acme/revoked")
    shell.ok("revoke", "acme/revoked")
    (shell.cwd / "input.json").write_text('{"text": "from a file"}')
    with serving(shell) as made:
        yield made


@pytest.mark.parametrize(("words", "stdin"), SERVED + NOT_SERVED)
def test_the_client_says_what_a_process_of_its_own_says(
    runtime: Runtime, words: list[str], stdin: bytes
) -> None:
    """Standard output, standard error and exit code are the same; the call was made where it should be."""
    own = runtime.shell.run("run", *words, stdin=stdin, SEEN_BY_TOOL="of the client")
    before = runtime.status()
    done = runtime.client("run", *words, stdin=stdin, SEEN_BY_TOOL="of the client")
    after = runtime.status()
    assert (done.code, normal(done.out)) == (own.code, normal(own.out))
    assert without_id(done.err) == without_id(own.err)
    if (words, stdin) in SERVED:
        assert after["sent_away"] == before["sent_away"], after["last_sent_away"]
    else:
        assert after["calls"] in (before["calls"], before["calls"] + 1)
    if "variable" in " ".join(words):
        assert done.out == "of the client\n"


def without_id(text: str) -> str:
    """Return *text* without the id of a call that waits for a person."""
    before, found, after = text.partition("mpp-exec confirm ")
    return f"{before}{found}ID{after[10:]}" if found else text


def at_a_terminal(shell: Shell, program: list[str], *words: str, **variables: str) -> tuple[int, bytes]:
    """Run a command whose standard streams, not its session, are a terminal; return exit code and screen."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            [*program, *words],
            cwd=shell.cwd,
            env=shell.environment() | variables,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        # The terminal stays open here: with its last user gone, what nobody has read yet may be lost.
        code = process.wait(DEADLINE)  # what it says fits into the terminal
        screen = b""
        while select.select([master], [], [], 0.2)[0]:
            screen += os.read(master, 65536)
        return code, screen
    finally:
        os.close(slave)
        os.close(master)


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["text=unicode"], {}),
        (["text=raise"], {}),
        (["text=raise"], {"NO_COLOR": "1"}),
        (["text=raise"], {"TERM": "dumb"}),
        (["number=x", "--json"], {}),
        (["text=mail"], {}),
    ],
)
def test_the_client_says_the_same_at_a_terminal(
    runtime: Runtime, words: list[str], variables: dict[str, str]
) -> None:
    before = runtime.status()["sent_away"]
    own = at_a_terminal(runtime.shell, list(PROGRAM), "run", "acme/all", *words, **variables)
    assert at_a_terminal(runtime.shell, [str(CLIENT)], "run", "acme/all", *words, **variables) == own
    assert runtime.status()["sent_away"] == before


def test_a_result_that_nobody_takes_ends_as_without_it(runtime: Runtime) -> None:
    """A closed pipe and a full disk: the same words and the same exit code."""
    for sink in ("pipe", "/dev/full"):
        found = []
        for program in ([str(CLIENT)], list(PROGRAM)):
            if sink == "pipe":
                reading, out = os.pipe()
                os.close(reading)
            else:
                out = os.open(sink, os.O_WRONLY)
            done = subprocess.run(
                [*program, "run", "acme/all", "text=large"],
                cwd=runtime.shell.cwd,
                env=runtime.shell.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                timeout=DEADLINE,
                check=False,
            )
            os.close(out)
            found.append((done.returncode, done.stderr))
        assert found[0] == found[1]


def test_the_ledger_says_of_a_served_call_what_it_says_of_another(runtime: Runtime) -> None:
    """Who asked is the client: its process, not the one that wrote the entry."""
    shell = runtime.shell
    own = shell.start("run", "acme/all", "text=one")
    own.communicate(timeout=DEADLINE)
    entries = [shell.ok("audit", "list", "--json").json[0]]
    client = start_client(shell, "run", "acme/all", "text=one")
    client.communicate(timeout=DEADLINE)
    entries.append(shell.ok("audit", "list", "--json").json[0])
    shown = [shell.ok("audit", "show", entry["call"], "--json").json for entry in entries]
    pids = [document(each)["caller"].pop("pid") for each in shown]
    assert pids == [own.pid, client.pid]
    assert document(shown[0])["caller"] == document(shown[1])["caller"]
    assert keys(shown[0]) == keys(shown[1])


def document(shown: Any) -> Any:
    """Return the start of a call as ``audit show`` prints it."""
    return shown[0] if isinstance(shown, list) else shown


def keys(value: Any) -> Any:
    """Return the form of a JSON value: names, without what stands under them, and without times of stages."""
    if isinstance(value, dict):
        return {name: keys(each) for name, each in value.items() if name != "timing"}
    return [keys(each) for each in value] if isinstance(value, list) else type(value).__name__


def test_a_call_that_must_be_confirmed_is_asked_about_at_the_clients_own_terminal(tmp_path: Path) -> None:
    from command import Terminal  # noqa: PLC0415

    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    shell.install("acme/asking", extra='operation = "destructive"')
    with serving(shell) as runtime:
        command = [str(CLIENT), "run", "acme/asking", "text=done", "--confirm"]
        with Terminal(command, shell.cwd, shell.environment()) as terminal:
            terminal.expect("Run this call? [y/N]")
            terminal.type("y\n")
            code, screen = terminal.end()
        assert (code, screen.splitlines()[-1]) == (0, "done")
        assert runtime.status()["last_sent_away"] == "a person has to confirm the call"
        refused = runtime.client("run", "acme/asking", "text=done", "--confirm")
        assert refused.code == 4
        assert "[confirm.pending]" in refused.err
    started = [each for each in shell.ok("audit", "list", "--json").json if each["kind"] == "start"]
    assert len(started) == 1


# -- coming and going --------------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    require_client()
    tmp_path.chmod(0o755)
    made = Shell(tmp_path)
    made.install()
    return made


def left(shell: Shell) -> list[str]:
    """Return what is in the folder of the socket."""
    folder = shell.home / "serve"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(shell: Shell, number: signal.Signals) -> None:
    with serving(shell) as runtime:
        assert runtime.client("run", "acme/echo", "text=a").out == "a\n"
        runtime.process.send_signal(number)
        assert runtime.process.wait(DEADLINE) == 0
    assert not (shell.home / "serve").exists()
    assert run_client(shell, "run", "acme/echo", "text=b").out == "b\n"


def test_stop_ends_it_and_has_waited_for_that(shell: Shell) -> None:
    with serving(shell) as runtime:
        assert shell.ok("serve", "--stop").out == "the resident runtime has ended\n"
        assert runtime.process.wait(5) == 0
        assert not (shell.home / "serve").exists()
    assert shell.ok("serve", "--stop").out == "there is no resident runtime\n"
    assert shell.ok("serve", "--status", "--json").json == {"running": False, "on_demand": False}


def test_it_ends_when_nobody_calls(shell: Shell) -> None:
    with serving(shell, "--idle", "0.5") as runtime:
        assert runtime.process.wait(DEADLINE) == 0
    assert left(shell) == []


def test_there_is_one_for_a_home(shell: Shell) -> None:
    with serving(shell) as runtime:
        second = shell.run("serve")
        assert second.code == 4
        assert "[serve.running]" in second.err
        assert runtime.client("run", "acme/echo", "text=a").out == "a\n"
        assert runtime.status()["calls"] == 1


def test_what_one_that_was_killed_left_is_replaced(shell: Shell) -> None:
    with serving(shell) as runtime:
        runtime.process.kill()
        runtime.process.wait()
    assert left(shell) == ["lock", "socket"]
    assert run_client(shell, "run", "acme/echo", "text=a").out == "a\n"
    with serving(shell) as runtime:
        assert runtime.client("run", "acme/echo", "text=a").out == "a\n"
        assert runtime.status()["calls"] == 1
    assert left(shell) == []


def test_it_ends_when_its_home_is_gone(shell: Shell) -> None:
    with serving(shell) as runtime:
        shell.home.rename(shell.root / "other")
        assert runtime.process.wait(DEADLINE) == 0
    assert not shell.home.exists()


def test_another_version_makes_its_calls_itself(shell: Shell, tmp_path: Path) -> None:
    """The client of another installation, and one that another source was built into."""
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(CLIENT, other / "mpp-exec")
    (other / "mpp-exec-python").write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    (other / "mpp-exec-python").chmod(0o755)
    with serving(shell) as runtime:
        done = subprocess.run(
            [other / "mpp-exec", "run", "acme/echo", "text=a"],
            env=shell.environment(),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, b"a\n")
        assert runtime.status()["last_sent_away"] == "it is another installation"
        with runtime.connect() as connection:
            connection.sendall(hello(runtime, "run", "acme/echo", "text=a", build="0" * 32))
            assert read_frame(connection) == (b"A", b"it is another version")
        assert runtime.status()["calls"] == 0


@pytest.mark.parametrize(
    "variables",
    [{"PATH": "/usr/bin:/bin:/nowhere"}, {"LD_LIBRARY_PATH": "/nowhere"}, {"LC_ALL": "de_DE.ISO-8859-1"}],
)
def test_who_would_find_other_programs_makes_the_call_itself(shell: Shell, variables: dict[str, str]) -> None:
    with serving(shell) as runtime:
        assert runtime.client("run", "acme/echo", "text=a", **variables).out == "a\n"
        status = runtime.status()
        assert (status["calls"], status["sent_away"]) == (0, 1)


def test_on_demand_starts_one_that_ends_by_itself(shell: Shell) -> None:
    assert "ends after 8 s" in shell.ok("serve", "--on-demand", "on", "--idle", "8").out
    assert left(shell) == ["on-demand"]
    assert run_client(shell, "run", "acme/echo", "text=a").out == "a\n"
    until(lambda: "socket" in left(shell), "one is started")
    assert shell.ok("serve", "--status", "--json").json["on_demand"] is True
    until(lambda: left(shell) == ["on-demand"], "it ends")
    shell.ok("serve", "--on-demand", "off")
    assert run_client(shell, "run", "acme/echo", "text=a").out == "a\n"
    assert left(shell) == []


def test_without_the_setting_none_is_started(shell: Shell) -> None:
    assert run_client(shell, "run", "acme/echo", "text=a").out == "a\n"
    assert left(shell) == []


def test_many_clients_at_once_are_all_answered(shell: Shell) -> None:
    """Also those that are too many: they make their calls themselves."""
    with serving(shell) as runtime:
        held = [runtime.connect() for _ in range(MAX_CLIENTS - 2)]
        clients = [start_client(shell, "run", "acme/echo", f"text={number}") for number in range(8)]
        said = [client.communicate(timeout=DEADLINE) for client in clients]
        for connection in held:
            connection.close()
    assert [out for out, _ in said] == [f"{number}\n".encode() for number in range(8)]


def test_a_hundred_calls_leave_no_descriptor_and_no_thread(shell: Shell) -> None:
    with serving(shell) as runtime:

        def now() -> tuple[int, int]:
            # Not those of sandboxes that wait for the next calls: the more calls, the more of them.
            own = [each for each in runtime.descriptors() if "eventfd" in each or "memfd" in each]
            return len(own), len(list(Path(f"/proc/{runtime.process.pid}/task").iterdir()))

        for _ in range(5):
            runtime.client("run", "acme/echo", "text=a")
        until(lambda: runtime.status()["clients"] == 0, "all have left")
        before = now()
        for _ in range(100):
            assert runtime.client("run", "acme/echo", "text=a").out == "a\n"
        until(lambda: max(now()) <= max(before) + 2, f"{before} has become {now()}")


def test_the_end_of_a_long_line_of_words_is_left_to_python(shell: Shell) -> None:
    """More variables than one frame holds."""
    with serving(shell) as runtime:
        large = {f"LARGE_{number}": "x" * 120_000 for number in range(10)}
        assert runtime.client("run", "acme/echo", "text=a", **large).out == "a\n"
        assert runtime.status()["calls"] == 0


def test_the_help_of_serve_works_without_a_home() -> None:
    done = subprocess.run([*PROGRAM, "serve", "--help"], capture_output=True, text=True, check=True)
    assert "--on-demand" in done.stdout

"""What a tool finds inside: the contract's section 5, looked at from there."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox import interpreter, kernel
from sandbox_lab import Lab, answer, bounded, call, run

LOOK = """
import os, stat, sys, tempfile

def listed(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return error.strerror

def run():
    return {
        "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
        "groups": os.getgroups(),
        "pid": [os.getpid(), os.getppid(), os.getsid(0)],
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "listed": {path: listed(path) for path in ("/tmp", "/tmp/home", "/", "/app", "/proc", "/dev")},
        "exists": {path: os.path.lexists(path) for path in (
            "/proc", "/sys", "/run", "/home", "/root", "/var", "/usr/share", "/boot", "/dev/shm", "/dev/tty",
            "/dev/ptmx", "/etc/shadow", "/etc/ssh", "/dev/kmsg", "/storage")},
        "modes": {path: stat.S_IMODE(os.stat(path).st_mode) for path in ("/tmp", "/tmp/home")},
        "hostname": os.uname().nodename,
        "path": sys.path,
        "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.dont_write_bytecode],
        "tempdir": tempfile.gettempdir(),
        "umask": os.umask(0o22),
        "home": os.path.expanduser("~"),
        "nobody": __import__("pwd").getpwnam("tool").pw_uid,
        "argv": sys.argv,
        "stdin": os.read(0, 10).decode(),
        "tty": [os.isatty(fd) for fd in (0, 1, 2)],
        "modules": sorted(name for name in sys.modules if name.startswith(("mpp", "_seal"))),
    }
"""


@pytest.fixture(scope="module")
def seen(lab: Lab) -> dict[str, Any]:
    value: dict[str, Any] = call(lab.python(LOOK, files={"data/words.txt": "alpha"}))
    return value


def test_identity_is_an_unprivileged_one(seen: dict[str, Any]) -> None:
    assert seen["ids"] == [1000] * 4
    assert seen["groups"] == [], "of a host that is no root, too, which may not empty them"
    assert seen["nobody"] == 1000


def test_tool_is_process_2_of_a_session_without_a_terminal(seen: dict[str, Any]) -> None:
    assert seen["pid"] == [2, 1, 1]
    assert seen["tty"] == [False] * 3


def test_working_directory_and_temporary_folder_are_private_and_empty(seen: dict[str, Any]) -> None:
    assert seen["cwd"] == seen["tempdir"] == "/tmp"
    assert seen["listed"]["/tmp"] == ["home"]
    assert seen["listed"]["/tmp/home"] == []
    assert seen["home"] == "/tmp/home"
    assert seen["modes"] == {"/tmp": 0o700, "/tmp/home": 0o700}
    assert seen["umask"] == 0o022


def test_environment_is_exactly_the_contracts(seen: dict[str, Any]) -> None:
    assert seen["environment"] == {
        "PATH": "/bin:/python/bin",
        "HOME": "/tmp/home",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "MPP_PACKAGE": "acme/lab@1.0.0",
        "MPP_TOOL": "tool",
        "MPP_INVOCATION": "lab",
    }


def test_nothing_of_the_host_is_there(seen: dict[str, Any]) -> None:
    assert [path for path, there in seen["exists"].items() if there] == []
    assert seen["listed"]["/"] == "Permission denied"
    assert seen["listed"]["/dev"] == "Permission denied"
    assert seen["listed"]["/proc"] == "No such file or directory"
    assert seen["hostname"] == "mpp"


def test_package_is_at_app(seen: dict[str, Any]) -> None:
    assert seen["listed"]["/app"] == ["data", "tool.py"]


def test_interpreter_is_isolated(seen: dict[str, Any]) -> None:
    assert seen["flags"] == [1, 1, 1]
    assert seen["path"][0] == "/app"
    assert all(path.startswith(("/app", "/python/lib")) for path in seen["path"])
    assert not any("-packages" in path for path in seen["path"])
    assert seen["argv"] == ["/mpp/launch.pyc"]
    assert seen["modules"] == ["_seal"]


def test_request_was_read_to_its_end(seen: dict[str, Any]) -> None:
    assert seen["stdin"] == ""


def test_variables_and_arguments_of_a_call(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "environment"), variables=(("TZ", "Europe/Bern"), ("EMPTY", "")))
    lines = done.output.decode().splitlines()
    assert {"TZ=Europe/Bern", "EMPTY=", "MPP_INVOCATION=lab"} <= set(lines)
    assert len({line.partition("=")[0] for line in lines}) == len(lines)
    compiled = lab.program(probe, "arguments", "one")
    assert run(compiled).output == b"[one]"
    given = (compiled.argv[0], "arguments", "", "two words", "é\n", "--")
    assert run(compiled, arguments=given).output.decode() == "[][two words][é\n][--]"


def test_value_of_any_json_type_comes_back(lab: Lab) -> None:
    compiled = lab.python("def run(value):\n    return value\n")
    values: list[Any] = [None, True, 0, -1.5, 2**70, "", "é\U0001f600\x00", [], {"a": [{}]}, "x" * 200_000]
    for value in values:
        assert call(compiled, value=value) == value


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("def run():\n    raise KeyError('missing')", {"type": "KeyError", "message": "'missing'"}),
        ("def run():\n    raise SystemExit(3)", {"type": "SystemExit", "message": "3"}),
        ("def run():\n    return float('nan')", {"type": "ValueError"}),
        ("def run():\n    return {1, 2}", {"type": "TypeError"}),
        ("def run():\n    return '\\ud800'", {"type": "UnicodeEncodeError"}),
        ("def run():\n    open('/home/x')", {"type": "FileNotFoundError", "errno": 2, "path": "/home/x"}),
        ("def run():\n    return run()", {"type": "RecursionError"}),
        ("x = 1", {"type": "AttributeError"}),
        ("import nonexistent", {"type": "ModuleNotFoundError"}),
        ("def run(a):\n    return a", {"type": "TypeError"}),
        ("this is no python", {"type": "SyntaxError"}),
        ("def run():\n    x = []\n    while True: x.append(bytearray(1 << 20))", {"type": "MemoryError"}),
        (
            "class E(Exception):\n    def __str__(self): raise ValueError\ndef run():\n    raise E",
            {"type": "Exception"},
        ),
        (
            "def run():\n    a = []\n    for _ in range(9**5): a = [a]\n    return a",
            {"type": "RecursionError"},
        ),
    ],
)
def test_exception_becomes_a_document(lab: Lab, code: str, error: dict[str, Any]) -> None:
    """And the traceback goes to stderr; where the exception cannot be described, that is said."""
    done = run(lab.python(code), b'{"arguments":{}}')
    document = answer(done)
    assert document["error"] == document["error"] | error
    if error["type"] not in ("MemoryError", "Exception"):
        assert error["type"].encode() in done.errors


def test_what_a_tool_prints_is_no_part_of_its_result(lab: Lab) -> None:
    code = "import os\ndef run():\n    print('printed')\n    os.write(1, b'raw')\n    return 5\n"
    done = run(lab.python(code), b'{"arguments":{}}')
    assert answer(done) == {"value": 5}
    assert b"printed" in done.errors
    assert b"raw" in done.errors


def test_thread_and_exit_handler_of_a_tool_do_not_prolong_the_call(lab: Lab) -> None:
    code = (
        "import atexit, threading, time\n"
        "def run():\n"
        "    atexit.register(time.sleep, 60)\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    return 1\n"
    )
    assert call(lab.python(code)) == 1


def test_static_program_reads_its_request_and_answers(lab: Lab, probe: Path) -> None:
    request = json.dumps({"name": "tool", "arguments": {"é": [1]}}).encode()
    done = run(lab.program(probe, "echo"), request)
    assert done.outcome == "ok"
    echoed = {"name": "tool", "arguments": {"é": [1]}}
    assert json.loads(done.output) == {"length": len(request), "request": echoed}


def test_status_of_a_program_is_an_error_of_the_tool(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "status", "3"))
    assert (done.outcome, done.reason) == ("tool_error", "ended with status 3")


@pytest.mark.parametrize("how", ["as a script", "by its interpreter"])
def test_shell_script_with_the_hosts_shell(lab: Lab, how: str) -> None:
    lines = (
        "#!/bin/sh",
        "read -r request",
        'echo "got $request" > out',
        "read -r again < out",
        'echo "$again"',
    )
    script = "\n".join(lines)
    compiled = lab.program(
        None,
        *(["bin/run.sh"] if how == "as a script" else ["sh", "/app/bin/run.sh"]),
        files={"bin/run.sh": script},
        executable=["bin/run.sh"],
        requires=("sh",),
    )
    done = run(compiled, b"hello\n")
    assert (done.outcome, done.output, done.errors) == ("ok", b"got hello\n", b"")


def test_shell_without_other_programs_has_its_builtins_only(lab: Lab) -> None:
    compiled = lab.program(None, "sh", "-c", "echo here; ls / ; (echo sub); echo there", requires=("sh",))
    done = run(compiled)
    assert done.output.startswith(b"here\n")
    assert b"sub" not in done.output, "a subshell is a fork"


@pytest.mark.parametrize("interpreter", ["bash", "node", "perl", "lua"])
def test_other_interpreters_of_the_host_start(lab: Lab, interpreter: str) -> None:
    if shutil.which(interpreter) is None:
        pytest.skip(f"this host has no {interpreter}")
    scripts = {
        "bash": "[[ 5 == 5 ]] && echo 5",
        "node": "console.log(JSON.parse('5'))",
        "perl": "print 2 + 3, qq(\\n);",
        "lua": "print(5)",
    }
    compiled = lab.program(
        None,
        *(interpreter, "/app/script"),
        files={"script": scripts[interpreter]},
        requires=(interpreter,),
        limits=bounded(memory=1 << 30),
    )
    done = run(compiled)
    assert (done.outcome, done.output) == ("ok", b"5\n"), done.errors


def test_vendored_folder_goes_before_the_package(lab: Lab) -> None:
    files = {"vendor/helper.py": "NAME = 'vendored'\n", "helper.py": "NAME = 'own'\n"}
    code = "import helper\ndef run():\n    return helper.NAME\n"
    assert call(lab.python(code, files=files)) == "own"
    assert call(lab.python(code, files=files, path=("vendor",))) == "vendored"


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1 << 20])
def test_request_of_any_size_arrives(lab: Lab, probe: Path, size: int) -> None:
    """65,536 bytes are what a pipe takes; what is more is fed while the tool runs."""
    done = run(lab.program(probe, "echo", limits=bounded(output=2 << 20)), b"7" * size)
    assert done.outcome == "ok"
    assert done.output.startswith(f'{{"length": {size}, '.encode())


def test_result_larger_than_a_pipe_arrives(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "big", str(1 << 20)))
    assert (done.outcome, len(done.output)) == ("ok", 1 << 20)


def test_stages_are_timed(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "status", "0"))
    assert set(done.timing) == {"clone", "prepare", "confine", "run", "reap"}
    assert all(0 <= value < 10_000_000 for value in done.timing.values())
    assert done.memory_peak > 0
    assert done.cpu_us >= 0


def test_signals_are_as_a_fresh_program_expects(
    lab: Lab, probe: Path, request: pytest.FixtureRequest
) -> None:
    """Python ignores SIGPIPE, and a host may block what it likes: neither reaches the tool."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    request.addfinalizer(lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before))
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    assert run(lab.program(probe, "signals")).output == b""
    assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_limits_of_the_process_are_set_hard(lab: Lab, probe: Path) -> None:
    limits = Limits(memory=64 << 20, processes=3, open_files=20, cpu_ms=1500)
    output = run(lab.program(probe, "limits", limits=limits)).output.decode()
    rows = [[int(number) for number in line.split()] for line in output.splitlines()]
    assert rows[resource.RLIMIT_NOFILE] == [20, 20]
    beyond_the_cgroup = 1 if kernel.probe().cgroup else 0
    assert rows[resource.RLIMIT_NPROC] == [4 + beyond_the_cgroup] * 2
    assert rows[resource.RLIMIT_AS] == [64 << 20] * 2
    assert rows[resource.RLIMIT_CORE] == [1, 1]
    assert rows[resource.RLIMIT_CPU] == [2, 3]
    assert rows[resource.RLIMIT_MEMLOCK] == [65536] * 2


@pytest.mark.parametrize("processes", [1, 8, 4096])
def test_processors_are_no_more_than_there_may_be_threads_for(lab: Lab, processes: int) -> None:
    """OpenBLAS starts a thread for each that it sees, and a tool that imports numpy would end there."""
    code = "import os\ndef run():\n    return [os.cpu_count(), sorted(os.sched_getaffinity(0))]\n"
    count, chosen = call(lab.python(code, limits=bounded(processes=processes)))
    allowed = os.sched_getaffinity(0)
    assert set(chosen) <= allowed
    assert len(chosen) == count == min(len(allowed), max(1, processes // 4))


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_interpreter_with_a_library_of_its_own(tmp_path: Path) -> None:
    """As a Python beside the system's may be built: found by its path on this host, or relative to itself."""
    source = tmp_path / "lib.c"
    source.write_text("int answer(void) { return 42; }\n")
    program = tmp_path / "program.c"
    program.write_text("int answer(void);\nint main(void) { return answer() == 42 ? 0 : 1; }\n")
    for way in (str(tmp_path / "lib"), "$ORIGIN/../lib"):
        for folder in ("lib", "bin"):
            (tmp_path / folder).mkdir(exist_ok=True)
        library = tmp_path / "lib" / "libown.so.1"
        command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libown.so.1", str(source), "-o", str(library)]
        subprocess.run(command, check=True)
        built = tmp_path / "bin" / "own"
        subprocess.run(["cc", str(program), str(library), f"-Wl,-rpath,{way}", "-o", str(built)], check=True)
        files = interpreter._loaded(str(built), (), str(tmp_path))
        places = {os.path.normpath(file.target) for file in files if file.source == str(library)}
        assert f"{interpreter.PYTHON_ROOT}/lib/libown.so.1" in places
        assert len(places) == 2, "and where the loader looks by itself"

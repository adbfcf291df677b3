"""Is a cold call of a static program, by name through the whole pipeline, cheaper than bubblewrap running it?

Both get a request on descriptor 0 and an answer on descriptor 1, an empty root with the same few
things in it, fresh user, PID, mount, network, IPC, UTS and cgroup namespaces. The call also verifies,
checks arguments, applies Landlock, seccomp and limits, redacts, and commits to the ledger.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench.harness import Contestant, Goal, measure, report
from bench.stage import folder, install_answer
from mpp_exec import Runtime

DEVICES = [
    word
    for name in ("null", "zero", "full", "random", "urandom")
    for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
]


def spawned(command: list[str]) -> None:
    """Run *command* as cheaply as Python can: posix_spawn, two pipes, wait."""
    request_read, request_write = os.pipe2(os.O_CLOEXEC)
    answer_read, answer_write = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, request_read, 0), (os.POSIX_SPAWN_DUP2, answer_write, 1)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    os.close(request_read)
    os.close(answer_write)
    os.write(request_write, b'{"arguments":{},"name":"answer"}')
    os.close(request_write)
    answer = b""
    while part := os.read(answer_read, 4096):
        answer += part
    os.close(answer_read)
    _, status = os.waitpid(pid, 0)
    if status != 0 or answer != b'{"ok":true}':
        raise RuntimeError(f"{command[0]} answered {answer!r} with status {status}")


def run(*, rounds: int, as_json: bool) -> bool:
    with folder() as where:
        home, program = install_answer(where)
        with Runtime(home) as runtime:

            def call() -> None:
                result = runtime.call("bench/answer", "answer", {})
                if result.structured != {"ok": True}:
                    raise RuntimeError(f"the call answered {result}")

            contestants = [
                Contestant("mpp-exec cold call", call),
                Contestant("static program, vfork+exec", lambda: spawned([str(program)])),
            ]
            goals = []
            bubblewrap = shutil.which("bwrap")
            if bubblewrap is not None:
                command = _bubblewrap(bubblewrap, program)
                contestants.append(Contestant("bubblewrap", lambda: spawned(command)))
                goals.append(Goal("mpp-exec cold call", "bubblewrap", 1.0))
            else:
                print("bubblewrap is not installed: no comparison (apt-get install bubblewrap)")
            measure(contestants, rounds=rounds)
            return report("cold call of a static program", contestants, goals, as_json=as_json)


def _bubblewrap(binary: str, program: Path) -> list[str]:
    zone = os.path.realpath("/etc/localtime")
    return [
        *(binary, "--unshare-all", "--new-session", "--die-with-parent", "--cap-drop", "ALL", "--clearenv"),
        *("--tmpfs", "/", "--size", str(64 << 20), "--tmpfs", "/tmp", "--dir", "/tmp/home"),
        *DEVICES,
        *("--ro-bind", zone, "/etc/localtime", "--ro-bind", str(program.parent.parent), "/app"),
        *("--remount-ro", "/", "--chdir", "/tmp", "/app/bin/answer"),
    ]

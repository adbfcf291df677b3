"""On a host that cannot enforce what was approved, nothing runs, and what to change is said.

The real command, on simulated hosts (``simulated_host.py``), as whoever runs the tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import pytest

from command import Shell, error_lines
from mpp_exec.sandbox.remedy import apparmor_profile

REVEALS = "def call(text):\n    return 'it ran'\n"


SCRIPT = """\
[package]
name = "acme/script"
version = "1.0.0"
description = "A script."

[runtime]
kind = "exec"
command = ["bin/tool"]
requires = ["sh"]

[[tools]]
name = "call"
description = "Answers."
inputSchema = { type = "object" }
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with an approved package in it."""
    made = Shell(tmp_path_factory.mktemp("hosts"))
    made.install(code=REVEALS)
    # Asked for its interpreters here: in a user namespace of a user's own, root's files look like nobody's.
    made.ok("run", "acme/echo", "text=x")
    return made


def refused(host: str, shell: Shell, code: str, hints: Sequence[str]) -> None:
    for verb in (("run", "acme/echo", "text=x"), ("explain", "acme/echo")):
        done = shell.on(host, *verb)
        assert done.code == 5, done
        assert "it ran" not in done.out + done.err
        _, seen, hint = error_lines(done)
        assert seen == code
        for word in hints:
            assert word in hint


@pytest.mark.parametrize("host", ["docker", "ubuntu", "no-user-namespaces"])
def test_host_without_namespaces_refuses_and_says_how_to_go_on(shell: Shell, host: str) -> None:
    line = "mpp-exec approve acme/echo --degrade namespaces"
    refused(host, shell, "host.no_namespaces", ["mpp-exec doctor", line])


@pytest.mark.parametrize("host", ["no-landlock", "landlock-disabled"])
def test_host_without_landlock_refuses(shell: Shell, host: str) -> None:
    line = "mpp-exec approve acme/echo --degrade landlock"
    refused(host, shell, "host.no_landlock", ["lsm=landlock", line])


def test_host_without_seccomp_refuses(shell: Shell) -> None:
    refused("no-seccomp", shell, "host.no_seccomp", ["CONFIG_SECCOMP_FILTER"])


def test_host_without_namespaces_and_landlock_refuses_for_good(shell: Shell) -> None:
    """Nothing would keep files from the tool: no line to type is offered."""
    refused("no-landlock-in-docker", shell, "host.not_enforceable", ["boot Linux 5.13"])
    shell.ok("approve", "acme/echo", "--degrade", "namespaces", "--degrade", "landlock", "--yes")
    refused("no-landlock-in-docker", shell, "host.not_enforceable", [])
    shell.ok("approve", "acme/echo", "--yes")


def test_host_without_proc_refuses(shell: Shell) -> None:
    refused("no-proc", shell, "host.no_proc", ["mount -t proc"])


def test_masked_proc_changes_nothing(shell: Shell) -> None:
    """As container engines show it; sandboxes mount none of their own."""
    assert shell.on("masked-proc", "run", "acme/echo", "text=x").out == "it ran\n"


def test_noexec_home_runs_python_and_refuses_programs(shell: Shell) -> None:
    """A package's own program cannot be executed from there; nothing else of the home is executed."""
    assert shell.on("noexec-home", "run", "acme/echo", "text=x").out == "it ran\n"
    folder = shell.root / "script"
    (folder / "bin").mkdir(parents=True)
    (folder / "mpp.toml").write_text(SCRIPT)
    (folder / "bin/tool").write_text("#!/bin/sh\necho '\"it ran\"'\n")
    (folder / "bin/tool").chmod(0o755)
    shell.ok("build", str(folder), "-o", "script.mpp")
    shell.ok("install", "script.mpp", "--approve")
    assert shell.ok("run", "acme/script").out == "it ran\n"
    done = shell.on("noexec-home", "run", "acme/script")
    assert done.code == 5, done
    assert "it ran" not in done.out
    _, code, hint = error_lines(done)
    assert code == "host.spawn_exec"
    assert "noexec" in hint


def test_read_only_home_says_so(shell: Shell) -> None:
    done = shell.on("read-only-home", "run", "acme/echo", "text=x")
    assert done.code != 0
    _, code, hint = error_lines(done)
    assert code.partition(".")[0] in ("store", "ledger", "home")
    assert hint


@pytest.mark.parametrize(
    ("host", "missing", "word"),
    [
        ("docker", "namespaces", "docker run --security-opt seccomp="),
        ("ubuntu", "namespaces", "/etc/apparmor.d/mpp-exec"),
        ("no-user-namespaces", "namespaces", "sysctl -w user.max_user_namespaces"),
        ("no-landlock", "landlock", "lsm=landlock"),
        ("landlock-disabled", "landlock", "lsm=landlock"),
        ("no-seccomp", "seccomp", "CONFIG_SECCOMP_FILTER"),
        ("no-proc", "kernel", "mount -t proc"),
    ],
)
def test_doctor_says_what_to_change(shell: Shell, host: str, missing: str, word: str) -> None:
    done = shell.on(host, "doctor", "--json")
    assert done.code == 5
    checks = {check["name"]: check for check in done.json["checks"]}
    assert checks[missing]["state"] == "missing"
    assert word in checks[missing]["hint"]
    assert [check for check in checks.values() if check["state"] == "failed"] == []
    needed = done.json["degradations"]
    expected = {"namespaces": ["namespaces"], "landlock": ["landlock"]}
    assert needed == expected.get(missing)
    if needed:
        assert f"--degrade {missing}" in checks["degradations"]["hint"]
    assert (done.json["apparmor_profile"] is not None) == (host == "ubuntu")


def test_doctor_prints_the_profile_that_ubuntu_needs(shell: Shell) -> None:
    done = shell.on("ubuntu", "doctor")
    assert done.code == 5
    assert "/etc/apparmor.d/mpp-exec" in done.out
    assert f'profile mpp-exec "{os.path.realpath(sys.executable)}" flags=(unconfined) {{' in done.out
    assert done.out.count("userns,") == 2


def test_profile_for_an_interpreter_whose_path_looks_like_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppArmor reads patterns between quotes, too: unescaped, it would be the profile of other programs."""
    monkeypatch.setattr(sys, "executable", '/opt/my [env]/py*{3,4}"?^@{HOME}/bin/python3')
    line = r'profile mpp-exec "/opt/my \[env\]/py\*\{3\,4\}\"\?\^\@\{HOME\}/bin/python3" flags=(unconfined) {'
    assert line in apparmor_profile().splitlines()


def test_policy_forbids_the_degradation(shell: Shell) -> None:
    """The organisation's word counts: neither agreed to now nor still in force from before."""
    shell.ok("approve", "acme/echo", "--degrade", "namespaces", "--yes")
    policy = shell.home / "policy.toml"
    policy.write_text('[degradations]\nallow = ["landlock"]\n')
    try:
        refused("docker", shell, "host.no_namespaces", [])
        done = shell.run("approve", "acme/echo", "--degrade", "namespaces", "--yes")
        assert (done.code, error_lines(done)[1]) == (4, "policy.degradation")
    finally:
        policy.unlink()
        shell.ok("approve", "acme/echo", "--yes")

"""What this host can enforce is found out by doing, and what it cannot is refused with exit 5."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from command import DEADLINE, PROGRAM, Done, Shell, error_lines
from needs import missing

# A user namespace has limits of its own: in one that allows no further ones, no sandbox can be made.
NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def without_namespaces(shell: Shell, *words: str) -> Done:
    """Run a command where user namespaces cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("inside, only root would be mapped, and the host's interpreters would be nobody's")
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-U", "-r", "true"], check=False).returncode:
        missing("this host gives no user namespace to take them away in")
    done = subprocess.run(
        [unshare, "-U", "-r", "sh", "-c", NO_NAMESPACES, "sh", *PROGRAM, *words],
        capture_output=True,
        text=True,
        env=shell.environment(),
        cwd=shell.cwd,
        timeout=DEADLINE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_doctor_tries_every_mechanism(shell: Shell) -> None:
    document = shell.ok("doctor", "--json").json
    assert document["ok"]
    names = {check["name"] for check in document["checks"]}
    assert {"home", "landlock", "seccomp", "files: Landlock alone", "network: seccomp alone"} <= names
    assert all(check["state"] == "ok" for check in document["checks"])


def test_doctor_says_what_is_missing_and_what_to_do(shell: Shell) -> None:
    done = without_namespaces(shell, "doctor", "--json")
    assert done.code == 5
    missing = {check["name"]: check for check in done.json["checks"] if check["state"] != "ok"}
    assert missing["user namespace"]["state"] == "missing"
    assert "max_user_namespaces" in missing["user namespace"]["hint"]
    assert error_lines(done)[1] == "host.incomplete"


def test_a_call_that_cannot_be_confined_does_not_run(shell: Shell) -> None:
    shell.install(code="def call(text):\n    return 'it ran'\n")
    done = without_namespaces(shell, "run", "acme/echo", "text=x")
    assert done.code == 5
    assert "it ran" not in done.out + done.err
    assert error_lines(done)[1] == "host.no_namespaces"
    assert "doctor" in error_lines(done)[2]


def test_doctor_works_without_a_usable_home(shell: Shell) -> None:
    (shell.cwd / "file").write_text("x")
    done = shell.run("doctor", "--home", "file", "--json")
    assert done.code == 5
    states = {check["name"]: check["state"] for check in done.json["checks"]}
    assert states.pop("home") == "failed"
    assert set(states.values()) == {"ok"}

"""AppArmor itself refuses namespaces to a user; the profile that ``doctor`` prints, loaded, gives them.

Debian's kernels have not the switch that Ubuntu's have (``kernel.apparmor_restrict_unprivileged_userns``),
which does this to every process that no profile confines. So a profile stands for it that a session runs
under; what the session starts has the same, unless there is one of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from command import PROGRAM, Done, Shell, error_lines

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="root loads profiles; what runs under them is a user's"
)

USER = 1000
CLAIMED = json.loads(os.environ.get("MPP_GUEST", "{}"))
APPARMOR = Path("/mpp/apparmor")
SECURITY = Path("/sys/kernel/security")
SESSION = """\
abi <abi/4.0>,
include <tunables/global>

profile {name} {{
  {rule}
  file rwmlk /**,
  pix /**,
  network,
  unix,
  signal,
  ptrace,
  mount,
  umount,
  pivot_root,
  change_profile,
}}
"""
PROFILES = {
    # As Ubuntu's: a user namespace can be had, and nothing in it that takes a capability.
    "stripped": SESSION.format(name="stripped", rule="userns,"),
    # What a kernel from 6.7 on does of itself: no user namespace.
    "refused": SESSION.format(name="refused", rule="capability,"),
}
LOOKS_AROUND = """\
import os
import socket


def call(text):
    def outcome(attempt, *words):
        try:
            attempt(*words)
        except OSError as error:
            return type(error).__name__
        return "done"

    return [
        outcome(open, "/etc/machine-id"),
        outcome(os.listdir, "/root"),
        outcome(open, "/app/tool.py", "a"),
        outcome(socket.socket),
        outcome(os.fork),
        outcome(os.execv, "/usr/bin/env", ["env"]),
        os.getuid(),
    ]
"""
SEEN = ["FileNotFoundError", "FileNotFoundError", "OSError", "OSError", "OSError", "PermissionError", USER]


def parser(profile: str, option: str) -> None:
    loader = (str(APPARMOR / "lib/ld-linux-x86-64.so.2"), "--library-path", str(APPARMOR / "lib"))
    words = [*loader, str(APPARMOR / "apparmor_parser"), "--base", str(APPARMOR / "apparmor.d"), option]
    done = subprocess.run(words, input=profile, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done


@dataclass
class Session(Shell):
    """A user's, under ``profile``."""

    profile: str = ""

    def run(self, *words: str, **_: Any) -> Done:
        def become() -> None:
            os.setgroups([])
            os.setgid(USER)
            os.setuid(USER)
            if self.profile:
                Path("/proc/thread-self/attr/apparmor/exec").write_text(f"exec {self.profile}")

        done = subprocess.run(
            ["/usr/bin/env", *PROGRAM, *words],  # which starts the interpreter as any shell would
            capture_output=True,
            text=True,
            env=self.environment(),
            cwd=self.cwd,
            preexec_fn=become,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    if not (SECURITY / "apparmor").is_dir():
        subprocess.run(["mount", "-t", "securityfs", "securityfs", str(SECURITY)], check=True)
    folder = Path("/var/tmp/session")
    folder.mkdir(mode=0o700)
    made = Session(folder)
    for each in (made.home, made.cwd, folder / "user"):
        each.mkdir(mode=0o700, exist_ok=True)
    package = made.package(code=LOOKS_AROUND)
    for each in (folder, *folder.rglob("*")):
        os.chown(each, USER, USER)
    assert made.run("install", str(package), "--approve", "--trust").code == 0
    # Where its Landlock lacks something the user has agreed to that; namespaces are not among it.
    degraded = [word for name in CLAIMED["degraded"] for word in ("--degrade", name)]
    assert made.run("approve", "acme/echo", *degraded, "--yes").code == 0
    yield made
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", PROFILES)
def test_printed_profile_gives_namespaces_where_apparmor_refuses_them(session: Session, name: str) -> None:
    if name == "refused" and not CLAIMED["apparmor_namespaces"]:
        pytest.skip("AppArmor of this kernel is not asked about user namespaces")
    parser(PROFILES[name], "--add")
    session.profile = name
    try:
        done = session.run("run", "acme/echo", "text=x")
        # Before Landlock's right for truncation no grant would do without namespaces.
        code = "host.no_namespaces" if CLAIMED["landlock_abi"] >= 3 else "host.not_enforceable"
        assert (done.code, error_lines(done)[1]) == (5, code), done
        said = session.run("doctor", "--json").json
        (check,) = (each for each in said["checks"] if each["name"] == "namespaces")
        assert check["state"] == "missing"
        for word in (f"profile {name}", "mpp-exec doctor", "/etc/apparmor.d/mpp-exec"):
            assert word in check["hint"]
        parser(said["apparmor_profile"], "--add")
        try:
            done = session.run("run", "acme/echo", "text=x", "--json")
            assert done.code == 0, done
            assert done.json["structuredContent"]["result"] == SEEN
            assert set(done.json["_meta"].get("mpp-exec/degraded", ())) <= set(CLAIMED["degraded"])
        finally:
            parser(said["apparmor_profile"], "--remove")
    finally:
        session.profile = ""
        parser(PROFILES[name], "--remove")

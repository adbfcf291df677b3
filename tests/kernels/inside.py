"""Inside a guest: runs the chosen tests as root, and as a user with a cgroup of its own.

Started by the guest's PID 1, which reports the exit status; what pytest prints goes to the console.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path("/mpp")
CGROUPS = Path("/sys/fs/cgroup")
USER = 1000
DELEGATED = CGROUPS / "delegated"
_PYTEST = (
    *("-m", "pytest", "-v", "--color=no", "--tb=short", "--no-summary"),
    *("-p", "no:cacheprovider", "-p", "kernels.report", "-o", "timeout=600"),
)


def delegate() -> None:
    """Give the user what `systemd-run --user -p Delegate=yes -p DelegateSubgroup=host` would give."""
    wanted = " ".join(f"+{name}" for name in json.loads((PROJECT / "guest.json").read_text())["controllers"])
    (CGROUPS / "cgroup.subtree_control").write_text(wanted)
    host = DELEGATED / "host"
    host.mkdir(parents=True)
    for folder in (DELEGATED, host):
        for name in (".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(folder / name, USER, USER)


def run(given: dict[str, object], name: str, tests: list[str], *, user: int | None) -> int:
    """Run *tests* as *user*, None for root; return pytest's exit status."""
    home = Path("/tmp", f"home-{name}")
    home.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "HOME": str(home),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
        "PYTHONPATH": str(PROJECT / "tests"),
        "MPP_MUST_CONFINE": "1",
        "MPP_GUEST": json.dumps(given),
    }
    python = str(PROJECT / ".venv/bin/python")
    print(f"guest: as {name}: {' '.join(tests)}", flush=True)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(PROJECT)
            if user is not None:
                os.chown(home, user, user)
                (DELEGATED / "host" / "cgroup.procs").write_text(str(os.getpid()))
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            os.execve(python, [python, *_PYTEST, *tests], environment)
        finally:
            os._exit(127)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """Run everything as each identity; 0 where all of it passed."""
    given = json.loads((PROJECT / "guest.json").read_text(encoding="utf-8"))
    tests, identities = given.pop("tests"), given.pop("identities")
    subprocess.run(["/usr/sbin/ldconfig"], check=True)
    delegate()
    users = {"root": None, "user": USER}
    return max(abs(run(given, name, tests, user=users[name])) for name in identities)


if __name__ == "__main__":
    sys.exit(main())

"""The guest is the kernel that it was said to be, so that what was seen here was seen on that one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import sandbox_lab
from mpp_exec.errors import HostError
from mpp_exec.sandbox import kernel
from sandbox_lab import Lab, call


def test_release_and_landlock(claimed: dict[str, Any]) -> None:
    facts = kernel.probe()
    assert facts.release.startswith(f"{claimed['name']}.")
    assert facts.landlock_abi == claimed["landlock_abi"]
    assert facts.seccomp
    assert facts.root == (os.geteuid() == 0)


def test_cgroup_controllers(claimed: dict[str, Any]) -> None:
    """All of them in one version 2 hierarchy; as a user, delegated."""
    line = Path("/proc/self/cgroup").read_text()
    assert line == f"0::{'/' if os.geteuid() == 0 else '/delegated/host'}\n"
    above = Path("/sys/fs/cgroup", "" if os.geteuid() == 0 else "delegated")
    assert set(claimed["controllers"]) <= set((above / "cgroup.controllers").read_text().split())


def test_what_one_mechanism_would_hold_is_refused_unless_agreed_to(lab: Lab, claimed: dict[str, Any]) -> None:
    """ABI 2 has no right for truncation: a call that did not agree by name runs nothing (exit 5)."""
    code = "def run():\n    return 5\n"
    agreed = lab.python(code)
    assert set(agreed.degraded) <= set(claimed["degraded"])
    assert call(agreed) == 5
    assert tuple(claimed["degraded"]) == sandbox_lab.AGREED
    if claimed["landlock_abi"] >= 3:
        assert agreed.degraded == ()
        assert call(lab.python(code, degradations=())) == 5
        return
    assert "landlock-truncate" in agreed.degraded
    with pytest.raises(HostError) as caught:
        lab.python(code, degradations=())
    assert caught.value.code == "host.not_enforced"
    assert "--degrade landlock-truncate" in caught.value.hint

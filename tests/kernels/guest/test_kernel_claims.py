"""The guest is the kernel that it was said to be, so that what was seen here was seen on that one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.sandbox import kernel


@pytest.fixture(scope="module")
def claimed() -> dict[str, Any]:
    found = json.loads(os.environ["MPP_GUEST"])
    assert isinstance(found, dict)
    return found


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

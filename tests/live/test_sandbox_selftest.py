"""What ``doctor`` finds out by doing it, on a host that can confine and with one mechanism taken away."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sandbox_lab
from mpp_exec.egress.broker import Broker, Outlet, Sockets
from mpp_exec.errors import HostError
from mpp_exec.permissions import HostPort
from mpp_exec.sandbox import kernel, native, selftest, spaces, spawn
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.properties import TRUNCATE_ABI
from mpp_exec.sandbox.remedy import remedy
from mpp_exec.sandbox.selftest import Findings
from mpp_exec.sandbox.spaces import Missing
from mpp_exec.sandbox.spawn import Completed
from sandbox_lab import Lab


@contextlib.contextmanager
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mpp-place-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def examine() -> Findings:
    with Broker() as broker:

        def connect(destinations: tuple[HostPort, ...], streams: tuple[int, ...], names: int) -> Outlet:
            return broker.open("doctor", destinations, Sockets(streams, names))

        return selftest.examine(sandbox_lab.CACHE, place, connect)


def test_host_that_confines(lab: Lab) -> None:
    assert lab
    checks = examine().checks
    # On a kernel that lacks a right it says which must be agreed to, and nothing else is wrong.
    lacking = ["degradations"] if sandbox_lab.AGREED else []
    assert [check.name for check in checks if check.state != "ok"] == lacking
    names = " ".join(check.name for check in checks)
    for word in (
        "kernel",
        "landlock",
        "seccomp",
        "python",
        "files",
        "network",
        "processes",
        "signals",
        "identity",
        "hosts: a granted one",
    ):
        assert word in names


@pytest.mark.parametrize(
    ("missing", "found"),
    [
        ("landlock", "files: Landlock alone"),
        ("seccomp", "processes: fork"),
        ("seccomp", "network: seccomp alone"),
        ("seccomp", "hosts: other sockets"),
    ],
)
def test_mechanism_that_does_not_hold_is_found_by_trying(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, missing: str, found: str
) -> None:
    """The kernel announces it and it does nothing, as it were: only an attempt tells."""
    assert lab
    run = spawn.run

    def without(plan: SandboxPlan, *arguments: object, **options: object) -> Completed:
        changed = sandbox_lab.without_seccomp(plan) if missing == "seccomp" else replace(plan, landlock=None)
        return run(changed, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(spawn, "run", without)
    checks = examine().checks
    assert found in {check.name for check in checks if check.state == "failed"}


@pytest.mark.parametrize(
    ("facts", "found"), [({"landlock_abi": 0}, "landlock"), ({"seccomp": False}, "seccomp")]
)
def test_mechanism_that_is_not_there_is_named_with_what_helps(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], found: str
) -> None:
    assert lab
    known = kernel.probe()
    monkeypatch.setattr(kernel, "probe", lambda: replace(known, **facts))
    checks = {check.name: check for check in examine().checks}
    assert checks[found].state == "missing"
    assert checks[found].hint
    assert checks["degradations"].state == "missing"


def test_broker_that_cannot_be_had_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools without hosts run all the same."""
    assert lab

    def refuse(*_: object) -> None:
        raise HostError("host.broker_test", "it cannot be confined", "boot another kernel")

    monkeypatch.setattr(Broker, "open", refuse)
    checks = {check.name: check for check in examine().checks}
    assert (checks["hosts"].state, checks["hosts"].hint) == ("missing", "boot another kernel")
    assert checks["network: seccomp alone"].state == "ok"


def test_namespace_that_cannot_be_had_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is tried, and what a grant would have to name is said."""
    assert lab
    refused = native.constant("CLONE_NEWNET")
    eperm = 1
    monkeypatch.setattr(native, "try_clone", lambda flags, _=-1: eperm if flags & refused else 0)
    monkeypatch.setattr(spaces, "missing", lambda: Missing("clone", eperm))
    found = examine()
    checks = {check.name: check for check in found.checks}
    assert checks["namespaces"].state == "missing"
    assert checks["net namespace"].state == "missing"
    assert checks["net namespace"].hint
    assert checks["mount namespace"].state == "ok"
    left = [check for name, check in checks.items() if name.startswith("without namespaces: ")]
    if kernel.probe().landlock_abi < TRUNCATE_ABI:  # nobody can agree to what nothing would enforce
        assert left == []
        return
    assert len(left) == 7, found.checks
    assert {check.state for check in left} == {"ok"}
    assert found.degradations == ("namespaces",)
    assert found.with_programs is None
    assert "--degrade namespaces" in checks["degradations"].hint


@pytest.mark.parametrize(
    ("step", "error", "word", "profile"),
    [
        ("clone", errno.EPERM, "docker run --security-opt", False),
        ("clone", errno.ENOSPC, "max_user_namespaces", False),
        ("root", errno.EACCES, "AppArmor", True),
        ("id_map", errno.EPERM, "AppArmor", True),
    ],
)
def test_remedy_fits_what_failed(step: str, error: int, word: str, profile: bool) -> None:
    found = remedy(Missing(step, error))
    assert word in found.hint
    assert bool(found.profile) is profile
    if profile:
        assert f'"{os.path.realpath(sys.executable)}" flags=(unconfined)' in found.profile
        assert "mpp-init" in found.profile
        assert found.profile.count("userns,") == 2


@pytest.mark.parametrize(
    ("label", "error", "words"),
    [
        ("session (enforce)", errno.EACCES, ["profile session", "/etc/apparmor.d/mpp-exec"]),
        ("docker-default (enforce)", errno.EPERM, ["profile docker-default", "docker run --security-opt"]),
        ("mpp-exec (unconfined)", errno.EPERM, ["docker run --security-opt"]),
        ("session (complain)", errno.EPERM, ["docker run --security-opt"]),
        ("unconfined", errno.EPERM, ["docker run --security-opt"]),
        ("system_u:system_r:init_t:s0", errno.EACCES, ["docker run --security-opt"]),
    ],
)
def test_remedy_names_the_profile_that_confines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, error: int, words: list[str]
) -> None:
    current = tmp_path / "current"
    current.write_text(f"{label}\n")
    monkeypatch.setattr("mpp_exec.sandbox.remedy._LABELS", (str(current),))
    found = remedy(Missing("clone", error))
    for word in words:
        assert word in found.hint
    assert bool(found.profile) is ("profile" in words[0])

"""What ``doctor`` finds out by doing it, on a host that can confine and with one mechanism taken away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import sandbox_lab
from mpp_exec.errors import HostError
from mpp_exec.sandbox import kernel, native, selftest, spawn
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.spawn import Completed
from sandbox_lab import Lab


def test_host_that_confines(lab: Lab) -> None:
    assert lab
    checks = selftest.examine(sandbox_lab.CACHE, sandbox_lab.LAUNCHER)
    assert [check for check in checks if check.state != "ok"] == []
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
    ):
        assert word in names


@pytest.mark.parametrize(
    ("missing", "found"),
    [
        ("landlock", "files: Landlock alone"),
        ("seccomp", "processes: fork"),
        ("seccomp", "network: seccomp alone"),
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
    checks = selftest.examine(sandbox_lab.CACHE, sandbox_lab.LAUNCHER)
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
    checks = {check.name: check for check in selftest.examine(sandbox_lab.CACHE, sandbox_lab.LAUNCHER)}
    assert checks[found].state == "missing"
    assert checks[found].hint
    assert checks["user namespace"].state == "ok", "the others are still tried, one by one"


def test_namespace_that_cannot_be_had_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab
    refused = native.constant("CLONE_NEWNET")
    eperm = 1
    monkeypatch.setattr(native, "try_namespaces", lambda flags: eperm if flags & refused else 0)

    def fail(*_: object, **__: object) -> None:
        raise HostError("host.spawn_clone", "the sandbox could not be built: clone", "look there")

    monkeypatch.setattr(spawn, "run", fail)
    checks = {check.name: check for check in selftest.examine(sandbox_lab.CACHE, sandbox_lab.LAUNCHER)}
    assert checks["sandbox"].state == "failed"
    assert checks["net namespace"].state == "missing"
    assert checks["net namespace"].hint
    assert checks["mount namespace"].state == "ok"

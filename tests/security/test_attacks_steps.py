"""Attacks that take several steps, from a static program: other instruction sets, memory files, listeners."""

from __future__ import annotations

from dataclasses import replace
from errno import ENOSYS, EPERM, EXDEV
from pathlib import Path

import pytest

from mpp_exec.sandbox import native
from sandbox_lab import Lab, run, without_landlock, without_seccomp


@pytest.mark.parametrize("how", ["far32", "frame32"])
def test_into_the_32_bit_instruction_set(lab: Lab, attacker: Path, how: str) -> None:
    """By a far return, and by a forged signal frame; from there the i386 entry looks like any other."""
    compiled = lab.program(attacker, how)
    for variant in (compiled, without_landlock(compiled)):
        done = run(variant)
        assert (done.outcome, done.output) == ("syscall", b"")


@pytest.mark.parametrize("kind", ["far32", "frame32"])
def test_32_bit_entry_is_killed_and_not_answered(lab: Lab, attacker: Path, kind: str) -> None:
    """ENOSYS would leave the tool running where its call numbers mean something else to a reader."""
    done = run(without_seccomp(lab.program(attacker, kind)))
    assert done.reason == "died of SIGSYS, as for a system call of another architecture (i386 or x32)"


def test_memory_file_that_is_executed(lab: Lab, attacker: Path) -> None:
    """No mount and no Landlock rule is asked: that it cannot be made, nor executed, is what stops it."""
    compiled = lab.program(attacker, "memory_file", "/app/bin/tool")
    assert run(compiled).output == b"%d" % ENOSYS
    assert run(without_seccomp(compiled, "memfd_create")).output == b"%d" % ENOSYS, "execveat alone"
    assert run(without_seccomp(compiled, "memfd_create", "execveat")).output == b"ran", "the attack is real"


def test_listener_that_answers_for_the_kernel(lab: Lab, attacker: Path) -> None:
    compiled = lab.program(attacker, "listener")
    assert run(compiled).output == b"%d" % ENOSYS
    assert run(without_seccomp(compiled, "seccomp")).output == b"0", "the attack is real"


def test_process_descriptor_of_a_socket_pair(lab: Lab, attacker: Path) -> None:
    """SO_PEERPIDFD gives one without pidfd_open: it is the tool's own, and nothing takes it."""
    compiled = lab.program(attacker, "peer")
    # 92: a kernel without the option.
    assert run(compiled).output in (b"%d" % ENOSYS, b"92")
    assert run(without_seccomp(compiled, "pidfd_send_signal")).output in (b"%d" % ENOSYS, b"92")
    both = without_seccomp(compiled, "getsockopt", "pidfd_send_signal", "setns")
    assert run(both).output in (b"0", b"%d" % EPERM, b"92"), "the attack is real"


@pytest.mark.parametrize("where", ["scratch", "grant"])
def test_code_by_two_mappings_of_one_file(lab: Lab, attacker: Path, ground: Path, where: str) -> None:
    """One to write, one to execute: never both at once, and yet. Every writable mount is noexec."""
    target = "/tmp/code" if where == "scratch" else f"{ground}/code"
    compiled = lab.program(attacker, "two_mappings", target, write=[ground])
    assert run(compiled).output == b"%d" % EPERM
    # Landlock's execute right is about programs, not mappings: the mount alone stands here.
    entries = tuple(
        replace(entry, attributes=entry.attributes & ~native.MOUNT_NOEXEC)
        if entry.target in ("/tmp", str(ground))
        else entry
        for entry in compiled.entries
    )
    assert run(replace(compiled, entries=entries)).output == b"0", "the attack is real"


def test_file_exchanged_with_one_outside_of_the_grant(lab: Lab, attacker: Path, ground: Path) -> None:
    (ground / "granted").mkdir()
    (ground / "granted/mine").write_text("mine")
    (ground / "secret").write_text("secret")
    paths = (f"{ground}/granted/mine", f"{ground}/secret")
    compiled = lab.program(attacker, "exchange", *paths, write=[ground / "granted"])
    assert run(compiled).output == b"%d" % ENOSYS
    compiled = without_seccomp(compiled, "renameat2")
    for variant in (compiled, without_landlock(compiled)):
        assert run(variant).output in (b"2", b"%d" % EXDEV)
    # A mount too many, and no rule for it: Landlock, and that a mount point parts what can be renamed.
    shown = lab.program(attacker, "exchange", *paths, write=[ground, ground / "granted"])
    shown = without_seccomp(shown, "renameat2")
    shown = replace(shown, rules=tuple(rule for rule in shown.rules if rule[0] != str(ground)))
    assert run(shown).output in (b"13", b"%d" % EXDEV)
    wide = without_seccomp(lab.program(attacker, "exchange", *paths, write=[ground]), "renameat2")
    assert (ground / "secret").read_text() == "secret"
    assert run(wide).output == b"0", "the attack is real"
    assert (ground / "granted/mine").read_text() == "secret"


def test_nameless_file_that_gets_a_name_elsewhere(lab: Lab, attacker: Path, ground: Path) -> None:
    """Neither the file nor the link is there to be made; beyond that, another mount refuses it."""
    compiled = lab.program(attacker, "nameless", "/tmp", f"{ground}/named", write=[ground])
    assert run(compiled).output == b"38"
    compiled = without_seccomp(compiled, "open", "openat", "linkat")
    assert run(compiled).output in (b"2", b"13", b"%d" % EXDEV)
    assert run(without_landlock(compiled)).output in (b"2", b"%d" % EXDEV)
    assert list(ground.iterdir()) == []

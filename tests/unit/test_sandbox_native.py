"""The message that init reads: laid out for C, bounded, and refused by Python before C has to."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.errors import HostError, InternalError
from mpp_exec.sandbox import native, spawn, supervise
from mpp_exec.sandbox._native import ffi, lib
from mpp_exec.sandbox.encoded import encode_plan
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.supervise import RawOutcome

FILTER = bytes(range(8)) * 3
NATIVE = Path(__file__).parents[2] / "native"


def encoded(**changes: Any) -> bytes:
    inputs: dict[str, Any] = {
        "entries": (Entry("dir", "/etc"), Entry("file", "/etc/hosts", data=b"one\0two", mode=0o444)),
        "rules": (("/etc", 12),),
        "limits": ((7, 64, 65),),
        "filter_program": FILTER,
        "guard_program": FILTER[:8],
        "argv": ("/app/tool", "-x", ""),
        "environment": (("HOME", "/tmp/home"), ("EMPTY", "")),
        "exec_path": "/app/tool",
        "working_directory": "/tmp",
        "host_name": "mpp",
        "uid": 1000,
        "landlock": (1, 2, 3),
        "root_attributes": 1,
    }
    return encode_plan(**(inputs | changes))


def header(message: bytes) -> Any:
    return ffi.cast("struct mpp_plan *", ffi.from_buffer(message))


def text(message: bytes, offset: int) -> bytes:
    return message[offset : message.index(b"\0", offset)]


def table(message: bytes, span: Any, kind: str) -> Any:
    return ffi.cast(kind, ffi.from_buffer(message) + span.offset)


def test_structures_are_the_same_for_python_and_c() -> None:
    assert lib.mpp_sizeof_plan() == ffi.sizeof("struct mpp_plan")


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_constants_newer_than_the_headers_are_the_kernels(tmp_path: Path) -> None:
    """Each value of kernel.h, against the header of this machine where that has it."""
    pairs = {
        "linux/openat2.h": ("RESOLVE_NO_MAGICLINKS", "RESOLVE_NO_SYMLINKS", "RESOLVE_BENEATH"),
        "linux/mount.h": (
            *("MOVE_MOUNT_F_EMPTY_PATH", "MOVE_MOUNT_T_EMPTY_PATH", "MOUNT_ATTR_IDMAP", "OPEN_TREE_CLONE"),
        ),
        "linux/sched.h": ("CLONE_INTO_CGROUP",),
        "linux/close_range.h": ("CLOSE_RANGE_CLOEXEC",),
        "linux/landlock.h": ("LANDLOCK_CREATE_RULESET_VERSION", "LANDLOCK_CREATE_RULESET_ERRATA"),
        "linux/fcntl.h": ("AT_EMPTY_PATH", "AT_RECURSIVE"),
    }
    lines = [f"#include <{header}>" for header in pairs] + ['#include "kernel.h"']
    for name in itertools.chain.from_iterable(pairs.values()):
        lines += [
            f"#ifdef {name}",
            f'_Static_assert((unsigned long long)MPP_{name} == (unsigned long long){name}, "{name}");',
            "#endif",
        ]
    lines.append('_Static_assert(sizeof(struct mpp_clone_args) == CLONE_ARGS_SIZE_VER2, "clone_args");')
    source = tmp_path / "constants.c"
    source.write_text("\n".join(lines) + "\n")
    command = ["cc", "-std=c11", "-fsyntax-only", "-Werror", f"-I{NATIVE}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_message_reads_back() -> None:
    message = encoded()
    plan = header(message)
    assert (plan.magic, plan.size, plan.uid, plan.gid) == (lib.MPP_PLAN_MAGIC, len(message), 1000, 1000)
    assert (plan.landlock, plan.landlock_fs, plan.landlock_net, plan.landlock_scoped) == (1, 1, 2, 3)
    assert text(message, plan.exec_path) == b"/app/tool"
    assert text(message, plan.working_directory) == b"/tmp"
    entries = table(message, plan.entries, "struct mpp_entry *")
    assert plan.entries.count == 2
    assert text(message, entries[1].target) == b"etc/hosts", "relative to the new root"
    assert message[entries[1].data :][: entries[1].data_size] == b"one\0two"
    rule = table(message, plan.rules, "struct mpp_rule *")[0]
    assert (text(message, rule.path), rule.access) == (b"/etc", 12)
    limit = table(message, plan.limits, "struct mpp_rlimit *")[0]
    assert (limit.resource, limit.soft, limit.hard) == (7, 64, 65)
    assert message[plan.filter.offset :][: 8 * plan.filter.count] == FILTER
    offsets = table(message, plan.argv, "uint32_t *")
    assert [text(message, offsets[index]) for index in range(plan.argv.count)] == [b"/app/tool", b"-x", b""]
    offsets = table(message, plan.envp, "uint32_t *")
    assert [text(message, offsets[index]) for index in range(plan.envp.count)] == [
        b"HOME=/tmp/home",
        b"EMPTY=",
    ]


def test_every_table_is_aligned_and_every_text_ends() -> None:
    """C reads the tables in place."""
    for padding in range(9):
        message = encoded(host_name="m" * padding)
        plan = header(message)
        for name in ("entries", "rules", "limits", "filter", "guard"):
            assert getattr(plan, name).offset % 8 == 0
        assert plan.argv.offset % 4 == plan.envp.offset % 4 == 0
        assert message[-1] == 0


def test_same_plan_is_the_same_message() -> None:
    assert encoded() == encoded()


def test_degraded_plan_handles_nothing() -> None:
    plan = header(encoded(landlock=None))
    assert (plan.landlock, plan.landlock_fs, plan.landlock_net, plan.landlock_scoped) == (0, 0, 0, 0)


def test_empty_tables_are_sound() -> None:
    plan = header(encoded(entries=(), rules=(), limits=(), environment=()))
    assert [plan.entries.count, plan.rules.count, plan.limits.count, plan.envp.count] == [0, 0, 0, 0]


def test_paths_need_not_be_unicode() -> None:
    message = encoded(entries=(Entry("dir", os.fsdecode(b"/a\xff")),))
    entry = table(message, header(message).entries, "struct mpp_entry *")[0]
    assert text(message, entry.target) == b"a\xff"


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ("/app/tool", "a\0b")},
        {"environment": (("A", "b\0LD_PRELOAD=/app/x.so"),)},
        {"exec_path": "/app/tool\0"},
        {"entries": (Entry("dir", "/a\0b"),)},
        {"rules": (("/a\0b", 1),)},
    ],
)
def test_nul_in_a_text_is_refused(changes: dict[str, Any]) -> None:
    """A text that ended early would be another path, or one variable more."""
    with pytest.raises(InternalError) as caught:
        encoded(**changes)
    assert caught.value.code == "sandbox.plan"


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ()},
        {"argv": ("x",) * (native.ARGS_MAX + 1)},
        {"environment": (("A", "b"),) * (native.ARGS_MAX + 1)},
        {"entries": (Entry("file", "/x", data=bytes(native.PLAN_MAX)),)},
        {"environment": tuple((f"A{index}", "x" * 1000) for index in range(150))},
    ],
)
def test_plan_that_is_too_large_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InternalError) as caught:
        encoded(**changes)
    assert caught.value.code == "sandbox.plan_too_large"


def test_largest_tables_fit() -> None:
    assert len(encoded(argv=("x",) * native.ARGS_MAX, environment=(("A", "b"),) * native.ARGS_MAX))


def outcome(message: bytes) -> RawOutcome:
    return supervise.invoke(
        message,
        b"",
        bounds=supervise.Bounds(
            cpu_us=10**6, memory=1 << 28, output=1 << 20, processes=4, as_root=os.geteuid() == 0
        ),
        wall_ns=10**9,
    )


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *(
            ("magic", 1),
            ("size", 8),
            ("size", 1 << 30),
            ("entries.offset", 1 << 20),
            ("entries.count", 1 << 30),
        ),
        *(("exec_path", 1 << 20), ("host_name", 1 << 20), ("argv.count", 0), ("filter.offset", 4)),
    ],
)
def test_message_that_is_not_sound_starts_nothing(where: str, value: int) -> None:
    message = bytearray(encoded())
    plan = ffi.cast("struct mpp_plan *", ffi.from_buffer(message))
    field, _, part = where.partition(".")
    setattr(getattr(plan, field) if part else plan, part or field, value)
    del plan
    seen = outcome(bytes(message))
    assert (seen.step, seen.error, seen.status) == ("source", errno.EINVAL, -1)
    assert seen.stamps["cloned"] == 0


def test_steps_and_stops_have_names() -> None:
    assert [supervise.SPAWN_STEPS[number] for number in range(4)] == ["none", "source", "pipes", "clone"]
    assert len(supervise.SPAWN_STEPS) == lib.MPP_STEP_COUNT
    assert set(supervise.STOPS.values()) == {
        "none",
        "wall",
        "cpu",
        "memory",
        "blind",
        "output",
        "processes",
        "cancelled",
        "lost",
        "watch",
        "hidden",
        "answered",
    }


def failed(step: str, error: int, detail: int = 0) -> RawOutcome:
    return RawOutcome(step, error, detail, "none", -1, 0, 0, 0, 0, {}, b"", b"")


@pytest.mark.parametrize(
    ("step", "error", "code", "kind"),
    [
        ("clone", errno.EPERM, "host.spawn_clone", HostError),
        ("clone", errno.ENOSPC, "host.namespaces_used_up", InternalError),
        ("clone", errno.EUSERS, "host.namespaces_used_up", InternalError),
        ("clone", errno.EAGAIN, "host.exhausted", InternalError),
        ("pipes", errno.EMFILE, "host.exhausted", InternalError),
        ("layout", errno.ENOSPC, "host.exhausted", InternalError),
        ("id_map", errno.EPERM, "host.spawn_id_map", HostError),
        ("source", errno.ENOENT, "host.grant_changed", HostError),
        ("source", errno.ELOOP, "host.grant_changed", HostError),
        ("layout", errno.ESTALE, "host.grant_changed", HostError),
        ("landlock", errno.EINVAL, "host.spawn_landlock", HostError),
        ("idmap_mount", errno.EINVAL, "host.spawn_idmap_mount", HostError),
        ("exec", errno.ENOEXEC, "host.spawn_exec", HostError),
    ],
)
def test_failed_step_becomes_an_error_of_who_can_mend_it(
    step: str, error: int, code: str, kind: type
) -> None:
    made = spawn._spawn_error(failed(step, error, 1), ["/a", "/granted"], ["/x", "/rule"])
    assert type(made) is kind
    assert made.code == code
    assert made.hint
    assert os.strerror(error) in made.message
    if step in ("source", "layout", "idmap_mount"):
        assert "/granted" in made.message
    if step == "landlock":
        assert "/rule" in made.message

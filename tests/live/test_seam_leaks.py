"""Every function of the seam to C, thousands of times and failing at every step: nothing is left over.

Left over would be descriptors, processes, mounts, memory of C, signals blocked. A function that the seam
gains has to be exercised here: the last test says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import inspect
import os
import re
import resource
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from hosts import granted
from mpp_exec.errors import InternalError
from mpp_exec.sandbox import encoded, ground, image, launcher, native, supervise, template, waiting
from mpp_exec.sandbox._native import ffi, lib
from mpp_exec.sandbox.encoded import encode_plan
from mpp_exec.sandbox.ground import Ground
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.supervise import RawOutcome
from private_mounts import mounted
from sandbox_lab import CACHE, Lab, copied, descendants, ground_of, restored, run, saved

LIBC = ctypes.CDLL(None)
CLONE_THREAD: Final = 0x00010000  # without CLONE_SIGHAND: EINVAL
SLACK: Final = 64 * 1024
"""Bytes that C may hold more after thousands of calls: less than a plan or an output a hundred times over."""


class Memory(ctypes.Structure):
    """struct mallinfo2 (mallinfo(3)): ten counters."""

    _fields_ = [(f"counter{index}", ctypes.c_size_t) for index in range(10)]


LIBC.mallinfo2.restype = Memory


def allocated() -> int:
    """Return the bytes that C code holds: hblkhd and uordblks. AddressSanitizer has its own allocator."""
    seen = LIBC.mallinfo2()
    return int(seen.counter4 + seen.counter7)


def traces() -> dict[str, object]:
    return {
        "descriptors": sorted(path.name for path in Path("/proc/self/fd").iterdir()),
        "processes": descendants(os.getpid()),
        "mounts": mounted(),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "signals": signal.pthread_sigmask(signal.SIG_BLOCK, set()),
    }


def assert_leaves_nothing(work: Callable[[], object], times: int) -> None:
    for _ in range(3):
        work()
    before, size = traces(), allocated()
    for _ in range(times):
        work()
    assert traces() == before
    assert allocated() - size < SLACK


class Call:
    """One call of ``invoke`` as a real run made it, to be made again as it was or spoilt."""

    def __init__(self, message: bytes, request: bytes, options: dict[str, Any]) -> None:
        self.message, self.request, self.options = message, request, options

    def __call__(self, spoil: Callable[[Any, bytearray], object] | None = None, **changes: Any) -> RawOutcome:
        message = bytearray(self.message)
        if spoil is not None:
            spoil(ffi.cast("struct mpp_plan *", ffi.from_buffer(message)), message)
        bounds = self.options["bounds"]
        of_bounds = {name: changes.pop(name) for name in list(changes) if hasattr(bounds, name)}
        of_made = {name: changes.pop(name) for name in list(changes) if name in supervise.Made._fields}
        options = {
            **self.options,
            "bounds": dataclasses.replace(bounds, **of_bounds),
            "made": self.options["made"]._replace(**of_made),
            **changes,
        }
        return supervise.invoke(bytes(message), self.request, **options)


@pytest.fixture(scope="module")
def invoke(lab: Lab, probe: Path) -> Call:
    kept: list[Call] = []
    original = supervise.invoke

    def keep(message: bytes, request: bytes, **options: Any) -> RawOutcome:
        kept.append(Call(message, request, options))
        return original(message, request, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervise, "invoke", keep)
        assert run(lab.program(probe, "echo")).outcome == "ok"
    return kept[0]


def table(plan: Any, message: bytearray, name: str, kind: str) -> Any:
    return ffi.cast(f"struct {kind} *", ffi.from_buffer(message) + getattr(plan, name).offset)


def _no_source(plan: Any, message: bytearray) -> None:
    entries = table(plan, message, "entries", "mpp_entry")
    bind = next(entries[index] for index in range(plan.entries.count) if entries[index].kind == 4)
    bind.source = plan.host_name


def _no_kind(plan: Any, message: bytearray) -> None:
    table(plan, message, "entries", "mpp_entry")[0].kind = 99


def _no_rule(plan: Any, message: bytearray) -> None:
    table(plan, message, "rules", "mpp_rule")[0].path = plan.host_name


def _no_limit(plan: Any, message: bytearray) -> None:
    table(plan, message, "limits", "mpp_rlimit")[0].resource = 999


FAILURES: Final[dict[str, tuple[Callable[[Any, bytearray], object] | None, dict[str, Any]]]] = {
    "source": (_no_source, {}),
    "clone": (None, {"namespaces": native.ALL_NAMESPACES | CLONE_THREAD}),
    "id_map": (lambda plan, _: setattr(plan, "uid", 0xFFFFFFFF), {}),
    "layout": (_no_kind, {}),
    "landlock": (_no_rule, {}),
    "limits": (_no_limit, {}),
    "seccomp": (lambda plan, _: setattr(plan.filter, "count", 0), {}),
    "exec": (lambda plan, _: setattr(plan, "exec_path", plan.host_name), {}),
}
"""For each step of a spawn that a plan or an argument can make fail, how."""


@pytest.mark.parametrize("step", FAILURES)
def test_spawn_that_fails_at_a_step(invoke: Call, step: str) -> None:
    spoil, changes = FAILURES[step]
    assert invoke(spoil, **changes).step == step
    assert_leaves_nothing(lambda: invoke(spoil, **changes), 200)
    assert invoke().step == "none"


def test_spawn_whose_init_is_no_program(invoke: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        monkeypatch.setattr(native, "init_program", lambda: descriptor)
        assert invoke().step == "exec_init"
        assert_leaves_nothing(invoke, 200)
    finally:
        os.close(descriptor)


@contextmanager
def descriptors_up_to(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_spawn_that_runs_out_of_descriptors_at_each_of_them(invoke: Call) -> None:
    invoke()
    before, size = traces(), allocated()
    steps: dict[str, int] = {}
    for number in range(3, 300):
        with descriptors_up_to(number):
            seen = invoke()
        steps.setdefault(seen.step, seen.error)
        if seen.step == "none":
            break
    assert traces() == before
    assert allocated() - size < SLACK
    assert "none" in steps
    assert {"source", "pipes", "clone"} <= set(steps)
    assert all(error == errno.EMFILE for step, error in steps.items() if step in ("source", "pipes", "clone"))


def test_calls_that_are_stopped(invoke: Call) -> None:
    """Before the plan is read, while it runs, and by each bound of the supervisor."""
    reading, writing = os.pipe()
    os.write(writing, b"x")
    try:
        assert invoke(cancel_fd=reading).stop == "cancelled"
        for changes in ({"cancel_fd": reading}, {"wall_ns": 0}, {"output": 0}, {"wall_ns": 3_000_000}):
            assert_leaves_nothing(partial(invoke, None, **changes), 100)
    finally:
        os.close(reading)
        os.close(writing)


def _encode() -> None:
    encode_plan(
        entries=(),
        rules=(),
        limits=(),
        filter_program=b"\0" * 8,
        guard_program=b"\0" * 8,
        argv=("x",),
        environment=(),
        exec_path="/x",
        working_directory="/",
        host_name="h",
        uid=1000,
        landlock=None,
        root_attributes=0,
    )


def _ring() -> None:
    fd = native.open_alarm()
    native.set_alarm(fd, 0)
    assert select.select([fd], [], [], 10)[0]
    os.close(fd)


EXERCISED: Final[dict[str, Callable[[], object]]] = {
    "encode_plan": _encode,
    "try_clone": lambda: native.try_clone(lib.CLONE_NEWUSER),
    "landlock_abi": native.landlock_abi,
    "landlock_errata": native.landlock_errata,
    "seccomp_has": lambda: native.seccomp_has(lib.SECCOMP_RET_ERRNO),
    "constant": lambda: native.constant("CLONE_NEWUSER"),
    "open_alarm": _ring,
    "set_alarm": _ring,
    "look": lambda: native.look(-100, b"/etc/passwd\0/no/such\0", 2),
}


@pytest.mark.parametrize("name", EXERCISED)
def test_function_called_thousands_of_times(name: str) -> None:
    assert_leaves_nothing(EXERCISED[name], 2000)


@pytest.mark.parametrize("flags", [CLONE_THREAD, lib.CLONE_NEWUSER | CLONE_THREAD])
def test_namespaces_that_cannot_be(flags: int) -> None:
    assert native.try_clone(flags) == errno.EINVAL
    assert_leaves_nothing(lambda: native.try_clone(flags), 2000)


def test_invoke_a_thousand_times(invoke: Call) -> None:
    def work() -> None:
        assert invoke().stop == "none"

    assert_leaves_nothing(work, 1000)


def test_template_started_copied_and_closed(lab: Lab) -> None:
    compiled = lab.python("def run():\n    return 1\n")

    def work() -> None:
        made = copied(compiled)
        while made.look(1000) == "preparing":
            pass
        assert made.state == "ready"
        made.close()

    assert_leaves_nothing(work, 60)


def test_sandbox_with_hosts_prepared_and_called(lab: Lab) -> None:
    """Its sockets are closed with it, whether it had its call, was refused one, or had none."""
    hosts = granted("api.example.com:443", "[2001:db8::1]:443", "10.0.0.5:80")
    compiled = lab.python("def run():\n    return 1\n", network=hosts)
    sockets: list[int] = []

    def serve(streams: tuple[int, ...], names: int) -> None:
        sockets.append(len(streams) + (names > 2))

    def work() -> None:
        run(compiled, b'{"arguments":{}}', serve=serve)
        made = Parked(compiled, constants=(), cache=CACHE, early_start=True)
        made.close()

    assert_leaves_nothing(work, 30)
    assert set(sockets) == {4}


@pytest.mark.skipif(not launcher.saves(), reason="this architecture saves no process")
@pytest.mark.parametrize("keeps", ["", "file = open('/tmp/mine', 'w')\n"])
def test_snapshot_made_restored_and_closed(lab: Lab, keeps: str) -> None:
    """And one that cannot be made."""
    compiled = lab.python(f"{keeps}def run():\n    return 1\n", import_once=True)

    def work() -> None:
        with saved(compiled) as source:
            assert source.serves == (not keeps)
            if source.serves:
                made = restored(compiled, source)
                assert made.state == "ready"
                made.close()

    assert_leaves_nothing(work, 60)


def test_template_that_cannot_be_started(lab: Lab) -> None:
    (python,) = lab.python("def run():\n    return 1\n").programs
    gone = dataclasses.replace(python.files[0], source="/no/such/python")
    other = dataclasses.replace(python, files=(gone, *python.files[1:]))
    compiled = dataclasses.replace(lab.python("def run():\n    return 1\n"), programs=(other,))

    def work() -> None:
        made = template.Template(compiled)
        assert not made.serves
        made.close()

    assert_leaves_nothing(work, 300)


def test_ground_laid_built_on_and_closed(invoke: Call) -> None:
    bounds = invoke.options["bounds"]

    def work() -> None:
        ground = Ground(invoke.message, bounds)
        assert invoke(ground=ground.handle).grounded

    assert_leaves_nothing(work, 200)


def test_sandbox_prepared_on_a_ground(lab: Lab) -> None:
    compiled = lab.python("def run():\n    return 1\n")

    def work() -> None:
        made = Parked(compiled, constants=(), cache=CACHE, early_start=False, ground=ground_of(compiled))
        while made.look(1000) == "preparing":
            pass
        assert made.state == "ready"
        assert made.is_grounded
        made.close()

    assert_leaves_nothing(work, 60)


@pytest.mark.parametrize("spoil", [_no_source, _no_kind])
def test_ground_that_cannot_be_laid(invoke: Call, spoil: Callable[[Any, bytearray], object]) -> None:
    message = bytearray(invoke.message)
    spoil(ffi.cast("struct mpp_plan *", ffi.from_buffer(message)), message)

    def work() -> None:
        with pytest.raises(InternalError):
            Ground(bytes(message), invoke.options["bounds"])

    assert_leaves_nothing(work, 200)


@pytest.mark.parametrize("step", ["clone", "id_map", "landlock", "exec"])
def test_sandbox_that_cannot_be_built_on_a_ground(invoke: Call, step: str) -> None:
    """Where that fails before init has its plan, it is tried again on nothing, and fails as it would have."""
    laid = Ground(invoke.message, invoke.options["bounds"])
    spoil, changes = FAILURES[step]

    def work() -> None:
        assert invoke(spoil, ground=laid.handle, **changes).step == step

    assert_leaves_nothing(work, 100)
    assert invoke(ground=laid.handle).grounded


def test_sandbox_on_a_ground_whose_init_is_no_program(invoke: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    laid = Ground(invoke.message, invoke.options["bounds"])
    descriptor = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        monkeypatch.setattr(native, "init_program", lambda: descriptor)
        assert invoke(ground=laid.handle).step == "exec_init"
        assert_leaves_nothing(lambda: invoke(ground=laid.handle), 200)
    finally:
        os.close(descriptor)


def test_ground_that_runs_out_of_descriptors_at_each_of_them(invoke: Call) -> None:
    """To be laid, and to be built on: there it is done without, where that is all that is missing."""
    laid = Ground(invoke.message, invoke.options["bounds"])
    before, size = traces(), allocated()
    ended = set()
    for number in range(3, 300):
        with descriptors_up_to(number):
            seen = invoke(ground=laid.handle)
            with contextlib.suppress(InternalError):
                Ground(invoke.message, invoke.options["bounds"])
        ended.add((seen.step, seen.grounded))
        if seen.grounded:
            break
    assert traces() == before
    assert allocated() - size < SLACK
    assert ("none", True) in ended
    assert {step for step, grounded in ended if not grounded} >= {"source", "pipes", "clone"}


def test_image_made_filled_sealed_and_closed(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/text").write_text("x")
    folder = os.open(tmp_path, os.O_RDONLY)

    def work() -> None:
        assert Image(folder, ("files", "files/text"), 4096).folder > 2
        with pytest.raises(InternalError):
            Image(folder, ("files", "files/absent"), 4096)

    try:
        assert_leaves_nothing(work, 300)
    finally:
        os.close(folder)


PARTS: Final = {"collected", "init_program", "launched", "to_the_end", "worked_on"}
"""Of ``invoke``, and of a sandbox that waits."""


def test_every_function_of_the_seam_is_exercised_here() -> None:
    public = {
        name
        for module in (native, supervise, encoded)
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public == {*EXERCISED, *PARTS, "invoke"}
    source = "".join(map(inspect.getsource, (native, supervise, waiting, template, image, ground)))
    called = set(re.findall(r"lib\.(mpp_\w+)\b", source))
    declared = {name for name in dir(lib) if name.startswith("mpp_")}
    # One is called by C alone, where a sandbox is begun with an image.
    assert declared == called | {"mpp_sizeof_plan", "mpp_image_tree"}, (
        "and every one of C is called by one of those"
    )

"""Attacks on the host's memory: taking it where neither an rlimit nor the supervisor's sampling looks."""

from __future__ import annotations

import re
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from errno import ENOSYS
from pathlib import Path

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import Lab, bounded, call, run, sweep, without_seccomp

MIB = 1 << 20


@contextmanager
def host_memory(name: str) -> Iterator[list[int]]:
    """Watch a row of /proc/meminfo; the list holds how many bytes it grew by at most."""
    pattern = re.compile(rf"^{name}:\s+(\d+) kB", re.MULTILINE)

    def now() -> int:
        match = pattern.search(Path("/proc/meminfo").read_text())
        assert match
        return int(match[1]) * 1024

    before, grown, over = now(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            grown[0] = max(grown[0], now() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield grown
    finally:
        over.set()
        thread.join()


def test_shared_memory_that_outlives_its_mapping(lab: Lab, probe: Path) -> None:
    """One page of it kept mapped keeps all of it, and counts as one page."""
    shared_anonymous, shared_validate, huge = 0x21, 0x23, 0x40021
    calls = [
        ("mmap", 0, 4096, 3, flags, 0xFFFFFFFFFFFFFFFF, 0)
        for flags in (shared_anonymous, shared_validate, huge)
    ]
    compiled = lab.program(probe, "sweep")
    assert set(sweep(compiled, calls)) == {ENOSYS}
    assert sweep(without_seccomp(compiled, "mmap"), calls[:1]) == [0], "the attack is real"
    python = lab.python("import mmap\ndef run():\n    mmap.mmap(-1, 4096)\n")
    assert b"not implemented" in run(python, b'{"arguments":{}}').errors


def test_shared_memory_of_the_zero_device(lab: Lab) -> None:
    code = "def run():\n    open('/dev/zero', 'r+b')\n"
    assert b"No such file" in run(lab.python(code), b'{"arguments":{}}').errors


TABLES = """
import mmap
def run(touches):
    memory = mmap.mmap(-1, touches << 21, flags=mmap.MAP_PRIVATE | 0x4000, prot=1)
    for index in range(touches):
        memory[index << 21]
    return touches
"""


def reserving(lab: Lab, compiled: SandboxPlan) -> SandboxPlan:
    """Return *compiled* with the address space that node and its like get."""
    rows = lab.program(None, "node", "/app/x.js", files={"x.js": ""}, requires=("node",)).rlimits
    address_space = next(row for row in rows if row[0] == resource.RLIMIT_AS)
    others = tuple(row for row in compiled.rlimits if row[0] != resource.RLIMIT_AS)
    return replace(compiled, rlimits=(*others, address_space))


def test_page_tables_of_memory_that_is_only_read(lab: Lab) -> None:
    """The zero page costs nothing, the tables that lead to it are memory of the host that nothing counts."""
    compiled = lab.python(TABLES)
    error = run(compiled, b'{"arguments":{"touches":1000}}')
    assert b"MemoryError" in error.output or b"OSError" in error.output


def test_page_tables_where_address_space_may_be_reserved(lab: Lab) -> None:
    if shutil.which("node") is None:
        pytest.skip("this host has no node")
    compiled = reserving(lab, lab.python(TABLES, limits=Limits(cpu_ms=20_000)))
    with host_memory("PageTables") as grown:
        done = run(compiled, b'{"arguments":{"touches":100000}}')
        assert b"error" in done.output, "200 GiB of addresses are too many"
        assert call(compiled, touches=20_000) == 20_000
    assert grown[0] < 300 * MIB


def test_pipes_that_are_full(lab: Lab) -> None:
    """What is in a pipe is the kernel's memory: the bound on open files is the bound."""
    code = (
        "import os, fcntl\n"
        "def run():\n"
        "    total = 0\n"
        "    try:\n"
        "        while True:\n"
        "            reading, writing = os.pipe()\n"
        "            os.set_blocking(writing, False)\n"
        "            try:\n"
        "                fcntl.fcntl(writing, 1031, 1 << 20)\n"
        "                return 'grown'\n"
        "            except OSError: pass\n"
        "            total += os.write(writing, bytes(1 << 20))\n"
        "    except OSError as error:\n"
        "        return [error.errno, total]\n"
    )
    emfile, total = call(lab.python(code, limits=bounded(open_files=64)))
    assert emfile == 24
    assert total <= 32 * 65536


def test_files_that_were_deleted_and_are_held_open(lab: Lab) -> None:
    """Scratch counts them to the end."""
    code = (
        "import os\n"
        "def run():\n"
        "    held = []\n"
        "    try:\n"
        "        for index in range(60):\n"
        "            held.append(open(f'/tmp/{index}', 'wb', buffering=0))\n"
        "            os.unlink(f'/tmp/{index}')\n"
        "            held[-1].write(bytes(1 << 20))\n"
        "            held[-1].write(b'x')\n"
        "    except OSError as error:\n"
        "        return [error.errno, len(held)]\n"
    )
    compiled = lab.python(code, limits=bounded(scratch=8 * MIB))
    enospc, held = call(compiled)
    assert enospc == 28
    assert held <= 9
    larger = (
        replace(each, size=16 * each.size) if each.kind == "tmpfs" else each for each in compiled.entries
    )
    assert call(replace(compiled, entries=tuple(larger))) is None, "all 60 MiB of them: the attack is real"


def test_memory_that_is_locked(lab: Lab) -> None:
    code = (
        "import ctypes, mmap\n"
        "def run():\n"
        "    libc = ctypes.CDLL(None, use_errno=True)\n"
        "    memory = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE)\n"
        "    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))\n"
        "    return [libc.mlock(ctypes.c_void_p(address), 8 << 20), libc.mlockall(1)]\n"
    )
    assert call(lab.python(code)) == [-1, -1]

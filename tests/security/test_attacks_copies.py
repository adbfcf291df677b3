"""Attacks from a sandbox that is a copy of a template: what it could have of the host it was copied on."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import pytest

import mpp_exec
from eventually import until
from mpp_exec.sandbox import launcher, syscalls
from mpp_exec.sandbox import template as template_module
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.template import Template
from process_facts import is_filtered, own, processes
from sandbox_lab import CACHE, Lab, answer, descendants, run, waits
from stage import NAME, Stage

MARK: Final = "canary-5d1f0c9e"
PLAIN: Final = f"kept = '{MARK}-package'\ndef run(**given):\n    return given\n"
LIBC: Final = ctypes.CDLL(None, use_errno=True)
SYSCALL, SEIZE, INTERRUPT, SYSCALL_INFO, TRACESYSGOOD = 24, 0x4206, 0x4207, 0x420E, 1  # linux/ptrace.h


@pytest.fixture
def source(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SandboxPlan, Template]]:
    """A plan and a template of it, of a host with something in its environment."""
    monkeypatch.setenv("MPP_TEST_CANARY", f"{MARK}-environment")
    compiled = lab.python(PLAIN)
    made = Template(compiled)
    yield compiled, made
    made.close()


def memory(pid: int) -> bytes:
    """Return all that a process has of its own: what it wrote, and what was there when it was copied."""
    parts = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights[1] != "w" and "[" not in line:
                continue
            begin, end = (int(word, 16) for word in span.split("-"))
            if end >= 1 << 63:
                continue  # the kernel's own page
            try:
                file.seek(begin)
                parts.append(file.read(end - begin))
            except OSError:  # what the kernel shows to nobody
                continue
    return b"\0".join(parts)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may read the memory of what has other ids")
def test_memory_of_a_copy_tells_nothing_of_the_host(source: tuple[SandboxPlan, Template], lab: Lab) -> None:
    """The template is no fork of the host, and is told no path of it: only its interpreter's are there."""
    compiled, template = source
    made = waits(compiled, template)
    try:
        init, tool, _ = processes()
        for pid in (init, tool):
            seen = memory(pid)
            assert b"/mpp/launch.pyc" in seen, "that is the memory"
            for told in (
                f"{MARK}-environment".encode(),
                os.fsencode(Path(mpp_exec.__file__).parent),
                os.fsencode(lab.root),
                os.fsencode(sys.executable) + b"\0" if "venv" in sys.executable else b"\xff" * 40,
                b"/inside/",
            ):
                # Init has the plan, with the sources of its mounts; the tool is given their places only.
                assert pid == init or told not in seen, told
            assert f"{MARK}-environment".encode() not in seen
    finally:
        made.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may read the memory of what has other ids")
def test_package_and_arguments_of_a_call_are_left_in_the_template(
    source: tuple[SandboxPlan, Template],
) -> None:
    compiled, template = source
    made = waits(compiled, template)
    _, _, templates = processes()
    done = run(compiled, f'{{"arguments":{{"text":"{MARK}-argument"}}}}'.encode(), parked=made)
    assert answer(done)["value"] == {"text": f"{MARK}-argument"}
    (pid,) = templates
    assert MARK.encode() not in memory(pid)


def test_copy_may_do_more_than_what_was_started(source: tuple[SandboxPlan, Template]) -> None:
    """Ids, groups, capabilities, seccomp programs, signals: as the kernel has them of init and tool."""
    compiled, template = source
    said = []
    for each in (None, template):
        made = waits(compiled, each)
        try:
            init, tool, _ = processes()
            assert until(partial(is_filtered, init))  # its own comes after its report
            said.append([own(pid) for pid in (init, tool)])
        finally:
            made.close()
    started, copied = said
    assert copied[1] == started[1]
    assert copied[0] == started[0]


def test_variable_that_the_dynamic_linker_obeys(lab: Lab, tmp_path: Path) -> None:
    """A template runs on the host: what a package has set in the environment of its tool is not for it."""
    plan = lab.python("import os\ndef run():\n    return dict(os.environ)\n")
    library = str(tmp_path / "hook.so")
    given = (("LD_PRELOAD", library), ("LD_AUDIT", library), ("PYTHONHOME", "/x"), ("TZ", "Asia/Tokyo"))
    compiled = dataclasses.replace(plan, environment=(*plan.environment, *given))
    template = Template(compiled)
    try:
        made = waits(compiled, template)
        _, _, templates = processes()
        (pid,) = templates
        assert Path(f"/proc/{pid}/environ").read_bytes() == b"LC_ALL=C\0"
        assert library.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        seen = answer(run(compiled, b'{"arguments":{}}', parked=made))["value"]
    finally:
        template.close()
    assert seen.items() >= dict(given).items()
    assert "LC_ALL" not in seen


def test_descriptors_of_the_template_are_there(lab: Lab) -> None:
    """Its socket, and whatever the host had open: closed before the plan comes."""
    held = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        compiled = lab.python(
            "import os\n"
            "def kind(fd):\n"
            "    try:\n"
            "        return oct(os.fstat(fd).st_mode >> 12)\n"
            "    except OSError:\n"
            "        return None\n"
            "def run():\n"
            "    return {str(fd): kind(fd) for fd in range(1024) if kind(fd)}\n"
        )
        template = Template(compiled)
        try:
            made = waits(compiled, template)
            seen = answer(run(compiled, b'{"arguments":{}}', parked=made))["value"]
        finally:
            template.close()
    finally:
        os.close(held)
    assert set(seen.values()) == {"0o1"}, "pipes"
    assert len(seen) == 4, "three, and the one that the answer goes to"


def test_module_of_the_package_in_the_place_of_one_of_the_launchers(lab: Lab) -> None:
    """The template has loaded its own before there is a package."""
    forged = "raise SystemExit('ran unsealed')\n"
    names = ("_seal.py", "_copies.py", "marshal.py", "gc.py", "_json.py", "template.py", "launch.py")
    compiled = lab.python(
        "import os\ndef run():\n    try:\n        os.execv('/python/bin/python3', ['python3'])\n"
        "    except OSError as error:\n        return error.errno\n",
        files=dict.fromkeys(names, forged),
    )
    template = Template(compiled)
    try:
        done = run(compiled, b'{"arguments":{}}', parked=waits(compiled, template))
    finally:
        template.close()
    assert answer(done)["value"] in (1, 13, 38), "and it is sealed"


AT_RANDOM: Final = (
    "import ctypes\n"
    "def run():\n"
    "    find = ctypes.CDLL(None).getauxval\n"
    "    find.restype = ctypes.c_ulong\n"
    "    return ctypes.string_at(find(25), 16).hex()\n"
)


def test_launchers_own_library_names_where_it_was_built(lab: Lab) -> None:
    """A checkout lies in somebody's home; a tool can read one library, and a copy has the other in memory."""
    here = os.fsencode(Path(__file__).parents[2])
    compiled = lab.python("def run():\n    return open('/mpp/_seal.abi3.so', 'rb').read().hex()\n")
    read = bytes.fromhex(answer(run(compiled, b'{"arguments":{}}'))["value"])
    copies = Path(launcher.FOLDER, "_copies.abi3.so").read_bytes()
    for content in (read, copies):
        assert content.startswith(b"\x7fELF")
        assert b"\0" + here + b"\0" not in content


def test_seed_of_one_copy_is_that_of_the_next(lab: Lab) -> None:
    """The kernel's bytes for a new program, of which run times make keys and the order of their tables."""
    compiled = lab.python(AT_RANDOM)
    template = Template(compiled)
    try:
        made = [waits(compiled, template) for _ in range(2)]
        seen = [answer(run(compiled, b'{"arguments":{}}', parked=each))["value"] for each in made]
        for each in made:
            each.close()
    finally:
        template.close()
    assert len(set(seen)) == 2


def test_late_copy_takes_what_the_sandbox_made_in_its_place_is_sent(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template dies between making a copy and saying so: nobody knows the copy, which has the socket."""
    noted = tmp_path / "noted"
    program = tmp_path / "template.py"
    program.write_text(
        "import os, socket\n"
        "asked = socket.socket(fileno=3)\n"
        "_, held, *_ = socket.recv_fds(asked, 8, 1)\n"
        "if os.fork() == 0:\n"
        "    asked.close()\n"
        "    got = socket.socket(fileno=held[0]).recv(1 << 20)\n"
        f"    os.symlink(str(len(got)), {str(noted)!r})\n"
        "os._exit(0)\n"
    )
    monkeypatch.setattr(template_module, "_PROGRAM", str(program))
    compiled = lab.python(PLAIN)
    template = Template(compiled)
    made = Parked(compiled, constants=(), cache=CACHE, early_start=True, template=template)
    try:
        assert until(noted.is_symlink, 5), "it still has the socket"
        assert str(noted.readlink()) == "0"
        while made.look(1000) == "preparing":
            pass
        assert (made.state, made.is_copied) == ("ready", False)
    finally:
        made.close()
        template.close()


def call_at(pid: int) -> tuple[int, int]:
    """Return whether a traced process enters (1) or leaves (2) a system call, and which one it enters."""
    info = (ctypes.c_uint64 * 11)()
    assert LIBC.ptrace(SYSCALL_INFO, pid, ctypes.sizeof(info), info) > 0
    return info[0] & 0xFF, info[3]


def kill_at(pid: int, stops: int, ready: threading.Event) -> bool:
    """Trace a template, kill it at the last of *stops* in the making of a copy; False where it has fewer."""
    assert LIBC.ptrace(SEIZE, pid, 0, TRACESYSGOOD) == 0
    assert LIBC.ptrace(INTERRUPT, pid, 0, 0) == 0
    os.waitpid(pid, 0)
    ready.set()
    has_copied = False
    for _ in range(stops):
        assert LIBC.ptrace(SYSCALL, pid, 0, 0) == 0
        os.waitpid(pid, 0)
        way, number = call_at(pid)
        has_copied = has_copied or (way, number) == (1, syscalls.X86_64["clone3"])
        if has_copied and (way, number) == (1, syscalls.X86_64["recvmsg"]):
            return False
    os.kill(pid, signal.SIGKILL)
    return True


def test_template_killed_at_any_system_call_of_a_copy(lab: Lab) -> None:
    """Also where the copy is made and nobody was told: it is the host's child, and nobody else reaps it."""
    compiled = lab.python(PLAIN)
    stops, goes_on, copied = 0, True, []
    while goes_on:
        stops += 1
        template = Template(compiled)
        waits(compiled, template).close()
        (pid,) = descendants(os.getpid())
        ready = threading.Event()
        with ThreadPoolExecutor(1) as tracer:
            killed = tracer.submit(kill_at, pid, stops, ready)
            assert ready.wait(10)
            made = Parked(compiled, constants=(), cache=CACHE, early_start=True, template=template)
            goes_on = killed.result()
        while made.look(1000) == "preparing":
            pass
        assert made.state == "ready"
        copied.append(made.is_copied)
        made.close()
        template.close()
        assert not descendants(os.getpid()), f"killed at stop {stops}"
    assert sorted(copied) == copied, "from the answer on there is a copy"
    assert (copied[0], copied[-1]) == (False, True)


def test_tool_that_writes_where_the_host_is_told_of_copies(source: tuple[SandboxPlan, Template]) -> None:
    """It could name any child of the host's to be killed: nothing that anybody shares is mapped in a copy."""
    compiled, template = source
    made = waits(compiled, template)
    try:
        init, tool, templates = processes()
        shared = r"^\S+ .w.s .*$"
        for pid in (init, tool) if os.getuid() == 0 else (tool,):
            assert re.findall(shared, Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE) == []
        (pid,) = templates
        assert len(re.findall(shared, Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)) == 1, "it has it"
    finally:
        made.close()


def test_copies_beyond_what_one_template_may_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others have all the room none is prepared, and no template replaced: calls go on without."""
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        stage.python(PLAIN)
        stage.runtime.call(NAME)
        stage.runtime.call(NAME)
        pool = stage.runtime._open().sandboxes
        assert until(lambda: pool.waiting > 0)
        (shelf,) = pool._stock.shelves.values()
        used = shelf.template
        assert used is not None
        monkeypatch.setattr(template_module, "COPIES", used.copies + 2)
        monkeypatch.setattr(pool._stock, "_has_room", lambda _: False)
        for number in range(6):
            assert stage.runtime.call(NAME, arguments={"n": number}).structured == {"n": number}
        assert used.copies == template_module.COPIES


def test_library_that_the_host_loads_into_every_program(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has read on the host would be in the memory of every copy, and inside there is none of it."""
    named = tmp_path / "ld.so.preload"
    monkeypatch.setattr(template_module, "_PRELOADED", (tmp_path / "none", named))
    compiled = lab.python(PLAIN)
    for content, serves in ((b"\n", True), (b"/usr/lib/agent.so\n", False)):
        named.write_bytes(content)
        template = Template(compiled)
        assert template.serves == serves
        assert bool(descendants(os.getpid())) == serves
        template.close()

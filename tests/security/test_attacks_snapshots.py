"""Attacks by a tool that is imported once: on what it writes down, what becomes of that, and later calls."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from eventually import until
from mpp_exec.sandbox import launcher
from mpp_exec.sandbox.call import Brought, Call
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.snapshot import Snapshot
from process_facts import is_filtered, own, processes
from sandbox_lab import CACHE, Lab, answer, bounded, descendants, restored, run, saved, waits

pytestmark = pytest.mark.skipif(not launcher.saves(), reason="this architecture saves no process")

PLAIN: Final = "def run(**given):\n    return given\n"
# Where things lie in struct mpp_snapshot (native/snapshot.h), and in one of its regions.
REGIONS, REGION, FILES, TEXT, SIZE = 2240, 40, 166080, 215232, 346304
RSP, RIP, THREAD, TID, RANDOM, ACTIONS = 64, 72, 88, 96, 128, 160
START, END, OFFSET, KIND, PROTECTION, FILE = 0, 8, 16, 24, 28, 32
ZERO, SAVED, MAPPED, VDSO, VVAR = range(1, 6)
RESTORE, HEADER, KERNEL = 0x600000000000, 0x600100000000, 0xFFFF800000000000

# What the launcher does: it says that it is ready, and takes the list of its mappings.
READY: Final = "os.write(3, b'\\n')\nos.read(0, 1 << 16)\n"

Forgery = Callable[[bytearray], None]


def asked(lab: Lab, code: str = PLAIN, **given: Any) -> SandboxPlan:
    return lab.python(code, import_once=True, **given)


def value(made: Parked) -> Any:
    return answer(run(made.plan, b'{"arguments":{}}', parked=made))["value"]


def region(data: bytearray, kind: int) -> int:
    """Return where the first region of *kind* stands."""
    (count,) = struct.unpack_from("=I", data, 4)
    places = [REGIONS + index * REGION for index in range(count)]
    return next(at for at in places if struct.unpack_from("=I", data, at + KIND) == (kind,))


def of_region(kind: int, field: int, new: int) -> Forgery:
    def forge(data: bytearray) -> None:
        struct.pack_into("=I" if field >= KIND else "=Q", data, region(data, kind) + field, new)

    return forge


def of_header(place: int, form: str, new: int) -> Forgery:
    return lambda data: struct.pack_into(form, data, place, new)


def twice(data: bytearray) -> None:
    """One region lies on another one."""
    first = region(data, SAVED)
    data[first + REGION : first + REGION + 16] = data[first : first + 16]


def clock_in_its_code(data: bytearray) -> None:
    """The kernel's code, and nothing else of it, where the program is that moves it."""
    (count,) = struct.unpack_from("=I", data, 4)
    for at in range(REGIONS + KIND, REGIONS + KIND + count * REGION, REGION):
        if struct.unpack_from("=I", data, at) == (VVAR,):
            struct.pack_into("=I", data, at, 0)
    for field, new in ((START, RESTORE + 4096), (END, RESTORE + 8192)):
        of_region(VDSO, field, new)(data)


def endless_text(data: bytearray) -> None:
    (size,) = struct.unpack_from("=I", data, 12)
    data[TEXT + size - 1] = ord("x")


FORGERIES: Final[dict[str, Forgery]] = {
    "nothing": lambda data: data.clear(),
    "noise": lambda data: data.__setitem__(slice(None), os.urandom(len(data))),
    "half a header": lambda data: data.__delitem__(slice(SIZE // 2, None)),
    "another magic": of_header(0, "=I", 0),
    "too many regions": of_header(4, "=I", 4097),
    "as many regions as can be said": of_header(4, "=I", 0xFFFFFFFF),
    "too many files": of_header(8, "=I", 0xFFFFFFFF),
    "too much text": of_header(12, "=I", 0xFFFFFFFF),
    "no text": of_header(12, "=I", 0),
    "text without an end": endless_text,
    "on the program that restores": of_region(SAVED, START, RESTORE),
    "on what it reads": of_region(SAVED, START, HEADER),
    "over both, and all between": of_region(ZERO, END, 0x7F0000000000),
    "of the kernel": of_region(SAVED, START, KERNEL),
    "up to the kernel's": of_region(SAVED, END, KERNEL),
    "at the beginning of memory": of_region(ZERO, START, 0),
    "unaligned": lambda data: of_region(SAVED, START, region(data, SAVED) | 1)(data),
    "ends before it begins": of_region(SAVED, END, 0),
    "on another one": twice,
    "writable and executable": of_region(SAVED, PROTECTION, 7),
    "unaligned in its file": of_region(SAVED, OFFSET, 1),
    "behind the end of its file": of_region(SAVED, OFFSET, 1 << 62),
    "of a file that is not listed": of_region(MAPPED, FILE, 0xFFFFFFFF),
    "of a file whose path is elsewhere": of_header(FILES + 40, "=I", 0xFFFFFFFF),
    "of a file that is another one": of_header(FILES + 8, "=Q", 1),
    "the kernel's code in the place of the program's": clock_in_its_code,
    "the kernel's pages on the program": of_region(VVAR, START, RESTORE),
    "the kernel's pages on what it reads": of_region(VVAR, START, HEADER),
    "a stack nowhere": of_header(RSP, "=Q", 8),
    "an instruction nowhere": of_header(RIP, "=Q", KERNEL),
    "a thread of the kernel's": of_header(THREAD, "=Q", KERNEL),
    "a number nowhere": of_header(TID, "=Q", 8),
    "a seed nowhere": of_header(RANDOM, "=Q", 8),
}


@pytest.fixture
def forged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Forgery], None]:
    """What puts a forgery in the place of what a tool writes down of itself: it could have done so."""
    original = Snapshot._seal

    def arrange(forge: Forgery) -> None:
        def seal(self: Snapshot) -> None:
            size = os.lseek(self._file, 0, os.SEEK_HOLE)
            data = bytearray(os.pread(self._file, size, 0))
            forge(data)
            os.ftruncate(self._file, 0)
            fcntl.fcntl(self._file, fcntl.F_GET_SEALS)
            made = os.memfd_create("forged", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.pwrite(made, data, 0)
            os.dup2(made, self._file, False)
            os.close(made)
            original(self)

        monkeypatch.setattr(Snapshot, "_seal", seal)

    return arrange


# What the program that restores has seen to be no snapshot, and not died of.
SEEN: Final = [name for name in FORGERIES if name.startswith("the kernel's")]
NOT_SOUND: Final = 103 << 8


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_snapshot(lab: Lab, forged: Callable[[Forgery], None], name: str) -> None:
    """Whoever becomes it is dead before there is a call, and nobody else takes notice."""
    forged(FORGERIES[name])
    compiled = asked(lab)
    with saved(compiled) as source:
        made = restored(compiled, source)
        assert made.state == "ended"
        if name in SEEN:
            assert made.failure().status == NOT_SOUND
        made.close()
    assert not descendants(os.getpid())


def test_forgery_by_the_tool_itself(lab: Lab) -> None:
    """It says that it is ready and takes the list of its mappings, as the launcher would."""
    compiled = asked(lab, f"import os\nos.pwrite(4, os.urandom(1 << 20), 0)\n{READY}os._exit(0)\n")
    with saved(compiled) as source:
        assert source.serves, "the host reads none of it"
        made = restored(compiled, source)
        assert made.state == "ended"
        made.close()


def test_maker_that_is_gone_when_it_is_looked_at(lab: Lab) -> None:
    """It has ended as it was to, whenever that is."""
    compiled = asked(lab, f"import os\n{READY}os._exit(0)\n")
    for _ in range(20):
        with saved(compiled) as source:
            assert not source.is_spoilt


def test_hole_that_becomes_a_page_when_another_call_reads_it(lab: Lab) -> None:
    """It would tell later copies that this one was there, and take room that nobody counts."""
    code = "import os\nos.pwrite(4, b'x' * 8192, 0)\nos.pwrite(4, b'x', 50 << 20)\nos.write(3, b'\\n')\n"
    with saved(asked(lab, f"{code}os.read(0, 1 << 16)\nos._exit(0)\n")) as source:
        facts = os.fstat(source._file)
        assert (facts.st_size, facts.st_blocks * 512, source.resident) == (8192, 8192, 8192)


def test_snapshot_is_changed_when_it_is_made(lab: Lab) -> None:
    with saved(asked(lab)) as source:
        seals = fcntl.fcntl(source._file, fcntl.F_GET_SEALS)
        assert seals == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        with pytest.raises(PermissionError):
            os.pwrite(source._file, b"x", 0)
        assert not descendants(os.getpid()), "who made it is gone"


MAPS_A_FILE: Final = """
import ctypes, os
call = ctypes.CDLL(None).mmap
call.restype = ctypes.c_void_p
call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
file = os.open("/tmp/" + NAME, os.O_RDWR | os.O_CREAT)
os.write(file, bytes(4096))
call(None, 4096, 1, 2, file, 0)
os.close(file)
"""


@pytest.mark.parametrize("name", ["\rAnonymous: x", "\u2028Anonymous:", "\fSwap:", "\r0-1 rwxs 0 0:0 1"])
def test_file_whose_name_is_another_line(lab: Lab, name: str) -> None:
    """Of what the kernel says of a process: the host reads it for every package, in one thread."""
    with saved(asked(lab, MAPS_A_FILE.replace("NAME", repr(name)) + PLAIN)) as source:
        assert source.serves


@pytest.mark.parametrize(
    "hang", ["os.read(0, 1 << 16)\nwhile True:\n    time.sleep(1)", "while True:\n    time.sleep(1)"]
)
def test_maker_that_never_ends(lab: Lab, hang: str) -> None:
    code = f"import os, time\nos.write(3, b'\\n')\n{hang}\n"
    compiled = asked(lab, code, limits=bounded(wall_ms=1000))
    with saved(compiled) as source:
        assert source.is_spoilt
    assert not descendants(os.getpid())


def test_maker_says_more_than_that_it_is_ready(lab: Lab) -> None:
    code = f"import os, time\n{READY}os.write(3, b'{{\"value\": 1}}\\n')\nwhile True:\n    time.sleep(1)\n"
    with saved(asked(lab, code)) as source:
        assert not source.serves


def test_maker_is_given_a_call(lab: Lab) -> None:
    """What it is told is no call; one that comes all the same is another sandbox's."""
    # Of the two that import this one has the descriptor: it waits for more.
    waits_for_more = READY.replace("\n", "; ") + "os.read(0, 1)"
    code = f"import os\ntry:\n    os.fstat(4)\n    {waits_for_more}\nexcept OSError:\n    pass\n"
    compiled = asked(lab, f"{code}{PLAIN}")
    file = os.memfd_create("snapshot")
    made = Parked(compiled, constants=(), cache=CACHE, early_start=True, saves_to=file)
    try:
        assert until(lambda: made.look(100) == "ready")
        made.save()
        call = Call(b'{"arguments":{"secret":1}}', "lab")
        raw = made.call(Brought(call, call.request, (), wall_ns=10**9, cache=CACHE))
        assert (raw.step, raw.output) == ("release", b"")
        assert answer(run(compiled, b'{"arguments":{"secret":1}}'))["value"] == {"secret": 1}
    finally:
        made.close()
        os.close(file)


def test_what_is_restored_may_do_more_than_what_was_started(lab: Lab) -> None:
    """Ids, groups, capabilities, seccomp programs, signals, namespaces: as the kernel has them."""
    compiled = asked(lab)
    said = []
    with saved(compiled) as source:
        for begin in (partial(waits, compiled, None), partial(restored, compiled, source)):
            made = begin()
            try:
                init, tool, _ = processes()
                assert until(partial(is_filtered, init))
                said.append([own(pid) for pid in (init, tool)])
            finally:
                made.close()
    started, again = said
    assert again == started


REACH = """
import ctypes, os
def attempt(what, *given):
    try:
        return what(*given)
    except OSError as error:
        return error.strerror
def run(**given):
    return [attempt(os.execv, "/mpp/restore", ["restore"]),
            attempt(os.listdir, "/root"), attempt(os.listdir, "/proc"),
            attempt(open, "/mpp/_snapshot.abi3.so", "r+b"), attempt(os.mkdir, "/app/x"), attempt(os.fstat, 4),
            attempt(os.setuid, 0), attempt(os.fork), attempt(os.unshare, os.CLONE_NEWUSER)
            if hasattr(os, "unshare") else None, ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)]
"""


def test_what_is_restored_reaches_more_than_what_was_started(lab: Lab) -> None:
    compiled = asked(lab, REACH)
    with saved(compiled) as source:
        again, started = restored(compiled, source), waits(compiled, None)
        seen, expected = value(again), value(started)
        again.close()
        started.close()
    assert seen == expected
    assert seen[0] in ("Function not implemented", "Operation not permitted")
    assert (seen[5], seen[-1]) == ("Bad file descriptor", 1)


def test_call_leaves_something_for_the_next(lab: Lab) -> None:
    code = "import os\nkept = []\ndef run():\n    kept.append(1)\n    there = os.listdir('/tmp')\n"
    code += "    open('/tmp/mine', 'w').close()\n    return [len(kept), there]\n"
    compiled = asked(lab, code)
    with saved(compiled) as source:
        first, second = restored(compiled, source), restored(compiled, source)
        seen = [value(first), value(second)]
        first.close()
        second.close()
    assert seen == [[1, ["home"]]] * 2


def test_module_of_the_package_in_the_place_of_what_saves(lab: Lab) -> None:
    forged = "raise SystemExit('ran unsealed')\n"
    compiled = asked(lab, files=dict.fromkeys(("_snapshot.py", "_seal.py"), forged))
    with saved(compiled) as source:
        assert source.serves
        made = restored(compiled, source)
        assert value(made) == {}
        made.close()


def test_library_that_saves_names_where_it_was_built(lab: Lab) -> None:
    code = "def run():\n    paths = ('/mpp/_snapshot.abi3.so', '/mpp/restore')\n"
    compiled = asked(lab, f"{code}    return [open(path, 'rb').read().hex() for path in paths]\n")
    here = os.fsencode(os.path.abspath(f"{__file__}/../../.."))  # noqa: PTH100 - as the compiler was told
    with saved(compiled) as source:
        made = restored(compiled, source)
        for content in map(bytes.fromhex, value(made)):
            assert content.startswith(b"\x7fELF")
            assert b"\0" + here + b"\0" not in content
        made.close()


def test_seed_of_one_call_is_that_of_the_next(lab: Lab) -> None:
    """The kernel's bytes for a new program (AT_RANDOM), of which run times make keys."""
    code = "import ctypes\nfind = ctypes.CDLL(None).getauxval\nfind.restype = ctypes.c_ulong\n"
    compiled = asked(lab, f"{code}def run():\n    return ctypes.string_at(find(25), 16).hex()\n")
    seen = set()
    with saved(compiled) as source:
        for _ in range(2):
            made = restored(compiled, source)
            seen.add(value(made))
            made.close()
    assert len(seen) == 2

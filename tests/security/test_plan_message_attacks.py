"""Attack: a message to init that is no plan, or one that points beside itself.

The readers of init are compiled for this test with AddressSanitizer and UBSan, a plan of exactly its size in
memory, and are fed mutated plans (``tests/fuzz/plan_driver.c``). Each check of ``native/sound.c`` is then
taken out once, and the same mutations are seen to read what is not theirs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mpp_exec.sandbox.encoded import encode_plan
from mpp_exec.sandbox.layout import Entry
from needs import missing

ROOT = Path(__file__).parents[2]
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-w")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ROUNDS = 50_000

PLAN = encode_plan(
    entries=(
        Entry("dir", "/etc"),
        Entry("file", "/etc/hosts", data=bytes(4000), mode=0o444),
        Entry("link", "/usr/bin", source="/bin"),
        Entry("bind", "/lib/libc.so.6", source="/usr/lib/libc.so.6", attributes=1),
        Entry("tmpfs", "/tmp", size=1 << 20, inodes=1024, mode=0o700),
    ),
    rules=(("/etc", 12), ("/tmp", 0x1FFF)),
    limits=((7, 64, 64), (4, 1, 1)),
    filter_program=bytes(range(8)) * 20,
    guard_program=bytes(range(8)) * 4,
    argv=("/app/tool", "-x", ""),
    environment=(("HOME", "/tmp/home"), ("LANG", "C.UTF-8")),
    exec_path="/app/tool",
    working_directory="/tmp",
    host_name="mpp",
    uid=1000,
    landlock=(0x1FFF, 3, 3),
    root_attributes=1,
    streams=((2, 443), (10, 443), (2, 65535)),
    addresses=("10.0.0.5", "2001:db8::1"),
)

CHECKS = {
    "last byte is NUL": ("if (message[size - 1] != 0) return 0;", ""),
    "size is what was received": ("|| plan->size != received", ""),
    "long enough for a header": ("received < sizeof *plan ||", ""),
    "tables lie inside": ("span.offset <= size && span.count <= (size - span.offset) / width", "1"),
    "tables are aligned": ("span.offset % align == 0 &&", ""),
    "argv is bounded": ("|| plan->argv.count > MPP_ARGS_MAX", ""),
    "texts of entries lie inside": ("!text_fits(entries[i].source, size) ||", ""),
    "file contents lie inside": ("entries[i].data_size > size - entries[i].data", "0"),
    "texts of rules lie inside": ("if (!text_fits(rules[i].path, size)) return 0;", ""),
    "arguments lie inside": ("if (!text_fits(offsets[i], plan->size)) return 0;", ""),
}
"""Each check of sound.c, and what stands in its place when it is taken out."""


READERS = ("layout", "layout_late", "mounts", "confine", "network")
"""The parts of init that read a plan after sound.c."""


def build(folder: Path, sound: str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        missing("there is no C compiler")
    (folder / "sound.c").write_text(sound)
    sources = [
        str(folder / "sound.c"),
        *(str(ROOT / f"native/{part}.c") for part in READERS),
        str(ROOT / "tests/fuzz/plan_driver.c"),
    ]
    where = (f"-I{ROOT}/native", f"-I{ROOT}/tests/fuzz", "-include", "fake_sys.h")
    done = subprocess.run(
        [compiler, *FLAGS, *SANITIZERS, *where, *sources, "-o", str(folder / "driver")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find" in done.stderr:
        missing("this compiler has no sanitizers")
    assert done.returncode == 0, done.stderr
    return folder / "driver"


def attack(driver: Path, seed: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(driver), str(seed), str(ROUNDS)],
        input=PLAN,
        capture_output=True,
        check=False,
        # What a preloaded runtime was told is not meant for this program.
        env={"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"},
    )


@pytest.fixture(scope="module")
def source() -> str:
    return (ROOT / "native/sound.c").read_text()


def test_no_message_makes_init_read_beside_it(tmp_path: Path, source: str) -> None:
    driver = build(tmp_path, source)
    for seed in (1, 2, 3):
        done = attack(driver, seed)
        assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]
        # Many are sound, so what comes behind the checks was reached; many are not.
        assert ROUNDS // 100 < int(done.stdout) < ROUNDS * 3 // 4


@pytest.mark.parametrize("check", CHECKS)
def test_without_a_check_it_does(tmp_path: Path, source: str, check: str) -> None:
    present, instead = CHECKS[check]
    assert source.count(present) == 1
    driver = build(tmp_path, source.replace(present, instead))
    results = (attack(driver, seed).stderr for seed in (1, 2, 3))
    assert any(b"AddressSanitizer" in told or b"runtime error" in told for told in results)

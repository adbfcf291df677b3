"""What a guest boots from: a ramdisk with PID 1 and modules, a system disk, a disk with the project."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import lzma
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kernels import debian

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
_MODULES = ("virtio_pci", "virtio_blk")
_TAKEN = ("bench", "docs", "examples", "native", "runtime", "tests")
_FILES = ("CHANGELOG.md", "LICENSE", "Makefile", "README.md", "SPECIFICATION.md", "pyproject.toml")
# Tools of the development environment that no test imports, most of its size.
_NOT_TAKEN = ("mypy", "mypyc", "ruff", "pip", "grimp", "importlinter", "*__mypyc*", "rich", "librt")
_PROGRAMS = ("sandbox_probe.c", "kernels/guest/crowd.c")
_ROOM = 2048  # MiB to write in, on each disk
_MERGED = ("bin", "lib", "lib64", "sbin")


def ramdisk(kernel: Path, cache: Path) -> tuple[Path, Path]:
    """Return (kernel image, initial ramdisk) of an unpacked *kernel*; the ramdisk is made anew."""
    (image,) = (kernel / "boot").glob("vmlinuz-*")
    target = cache / f"{kernel.name}.cpio"
    with _folder(cache) as root:
        (root / "modules").mkdir()
        _compile(HERE / "init.c", root / "init")
        for number, content in enumerate(_modules(kernel)):
            (root / "modules" / f"{number:02}.ko").write_bytes(content)
        target.write_bytes(_cpio(root))
    return image, target


def _compile(source: Path, target: Path) -> None:
    command = ["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", str(source)]
    subprocess.run([*command, "-o", str(target)], check=True)


def _modules(kernel: Path) -> Iterator[bytes]:
    """Yield the modules of the disks, each behind what it needs; what is built in is no file."""
    found = {
        path.name.partition(".")[0].replace("-", "_"): path
        for path in (kernel / "lib" / "modules").rglob("*.ko*")
    }
    loaded: set[str] = set()

    def load(name: str) -> Iterator[bytes]:
        if name in loaded or name not in found:
            return
        loaded.add(name)
        raw = found[name].read_bytes()
        content = lzma.decompress(raw) if found[name].suffix == ".xz" else raw
        needs = re.search(rb"\0depends=([^\0]*)\0", content)
        for need in needs.group(1).decode().split(",") if needs else ():
            yield from load(need)
        yield content

    for name in _MODULES:
        yield from load(name)


def _cpio(root: Path) -> bytes:
    """Return an archive of *root* in the "newc" format (Documentation/driver-api/early-userspace)."""
    out = bytearray()

    def member(name: str, mode: int, content: bytes, number: int) -> None:
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
        out.extend(b"070701" + b"".join(b"%08X" % field for field in fields) + raw)
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(content)
        out.extend(b"\0" * (-len(out) % 4))

    for number, path in enumerate(sorted(root.rglob("*")), 1):
        facts = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
        member(str(path.relative_to(root)), facts.st_mode, content, number)
    member("TRAILER!!!", 0, b"", 0)
    return bytes(out)


def system_disk(packages: list[str], cache: Path) -> Path:
    """Return a disk with *packages* of this machine and what they need; kept until one of them changes."""
    closure = debian.closure(packages)
    identity = hashlib.sha256(json.dumps(closure, sort_keys=True).encode() + Path(__file__).read_bytes())
    disk = cache / f"system-{identity.hexdigest()[:16]}.ext4"
    if disk.exists():
        return disk
    for stale in cache.glob("system-*.ext4"):
        stale.unlink()
    with _folder(cache) as root:
        _copy_system(debian.files_of(closure), root)
        _make_disk(root, disk)
    return disk


def _copy_system(files: list[Path], root: Path) -> None:
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for path in files:
        # The folder as it is on this machine, where /lib may be a link; the name as it is, a link or not.
        source = Path(os.path.realpath(path.parent), path.name)
        _copy(source, root)
        cached = Path(importlib.util.cache_from_source(str(source))) if source.suffix == ".py" else source
        if cached != source and cached.exists():
            _copy(cached, root)
    for name, mode in (
        ("dev", 0o755),
        ("mpp", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)
    etc = {
        "passwd": "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n"
        "nobody:x:65534:65534::/:/bin/false\n",
        "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
        "hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
        "hostname": "guest\n",
    }
    for name, text in etc.items():
        (root / "etc" / name).write_text(text)
        (root / "etc" / name).chmod(0o644)
    if not (root / "etc/localtime").is_symlink():
        (root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")


def _copy(source: Path, root: Path) -> None:
    target = root / source.relative_to("/")
    if target.is_symlink() or not os.path.lexists(source):
        return
    if source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif source.is_file() and os.access(source, os.R_OK):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def project_disk(facts: Mapping[str, Any], apparmor: Path | None, cache: Path) -> Path:
    """Return a disk with this tree, its environment, *apparmor* and *facts* for it; made anew each time."""
    disk = cache / f"project-{facts['name']}.ext4"
    with _folder(cache) as root:
        ignore = shutil.ignore_patterns("__pycache__", "build", "kernels.log")
        for name in _TAKEN:
            shutil.copytree(PROJECT / name, root / name, ignore=ignore, symlinks=True)
        for name in _FILES:
            shutil.copy2(PROJECT / name, root / name)
        (root / "guest.json").write_text(json.dumps(facts))
        (root / "programs").mkdir()
        for source in _PROGRAMS:
            _compile(PROJECT / "tests" / source, root / "programs" / Path(source).stem)
        _copy_environment(PROJECT / ".venv", root / ".venv")
        if apparmor is not None:
            _copy_apparmor(apparmor, root / "apparmor")
        for path in root.rglob("*"):
            if not path.is_symlink():  # the guest's user reads it, too
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        _make_disk(root, disk)
    return disk


def _copy_environment(source: Path, target: Path) -> None:
    (target / "bin").mkdir(parents=True)
    for path in (source / "bin").glob("python*"):
        (target / "bin" / path.name).symlink_to(path.readlink())
    shutil.copy2(source / "pyvenv.cfg", target / "pyvenv.cfg")
    (packages,) = source.glob("lib/python3*/site-packages")
    copied = target / packages.relative_to(source)
    shutil.copytree(packages, copied, ignore=shutil.ignore_patterns(*_NOT_TAKEN), symlinks=True)
    for stale in copied.glob("__editable__*"):
        stale.unlink()
    (copied / "project.pth").write_text("/mpp/runtime\n")


def _copy_apparmor(source: Path, target: Path) -> None:
    """Copy the parser, with the C library that it was built for, and what profiles include."""
    (target / "lib").mkdir(parents=True)
    shutil.copy2(source / "usr/sbin/apparmor_parser", target)
    for name in ("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6"):
        shutil.copy2(source / "usr/lib/x86_64-linux-gnu" / name, target / "lib" / name)
    for name in ("abi", "tunables"):
        shutil.copytree(source / "etc/apparmor.d" / name, target / "apparmor.d" / name)


def _make_disk(root: Path, disk: Path) -> None:
    """Make a file system of *root*, owned by id 0 whoever makes it, with room to write."""
    size = sum(path.lstat().st_size for path in root.rglob("*")) >> 20
    fresh = disk.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    command = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-O",
        "^has_journal",
        "-b",  # as a disk of a usual size has it; a small one would get less, and keep shorter links
        "4096",
        "-E",
        "root_owner=0:0",
        "-d",
        str(root),
        str(fresh),
    ]
    if os.geteuid() != 0:  # the maker's own files then appear as root's
        command = ["unshare", "--map-root-user", *command]
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    # What nobody writes to takes nothing here. All tests as one identity leave some 250 MiB.
    room = f"{size * 5 // 4 + _ROOM}M"
    subprocess.run([*command, room], check=True, env=environment, stdout=subprocess.DEVNULL)
    fresh.rename(disk)


@contextmanager
def _folder(cache: Path) -> Iterator[Path]:
    with TemporaryDirectory(dir=cache, prefix="tree-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Keep other runs from making the same disk at the same time."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

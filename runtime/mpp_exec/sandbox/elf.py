"""What a host program needs to be loaded: its loader and its shared libraries.

This is asked only about programs of the host, never about a file of a package. The answer comes from the
host's own dynamic loader (``ld.so --list``, ld.so(8)), which does not run the program.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from mpp_exec.errors import HostError
from mpp_exec.patterns import lazily

_PT_INTERP = 3
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_PROGRAM = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_LISTED = lazily(r"^\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)$")


def loader_of(path: str) -> str | None:
    """Return the PT_INTERP of the 64-bit ELF file at *path*, None for a static program.

    Raises:
        HostError: it is no little-endian 64-bit ELF file.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - unbuffered reads of two records
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or header[:6] != b"\x7fELF\x02\x01":
            raise HostError("host.not_elf", f"{path} is not a 64-bit ELF program")
        fields = _HEADER.unpack(header)
        offset, size, count = fields[5], fields[9], fields[10]
        for index in range(min(count, 64)):
            file.seek(offset + index * size)
            record = file.read(_PROGRAM.size)
            if len(record) < _PROGRAM.size:
                break
            program = _PROGRAM.unpack(record)
            if program[0] == _PT_INTERP:
                file.seek(program[2])
                return os.fsdecode(file.read(min(program[5], 4096)).rstrip(b"\0"))
    return None


def libraries(program: str, loader: str, modules: Sequence[str] = ()) -> dict[str, str]:
    """Return the shared libraries of *program* and of the extension *modules* it may load.

    A module without a slash is itself a library that the loader looks for, and is in the answer.
    Keys are the names the loader looks for (``libc.so.6``), values the paths it found, as it found
    them (links unresolved). A library that only an optional module misses is left out: importing
    that module fails inside as it does outside.

    Raises:
        HostError: the loader cannot say.
    """
    command = [loader, "--list", program]
    if modules:
        command[1:1] = ["--preload", ":".join(modules)]
    import subprocess  # noqa: PLC0415 -- what it finds is kept; most processes never ask

    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=20,
            env={"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError("host.loader", f"{loader} cannot list the libraries of {program}: {error}") from error
    if done.returncode != 0:
        detail = os.fsdecode(done.stderr).strip().splitlines()[-1:] or ["no message"]
        raise HostError("host.loader", f"{loader} cannot list the libraries of {program}: {detail[0]}")
    found: dict[str, str] = {}
    for line in os.fsdecode(done.stdout).splitlines():
        match = _LISTED.match(line)
        if match and match["path"] not in modules:
            found[match["name"] or os.path.basename(match["path"])] = match["path"]  # noqa: PTH119
    return found

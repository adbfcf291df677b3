"""One guest, from power on to its last word."""

from __future__ import annotations

import os
import re
import secrets
import selectors
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Boot:
    """What a guest starts with; ``deadline`` in seconds."""

    kernel: Path
    ramdisk: Path
    system: Path
    project: Path
    memory: str
    processors: int
    deadline: float


@dataclass(frozen=True)
class Ended:
    """How a guest ended: the status that its PID 1 reported, None without one; the fault, "" for nothing."""

    status: int | None
    fault: str
    seconds: float

    @property
    def passed(self) -> bool:
        return self.status == 0 and not self.fault


def run(boot: Boot, log: Path, show: IO[str] | None) -> Ended:
    """Boot it and wait for its end; the console goes to *log*, and to *show*.

    A guest that panics, hangs past its deadline or stops without a word has failed. The word is new
    each time, so that nothing a test prints is taken for it.
    """
    word = secrets.token_hex(8)
    # Whether its clock interrupts at all a kernel finds out by waiting for ticks; on a busy machine an
    # emulator has not had the time for any, and Linux 6.1 panics ("IO-APIC + timer doesn't work").
    options = "quiet panic=-1 oops=panic no_timer_check"
    command = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-nodefaults", "-no-reboot"),
        *("-display", "none", "-serial", "stdio", "-m", boot.memory, "-smp", str(boot.processors)),
        *("-kernel", str(boot.kernel), "-initrd", str(boot.ramdisk)),
        *("-append", f"console=ttyS0 {options} mpp.word={word}"),
    ]
    for disk in (boot.system, boot.project):
        # Both are kept as they are: what a guest writes is gone with it.
        command += ["-drive", f"file={disk},if=virtio,format=raw,snapshot=on"]
    started = time.monotonic()
    text = bytearray()
    with (
        log.open("wb") as record,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as guest,
    ):
        assert guest.stdout is not None
        try:
            fault = _follow(guest.stdout, text, record, show, started + boot.deadline)
        finally:
            guest.kill()
            guest.wait()
    said = re.findall(rf"^guest {word} ended with (\d+)\s*$", text.decode(errors="replace"), re.MULTILINE)
    if not fault and len(said) != 1:
        fault = "it stopped without a word: a panic, or its PID 1 died"
    if b"Kernel panic" in text:
        fault = "the kernel panicked"
    return Ended(int(said[0]) if said else None, fault, time.monotonic() - started)


def _follow(
    console: IO[bytes], text: bytearray, record: IO[bytes], show: IO[str] | None, until: float
) -> str:
    """Read the console to its end; return what went wrong, "" for nothing."""
    os.set_blocking(console.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(console, selectors.EVENT_READ)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return "it hung past its deadline"
            if not selector.select(left):
                continue
            chunk = console.read(65536)
            if chunk == b"":
                return ""
            text.extend(chunk or b"")
            record.write(chunk or b"")
            record.flush()
            if show is not None:
                show.write((chunk or b"").decode(errors="replace").replace("\r", ""))
                show.flush()

"""What an ended invocation means: one of the contract's outcomes, and a sentence for people.

Pure: turns what the supervisor saw into a word. When a tool reaches a limit, the kernel tells the tool
(ENOMEM, EAGAIN), and the tool fails in its own way. What the tool used tells which limit that was.
"""

from __future__ import annotations

import os
import signal
from typing import Literal

from mpp_exec.permissions import Limits
from mpp_exec.sandbox.supervise import RawOutcome

Outcome = Literal[
    "ok", "tool_error", "timeout", "cpu", "memory", "output", "processes", "syscall", "killed", "protocol"
]

_STOPS: dict[str, tuple[Outcome, str]] = {
    "wall": ("timeout", "stopped after {wall} s, its limit of time"),
    "cpu": ("cpu", "stopped after {cpu} s of processor time, its limit"),
    "memory": ("memory", "stopped at {memory} MiB of memory, its limit"),
    "output": ("output", "stopped after {output} KiB of output, its limit"),
    "processes": ("processes", "stopped above {processes} processes and threads, its limit"),
    "cancelled": ("killed", "cancelled by its caller"),
    "blind": (
        "killed",
        "stopped because its resource use could not be read: is /proc masked, or mounted with hidepid?",
    ),
    "lost": ("killed", "its sandbox was killed from outside"),
    "hidden": (
        "killed",
        "stopped because it kept too many deleted files of its scratch mapped",
    ),
    "watch": ("killed", "stopped because its watcher failed, and a traced call must not run unwatched"),
}
# Sampling sees memory every 10 ms, and the last allocation is the one that fails.
_NEAR = 0.8
_UNDEAD = "; it is killed and not dead: a file system that it was granted may not answer"
_NEARLY = 0.9  # of the processor time that the limit allows


def judge(raw: RawOutcome, limits: Limits) -> tuple[Outcome, str]:  # noqa: PLR0911 - a table in prose
    """Return the outcome of *raw* and why, "" for one that went well."""
    if raw.memory_kills and raw.stop in ("none", "lost", "memory"):  # init included: the group dies as one
        return "memory", f"killed by the kernel at its memory limit of {limits.memory >> 20} MiB"
    if raw.stop == "answered":
        return "ok", ""
    if raw.stop != "none":
        outcome, text = _STOPS[raw.stop]
        return outcome, (text + _UNDEAD * raw.undead).format(
            wall=limits.wall_ms / 1000,
            cpu=limits.cpu_ms / 1000,
            memory=limits.memory >> 20,
            output=limits.output >> 10,
            processes=limits.processes,
        )
    if raw.status == 0:
        return "ok", ""
    near_memory = raw.resident_peak >= limits.memory * _NEAR
    if os.WIFSIGNALED(raw.status):
        number = os.WTERMSIG(raw.status)
        name = signal_name(number)
        # A tool can send itself either; only what it used tells whether it was the limit. (The kernel looks
        # at its clock at ticks, and tells the exact time afterwards.)
        if number in (signal.SIGXCPU, signal.SIGKILL) and _cpu_ms(raw) >= limits.cpu_ms * _NEARLY:
            return "cpu", f"stopped after {limits.cpu_ms / 1000} s of processor time, its limit"
        if number == signal.SIGSYS:
            return "syscall", "died of SIGSYS, as for a system call of another architecture (i386 or x32)"
        if near_memory and number in (
            signal.SIGSEGV,
            signal.SIGABRT,
            signal.SIGBUS,
            signal.SIGKILL,
            signal.SIGTRAP,
        ):
            return "memory", f"died of {name} at its memory limit of {limits.memory >> 20} MiB"
        if number == signal.SIGKILL:
            return "killed", "killed by SIGKILL"
        return "tool_error", f"died of {name}"
    code = os.WEXITSTATUS(raw.status)
    if near_memory:
        return "memory", f"failed with status {code} at its memory limit of {limits.memory >> 20} MiB"
    if raw.processes_denied or raw.processes_peak >= limits.processes:
        return (
            "processes",
            f"failed with status {code} at its limit of {limits.processes} processes and threads",
        )
    return "tool_error", f"ended with status {code}"


def _cpu_ms(raw: RawOutcome) -> float:
    return (raw.user_us + raw.system_us) / 1000


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9, or ``signal 40`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""What the kernel says about the processes of a sandbox, as the host sees them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from sandbox_lab import descendants

# The fields of proc_pid_status(5) that say what a process may do, and who it is.
STATUS: Final = (
    *("Name", "Umask", "Uid", "Gid", "Groups", "NStgid", "NSpid", "NSpgid", "NSsid", "Kthread", "Threads"),
    *("SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
    *("NoNewPrivs", "Seccomp", "Seccomp_filters", "CoreDumping", "untag_mask"),
)


def facts(pid: int) -> dict[str, str]:
    found = re.findall(r"^(\w+):\t?(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return dict(found)


def processes() -> tuple[int, int, set[int]]:
    """Return init and tool of the only sandbox, and the templates."""
    here: set[int] = set()
    init: list[int] = []
    tool: list[int] = []
    for pid in descendants(os.getpid()):
        inner = facts(pid)["NSpid"].split()[1:]
        if inner:
            (init if inner == ["1"] else tool).append(pid)
        else:
            here.add(pid)
    assert (len(init), len(tool)) == (1, 1)
    return init[0], tool[0], here


def is_filtered(pid: int) -> bool:
    return facts(pid)["Seccomp"] == "2"


def own(pid: int) -> dict[str, Any]:
    seen = {name: value for name, value in facts(pid).items() if name in STATUS}
    outer = r"^\s*\d+"  # first in each list: the host's view, which differs from process to process
    for name in ("NStgid", "NSpid", "NSpgid", "NSsid", "Uid", "Gid"):
        seen[name] = re.sub(outer, "", seen[name]) if name.startswith("NS") else str(len(seen[name].split()))
    kinds = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
    return seen | {kind: space(str(pid), kind) != space("self", kind) for kind in kinds}


def space(process: str, kind: str) -> str:
    try:
        return str(Path(f"/proc/{process}/ns/{kind}").readlink())
    except PermissionError:  # only root may inspect init
        return "not shown"

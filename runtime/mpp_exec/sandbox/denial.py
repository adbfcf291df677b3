"""Why something did not work inside, and which permission would allow it.

A tool is told ENOENT for what it was not granted, so that it learns nothing; whoever called it is told
what the sandbox knows: which path was tried, and that no grant names it. Whether the path exists on
the host is not looked up: the explanation reaches the model, too.
"""

from __future__ import annotations

import errno
import os

from mpp_exec.sandbox import native
from mpp_exec.sandbox.plan import SandboxPlan

_MISSING = (errno.ENOENT, errno.EACCES, errno.EPERM)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def explain_denial(plan: SandboxPlan, path: str | None, number: int | None) -> str:
    """Return a sentence for an OSError that a tool raised about *path*, "" where no permission is missing."""
    if number == errno.ENOSYS:
        return (
            "the sandbox refused a system call: this package was granted no network and no other program; "
            "it would have to ask for them under [permissions]"
        )
    if path is None:
        return ""
    if number == errno.ENOSPC and _within(os.path.normpath(path), plan.scratch):
        return f"{plan.scratch} is full: its limit is {plan.limits.scratch >> 20} MiB, [limits] scratch"
    absolute = os.path.normpath(os.path.join(plan.scratch, path))  # noqa: PTH118 - a path inside, not on this host
    shown = [
        entry for entry in plan.entries if entry.kind in ("bind", "hold") and _within(absolute, entry.target)
    ]
    if not shown and not _within(absolute, plan.scratch) and number in _MISSING:
        return (
            f"{absolute} is not granted to {plan.package}: to allow it, the package must ask for it under "
            f"[permissions.filesystem] read, and you approve: mpp-exec approve {plan.package}"
        )
    if shown and number in _READ_ONLY:
        nearest = max(shown, key=lambda entry: len(entry.target))
        if nearest.attributes & native.MOUNT_RDONLY:
            return (
                f"{nearest.target} is granted to {plan.package} for reading only: writing needs "
                "[permissions.filesystem] write, and a tool whose operation is write"
            )
    return ""


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")

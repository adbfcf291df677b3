"""Handles namespaces that are used up for now: other sandboxes have them, or the kernel still frees some.

clone(2) answers ENOSPC when one of ``user.max_*_namespaces`` (namespaces(7)) is reached, in this user
namespace or in one around it. A network namespace counts until the kernel has taken it down. The kernel does
that after the end of its last process, and for all network namespaces in one thread.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from mpp_exec.errors import InternalError

CODE: Final = "host.namespaces_used_up"

PATIENCE: Final = 1.0
"""Seconds for which a call waits for namespaces that others leave."""

_PAUSE: Final = 0.02
_NAMES: Final = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")
_Made = TypeVar("_Made")


def is_used_up(step: str, error: int) -> bool:
    """Tell whether a *step* of building a sandbox failed for lack of namespaces, of which there are some."""
    return step == "clone" and error in (errno.ENOSPC, errno.EUSERS) and 0 not in _limits().values()


def used_up(said: str) -> InternalError:
    """Return the error for it."""
    limits = _limits()
    least = min(limits, key=lambda name: limits[name], default="net")
    return InternalError(
        CODE,
        f"{said}: the namespaces of this user are used up",
        f"call again when others have ended, or let there be more: sysctl -w user.max_{least}_namespaces=N",
    )


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def patiently(
    attempt: Callable[[], _Made],
    make_room: Callable[[], None] = lambda: None,
    pause: Callable[[float], bool] = _sleep,
) -> _Made:
    """Return what *attempt* makes, which is tried again for PATIENCE where namespaces are used up.

    *make_room* is called after the first time; *pause* waits and tells whether it is still wanted.

    Raises:
        InternalError: CODE; and whatever *attempt* raises.
    """
    until = time.monotonic() + PATIENCE
    wants = True
    while True:
        try:
            return attempt()
        except InternalError as error:
            if error.code != CODE or not wants or time.monotonic() >= until:
                raise
        make_room()
        wants = pause(_PAUSE)


def _limits() -> dict[str, int]:
    found = {}
    for name in _NAMES:
        with contextlib.suppress(OSError, ValueError):
            found[name] = int(Path(f"/proc/sys/user/max_{name}_namespaces").read_text(encoding="ascii"))
    return found

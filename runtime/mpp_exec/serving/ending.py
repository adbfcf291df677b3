"""The end of a resident runtime: every wait has a bound, and a wait that took long is reported."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

SLOW: Final = 2.0
"""Seconds beyond which it is told what the end of the runtime waited for."""

_LOOK: Final = 0.2  # seconds between two looks at which threads still live
_TOLD: Final = 4  # places that are reported for one wait


class Ending:
    """Waits for threads, each time for so long, and remembers what for. For one thread.

    Attributes:
        told: in words, what took long.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def wait(
        self,
        what: str,
        threads: Callable[[], Iterable[threading.Thread]],
        seconds: float,
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """Wait until none of *threads* lives, *seconds* at most; return whether it came to that.

        *threads* is asked again and again, and *meanwhile* done in between.
        """
        began = time.monotonic()
        places: dict[str, None] = {}
        while alive := [thread for thread in threads() if thread.is_alive()]:
            passed = time.monotonic() - began
            if passed >= SLOW:
                places |= dict.fromkeys(place_of(thread) for thread in alive)
            if passed >= seconds:
                break
            alive[0].join(min(_LOOK, seconds - passed))
            meanwhile()
        if places:
            where = ", ".join(list(places)[:_TOLD])
            gone = "" if not alive else ", and gave up"
            self.told.append(f"waited {time.monotonic() - began:.0f} s for {what} ({where}){gone}")
        return not alive


def place_of(thread: threading.Thread) -> str:
    """Return in which function of this project *thread* is, as ``module.function``."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 -- the documented way
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if isinstance(module, str) and module.startswith("mpp_exec."):
            return f"{module.removeprefix('mpp_exec.')}.{frame.f_code.co_name}"
        frame = frame.f_back
    return thread.name

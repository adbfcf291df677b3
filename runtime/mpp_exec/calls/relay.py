"""Passes on the progress messages of a running call: bounded, redacted, and no faster than anybody reads.

Each message is redacted by itself, with the values that earlier messages of the call have shown to be
secret. A value that a tool spreads over several messages is not seen as a whole before the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mpp_exec.dialogue.session import Progress
from mpp_exec.privacy.meter import StoppedError
from mpp_exec.privacy.redact import Redactor

ShowProgress = Callable[[Progress], None]
"""Told how far a call is."""

MAX_MESSAGE: Final = 2048
"""Code points of a message about progress; of a longer one only the numbers are passed on."""

_INTERVAL: Final = 0.05  # seconds between two messages that are passed on
_MOST: Final = 2000  # messages of one call


class ProgressRelay:
    """Passes the progress of one call to *show*. If messages come too fast, the latest waits for the end."""

    def __init__(self, show: ShowProgress, redactor: Redactor, clock: Callable[[], float]) -> None:
        self._show = show
        self._redactor = redactor
        self._clock = clock
        self._count = 0
        self._next = 0.0
        self._kept: Progress | None = None

    def take(self, told: Progress) -> None:
        """Pass on *told* if it is due; otherwise keep it until a newer message comes or the call ends."""
        now = self._clock()
        self._kept = told
        if now >= self._next and self._count < _MOST:
            self._next = now + _INTERVAL
            self.finish()

    def finish(self) -> None:
        """Pass on the message that was kept, so that the last progress of a call is not lost."""
        told, self._kept = self._kept, None
        if told is not None:
            self._pass_on(told)

    def _pass_on(self, told: Progress) -> None:
        self._count += 1
        message = told.message if len(told.message) <= MAX_MESSAGE else ""
        try:
            clean = self._redactor.redact({"progress": told.progress, "total": told.total, "text": message})
        except StoppedError:
            return
        progress, total, text = (clean.value.get(name) for name in ("progress", "total", "text"))
        if isinstance(progress, int | float):  # a number that stands for somebody is text by now
            self._show(
                Progress(
                    progress,
                    total if isinstance(total, int | float) else None,
                    text if isinstance(text, str) else "",
                )
            )

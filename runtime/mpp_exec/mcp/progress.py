"""Progress of a running call, on its way to the client that asked to be told.

Source: MCP 2026-07-28, basic/patterns/progress: the token is the client's, the numbers grow, nothing comes
after the result.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Any, Final

from mpp_exec.dialogue.protocol import RequestId
from mpp_exec.dialogue.session import Progress
from mpp_exec.mcp.wire import WireClosedError

_WAITING: Final = 64
"""Notifications that may wait for a client that reads slowly; the oldest are dropped for newer ones."""


class ProgressSender:
    """Sends what it is told from a thread of its own: no call is held up by a client that does not read."""

    def __init__(self, token: RequestId, send: Callable[[Any], None]) -> None:
        self._token = token
        self._send = send
        self._changed = threading.Condition()
        self._waiting: collections.deque[Progress] = collections.deque(maxlen=_WAITING)
        self._over = False
        self._thread: threading.Thread | None = None

    def tell(self, progress: Progress) -> None:
        """Send *progress* soon."""
        with self._changed:
            if self._over:
                return
            self._waiting.append(progress)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mpp-exec progress", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no thread can be had: progress is what can be missed
                    self._thread, self._over = None, True

    def close(self, *, silent: bool) -> None:
        """Send what still waits, or nothing more; when this returns nothing comes any more."""
        with self._changed:
            self._over = True
            if silent:
                self._waiting.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._over:
                    self._changed.wait()
                if not self._waiting:
                    return
                told = self._waiting.popleft()
            try:
                self._send(self._notification(told))
            except WireClosedError:
                with self._changed:
                    self._over = True
                    self._waiting.clear()

    def _notification(self, told: Progress) -> dict[str, Any]:
        params: dict[str, Any] = {"progressToken": self._token, "progress": told.progress}
        if told.total is not None:
            params["total"] = told.total
        if told.message:
            params["message"] = told.message
        return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}

"""Calls on their way: each in a thread of its own while it runs: no tool delays another or the connection."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mpp_exec.calls.withdraw import Cancellation
from mpp_exec.consent.confirm import MOST_ASKED, Confirm, ConfirmationRequest
from mpp_exec.dialogue.protocol import RequestId
from mpp_exec.errors import ConsentError
from mpp_exec.mcp.confirming import PATIENCE
from mpp_exec.mcp.messages import Response
from mpp_exec.mcp.shares import Share
from mpp_exec.mcp.wire import WireClosedError

MAX_RUNNING: Final = 64 + MOST_ASKED
"""Calls at once, those that wait for a person beside the others; what comes beyond is told to come again."""

_ENDING: Final = 5.0
"""Seconds that calls have to end when their client has gone: a moment, unless a disk hangs."""

_KEPT: Final = 4
"""Threads that wait for another call: to start one takes longer than all else that is done for a message."""


@dataclass(eq=False)
class Call:
    """One request that is being worked on.

    ``asks`` is how it can be confirmed, ``begins`` called before anything of it runs, ``meta`` what came with
    it; ``silenced`` means that its client does not want an answer, ``moot`` that what a person is asked about
    is not any more what would be done.
    """

    request: RequestId
    asks: Confirm
    begins: Callable[[], None]
    meta: dict[str, Any] = field(default_factory=dict)
    cancellation: Cancellation = field(default_factory=Cancellation)
    silenced: bool = False
    moot: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End it; nothing more is said about it."""
        self.silenced = True
        self.over.set()
        self.cancellation.set()


_Job = tuple[Call, Callable[[Call], None]]


class _Waiting(NamedTuple):
    call: Call
    about: ConfirmationRequest
    answer: list[Any]


class Calls:
    """The calls of one connection, by the id of their requests; *share* bounds how many are open."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._none_open = threading.Condition(self._lock)
        self._running: dict[RequestId, Call] = {}
        self._open = 0  # those, and those whose answer is on its way
        self._current = threading.local()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle = 0  # threads that wait, or will in a moment, with no job on its way to them
        self._closed = False

    def __contains__(self, request: RequestId) -> bool:
        with self._lock:
            return request in self._running

    def start(self, call: Call, work: Callable[[Call], None]) -> bool:
        """Do *work* in a thread; False if there are too many already."""
        with self._lock:
            if self._open >= MAX_RUNNING or self._closed or not self._share.take():
                return False
            self._running[call.request] = call
            self._open += 1
            waits = self._idle > 0
            self._idle -= waits
        if waits:
            self._jobs.put((call, work))
            return True
        thread = threading.Thread(target=self._serve, args=((call, work),), name="mpp-exec mcp", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had
            self._forget(call)
            return False
        return True

    def close(self) -> None:
        """End every call, and the threads that wait for one; how each ended can be put on record first."""
        self.cancel_all()
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._jobs.put(None)
        with self._none_open:
            self._none_open.wait_for(lambda: self._open == 0, _ENDING)

    def cancel(self, request: RequestId) -> None:
        """End the call of *request*, if it is still on its way."""
        with self._lock:
            call = self._running.get(request)
            if call is not None:
                call.cancel()

    def leave(self, call: Call) -> bool:
        """Have *call* be over, before it is answered: its id may be another one's as soon as it is.

        Returns whether its client wants an answer. Nobody can cancel it any more.
        """
        with self._lock:
            if self._running.get(call.request) is call:
                del self._running[call.request]
            return not call.silenced

    def cancel_all(self) -> None:
        """End every call."""
        with self._lock:
            calls = list(self._running.values())
        for call in calls:
            call.cancel()

    def ask(self, request: ConfirmationRequest) -> bool:
        """Confirm the call that this thread works on: what ``Runtime`` is given to ask with."""
        call: Call = self._current.call
        return call.asks(request)

    def _serve(self, first: _Job) -> None:
        job: _Job | None = first
        while job is not None:
            self._work(*job)
            with self._lock:
                if self._closed or self._idle >= _KEPT:
                    return
                self._idle += 1
            job = None  # what it holds on to is not for as long as the next one may take
            job = self._jobs.get()

    def _work(self, call: Call, work: Callable[[Call], None]) -> None:
        self._current.call = call
        try:
            work(call)
        finally:
            del self._current.call
            self._forget(call)

    def _forget(self, call: Call) -> None:
        self.leave(call)
        call.cancellation.close()
        with self._lock:
            self._open -= 1
            self._none_open.notify_all()
        self._share.give()


class Questions:
    """Requests of ours that the client has not answered yet; what nobody waits for any more is withdrawn."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        # No answer to a question of another process, which had the same connection before, is one of ours.
        self._name = f"mpp-exec-{os.urandom(8).hex()}"
        self._count = 0
        self._closed = False
        self._waiting: dict[RequestId, _Waiting] = {}

    def close(self) -> None:
        """Withdraw none from here on: the client has gone."""
        self._closed = True

    def put(self, call: Call, about: ConfirmationRequest, method: str, params: dict[str, Any]) -> Any:
        """Send a request *about* what *call* would do, wait for the answer, and return its result.

        Raises:
            ConsentError: ``confirm.unanswered``: an error, no answer in time, or the call was cancelled;
                ``confirm.withdrawn``: :meth:`review` found that it is about nothing any more.
        """
        answered = call.over
        answer: list[Any] = []
        with self._lock:
            self._count += 1
            name = f"{self._name}-{self._count}"
            self._waiting[name] = _Waiting(call, about, answer)
        try:
            self._send({"jsonrpc": "2.0", "id": name, "method": method, "params": params})
            answered.wait(PATIENCE)
        finally:
            with self._lock:
                unanswered = self._waiting.pop(name, None) is not None
        if unanswered and not self._closed:
            self._withdraw(name)
        if call.moot:
            raise ConsentError(
                "confirm.withdrawn",
                f"what tool {about.tool} of {about.package} may do has changed since a person was asked",
                "call it again; you are then asked about what it may do by that time",
            )
        # An answer that came together with the cancellation is none any more.
        if call.silenced or not answer or answer[0] is None:
            raise ConsentError(
                "confirm.unanswered",
                "the client did not put the call before its user",
                "see to it that the client can ask, or run the call at a terminal with --confirm",
            )
        answered.clear()
        return answer[0]

    def answer(self, response: Response) -> None:
        """Take the client's answer; one to no question of ours is passed over."""
        with self._lock:
            waiting = None if response.id is None else self._waiting.pop(response.id, None)
        if waiting is not None:
            waiting.answer.append(response.result)
            waiting.call.over.set()

    def review(self, stands: Callable[[ConfirmationRequest], bool]) -> None:
        """Ask no longer about a call of which *stands* says that it would not do what was shown."""
        with self._lock:
            waiting = list(self._waiting.items())
        for name, (call, about, _) in waiting:
            if stands(about):
                continue
            with self._lock:
                if name not in self._waiting:
                    continue  # answered meanwhile; the call looks for itself
                call.moot = True
            call.over.set()

    def _withdraw(self, name: RequestId) -> None:
        """Tell the client, lest a person is asked on about a call that is over.

        Source: MCP 2026-07-28, basic/patterns/cancellation.
        """
        params = {"requestId": name, "reason": "the call that this was about is over"}
        with contextlib.suppress(WireClosedError):
            self._send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})

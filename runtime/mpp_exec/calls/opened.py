"""What a runtime holds open in one process: the home's store and ledger, caches, threads."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mpp_exec.audit.entry import Caller, Kind, PackageRef
from mpp_exec.audit.ledger import Ledger
from mpp_exec.calls.admission import Admission
from mpp_exec.calls.conversation import Conversation
from mpp_exec.calls.prepare import Preparer
from mpp_exec.calls.verifier import Verifier
from mpp_exec.calls.withdraw import Watchdog
from mpp_exec.consent.confirm import MOST_ASKED
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import InternalError, MppError
from mpp_exec.registry.home import Home, other_homes
from mpp_exec.registry.store import Store
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.ground import Grounds
from mpp_exec.sandbox.pool import Pool

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from mpp_exec.calls.result import ToolResult
    from mpp_exec.egress.broker import Broker

CLOSING: Final = 30.0
"""Seconds that everything has to end when a runtime closes; a sandbox that dies slowly has 20 of its own."""


class Opened:
    """Everything that a runtime opens at its first call, and closes when it is closed."""

    def __init__(
        self,
        home: Home,
        policies: PolicyFiles,
        clock: Callable[[], datetime],
        *,
        session: bool,
        parked: int,
        sandboxes: int,
    ) -> None:
        self.process = os.getpid()
        self.home = home
        self.store = Store(home)
        self.ledger = Ledger(home.path, self.store.key, clock=clock, begun=self.store.has_records())
        self.cache = SandboxCache(home.cache)
        self.verifier = Verifier(self.store, clock)
        self.preparer = Preparer(
            self.store,
            policies,
            functools.partial(
                Protected.of_host, home.path, others=other_homes(home.path), policies=policies.protected()
            ),
            self.cache,
            self.verifier,
        )
        self.watchdog = Watchdog(self.store.generation, policies.load)
        self.admission = Admission(sandboxes)
        self.conversation = Conversation(tokens=session)
        self.grounds = Grounds()
        self.sandboxes = Pool(
            self.cache,
            lambda: (self.store.generation(), policies.load()),
            sandboxes=parked,
            keep_images=self.verifier.images.keep,
            at_rest=self.ledger.wake,
            grounds=self.grounds,
        )
        self._broker: Broker | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._submitted = 0
        self._is_closed = False
        self._lock = threading.Lock()
        self._over = threading.Condition(self._lock)

    def broker(self) -> Broker:
        """Return the broker that connects for tools with granted hosts; it starts when first needed."""
        from mpp_exec.egress.broker import Broker  # noqa: PLC0415 -- most runtimes reach no host

        with self._lock:
            if self._broker is None:
                self._broker = Broker()
                if self._is_closed:
                    self._broker.close()
            return self._broker

    def submit(self, work: Callable[[], ToolResult]) -> Future[ToolResult]:
        """Run *work* in one of the threads of ``acall``, which are made when first needed.

        Raises:
            InternalError: ``call.busy``: too many calls wait; ``host.exhausted``: no thread can be started.
            UsageError: ``runtime.closed``.
        """
        from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415 -- not for a single call

        future: Future[ToolResult] = Future()
        with self._lock:
            self.admission.refuse_closed()
            if self._pool is None:
                # Calls that wait for a person may hold threads for hours; one is left for each place.
                workers = MOST_ASKED + max(32, self.admission.bound)
                self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="mpp-exec-call")
            if self._submitted >= self.admission.bound + self.admission.waiting:
                raise self.admission.busy(self._submitted)
            self._submitted += 1
            try:
                self._pool.submit(_done, future, work)
            except RuntimeError as error:
                # The work stays queued all the same, for a thread that becomes free; or one has taken it.
                if future.cancel():
                    self._submitted -= 1
                    raise InternalError(
                        "host.exhausted",
                        f"no thread is left for the call: {error}",
                        "try again later, or raise the limit on processes (ulimit -u)",
                    ) from error
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _future: Future[ToolResult]) -> None:
        with self._lock:
            self._submitted -= 1
            self._over.notify_all()

    def refused(self, package: str, tool: str, caller: Caller, error: MppError) -> None:
        """Record that a call of an installed package was refused before anything ran."""
        if isinstance(error, InternalError) or self._is_closed:
            return
        installed = next((each for each in self.store.installed() if each.name == package), None)
        if installed is None:
            return
        publisher = installed.name.partition("/")[0]
        reference = PackageRef(
            installed.name, installed.version, publisher, installed.key_id, installed.digest
        )
        name = self._known_tool(package, tool)
        try:
            self.ledger.event(Kind.REFUSED, caller, package=reference, tool=name, code=error.code)
        except InternalError as fault:
            # Refused because the runtime closes, and so does the ledger: the caller is to be told the former.
            if (error.code, fault.code) != ("runtime.closed", "ledger.closed"):
                raise

    def _known_tool(self, package: str, tool: str) -> str:
        """Return *tool* if the package has a tool of that name, "" otherwise.

        Any other text of the caller has not been searched for sensitive data, and the ledger keeps what is
        written to it.
        """
        try:
            _, manifest = self.preparer.manifest(package)
        except MppError:
            return ""
        return tool if manifest.tool(tool) is not None else ""

    def call_is_over(self) -> None:
        """Start work that was deferred during a call: soon, but not while the caller handles the result."""
        if not self.sandboxes.call_is_over():
            self.ledger.wake()

    def close(self) -> None:
        """End running calls, write pending records to the ledger, and close everything.

        Work that does not end in time is left behind. It finds everything closed, can begin nothing, hands
        nobody anything, and ends with the process.

        Raises:
            InternalError: ``runtime.hangs``, with what hangs; or as ``Ledger.close``. Everything is closed
                all the same.
        """
        until = time.monotonic() + CLOSING
        hung: list[str] = []

        def wait(what: str, close: Callable[[float], bool]) -> None:
            if not close(until):
                hung.append(what)

        # Close from the last to the first, and close all of them even if a Ctrl-C ends one.
        with contextlib.ExitStack() as stack:
            stack.callback(self.store.close)
            stack.callback(self.ledger.close)
            stack.callback(self._close_broker)
            stack.callback(wait, "the image of a package", self.verifier.images.close)
            stack.callback(self.grounds.close)
            stack.callback(wait, "prepared sandboxes", self.sandboxes.close)
            stack.callback(wait, "calls of tasks", self._tasks_end)
            stack.callback(self.conversation.close)
            stack.callback(wait, "calls", self.watchdog.close)
            stack.callback(self.admission.close)
        if hung:
            raise InternalError(
                "runtime.hangs",
                f"the runtime is closed, and did not see the end of: {', '.join(hung)}",
                "end this process; what waits for a person, a disk or a server there ends with it",
            )

    def _close_broker(self) -> None:
        with self._lock:
            self._is_closed = True
            broker = self._broker
        if broker is not None:
            broker.close()

    def _tasks_end(self, until: float) -> bool:
        """Wait for submitted work, and end the threads; return whether all of it has ended."""
        with self._lock:
            in_time = self._over.wait_for(lambda: self._submitted == 0, max(0.0, until - time.monotonic()))
        if self._pool is not None:
            self._pool.shutdown(wait=in_time)
        return in_time


def _done(future: Future[ToolResult], work: Callable[[], ToolResult]) -> None:
    """Do *work* unless it is no longer wanted, and set its *future*."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 -- handed to the waiting caller
            future.set_exception(error)

"""The tools of a home as one connection sees them: listed, called, watched for changes.

Imported when a client first asks for tools: a server that is only started answers before it has loaded the
runtime.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mpp_exec.calls.result import ToolResult
from mpp_exec.consent.confirm import Confirm, ConfirmationRequest
from mpp_exec.dialogue.protocol import RequestId, is_id
from mpp_exec.dialogue.tracing import trace_context
from mpp_exec.errors import InternalError, MppError
from mpp_exec.lifecycle.confirming import OutOfBand
from mpp_exec.mcp import catalog
from mpp_exec.mcp.calling import Call, Calls, Questions
from mpp_exec.mcp.confirming import BadStateError, InputRequiredError, Legacy, Modern, Proofs
from mpp_exec.mcp.messages import (
    ERROR_KEY,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_CAPABILITY,
    Era,
    Request,
    Response,
    RpcError,
    refused,
)
from mpp_exec.mcp.progress import ProgressSender
from mpp_exec.mcp.shares import Share
from mpp_exec.mcp.wire import WireClosedError
from mpp_exec.pipeline import Host
from mpp_exec.registry.pending import Asker


class Ends(NamedTuple):
    """What is called at the moments of a ``tools/call``, from its own thread.

    ``begins`` before anything of it runs, and what it raises ends it; then ``finish`` with its result,
    ``fail`` with an error or ``silent`` where its client wants no answer.
    """

    begins: Callable[[], None]
    finish: Callable[[dict[str, Any]], None]
    fail: Callable[[RpcError], None]
    silent: Callable[[], None]


Open = Callable[[Confirm, str], Host]
"""Opens a home, given what confirms calls and the name of the client."""


class Tools:
    """The home that *open_host* opens, for one connection. *send* takes messages from any thread.

    *share* bounds how many calls it has open at once.
    """

    def __init__(
        self,
        open_host: Open,
        packages: Sequence[str],
        client: str,
        send: Callable[[Any], None],
        share: Share,
    ) -> None:
        self._packages = tuple(packages)
        self._send = send
        self._calls = Calls(share)
        self._questions = Questions(send)
        self._runtime = open_host(self._calls.ask, client or "mcp")
        self._principal = f"uid {os.getuid()}"
        self._proofs = Proofs(self._runtime.store.key)
        # Another connection of the same client is another asker: what its user answered is not for it.
        asker = Asker(self._principal, os.urandom(16).hex(), client or "mcp")
        self._out_of_band = OutOfBand(self._runtime, asker)
        self._catalog = catalog.build(self._runtime, self._packages)
        self._seen = self._catalog.fingerprint

    def __contains__(self, request: RequestId) -> bool:
        return request in self._calls

    def close(self) -> None:
        """End every call and let the home go."""
        self._questions.close()
        self._calls.close()
        self._runtime.close()

    def left_out(self) -> tuple[str, ...]:
        """Return a line for each package that is not offered."""
        return self._catalog.left_out

    def changed(self) -> bool:
        """Look at what is installed and approved, and tell whether a list would show something else now.

        Raises:
            MppError: the home cannot be read.
        """
        self._renew()
        now = self._catalog.fingerprint
        before, self._seen = self._seen, now
        return now != before

    def review(self) -> None:
        """Withdraw the questions about calls that would not be what was shown to a person.

        A package that was revoked, or updated, or whose grant or policy is another one by now.
        """
        self._questions.review(self._stands)

    def page(self, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """Return one page of the list, and the cursor of the next.

        Raises:
            RpcError: the cursor is none.
            MppError: the home cannot be read.
        """
        if cursor is None:
            self._catalog = catalog.build(self._runtime, self._packages)
        try:
            return self._catalog.page(cursor)
        except KeyError:
            raise RpcError(INVALID_PARAMS, "this cursor was not given out by this server") from None

    def cancel(self, request: RequestId) -> None:
        """End a call; its client is told nothing more about it."""
        self._calls.cancel(request)

    def answered(self, response: Response) -> None:
        """Take the client's answer to a question."""
        self._questions.answer(response)

    def call(self, era: Era, request: Request, ends: Ends) -> None:
        """Begin a ``tools/call``; *ends* is told how it ends, from another thread.

        Raises:
            RpcError: it names no tool, or is no call; nothing has begun.
        """
        name, arguments = request.params.get("name"), request.params.get("arguments")
        arguments = {} if arguments is None else arguments  # some clients write null for what they leave out
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise RpcError(INVALID_PARAMS, "tools/call needs a name and, as arguments, an object")
        offered = self._offered(name)
        assert request.id is not None
        call = Call(request.id, self._out_of_band.ask, ends.begins, request.meta)
        call.asks = self._asks(era, request, call)
        token = request.meta.get("progressToken")
        progress = ProgressSender(token, self._send) if token is not None and is_id(token) else None

        def work(call: Call) -> None:
            with contextlib.suppress(WireClosedError):
                try:
                    said = functools.partial(ends.finish, self._run(era, offered, arguments, call, progress))
                except RpcError as error:
                    said = functools.partial(ends.fail, error)
                if self._calls.leave(call):
                    said()
                else:
                    ends.silent()

        if not self._calls.start(call, work):
            call.cancellation.close()
            ends.finish(refused("call.busy", "too many calls are open already", "try again later"))

    def _run(
        self,
        era: Era,
        offered: catalog.Offered,
        arguments: dict[str, Any],
        call: Call,
        progress: ProgressSender | None,
    ) -> dict[str, Any]:
        try:
            result = self._runtime.call(
                offered.package,
                offered.tool,
                arguments,
                cancellation=call.cancellation,
                progress=None if progress is None else progress.tell,
                trace_context=trace_context(call.meta),
                begins=call.begins,
            )
        except InputRequiredError as asked:
            return asked.result | {"resultType": "input_required"}
        except BadStateError as error:
            raise RpcError(INVALID_PARAMS, f"{error.message}: {error.hint}") from None
        except InternalError as error:
            raise RpcError.of(error) from error
        except MppError as error:
            self._require_offered(offered)
            if era.modern and error.code == "confirm.pending":
                raise _cannot_ask(error) from error
            return refused(error.code, error.message, error.hint)
        except (RpcError, WireClosedError):
            raise
        except Exception as error:  # a fault of ours: the client is told, and the connection goes on
            raise RpcError(INTERNAL_ERROR, f"this server failed: {type(error).__name__}") from error
        finally:
            if progress is not None:
                progress.close(silent=call.silenced)
        return _said(result)

    def _asks(self, era: Era, request: Request, call: Call) -> Confirm:
        otherwise = self._out_of_band.ask
        if not era.can_ask():
            return otherwise
        if not era.modern:
            return Legacy(
                lambda about, method, params: self._questions.put(call, about, method, params),
                lambda: call.silenced or call.moot,
                otherwise,
            ).ask
        return Modern(
            self._proofs,
            self._principal,
            request.params.get("requestState"),
            request.params.get("inputResponses"),
        ).ask

    def _stands(self, about: ConfirmationRequest) -> bool:
        try:
            manifest, grant = self._runtime.preparer.offered(about.package)
        except InternalError:
            return True  # nobody knows; the call itself looks once more before anything runs
        except MppError:
            return False
        if all(tool.name != about.tool for tool in manifest.tools):
            return False
        return about == ConfirmationRequest.of_call(grant, about.tool, about.arguments, about.receives)

    def _offered(self, name: str) -> catalog.Offered:
        """Return the tool of this name, as it was last looked at; its call looks at the home itself.

        Raises:
            RpcError: there is none.
        """
        if name not in self._catalog.tools:
            self._renew()
        if name not in self._catalog.tools:
            raise RpcError(INVALID_PARAMS, "there is no tool of this name")
        return self._catalog.tools[name]

    def _require_offered(self, refused: catalog.Offered) -> None:
        """Look whether a tool whose call was refused is there at all by now.

        Raises:
            RpcError: it was withdrawn, or the home cannot be read.
        """
        try:
            self._renew()
        except MppError as error:
            raise RpcError.of(error) from error
        self._offered(refused.shown["name"])

    def _renew(self) -> None:
        if self._runtime.store.generation() != self._catalog.generation:
            self._catalog = catalog.build(self._runtime, self._packages)


def _said(result: ToolResult) -> dict[str, Any]:
    """Return the result, with what a person would read on stderr where the tool itself says nothing of it."""
    return result.to_call_tool_result() | {"content": result.told()}


def _cannot_ask(error: MppError) -> RpcError:
    """Return what a client of 2026-07-28 is told that would have been asked, had it said that it can."""
    return RpcError(
        MISSING_CAPABILITY,
        f"{error.message}; {error.hint}",
        {
            "requiredCapabilities": {"elicitation": {"form": {}}},
            ERROR_KEY: {"code": error.code, "hint": error.hint},
        },
    )

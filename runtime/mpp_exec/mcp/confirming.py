"""Confirmation on the wire: the client puts one call before its user, and nothing else can answer.

A client of an earlier version is sent ``elicitation/create`` while the call waits. One of 2026-07-28 is
answered ``input_required`` with a sealed ``requestState``, and sends the call once more with its user's
answer. The state is bound to all that was shown (the package's digest, the tool, the arguments, what it can
reach), the principal, this process and a time; it is good for one call. Nothing in arguments or state
confirms anything by itself: the answer is the client's, in a place that the model does not write to.

Source: MCP 2026-07-28, client/elicitation and basic/patterns/mrtr.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.consent.confirm import Confirm, ConfirmationRequest
from mpp_exec.errors import ConsentError, PackageError
from mpp_exec.trust.keys import HomeKey, SealError, open_sealed, random_bytes, seal

PATIENCE: Final = 600.0
"""Seconds that a person has to answer."""

MAX_OPEN: Final = 1000
"""Questions that may be open at once; the oldest is forgotten, and its call asked about anew."""

KEY: Final = "confirm"

_EVERY: Final = "Later ones are not asked about, whatever their arguments, until the approval changes"
_PURPOSE: Final = "mcp-request-state"
_MAX_STATE: Final = 4096


class InputRequiredError(ConsentError):
    """The call has to be sent again with a person's answer; ``result`` says so on the wire.

    Like every other refusal it is put on record: that somebody was asked is a fact about the call.
    """

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(
            "confirm.asked", "a person is asked about this call first", "send it again with the answer"
        )
        self.result = result


class BadStateError(ConsentError):
    """What came along as ``requestState`` proves nothing."""

    def __init__(self) -> None:
        super().__init__(
            "confirm.bad_state",
            "this requestState was used, is too old, belongs to another call, or was not made by this server",
            "send the call without it to be asked again",
        )


def question(request: ConfirmationRequest) -> dict[str, Any]:
    """Return the params of ``elicitation/create`` for *request*: all of the call, and one box to tick.

    Raises:
        ConsentError: ``confirm.too_large``: nobody could look at all of it.
    """
    every = request.is_remembered
    return {
        "message": request.text(),
        "requestedSchema": {
            "type": "object",
            "properties": {
                KEY: {
                    "type": "boolean",
                    "title": "Run this call, and all later ones of this tool" if every else "Run this call",
                    "description": _EVERY if every else "Once, with exactly these arguments",
                    "default": False,
                }
            },
            "required": [KEY],
        },
    }


def agreed(answer: Any) -> bool:
    """Tell whether *answer*, an ElicitResult, is a yes. Everything else is a no."""
    if not isinstance(answer, dict) or answer.get("action") != "accept":
        return False
    content = answer.get("content")
    return isinstance(content, dict) and content.get(KEY) is True


class Proofs:
    """The questions this process has open with clients of 2026-07-28. Safe for threads."""

    def __init__(self, key: HomeKey, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key.derive(_PURPOSE)
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[bytes, float] = {}

    def issue(self, request: ConfirmationRequest, principal: str) -> str:
        """Return the ``requestState`` of a question about *request*."""
        nonce = random_bytes(16)
        now = self._clock()
        with self._lock:
            for old in [each for each, until in self._open.items() if until <= now]:
                del self._open[old]
            while len(self._open) >= MAX_OPEN:
                del self._open[next(iter(self._open))]
            self._open[nonce] = now + PATIENCE
        sealed = seal(self._key, encoding.dumps({"nonce": nonce, "call": _call(request, principal)}))
        return base64.urlsafe_b64encode(sealed).decode()

    def redeem(self, state: Any, request: ConfirmationRequest, principal: str) -> None:
        """Take *state* as the proof that this very call was put before a person; it cannot be used again.

        Raises:
            BadStateError: it is none of this process's, was used, is too old, or is about another call.
        """
        nonce, call = self._opened(state)
        with self._lock:
            until = self._open.pop(nonce, None)
        if until is None or until <= self._clock() or call != _call(request, principal):
            raise BadStateError

    def _opened(self, state: Any) -> tuple[bytes, Any]:
        if not isinstance(state, str) or len(state) > _MAX_STATE:
            raise BadStateError
        try:
            sealed = base64.b64decode(state, altchars=b"-_", validate=True)
            value = encoding.loads(open_sealed(self._key, sealed), max_size=_MAX_STATE)
        except (binascii.Error, ValueError, SealError, PackageError):
            raise BadStateError from None
        return value["nonce"], value["call"]


def _call(request: ConfirmationRequest, principal: str) -> dict[str, Any]:
    return {
        "shown": encoding.sha256_digest(encoding.dumps(request.to_map())),
        "principal": principal,
        "process": os.getpid(),
    }


@dataclass(frozen=True, slots=True)
class Modern:
    """How a call of 2026-07-28 is confirmed: what its client sent along."""

    proofs: Proofs
    principal: str
    state: Any
    responses: Any

    def ask(self, request: ConfirmationRequest) -> bool:
        """Return the person's answer, if this is the second time that the call is sent.

        Raises:
            InputRequiredError: it is the first time.
            BadStateError: what came along is no proof.
        """
        asked = question(request)
        if self.state is None:
            raise InputRequiredError(
                {
                    "inputRequests": {
                        KEY: {"method": "elicitation/create", "params": {"mode": "form", **asked}}
                    },
                    "requestState": self.proofs.issue(request, self.principal),
                }
            )
        self.proofs.redeem(self.state, request, self.principal)
        return agreed(self.responses.get(KEY) if isinstance(self.responses, Mapping) else None)


@dataclass(frozen=True, slots=True)
class Legacy:
    """How a call of an earlier version is confirmed: by a request to its client, which *send* makes.

    A client that says it can ask, and then does not, is treated like one that cannot: *otherwise*.
    """

    send: Callable[[ConfirmationRequest, str, dict[str, Any]], Any]
    is_over: Callable[[], bool]
    otherwise: Confirm

    def ask(self, request: ConfirmationRequest) -> bool:
        """Return the person's answer.

        Raises:
            ConsentError: the call was cancelled, or would do something else by now; it cannot be shown; or
                as ``otherwise`` does.
        """
        asked = question(request)
        try:
            answer = self.send(request, "elicitation/create", asked)
        except ConsentError:
            if self.is_over():
                raise
            return self.otherwise(request)
        return agreed(answer)

"""What is asked of a resident runtime by whoever looks after it: how it is, and to end."""

from __future__ import annotations

from contextlib import suppress

from mpp_exec.errors import ConsentError, InternalError
from mpp_exec.serving.place import Place
from mpp_exec.serving.service import ENDING
from mpp_exec.serving.visit import PATIENCE, PROMPT
from mpp_exec.serving.wire import DONE, OUT, QUIT, STATUS, Frames, WireError


def ask_status(place: Place) -> bytes | None:
    """Return what the runtime in *place* says of itself, a JSON object; None where none is there.

    Raises:
        ConsentError: ``serve.owner``.
        InternalError: ``serve.io``, ``serve.silent``: it does not answer.
    """
    return _ask(place, STATUS)


def ask_to_end(place: Place) -> bool:
    """End the runtime in *place*, and wait until it has; False where none is there.

    Raises:
        as :func:`ask_status`.
    """
    return _ask(place, QUIT) is not None


def _ask(place: Place, letter: bytes) -> bytes | None:
    connection = place.connect(PROMPT)
    if connection is None:
        return None
    with connection:
        frames = Frames(connection)
        try:
            frames.send(letter, b"", PROMPT)
            _, answer = frames.receive(OUT + DONE, PROMPT)
        except WireError as error:
            raise InternalError(
                "serve.silent", f"the resident runtime does not answer: {error}", "end its process"
            ) from None
        if letter == QUIT:
            with suppress(WireError):  # the end of the connection is the end of the process
                frames.receive(DONE, ENDING + PATIENCE)
    return answer


def second(home: str) -> ConsentError:
    """Return the error for a home that has a resident runtime."""
    return ConsentError(
        "serve.running", f"{home} has a resident runtime already", "mpp-exec serve --status tells of it"
    )

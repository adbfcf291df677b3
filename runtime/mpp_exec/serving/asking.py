"""What is asked of a resident runtime by whoever looks after it: how it is, and to end.

It answers processes that could look at it, and end it, without its help.
"""

from __future__ import annotations

from contextlib import suppress

from mpp_exec.errors import ConsentError, InternalError
from mpp_exec.serving.peer import PROOF, peer_of
from mpp_exec.serving.place import Place
from mpp_exec.serving.service import ENDING, TAKEN
from mpp_exec.serving.visit import PATIENCE, PROMPT
from mpp_exec.serving.wire import AWAY, BEGIN, DONE, GO, OUT, QUIT, STATUS, Frames, WireError


def ask_status(place: Place) -> bytes | None:
    """Return the status of the runtime in *place*, a JSON object; None if there is no runtime.

    Raises:
        ConsentError: ``serve.owner``, ``serve.confined``: it does not answer this process.
        InternalError: ``serve.io``, ``serve.silent``: it does not answer; ``serve.busy``: nor is there room.
    """
    return _ask(place, STATUS)


def ask_to_end(place: Place) -> bool:
    """End the runtime in *place*, and wait until it has ended; return False if there is none.

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
        pid = peer_of(connection).pid
        try:
            frames.send(letter, b"", PROMPT)
            said, answer = frames.receive(AWAY + BEGIN + OUT + DONE, PROMPT)  # of an older version, no B
            if said == BEGIN:
                frames.send(GO, _proof(pid, answer), PROMPT)
                said, answer = frames.receive(AWAY + OUT + DONE, PROMPT)
            if said == AWAY:
                raise _busy() if answer == TAKEN.encode() else _confined(pid)
        except WireError as error:
            raise InternalError(
                "serve.silent", f"the resident runtime does not answer: {error}", "end its process"
            ) from None
        if letter == QUIT:
            with suppress(WireError):  # the end of the connection is the end of the process
                frames.receive(DONE, ENDING + PATIENCE)
    return answer


def _proof(pid: int, name: bytes) -> bytes:
    """Return what the runtime holds under the descriptor that it named."""
    try:
        with open(f"/proc/{pid}/fd/{int(name)}", "rb") as file:  # noqa: PTH123 -- no path of the disk
            return file.read(PROOF)
    except (OSError, ValueError):
        raise _confined(pid) from None


def _busy() -> InternalError:
    return InternalError("serve.busy", "the resident runtime has more clients than it may have", "ask again")


def _confined(pid: int) -> ConsentError:
    return ConsentError(
        "serve.confined",
        "the resident runtime does not answer a process that has other rights than it, or is in a sandbox",
        f"ask from where it was started, or end process {pid}" if pid else "ask from where it was started",
    )


def second(home: str) -> ConsentError:
    """Return the error for a home that has a resident runtime."""
    return ConsentError(
        "serve.running", f"{home} has a resident runtime already", "mpp-exec serve --status tells of it"
    )

"""What many verbs begin with: opening the home, reading a file that was named, asking for a passphrase."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mpp_exec import __version__
from mpp_exec.cli.terminal import Terminal
from mpp_exec.errors import ConsentError, UsageError

if TYPE_CHECKING:
    from mpp_exec.cli.console import Console
    from mpp_exec.lifecycle.session import Session
    from mpp_exec.package.archive import UnverifiedPackage
    from mpp_exec.trust.keyfiles import KeyFolder
    from mpp_exec.trust.keys import SigningKey

CLIENT: Final = f"mpp-exec {__version__}"
"""What the ledger is told of who asks."""
_CHUNK: Final = 1 << 18


def open_session(given: argparse.Namespace) -> Session:
    """Open the home that was named, or the user's own."""
    from mpp_exec.lifecycle.session import Session, resolve_path  # noqa: PLC0415 -- not for --help

    return Session(resolve_path(given.home), client=CLIENT)


@contextmanager
def open_named(word: str, console: Console, session: Session) -> Iterator[tuple[UnverifiedPackage, str]]:
    """Open the package file *word*, or what it is the name of in a registry.

    Yields it, and its name by digest in that registry, "" for a file.

    Raises:
        as ``open_package``, or ``lifecycle.distributing.arriving``.
    """
    from mpp_exec.distribution.reference import is_reference, parse  # noqa: PLC0415 -- not for --help
    from mpp_exec.package.archive import open_package  # noqa: PLC0415

    if not is_reference(word):
        with open_package(word) as package:
            yield package, ""
        return
    from mpp_exec.lifecycle.distributing import arriving  # noqa: PLC0415 -- a file needs no network

    reference = parse(word)
    with ExitStack() as stack:
        with console.progress("pulling") as progress:
            arrived = arriving(session, reference, environ=os.environ, progress=progress)
            package, pinned = stack.enter_context(arrived)
        if not reference.digest:
            console.note(f"{reference} is {pinned}")
        yield package, str(pinned)


def read_input(name: str, limit: int, what: str) -> bytes:
    """Return the contents of the file *name*, ``-`` for standard input; at most *limit* bytes.

    Raises:
        UsageError: ``input.unreadable`` or ``input.too_large``; *what* names the thing.
    """
    try:
        if name == "-":
            data = sys.stdin.buffer.read(limit + 1) if sys.stdin is not None else b""
        else:
            data = _read_file(name, limit)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            "input.unreadable", f"{what} cannot be read from {name}: {reason}", "check the path and its mode"
        ) from None
    if len(data) > limit:
        raise UsageError(
            "input.too_large", f"{what} has more than {limit} bytes", "that is the most there may be"
        )
    return data


def read_chunks(what: str) -> Iterator[bytes]:
    """Yield what comes in on standard input, as it comes; *what* names it.

    Raises:
        UsageError: ``input.unreadable``.
    """
    if sys.stdin is None:
        return
    source: Any = sys.stdin.buffer  # a BufferedReader, which the type of stdin does not say
    try:
        while chunk := source.read1(_CHUNK):
            yield chunk
    except OSError as error:
        raise UsageError(
            "input.unreadable", f"{what} cannot be read from -: {error.strerror}", "check where it comes from"
        ) from None


def _read_file(name: str, limit: int) -> bytes:
    # A pipe is welcome here (process substitution of a shell), so opening may wait for its writer.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise UsageError("input.unreadable", f"{name} is a folder", "name a file")
        return file.read(limit + 1)


def new_passphrase() -> str:
    """Ask twice for a passphrase.

    Raises:
        ConsentError: ``key.no_terminal``.
        UsageError: ``key.passphrases_differ``, ``key.empty_passphrase``.
    """
    with Terminal.opened() as terminal:
        if terminal is None:
            raise ConsentError(
                "key.no_terminal", "there is no terminal to ask for a passphrase", "run it at a terminal"
            )
        first = terminal.secret("Passphrase for the new key:")
        if not first:
            raise UsageError(
                "key.empty_passphrase",
                "the passphrase is empty",
                "leave --passphrase out to store the key plain",
            )
        if terminal.secret("The same again:") != first:
            raise UsageError("key.passphrases_differ", "the two passphrases differ", "try again")
    return first


def load_key(keys: KeyFolder, publisher: str) -> SigningKey:
    """Return the private key of *publisher*, asking for its passphrase at the terminal if it has one."""
    return unlocked(publisher, keys.load)


def unlocked(publisher: str, load: Callable[[str, str | None], SigningKey]) -> SigningKey:
    """Return what *load* does for *publisher*, asking for the passphrase at the terminal if there is one."""
    try:
        return load(publisher, None)
    except ConsentError as error:
        if error.code != "key.needs_passphrase":
            raise
        with Terminal.opened() as terminal:
            if terminal is None:
                raise
            passphrase = terminal.secret(f"Passphrase for the key of {publisher}:")
    return load(publisher, passphrase)


def folder_of(text: str) -> Path:
    """Return a path as typed, absolute, so that messages name it in full."""
    return Path(os.path.abspath(text))  # noqa: PTH100 -- links stay as they are

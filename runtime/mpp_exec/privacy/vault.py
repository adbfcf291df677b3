"""Tokens: what a model may hand from one tool to another without seeing what it stands for.

A token is made from its value by a keyed hash, so it is the same for the same value for as long as a
session lasts, and says nothing of it to anybody without the key. The key is random, is made for one
session and lies in no file: a token of another session, agent or home is only text here.

Values are held in memory only. A session is one process and ends with it, so nothing is ever read back,
and what is not written has no file to be stolen, no key to be lost and no copy in a backup.

What the hash alone does not give back, the vault does, and only to a call that is granted the kind. An
unknown token, one that has expired, one of another kind and one whose letters were changed are all the
same to it: text that is passed on.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple, NoReturn

from mpp_exec.errors import UsageError
from mpp_exec.patterns import lazily
from mpp_exec.privacy.finding import LETTERS, LETTERS_OF_A_TOKEN, TOKEN
from mpp_exec.privacy.received import Received

LIFETIME: Final = 3600.0
"""Seconds for which a value is kept after a result last showed its token."""

MAX_TOKENS: Final = 16_384
"""Tokens of one package that are kept at once; the one that was longest not shown is forgotten first."""

MAX_BYTES: Final = 8 << 20
"""Code points of all values of one package that are kept at once."""

MAX_VALUE: Final = 16 << 10
"""Code points of one value. A longer one gets no token."""

MAX_HANDED: Final = 64
"""Values that one package was handed and that its later results are searched for, the last of them."""

_KEY_SIZE: Final = 32
_FITS: Final = lazily(TOKEN)
_START: Final = "["


class _Kept(NamedTuple):
    kind: str
    value: str
    until: float


class Vault:
    """The values behind the tokens of one session. Thread-safe.

    What one package makes of it never costs another a token: each has a shelf of its own, with bounds.

    Args:
        clock: seconds that pass also while the machine sleeps.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._key = os.urandom(_KEY_SIZE)
        self._clock = clock or functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}
        self._handed: dict[str, OrderedDict[tuple[str, str], None]] = {}

    def token(self, package: str, kind: str, value: str) -> str:
        """Return the token of *value*, which a result of *package* holds; "" if it can have none."""
        if not value or len(value) > MAX_VALUE:
            return ""
        token = f"[{kind.upper()}:{self._letters(kind, value)}]"
        now = self._clock()
        with self._lock:
            self._shelves.setdefault(package, _Shelf()).put(token, _Kept(kind, value, now + LIFETIME), now)
        return token

    def receive(self, arguments: Any, kinds: Collection[str], *, max_size: int) -> Received:
        """Replace the tokens of *kinds* in the strings of *arguments*, a JSON value; keys are left alone.

        Raises:
            UsageError: ``arguments.too_large``: with the values in their places the strings have more than
                *max_size* code points. Tokens are short, and many of one value would be without bound.
        """
        replacing = _Replacing(self._known(), kinds, max_size)
        value = replacing.replaced(arguments)
        return Received(value, replacing.tokens, tuple(replacing.values))

    def handed(self, package: str, values: Collection[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Note that *package* is handed *values* now, and return these and what it was handed before.

        A tool can keep what it was given, and say it when it is called without.
        """
        with self._lock:
            known = self._handed.setdefault(package, OrderedDict()) if values else self._handed.get(package)
            if known is None:
                return ()
            for each in values:
                known[each] = None
                known.move_to_end(each)
            while len(known) > max(MAX_HANDED, len(values)):
                known.popitem(last=False)
            return tuple(known)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._shelves.clear()
            self._handed.clear()

    def _letters(self, kind: str, value: str) -> str:
        import hashlib  # noqa: PLC0415 -- loads OpenSSL, and few policies make tokens

        message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(message, key=self._key, digest_size=32).digest(), "big")
        letters = []
        for _ in range(LETTERS_OF_A_TOKEN):
            number, letter = divmod(number, len(LETTERS))
            letters.append(LETTERS[letter])
        return "".join(letters)

    def _known(self) -> Callable[[str], _Kept | None]:
        now = self._clock()

        def find(token: str) -> _Kept | None:
            with self._lock:
                for shelf in self._shelves.values():
                    kept = shelf.find(token, now)
                    if kept is not None:
                        return kept
            return None

        return find

    def __repr__(self) -> str:
        return "<Vault>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault is not to be pickled")


class _Shelf:
    """What the results of one package have shown, the last at the end."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0

    def put(self, token: str, kept: _Kept, now: float) -> None:
        """Keep a value, or keep it longer; forget what has expired, and the oldest beyond the bounds."""
        old = self._kept.pop(token, None)
        self._size += len(kept.value) - (len(old.value) if old is not None else 0)
        self._kept[token] = kept
        while (first := next(iter(self._kept))) != token:
            # In the order in which they expire.
            full = len(self._kept) > MAX_TOKENS or self._size > MAX_BYTES
            if not full and self._kept[first].until > now:
                break
            self._size -= len(self._kept.pop(first).value)

    def find(self, token: str, now: float) -> _Kept | None:
        """Return what *token* stands for, None if it stands for nothing any more."""
        kept = self._kept.get(token)
        return kept if kept is not None and kept.until > now else None


class _Replacing:
    """One pass over arguments."""

    def __init__(self, find: Callable[[str], _Kept | None], kinds: Collection[str], max_size: int) -> None:
        self._find = find
        self._kinds = frozenset(kinds)
        self._left = max_size
        self.tokens: dict[str, str] = {}
        self.values: dict[tuple[str, str], None] = {}

    def replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if _START in value else value
        if isinstance(value, list):
            return [self.replaced(item) for item in value]
        if isinstance(value, dict):
            return {key: self.replaced(item) for key, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        # What was put in is not read again: a value that looks like a token stays what it is.
        replaced = _FITS.sub(self._value, text)
        self._left -= len(replaced)
        self._require_room()
        return replaced

    def _value(self, match: re.Match[str]) -> str:
        token = match[0]
        # Looked up whatever may be received, so that no answer is quicker than another.
        kept = self._find(token)
        if kept is None or kept.kind not in self._kinds:
            return token
        self.tokens[token] = kept.kind
        self.values[kept.kind, kept.value] = None
        self._left -= len(kept.value)
        self._require_room()
        return kept.value

    def _require_room(self) -> None:
        if self._left < 0:
            raise UsageError(
                "arguments.too_large",
                "with the values in the places of their tokens the arguments are too large",
                "use each token once, or in fewer calls",
            )

"""Strict reading of tables: every key known, present and of its type, or an error that names it.

Both doors through which a manifest enters, ``mpp.toml`` and the signed CBOR map, read with
:class:`Fields` and check with the same rules. Either turns :class:`FieldError` into an error of
its own: the author's mistake or the package's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from mpp_exec.vocabulary import VocabularyError, refuse_forbidden

MAX_ENTRIES: Final = 256
"""Entries of one list."""

_T = TypeVar("_T")


class FieldError(ValueError):
    """One thing wrong with one key. ``key`` is a path such as ``tools[0].name``, empty for the whole."""

    def __init__(self, reason: str, key: str, message: str, hint: str = "") -> None:
        super().__init__(reason, key, message, hint)
        self.reason = reason
        self.key = key
        self.message = message
        self.hint = hint


def at(key: str, function: Callable[[str], _T], text: str) -> _T:
    """Return ``function(text)``; a word it cannot read becomes an error of *key*."""
    try:
        return function(text)
    except VocabularyError as error:
        raise FieldError(error.reason, key, f"is wrong: {error.message}", error.hint) from None


def exact(key: str, function: Callable[[str], _T], text: str) -> _T:
    """As :func:`at`; *text* must be the canonical spelling of its value."""
    value = at(key, function, text)
    if str(value) != text:
        raise FieldError("not_canonical", key, f"is {text!r}, whose canonical form is {str(value)!r}")
    return value


def join(where: str, name: str) -> str:
    """Return the path of key *name* in the table at *where*."""
    return f"{where}.{name}" if where else name


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names what *word* was probably meant to be, or everything it could be."""
    import difflib  # noqa: PLC0415 -- only for a mistake

    candidates = list(known)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(candidates)}"


_MISSING: Final = object()
_NAMES: Final = {
    str: "text",
    int: "an integer",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    bytes: "bytes",
}


class Fields:
    """A table whose keys are taken one by one; what is not in *known* is refused at once.

    A key without a *default* is required. Values are returned as they are: no coercion, and a bool
    is no integer.
    """

    def __init__(self, value: Any, where: str, known: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise FieldError("wrong_type", where, f"must be a table, not {kind_of(value)}")
        for key in value:
            if key not in known:
                raise FieldError(
                    "unknown_key", join(where, str(key)), "is not a known key", nearest(str(key), known)
                )
        self._value = value
        self.where = where

    def key(self, name: str) -> str:
        """Return the full path of *name*, for an error."""
        return join(self.where, name)

    def has(self, name: str) -> bool:
        """Return whether the table has *name*."""
        return name in self._value

    def take(self, name: str, kind: type, default: Any = _MISSING) -> Any:
        """Return the value of *name*, which must be exactly of type *kind*."""
        value = self._value.get(name, _MISSING)
        if value is _MISSING:
            if default is _MISSING:
                raise FieldError("missing_key", self.key(name), "is required")
            return default
        if type(value) is not kind:
            hint = "put it in quotes" if kind is str and type(value) in (int, float, bool) else ""
            raise FieldError(
                "wrong_type", self.key(name), f"must be {_NAMES[kind]}, not {kind_of(value)}", hint
            )
        return value

    def text(self, name: str, default: Any = _MISSING) -> str:
        """Return a text."""
        value: str = self.take(name, str, default)
        return value

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        """Return a boolean."""
        value: bool = self.take(name, bool, default)
        return value

    def integer(self, name: str) -> int:
        """Return an integer."""
        value: int = self.take(name, int)
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: Any = _MISSING) -> Any:
        """Return a text that is one of *choices*."""
        value = self.text(name, default)
        if value not in choices:
            raise FieldError("unknown_word", self.key(name), f"cannot be {value!r}", nearest(value, choices))
        return value

    def texts(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self.take(name, list, default)
        for index, value in enumerate(values):
            if type(value) is not str:
                raise FieldError(
                    "wrong_type", f"{self.key(name)}[{index}]", f"must be text, not {kind_of(value)}"
                )
        return tuple(values)

    def optional(self, name: str, kind: type) -> Any:
        """Return the value of *name*, of type *kind* or None; the key itself is required."""
        if self.has(name) and self._value[name] is None:
            return None
        return self.take(name, kind)

    def any(self, name: str, default: Any = _MISSING) -> Any:
        """Return the value of *name*, whatever it is."""
        value = self._value.get(name, default)
        if value is _MISSING:
            raise FieldError("missing_key", self.key(name), "is required")
        return value


def kind_of(value: Any) -> str:
    """Name the type of a CBOR or TOML *value* for a person."""
    if value is None:
        return "null"
    return _NAMES.get(type(value), f"a {type(value).__name__}")


def check_text(key: str, text: str, limit: int) -> None:
    """Check a text that a person will see: nothing unseen in it, and not too long."""
    at(key, refuse_forbidden, text)
    if len(text) > limit:
        raise FieldError("out_of_range", key, f"is longer than {limit} characters")


def check_set(key: str, entries: tuple[str, ...], parse: Callable[[str], str]) -> None:
    """Check a set of words, each in its canonical spelling."""
    for index, entry in enumerate(entries):
        canonical = at(f"{key}[{index}]", parse, entry)
        if canonical != entry:
            raise FieldError(
                "not_canonical", f"{key}[{index}]", f"is {entry!r}, whose canonical form is {canonical!r}"
            )
    check_ordered(key, entries)


def check_ordered(key: str, entries: tuple[Any, ...]) -> None:
    """Check a list that means a set: sorted, none twice, not too many."""
    if len(entries) > MAX_ENTRIES:
        raise FieldError("out_of_range", key, f"has more than {MAX_ENTRIES} entries")
    for before, after in itertools.pairwise(entries):
        if before == after:
            raise FieldError("duplicate", key, f"has {str(after)!r} twice")
        if before > after:
            raise FieldError("not_sorted", key, f"is not sorted: {str(after)!r} follows {str(before)!r}")

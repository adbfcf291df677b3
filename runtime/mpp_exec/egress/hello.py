"""Reads the name in a TLS ClientHello before any of its bytes are forwarded.

A connection that begins as TLS must be TLS, with the one name that the connection was made for. Anything that
a server could read differently is refused: a second name, a second extension of one kind, a length that does
not add up. With encrypted hellos (ECH) the outer hello counts, since it decides who can read the inner one.

Source: RFC 8446 sections 4.1.2, 4.2 and 5.1, RFC 6066 section 3; RFC 5246 appendix E.2 for hellos in SSL 2
form, which servers still read, and which have no name.
"""

from __future__ import annotations

from typing import Final

from mpp_exec.vocabulary import VocabularyError, parse_hostname

PLAIN: Final = ""
"""What begins otherwise: it is no TLS, and has no name."""

HELLO_MAX: Final = 16_384
_RAW_MAX: Final = 20_480  # includes record headers: small records are a way to be slow
_KINDS: Final = range(20, 27)  # of records. Some servers pass over an alert that stands before a hello,
_MAJOR_MAX: Final = 16  # and do not look at the version of the first record, if it is below this one
_HANDSHAKE, _CLIENT_HELLO, _MAJOR, _SERVER_NAME = 22, 1, 3, 0


class HelloError(ValueError):
    """The bytes begin as TLS, but are not a hello that may be forwarded."""


class Hello:
    """The first bytes of a connection, as they come. Each byte is looked at once."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._at = 0  # offset of the next record
        self._body = bytearray()

    @property
    def is_begun(self) -> bool:
        """Whether any byte has arrived."""
        return bool(self._raw)

    def feed(self, data: bytes) -> str | None:
        """Take *data*; return the canonical name of the server, ``PLAIN``, or None if more bytes are needed.

        Raises:
            HelloError: the bytes must not be forwarded.
        """
        self._raw += data
        raw = self._raw
        if not raw:
            return None
        if not self._at:
            if raw[0] & 0x80:
                return _as_in_ssl_2(raw)
            if raw[0] not in _KINDS or (len(raw) > 1 and raw[1] >= _MAJOR_MAX):
                return PLAIN
        while len(raw) - self._at >= 5:
            kind, major = raw[self._at], raw[self._at + 1]
            length = int.from_bytes(raw[self._at + 3 : self._at + 5], "big")
            if kind != _HANDSHAKE or major != _MAJOR or not 0 < length <= HELLO_MAX:
                raise HelloError("no handshake record")
            end = self._at + 5 + length
            if end > _RAW_MAX:
                raise HelloError("too long")
            if len(raw) < end:
                break
            self._body += raw[self._at + 5 : end]
            self._at = end
            name = self._name()
            if name is not None:
                return name
        return None

    def _name(self) -> str | None:
        body = self._body
        if body[0] != _CLIENT_HELLO:
            raise HelloError("no hello")
        if len(body) < 4:
            return None
        size = 4 + int.from_bytes(body[1:4], "big")
        if size > HELLO_MAX:
            raise HelloError("too long")
        if len(body) < size:
            return None
        if len(body) > size:
            raise HelloError("something stands behind the hello")
        return _server_name(_Bytes(bytes(body[4:])))


def _as_in_ssl_2(raw: bytearray) -> str | None:
    """Return whether it is no hello in the form of SSL 2 either: length, 1, version 3."""
    if len(raw) > 2 and raw[2] != _CLIENT_HELLO:
        return PLAIN
    if len(raw) > 3:
        if raw[3] == _MAJOR:
            raise HelloError("a hello in the form of SSL 2 has no name")
        return PLAIN
    return None


class _Bytes:
    """The bytes that are left to read; reading beyond the end is refused."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise HelloError("it is shorter than it says")
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Bytes:
        """Return the vector that follows its length of *size* bytes."""
        return _Bytes(self.take(self.number(size)))

    def end(self) -> None:
        if not self.is_empty:
            raise HelloError("it is longer than it says")


def _server_name(hello: _Bytes) -> str:
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session
    hello.vector(2)  # ciphers
    hello.vector(1)  # compression
    if hello.is_empty:
        raise HelloError("no name")
    extensions = hello.vector(2)
    hello.end()
    seen, name = set[int](), ""
    while not extensions.is_empty:
        kind, body = extensions.number(2), extensions.vector(2)
        if kind in seen:
            raise HelloError("an extension stands twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _only_name(body)
    if not name:
        raise HelloError("no name")
    return name


def _only_name(body: _Bytes) -> str:
    names = body.vector(2)
    body.end()
    if names.number(1) != 0:  # host_name
        raise HelloError("a name of an unknown kind")
    raw = names.take(names.number(2))
    names.end()
    try:
        return parse_hostname(raw.decode("ascii"))
    except (UnicodeDecodeError, VocabularyError):
        raise HelloError("its name is none of a host") from None

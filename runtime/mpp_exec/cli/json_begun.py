"""Whether what has come of an input may be the beginning of one JSON object or list.

A log whose lines begin with a bracket, or with an object each, is no JSON: it is redacted as it arrives, and
need not be held. That shows in its first line, so nobody has to read all of it to know.

Source: RFC 8259.
"""

from __future__ import annotations

from typing import Final

from mpp_exec.patterns import lazily

_TOKEN: Final = lazily(
    rb'[ \t\r\n]+|"(?:[^"\\\x00-\x1f]|\\.)*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?'
    rb"(?=[ \t\r\n,\]}])|true|false|null|[\[\]{},:]"
)
# What may go on in what has yet to come: a string, or a number or word.
_BEGUN: Final = lazily(rb'(?:"(?:[^"\\\x00-\x1f]|\\.)*\\?|-?[0-9.eE+-]{0,400}|[a-z]{1,4})\Z')
_START, _VALUE, _ITEM, _KEY, _MEMBER, _COLON, _END, _DONE = range(8)
_OF_VALUES: Final = b'{["-0123456789tfn'
_ALLOWED: Final = {
    _START: b"{[",
    _VALUE: _OF_VALUES,
    _ITEM: _OF_VALUES + b"]",
    _KEY: b'"',
    _MEMBER: b'"}',
    _COLON: b":",
    _END: b",]}",
    _DONE: b"",
}
"""With which signs what is awaited may begin."""


def may_be_json(begun: bytes) -> bool:
    """Tell whether *begun* may go on so that all of it is one JSON object or list, in UTF-8."""
    opened: list[bytes] = []
    awaited, at = _START, 0
    while at < len(begun):
        token = _TOKEN.match(begun, at)
        if token is None:
            return awaited in (_VALUE, _ITEM, _KEY, _MEMBER) and _BEGUN.match(begun, at) is not None
        at, sign = token.end(), token[0][:1]
        if sign in b" \t\r\n":
            continue
        if sign not in _ALLOWED[awaited] or (sign in b"]}" and opened.pop() + sign not in (b"[]", b"{}")):
            return False
        if sign in b"[{":
            opened.append(sign)
            awaited = _ITEM if sign == b"[" else _MEMBER
        elif sign in b"]}":
            awaited = _END if opened else _DONE
        elif sign in b",:":
            awaited = _KEY if sign == b"," and opened[-1] == b"{" else _VALUE
        else:
            awaited = _COLON if awaited in (_KEY, _MEMBER) else _END
    return True

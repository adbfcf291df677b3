"""Parses the DNS queries of a sandbox strictly, and builds the answers.

Source: RFC 1035 section 4, RFC 6891 for the one record that may follow a question (EDNS). No name in a
question is compressed; an answer points to the name in the question.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import VocabularyError, parse_hostname

MESSAGE_MAX: Final = 4_096
"""Bytes of a question. What is longer is cut by the kernel, and is malformed then."""

A: Final = 1
AAAA: Final = 28
INTERNET: Final = 1

OK: Final = 0
MALFORMED: Final = 1  # FORMERR
FAILED: Final = 2  # SERVFAIL
UNKNOWN: Final = 3  # NXDOMAIN
NOT_IMPLEMENTED: Final = 4
REFUSED: Final = 5

_HEADER: Final = struct.Struct("!6H")
_TAIL: Final = struct.Struct("!2H")
_RECORD: Final = struct.Struct("!2HIH")
_RESPONSE, _OPCODE, _RECURSE, _AVAILABLE = 0x8000, 0x7800, 0x0100, 0x0080
_OPT: Final = 41
_TTL: Final = 60
_LABEL: Final = lazily(rb"[A-Za-z0-9-]{1,63}")


class Question(NamedTuple):
    """One message of a client.

    Attributes:
        number: the client's message id; the answer has the same.
        flags: the flags of the header.
        error: the error to answer with, 0 if the question can be read.
        raw: the bytes of the question, empty if they cannot be read.
        name: the canonical host name; "" if it is not a host name.
        kind: the record type: ``A``, ``AAAA`` or another number.
        space: the class: ``INTERNET`` or another number.
    """

    number: int
    flags: int
    error: int
    raw: bytes = b""
    name: str = ""
    kind: int = 0
    space: int = 0


def read(message: bytes) -> Question | None:  # noqa: PLR0911 -- one for each reason
    """Return the question in *message*, None if it is not a question and must not be answered."""
    if len(message) < _HEADER.size:
        return None
    number, flags, questions, answers, authorities, others = _HEADER.unpack_from(message)
    if flags & _RESPONSE:
        return None
    if flags & _OPCODE:
        return Question(number, flags, NOT_IMPLEMENTED)
    if (questions, answers, authorities) != (1, 0, 0) or others > 1 or len(message) > MESSAGE_MAX:
        return Question(number, flags, MALFORMED)
    try:
        labels, at = _labels(message)
        kind, space = _TAIL.unpack_from(message, at)
        end = at + _TAIL.size
        rest = _behind_options(message, end) if others else end
    except (IndexError, struct.error, ValueError):
        return Question(number, flags, MALFORMED)
    if rest != len(message):
        return Question(number, flags, MALFORMED)
    return Question(number, flags, OK, message[_HEADER.size : end], _host(labels), kind, space)


def _labels(message: bytes) -> tuple[list[bytes], int]:
    """Return the labels of the name after the header, and the offset of its end."""
    at, labels = _HEADER.size, list[bytes]()
    while length := message[at]:
        label = message[at + 1 : at + 1 + length]
        at += 1 + length
        if length > 63 or len(label) != length or at - _HEADER.size > 254:
            raise ValueError
        labels.append(label)
    return labels, at + 1


def _behind_options(message: bytes, at: int) -> int:
    if message[at]:
        raise ValueError
    kind, _, _, length = _RECORD.unpack_from(message, at + 1)
    if kind != _OPT:
        raise ValueError
    return int(at + 1 + _RECORD.size + length)


def _host(labels: list[bytes]) -> str:
    """Return the canonical host name; "" if a label contains another character, such as a dot or NUL."""
    if not labels or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
        return ""
    try:
        return parse_hostname(b".".join(labels).decode("ascii"))
    except VocabularyError:
        return ""


def answer(question: Question, error: int, address: bytes = b"") -> bytes:
    """Return the answer: *error* or 0, and with *address* (4 bytes) one record of kind ``A``."""
    flags = _RESPONSE | (question.flags & (_OPCODE | _RECURSE)) | _AVAILABLE | error
    records = 1 if address else 0
    head = _HEADER.pack(question.number, flags, 1 if question.raw else 0, records, 0, 0)
    if not address:
        return head + question.raw
    pointer = b"\xc0\x0c"
    return head + question.raw + pointer + _RECORD.pack(A, INTERNET, _TTL, len(address)) + address

"""The readers of the broker as targets: hellos, questions about names, what its process says to the host."""

from __future__ import annotations

from contextlib import suppress

from mpp_exec.egress import queries, wire
from mpp_exec.egress.hello import PLAIN, Hello, HelloError
from mpp_exec.vocabulary import parse_hostname


def _heard(data: bytes, size: int) -> str | None:
    reading = Hello()
    try:
        for at in range(0, len(data), size):
            found = reading.feed(data[at : at + size])
            if found is not None:
                return found
    except HelloError:
        return "refused!"  # no host is called that
    return None


def hear_hello(data: bytes) -> None:
    """A name is canonical and one that stands there, in whatever pieces it comes."""
    whole = _heard(data, len(data) or 1)
    if whole not in (None, PLAIN, "refused!"):
        assert parse_hostname(whole) == whole
        assert data[0] == 0x16
    for size in (1, 3, 50):
        assert _heard(data, size) == whole


def answer_question(data: bytes) -> None:
    """An answer is no longer than its question and one record, and a name is canonical."""
    question = queries.read(data)
    if question is None:
        return
    assert queries.answer(question, question.error)[:2] == data[:2]
    assert len(queries.answer(question, question.error)) <= len(data)
    if question.name:
        assert not question.error
        assert parse_hostname(question.name) == question.name
        assert question.name.encode().split(b".") == _labels(question.raw)
        answer = queries.answer(question, queries.OK, b"\x7f\x40\0\1")
        assert len(answer) == 12 + len(question.raw) + 16


def _labels(raw: bytes) -> list[bytes]:
    at, found = 0, []
    while raw[at]:
        found.append(raw[at + 1 : at + 1 + raw[at]].lower())
        at += 1 + raw[at]
    return found


def hear_broker(data: bytes) -> None:
    """What is read of the process's traffic is what it would write again."""
    for read in (wire.read_request, wire.read_first):
        with suppress(ValueError):
            read(data)
    with suppress(ValueError):
        _, traffic = wire.read_answer(data, 3) or ("", None)
        if traffic is not None:
            again = wire.encoded(wire.ENDED, 3, traffic.to_json())
            assert wire.read_answer(again, 3) == (wire.ENDED, traffic)

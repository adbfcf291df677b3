"""What may be JSON is known from what has come of it, and a log is known by its first line."""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.cli import redaction
from mpp_exec.cli.json_begun import may_be_json
from mpp_exec.cli.main import main

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(
    st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    st.booleans(),
    st.integers(0, 1000),
)
def test_every_beginning_of_json_may_be_json(value: Any, ascii_: bool, cut: int) -> None:
    text = f" {json.dumps(value, ensure_ascii=ascii_)}\n".encode("utf-8", "surrogatepass")
    assert may_be_json(text)
    assert may_be_json(text[: cut % len(text)])
    assert all(may_be_json(text[: len(text) - behind]) for behind in range(min(len(text), 12)))


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-26 12:07:26] started", "[INFO] started", "[error] no", "[12/Nov/2026] x", "[1] 4711",
        "[main] x", '{"a": 1}\n{"b": 2}', '["a"] x', "[0.000000] Linux version", "{{ template }}",
        "[,", "[1,]", '{"a":1,}', "[}", "{1:2}", '{"a" 1}', '{"a":}', "[1 2", '["a"]]', "{'a'", "[tr ue",
    ],
)  # fmt: skip
def test_no_log_may_be_json(line: str) -> None:
    assert not may_be_json(f"{line} and more\n".encode())


@given(st.binary(max_size=40).map(lambda tail: b"[" + tail))
def test_what_a_parser_takes_may_be_json(text: bytes) -> None:
    try:
        json.loads(text.decode(), parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return
    assert may_be_json(text)


@pytest.mark.parametrize("piece", [1, 7, 65536])
def test_a_log_that_begins_with_a_bracket_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], piece: int
) -> None:
    """It was read to its end, up to 64 MiB, and refused beyond that."""

    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(min(piece, size or piece))

    monkeypatch.setenv("MPP_HOME", str(tmp_path))
    monkeypatch.setattr(redaction, "_MAX", 256)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Slow(b"[INFO] mail jane@example.com\n" * 100)))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["redact"]) == 0
    assert capsys.readouterr().out == "[INFO] mail [EMAIL]\n" * 100


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        (b" " * 5000 + b'{"name": "Jane Doe"}', False),
        (b" " * 4000 + b'{"name": "Jane Doe"}', True),
        (b"[" + b"1," * 40_000 + b"and no more", True),
    ],
)
def test_how_a_text_is_cut_does_not_decide_what_it_is(text: bytes, *, is_json: bool) -> None:
    for piece in (1000, 4096, 5000, len(text)):
        pieces = (text[at : at + piece] for at in range(0, len(text), piece))
        head, said = redaction._begun(pieces)
        assert said is is_json
        assert head + b"".join(pieces) == text

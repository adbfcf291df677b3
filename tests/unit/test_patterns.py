"""A pattern that is compiled late does what it would have done at once, and is compiled no earlier."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mpp_exec.patterns import lazily

TEXT = "one 12 two 345"


def test_it_is_compiled_once_and_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    real = re.compile

    def compile_(*given: Any) -> Any:
        compiled.append(given)
        return real(*given)

    monkeypatch.setattr(re, "compile", compile_)
    pattern = lazily("[A-Z]+([0-9])", re.IGNORECASE)
    assert pattern.pattern == "[A-Z]+([0-9])"
    assert not compiled
    assert [bool(pattern.search(text)) for text in ("a1", "1", "B2")] == [True, False, True]
    assert pattern.match("a1") is not None
    assert compiled == [("[A-Z]+([0-9])", re.IGNORECASE)]


@pytest.mark.parametrize("name", ["match", "search", "fullmatch", "finditer", "findall", "split"])
def test_every_method_answers_as_that_of_re(name: str) -> None:
    now, late = (getattr(each, name)(TEXT) for each in (re.compile(r"[0-9]+"), lazily(r"[0-9]+")))
    assert repr(list(now) if name == "finditer" else now) == repr(list(late) if name == "finditer" else late)


def test_it_is_of_bytes_where_its_source_is() -> None:
    assert lazily(rb"[0-9]+").sub(b"", b"a1b22") == b"ab"
    assert lazily(r"(?P<a>[0-9])").groupindex == {"a": 1}

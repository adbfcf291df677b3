"""A tool tries to get text past redaction, or to make its host work and remember without bound."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.calls.result import MAX_FINDINGS, ToolResult, read_result, redaction_bounds
from mpp_exec.calls.said import MAX_VALUES
from mpp_exec.package.manifest import Tool
from mpp_exec.permissions import Limits
from mpp_exec.privacy.redact import Redactor
from mpp_exec.sandbox.spawn import Completed
from stage import NAME, Stage

SECRET = "jane@example.com 4111111111111111"
AS_BASE64 = base64.b64encode(SECRET.encode()).decode()


def said(document: object, *, form: str = "mcp", place: str = "") -> ToolResult:
    output = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_result(
        "exec",
        Tool(name="t", description="", input_schema={"type": "object"}, result=form),  # type: ignore[arg-type]
        Completed("ok", "", output, b"", {}, 0, 0, 0),
        Redactor(),
        violations=(lambda _: [((place,), "type")]) if place else None,
        explain=lambda *_: "",
        max_size=64 << 20,
        invocation="0",
    )


BLOCKS: dict[str, dict[str, Any]] = {
    "data beside text": {"type": "text", "text": "x", "data": SECRET},
    "data that is a list": {"type": "resource_link", "uri": "x:y", "name": "n", "data": [SECRET]},
    "blob beside a link": {"type": "resource_link", "uri": "x:y", "name": "n", "blob": {"a": SECRET}},
    "blob that is no base64": {"type": "resource", "resource": {"uri": "x:y", "blob": SECRET}},
    "blob that is text": {"type": "resource", "resource": {"uri": "x:y", "blob": AS_BASE64}},
    "data inside a resource": {"type": "resource", "resource": {"uri": "x:y", "text": "t", "data": SECRET}},
    "image that is text": {"type": "image", "mimeType": "image/png", "data": AS_BASE64},
    "image of type text": {"type": "image", "mimeType": "text/plain", "data": "/9j/"},
    "text of a block": {"type": "text", "text": SECRET},
    "name of a member": {"type": "text", "text": "x", SECRET: 1},
    "uri": {"type": "resource_link", "uri": f"x:{SECRET}", "name": SECRET, "title": SECRET},
    "annotations": {"type": "text", "text": "x", "annotations": {SECRET: SECRET}},
    "meta of a resource": {
        "type": "resource",
        "resource": {"uri": "x:y", "text": "t", "_meta": {"a": SECRET}},
    },
}


@pytest.mark.parametrize("name", BLOCKS)
def test_no_member_of_a_block_is_a_way_out(name: str) -> None:
    text = json.dumps(said({"content": [BLOCKS[name]]}).to_call_tool_result())
    assert "jane@" not in text
    assert "4111111111111111" not in text
    assert AS_BASE64 not in text


def test_a_property_name_is_no_way_out_through_a_validation_error() -> None:
    result = said({SECRET: "x"}, form="json", place=SECRET)
    assert result.outcome == "protocol"
    assert "jane@" not in json.dumps(result.to_call_tool_result()) + result.reason


@pytest.mark.parametrize(
    "output",
    [
        b"[" + b"0," * (MAX_VALUES + 1) + b"0]",
        b"[" + b"{}," * (MAX_VALUES // 2 + 1) + b"{}]",
        b"{" + b",".join(b'"%d":0' % n for n in range(MAX_VALUES + 2)) + b"}",
    ],
    ids=["numbers", "objects", "keys"],
)
def test_a_result_of_too_many_values_is_refused_before_it_is_built(output: bytes) -> None:
    result = said(output, form="json")
    assert (result.outcome, result.structured) == ("protocol", None)
    assert "values" in result.reason


def flooded(text: str, *, cancelled: Callable[[], bool] = lambda: False, seconds: float = 60.0) -> ToolResult:
    """Return the result of a tool that printed *text*."""
    bounds = replace(redaction_bounds(8 << 20, cancelled), seconds=seconds)
    return read_result(
        "exec",
        Tool(name="t", description="", input_schema={"type": "object"}),
        Completed("ok", "", json.dumps(text).encode(), text.encode(), {}, 0, 0, 0),
        Redactor(bounds=bounds),
        violations=None,
        explain=lambda *_: "",
        max_size=8 << 20,
        invocation="0",
        cancelled=cancelled,
    )


def test_a_flood_of_findings_is_withheld_and_nothing_of_it_leaves() -> None:
    result = flooded("a@b.co " * (MAX_FINDINGS + 1))
    assert (result.outcome, result.withheld, result.is_error) == ("output", "privacy.too_many_findings", True)
    assert "@" not in json.dumps(result.to_call_tool_result()) + result.stderr + result.reason


@pytest.mark.parametrize(
    "piece", ["a@b.co ", "4111 1111 1111 1112 ", "a%40b.cc ", "password = ", "1.1.1.1 ", "a::b "]
)
def test_a_redaction_without_end_is_withheld_when_its_time_is_up(piece: str) -> None:
    result = flooded(piece * 5000, seconds=-1.0)
    assert (result.outcome, result.withheld) == ("output", "privacy.too_slow")
    assert piece.strip() not in json.dumps(result.to_call_tool_result()) + result.stderr


@pytest.mark.parametrize("looks", [0, 1, 5])
def test_a_call_that_is_cancelled_while_it_is_redacted_ends_within_a_few_steps(looks: int) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > looks

    result = flooded("a@b.co " * 20_000, cancelled=cancelled)
    assert (result.outcome, result.stderr, result.redactions) == ("killed", "", {})
    assert asked == looks + 1


def test_a_withheld_flood_has_its_code_in_meta_and_on_the_ledger(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    source = f'def run():\n    return "a@b.co " * {MAX_FINDINGS + 1}\n'
    with Stage(tmp_path) as stage:
        stage.python(source, limits=Limits(output=2 << 20))
        result = stage.runtime.call(NAME, "run", {})
        assert (result.outcome, result.is_error) == ("output", True)
        assert result.meta["mpp-exec/withheld"] == "privacy.too_many_findings"
        assert "@" not in json.dumps(result.to_call_tool_result())
        (ended,) = stage.runtime.ledger.list(kinds=["outcome"])
        assert ended.content["code"] == "privacy.too_many_findings"
        assert not stage.runtime.ledger.verify().problems

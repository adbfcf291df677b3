"""A tool tries to get text past redaction, or to make its host work and remember without bound."""

import base64
import json
from typing import Any

import pytest

from mpp_exec.package.manifest import Tool
from mpp_exec.privacy.redact import Redactor
from mpp_exec.result import MAX_VALUES, ToolResult, read_result
from mpp_exec.sandbox.spawn import Completed

SECRET = "jane@example.com 4111111111111111"
AS_BASE64 = base64.b64encode(SECRET.encode()).decode()


def said(document: object, *, form: str = "mcp", pointer: str = "") -> ToolResult:
    output = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_result(
        "exec",
        Tool(name="t", description="", input_schema={"type": "object"}, result=form),  # type: ignore[arg-type]
        Completed("ok", "", output, b"", {}, 0, 0, 0),
        Redactor(),
        violations=(lambda _: [(pointer, "type")]) if pointer else None,
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
    result = said({SECRET: "x"}, form="json", pointer=f"/{SECRET}")
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

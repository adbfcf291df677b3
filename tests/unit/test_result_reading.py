"""Whatever a tool prints becomes a redacted MCP result, or an outcome that says what was wrong with it."""

import base64
import json
from typing import Any

import pytest

from mpp_exec.calls.result import ToolResult, read_result
from mpp_exec.calls.said import MAX_DEPTH, Violations
from mpp_exec.package.manifest import ResultForm, Tool
from mpp_exec.privacy.redact import Redactor
from mpp_exec.sandbox.outcome import Outcome
from mpp_exec.sandbox.spawn import Completed

CARD = "4111 1111 1111 1111"


def completed(output: bytes, *, outcome: Outcome = "ok", reason: str = "", errors: bytes = b"") -> Completed:
    return Completed(outcome, reason, output, errors, {}, 0, 0, 0)


def read(
    kind: str,
    ended: Completed,
    *,
    form: ResultForm = "json",
    violations: Violations | None = None,
    denial: str = "",
    reason: str = "",
) -> ToolResult:
    return read_result(
        kind,
        Tool(name="t", description="", input_schema={"type": "object"}, result=form),
        ended,
        Redactor(),
        violations=violations,
        explain=lambda path, number, _: denial if path or number else "",
        max_size=1 << 20,
        invocation="0",
        reason=lambda: reason,
    )


def python_value(value: Any) -> Completed:
    return completed(json.dumps({"value": value}).encode())


def test_an_object_is_structured_content_and_the_same_json_as_text() -> None:
    result = read("python", python_value({"b": 1, "a": [None, True]}))
    assert result.structured == {"b": 1, "a": [None, True]}
    assert json.loads(result.content[0]["text"]) == result.structured
    assert (result.is_error, result.outcome) == (False, "ok")


@pytest.mark.parametrize("value", [5, 1.5, None, True, [1, {"x": 2}]])
def test_any_other_value_is_wrapped_as_result(value: object) -> None:
    result = read("exec", completed(json.dumps(value).encode()))
    assert result.structured == {"result": value}
    assert json.loads(result.content[0]["text"]) == value


def test_a_plain_string_stays_plain_in_the_text_block() -> None:
    result = read("python", python_value('say "hi"'))
    assert result.content == [{"type": "text", "text": 'say "hi"'}]
    assert result.structured == {"result": 'say "hi"'}


def test_content_and_structured_content_never_disagree_about_a_redacted_value() -> None:
    result = read("exec", completed(json.dumps({"card": CARD}).encode()), form="json")
    assert CARD not in json.dumps(result.to_call_tool_result())
    assert json.loads(result.content[0]["text"]) == result.structured
    assert result.redactions == {"credit_card": 1}


def test_a_value_in_stderr_is_redacted_and_counted() -> None:
    result = read("exec", completed(b"1", errors=f"debug: {CARD}\n".encode()))
    assert "4111" not in result.stderr
    assert result.redactions == {"credit_card": 1}


def test_stderr_that_is_no_utf8_is_text_all_the_same() -> None:
    assert read("exec", completed(b"1", errors=b"\xff\xfe oops")).stderr.endswith("oops")


HALF: list[tuple[bytes, str]] = [
    (b"", "it printed nothing"),
    (b"   \n", "it printed nothing"),
    (b'{"value": ', ""),
    (b'{"value": 1} trailing', ""),
    (b"\xff\xfe", "UTF-8"),
    (b"NaN", ""),
    (b"[" * 100_000 + b"]" * 100_000, "deeper"),
    (b'{"a":1,"a":2}', "key"),
    (b'"\\ud800"', "surrogate"),
    (b"1e999", ""),
    (b"9" * 5000, ""),
]


@pytest.mark.parametrize(("output", "says"), HALF, ids=range(len(HALF)))
@pytest.mark.parametrize("kind", ["python", "exec"])
def test_what_is_not_one_json_value_is_a_protocol_failure(kind: str, output: bytes, says: str) -> None:
    result = read(kind, completed(output))
    assert (result.outcome, result.is_error, result.structured) == ("protocol", True, None)
    assert says in result.reason
    assert result.reason == result.content[0]["text"]


def test_nesting_is_bounded_at_the_documented_depth() -> None:
    fits, breaks = "[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
    assert read("exec", completed(fits.encode())).outcome == "ok"
    assert read("exec", completed(breaks.encode())).outcome == "protocol"


@pytest.mark.parametrize(
    "document", [[], {}, {"value": 1, "error": {}}, {"error": 5}, {"error": {"type": 1}}, 7]
)
def test_a_forged_launcher_document_is_a_protocol_failure(document: object) -> None:
    assert read("python", completed(json.dumps(document).encode())).outcome == "protocol"


def error(**told: object) -> Completed:
    return completed(json.dumps({"error": told}).encode())


def test_an_exception_is_an_error_with_type_and_message() -> None:
    result = read("python", error(type="ValueError", message="no such column"))
    assert result.content[0]["text"] == "ValueError: no such column"
    assert (result.outcome, result.is_error, result.structured) == ("tool_error", True, None)


def test_an_exception_message_is_redacted() -> None:
    result = read("python", error(type="KeyError", message=f"'{CARD}'"))
    assert "4111" not in result.content[0]["text"]


def test_a_denied_path_is_explained_in_text_and_meta() -> None:
    told = {"type": "FileNotFoundError", "message": "…", "errno": 2, "path": "/etc/shadow"}
    result = read("python", error(**told), denial="/etc/shadow is not granted")
    assert result.denied == "/etc/shadow is not granted"
    assert result.content[0]["text"].endswith("/etc/shadow is not granted")


@pytest.mark.parametrize("limit", ["memory", "processes"])
def test_a_limit_that_python_ran_into_is_the_outcome(limit: str) -> None:
    result = read("python", error(type="MemoryError", message="", limit=limit))
    assert result.outcome == limit
    assert result.content[0]["text"].startswith("MemoryError\n")


def test_a_limit_word_that_does_not_exist_means_nothing() -> None:
    assert read("python", error(type="E", message="m", limit="killed")).outcome == "tool_error"


@pytest.mark.parametrize("outcome", ["timeout", "cpu", "memory", "output", "processes", "syscall", "killed"])
def test_a_stopped_tool_hands_over_nothing_but_the_reason(outcome: Outcome) -> None:
    ended = completed(b'{"value": "half"}', outcome=outcome, reason="stopped")
    for kind in ("python", "exec"):
        result = read(kind, ended)
        assert (result.outcome, result.content) == (outcome, [{"type": "text", "text": "stopped"}])
        assert result.is_error


def test_why_a_call_was_cancelled_stands_in_for_killed() -> None:
    ended = completed(b"", outcome="killed", reason="cancelled by its caller")
    assert read("python", ended, reason="its grant was withdrawn").reason == "its grant was withdrawn"


def test_a_failed_program_keeps_its_json_and_is_an_error() -> None:
    ended = completed(b'{"why": "not found"}', outcome="tool_error", reason="ended with status 3")
    result = read("exec", ended)
    assert (result.is_error, result.outcome, result.reason) == (True, "tool_error", "ended with status 3")
    assert json.loads(result.content[0]["text"]) == {"why": "not found"}
    assert result.structured is None


def test_a_result_against_its_schema_is_withheld_and_names_pointer_and_keyword_only() -> None:
    result = read("python", python_value({"n": "secret"}), violations=lambda _: [(("n",), "type")])
    assert (result.outcome, result.structured) == ("protocol", None)
    assert "/n" in result.reason
    assert "secret" not in json.dumps(result.to_call_tool_result())


def test_the_schema_sees_the_value_before_it_is_redacted() -> None:
    seen: list[object] = []

    def check(value: object) -> list[tuple[tuple[str, ...], str]]:
        seen.append(value)
        return []

    read("python", python_value({"card": CARD}), violations=check)
    assert seen == [{"card": CARD}]


def mcp(document: object) -> ToolResult:
    return read("exec", completed(json.dumps(document).encode()), form="mcp")


def test_mcp_blocks_are_taken_as_they_are_less_meta() -> None:
    block = {"type": "text", "text": f"card {CARD}", "_meta": {"x": 1}, "annotations": {"priority": 1}}
    result = mcp({"content": [block], "structuredContent": {"a": 1}, "_meta": {"forged": True}})
    assert result.content == [{"type": "text", "text": "card [CREDIT_CARD]", "annotations": {"priority": 1}}]
    assert result.structured == {"a": 1}
    assert "forged" not in json.dumps(result.to_call_tool_result())


def test_binary_blocks_pass_by_rule() -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n\xff\x00").decode()
    image = {"type": "image", "data": picture, "mimeType": "image/png"}
    blob = {"type": "resource", "resource": {"uri": "file:///x", "blob": picture}}
    assert mcp({"content": [image, blob]}).content == [image, blob]


def test_an_mcp_error_is_an_error() -> None:
    result = mcp({"content": [{"type": "text", "text": "no"}], "isError": True})
    assert (result.is_error, result.outcome) == (True, "tool_error")


@pytest.mark.parametrize(
    "document",
    [
        5,
        {},
        {"content": "x"},
        {"content": [], "isError": "yes"},
        {"content": [], "structuredContent": []},
        {"content": [], "extra": 1},
        {"content": [{"type": "text"}]},
        {"content": [{"type": "html", "text": "x"}]},
        {"content": [{"type": "image", "data": "no base64!", "mimeType": "image/png"}]},
        {"content": [{"type": "resource", "resource": {"uri": "x", "text": "a", "blob": "aGk="}}]},
        {"content": ["x"]},
    ],
)
def test_what_is_no_mcp_result_is_a_protocol_failure(document: object) -> None:
    result = mcp(document)
    assert (result.outcome, result.is_error) == ("protocol", True)

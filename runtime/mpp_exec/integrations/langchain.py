"""Installed tools for LangChain: ``pip install 'mpp-exec[langchain]'``.

::

    with Runtime(confirm=ask) as runtime:
        agent = create_agent(model, tools=tools(runtime))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.tools import StructuredTool, ToolException

from mpp_exec.errors import MppError
from mpp_exec.integrations.offering import (
    Answer,
    Offering,
    answer_of,
    is_plain,
    offerings,
    refusal_of,
    text_of,
)
from mpp_exec.pipeline import Runtime


class PackagedTool(StructuredTool):  # type: ignore[misc]
    """A tool of a package. Its arguments reach it as the model wrote them, and are checked there."""

    def _to_args_and_kwargs(
        self, tool_input: str | dict[str, Any], tool_call_id: str | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # As one value: as keywords, an argument called "config" would be taken for LangChain's own.
        del tool_call_id
        if not isinstance(tool_input, dict):
            raise ToolException("the arguments must be an object")
        return (dict(tool_input),), {}


def tools(runtime: Runtime, packages: Sequence[str] = ()) -> list[StructuredTool]:
    """Return the approved tools of *packages*, of all if empty, each call in a fresh sandbox.

    A ``ToolMessage`` has the ``ToolResult`` as its artifact; what failed or was refused has status ``error``.
    Cancelling an awaited call ends its sandbox.

    Raises:
        MppError: the home cannot be read. A call raises InternalError where mpp-exec itself failed.
    """
    return [
        PackagedTool(
            name=each.name,
            description=each.description,
            args_schema=each.schema,
            func=_call(runtime, each),
            coroutine=_acall(runtime, each),
            response_format="content_and_artifact",
            handle_tool_error=True,
            metadata={"package": each.package, "tool": each.tool},
        )
        for each in offerings(runtime, packages)
    ]


# Functions, since LangGraph asks for the type hints of what is called, and a partial object has none.


def _call(runtime: Runtime, tool: Offering) -> Callable[[dict[str, Any]], tuple[Any, Any]]:
    def call(arguments: dict[str, Any]) -> tuple[Any, Any]:
        try:
            answer = answer_of(runtime.call(tool.package, tool.tool, arguments))
        except MppError as error:
            answer = refusal_of(error)
        return _said(answer)

    return call


def _acall(runtime: Runtime, tool: Offering) -> Callable[[dict[str, Any]], Awaitable[tuple[Any, Any]]]:
    async def acall(arguments: dict[str, Any]) -> tuple[Any, Any]:
        try:
            answer = answer_of(await runtime.acall(tool.package, tool.tool, arguments))
        except MppError as error:
            answer = refusal_of(error)
        return _said(answer)

    return acall


def _said(answer: Answer) -> tuple[Any, Any]:
    if answer.failed:
        raise ToolException(answer.text)
    if is_plain(answer.blocks):
        return answer.text, answer.result
    return [_block(block) for block in answer.blocks], answer.result


def _block(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] in ("image", "audio"):
        return {"type": block["type"], "base64": block["data"], "mime_type": block["mimeType"]}
    return {"type": "text", "text": text_of(block)}

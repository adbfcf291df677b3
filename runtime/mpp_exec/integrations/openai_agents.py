"""Installed tools for the OpenAI Agents SDK: ``pip install 'mpp-exec[openai-agents]'``.

::

    async with Runtime(confirm=ask) as runtime:
        agent = Agent(name="assistant", tools=[*tools(runtime)])
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from agents import FunctionTool, ToolOutputImage, ToolOutputText

from mpp_exec.calls.prepared import MAX_ARGUMENTS
from mpp_exec.encoding import JsonError, json_loads
from mpp_exec.errors import MppError, UsageError
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


def tools(runtime: Runtime, packages: Sequence[str] = ()) -> list[FunctionTool]:
    """Return the approved tools of *packages*, of all if empty, each call in a fresh sandbox.

    What failed or was refused is told to the model as a text that begins with ``error:``. Schemas are the
    publisher's, and so not strict. Cancelling a run ends its sandboxes.

    Raises:
        MppError: the home cannot be read. A call raises InternalError where mpp-exec itself failed.
    """
    return [
        FunctionTool(
            name=each.name,
            description=each.description,
            params_json_schema=each.schema,
            on_invoke_tool=functools.partial(_invoke, runtime, each),
            strict_json_schema=False,
        )
        for each in offerings(runtime, packages)
    ]


async def _invoke(runtime: Runtime, tool: Offering, context: Any, text: str) -> Any:
    del context
    try:
        arguments = _arguments(text)
        answer = answer_of(await runtime.acall(tool.package, tool.tool, arguments))
    except MppError as error:
        answer = refusal_of(error)
    return _said(answer)


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = json_loads(text or "{}", max_size=MAX_ARGUMENTS)
    except JsonError as error:
        raise UsageError("arguments.not_json", f"the arguments are not JSON: {error.message}") from error
    if not isinstance(value, dict):
        raise UsageError("arguments.not_object", "the arguments must be a JSON object")
    return value


def _said(answer: Answer) -> Any:
    if answer.failed:
        return f"error: {answer.text}"
    if is_plain(answer.blocks):
        return answer.text
    return [_block(block) for block in answer.blocks]


def _block(block: dict[str, Any]) -> ToolOutputText | ToolOutputImage:
    if block["type"] == "image":
        return ToolOutputImage(image_url=f"data:{block['mimeType']};base64,{block['data']}")
    return ToolOutputText(text=text_of(block))

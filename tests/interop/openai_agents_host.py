"""A host on the OpenAI Agents SDK: its own loop, with a model that says what it was told to say."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from mpp_exec import Runtime
from mpp_exec.integrations.openai_agents import tools


class Script(Model):  # type: ignore[misc]
    """Calls what it is told to, all at once, and then has nothing more to say."""

    def __init__(self, calls: list[Any]) -> None:
        self._calls = calls
        self.answers: list[Any] = []

    async def get_response(self, **given: Any) -> ModelResponse:
        said = [] if isinstance(given["input"], str) else given["input"]
        outputs = [item for item in said if item.get("type") == "function_call_output"]
        self.answers = [item["output"] for item in outputs]
        if outputs:
            text = ResponseOutputText(type="output_text", text="done", annotations=[])
            message = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=[text]
            )
            return ModelResponse(output=[message], usage=Usage(), response_id=None)
        calls = [
            ResponseFunctionToolCall(type="function_call", call_id=str(number), name=name, arguments=text)
            for number, (name, text) in enumerate(self._calls)
        ]
        return ModelResponse(output=calls, usage=Usage(), response_id=None)

    async def stream_response(self, _: Any, said: Any, *__: Any, **___: Any) -> AsyncIterator[Any]:
        came = await self.get_response(input=said)
        whole = Response(
            id="r",
            created_at=0,
            model="script",
            object="response",
            output=came.output,
            parallel_tool_calls=True,
            tool_choice="auto",
            tools=[],
        )
        yield ResponseCompletedEvent(type="response.completed", response=whole, sequence_number=0)


async def main() -> None:
    """Answer one request with one document."""
    request = json.load(sys.stdin)
    set_tracing_disabled(disabled=True)
    async with Runtime(request["home"], confirm=lambda _: request["answer"]) as runtime:
        found = tools(runtime, request["packages"])
        model = Script(
            [(name, args if isinstance(args, str) else json.dumps(args)) for name, args in request["calls"]]
        )
        ended = await Runner.run(Agent(name="a", model=model, tools=list(found)), "go")
        calls = model.answers
        streamed = Runner.run_streamed(Agent(name="a", model=model, tools=list(found)), "go")
        events = [event async for event in streamed.stream_events()]
        document = {
            "tools": [
                {"name": tool.name, "description": tool.description, "schema": tool.params_json_schema}
                for tool in found
            ],
            "calls": calls,
            "again": model.answers,
            "streamed": sum(getattr(event, "name", "") == "tool_output" for event in events),
            "ended": ended.final_output,
        }
    json.dump(document, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())

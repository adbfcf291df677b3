"""A host on LangChain: a model that says what it was told to say calls tools of packages."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool

from mpp_exec import Runtime
from mpp_exec.integrations.langchain import tools


class Started(BaseCallbackHandler):  # type: ignore[misc]
    """Notes which tools LangChain itself says were started."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_tool_start(self, serialized: dict[str, Any], *_: Any, **__: Any) -> None:
        self.names.append(serialized["name"])


class Script(BaseChatModel):  # type: ignore[misc]
    """Calls what it is told to, all at once, and then has nothing more to say."""

    calls: list[dict[str, Any]]

    @property
    def _llm_type(self) -> str:
        return "script"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        asked = any(isinstance(message, ToolMessage) for message in messages)
        said = AIMessage("done") if asked else AIMessage("", tool_calls=self.calls)
        return ChatResult(generations=[ChatGeneration(message=said)])


def main() -> None:
    """Answer one request with one document."""
    request = json.load(sys.stdin)
    started = Started()
    with Runtime(request["home"], confirm=lambda _: request["answer"]) as runtime:
        found = {tool.name: tool for tool in tools(runtime, request["packages"])}
        calls: list[dict[str, Any]] = [
            {"type": "tool_call", "id": str(number), "name": name, "args": args}
            for number, (name, args) in enumerate(request["calls"])
        ]
        config = {"callbacks": [started]}
        messages = [found[call["name"]].invoke(call, config) for call in calls]

        async def at_once() -> list[Any]:
            return list(await asyncio.gather(*(found[call["name"]].ainvoke(call) for call in calls)))

        again = asyncio.run(at_once())
        agent = create_agent(Script(calls=calls), tools=list(found.values()))
        question = {"messages": [("user", "go")]}
        looped = [agent.invoke(question), asyncio.run(agent.ainvoke(question))]
        streamed = list(agent.stream(question, stream_mode="updates"))
        document = {
            "tools": [convert_to_openai_tool(tool) for tool in found.values()],
            "calls": [told(message) for message in messages],
            "again": [told(message) for message in again],
            "looped": [list(map(told, answered(run["messages"]))) for run in looped],
            "streamed": sum(len(answered(each["tools"]["messages"])) for each in streamed if "tools" in each),
            "started": started.names,
        }
    json.dump(document, sys.stdout)


def answered(messages: list[Any]) -> list[Any]:
    """Return the answers of tools among *messages*, in the order of their calls."""
    found = [message for message in messages if isinstance(message, ToolMessage)]
    return sorted(found, key=lambda message: int(message.tool_call_id))


def told(message: Any) -> dict[str, Any]:
    outcome = message.artifact.outcome if message.artifact is not None else None
    return {"content": message.content, "status": message.status, "outcome": outcome}


if __name__ == "__main__":
    main()

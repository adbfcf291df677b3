"""A host on LangChain: a model that says what it was told to say calls tools of packages."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.utils.function_calling import convert_to_openai_tool

from mpp_exec import Runtime
from mpp_exec.integrations.langchain import tools


class Started(BaseCallbackHandler):  # type: ignore[misc]
    """Notes which tools LangChain itself says were started."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_tool_start(self, serialized: dict[str, Any], *_: Any, **__: Any) -> None:
        self.names.append(serialized["name"])


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
        document = {
            "tools": [convert_to_openai_tool(tool) for tool in found.values()],
            "calls": [told(message) for message in messages],
            "again": [told(message) for message in again],
            "started": started.names,
        }
    json.dump(document, sys.stdout)


def told(message: Any) -> dict[str, Any]:
    outcome = message.artifact.outcome if message.artifact is not None else None
    return {"content": message.content, "status": message.status, "outcome": outcome}


if __name__ == "__main__":
    main()

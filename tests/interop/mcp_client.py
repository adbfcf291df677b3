"""The official MCP client, in an environment of its own: one JSON object in, one out."""

from __future__ import annotations

import asyncio
import json
import sys
from string import Template
from typing import Any

from mcp import Client, MCPError, types
from mcp.client.stdio import StdioServerParameters, stdio_client


async def session(request: dict[str, Any]) -> dict[str, Any]:
    """Connect as ``mode`` says, list the tools, make the calls, and say what came of each."""
    server = StdioServerParameters(command=request["command"], args=request["args"], env=request["env"])
    questions: list[str] = []

    async def answer(_: Any, params: Any) -> Any:
        questions.append(params.message)
        return types.ElicitResult(action="accept", content={"confirm": request["answer"]})

    asks = {"elicitation_callback": answer} if request["answer"] is not None else {}
    async with Client(stdio_client(server), mode=request["mode"], **asks) as client:
        listed = await client.list_tools()
        calls = await asyncio.gather(*(call(client, *each) for each in request["calls"]))
        for name, arguments in request.get("then", ()):  # one by one, with what the last one returned
            last = calls[-1]["structured"] if calls else {}
            filled = {key: Template(text).safe_substitute(last) for key, text in arguments.items()}
            calls.append(await call(client, name, filled))
        return {
            "instructions": client.instructions,
            "version": client.protocol_version,
            "tools": [tool.model_dump(by_alias=True, exclude_none=True) for tool in listed.tools],
            "calls": calls,
            "questions": questions,
        }


async def call(client: Any, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return {"code": error.code}
    return {
        "isError": result.is_error,
        "structured": result.structured_content,
        "text": [block.text for block in result.content if block.type == "text"],
    }


if __name__ == "__main__":
    json.dump(asyncio.run(session(json.load(sys.stdin))), sys.stdout)

"""The official MCP client against servers that nothing confines, a fresh one for each call."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client


async def call(request: dict[str, Any], name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    server = StdioServerParameters(
        command=request["command"], args=request["args"], env=request["env"], cwd=request["cwd"]
    )
    async with Client(stdio_client(server, errlog=sys.stderr), mode="legacy") as client:
        try:
            result = await client.call_tool(name, arguments)
        except MCPError as error:
            return {"error": str(error)}
        told: dict[str, Any] = result.model_dump(by_alias=True, exclude_none=True, mode="json")
        return told


async def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [await call(request, *each) for each in request["calls"]]


if __name__ == "__main__":
    json.dump(asyncio.run(main(json.load(sys.stdin))), sys.stdout)

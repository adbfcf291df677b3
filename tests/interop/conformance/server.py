"""The tools that the conformance suite calls by name, as an ordinary MCP server on stdio."""

import json
import sys
import time
from typing import Any

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA=="
TEXT = {"type": "text", "text": "This is a simple text response for testing."}
IMAGE = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
AUDIO = {"type": "audio", "data": SILENCE, "mimeType": "audio/wav"}


def resource(uri: str, mime: str, text: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": text}}


RESULTS = {
    "test_simple_text": [TEXT],
    "test_image_content": [IMAGE],
    "test_audio_content": [AUDIO],
    "test_embedded_resource": [
        resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        {"type": "text", "text": "Multiple content types test:"},
        IMAGE,
        resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(name: str, token: Any) -> dict[str, Any]:
    if name == "test_error_handling":
        text = "This tool intentionally returns an error for testing"
        return {"content": [{"type": "text", "text": text}], "isError": True}
    if name == "test_tool_with_progress" and token is not None:
        for progress in (0, 50, 100):
            params = {"progressToken": token, "progress": progress, "total": 100}
            say(method="notifications/progress", params=params)
            time.sleep(0.1)
    return {"content": RESULTS.get(name, [{"type": "text", "text": f"{name} ran."}])}


for line in sys.stdin:
    message = json.loads(line)
    params = message.get("params", {})
    if message.get("method") == "initialize":
        about = {"name": "conformance", "version": "1.0.0"}
        version = params["protocolVersion"]
        say(
            id=message["id"],
            result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about},
        )
    elif message.get("method") == "tools/call":
        say(id=message["id"], result=call(params["name"], params.get("_meta", {}).get("progressToken")))
    elif "id" in message:
        say(id=message["id"], error={"code": -32601, "message": "not here"})

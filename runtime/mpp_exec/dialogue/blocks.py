"""Content blocks of a tool's result: which there are, what of one is text, and what is left when redacted.

Source: Model Context Protocol 2025-11-25, server/tools (``CallToolResult``, content blocks).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

RESULT: Final = ("content", "structuredContent", "isError", "_meta")
"""Members of a result. What MCP does not define, no client shows: it would be a way out that nobody sees."""

_RESOURCE: Final = ("uri", "mimeType", "text", "blob", "_meta")
_ANY_BLOCK: Final = ("type", "annotations", "_meta")
_BLOCKS: Final[dict[str, tuple[dict[str, type], tuple[str, ...]]]] = {
    "text": ({"text": str}, ()),
    "image": ({"data": str, "mimeType": str}, ()),
    "audio": ({"data": str, "mimeType": str}, ()),
    "resource_link": ({"uri": str, "name": str}, ("title", "description", "mimeType", "size", "icons")),
    "resource": ({"resource": dict}, ()),
}
"""For each type of block its required members and the optional ones; there are no others."""


def is_block(block: Any) -> bool:
    """Tell whether *block* is a content block, with no member beyond those that it has by definition."""
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        return False
    required, optional = _BLOCKS[kind]
    if block.keys() - {*_ANY_BLOCK, *required, *optional}:
        return False
    if not all(isinstance(block.get(name), form) for name, form in required.items()):
        return False
    if "data" in required:
        return block["mimeType"].startswith(f"{kind}/") and _decoded(block["data"]) is not None
    return kind != "resource" or _is_resource(block["resource"])


def _is_resource(resource: dict[str, Any]) -> bool:
    if resource.keys() - set(_RESOURCE) or not isinstance(resource.get("uri"), str):
        return False
    if "blob" in resource:
        return (
            "text" not in resource
            and isinstance(resource["blob"], str)
            and _decoded(resource["blob"]) is not None
        )
    return isinstance(resource.get("text"), str)


def defined(block: Any) -> Any:
    """Return *block* less members that its type does not have, and those that are null: servers add them."""
    if not isinstance(block, dict) or not isinstance(block.get("type"), str) or block["type"] not in _BLOCKS:
        return block
    required, optional = _BLOCKS[block["type"]]
    known = (*_ANY_BLOCK, *required, *optional)
    kept = {name: part for name, part in block.items() if name in known and part is not None}
    if isinstance(kept.get("resource"), dict):
        inner = kept["resource"]
        kept["resource"] = {name: inner[name] for name in _RESOURCE if inner.get(name) is not None}
    return kept


def text_parts(block: dict[str, Any]) -> dict[str, Any]:
    """Return what is redacted of a block: all of it, base64 of text as that text, but no other bytes."""
    parts = {name: part for name, part in block.items() if name != "data"}
    if "data" in block:
        parts |= _as_text("data", block["data"])
    if block["type"] == "resource":
        resource = block["resource"]
        inner = {name: part for name, part in resource.items() if name not in ("blob", "_meta")}
        parts["resource"] = inner | (_as_text("blob", resource["blob"]) if "blob" in resource else {})
    return parts


def with_binary(clean: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    """Return *block* with what is left of its ``text_parts``."""
    # The type word and the names of members decide how a client reads the block; no redaction changes them.
    whole = {**clean, "type": block["type"]}
    if "data" in block:
        whole["data"] = _as_base64(clean, "data", block["data"])
    if block["type"] == "resource" and "blob" in block["resource"]:
        inner = clean["resource"]
        whole["resource"] = {**inner, "blob": _as_base64(inner, "blob", block["resource"]["blob"])}
    return whole


def without_binary(blocks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Return *blocks* with a line of text for each that holds, or leads to, what nobody has read; how many.

    Images, sounds and files count whatever their bytes are, and links, behind which anything can be.
    """
    kept = [_in_words(block) for block in blocks]
    return [block if words is None else words for block, words in zip(blocks, kept, strict=True)], sum(
        words is not None for words in kept
    )


def _in_words(block: dict[str, Any]) -> dict[str, Any] | None:
    """Return the text that stands for a block which is withheld, None for one that is not."""
    inner = block["resource"] if block["type"] == "resource" else block
    encoded = inner.get("data", inner.get("blob"))
    if encoded is None and block["type"] != "resource_link":
        return None
    kind = {"resource": "file", "resource_link": "link"}.get(block["type"], block["type"])
    size = f", {len(_decoded(encoded) or b'')} bytes" if encoded is not None else ""
    text = f"[BINARY] {kind} of type {inner.get('mimeType', 'unknown')}{size}: withheld by policy"
    kept = {"annotations": block["annotations"]} if "annotations" in block else {}
    return {"type": "text", "text": text, **kept}


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _as_text(name: str, encoded: str) -> dict[str, str]:
    try:
        return {name: (_decoded(encoded) or b"").decode("utf-8")}
    except UnicodeDecodeError:
        return {}


def _as_base64(clean: dict[str, Any], name: str, before: str) -> str:
    """Return the text of *clean* in base64 if it was text *before*, else the bytes as they were."""
    if name not in clean:
        return before
    return base64.b64encode(str(clean[name]).encode()).decode()

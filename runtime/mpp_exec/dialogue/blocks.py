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
    parts = {name: block[name] for name in _plain(block, "data")} | _as_text(block, "data")
    if block["type"] == "resource":
        inner = block["resource"]
        parts["resource"] = {name: inner[name] for name in _plain(inner, "blob")} | _as_text(inner, "blob")
    return parts


def with_binary(clean: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    """Return *block* with what is left of its ``text_parts``.

    The type word and the names of members decide how a client reads the block, and are nobody's: no redaction
    changes them, also where one is a secret of the user's, or the tool calls it one.
    """
    whole = {**_named(clean, block, "data"), "type": block["type"]}
    if block["type"] == "resource":
        whole["resource"] = _named(whole["resource"], block["resource"], "blob")
    return whole


def _plain(members: dict[str, Any], encoded: str) -> list[str]:
    return [name for name in members if name not in (encoded, "_meta")]


def _named(clean: dict[str, Any], before: dict[str, Any], encoded: str) -> dict[str, Any]:
    """Return the values of *clean*, which are in the order of ``text_parts``, under the names of *before*.

    What was text in the member *encoded* is the last of them, and goes back into base64.
    """
    names, values = _plain(before, encoded), list(clean.values())
    whole = dict(zip(names, values, strict=False))
    if encoded in before:
        read = values[len(names) :]
        whole[encoded] = base64.b64encode(str(read[0]).encode()).decode() if read else before[encoded]
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


def _as_text(members: dict[str, Any], encoded: str) -> dict[str, str]:
    try:
        return {encoded: (_decoded(members[encoded]) or b"").decode("utf-8")} if encoded in members else {}
    except UnicodeDecodeError:
        return {}

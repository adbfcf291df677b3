"""Trace context on its way from the client of a call to the server that is the tool.

Of what W3C has for this, ``traceparent`` and ``tracestate`` are passed on, where they are well-formed.
``baggage`` is not: it holds whatever an application put there, users and accounts included, and nobody agreed
that the tool may see it.

Source: W3C Trace Context, 3.2 and 3.3; MCP 2026-07-28, basic/index (``_meta``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mpp_exec.patterns import lazily

_PARENT: Final = lazily(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STATE: Final = lazily(r"[\x20-\x7e]{1,512}")


def trace_context(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return what is passed on of *meta*, {} if it has no parent that can be."""
    parent, state = meta.get("traceparent"), meta.get("tracestate")
    if not isinstance(parent, str) or _PARENT.fullmatch(parent) is None:
        return {}
    if not isinstance(state, str) or _STATE.fullmatch(state) is None:
        return {"traceparent": parent}
    return {"traceparent": parent, "tracestate": state}

"""What a long message is, told by how it begins: nobody reads one for which nobody has asked."""

from __future__ import annotations

from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.patterns import lazily

MAX_UNASKED: Final = 65_536
"""Bytes of a message that is read though nobody asked for it. A longer one is kept as the text it is: what it
costs to parse and to write out again is the server's choice."""

# The members of a message before its large one: strings without escapes, numbers, constants.
_MEMBER: Final = rb'\s*"([^"\\]{1,64})"\s*:\s*("[^"\\]{0,256}"|-?[0-9]{1,20}|true|false|null)\s*,'
_MEMBERS: Final = lazily(_MEMBER)
_HEAD: Final = lazily(rb"\{((?:" + _MEMBER + rb')*)\s*"([^"\\]{1,64})"\s*:')


def _head(line: bytes) -> tuple[dict[str, bytes], str]:
    """Return the members with which a message begins, and the name of the one after them: the large one."""
    head = _HEAD.match(line, 0, MAX_UNASKED)
    if head is None:
        return {}, ""
    members = {name.decode("utf-8", "replace"): value for name, value in _MEMBERS.findall(head[1])}
    return members, head[4].decode("utf-8", "replace")


def is_answer(line: bytes) -> bool:
    """Return whether a message says before anything large that it is an answer."""
    members, large = _head(line)
    return large in {"result", "error"} and "method" not in members


def long_request(line: bytes) -> dict[str, Any] | None:
    """Return a request whose parameters are too long to be read: it is refused whatever they are."""
    members, _ = _head(line)
    if "method" not in members or "id" not in members:
        return None
    try:
        return {name: encoding.json_loads(members[name], max_size=1024) for name in ("method", "id")}
    except encoding.JsonError:
        return None

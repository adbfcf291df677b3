"""Secrets that the object says they are which holds them, whatever their own names are.

A Secret of Kubernetes, in JSON and in YAML as ``kubectl get secret -o yaml`` prints it; a value beside
``"sensitive": true``, as Terraform prints outputs. Source: kubernetes.io/docs/concepts/configuration/secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.anchors import CASE, Needle
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.labels import DECLARED
from mpp_exec.privacy.values import judged

NEEDLES: Final = (Needle("kind: Secret", CASE),)
_DATA: Final = ("data", "stringData")
_FAR: Final = 1 << 16  # code points of one manifest, on either side of its kind
_KIND: Final = lazily(r"kind: Secret[ \t\r]{0,8}(?=\n|\Z)")
# Where another manifest begins: a document of YAML, or an item of a list.
_BOUNDARY: Final = lazily(r"^(?:---[^\n]{0,80}|[ ]{0,8}- apiVersion:[^\n]{0,80})$", re.MULTILINE)
_BLOCK: Final = lazily(r"^(?P<indent>[ ]{0,16})(?:data|stringData):[ \t\r]{0,8}\n", re.MULTILINE)
_ENTRY: Final = lazily(
    r"(?P<indent>[ ]{1,24})[\w.-]{1,253}:[ \t]{1,4}(?P<quote>[\"']?)(?P<value>[^\n]{1,65536})"
)


def below(value: Mapping[str, Any], names: Sequence[str], announced: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the *names* of an object announce, once what it declares to be secret is."""
    if value.get("kind") == "Secret":
        secret: tuple[str, ...] = _DATA
    elif value.get("sensitive") is True:
        secret = ("value",)
    else:
        return announced
    return tuple(DECLARED if name in secret else kind for name, kind in zip(names, announced, strict=True))


def whole(text: str) -> Candidate | None:
    """Return the secret that a string is which is declared to be one, None if it is a placeholder."""
    value = text.strip()
    return judged(value, text.find(value), "password", quoted=True, shell=False)


def manifests(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the values of the Secrets in *text* that are YAML; *places* are those of their kind."""
    found: list[Candidate] = []
    free = 0
    for at, _ in places:
        meter.step(len(found))
        if at < free or not _KIND.match(text, at):
            continue
        low = max(free, at - _FAR)
        for boundary in _BOUNDARY.finditer(text, low, at):
            low = boundary.start()
        end = _BOUNDARY.search(text, at, at + _FAR)
        free = end.start() if end else min(len(text), at + _FAR)
        for block in _BLOCK.finditer(text, low, free):
            found += _entries(text, block.end(), len(block["indent"]), free)
    return found


def _entries(text: str, at: int, indent: int, end: int) -> list[Candidate]:
    found: list[Candidate] = []
    while at < end and (entry := _ENTRY.match(text, at, end)) and len(entry["indent"]) > indent:
        meter.step(len(found))
        value = entry["value"].rstrip()
        if entry["quote"] and value.endswith(entry["quote"]):
            value = value[:-1]
        if candidate := judged(value, entry.start("value"), "password", quoted=True, shell=False):
            found.append(candidate)
        at = entry.end() + 1
    return found

"""Redacts what the host says about denials, on its way out.

The host builds its sentences from the tool's words and spells them differently: a path without ``//``, a
host in lower case. So what the tool tried is redacted in the tool's own spelling, and the sentences are
redacted once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec.privacy.redact import Redactor
from mpp_exec.sandbox.denial import Clean, Denial

Explain = Callable[[str | None, int | None, Clean], str]
"""Says for a path and an errno which permission would have allowed it, "" if none would."""

Deny = Callable[[Mapping[str, Any], Clean], Sequence[Denial]]
"""Says what was denied of that which the launcher says was tried."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Why a tool failed, and what its launcher noted, in the tool's own words."""

    path: str | None
    errno: int | None
    notes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Denied:
    """What is told of it: everything in sentences, a line each; the first of them; each by itself."""

    sentences: str
    hint: str
    denials: tuple[Mapping[str, str], ...]


_NOTHING: Final = Denied("", "", ())


def redacted_denials(
    tried: Tried, explain: Explain, deny: Deny, redactor: Redactor, counts: Counter[str]
) -> Denied:
    """Return what is reported about *tried*, redacted, and add the findings to *counts*.

    Raises:
        StoppedError: *redactor* exceeded its bounds or was cancelled.
    """
    if not (tried.notes or tried.path or tried.errno):
        return _NOTHING
    found: dict[str, Mapping[str, int]] = {}

    def clean(text: str) -> str:
        redacted = redactor.redact(text)
        found[text] = redacted.counts()
        shown: str = redacted.value
        return shown

    hint = explain(tried.path, tried.errno, clean) if tried.path or tried.errno else ""
    told = deny(tried.notes, clean)
    # The cause of the call's failure comes first; a denial that the tool handled itself adds no more to it.
    sentences = dict.fromkeys([*([hint] if hint else []), *(each.sentence for each in told)])
    # The words of the hint and of each denial are also in the sentences, and are counted there.
    words = redactor.redact_many(
        {"sentences": "\n".join(sentences), "hint": hint, "denials": [each.to_value() for each in told]}
    )
    for each in (*found.values(), words["sentences"].counts()):
        counts.update(each)
    return Denied(words["sentences"].value, words["hint"].value, tuple(words["denials"].value))

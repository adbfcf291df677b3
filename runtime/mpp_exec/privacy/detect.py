"""Every detector over one string.

A detector is added by writing a function and naming it in :data:`DETECTORS`. Detectors do not know
of each other; what overlaps is settled where actions are known (``redact``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mpp_exec.privacy import network, numbers, rules
from mpp_exec.privacy.finding import Candidate, Detector

if TYPE_CHECKING:
    from mpp_exec.privacy.fold import Offsets

# Ordered by length, so that a short string meets few of them.
DETECTORS: Final = (
    Detector(4, ":", network.ipv6_addresses),
    Detector(6, "@", network.emails),
    Detector(7, ".", network.ip_addresses),
    Detector(12, "", numbers.cards),
    Detector(15, "", numbers.ibans),
    Detector(20, "A", rules.aws_key_ids),
    Detector(24, "eyJ", rules.jwts),
    Detector(26, "PRIVATE KEY", rules.private_keys),
    Detector(40, "g", rules.github_tokens),
    Detector(40, "", rules.aws_secret_keys),
)


def detect(text: str, key: str = "") -> list[Candidate]:
    """Return what every detector finds in *text*, in its offsets, in no particular order.

    *key* is the nearest JSON key above the text, "" if there is none. Candidates may overlap.
    """
    if text.isascii():
        return _scan(text, key)
    placed: dict[tuple[str, int, int], Candidate] = {}
    for view, offsets in views(text):
        for candidate in _scan(view, key):
            original = in_original(candidate, offsets)
            placed.setdefault((original.kind, original.start, original.end), original)
    return list(placed.values())


def views(text: str) -> Iterator[tuple[str, Offsets | None]]:
    """Yield *text* in each way it has to be read, with the way back to its own offsets.

    Invisible characters are read both as nothing (``jane@exa|mple.com``) and as the separators that
    they are as well (``order|4111111111111111``).
    """
    if text.isascii():
        yield text, None
        return
    from mpp_exec.privacy import fold  # noqa: PLC0415  # tables that plain ASCII never needs

    spelled = fold.spelled(text)
    yield spelled, None
    if shortened := fold.without_invisible(spelled):
        yield shortened


def in_original(candidate: Candidate, offsets: Offsets | None) -> Candidate:
    """Return *candidate*, found in a view, with offsets into the text that the view was made of."""
    if offsets is None:
        return candidate
    return candidate._replace(
        start=offsets.original(candidate.start), end=offsets.original(candidate.end - 1) + 1
    )


def _scan(text: str, key: str) -> list[Candidate]:
    length = len(text)
    found: list[Candidate] = []
    for shortest, needle, find in DETECTORS:
        if length < shortest:
            break
        if needle in text:
            found += find(text, key)
    return found

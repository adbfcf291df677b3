"""One string, key or number of a JSON value: as read, and what became of it."""

from __future__ import annotations

from typing import Final

from mpp_exec.privacy import labelled, meter, rules
from mpp_exec.privacy.detect import detect
from mpp_exec.privacy.finding import Candidate

AWS: Final = "aws"
"""What a key announces under which an AWS secret access key may stand: nothing, but it is looked for."""


class Leaf:
    """One string, key or number of a value: as read, and what became of it.

    Attributes:
        text: the string, or the digits of the number.
        key: nearest JSON key above it, "" if there is none.
        label: kind that the keys above it announce, "" if none.
        after_key: a private key block is open in front of it.
        anchored: the detectors may find something in it.
        candidates: what the detectors found.
        spans: what counts as found, in order, once that is settled.
        written: the string with its spans replaced, None where it stays as it is.
    """

    __slots__ = ("after_key", "anchored", "candidates", "key", "label", "spans", "text", "written")

    def __init__(self, text: str, key: str, label: str = "") -> None:
        self.text = text
        self.key = key
        self.label = label
        self.after_key = False
        self.anchored = False
        self.candidates: list[Candidate] = []
        self.spans: list[Candidate] = []
        self.written: str | None = None

    def scan(self, text: str) -> list[Candidate]:
        """Return what the detectors would find if *text* stood here."""
        found = detect(text, self.key) + self.announced(text)
        meter.add(len(found))
        return found

    def announced(self, text: str) -> list[Candidate]:
        """Return what *text* is for standing here, whatever the detectors find in it."""
        found = labelled.under(self.label, self.key, text) if self.label and self.label != AWS else []
        if self.after_key and rules.continues_private_key(text):
            found.append(Candidate("secret", 0, len(text), 0.9, text, "private_key"))
        return found

"""One detector by itself, which gets its places as ``detect`` gives them to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpp_exec.privacy import detect
from mpp_exec.privacy.anchors import FORMS
from mpp_exec.privacy.finding import Candidate


def alone(find: Callable[[str, str, Any], list[Candidate]]) -> Callable[..., list[Candidate]]:
    """Return the detector *find* as a function of a text and the key above it."""

    def found(text: str, key: str = "") -> list[Candidate]:
        scanner, finders, place = detect._words()
        places: list[Any] = []
        for flat in scanner.chunks(text):
            for at, what in zip(flat[::2], flat[1::2], strict=True):
                if what >= FORMS and finders[what - FORMS] is find:
                    places.append((at, place[what - FORMS]))
                elif what < FORMS and detect._FORMS.get(what) is find:
                    places.append(at)
        return find(text, key, places) if places else []

    return found

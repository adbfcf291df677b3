"""CredSweeper, with its model (argument ``model``) or without: which JSON strings on stdin have a secret."""

import json
import logging
import sys
import time
import warnings

from credsweeper.app import CredSweeper
from credsweeper.common.constants import ThresholdPreset
from credsweeper.file_handler.string_content_provider import StringContentProvider

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
model = sys.argv[1] == "model"
sweeper = CredSweeper(ml_threshold=ThresholdPreset.medium if model else 0, use_filters=True)
texts = [json.loads(line) for line in sys.stdin]
started = time.perf_counter()
found = []
for text in texts:
    candidates = sweeper.file_scan(StringContentProvider(text.splitlines()))
    if model and candidates:
        sweeper.credential_manager.candidates = list(candidates)
        sweeper.post_processing(lambda *_a, **_k: None)
        candidates = sweeper.credential_manager.candidates
        sweeper.credential_manager.candidates = []
    found.append(bool(candidates))
print(json.dumps({"seconds": time.perf_counter() - started, "found": found}))

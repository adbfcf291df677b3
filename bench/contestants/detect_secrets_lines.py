"""detect-secrets with its defaults: from JSON strings on stdin to which of them have a secret."""

import json
import sys
import tempfile
import time
from pathlib import Path

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

texts = [json.loads(line) for line in sys.stdin]
with tempfile.TemporaryDirectory() as folder:
    names = []
    for number, text in enumerate(texts):
        names.append(Path(folder) / f"{number}.txt")
        names[-1].write_text(text, encoding="utf-8", errors="replace")
    started = time.perf_counter()
    with default_settings():
        found = [any(True for _ in scan_file(str(name))) for name in names]
    seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "found": found}))

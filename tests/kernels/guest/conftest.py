"""What the guest was said to be."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest


@pytest.fixture(scope="session")
def claimed() -> dict[str, Any]:
    """Return the guest's row of ``kernels.toml``."""
    found = json.loads(os.environ["MPP_GUEST"])
    assert isinstance(found, dict)
    return found

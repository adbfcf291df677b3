"""What tests need of this machine. ``MPP_MUST_CONFINE=1`` states that it is here: nothing is skipped then."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test, since *what*; or fail it, where this machine was said to have everything."""
    if os.environ.get("MPP_MUST_CONFINE") == "1":
        pytest.fail(f"MPP_MUST_CONFINE=1, and {what}", pytrace=False)
    pytest.skip(what)

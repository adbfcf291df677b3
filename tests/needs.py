"""What tests need from this machine. ``MPP_MUST_CONFINE=1`` says that it is here: nothing is skipped."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test because of *what*; or fail it, if this machine was said to have everything."""
    if os.environ.get("MPP_MUST_CONFINE") == "1":
        pytest.fail(f"MPP_MUST_CONFINE=1, and {what}", pytrace=False)
    pytest.skip(what)

"""mpp-exec: signed tool packages for AI agents, each call in a fresh sandbox, redacted and on the record.

::

    from mpp_exec import Runtime

    with Runtime() as runtime:
        result = runtime.call("acme/csv", "query", {"path": "/data/a.csv"})

Names are imported when first used, so that ``import mpp_exec`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mpp_exec.errors import (
    ConsentError,
    HostError,
    InternalError,
    MppError,
    PackageError,
    UsageError,
)

if TYPE_CHECKING:
    from mpp_exec.calls.result import ToolResult as ToolResult
    from mpp_exec.consent.confirm import ConfirmationRequest as ConfirmationRequest
    from mpp_exec.pipeline import Runtime as Runtime
    from mpp_exec.privacy.finding import Finding as Finding
    from mpp_exec.privacy.redact import Redacted as Redacted
    from mpp_exec.privacy.redact import redact as redact

__version__ = "0.1.0"

_LAZY = {
    "ConfirmationRequest": "mpp_exec.consent.confirm",
    "Finding": "mpp_exec.privacy.finding",
    "Redacted": "mpp_exec.privacy.redact",
    "Runtime": "mpp_exec.pipeline",
    "ToolResult": "mpp_exec.calls.result",
    "redact": "mpp_exec.privacy.redact",
}

__all__ = [
    "ConfirmationRequest",
    "ConsentError",
    "Finding",
    "HostError",
    "InternalError",
    "MppError",
    "PackageError",
    "Redacted",
    "Runtime",
    "ToolResult",
    "UsageError",
    "__version__",
    "redact",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""The error tree, branched by who can fix the failure.

::

    MppError                 any failure of this project that is no tool's result
    ├── UsageError           exit 2: the caller (wrong word, wrong file, wrong argument)
    ├── PackageError         exit 3: the publisher (the file is not what it must be)
    ├── ConsentError         exit 4: the user or the organisation (trust, approval, policy)
    ├── HostError            exit 5: the host's administrator (this kernel cannot enforce the plan)
    └── InternalError        exit 7: the maintainers of mpp-exec (or a host that broke underneath it)

Exit 6 has no exception: a tool stopped by a limit is a result (``ToolResult.outcome``), not a
failure of the runtime. ``code`` is stable and machine-readable (``area.reason``); ``message`` is
lower case, without a full stop; ``hint`` says what the person who typed the command can do next.
"""

from __future__ import annotations

from typing import ClassVar


class MppError(Exception):
    """A failure with a stable code, a message for people and a hint.

    Messages may quote text that came from a package or a tool; whoever prints them must escape
    control characters (``cli.console`` does).
    """

    exit_code: ClassVar[int] = 7

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def to_json(self) -> dict[str, dict[str, str]]:
        """Return the document that ``--json`` prints for a failure that is no tool's result."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class UsageError(MppError):
    """The caller asked for something that cannot be, or said it wrongly."""

    exit_code = 2


class PackageError(MppError):
    """A package failed verification: it is refused and nothing of it is kept."""

    exit_code = 3


class ConsentError(MppError):
    """Not trusted, not approved, not confirmed, or against policy."""

    exit_code = 4


class HostError(MppError):
    """The host cannot enforce the plan, so nothing ran."""

    exit_code = 5


class InternalError(MppError):
    """A fault of mpp-exec itself, or of the machine under it (disk full, out of descriptors)."""

    exit_code = 7

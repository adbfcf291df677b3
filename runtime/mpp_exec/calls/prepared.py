"""A call that is ready to run: one tool of one package, verified, granted and planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from mpp_exec import encoding
from mpp_exec.audit.entry import Terms
from mpp_exec.consent.config import Filled
from mpp_exec.consent.grant import Grant
from mpp_exec.errors import UsageError
from mpp_exec.package.manifest import Manifest, Tool
from mpp_exec.package.schema import Validator
from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.received import Received
from mpp_exec.registry.store import Approved
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.shelf import Recipe
from mpp_exec.sandbox.spawn import Completed

_VIOLATIONS: Final = 3
"""What of the arguments is told at once: a model that hears of one alone comes back once for each."""

MAX_ARGUMENTS: Final = 4 << 20
"""Bytes of a call's arguments as JSON."""

Receive = Callable[[Any], Received]
"""Puts values in the place of tokens."""


@dataclass(frozen=True)
class Prepared:
    """One tool of one package, verified, granted and planned.

    Attributes:
        manifest, tool: the package and the tool that is called.
        grant: the grant as far as the policy of this moment leaves it.
        plan: how the call is confined.
        arguments: the validator of the inputSchema.
        result: the validator of the outputSchema, None without one.
        filled: command and variables with the user's values filled in.
        secrets: sensitive values, by setting; redacted wherever they appear.
        redaction: the action for each kind of sensitive data.
        terms: what the ledger records about the call.
        storage: the private folder on the host, None if none is granted.
        recipe: how sandboxes for later calls are prepared.
        approved: what was agreed, at the time of this call.
        image: the verified image with the files that this call may run; the installed files were not looked
            at. None if the installed files themselves were verified.
        look: checks the installed files, and raises PackageError if they are not the signed ones. It must
            be called before anything runs that does not come from *image*.
    """

    manifest: Manifest
    tool: Tool
    grant: Grant
    plan: SandboxPlan
    arguments: Validator
    result: Validator | None
    filled: Filled = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    redaction: RedactionPolicy = field(repr=False)
    terms: Terms
    storage: Path | None
    recipe: Recipe = field(repr=False)
    approved: Approved = field(repr=False)
    image: Image | None = field(repr=False, default=None)
    look: Callable[[], object] = field(repr=False, default=lambda: None)

    def variables(self, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the granted variables of the host and the variables of the package, for one call."""
        granted = {name: environ[name] for name in self.grant.permissions.environment if name in environ}
        return tuple((granted | dict(self.filled.env)).items())

    def request(self, arguments: dict[str, Any], receive: Receive | None = None) -> tuple[bytes, Received]:
        """Check *arguments*; return the bytes that the tool reads, and the values *receive* put for tokens.

        The schema is checked against exactly what the tool will read. An error names a place and a keyword,
        neither of which holds a value.

        Raises:
            UsageError: the arguments are not JSON, too large, too deep, or violate the inputSchema.
        """
        try:
            text = encoding.json_dumps(arguments)
            # Parse it again: exactly what the tool will read is checked, and nobody can change it meanwhile.
            checked = encoding.json_loads(text, max_size=MAX_ARGUMENTS)
        except encoding.JsonError as error:
            raise UsageError(
                "arguments.not_json", f"the arguments cannot be sent: {error.message}", "give one JSON object"
            ) from error
        received = receive(checked) if receive is not None else Received(checked)
        if received.tokens:
            checked = received.value
            text = encoding.json_dumps(checked)
        found = self.arguments.validate(checked, limit=_VIOLATIONS)
        if found:
            raise UsageError(
                "arguments.schema",
                f"the arguments break the inputSchema at {'; at '.join(map(str, found))}",
                f"mpp-exec inspect {self.manifest.name} shows what {self.tool.name} takes",
            )
        if self.plan.kind == "python":
            return f'{{"arguments":{text}}}'.encode(), received
        return f'{{"arguments":{text},"name":{encoding.json_dumps(self.tool.name)}}}'.encode(), received

    def command(self) -> tuple[str, ...]:
        """Return the plan's command line with the user's values filled in."""
        return command_line(self.plan, self.filled)


@dataclass(frozen=True, slots=True)
class Temporary:
    """A grant that a person confirmed for one traced call. It is stored nowhere."""

    grant: Grant
    secrets: Mapping[str, str] = field(repr=False)


class HostAsked(NamedTuple):
    """Hosts that a call asked for, as far as they are known.

    Attributes:
        refused: host, port (0: unknown) and reason of each destination that it did not reach.
        reached: host and port of each destination that it reached; None if not all are known.
    """

    refused: tuple[tuple[str, int, str], ...] = ()
    reached: tuple[tuple[str, int], ...] | None = None


class Trace:
    """One traced call: its grant and, once the call has ended, what the tool tried.

    Attributes:
        prepared: the call as it was made.
        completed: the outcome, with ``accesses``.
        asked: the hosts that the call asked for.
    """

    def __init__(self, temporary: Temporary) -> None:
        self.temporary = temporary
        self.prepared: Prepared | None = None
        self.completed: Completed | None = None
        self.asked = HostAsked()


def command_line(plan: SandboxPlan, filled: Filled) -> tuple[str, ...]:
    """Return the command line of *plan* with the user's values filled in."""
    return plan.argv if plan.kind == "python" else (plan.argv[0], *filled.command[1:])

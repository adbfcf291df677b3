"""A plan is a value: the same inputs (``planning``) give the same plan and the same digest.

It holds everything that a spawn needs, except what differs from call to call: variables, the invocation's
number, and the identity of the granted paths, which is taken when they are opened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mpp_exec import encoding
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import bare, cgroup, interpreter, kernel, layout, properties
from mpp_exec.sandbox.allow import Allow
from mpp_exec.sandbox.building import APP, SEAL, SHOWN, STORAGE
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.network import Stream
from mpp_exec.vocabulary import HostPort

PROCESSES_A_PROCESSOR: Final = 4
"""Processes and threads that limits must allow for each processor that a tool is let run on."""


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """Everything one invocation is confined by.

    Attributes:
        package, digest, tool: what it runs.
        entries: the file system, in the order of making.
        rules: Landlock rules, path and access bits; ``landlock`` what is handled, None if degraded.
        limits: the bounds of the call; ``rlimits`` as (RLIMIT number, soft, hard); ``cgroup`` the files of
            the call's cgroup and what each is set to, empty where none is delegated.
        tool_profile: the system call table; its programs are in ``programs``.
        argv, exec_path: the command inside.
        environment: the constant variables.
        scratch: the private folder: working directory, $TMPDIR, and $HOME below it.
        write_roots: granted folders whose special files are looked up at each call.
        programs: host interpreters that were mounted; ``started`` the programs that it may start.
        touches: whether the grant lets it reach outside: network, write, subprocess or storage.
        degraded: degradations that take effect.
        own_signals: a seccomp program of the call's own lets the tool signal itself only.
        storage: where its storage is, if it has one.
        bare: for a plan without namespaces, what it needs instead; else None.
        modules: where the compiled modules of the package are, or would be; None where none are kept.
        network: the granted destinations; ``streams`` and ``addresses`` are what init makes for them.
        import_once: sandboxes may be restored from what one of them was when it had imported the tool.
    """

    package: str
    version: str
    digest: str
    tool: str
    kind: str
    entries: tuple[Entry, ...]
    rules: tuple[tuple[str, int], ...]
    landlock: tuple[int, int, int] | None
    limits: Limits
    rlimits: tuple[tuple[int, int, int], ...]
    tool_profile: tuple[Allow, ...]
    argv: tuple[str, ...]
    exec_path: str
    environment: tuple[tuple[str, str], ...]
    scratch: str
    write_roots: tuple[str, ...]
    programs: tuple[interpreter.Program, ...]
    started: tuple[interpreter.Program, ...]
    touches: tuple[str, ...]
    degraded: tuple[str, ...]
    root: bool
    own_signals: bool = False
    storage: str = STORAGE
    bare: bare.Bare | None = None
    cgroup: cgroup.Bounds = ()
    modules: interpreter.KeptFile | None = None
    network: tuple[HostPort, ...] = ()
    streams: tuple[Stream, ...] = ()
    addresses: tuple[str, ...] = ()
    import_once: bool = False

    @property
    def late(self) -> int:
        """Index of the first entry that a sandbox prepared ahead of its call gets with that: the grants."""
        return next((i for i, entry in enumerate(self.entries) if entry.late), len(self.entries))

    @property
    def processors(self) -> int:
        """The most processors that the tool may run on.

        Numeric libraries and thread pools start as many threads as they see processors, or a few more, and on
        a large machine all of a tool's processes would be one library's threads, or its start fails.
        """
        return max(1, self.limits.processes // PROCESSES_A_PROCESSOR)

    @property
    def app(self) -> str:
        """Where the tool finds the package."""
        return APP if self.bare is None else self.bare.app

    def situation(self, facts: kernel.KernelFacts) -> properties.Situation:
        """Return what matters to what enforces this plan on the kernel of *facts*."""
        return properties.Situation(
            landlock_abi=facts.landlock_abi if self.landlock is not None else 0,
            root=self.root,
            namespaces=self.bare is None,
            python=self.kind == "python",
            subprocess=bool(self.started),
            cgroup=bool(self.cgroup),
            errata=facts.landlock_errata,
            network=bool(self.network),
        )

    def still_true(self) -> bool:
        """Return whether programs that are mounted or may be started, and modules, are what they were."""
        kept = (self.modules,) if self.modules is not None else ()
        return all(each.still_true() for each in (*self.programs, *self.started, *kept))

    @property
    def found_at(self) -> tuple[str, ...]:
        """The paths that :meth:`still_true` looks at."""
        paths = [path for program in (*self.programs, *self.started) for path, *_ in program.identity]
        return (*paths, self.modules.path) if self.modules is not None else tuple(paths)

    def fingerprint(self) -> str:
        """Return the digest of the plan's content: the same for the same inputs on this host."""
        return encoding.sha256_digest(repr(self).encode())


def with_seal(plan: SandboxPlan, seal: bytes, *, traced: bool = False) -> tuple[Entry, ...]:
    """Return the plan's entries with what the launcher reads: the sealing program, and what it is shown."""
    data = {SEAL: seal}
    if traced:
        hosts = bool(plan.network)
        data[SHOWN] = layout.shown(plan.entries, plan.limits.output, traced=True, hosts=hosts)
    return tuple(
        replace(entry, data=data[entry.target]) if entry.target in data else entry for entry in plan.entries
    )

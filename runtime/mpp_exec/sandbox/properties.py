"""What must hold for a call, what enforces it on this host, and what a person agreed to do without.

A property counts as enforced if at least two mechanisms work for it (promise 7). If only one works, the
grant must name what is missing. If none works, nobody can agree to it. Pure: turns facts about the kernel
into a table, so that the answer for every kernel can be computed on any machine.

Sources: Linux Documentation/userspace-api/landlock.rst (which right came with which ABI), namespaces(7),
seccomp(2), capabilities(7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mpp_exec.consent.grant import Grant, withheld_by_user
from mpp_exec.errors import HostError
from mpp_exec.sandbox.kernel import KernelFacts

ENOUGH = 2
"""Mechanisms that must work for a property: one bug in one of them is not an escape."""

TRUNCATE_ABI = 3  # Linux 6.2
TCP_ABI = 4  # Linux 6.7
SCOPE_ABI = 6  # Linux 6.12
MOVED_ERRATUM = 1 << 2
"""Landlock's erratum 3: where something is renamed or linked in a folder that the host has moved out of a
mounted one while a tool has it open, Landlock asks for too few rights. The other errata refuse too much."""

UNMENDED = "not of a folder that the host moves out of a grant meanwhile: erratum 3"

_REMEDIES = {
    "landlock": "boot Linux 5.13 or later with lsm=landlock,…",
    "landlock-truncate": "Linux 6.2 has it",
    "landlock-net": "Linux 6.7 has it",
    "landlock-scope": "Linux 6.12 has it",
    "namespaces": "mpp-exec doctor says how to get them",
}
_CODES = {"landlock": "host.no_landlock", "namespaces": "host.no_namespaces"}


@dataclass(frozen=True, slots=True)
class Situation:
    """A plan, as far as it matters to what enforces it, on a kernel.

    Attributes:
        landlock_abi: 0 where there is no Landlock, or the plan does without.
        root: the host is root, so the tool runs as an id of its own.
        namespaces: the sandbox gets namespaces of its own.
        python: the launcher is there to take execve away.
        subprocess: it may start programs.
        cgroup: it runs in a cgroup of its own.
        errata: bit mask of the faults of Landlock that the kernel says are mended.
        network: it was granted hosts.
    """

    landlock_abi: int
    root: bool
    namespaces: bool
    python: bool
    subprocess: bool
    cgroup: bool = False
    errata: int = 0
    network: bool = False

    @property
    def own_signals(self) -> bool:
        """Whether a seccomp program lets the tool signal no process but itself.

        It names the process, so it holds for one that cannot fork; it costs an installation per call, so it
        is there where the kernel offers less than two other mechanisms.
        """
        return not self.subprocess and (not self.namespaces or self.landlock_abi < SCOPE_ABI)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One thing that enforces a property. ``degradation`` names its absence, "" if no host is at fault."""

    name: str
    works: bool
    degradation: str = ""


@dataclass(frozen=True, slots=True)
class Property:
    """What must hold, under a short *name*; *holds* is what would no longer, in words."""

    name: str
    holds: str
    mechanisms: tuple[Mechanism, ...]

    @property
    def working(self) -> tuple[str, ...]:
        """What enforces it."""
        return tuple(each.name for each in self.mechanisms if each.works)

    @property
    def absent(self) -> tuple[str, ...]:
        """The degradations it takes to do with what works; () where that is enough."""
        if len(self.working) >= ENOUGH:
            return ()
        return tuple(each.degradation for each in self.mechanisms if not each.works and each.degradation)


def properties(at: Situation) -> tuple[Property, ...]:
    """Return every property of a call with its mechanisms, working or not."""
    abi = at.landlock_abi

    def space(name: str) -> Mechanism:
        return Mechanism(name, at.namespaces, "namespaces")

    def landlock(name: str, since: int = 1, right: str = "landlock") -> Mechanism:
        return Mechanism(name, abi >= since, right if abi else "landlock")

    def given(name: str, works: bool = True) -> Mechanism:
        return Mechanism(name, works)

    some = space("mount namespace"), landlock(f"Landlock ABI {abi}")
    alone = not at.subprocess
    moved = "" if at.errata & MOVED_ERRATUM or not at.namespaces else f" ({UNMENDED})"
    counted = given("cgroup: counted by the kernel" if at.cgroup else "supervisor's sampling")
    rows = {
        ("files", "that files outside of the grant cannot be read"): some,
        ("writing", "that what is read-only cannot be written"): (
            space("read-only mounts"),
            landlock(f"Landlock: no write right{moved}"),
        ),
        ("truncation", "that what is read-only cannot be truncated"): (
            space("read-only mounts"),
            landlock("Landlock: no truncate right", TRUNCATE_ABI, "landlock-truncate"),
        ),
        **_network(at, space, given, landlock),
        ("programs", "that no other program can be executed"): (
            given("seccomp: execve sealed", at.python and alone),
            space("noexec mounts"),
            landlock("Landlock: execute right"),
        ),
        ("processes", "that other processes cannot be looked into"): (
            space("PID namespace"),
            given("seccomp: no ptrace, no process_vm_*"),
            landlock("Landlock domain"),
        ),
        ("new processes", "that no more processes are made than allowed"): (
            given("seccomp: no fork", alone),
            given("RLIMIT_NPROC", at.namespaces or at.root),
            given("supervisor's count"),
            given("cgroup: pids.max", at.cgroup),
        ),
        ("signals", "that no other process can be signalled"): (
            space("PID namespace"),
            given("an id of its own", at.root),
            given("seccomp: signals to itself only", at.own_signals),
            landlock("Landlock scopes", SCOPE_ABI, "landlock-scope"),
        ),
        ("devices", "that no device can be opened"): (
            space("three devices, all others on nodev mounts"),
            landlock("Landlock: no right on other devices"),
        ),
        ("ioctl", "that devices cannot be controlled"): (
            given("seccomp: six requests"),
            given("no device but null, random, urandom", at.namespaces or abi > 0),
        ),
        ("ipc", "that System V and POSIX IPC of others cannot be reached"): (
            space("IPC namespace"),
            given("seccomp: no IPC calls"),
        ),
        ("end", "that nothing of it outlives the call"): (
            given("PID namespace", at.namespaces),
            given("seccomp: no fork", alone),
            given("death signal from its init"),
        ),
        ("identity", "that no privilege can be had"): (
            space(
                "user namespace, an outer id of its own" if at.root else "user namespace, the host's own id"
            ),
            given("no_new_privs"),
            given("no capabilities"),
        ),
        ("time", "that it ends in time"): (
            given("supervisor's deadline"),
            given("RLIMIT_CPU"),
            counted,
        ),
        ("memory", "that memory is bounded"): (
            given("RLIMIT_AS, RLIMIT_DATA"),
            given("cgroup: memory.max without swap", at.cgroup),
            counted,
        ),
        ("scratch", "that scratch is bounded"): (
            given("sized tmpfs" if at.namespaces else "its size is watched"),
            given("RLIMIT_FSIZE"),
        ),
    }
    return tuple(Property(name, holds, mechanisms) for (name, holds), mechanisms in rows.items())


def _network(
    at: Situation,
    space: Callable[[str], Mechanism],
    given: Callable[[str], Mechanism],
    landlock: Callable[[str, int, str], Mechanism],
) -> dict[tuple[str, str], tuple[Mechanism, ...]]:
    """Return what keeps a tool from the network; what was granted hosts has sockets, and no way but one."""
    if not at.network:
        return {
            ("network", "that no connection can be made"): (
                space("network namespace without interfaces"),
                given("seccomp: no socket"),
                landlock("Landlock TCP rules", TCP_ABI, "landlock-net"),
            ),
            ("sockets", "that nothing outside is reached over UDP, UNIX or other sockets"): (
                space("network and mount namespaces"),
                given("seccomp: no socket"),
            ),
            ("abstract sockets", "that no abstract UNIX socket can be reached"): (
                space("network namespace"),
                given("seccomp: no socket"),
                landlock("Landlock scopes", SCOPE_ABI, "landlock-scope"),
            ),
        }
    # Two against a packet that leaves: there is nothing to leave by, and no call that could make something.
    return {
        ("network", "that nothing is connected to but through the broker"): (
            space("network namespace with loopback alone"),
            given("seccomp: TCP and UDP only, no netlink, no raw socket, no namespace"),
            landlock("Landlock TCP rules: granted ports only", TCP_ABI, "landlock-net"),
        ),
        ("hosts", "that the broker connects to granted hosts only"): (
            given("broker: the name decides, before it is resolved; the address is vetted"),
            space("listeners for granted ports only"),
        ),
        ("sockets", "that nothing outside is reached over UDP, UNIX or other sockets"): (
            space("network and mount namespaces"),
            given("seccomp: no UNIX, netlink or raw socket"),
        ),
        ("listening", "that nothing connects to the tool"): (
            space("network namespace with loopback alone"),
            given("seccomp: no listen, no accept"),
        ),
        ("abstract sockets", "that no abstract UNIX socket can be reached"): (
            space("network namespace"),
            given("seccomp: no UNIX socket"),
            landlock("Landlock scopes", SCOPE_ABI, "landlock-scope"),
        ),
    }


def needed(at: Situation) -> tuple[str, ...]:
    """Return the degradations that a grant must name for a plan of this kind to run, sorted."""
    return tuple(sorted({name for each in properties(at) for name in each.absent}))


def impossible(at: Situation) -> Property | None:
    """Return a property that nothing enforces, or one mechanism where nothing is missing that had a name.

    None where there is no such property: what is left can be agreed to.
    """
    for each in properties(at):
        if not each.working or (len(each.working) < ENOUGH and not each.absent):
            return each
    return None


def require(facts: KernelFacts, at: Situation, grant: Grant) -> tuple[str, ...]:
    """Check that *facts* suffice for *grant*, and return the degradations that take effect.

    Raises:
        HostError: something is missing that the grant does not name, or that nobody can do without.
    """
    if at.network and not at.namespaces:
        raise HostError(
            "host.network_without_namespaces",
            "this host gives no namespaces, and in the host's own network nothing would limit the tool to "
            "the granted hosts",
            f"{_REMEDIES['namespaces']}; or approve without it: mpp-exec approve {grant.package} "
            "--without network",
        )
    if not facts.seccomp:
        raise HostError(
            "host.no_seccomp",
            "this kernel has no seccomp filters, so system calls cannot be restricted",
            "boot a kernel with CONFIG_SECCOMP_FILTER; nothing stands in for it",
        )
    if (nothing := impossible(at)) is not None:
        left = nothing.working[0] if nothing.working else "nothing"
        lacking = [each.degradation for each in nothing.mechanisms if each.degradation and not each.works]
        lacking = lacking or ["namespaces"]
        raise HostError(
            "host.not_enforceable",
            f"this host has {_missing(lacking)}, and {left} alone would ensure {nothing.holds}",
            "; ".join(_REMEDIES[name] for name in dict.fromkeys(lacking)),
        )
    names = needed(at)
    wanting = [name for name in names if name not in grant.degradations]
    if wanting:
        found = next(each for each in properties(at) if wanting[0] in each.absent)
        raise HostError(
            _CODES.get(wanting[0], "host.not_enforced"),
            f"this host has {_missing(found.absent)}, so {found.working[0]} alone would ensure {found.holds}",
            f"{_REMEDIES[wanting[0]]}; or accept the risk and do without it: {command(grant, names)}",
        )
    return names


def command(grant: Grant, degradations: Iterable[str]) -> str:
    """Return the line to type that approves what *grant* approves, without *degradations*."""
    kept = withheld_by_user(grant.withheld)
    options = [*(f"--without {name}" for name in kept), *(f"--degrade {name}" for name in degradations)]
    return " ".join(("mpp-exec approve", grant.package, *options))


def _missing(names: Iterable[str]) -> str:
    words = {
        "landlock": "no Landlock",
        "landlock-truncate": "no Landlock right for truncation",
        "landlock-net": "no Landlock rules for TCP",
        "landlock-scope": "no Landlock scopes",
        "namespaces": "no namespaces to give",
    }
    return ", ".join(words[name] for name in dict.fromkeys(names))

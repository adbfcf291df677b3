"""Grant, manifest and kernel facts in; one plan out. Nothing here touches the kernel.

A plan is a value: the same inputs give the same plan and the same digest. It holds everything a spawn
needs but what differs from call to call: variables, the invocation's number, and the identity of the
granted paths, which is taken when they are opened.
"""

from __future__ import annotations

import dataclasses
import math
import os
import resource
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mpp_exec import encoding
from mpp_exec.consent.grant import Grant
from mpp_exec.errors import HostError, InternalError
from mpp_exec.package.manifest import Manifest, Tool
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import interpreter, kernel, landlock, layout, native, profiles
from mpp_exec.sandbox.layout import Entry, Layout

APP = "/app"
SCRATCH = "/tmp"  # noqa: S108 - inside the sandbox, a tmpfs of its own
OTHER_SCRATCH = "/scratch"
"""Where scratch is when a grant lies in /tmp: Landlock's rights go down the tree, over mounts, so a grant
below a writable scratch would have no second mechanism against writing, and none against its FIFOs."""
STORAGE = "/storage"
TOOL_ID = 1000
HOST_NAME = "mpp"
PLAN_VERSION = 1

_DEVICES = {"null": True, "zero": False, "full": False, "random": False, "urandom": False}
_ETC = {
    "passwd": f"tool:x:{TOOL_ID}:{TOOL_ID}::{{home}}:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    "group": f"tool:x:{TOOL_ID}:\nnogroup:x:65534:\n",
    "hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "# names resolve through hosts only\n",
    "host.conf": "multi on\n",
}
# A runtime that reserves address space it never uses cannot start under RLIMIT_AS.
_RESERVING = ("node", "deno", "bun")
_PIPE_SLACK = 4096

ProgramFinder = Callable[[Requirement], interpreter.Program]


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """Everything one invocation is confined by.

    Attributes:
        package, digest, tool: what it runs.
        entries: the file system, in the order of making.
        rules: Landlock rules, path and access bits; ``landlock`` what is handled, None if degraded.
        limits: the bounds of the call; ``rlimits`` as (RLIMIT number, soft, hard).
        tool_profile: the system call table; its programs are in ``programs``.
        argv, exec_path: the command inside.
        environment: the constant variables.
        scratch: the private folder: working directory, $TMPDIR, and $HOME below it.
        write_roots: granted folders whose special files are looked up at each call.
        programs: host programs that were mounted.
        touches: whether the grant lets it reach outside: network, write, subprocess or storage.
        degraded: degradations that take effect.
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
    tool_profile: tuple[profiles.Allow, ...]
    argv: tuple[str, ...]
    exec_path: str
    environment: tuple[tuple[str, str], ...]
    scratch: str
    write_roots: tuple[str, ...]
    programs: tuple[interpreter.Program, ...]
    touches: tuple[str, ...]
    degraded: tuple[str, ...]
    root: bool

    def fingerprint(self) -> str:
        """Return the digest of the plan's content, the same for the same inputs on any machine."""
        return encoding.sha256_digest(repr(self).encode())


def compile_plan(
    manifest: Manifest,
    tool: Tool,
    grant: Grant,
    facts: kernel.KernelFacts,
    *,
    app: str,
    storage: str | None,
    launcher: str,
    find_program: ProgramFinder = interpreter.find,
) -> SandboxPlan:
    """Compile the plan of *tool* for this kernel.

    *app* is the folder of the installed files, *storage* the package's private folder (None without
    one), *launcher* the folder of ``inside``; all are real paths of the host.

    Raises:
        HostError: this host cannot enforce it, or lacks a program; nothing ran.
        ConsentError: a granted path cannot appear at its own path.
    """
    if grant.permissions.network:
        raise HostError(
            "host.no_network_broker",
            "the grant includes network, and this version has no broker that could enforce host names",
            f"approve without it: mpp-exec approve {manifest.name} --without network",
        )
    if grant.permissions.subprocess:
        raise HostError(
            "host.no_subprocess",
            "the grant includes subprocess, which this version cannot confine to the named programs",
            f"approve without it: mpp-exec approve {manifest.name} --without subprocess",
        )
    if manifest.runtime.kind == "mcp":
        raise HostError("host.no_mcp_kind", "packages of kind mcp cannot be run by this version", "")
    degraded = kernel.require(facts, grant.degradations)
    read_only = tool.operation == "read"
    programs = tuple(find_program(requirement) for requirement in manifest.runtime.requires)
    if manifest.runtime.kind == "python" and not any(program.name == "python" for program in programs):
        programs = (find_program(Requirement("python", ">=3.11")), *programs)
    build = _Builder(facts.landlock_abi, (*grant.permissions.read, *grant.permissions.write))
    build.system(programs)
    build.package(app, manifest, launcher)
    build.scratch(grant.limits.scratch)
    build.grants(grant, read_only=read_only)
    if storage is not None:
        build.storage(storage, read_only=read_only)
    argv, exec_path = _command(manifest, tool, programs)
    if manifest.runtime.kind != "python":
        build.entry_point(exec_path)
    touches = [
        word
        for word, touched in (
            ("write", bool(grant.permissions.write) and not read_only),
            ("storage", storage is not None and not read_only),
        )
        if touched
    ]
    environment = [
        ("PATH", f"{interpreter.PROGRAMS}:{interpreter.PYTHON_ROOT}/bin"),
        ("HOME", build.home),
        ("TMPDIR", build.scratch_path),
        ("LANG", "C.UTF-8"),
        ("MPP_PACKAGE", f"{manifest.name}@{manifest.version}"),
        ("MPP_TOOL", tool.name),
    ]
    if storage is not None:
        environment.append(("MPP_STORAGE", STORAGE))
    return SandboxPlan(
        package=manifest.name,
        version=manifest.version,
        digest=grant.digest,
        tool=tool.name,
        kind=manifest.runtime.kind,
        entries=tuple(build.layout.entries),
        rules=tuple(build.rules),
        landlock=None if "landlock" in degraded else landlock.handled(facts.landlock_abi),
        limits=grant.limits,
        rlimits=_rlimits(grant.limits, grant.permissions.storage, programs),
        tool_profile=profiles.tool_profile(manifest.runtime.kind, subprocess=False),
        argv=argv,
        exec_path=exec_path,
        environment=tuple(environment),
        scratch=build.scratch_path,
        write_roots=() if read_only else grant.permissions.write,
        programs=programs,
        touches=tuple(touches),
        degraded=degraded,
        root=facts.root,
    )


def probe_plan(
    facts: kernel.KernelFacts, python: interpreter.Program, launcher: str, *, canary: str, limits: Limits
) -> SandboxPlan:
    """Return the plan of ``doctor``: a tool of the project's own, and a mounted file without a rule."""
    build = _Builder(facts.landlock_abi)
    build.system((python,))
    build.launcher(launcher)
    build.layout.bind(launcher, APP, layout.CODE)
    build.rule(APP, landlock.READ, is_dir=True)
    build.scratch(limits.scratch)
    build.layout.bind(canary, "/canary", layout.WRITABLE)
    argv = (python.path, "-I", "-S", "-B", "/mpp/launch.py", "probe:attempts", APP)
    return SandboxPlan(
        package="mpp-exec/doctor",
        version="0.0.0",
        digest="",
        tool="attempts",
        kind="python",
        entries=tuple(build.layout.entries),
        rules=tuple(build.rules),
        landlock=landlock.handled(facts.landlock_abi),
        limits=limits,
        rlimits=_rlimits(limits, 0, (python,)),
        tool_profile=profiles.tool_profile("python", subprocess=False),
        argv=argv,
        exec_path=python.path,
        environment=(
            ("PATH", "/bin"),
            ("HOME", build.home),
            ("TMPDIR", build.scratch_path),
            ("LANG", "C.UTF-8"),
        ),
        scratch=build.scratch_path,
        write_roots=(),
        programs=(python,),
        touches=(),
        degraded=(),
        root=facts.root,
    )


class _Builder:
    """Makes entries and their Landlock rules side by side: what is mounted is what is named."""

    def __init__(self, abi: int, granted: tuple[str, ...] = ()) -> None:
        self.layout = Layout()
        self.rules: list[tuple[str, int]] = []
        self._abi = abi
        taken = any(path == SCRATCH or path.startswith(f"{SCRATCH}/") for path in granted)
        self.scratch_path = OTHER_SCRATCH if taken else SCRATCH
        self.home = f"{self.scratch_path}/home"

    def rule(self, path: str, wanted: int, *, is_dir: bool) -> None:
        self.rules.append((path, landlock.access(wanted, self._abi, is_dir=is_dir)))

    def system(self, programs: tuple[interpreter.Program, ...]) -> None:
        for name, writable in _DEVICES.items():
            self.layout.bind(f"/dev/{name}", f"/dev/{name}", layout.DEVICE)
            wanted = landlock.READ_FILE | (landlock.WRITE_FILE if writable else 0)
            self.rule(f"/dev/{name}", wanted, is_dir=False)
        for name, text in _ETC.items():
            self.layout.file(f"/etc/{name}", text.replace("{home}", self.home).encode())
        zone = os.path.realpath("/etc/localtime")
        if os.path.isfile(zone):  # noqa: PTH113 - beside realpath
            self.layout.bind(zone, "/etc/localtime", layout.READ_ONLY)
        self.rule("/etc", landlock.READ, is_dir=True)
        seen: set[str] = set()
        for program in programs:
            for file in program.files:
                if file.target in seen:
                    continue
                seen.add(file.target)
                is_dir = os.path.isdir(file.source)  # noqa: PTH112
                self.layout.bind(file.source, file.target, layout.CODE)
                self.rule(
                    file.target, landlock.READ | (landlock.EXECUTE if file.executable else 0), is_dir=is_dir
                )
            for hidden in program.hidden:
                self.layout.cover(hidden, is_dir=True)
            if program.name == "python":
                for name in ("python3", "python"):
                    self.layout.link(f"{interpreter.PYTHON_ROOT}/bin/{name}", program.path.rpartition("/")[2])

    def package(self, app: str, manifest: Manifest, launcher: str) -> None:
        self.layout.bind(app, APP, layout.CODE)
        self.rule(APP, landlock.READ, is_dir=True)
        if manifest.runtime.kind == "python":
            self.launcher(launcher)

    def launcher(self, launcher: str) -> None:
        for name in ("launch.py", "_seal.abi3.so"):
            self.layout.bind(f"{launcher}/{name}", f"/mpp/{name}", layout.CODE)
        self.layout.file("/mpp/seal.bpf", b"")  # filled in when the programs are compiled
        self.rule("/mpp", landlock.READ, is_dir=True)

    def entry_point(self, path: str) -> None:
        if path.startswith(f"{APP}/"):
            self.rule(path, landlock.EXECUTE | landlock.READ_FILE, is_dir=False)

    def scratch(self, size: int) -> None:
        self.layout.scratch(self.scratch_path, size)
        self.layout.folder(self.home, 0o700)
        self.rule(self.scratch_path, landlock.WRITE, is_dir=True)

    def grants(self, grant: Grant, *, read_only: bool) -> None:
        layout.refuse_reserved((*grant.permissions.read, *grant.permissions.write))
        granted = dict.fromkeys(grant.permissions.read, False) | dict.fromkeys(grant.permissions.write, True)
        # A pin is mounted on itself, so that it cannot be renamed and a cover inside it moved away.
        mounts = dict.fromkeys(grant.pins(), True) | granted
        # Outer folders first, so that an inner one is mounted on top of the outer one.
        for path, write in sorted(mounts.items()):
            writable = write and not read_only
            flags = native.ENTRY_IDMAP | (native.ENTRY_WRITABLE if writable else 0)
            self.layout.bind(path, path, layout.WRITABLE if writable else layout.READ_ONLY, flags)
            if path in granted:
                wanted = landlock.WRITE if writable else landlock.READ
                self.rule(path, wanted, is_dir=_granted_kind(path))
        for path in grant.covers:
            if os.path.lexists(path):
                self.layout.cover(path, is_dir=os.path.isdir(path))  # noqa: PTH112

    def storage(self, folder: str, *, read_only: bool) -> None:
        flags = native.ENTRY_IDMAP | (0 if read_only else native.ENTRY_WRITABLE)
        self.layout.bind(folder, STORAGE, layout.READ_ONLY if read_only else layout.WRITABLE, flags)
        self.rule(STORAGE, landlock.READ if read_only else landlock.WRITE, is_dir=True)


def _granted_kind(path: str) -> bool:
    """Return whether the granted *path* is a folder.

    Raises:
        HostError: it is gone, unreachable, or neither a folder nor a regular file.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        raise HostError(
            "host.grant_missing",
            f"the granted path {path} cannot be reached: {error.strerror}",
            "put it back, or approve again with another one",
        ) from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise HostError(
            "host.grant_changed",
            f"the granted path {path} is neither a folder nor a regular file any more",
            "put back what was granted, or approve again",
        )
    return stat.S_ISDIR(mode)


def _command(
    manifest: Manifest, tool: Tool, programs: tuple[interpreter.Program, ...]
) -> tuple[tuple[str, ...], str]:
    if manifest.runtime.kind == "python":
        python = next(program for program in programs if program.name == "python")
        folders = [f"{APP}/{folder}" if folder != "." else APP for folder in manifest.runtime.path] + [APP]
        # -I: no variables, no user site; -S: no site-packages; -B: nothing is written beside the sources.
        argv = (python.path, "-I", "-S", "-B", "/mpp/launch.py", tool.entry, *folders)
        return argv, python.path
    first, *rest = manifest.runtime.command
    name = first.removesuffix("3") if first.startswith("python") else first
    program = next((each for each in programs if each.name in (first, name)), None)
    path = program.path if program is not None else f"{APP}/{first.removeprefix('${app}/')}"
    return (path, *rest), path


def _rlimits(
    limits: Limits, storage: int, programs: tuple[interpreter.Program, ...]
) -> tuple[tuple[int, int, int], ...]:
    cpu = max(1, math.ceil(limits.cpu_ms / 1000))
    file_size = max(limits.scratch, storage, _PIPE_SLACK)
    unlimited = (1 << 64) - 1
    reserving = any(program.name in _RESERVING for program in programs)
    rows = {
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_FSIZE: (file_size, file_size),
        resource.RLIMIT_DATA: (limits.memory, limits.memory),
        resource.RLIMIT_AS: (unlimited, unlimited) if reserving else (limits.memory, limits.memory),
        resource.RLIMIT_STACK: (8 << 20, 8 << 20),
        # 1, not 0: with a core_pattern that is a pipe, 0 still starts the host's helper.
        resource.RLIMIT_CORE: (1, 1),
        # One for init, which is of the same user in the same namespace.
        resource.RLIMIT_NPROC: (limits.processes + 1, limits.processes + 1),
        resource.RLIMIT_NOFILE: (limits.open_files, limits.open_files),
        resource.RLIMIT_MEMLOCK: (65536, 65536),
        resource.RLIMIT_SIGPENDING: (256, 256),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_NICE: (0, 0),
        resource.RLIMIT_RTPRIO: (0, 0),
    }
    return tuple((number, soft, hard) for number, (soft, hard) in sorted(rows.items()))


def special_entries(plan: SandboxPlan) -> tuple[Entry, ...]:
    """Return the mounts that protect special files in writable grants, as they are at this moment.

    Raises:
        InternalError: a writable folder cannot be looked at.
    """
    entries: list[Entry] = []
    # Outer ones first: what protecting an outer one mounts again, an inner one protects anew.
    for root in sorted(plan.write_roots):
        present = []
        for name in (".git", ".git/hooks", ".git/config", *layout.EXECUTED_BY_OTHERS):
            path = f"{root}/{name}"
            if path in plan.write_roots:
                continue  # named by the grant itself
            try:
                present.append((name, os.lstat(path).st_mode))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise InternalError(
                    "sandbox.special_files",
                    f"{path} cannot be looked at: {error.strerror}",
                    "check its permissions",
                ) from error
        special = []
        for path, writable in layout.special_names(root, present):
            flags = native.ENTRY_EXISTS | native.ENTRY_IDMAP | (native.ENTRY_WRITABLE if writable else 0)
            attributes = layout.WRITABLE if writable else layout.READ_ONLY
            special.append(Entry("bind", path, path, attributes=attributes, flags=flags))
        entries += special
        entries += _again(plan, special)
    return tuple(entries)


def _again(plan: SandboxPlan, special: list[Entry]) -> Iterable[Entry]:
    """Yield the plan's mounts that *special* ones lie over: a fresh copy of the host's tree has no covers."""
    for entry in plan.entries:
        above = [mount for mount in special if entry.target.startswith(f"{mount.target}/")]
        if not above or entry.kind not in ("bind", "tmpfs"):
            continue
        locked = any(mount.attributes & native.MOUNT_RDONLY for mount in above)
        attributes = entry.attributes
        if locked and entry.target not in plan.write_roots:  # a pin, which must not open what is protected
            attributes |= native.MOUNT_RDONLY
        yield dataclasses.replace(entry, attributes=attributes, flags=entry.flags | native.ENTRY_EXISTS)


def with_seal(plan: SandboxPlan, seal: bytes) -> tuple[Entry, ...]:
    """Return the plan's entries with the sealing program where the launcher reads it."""
    return tuple(
        dataclasses.replace(entry, data=seal) if entry.target == "/mpp/seal.bpf" else entry
        for entry in plan.entries
    )

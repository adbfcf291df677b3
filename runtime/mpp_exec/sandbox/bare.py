"""The profile for hosts that give no namespaces: Landlock, seccomp, rlimits, no_new_privs.

Nothing is mounted. So everything is used at the host's own paths: the package, the interpreter, granted
paths. What a call needs for itself lies in a folder that is made for it and removed after it: scratch, the
launcher and its sealing program, and, if the host is root, a copy of the package.

What only mounts can do is refused rather than left out: holes in a grant, special files in a writable grant,
and ids mapped for a host that is root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mpp_exec.consent.grant import Grant
from mpp_exec.errors import HostError, InternalError
from mpp_exec.owners import Identity
from mpp_exec.sandbox import interpreter, landlock, launcher, layout, native
from mpp_exec.sandbox.building import APP, granted_kind
from mpp_exec.sandbox.layout import Entry

HERE = "/\x01here"
"""Stands for the folder of the call until there is one. No text of a manifest holds such a character."""
SCRATCH = f"{HERE}/scratch"
LAUNCHER = f"{HERE}/mpp"
LOADER_CACHE = "/etc/ld.so.cache"

_DEVICES = {"/dev/null": True, "/dev/random": False, "/dev/urandom": False}


@dataclass(frozen=True, slots=True)
class Bare:
    """What makes a plan one without namespaces.

    Attributes:
        source: the folder of the installed files; ``app`` where the tool finds them.
        launch: the launcher as bytecode, b"" where none is needed.
        modules: the archive of the compiled modules, "" without one.
        place: the folder of the call; HERE until :func:`settle`.
    """

    source: str
    app: str
    launch: bytes
    modules: str = ""
    place: str = HERE


class BareBuilder:
    """Makes what the parent holds, and the Landlock rule of the same index, side by side."""

    def __init__(self, abi: int, *, root: bool) -> None:
        self.entries: list[Entry] = []
        self.rules: list[tuple[str, int]] = []
        self._abi = abi
        self._root = root

    def hold(
        self,
        path: str,
        wanted: int,
        *,
        is_dir: bool,
        flags: int = 0,
        identity: Identity | None = None,
    ) -> None:
        """Grant the rights *wanted* on the host's *path*, which must be free of links."""
        attributes = layout.WRITABLE if wanted & landlock.WRITE_FILE else layout.READ_ONLY
        self.entries.append(Entry("hold", path, path, attributes=attributes, flags=flags, identity=identity))
        self.rules.append((path, landlock.access(wanted, self._abi, is_dir=is_dir)))

    def system(
        self, programs: Iterable[interpreter.Program], runnable: Iterable[interpreter.Program]
    ) -> None:
        """Open devices, the time zone, the loader's cache, and host *programs* with what they load."""
        for device, writable in _DEVICES.items():
            wanted = landlock.READ_FILE | (landlock.WRITE_FILE if writable else 0)
            self.hold(device, wanted, is_dir=False)
        for path in (LOADER_CACHE, os.path.realpath("/etc/localtime")):
            if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114 - beside realpath
                self.hold(path, landlock.READ_FILE, is_dir=False)
        executable = {file.source for program in runnable for file in program.files if file.executable}
        for source in dict.fromkeys(file.source for program in programs for file in program.files):
            self._reachable(source, "the interpreter")
            wanted = landlock.READ | (landlock.EXECUTE if source in executable else 0)
            self.hold(source, wanted, is_dir=os.path.isdir(source))  # noqa: PTH112

    def call(self, app: str, *, launcher: bool) -> None:
        """Open the package, the launcher, and scratch."""
        self.hold(app, landlock.READ, is_dir=True)
        if launcher:
            self.hold(LAUNCHER, landlock.READ, is_dir=True)
        for folder in (SCRATCH, f"{SCRATCH}/home"):
            self.hold(folder, landlock.WRITE, is_dir=True, flags=native.ENTRY_OWNED)

    def grants(self, grant: Grant, *, read_only: bool) -> None:
        """Open what the user granted; all read-only for a read tool.

        Raises:
            HostError: a grant takes what only mounts can do.
        """
        _refuse_holes(grant, read_only=read_only)
        writable = () if read_only else grant.permissions.write
        for path in (*grant.permissions.read, *grant.permissions.write):
            if self._root and path in writable:
                raise needs_namespaces(
                    f"a host that is root cannot give a tool its own rights on {path}",
                    "run mpp-exec as an unprivileged user, or approve with --without filesystem.write",
                )
            self._reachable(path, "the granted path")
            wanted = landlock.WRITE if path in writable else landlock.READ
            self.hold(path, wanted, is_dir=granted_kind(path), identity=grant.identities.get(path))

    def storage(self, folder: str, *, read_only: bool) -> None:
        """Open the private folder that outlives the call.

        Raises:
            HostError: the host is root, whose folder the tool's own id cannot enter.
        """
        if self._root:
            raise needs_namespaces(
                "a host that is root cannot give a tool its storage",
                "run mpp-exec as an unprivileged user, or approve with --without storage",
            )
        self.hold(folder, landlock.READ if read_only else landlock.WRITE, is_dir=True)

    def _reachable(self, path: str, what: str) -> None:
        """Refuse what a host that is root can reach and the tool's own id cannot."""
        if not self._root:
            return
        for part in (path, *map(str, Path(path).parents)):
            try:
                mode = os.stat(part).st_mode  # noqa: PTH116 - one call, no object
            except OSError:
                return  # what is missing is told where it is opened
            needed = stat.S_IXOTH if part != path else 0
            needed |= (stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)) if part == path else 0
            if mode & needed != needed:
                raise needs_namespaces(
                    f"{what} {path} cannot be reached by an id of the tool's own: {part} is closed to others",
                    "run mpp-exec as an unprivileged user, or use one that all may read",
                )


def needs_namespaces(message: str, hint: str) -> HostError:
    """Return the refusal of something that this profile cannot enforce, whatever was agreed to."""
    return HostError("host.needs_namespaces", f"without namespaces, {message}", hint)


def _refuse_holes(grant: Grant, *, read_only: bool) -> None:
    """Refuse grants with a hole in them: Landlock's rights go down the tree, all the way."""
    holes = [path for path in grant.covers if os.path.lexists(path)]
    if not read_only:
        outer = [f"{path}/" for path in grant.permissions.write]
        holes += [path for path in grant.permissions.read if path.startswith(tuple(outer))]
    if holes:
        raise needs_namespaces(
            f"{holes[0]} cannot be kept from the tool inside of what was granted",
            "approve with a folder that does not contain it",
        )


def settle(bare: Bare, place: Path, seal: bytes) -> Bare:
    """Put into the empty folder *place* what the call needs there, and return *bare* with it as its place.

    Raises:
        InternalError: the disk said no.
    """
    try:
        for name, mode in (("scratch", 0o700), ("scratch/home", 0o700), ("mpp", 0o755)):
            (place / name).mkdir(mode)
            (place / name).chmod(mode)  # whatever the umask was
        if bare.launch:
            _copy(Path(launcher.FOLDER, "_seal.abi3.so"), place / "mpp" / "_seal.abi3.so")
            _write(place / "mpp" / "launch.pyc", bare.launch)
            _write(place / "mpp" / "seal.bpf", seal)
            if bare.modules:
                _copy(bare.modules, place / "mpp" / "bytecode")
        if bare.app.startswith(HERE):
            import shutil  # noqa: PLC0415 -- only without namespaces

            shutil.copytree(bare.source, at(bare.app, str(place)), copy_function=_copy)
    except OSError as error:
        raise InternalError(
            "sandbox.call_folder",
            f"the folder of the call cannot be filled: {error.strerror}",
            "is its disk full or read-only?",
        ) from error
    return replace(bare, place=str(place))


def at(text: str, place: str) -> str:
    """Return *text* with the folder of the call in it."""
    return text.replace(HERE, place)


def _copy(source: str | Path, target: str | Path) -> None:
    import shutil  # noqa: PLC0415 -- only without namespaces

    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if Path(source).stat().st_mode & stat.S_IXUSR else 0o644)


def _write(target: Path, data: bytes) -> None:
    target.write_bytes(data)
    target.chmod(0o644)


@dataclass(frozen=True, slots=True)
class Made:
    """What of a plan depends on whether there are namespaces; ``path`` is the tool's $PATH."""

    entries: Iterable[Entry]
    rules: Iterable[tuple[str, int]]
    argv: tuple[str, ...]
    exec_path: str
    scratch: str
    storage: str
    path: str
    bare: Bare | None = None


def made(
    grant: Grant,
    *,
    programs: tuple[interpreter.Program, ...],
    runnable: tuple[interpreter.Program, ...],
    argv: tuple[str, ...],
    exec_path: str,
    abi: int,
    root: bool,
    read_only: bool,
    app: str,
    storage: str | None,
    launch: bytes,
    modules: str,
) -> Made:
    """Return *grant* and the command *argv*, made for a sandbox with mounts, at the paths of the host.

    Raises:
        HostError: something takes mounts.
    """
    build = BareBuilder(abi, root=root)
    # Root's own home is closed to the tool's id, so that it gets a copy.
    seen = f"{HERE}{APP}" if root else app
    build.system(programs, runnable)
    build.call(seen, launcher=bool(launch))
    build.grants(grant, read_only=read_only)
    if storage is not None:
        build.storage(storage, read_only=read_only)
    here = {program.path: program.files[0].source for program in programs}
    here["/mpp/launch.pyc"] = f"{LAUNCHER}/launch.pyc"

    def moved(path: str) -> str:
        inside = path == APP or path.startswith(f"{APP}/")
        return seen + path[len(APP) :] if inside else here.get(path, path)

    if not launch and exec_path.startswith(f"{APP}/"):
        build.hold(moved(exec_path), landlock.EXECUTE | landlock.READ_FILE, is_dir=False)
    # With a launcher all words are the plan's; without one those behind the first are the package's.
    words = tuple(map(moved, argv)) if launch else (moved(argv[0]), *argv[1:])
    return Made(
        entries=build.entries,
        rules=build.rules,
        argv=words,
        exec_path=moved(exec_path),
        scratch=SCRATCH,
        storage=storage or "",
        path="/usr/bin:/bin",
        bare=Bare(app, seen, launch, modules),
    )

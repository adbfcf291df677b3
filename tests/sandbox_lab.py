"""A laboratory of sandboxes: it takes the code of a tool, and returns the result of running it.

Everything here goes the way of a real call, from a :class:`Grant` through ``compile_plan`` to ``spawn.run``.
Only package, trust and approval are left out. A plan is a value, so an experiment can remove one defence with
``dataclasses.replace`` and check whether the others hold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mpp_exec.consent.grant import Grant
from mpp_exec.errors import InternalError
from mpp_exec.owners import Identity
from mpp_exec.package.manifest import FileEntry, Manifest, Operation, RuntimeSpec, Tool
from mpp_exec.package.requirement import Requirement, parse_requirement
from mpp_exec.permissions import Limits, Permissions, Privacy
from mpp_exec.sandbox import cache, kernel, parked, planning, settle, spawn, syscalls
from mpp_exec.sandbox.allow import Allow
from mpp_exec.sandbox.bounds import bounds_of
from mpp_exec.sandbox.building import APP
from mpp_exec.sandbox.call import Call
from mpp_exec.sandbox.ground import FindGround, Ground
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.snapshot import Snapshot, can_be_saved
from mpp_exec.sandbox.template import Template, can_be_copied

HERE = Path(__file__).parent
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CACHE = cache.SandboxCache(None)
"""Programs are compiled and interpreters asked once for the whole run."""

NUMBERS = syscalls.X86_64

PLACES = Path("/var/tmp")
"""Where calls without namespaces get their folders: one that the tool's own id can reach."""

AGREED: tuple[str, ...] = tuple(json.loads(os.environ.get("MPP_GUEST", "{}")).get("degraded", ()))
"""What the lab's user does without: what the kernel of a guest lacks, nothing elsewhere."""

# In an emulator Python takes a second to start, and several seconds on a busy machine.
UNHURRIED = Limits(wall_ms=100_000, cpu_ms=100_000) if "MPP_GUEST" in os.environ else Limits()


def bounded(**bounds: int) -> Limits:
    """Return limits of which only *bounds* can be reached, however slow the machine is."""
    return dataclasses.replace(UNHURRIED, **bounds)


PARKED, _, _ON_GROUND = os.environ.get("MPP_LAB_PARKED", "").partition(" ")
"""Run every call in a sandbox that was prepared ahead of it, where that can be: ``early`` or ``late`` as its
tool is started, ``copied`` from a template, ``imaged``: copied, with the package's files from its image,
``restored`` from a snapshot of one that had imported the tool. Or ``grounded``: nothing is prepared but the
mounts that are the same for each call. ``early grounded`` and ``late grounded`` are prepared on those."""

EVERY_CALL = tuple(Allow(name, "the experiment does without seccomp") for name in NUMBERS)
"""A profile that refuses nothing, so that what is still refused is refused by another mechanism."""


def grant(
    *,
    read: Sequence[object] = (),
    write: Sequence[object] = (),
    storage: int = 0,
    limits: Limits | None = None,
    covers: Sequence[object] = (),
    operation: Operation = "write",
    degradations: tuple[str, ...] | None = None,
    import_once: bool = False,
    identities: Mapping[str, Identity] | None = None,
    **permissions: Any,
) -> Grant:
    """Return a grant, to which a person has agreed, for a tool called ``tool``."""
    return Grant(
        package="acme/lab",
        version="1.0.0",
        digest="sha256:" + "0" * 64,
        key_id="sha256:" + "1" * 64,
        permissions=Permissions(
            read=tuple(map(str, read)), write=tuple(map(str, write)), storage=storage, **permissions
        ),
        limits=limits or UNHURRIED,
        privacy=Privacy(),
        confirm={"tool": "never"},
        covers=tuple(map(str, covers)),
        degradations=AGREED if degradations is None else degradations,
        import_once=import_once,
        identities=identities or {},
        approved_at=NOW,
        shown={"tools": [{"name": "tool", "operation": operation}]},
    )


def manifest(runtime: RuntimeSpec, operation: Operation = "write") -> Manifest:
    """Return the manifest of a package with one tool, ``tool``; its entry is ``tool:run`` for kind python."""
    entry = "tool:run" if runtime.kind == "python" else ""
    tool = Tool(name="tool", description="", input_schema={}, entry=entry, operation=operation)
    return Manifest(
        name="acme/lab", version="1.0.0", publisher_key=b"", runtime=runtime, tools=(tool,), files=()
    )


def install(folder: Path, files: Mapping[str, str | bytes], executable: Sequence[str] = ()) -> Path:
    """Write the *files* of a package as an installation does: readable by all, changed by nobody."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if name in executable else 0o644)
    return folder


def _entries(app: Path) -> Iterator[FileEntry]:
    """Yield the rows of the manifest for the files in *app*; their digests are not real here."""
    for path in sorted(app.rglob("*")):
        if path.is_file():
            facts = path.stat()
            yield FileEntry(
                path.relative_to(app).as_posix(), facts.st_size, bytes(32), bool(facts.st_mode & 0o100)
            )


@dataclass(frozen=True)
class Lab:
    """Makes plans. Packages are written below *root*, each into a folder of its own."""

    root: Path
    namespaces: bool = True

    def without_namespaces(self) -> Lab:
        """Return the laboratory on a host without namespaces, for grants that agree to that."""
        return dataclasses.replace(self, namespaces=False)

    def _app(self, files: Mapping[str, str | bytes], executable: Sequence[str] = ()) -> str:
        return str(install(self.root / f"app{len(list(self.root.iterdir()))}", files, executable))

    def python(
        self,
        code: str,
        *,
        files: Mapping[str, str | bytes] | None = None,
        storage_folder: Path | None = None,
        requires: tuple[Requirement, ...] = (),
        path: tuple[str, ...] = (),
        operation: Operation = "write",
        **granted: Any,
    ) -> SandboxPlan:
        """Return the plan of a Python tool whose module ``tool`` is *code*, with a function ``run``."""
        made = manifest(RuntimeSpec(kind="python", requires=requires, path=path), operation)
        app = self._app({"tool.py": code, **(files or {})})
        return self._compile(made, app, storage_folder, grant(operation=operation, **granted))

    def installed(self, app: Path, *, path: tuple[str, ...] = (), **granted: Any) -> SandboxPlan:
        """Return the plan of a Python tool whose files, including ``tool.py``, are in the folder *app*."""
        return self._compile(
            manifest(RuntimeSpec(kind="python", path=path)), str(app), None, grant(**granted)
        )

    def program(
        self,
        binary: Path | None,
        *command: str,
        files: Mapping[str, str | bytes] | None = None,
        executable: Sequence[str] = (),
        storage_folder: Path | None = None,
        requires: tuple[str, ...] = (),
        operation: Operation = "write",
        **granted: Any,
    ) -> SandboxPlan:
        """Return the plan of an exec tool: *binary* as ``bin/tool`` with arguments, or any *command*."""
        content: dict[str, str | bytes] = dict(files or {})
        if binary is not None:
            content["bin/tool"] = binary.read_bytes()
            command = ("bin/tool", *command)
        needed = tuple(map(parse_requirement, requires))
        made = manifest(RuntimeSpec(kind="exec", command=command, requires=needed), operation)
        app = self._app(content, (*executable, "bin/tool"))
        return self._compile(made, app, storage_folder, grant(operation=operation, **granted))

    def _compile(self, made: Manifest, app: str, storage: Path | None, granted: Grant) -> SandboxPlan:
        if not self.namespaces:
            granted = dataclasses.replace(granted, degradations=("namespaces",))
        if PARKED == "restored":
            granted = dataclasses.replace(granted, import_once=True)
        made = dataclasses.replace(made, files=tuple(_entries(Path(app))))
        return planning.compile_plan(
            made,
            made.tools[0],
            granted,
            dataclasses.replace(kernel.probe(), namespaces=self.namespaces),
            app=app,
            storage=str(storage) if storage else None,
            find_program=CACHE.program,
            find_started=CACHE.started,
            compile_launcher=CACHE.launcher,
        )


def run(compiled: SandboxPlan, request: bytes = b"{}", **options: Any) -> spawn.Completed:
    """Run *compiled* once with *request* on its descriptor 0; *options* go to ``Call`` and ``spawn.run``."""
    of_call = {each.name for each in dataclasses.fields(Call)} & options.keys()
    called = Call(request, "lab", **{name: options.pop(name) for name in of_call})
    if compiled.bare is not None:
        with tempfile.TemporaryDirectory(prefix="mpp-place-", dir=PLACES) as place:
            Path(place).chmod(0o755)
            settled = settle.settle(compiled, Path(place), CACHE)
            return spawn.run(settled, called, cache=CACHE, **options)
    if PARKED == "grounded" and "parked" not in options and "ground" not in options:
        return _on_ground(compiled, called, **options)
    ready = None
    if PARKED and "parked" not in options and not options.get("traced"):
        ready = prepared(compiled, may_start=not called.variables)
    try:
        return spawn.run(compiled, called, cache=CACHE, **{"parked": ready, **options})
    finally:
        if ready is not None:  # whatever the result is, as the lender does it
            ready.close()


def _on_ground(compiled: SandboxPlan, called: Call, **options: Any) -> spawn.Completed:
    done = spawn.run(compiled, called, cache=CACHE, ground=ground_of(compiled), **options)
    laid = _laid.get(id(compiled))
    assert laid is None or laid[1].fits or stands_on_the_host(compiled)
    return done


_laid: dict[int, tuple[SandboxPlan, Ground]] = {}


def ground_of(compiled: SandboxPlan) -> FindGround:
    """Return a function that finds the ground of *compiled*: the same for each call, as long as it fits."""

    def found(message: bytes) -> Ground | None:
        plan, ground = _laid.get(id(compiled), (None, None))
        if ground is None or plan is not compiled or not ground.fits:
            _laid.clear()
            with contextlib.suppress(InternalError):  # a source is gone: the call reports that
                _laid[id(compiled)] = compiled, Ground(message, bounds_of(compiled))
        laid = _laid.get(id(compiled))
        return None if laid is None else laid[1]

    return found


def stands_on_the_host(compiled: SandboxPlan) -> bool:
    """Return whether *compiled* is built without a ground, since it needs something from the host's tree."""
    if compiled.streams:
        return True
    return not compiled.root and any(entry.kind == "bind" for entry in compiled.entries[compiled.late :])


def prepared(compiled: SandboxPlan, *, may_start: bool = True) -> parked.Parked | None:
    """Return a sandbox of *compiled* that waits for its call, or None if that is not possible."""
    if not parked.can_be_parked(compiled):
        return None
    early = PARKED != "late" and compiled.kind == "python" and may_start
    image = None
    if PARKED == "imaged":
        with contextlib.suppress(InternalError):  # a package with a link in it, for example, has no image
            image = image_of(compiled)
    if early and PARKED == "restored" and can_be_saved(compiled):
        with saved(compiled) as snapshot:
            made = parked.Parked(
                compiled,
                constants=(),
                cache=CACHE,
                early_start=True,
                snapshot=snapshot if snapshot.serves else None,
            )
    elif early and PARKED in ("copied", "imaged") and can_be_copied(compiled):
        made = copied(compiled, image)
    else:
        found = ground_of(compiled) if _ON_GROUND else lambda _: None
        for _ in range(2):  # make it again if a source of the ground has changed
            made = parked.Parked(
                compiled, constants=(), cache=CACHE, early_start=early, image=image, ground=found
            )
            if not _ON_GROUND or made.is_grounded or made.state == "ended" or stands_on_the_host(compiled):
                break
            made.close()
        else:
            raise AssertionError("it was built on nothing")
    while made.look(1000) == "preparing":
        pass
    assert image is None or not made.lacks_image
    if made.state == "ready":
        return made
    made.close()
    return None


def waits(compiled: SandboxPlan, template: Template | None) -> parked.Parked:
    """Return a sandbox of *compiled* that is ready for its call: copied from *template*, or started."""
    made = parked.Parked(compiled, constants=(), cache=CACHE, early_start=True, template=template)
    while made.look(1000) == "preparing":
        pass
    assert made.state == "ready"
    assert made.is_copied == (template is not None)
    return made


def image_of(compiled: SandboxPlan) -> Image:
    """Return the image of the package of *compiled*; the package is not signed."""
    (app,) = (entry.source for entry in compiled.entries if entry.target == APP)
    with tempfile.TemporaryDirectory(dir=PLACES) as place:
        shutil.copytree(app, f"{place}/files", symlinks=True)
        found = sorted(Path(place).rglob("*"))
        folder = os.open(place, os.O_RDONLY)
        try:
            names = [path.relative_to(place).as_posix() for path in found]
            return Image(folder, names, sum(path.stat().st_size + 4096 for path in found))
        finally:
            os.close(folder)


@contextlib.contextmanager
def saved(compiled: SandboxPlan, image: Image | None = None, most: int = 1 << 30) -> Iterator[Snapshot]:
    """Yield a snapshot of *compiled*, from which sandboxes are restored if it can be used."""
    made = Snapshot(compiled, constants=(), cache=CACHE, image=image, most=most)
    try:
        while made.is_making:
            made.look(1000)
        yield made
    finally:
        made.close()


def restored(compiled: SandboxPlan, snapshot: Snapshot) -> parked.Parked:
    """Return a sandbox that is being restored from *snapshot*, in whatever state it ends up."""
    made = parked.Parked(
        compiled, constants=(), cache=CACHE, early_start=True, snapshot=snapshot, image=snapshot.image
    )
    while made.look(1000) == "preparing":
        pass
    return made


def copied(compiled: SandboxPlan, image: Image | None = None) -> parked.Parked:
    """Begin to prepare a sandbox of *compiled* that is copied from a template, unless it fails at once."""
    template = Template(compiled)
    try:
        made = parked.Parked(
            compiled, constants=(), cache=CACHE, early_start=True, template=template, image=image
        )
        assert made.is_copied or made.state == "ended", "the template made no copy"
        return made
    finally:
        template.close()


def call(compiled: SandboxPlan, /, **arguments: Any) -> Any:
    """Call a Python tool and return its value; an exception in the tool, or any other end, fails the test."""
    document = answer(run(compiled, json.dumps({"arguments": arguments}).encode()))
    assert "value" in document, document
    return document["value"]


def answer(done: spawn.Completed) -> dict[str, Any]:
    """Return the launcher's document, ``{"value": …}`` or ``{"error": …}``."""
    assert done.outcome == "ok", f"{done.outcome}: {done.reason}\n{done.errors.decode(errors='replace')}"
    document = json.loads(done.output)
    assert isinstance(document, dict)
    return document


ATTEMPTS = """
import os

def attempt(what, path, *more):
    try:
        if what == "read":
            with open(path) as file:
                return file.read()
        if what == "write":
            with open(path, "w") as file:
                file.write("changed")
            return "done"
        if what == "list":
            return sorted(os.listdir(path))
        if what == "owner":
            facts = os.stat(path)
            return [facts.st_uid, facts.st_gid]
        getattr(os, what)(path, *more)
        return "done"
    except OSError as error:
        return error.strerror

def run(attempts):
    return [attempt(*each) for each in attempts]
"""
"""A tool that tries what it is told (a function of ``os``, or one of four words) and says how each ended."""


def attempt(compiled: SandboxPlan, *tries: Sequence[object]) -> list[Any]:
    """Have a tool of :data:`ATTEMPTS` try each of *tries*; return values, ``done``, or errors in words."""
    given = [[str(word) if isinstance(word, Path) else word for word in each] for each in tries]
    seen: list[Any] = call(compiled, attempts=given)
    return seen


RO = "Read-only file system"
GONE = "No such file or directory"
DENIED = "Permission denied"
BUSY = "Device or resource busy"


def attempts(lab: Lab, *tries: tuple[object, ...], **granted: Any) -> list[Any]:
    """Have a tool with what is *granted* (see ``Lab.python``) try each of *tries*: :func:`attempt`."""
    return attempt(lab.python(ATTEMPTS, **granted), *tries)


def sweep(compiled: SandboxPlan, calls: Sequence[Sequence[object]]) -> list[int]:
    """Have the probe's ``sweep`` make system calls (name or number, arguments); return each errno, or 0."""
    lines = [" ".join(str(NUMBERS.get(str(word), word)) for word in each) + "\n" for each in calls]
    done = run(compiled, "".join(lines).encode())
    assert done.outcome == "ok", f"{done.reason} after {len(done.output.splitlines())} of {len(calls)}"
    seen = [int(line) for line in done.output.split()]
    assert len(seen) == len(calls)
    return seen


def without_landlock(compiled: SandboxPlan) -> SandboxPlan:
    """Return *compiled* without Landlock: namespaces, mounts and seccomp are left."""
    return dataclasses.replace(compiled, landlock=None)


def without_cgroup(compiled: SandboxPlan) -> SandboxPlan:
    """Return *compiled* as it would be on a host that delegates no cgroup; its rlimits stay."""
    return dataclasses.replace(compiled, cgroup=())


def without_seccomp(compiled: SandboxPlan, *names: str) -> SandboxPlan:
    """Return *compiled* with every system call allowed, or with *names* added to its profile."""
    if not names:
        return dataclasses.replace(compiled, tool_profile=EVERY_CALL)
    kept = tuple(allow for allow in compiled.tool_profile if allow.name not in names)
    added = tuple(Allow(name, "the experiment allows it") for name in names)
    return dataclasses.replace(compiled, tool_profile=(*kept, *added))


def without_entry(compiled: SandboxPlan, target: str) -> SandboxPlan:
    """Return *compiled* without the layout entry and the Landlock rule of *target*."""
    entries = tuple(entry for entry in compiled.entries if entry.target != target)
    assert len(entries) < len(compiled.entries), target
    rules = tuple(rule for rule in compiled.rules if rule[0] != target)
    return dataclasses.replace(compiled, entries=entries, rules=rules)


def build_program(source: Path, target: Path) -> Path:
    """Compile one C file of the tests into a static program."""
    if "MPP_GUEST" in os.environ:  # a guest has no compiler: the programs were built with the guest
        shutil.copy2(HERE.parent / "programs" / source.stem, target)
        return target
    command = ["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-pthread"]
    subprocess.run([*command, str(source), "-o", str(target)], check=True, capture_output=True)
    return target


def init_processes() -> set[int]:
    """Return the pids of all sandbox inits that are descendants of this process."""
    return {pid for pid in descendants(os.getpid()) if _name(pid) == "mpp-init"}


def descendants(root: int) -> set[int]:
    """Return every living or unreaped descendant of *root*, according to /proc."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    grown = {root}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown} - found
        found |= grown
    return found


def is_template(pid: int) -> bool:
    """Return whether *pid* is a template. A copy has its command line, but a PID namespace of its own."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        numbers = re.search(r"^NSpid:(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return False
    return b"/proc/self/fd/" in command and numbers is not None and len(numbers[1].split()) == 1


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""

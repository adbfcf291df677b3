"""Programs of the host that a package may run on: found, resolved to real files, described as mounts.

A Python interpreter appears at ``/python`` with its standard library and never with the host's
site-packages. Another program appears at ``/bin/NAME``. The libraries that either loads appear where its
loader looks. Everything here is a fact about the host, found by asking the program itself. It carries the
identity of the files that it was found from, so that a cached answer is used only while it is true.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from mpp_exec.errors import HostError
from mpp_exec.package.requirement import Requirement
from mpp_exec.sandbox import elf, hostprogram

PYTHON_ROOT = "/python"
PROGRAMS = "/bin"

# Modules of the standard library that need a screen, a terminal or a network directory. What only
# they load stays out; importing one inside fails with a missing library.
_OMITTED_MODULES = ("_tkinter", "readline", "nis", "_curses", "_curses_panel")

# What a wheel expects of every host (PEP 600's policies, less what draws on a screen): the compilers'
# run-time libraries, and names that older C libraries had. One that this host lacks is left out.
_WHEEL_LIBRARIES = (
    *("libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0"),
    *("libutil.so.1", "libresolv.so.2", "libexpat.so.1", "libz.so.1"),
)

_PYTHON_FACTS = """
import json, os, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(sys.executable),
    "version": list(sys.version_info[:3]),
    "stdlib": os.path.realpath(sysconfig.get_path("stdlib")),
    "implementation": sys.implementation.name,
}))
"""


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file or folder of the host, and where it appears inside. ``source`` is free of links."""

    source: str
    target: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A host program ready to be mounted.

    Attributes:
        name: as packages ask for it (``python``, ``sh``).
        version: its version where it has been asked, else "".
        path: where it is executed inside.
        files: what must be mounted, the program and its loader marked executable.
        hidden: folders inside ``files`` that an empty mount must cover.
        identity: (path, device, inode, size, mtime_ns) of what this was found from.
    """

    name: str
    version: str
    path: str
    files: tuple[HostFile, ...]
    hidden: tuple[str, ...]
    identity: tuple[tuple[str, int, int, int, int], ...]

    def still_true(self) -> bool:
        """Tell whether the files this was found from are still the same."""
        try:
            return all(_identity(entry[0]) == entry for entry in self.identity)
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that this project makes and keeps at *path*, a real path of the host.

    *identity* is what ``Program`` has of each of its own, None where nothing was there; what *is_good* is
    whole.
    """

    path: str
    identity: tuple[str, int, int, int, int] | None
    is_good: bool

    @classmethod
    def whole(cls, path: str, facts: os.stat_result) -> Self:
        """Return the file at *path* that was read whole; *facts* are of what was read."""
        return cls(path, _identified(path, facts), is_good=True)

    @classmethod
    def seen(cls, path: str) -> Self:
        """Return what is at *path*, which is no good."""
        try:
            return cls(path, _identity(path), is_good=False)
        except OSError:
            return cls(path, None, is_good=False)

    def still_true(self) -> bool:
        """Tell whether it is still the file that was found, or still none."""
        try:
            return _identity(self.path) == self.identity
        except OSError:
            return self.identity is None


def find(requirement: Requirement) -> Program:
    """Return the host's program for *requirement*.

    Raises:
        HostError: the host has none, or none of that version, or it is writable by others.
    """
    if requirement.name == "python":
        return _find_python(requirement)
    found = hostprogram.found(requirement.name)
    if found is None:
        raise HostError(
            "host.interpreter_missing",
            f"this host has no {requirement.name}, which the package requires",
            f"install {requirement.name} and make it reachable over PATH",
        )
    real = os.path.realpath(found)
    version = _ask_version(real) if requirement.specifier else ""
    if requirement.specifier and not requirement.allows(_release(version)):
        raise _wrong_version(requirement, f"{real} is version {version or 'unknown'}")
    return _describe_program(requirement.name, real, version)


def find_started(name: str) -> Program:
    """Return the host program *name* as a tool may start it: itself, its loader, libraries and helpers.

    Helpers are what the distribution's package of the program keeps for it in ``/usr/lib/NAME`` and the
    like; its data in ``/usr/share/NAME`` is readable. Nothing else becomes executable.

    Raises:
        HostError: the host has none, or it is writable by others.
    """
    found = hostprogram.found(name)
    if found is None:
        raise HostError(
            "host.program_missing",
            f"this host has no {name}, which the package was allowed to start",
            f"install {name} and make it reachable over PATH",
        )
    real = os.path.realpath(found)
    program = _describe_program(name, real, "")
    files = list(program.files)
    identity = list(program.identity)
    for folder, executable in _own_folders(real):
        hostprogram.refuse_if_replaceable(folder)
        files.append(HostFile(folder, folder, executable=executable))
        helpers = [str(each) for each in sorted(Path(folder).iterdir()) if executable and _is_elf(each)]
        for helper in helpers:
            files += [file for file in _loaded(helper, (), None) if file not in files]
        identity += [_identity(path) for path in (folder, *helpers)]
    identity += _identities(files)
    return Program(name, "", program.path, tuple(files), (), tuple(dict.fromkeys(identity)))


def _own_folders(program: str) -> list[tuple[str, bool]]:
    """Return the folders that belong to the distribution's package of *program*: (path, holds helpers).

    Only folders named for the package below /usr/lib, /usr/libexec and /usr/share, and only where the
    package database says that they are its own.
    """
    try:
        query = hostprogram.found("dpkg-query")
    except HostError:
        return []
    if query is None:
        return []
    names = [program, program.removeprefix("/usr")]  # before or after the merge of /usr
    for name in dict.fromkeys(names):
        owner = (hostprogram.answer([query, "--search", name]) or "").partition(":")[0]
        if owner and "," not in owner:
            break
    else:
        return []
    listed = set((hostprogram.answer([query, "--listfiles", owner]) or "").splitlines())
    base = PurePosixPath(program).name
    wanted = {
        f"{parent}/{name}": parent != "/usr/share"
        for parent in ("/usr/lib", "/usr/libexec", "/usr/share")
        for name in dict.fromkeys((base, f"{base}-core", owner, f"{owner}-core"))
    }
    return [
        (path, helpers)
        for path, helpers in wanted.items()
        if path in listed and Path(path).is_dir() and not Path(path).is_symlink()
    ]


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``20.11.1-pre`` is ``(20, 11, 1)``."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _wrong_version(requirement: Requirement, seen: str) -> HostError:
    return HostError(
        "host.interpreter_version",
        f"the package requires {requirement}; {seen}",
        f"install a {requirement.name} that satisfies {requirement.specifier}",
    )


def _identity(path: str) -> tuple[str, int, int, int, int]:
    return _identified(path, os.stat(path))  # noqa: PTH116 - one call, no object


def _identified(path: str, facts: os.stat_result) -> tuple[str, int, int, int, int]:
    return path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _identities(files: Iterable[HostFile], *folders: str) -> tuple[tuple[str, int, int, int, int], ...]:
    # The libraries, too: an update of one changes its file's name, and may change what it loads itself.
    paths = (*(file.source for file in files), *(folder for folder in folders if Path(folder).exists()))
    return tuple(_identity(path) for path in dict.fromkeys(paths))


def _find_python(requirement: Requirement) -> Program:
    seen = []
    refused: HostError | None = None
    for candidate in _python_candidates():
        try:
            # The interpreter of this process runs already, whoever can change it.
            if candidate != own_interpreter():
                hostprogram.refuse_if_replaceable(candidate)
            facts = _ask_python(candidate)
        except HostError as error:
            refused = refused or error
            continue
        except (OSError, ValueError):
            continue
        version = ".".join(map(str, facts["version"]))
        if facts["implementation"] != "cpython":
            continue
        if requirement.allows(_release(version)):
            if candidate != own_interpreter():
                hostprogram.refuse_if_replaceable(facts["executable"])
            return _describe_python(facts["executable"], facts["stdlib"], version)
        seen.append(f"{facts['executable']} is {version}")
    if refused is not None:
        raise refused
    if seen:
        raise _wrong_version(requirement, "; ".join(dict.fromkeys(seen)))
    raise HostError("host.interpreter_missing", "this host has no CPython", "install Python 3.11 or later")


def own_interpreter() -> str:
    """Return the interpreter of this process, outside of any virtual environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _python_candidates() -> Iterable[str]:
    """Yield the interpreter of this process first: it is there, and it is the one the user chose."""
    import shutil  # noqa: PLC0415 -- what is found is kept; most processes never ask

    yield own_interpreter()
    for name in ("python3", *(f"python3.{minor}" for minor in range(19, 10, -1))):
        found = shutil.which(name)
        if found is not None:
            yield os.path.abspath(found)  # noqa: PTH100 -- links stay as they are


def _ask_python(path: str) -> dict[str, Any]:
    # What is found may be a shim that runs another program: only the interpreter knows what it is.
    facts = json.loads(hostprogram.answer([path, "-I", "-S", "-c", _PYTHON_FACTS]) or "null")
    if not isinstance(facts, dict) or not all(key in facts for key in ("executable", "version", "stdlib")):
        raise ValueError("not an interpreter")
    return facts


def _ask_version(path: str) -> str:
    words = (hostprogram.answer([path, "--version"]) or "").split()
    return next((word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit()), "")


def _describe_python(executable: str, stdlib: str, version: str) -> Program:
    hostprogram.refuse_if_changeable(executable)
    hostprogram.refuse_if_changeable(stdlib)
    prefix = str(Path(executable).parent.parent)
    short = ".".join(version.split(".")[:2])
    inside_library = f"{PYTHON_ROOT}/lib/python{short}"
    inside = f"{PYTHON_ROOT}/bin/python{short}"
    dynamic = Path(stdlib) / "lib-dynload"
    modules = sorted(
        str(path) for path in dynamic.glob("*.so") if path.name.partition(".")[0] not in _OMITTED_MODULES
    )
    files = [HostFile(executable, inside, executable=True), HostFile(stdlib, inside_library)]
    files += _loaded(executable, (*modules, *_WHEEL_LIBRARIES), prefix)
    # Where an installation keeps its packages inside the library folder, they are the host's, not the tool's.
    hidden = tuple(
        f"{inside_library}/{name}"
        for name in ("site-packages", "dist-packages")
        if (Path(stdlib) / name).is_dir()
    )
    return Program("python", version, inside, tuple(files), hidden, _identities(files, str(dynamic)))


def _describe_program(name: str, real: str, version: str) -> Program:
    hostprogram.refuse_if_replaceable(real)
    inside = f"{PROGRAMS}/{name}"
    files = (HostFile(real, inside, executable=True), *_loaded(real, (), None))
    return Program(name, version, inside, files, (), _identities(files))


def _loaded(program: str, modules: Iterable[str], prefix: str | None) -> list[HostFile]:
    """Return loader and libraries of *program*, each where the loader will look for it inside.

    Inside there is no ``ld.so.cache``. A library below the interpreter's own *prefix* was found relative to
    it, or by the path of that on the host: so it appears in its place below the interpreter, and like every
    other one in the folder of the C library, which is searched by default.
    """
    loader = elf.loader_of(program)
    if loader is None:
        return []
    found = elf.libraries(program, loader, list(modules))
    files = [HostFile(os.path.realpath(loader), loader, executable=True)]
    system = str(PurePosixPath(found.get("libc.so.6", "/lib/libc.so.6")).parent)
    for name, path in sorted(found.items()):
        if os.path.realpath(path) == files[0].source:
            continue
        files.append(HostFile(os.path.realpath(path), f"{system}/{name}"))
        if prefix is not None and prefix != "/usr" and path.startswith(f"{prefix}/"):
            files.append(HostFile(os.path.realpath(path), PYTHON_ROOT + path[len(prefix) :]))
    return files

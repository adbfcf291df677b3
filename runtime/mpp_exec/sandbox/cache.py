"""Compiled programs and modules, and facts about host programs, kept in the home's cache between processes.

A cache is never a reason to fail. An entry that cannot be read, is damaged, belongs to another user or to
other inputs is made again. Every file carries the digest of its content; the folder is the user's own
(0700).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection
from pathlib import Path

from mpp_exec import encoding
from mpp_exec.errors import MppError
from mpp_exec.package.requirement import Requirement
from mpp_exec.sandbox import interpreter, launcher, seccomp
from mpp_exec.sandbox.allow import Allow
from mpp_exec.sandbox.interpreter import HostFile, KeptFile, Program

_DIGEST = 32
_MAX = 1 << 20
_MODULES_MAX = 128 << 20
_PROGRAM_VERSION = 4
_MESSAGES = 32
_UNFINISHED = "tmp"
_WRITTEN_S = 3600  # what is written for longer, nobody writes any more
# Files of a kind that are kept, the newest: each version of a compiler, interpreter or path makes others, and
# which of them nobody asks for any more is told by nothing. One that is missed is made again.
_KEPT = {"bpf": 256, "program": 128, "launcher": 16}


class SandboxCache:
    """The cache below *folder*; None keeps everything in this object only."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._filters: dict[tuple[Allow | str, ...], bytes] = {}
        self._held: dict[int, tuple[object, bytes]] = {}
        self._messages: dict[int, tuple[object, tuple[object, ...], bytes]] = {}
        self._programs: dict[Requirement | str, Program] = {}
        self._launchers: dict[Program, bytes] = {}

    def filter(self, profile: tuple[Allow, ...]) -> bytes:
        """Return the proven program of *profile*.

        Raises:
            HostError, InternalError: as ``seccomp.compile_profile``.
        """
        return self._compiled(profile, lambda: seccomp.compile_profile(profile))

    def seal(self, away: tuple[str, ...]) -> bytes:
        """Return the proven program that takes the calls of *away* away.

        Raises:
            HostError, InternalError: as ``seccomp.compile_seal``.
        """
        return self._compiled(away, lambda: seccomp.compile_seal(away))

    def watch(self, profile: tuple[Allow, ...]) -> bytes:
        """Return the proven program of a traced call of *profile*.

        Raises:
            HostError, InternalError: as ``seccomp.compile_watch``.
        """
        return self._compiled(_watched(profile), lambda: seccomp.compile_watch(profile))

    def message(self, plan: object, differs: tuple[object, ...], encode: Callable[[], bytes]) -> bytes:
        """Return what *encode* makes of *plan* with what *differs* between its calls; a few are kept.

        Kept in memory only: values that a user set stand in it.
        """
        held = self._messages.get(id(plan))
        if held is None or held[0] is not plan or held[1] != differs:
            if len(self._messages) >= _MESSAGES:
                self._messages.clear()
            held = self._messages[id(plan)] = plan, differs, encode()
        return held[2]

    def _compiled(self, key: tuple[Allow | str, ...], compile_program: Callable[[], bytes]) -> bytes:
        # Profiles are made once, so identity answers at once; hashing one takes longer than a system call.
        held = self._held.get(id(key))
        if held is not None and held[0] is key:
            return held[1]
        if key not in self._filters:
            name = hashlib.sha256(f"{seccomp.COMPILER_VERSION} {key!r}".encode()).hexdigest()
            program = self._read(f"bpf-{name}")
            if program is None:
                program = compile_program()
                self._write(f"bpf-{name}", program)
            self._filters[key] = program
        self._held[id(key)] = key, self._filters[key]
        return self._filters[key]

    def program(self, requirement: Requirement) -> Program:
        """Return the host's program for *requirement*, asked again when its files changed.

        Raises:
            HostError: as ``interpreter.find``.
        """
        return self._found(requirement, lambda: interpreter.find(requirement))

    def started(self, name: str) -> Program:
        """Return the host's program *name* as a tool may start it, asked again when its files changed.

        Raises:
            HostError: as ``interpreter.find_started``.
        """
        return self._found(name, lambda: interpreter.find_started(name))

    def launcher(self, python: Program) -> bytes:
        """Return the launcher of Python tools as bytecode for *python*.

        Raises:
            HostError: as ``launcher.compiled``.
        """
        held = self._launchers.get(python)
        if held is None:
            name = hashlib.sha256(f"{launcher.digest()} {python.identity!r}".encode()).hexdigest()
            held = self._read(f"launcher-{name}")
            if held is None:
                held = launcher.compiled(python)
                self._write(f"launcher-{name}", held)
            self._launchers[python] = held
        return held

    def modules(self, digest: str, python: Program) -> KeptFile | None:
        """Return the compiled modules of the package *digest* for *python*, None where none are kept."""
        if self._folder is None:
            return None
        name = self._modules_name(digest, python)
        path = os.path.join(os.path.realpath(self._folder), name)  # noqa: PTH118 -- as text
        found = self._found_file(name, _MODULES_MAX)
        if found is None:
            return KeptFile.seen(path)
        # Of what was read: where it is changed meanwhile, whoever looks next sees another file.
        return KeptFile.whole(path, found[1])

    def keep_modules(self, digest: str, python: Program, archive: bytes) -> None:
        """Keep the compiled modules of the package *digest* for *python* (``bytecode``), and for no other."""
        if len(archive) <= _MODULES_MAX:
            self._forget(f"{_modules_of(digest)}-*", lambda _: True)
            self._write(self._modules_name(digest, python), archive, mode=0o644)

    def forget_modules(self, installed: Collection[str]) -> None:
        """Remove the compiled modules of packages whose digests are not among *installed*.

        So is what a process left that was killed while it wrote here.
        """
        there = {_modules_of(digest) for digest in installed}
        self._forget("modules-*", lambda path: path.name.rpartition("-")[0] not in there)
        before = time.time() - _WRITTEN_S
        self._forget(f"{_UNFINISHED}*", lambda path: path.lstat().st_mtime < before)

    def _forget(self, pattern: str, is_over: Callable[[Path], bool]) -> None:
        with contextlib.suppress(OSError):
            for path in () if self._folder is None else self._folder.glob(pattern):
                if is_over(path):
                    path.unlink(missing_ok=True)

    def _modules_name(self, digest: str, python: Program) -> str:
        key = hashlib.sha256(repr(python.identity).encode()).hexdigest()
        return f"{_modules_of(digest)}-{key}"

    def _found(self, wanted: Requirement | str, find: Callable[[], Program]) -> Program:
        known = self._programs.get(wanted) or self._stored_program(wanted)
        if known is None or not known.still_true():
            known = find()
            self._write(self._program_name(wanted), encoding.dumps(_to_value(known)))
        self._programs[wanted] = known
        return known

    def _program_name(self, wanted: Requirement | str) -> str:
        # PATH decides what is found, and so does the interpreter that asks.
        key = f"{_PROGRAM_VERSION} {wanted!r} {os.environ.get('PATH', '')} {interpreter.own_interpreter()}"
        return f"program-{hashlib.sha256(os.fsencode(key)).hexdigest()}"

    def _stored_program(self, wanted: Requirement | str) -> Program | None:
        content = self._read(self._program_name(wanted))
        if content is None:
            return None
        try:
            return _from_value(encoding.loads(content, max_size=_MAX))
        except (MppError, KeyError, TypeError, ValueError):
            return None

    def _read(self, name: str) -> bytes | None:
        found = self._found_file(name, _MAX)
        return None if found is None else found[0]

    def _found_file(self, name: str, most: int) -> tuple[bytes, os.stat_result] | None:
        if self._folder is None:
            return None
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(self._folder / name, flags), "rb") as file:
                facts = os.fstat(file.fileno())
                # What is read here decides what is mounted and which system calls are refused.
                if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
                    return None
                content = file.read(_DIGEST + most)
        except OSError:
            return None
        digest, body = content[:_DIGEST], content[_DIGEST:]
        return (body, facts) if body and hashlib.sha256(body).digest() == digest else None

    def _write(self, name: str, body: bytes, mode: int = 0o600) -> None:
        if self._folder is None:
            return
        import tempfile  # noqa: PLC0415 -- most processes find what they need

        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            fd, temporary = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._folder)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(hashlib.sha256(body).digest() + body)
                    os.fchmod(file.fileno(), mode)
                Path(temporary).rename(self._folder / name)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
            self._bound(name.partition("-")[0])

    def _bound(self, kind: str) -> None:
        """Remove the oldest files of *kind* where there are more than are kept."""
        if kind not in _KEPT or self._folder is None:
            return
        there = []
        for path in self._folder.glob(f"{kind}-*"):
            with contextlib.suppress(OSError):  # another process removes them, too
                there.append((path.lstat().st_mtime_ns, path))
        for _, path in sorted(there)[: -_KEPT[kind]]:
            path.unlink(missing_ok=True)


@functools.lru_cache(maxsize=8)  # the same object each time: what is compiled is found by that
def _watched(profile: tuple[Allow, ...]) -> tuple[Allow | str, ...]:
    return "watch", *profile


def _modules_of(digest: str) -> str:
    return f"modules-{digest.rpartition(':')[2]}"


def _to_value(program: Program) -> dict[str, object]:
    return {
        "name": program.name,
        "version": program.version,
        "path": program.path,
        "files": [[file.source, file.target, file.executable] for file in program.files],
        "hidden": list(program.hidden),
        "identity": [list(entry) for entry in program.identity],
    }


def _from_value(value: dict[str, list[list[str]]]) -> Program:
    program = Program(
        name=str(value["name"]),
        version=str(value["version"]),
        path=str(value["path"]),
        files=tuple(HostFile(str(s), str(t), executable=bool(x)) for s, t, x in value["files"]),
        hidden=tuple(str(path) for path in value["hidden"]),
        identity=tuple(
            (str(path), int(device), int(inode), int(size), int(mtime))
            for path, device, inode, size, mtime in value["identity"]
        ),
    )
    # Only then does looking at the identity say that everything is as it was found.
    if not {file.source for file in program.files} <= {entry[0] for entry in program.identity}:
        raise ValueError("files that nobody looks at")
    return program

"""A template: a running interpreter with the launcher loaded, of which a tool's sandboxes are copies.

Starting Python takes ten times as long as copying it. The template runs on the host and holds only the
host's own code: no package, no arguments, no secrets. A copy confines itself as any other sandbox does
(``native/copies.c``), and then imports the tool. Copies have one address-space layout and one hash secret in
common. So a template belongs to one plan, and is replaced after ``COPIES`` copies or ``AGE`` seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mpp_exec.errors import HostError
from mpp_exec.sandbox import hostprogram, interpreter, launcher
from mpp_exec.sandbox.building import LAUNCH
from mpp_exec.sandbox.native import ffi, lib
from mpp_exec.sandbox.plan import SandboxPlan

COPIES: Final = 256
"""Sandboxes that are copied from one template at most: what one tells of its layout is soon worth nothing."""

AGE: Final = 120.0
"""Seconds that one template is copied for at most."""

_PRELOADED: Final = (Path("/etc/ld.so.preload"), Path("/etc/ld-nix.so.preload"))
"""What names libraries that the host's dynamic linker loads into every program, ld.so(8)."""

_PROGRAM: Final = "template.py"
_EXTENSIONS: Final = ("_copies.abi3.so", "_seal.abi3.so")
# All of its environment: what a package or its user may set of variables is for the copies, as they begin.
# Inside there are no locales, and Python then takes UTF-8 by itself.
_ENVIRONMENT: Final = ("LC_ALL=C",)
_FIRST_FLAG, _LAST_FLAG = 1, 4  # of a plan's command line: -I -S -B


def can_be_copied(plan: SandboxPlan) -> bool:
    """Return whether sandboxes of *plan* can be copies: Python tools that start no other program."""
    is_python = plan.kind == "python" and _interpreter(plan) is not None and plan.argv[_LAST_FLAG] == LAUNCH
    return is_python and plan.bare is None and not plan.started


def _interpreter(plan: SandboxPlan) -> interpreter.Program | None:
    """Return the program of the host that *plan* executes."""
    return next((program for program in plan.programs if program.path == plan.exec_path), None)


def _is_the_hosts_own(python: interpreter.Program) -> bool:
    """Return whether nobody but the user and root can change what *python* runs, as it was when it was found.

    In a sandbox it would not matter; a template runs as the host.
    """
    if python.files[0].source == os.path.realpath(interpreter.own_interpreter()):
        return True  # it runs already, whoever can change it
    try:
        for file in python.files:
            hostprogram.refuse_if_replaceable(file.source)
    except HostError:
        return False
    return True


def _is_joined() -> bool:
    """Return whether programs of this host have what others have read in their memory; in doubt they have."""
    for path in _PRELOADED:
        try:
            if path.read_bytes().strip():
                return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


class Template:
    """One template of *plan*. It ends with the thread that made it, and so do its copies. Thread-safe.

    Attributes:
        began: when it was started (``time.monotonic``).
        copies: how many were asked for.
    """

    def __init__(self, plan: SandboxPlan) -> None:
        """Start it. Where that fails it :attr:`serves` nobody, and sandboxes are made in the ordinary way."""
        self.began = time.monotonic()
        self.copies = 0
        self._resident = 0
        self._lock = threading.Lock()
        self._slot = ffi.gc(ffi.new("struct mpp_template **"), lib.mpp_template_close)
        python = _interpreter(plan)
        if python is None or _is_joined() or not _is_the_hosts_own(python):
            return
        executable = python.files[0].source
        prefix = str(Path(executable).parent.parent)
        code = next(entry.data for entry in plan.entries if entry.target == LAUNCH)
        words = [
            executable,
            *plan.argv[_FIRST_FLAG:_LAST_FLAG],
            f"/proc/self/fd/{lib.MPP_TEMPLATE_PROGRAM}",
            interpreter.PYTHON_ROOT,
            prefix,
        ]
        with contextlib.ExitStack() as stack:
            try:
                # In the order of template.py.
                held = [
                    self._opened(stack, os.open(Path(launcher.FOLDER, name), os.O_RDONLY | os.O_CLOEXEC))
                    for name in (*_EXTENSIONS, _PROGRAM)
                ]
                held.append(self._opened(stack, os.memfd_create("launcher", os.MFD_CLOEXEC)))
                os.pwrite(held[-1], code, 0)
            except OSError:
                return
            kept = [ffi.new("char[]", os.fsencode(text)) for text in (*words, *_ENVIRONMENT)]
            argv = ffi.new("const char *[]", [*kept[: len(words)], ffi.NULL])
            envp = ffi.new("const char *[]", [*kept[len(words) :], ffi.NULL])
            lib.mpp_template_start(kept[0], argv, envp, ffi.new("int[]", held), self._slot)

    @staticmethod
    def _opened(stack: contextlib.ExitStack, descriptor: int) -> int:
        stack.callback(os.close, descriptor)
        return descriptor

    @property
    def serves(self) -> bool:
        """Whether sandboxes may be copied from it still."""
        is_fresh = self.copies < COPIES and time.monotonic() - self.began < AGE
        with self._lock:
            return is_fresh and bool(lib.mpp_template_serves(self._slot[0]))

    @property
    def resident(self) -> int:
        """The bytes of memory that it has, and shares with its copies; 0 before there is one."""
        if self._resident == 0 and self.copies:
            with self._lock:
                self._resident = int(lib.mpp_template_size(self._slot[0]))
        return self._resident

    @contextlib.contextmanager
    def lent(self) -> Iterator[object]:
        """Yield it as C wants it, for one copy; NULL if it is closed. Nobody else has it in the meantime."""
        with self._lock:
            self.copies += 1
            yield self._slot[0]

    def close(self) -> None:
        """End it; its copies go on. May be repeated."""
        with self._lock:
            lib.mpp_template_close(self._slot)

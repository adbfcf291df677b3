"""The launcher of Python tools as bytecode, compiled once for each interpreter instead of at each start."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
from pathlib import Path
from typing import Final

from mpp_exec.errors import HostError
from mpp_exec.sandbox import hostprogram, interpreter

FOLDER: Final = os.path.realpath(Path(__file__).with_name("inside"))
"""What the launcher is taken from: a folder of this installation."""

_SOURCE: Final = "launch.py"
# What it is called in tracebacks: between such brackets Python looks for no file, which would not be there.
_NAME: Final = "<launcher>"
# importlib's header of a file that is not compared with its source (PEP 552), behind the magic number.
_UNCHECKED: Final = (1).to_bytes(4, "little") + bytes(8)
_COMPILE: Final = f"""
import importlib.util, marshal, sys
with open(sys.argv[1], "rb") as file:
    code = compile(file.read(), "{_NAME}", "exec", dont_inherit=True, optimize=0)
sys.stdout.write((importlib.util.MAGIC_NUMBER + {_UNCHECKED!r} + marshal.dumps(code)).hex())
"""


def saves() -> bool:
    """Return whether processes can be saved and restored: that is built for x86-64 only."""
    return Path(FOLDER, "mpp-restore").exists()


def digest() -> str:
    """Return the SHA-256 of its source and of how that is compiled, in hexadecimal."""
    return hashlib.sha256(Path(FOLDER, _SOURCE).read_bytes() + _COMPILE.encode()).hexdigest()


def compiled(python: interpreter.Program) -> bytes:
    """Return what a file ``launch.pyc`` for the interpreter *python* of this host holds.

    Raises:
        HostError: ``host.launcher``: it cannot compile it.
    """
    source = Path(FOLDER, _SOURCE)
    executable = python.files[0].source
    if executable == os.path.realpath(interpreter.own_interpreter()):
        code = compile(source.read_bytes(), _NAME, "exec", dont_inherit=True, optimize=0)
        return importlib.util.MAGIC_NUMBER + _UNCHECKED + marshal.dumps(code)
    text = hostprogram.answer([executable, "-I", "-S", "-c", _COMPILE, str(source)])
    try:
        made = bytes.fromhex(text or "")
    except ValueError:
        made = b""
    if not made:
        raise HostError(
            "host.launcher",
            f"{executable} cannot compile the launcher of Python tools",
            "is that interpreter complete? mpp-exec doctor runs a tool with this host's own",
        )
    return made

"""Compiles the modules of a package, inside a sandbox: what a source does to the compiler stays there."""

import binascii
import marshal
import sys
import warnings


def compiled(folder: str, app: str, names: list[str]) -> dict[str, object]:
    """Return the code of each of *names* in *folder* that can be compiled, marshalled, as base64.

    *app* is where the tool will find them. A file for another version of Python, or one that is no module, is
    left to whoever imports it.
    """
    warnings.simplefilter("ignore")  # each one that nobody reads costs more than its line
    found = {}
    for name in names:
        try:
            with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123 - pathlib costs an import
                code = compile(file.read(), f"{app}/{name}", "exec", dont_inherit=True, optimize=0)
            found[name] = binascii.b2a_base64(marshal.dumps(code), newline=False).decode("ascii")
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    magic: bytes = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER
    return {"magic": magic.hex(), "modules": found}

"""Is there such a function? A look at the source of a Python tool, without running any of it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from typing import Final

from mpp_exec.errors import UsageError

MAX_SOURCE: Final = 8 * 1024 * 1024
"""Bytes of a module that has an entry in it; larger ones are refused."""


def module_file(module: str, roots: Iterable[str], paths: set[str]) -> str | None:
    """Return the packaged file that ``import module`` would load, as Python's path finder looks for it.

    *roots* are the folders on ``sys.path``, in order, each empty or ending with a slash. In each, a
    package comes before an extension module, and that before a source file.
    """
    stem = module.replace(".", "/")
    for root in roots:
        package, source = f"{root}{stem}/__init__.py", f"{root}{stem}.py"
        if package in paths:
            return package
        extensions = sorted(
            path
            for path in paths
            if path.startswith(f"{root}{stem}.")
            and path.endswith(".so")
            and "/" not in path[len(root) + len(stem) :]
        )
        if extensions:
            return extensions[0]
        if source in paths:
            return source
    return None


def check_entry(source: bytes, path: str, entry: str) -> None:
    """Refuse *entry* (``module:function``) if the *source* at *path* binds no such name at its top level.

    A name counts when a ``def``, ``class``, ``import`` or assignment at module level binds it, also
    inside ``if``, ``try``, ``with`` or a loop. After ``import *`` or with a module ``__getattr__`` it
    cannot be known, and passes.

    Raises:
        UsageError: ``build.entry_syntax`` or ``build.entry_missing``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise UsageError(
            "build.entry_syntax",
            f"{path}{f' line {line}' if line else ''} is not Python: {getattr(error, 'msg', error)}",
            "build with the version of Python that the tool is for",
        ) from None
    except (RecursionError, MemoryError):
        raise UsageError(
            "build.entry_syntax", f"{path} is nested too deep for Python", "split the expression"
        ) from None
    wanted = entry.partition(":")[2]
    names = set(_bound(tree.body))
    if wanted in names or "*" in names or "__getattr__" in names:
        return
    raise UsageError(
        "build.entry_missing",
        f"entry {entry!r}: {path} defines no {wanted!r}",
        f"define it at the top level: def {wanted}(…)",
    )


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that the statements bind in their own scope; ``*`` for an import of all."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    yield alias.asname or alias.name.partition(".")[0]
            case ast.Assign():
                for target in statement.targets:
                    yield from _targets(target)
            case ast.AnnAssign() if statement.value is not None:
                yield from _targets(statement.target)
            case ast.If() | ast.For() | ast.While():
                yield from _bound([*statement.body, *statement.orelse])
            case ast.With():
                yield from _bound(statement.body)
            case ast.Try() | ast.TryStar():
                handled = [inner for handler in statement.handlers for inner in handler.body]
                yield from _bound([*statement.body, *handled, *statement.orelse, *statement.finalbody])
            case _:
                pass


def _targets(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Name():
            yield target.id
        case ast.Tuple() | ast.List():
            for element in target.elts:
                yield from _targets(element)
        case ast.Starred():
            yield from _targets(target.value)
        case _:
            pass

"""Reads from a program's error messages what the program could not have.

A launcher notes what a Python tool tries. Of another program or a server nothing is known but its messages,
and most programs use the words of the C library (strerror(3)) or the name of the error. This is the tool's
own word and a hint for people. It is reported only where the plan does deny the access (``denial``).
"""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.patterns import lazily

LINES: Final = 2000
LINE: Final = 1024
"""Lines that are read, from the end, and characters of each: what fails is said last, and shortly."""

MOST: Final = 16
"""What is kept of each kind."""

_MISSING: Final = lazily(
    r"no such file|directory nonexistent|cannot find the path|does not exist|\b(?-i:ENOENT)\b", re.IGNORECASE
)
_REFUSED: Final = lazily(
    r"read-only file system|permission denied|operation not permitted|\b(?-i:EROFS|EACCES|EPERM)\b",
    re.IGNORECASE,
)
_UNREACHED: Final = lazily(
    r"could not resolve host|name resolution|name or service not known|network is unreachable"
    r"|address family not supported|socket type not supported|unable to resolve host"
    r"|\b(?-i:EAI_AGAIN|ENOTFOUND|ENETUNREACH|EAFNOSUPPORT)\b",
    re.IGNORECASE,
)
_WRITES: Final = lazily(r"\b(?:creat|mkdir|writ|unlink|remov|renam|sav|touch)", re.IGNORECASE)
_QUOTED: Final = lazily(r"""['"`\u2018](/[^'"`\u2019]{1,1000})""")
_BARE: Final = lazily(r"(?<![\w./\\:-])/[^\s:;,'\"`()<>|]{1,1000}")
_PROGRAM: Final = lazily(
    r"(?:^|[:\s])(?P<shell>[\w.+-]{1,64}): (?:command )?not found$"
    r"|\bspawn (?P<node>[\w./+-]{1,255}) E(?:NOENT|ACCES|PERM)\b"
)
_HOST: Final = lazily(
    r"(?:resolve host(?: address)?:? ['\"]?|EAI_AGAIN |ENOTFOUND |lookup )"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]{0,252})"
)


def complaints(*texts: object) -> dict[str, list[str]]:
    """Return what *texts* say was missing or refused, as ``denial.denials`` takes it.

    What is no text says nothing.
    """
    found: dict[str, dict[str, None]] = {}

    def note(kind: str, what: str) -> None:
        notes = found.setdefault(kind, {})
        if len(notes) < MOST:
            notes[what] = None

    lines = [line for text in texts if isinstance(text, str) for line in text.splitlines()[-LINES:]]
    for line in lines:
        if len(line) > LINE:
            continue
        if _UNREACHED.search(line):
            told = _HOST.search(line)
            note("host", f"{told['host']}:" if told is not None else "")
        elif (program := _PROGRAM.search(line)) is not None:
            note("program", program["shell"] or program["node"])
        elif (refused := _REFUSED.search(line)) or _MISSING.search(line):
            kind = "write" if refused or _WRITES.search(line) else "read"
            for path in _QUOTED.findall(line) or _BARE.findall(line):
                note(kind, path.rstrip("."))
    return {kind: list(notes) for kind, notes in found.items()}

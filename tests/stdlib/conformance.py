"""Runs tests of CPython's own and says how each ended: one file, a sandbox's tool and a plain program.

As a program: ``conformance.py FOLDER`` with the arguments of :func:`run` as a JSON object on stdin.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import unittest
from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any

Raised = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Record(unittest.TestResult):
    """How each test ended: id → (pass, fail, error or skip; why)."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: dict[str, tuple[str, str]] = {}

    def _note(self, test: Any, how: str, why: str = "") -> None:
        # The first word stands: what failed is not made to pass by what comes after it.
        self.ended.setdefault(test.id(), (how, why))

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name, as below
        super().startTest(test)
        print(test.id(), file=sys.stderr, flush=True)  # noqa: T201 - the last line says what never ended

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._note(test, "pass")

    def addError(self, test: unittest.TestCase, err: Raised) -> None:  # noqa: N802
        self._note(test, "error", _described(err))

    def addFailure(self, test: unittest.TestCase, err: Raised) -> None:  # noqa: N802
        self._note(test, "fail", _described(err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self._note(test, "skip", str(reason))

    def addExpectedFailure(self, test: unittest.TestCase, err: Raised) -> None:  # noqa: ARG002, N802
        self._note(test, "pass")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._note(test, "fail", "unexpected success")

    def addSubTest(  # noqa: N802
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: Raised | None
    ) -> None:
        del subtest
        if err is not None:
            self._note(test, "fail", _described(err))


def _described(err: Raised) -> str:
    return f"{err[0].__name__ if err[0] else ''}: {err[1]}"[:300]


def _cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _cases(each)
        else:
            yield each


def run(module: str, left_out: list[str], only: list[str] | None = None) -> dict[str, tuple[str, str]]:
    """Run the tests of *module* less the patterns *left_out*; of these the ids *only*, if given."""
    support: Any = importlib.import_module("test.support")  # CPython's, which is on sys.path only now
    socket_helper: Any = importlib.import_module("test.support.socket_helper")

    support.use_resources = []  # no network, no minutes of processor time
    try:
        socket.socket(socket.AF_UNIX).close()
    except OSError as error:
        # What skip_unless_bind_unix_socket finds out by itself where socket(2) works and bind(2) does not.
        socket_helper._bind_nix_socket_error = error
    chosen = unittest.TestSuite()
    found: dict[type, unittest.TestSuite] = {}
    for case in _cases(unittest.defaultTestLoader.loadTestsFromNames([module])):
        name = case.id()
        if (only is None or name in only) and not any(fnmatchcase(name, each) for each in left_out):
            found.setdefault(type(case), unittest.TestSuite()).addTest(case)
    chosen.addTests(found.values())
    record = Record()
    chosen.run(record)
    return record.ended


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    answer = os.dup(1)
    os.dup2(2, 1)  # tests print
    with os.fdopen(answer, "w", encoding="utf-8") as stream:
        json.dump(run(**json.load(sys.stdin)), stream)
    os._exit(0)  # threads that a test left behind have no say

"""The real command in a home of its own: without a terminal, or at a terminal at which the test types."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import simulated_host
from mpp_exec.lifecycle import publishers
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.build import build
from mpp_exec.trust.cose import ManifestSigner

PROGRAM = (sys.executable, "-P", "-m", "mpp_exec")
DEADLINE = 60.0
"""Seconds that nothing here may take."""


@dataclass(frozen=True)
class Done:
    """The result of a command: its exit code and its output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which must be exactly one JSON document."""
        return json.loads(self.out)


@dataclass
class Shell:
    """A folder that contains a home, in which commands are run."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The home of mpp-exec."""
        return self.root / "home"

    @property
    def cwd(self) -> Path:
        """The working folder."""
        folder = self.root / "work"
        folder.mkdir(exist_ok=True)
        return folder

    def environment(self) -> dict[str, str]:
        """Return the environment variables that commands see."""
        user = self.root / "user"
        user.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(user),
            "MPP_HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            **self.variables,
        }

    def run(self, *words: str, stdin: str | bytes = b"", **variables: str) -> Done:
        """Run ``mpp-exec WORDS`` without a terminal and return its result."""
        done = subprocess.run(
            [*PROGRAM, *words],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            cwd=self.cwd,
            env=self.environment() | variables,
            start_new_session=True,
            timeout=DEADLINE,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def on(self, host: str, *words: str) -> Done:
        """Run ``mpp-exec WORDS`` on the simulated *host* and return its result."""
        done = subprocess.run(
            simulated_host.on(host, [*PROGRAM, *words]),
            capture_output=True,
            text=True,
            env=self.environment(),
            cwd=self.cwd,
            timeout=DEADLINE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, stdin: str | bytes = b"", **variables: str) -> Done:
        """Run a command that must succeed."""
        done = self.run(*words, stdin=stdin, **variables)
        assert done.code == 0, done
        return done

    def start(self, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
        """Start a command without a terminal; the caller waits for it."""
        return subprocess.Popen(
            [*PROGRAM, *words],
            cwd=self.cwd,
            env=self.environment(),
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        )

    def at_terminal(self, *words: str, **options: Any) -> Terminal:
        """Start a command whose controlling terminal and standard streams are a new terminal."""
        return Terminal([*PROGRAM, *words], self.cwd, self.environment(), **options)

    def tool(self, name: str = "acme/echo", **parts: str) -> Path:
        """Write the source of a Python tool with one function, ``tool.py:call(text)``; return its folder.

        *parts* may replace ``version``, ``code`` and ``entry``. ``toml`` is added to the end of ``mpp.toml``,
        and ``extra`` to the table of the tool.
        """
        folder = self.root / "source" / name.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        code = parts.get("code", "def call(text):\n    return text\n")
        (folder / "tool.py").write_text(code)
        schema = '{ type = "object", properties = { text = { type = "string" } }, required = ["text"] }'
        (folder / "mpp.toml").write_text(
            f"""\
[package]
name = "{name}"
version = "{parts.get("version", "1.0.0")}"
description = "{parts.get("description", "A tool for tests.")}"

[runtime]
kind = "python"
requires = ["python>=3.11"]

[[tools]]
name = "call"
description = "Answers."
entry = "tool:call"
inputSchema = {parts.get("schema", schema)}
{parts.get("extra", "")}
{parts.get("toml", "")}
"""
        )
        return folder

    def package(self, name: str = "acme/echo", **parts: str) -> Path:
        """Build the package of :meth:`tool`; make a key if there is none. Return the file.

        It is built in this process, since the test is about what happens to the package later.
        """
        publisher = name.partition("/")[0]
        with Session(self.home) as session:
            if publisher not in session.keys.publishers():
                publishers.keygen(session, publisher, None)
            signer = ManifestSigner(publisher, session.keys.load(publisher))
        return build(self.tool(name, **parts), signer, self.cwd).path

    def install(self, name: str = "acme/echo", *words: str, **parts: str) -> Done:
        """Build, install and approve the package of :meth:`tool`; *words* go to ``install``."""
        return self.ok("install", str(self.package(name, **parts)), "--approve", *words)


class Terminal:
    """A command at a terminal of its own. Use it in a ``with`` statement."""

    def __init__(
        self,
        command: list[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        out: int | None = None,
        columns: int = 0,
    ) -> None:
        """*out* is a descriptor to use as standard output instead; *columns* is the terminal's width."""
        self._master, slave = pty.openpty()
        if columns:
            termios.tcsetwinsize(slave, (24, columns))
        self._slave = os.dup(slave)
        self.screen = ""
        path = os.ttyname(slave)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _AT_TERMINAL, path, *command],
            cwd=cwd,
            env=dict(environment),
            stdin=slave,
            stdout=slave if out is None else out,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._slave)
        os.close(self._master)

    @property
    def pid(self) -> int:
        """The process id of the command."""
        return self._process.pid

    def expect(self, text: str) -> str:
        """Wait until *text* is on the screen; return what came before *text*, and discard both."""
        until = time.monotonic() + DEADLINE
        while text not in self.screen:
            if not self._read(until):
                raise AssertionError(f"{text!r} never appeared; the screen shows {self.screen!r}")
        before, _, self.screen = self.screen.partition(text)
        return before

    def type(self, text: str) -> None:
        """Type *text*."""
        os.write(self._master, text.encode())

    def echoes(self) -> bool:
        """Say whether the terminal echoes what is typed."""
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the rest of the screen."""
        until = time.monotonic() + DEADLINE
        while self._process.poll() is None:
            assert time.monotonic() < until, f"it never ends; the screen shows {self.screen!r}"
            self._read(time.monotonic() + 0.05)
        while self._read(0):
            pass
        return self._process.returncode, self.screen

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0, until - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: every process has closed the terminal
            return False
        self.screen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


_AT_TERMINAL = """
import os, sys
os.close(os.open(sys.argv[1], os.O_RDWR))  # a session leader without a terminal gets this one
os.execv(sys.argv[2], sys.argv[2:])
"""


def error_lines(done: Done) -> tuple[str, str, str]:
    """Return the message, code and hint of the failure that *done* reported on stderr."""
    error = re.search(r"^error: (.*) \[([a-z0-9_.]+)\]$", done.err, re.MULTILINE)
    hint = re.search(r"^hint: (.*)$", done.err, re.MULTILINE)
    assert error is not None, done
    return error[1], error[2], hint[1] if hint is not None else ""

"""Runs pip and npm: confined by Landlock, bounded in time, without what steers interpreters.

They parse what strangers have published. They get wheels and tarballs only and are told to run none of a
package's own code; should one of them do so all the same, or be led astray by a file, it can write to one
folder, and read no home but its own configuration.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from mpp_exec.confined import run_confined
from mpp_exec.errors import HostError, InternalError, UsageError
from mpp_exec.patterns import lazily
from mpp_exec.sandbox.outcome import signal_name
from mpp_exec.wrap.heard import Heard, Watch

_PRIVATE: Final = ("home", "root", "tmp", "mnt", "media", "lost+found", "sys", "boot")
_CONFIGURATION: Final = (".npmrc", ".netrc", ".pip", ".config/pip", ".config/npm")
_STEERING: Final = ("PYTHON", "NODE_OPTIONS", "NODE_PATH", "LD_", "BASH_", "npm_config_script", "MPP_")
_LINES: Final = 8
_ASIDE: Final = lazily(r"npm http |npm error *\d* *[{}]?$|npm error {2,}|npm error A complete log|WARNING: ")
"""Lines that do not say why it failed."""
_UNREACHED: Final = lazily(r"\(Retry\(total=0,|npm error code (?:ECONN|ENOTFOUND|EAI_AGAIN|E\w*TIMEDOUT)")
_REACH: Final = (
    "the registry did not answer: is it reachable from here? The configuration of pip or npm names it, and a "
    "proxy where there is one"
)
_TICK: Final = 0.2
"""Seconds after which an interruption, or the end of what has closed its output, is seen."""
_MAX_SAID: Final = 64 << 20
_MAX_LINE: Final = 4096
_NOT_THERE: Final = ("No matching distribution found", "Invalid requirement", "E404", "ETARGET")
_HINT: Final = "check name and version; --constraint, --as-of or --latest may make what it needs fit"
_VERSIONS: Final = lazily(r"\(from versions: (?:[^,)]+, ){8,}(?=(?:[^,)]+, ){4})")
"""All but the last few of the versions that pip lists, which may be hundreds."""
_OTHER_PYTHON: Final = lazily(r"(\S+) Requires-Python (\S+)")


def run_installer(
    command: Sequence[str],
    folder: Path,
    *,
    step: str = "",
    watch: Watch = Watch(),  # noqa: B008 -- frozen
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run *command* in *folder*, where alone it may write, and return what it printed.

    *step* says what it does, and *watch* is told of it; *variables* are set beside those of this process.
    When the caller is interrupted, what was started is ended first.

    Raises:
        UsageError: ``wrap.not_found``: the registry has no such thing; the message has its last lines.
        HostError: ``wrap.installer``: it failed otherwise, or was ended; ``host.no_landlock``: it was
            not started.
        InternalError: ``wrap.installer_timeout``, ``confined.*``.
    """
    temporary = folder / ".tmp"
    temporary.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)} | {
        "TMPDIR": str(temporary),
        "npm_config_cache": str(temporary / "npm"),
        "NO_COLOR": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **(variables or {}),
    }
    heard = Heard(step, watch)
    cancel = threading.Event()

    def work() -> subprocess.CompletedProcess[str]:
        started = _Started(command, folder, environment)
        try:
            started.attend(heard, watch.patience, cancel)
        finally:
            code = started.end()
        return subprocess.CompletedProcess(command, code, *started.said())

    try:
        done = run_confined(
            work, read=_readable(), write=(folder, "/dev/null"), programs=_programs(), cancel=cancel
        )
    except _PatienceEndedError:
        raise InternalError(
            "wrap.installer_timeout",
            f"{_called(command)} was not done after {watch.patience:.0f} s",
            _hint_at_end(*heard.most_tried()),
        ) from None
    except OSError as error:
        raise HostError(
            "wrap.installer",
            f"{command[0]} cannot be started: {error.strerror}",
            "install it, and make it reachable over PATH",
        ) from None
    if done.returncode < 0:  # what it said until then are warnings at most, which explain nothing
        raise HostError(
            "wrap.installer",
            f"{_called(command)} was ended by {signal_name(-done.returncode)} before it was done",
            "try again; whoever ends processes here, or a lack of memory, ended it",
        )
    if done.returncode != 0:
        message = f"{_called(command)} failed: {' | '.join(_telling(done.stderr, done.stdout))}"
        message = _VERSIONS.sub("(from versions: …, ", message)
        if _UNREACHED.search(done.stderr):
            raise HostError("wrap.installer", message, _REACH)
        if any(word in message for word in _NOT_THERE):
            raise UsageError("wrap.not_found", message, _python_wanted(command, message) or _HINT)
        raise HostError("wrap.installer", message, _HINT)
    return done.stdout


class _PatienceEndedError(Exception):
    """An installer took longer than whoever waits for it wanted to."""


class _Started:
    """An installer at work, without a terminal: a session of its own, which ends as a whole.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._streams = (self._process.stdout, self._process.stderr)
        self._said: dict[IO[bytes], bytearray] = {stream: bytearray() for stream in self._streams}
        self._line: dict[IO[bytes], bytes] = dict.fromkeys(self._streams, b"")

    def attend(self, heard: Heard, patience: float, cancel: threading.Event) -> None:
        """Read what it says until it is over, or *cancel* is set.

        Raises:
            _PatienceEndedError: that took more than *patience* seconds.
        """
        until = time.monotonic() + patience
        with selectors.DefaultSelector() as ready:
            for stream in self._streams:
                ready.register(stream, selectors.EVENT_READ, stream)
            while not cancel.is_set():
                over = self._is_over()  # looked at before what it said last is read
                events = ready.select(0 if over else _TICK if ready.get_map() else _TICK / 20)
                for key, _ in events:
                    if not self._read(key.data, heard):
                        ready.unregister(key.fd)
                if over and not events:
                    return
                if time.monotonic() >= until:
                    raise _PatienceEndedError

    def end(self) -> int:
        """End it, and whatever it has started; return its exit code, or minus the signal's number."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        for stream in self._streams:
            stream.close()
        return code

    def said(self) -> tuple[str, str]:
        """Return what it printed on stdout and stderr; of very much, the end."""
        out, err = (bytes(self._said[stream]).decode("utf-8", "replace") for stream in self._streams)
        return out, err

    def _is_over(self) -> bool:
        """Whether it has ended; it is waited for later, so that its group cannot become another one's."""
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        return ended is not None

    def _read(self, stream: IO[bytes], heard: Heard) -> bool:
        data = os.read(stream.fileno(), 1 << 16)
        said = self._said[stream]
        said += data
        del said[: max(0, len(said) - _MAX_SAID)]
        *lines, rest = (self._line[stream] + data).split(b"\n")
        self._line[stream] = rest[:_MAX_LINE]
        for line in lines:
            heard.take(line[:_MAX_LINE].decode("utf-8", "replace"))
        return bool(data)


def _hint_at_end(name: str, versions: int) -> str:
    """Return what to do about an installer that does not come to an end."""
    if versions > 1:
        return (
            f"it looked at {versions} versions of {name}, more than of anything else: "
            f"--constraint '{name}==VERSION' leaves one, --as-of or --latest others; --timeout S waits longer"
        )
    return (
        "is the registry reachable? If it is, --constraint, --as-of or --latest may leave less to try; "
        "--timeout S waits longer"
    )


def _telling(err: str, out: str) -> list[str]:
    """Return the lines that say why an installer failed, out of what it wrote on its streams."""
    said = [line for line in err.splitlines() if line.strip() and not _ASIDE.match(line)]
    said = said or [line for line in (err or out).splitlines() if line.strip()]
    return ([line for line in said if "error" in line.lower()] or said)[-_LINES:]


def _python_wanted(command: Sequence[str], message: str) -> str:
    """Return what to do where the version that was asked for is there, for another Python than this one."""
    asked = command[-1].rpartition("==")[2]
    needed = [wanted for version, wanted in _OTHER_PYTHON.findall(message) if version == asked]
    if not needed:
        return ""
    return f"it needs Python {needed[0].rstrip(';')}: wrap it with an mpp-exec installed in such a Python"


def pip() -> list[str]:
    """Return the command line of this interpreter's pip."""
    return [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color"]


def npm() -> list[str]:
    """Return the command line of the host's npm."""
    return ["npm", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--loglevel=http"]


def _called(command: Sequence[str]) -> str:
    """Return what people call the program of *command*: pip is a module of an interpreter."""
    return command[3] if list(command[:3]) == pip()[:3] else Path(command[0]).name


def _programs() -> list[str]:
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    return [
        path for path in ("/usr", "/bin", "/lib", "/lib64", "/sbin", "/opt", *prefixes) if Path(path).is_dir()
    ]


def _readable() -> list[str]:
    top = [entry.path for entry in os.scandir("/") if entry.is_dir() and entry.name not in _PRIVATE]
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 -- without a home there is nothing to read there
    files = [os.environ.get("PIP_CONFIG_FILE", ""), os.environ.get("NPM_CONFIG_USERCONFIG", "")]
    own = [str(home / name) for name in _CONFIGURATION]
    return [*top, *(path for path in (*own, *files) if path and Path(path).exists())]

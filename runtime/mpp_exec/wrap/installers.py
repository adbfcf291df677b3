"""Runs pip and npm: confined by Landlock, bounded in time, without what steers interpreters.

They parse what strangers have published. They get wheels and tarballs only and are told to run none of a
package's own code; should one of them do so all the same, or be led astray by a file, it can write to one
folder, and read no home but its own configuration.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mpp_exec.confined import run_confined
from mpp_exec.errors import HostError, InternalError, UsageError
from mpp_exec.patterns import lazily
from mpp_exec.sandbox.outcome import signal_name

PATIENCE: Final = 900.0
"""Seconds of one run."""

_PRIVATE: Final = ("home", "root", "tmp", "mnt", "media", "lost+found", "sys", "boot")
_CONFIGURATION: Final = (".npmrc", ".netrc", ".pip", ".config/pip", ".config/npm")
_STEERING: Final = ("PYTHON", "NODE_OPTIONS", "NODE_PATH", "LD_", "BASH_", "npm_config_script", "MPP_")
_LINES: Final = 8
_NOT_THERE: Final = ("No matching distribution found", "Invalid requirement", "E404", "ETARGET")
_HINT: Final = "check name and version; --constraint, --as-of or --latest may make what it needs fit"
_VERSIONS: Final = lazily(r"\(from versions: (?:[^,)]+, ){8,}(?=(?:[^,)]+, ){4})")
"""All but the last few of the versions that pip lists, which may be hundreds."""
_OTHER_PYTHON: Final = lazily(r"(\S+) Requires-Python (\S+)")


def run_installer(command: Sequence[str], folder: Path, *, variables: Mapping[str, str] | None = None) -> str:
    """Run *command* in *folder*, where alone it may write, and return what it printed.

    *variables* are set beside those of this process.

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
        **(variables or {}),
    }

    def work() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )

    try:
        done = run_confined(work, read=_readable(), write=(folder, "/dev/null"), programs=_programs())
    except subprocess.TimeoutExpired:
        raise InternalError(
            "wrap.installer_timeout",
            f"{_called(command)} was not done after {PATIENCE:.0f} s",
            "is the registry reachable? If it is, too many versions were tried: --constraint, --as-of or "
            "--latest may leave fewer",
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
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        telling = [line for line in said if "error" in line.lower()] or said
        message = f"{_called(command)} failed: {' | '.join(telling[-_LINES:])}"
        message = _VERSIONS.sub("(from versions: …, ", message)
        if any(word in message for word in _NOT_THERE):
            raise UsageError("wrap.not_found", message, _python_wanted(command, message) or _HINT)
        raise HostError("wrap.installer", message, _HINT)
    return done.stdout


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
    return ["npm", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]


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

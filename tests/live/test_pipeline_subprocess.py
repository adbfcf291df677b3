"""``subprocess = ["git"]``: that program, its loader, libraries and helpers can be started, nothing else."""

import contextlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.permissions import Permissions
from mpp_exec.sandbox.interpreter import Program
from mpp_exec.sandbox.look import Look
from sandbox_lab import bounded
from stage import NAME, Stage

RUN = """
import subprocess
def run(command, folder):
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        return {"error": type(error).__name__, "errno": error.errno}
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git = [
        "git",
        "-C",
        str(folder),
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "init.defaultBranch=main",
    ]
    subprocess.run([*git, "init", "-q"], check=True)
    (folder / "file.txt").write_text("one\n", encoding="ascii")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first words"], check=True)
    return folder


@pytest.fixture
def stage(tmp_path: Path, repository: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        made.python(
            RUN,
            permissions=Permissions(subprocess=("git",), read=(str(repository),)),
            limits=bounded(processes=32),
        )
        yield made


def call(stage: Stage, folder: Path, *command: str) -> dict[str, Any]:
    result = stage.runtime.call(NAME, "run", {"command": list(command), "folder": str(folder)})
    assert result.structured is not None, (result.content, result.stderr)
    return result.structured


def test_git_reads_a_granted_repository(stage: Stage, repository: Path) -> None:
    said = call(stage, repository, "git", "log", "--format=%s")
    assert (said["status"], said["out"]) == (0, "first words\n"), said["err"]


def knows_git() -> bool:
    """Whether the package database lists git's files."""
    if shutil.which("dpkg-query") is None:
        return False
    asked = subprocess.run(["dpkg-query", "-L", "git"], capture_output=True, check=False)
    return asked.returncode == 0 and b"/usr/lib/git-core/git" in asked.stdout


def test_git_reaches_its_helpers(stage: Stage, repository: Path) -> None:
    if not knows_git():
        pytest.skip("which files are git's own helpers is the package database's to say, and there is none")
    said = call(stage, repository, "git", "--exec-path")
    assert said["status"] == 0
    helper = call(stage, repository, f"{said['out'].strip()}/git", "version")
    assert helper["out"].startswith("git version"), helper


def test_git_commits_where_it_may_write_and_hooks_and_configuration_stay(
    tmp_path: Path, repository: Path
) -> None:
    source = RUN + (
        "def commit(folder):\n"
        "    author = ['-c', 'user.name=t', '-c', 'user.email=t@t']\n"
        "    said = [run(['git', *author, 'commit', '-q', '--allow-empty', '-m', 'by a tool'], folder)]\n"
        "    for name in ('hooks/post-commit', 'config'):\n"
        "        try:\n"
        "            open(folder + '/.git/' + name, 'w')\n"
        "        except OSError as error:\n"
        "            said.append(error.errno)\n"
        "    return said\n"
    )
    (repository / ".git/hooks").mkdir(exist_ok=True)
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        stage.python(
            source,
            function="commit",
            permissions=Permissions(subprocess=("git",), write=(str(repository),)),
            tool={"operation": "write"},
            limits=bounded(processes=32),
        )
        result = stage.runtime.call(NAME, "run", {"folder": str(repository)})
    assert result.structured is not None, (result.content, result.stderr)
    committed, *refused = result.structured["result"]
    assert committed["status"] == 0, committed
    assert refused == [30, 30]  # EROFS
    log = subprocess.run(
        ["git", "-C", str(repository), "log", "-1", "--format=%s"], capture_output=True, text=True, check=True
    )
    assert log.stdout == "by a tool\n"


@pytest.mark.parametrize("program", ["sh", "/bin/sh", "/usr/bin/env", "python3", "/python/bin/python3", "ls"])
def test_no_other_program_of_the_host_starts(stage: Stage, repository: Path, program: str) -> None:
    said = call(stage, repository, program, "--version")
    if "python" in program:  # the interpreter it runs on is there already, and no more than itself
        assert said.get("status") == 0
    else:
        assert said.get("error") in ("FileNotFoundError", "PermissionError"), said


def test_a_file_written_to_scratch_does_not_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    source = (
        "import os, shutil, subprocess\n"
        "def run():\n"
        "    path = os.environ['TMPDIR'] + '/tool'\n"
        "    shutil.copy('/bin/git', path)\n"
        "    os.chmod(path, 0o755)\n"
        "    try:\n"
        "        return subprocess.run([path, 'version']).returncode\n"
        "    except OSError as error:\n"
        "        return type(error).__name__\n"
    )
    with Stage(tmp_path) as stage:
        stage.python(source, permissions=Permissions(subprocess=("git",)))
        assert stage.runtime.call(NAME).structured == {"result": "PermissionError"}


def test_what_a_tool_started_dies_with_the_call(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    mark = f"left-{secrets.token_hex(16)}"  # other programs of this machine may be called anything else
    source = (
        "import subprocess\n"
        "def run():\n"
        f"    command = ['git', 'hash-object', '--stdin', '--path', '{mark}']\n"
        "    left = subprocess.Popen(command, stdin=subprocess.PIPE)\n"
        "    return left.poll() is None\n"
    )
    with Stage(tmp_path) as stage:
        stage.python(source, permissions=Permissions(subprocess=("git",)))
        result = stage.runtime.call(NAME)
        assert (result.outcome, result.structured) == ("ok", {"result": True})
    assert not [line for line in _command_lines() if mark.encode() in line]


def test_replaced_program_is_not_started_under_the_old_plan(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan mounts and lets run is what was found; replaced meanwhile, it is looked at anew."""
    plans = []
    replaced: list[str] = []
    whole, seen = Program.still_true, Look.is_same
    monkeypatch.setattr(Program, "still_true", lambda self: whole(self) and self.name not in replaced)
    monkeypatch.setattr(
        Look, "is_same", lambda self, *folder: seen(self, *folder) and not (replaced and not folder)
    )
    for gone in ([], [], ["git"]):
        replaced += gone
        with stage.runtime.preparer.prepared(NAME, "run") as prepared:
            plans.append(prepared.plan)
    assert plans[0] is plans[1]
    assert plans[2] is not plans[1]


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield path.read_bytes()

"""A tool with a write grant tries to have the user's git run its program.

git is only asked here where it finds its repository, and runs nothing of the attacker's.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.sandbox import repository as repository_module
from mpp_exec.sandbox.appeared import appeared
from mpp_exec.sandbox.special import survey
from sandbox_lab import ATTEMPTS, Lab, attempt, bounded, call

RO = "Read-only file system"
BUSY = "Device or resource busy"
WHO = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "protocol.file.allow=always")


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *WHO, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def attempts(lab: Lab, *tries: tuple[object, ...], **granted: Any) -> list[Any]:
    limits = bounded(processes=32, open_files=256)
    return attempt(lab.python(ATTEMPTS, limits=limits, **granted), *tries)


@pytest.fixture
def project(ground: Path) -> Path:
    """A repository with a submodule, whose name is a path, and a worktree with its own configuration."""
    part, project = ground / "part", ground / "project"
    for folder in (part, project):
        folder.mkdir()
        git(folder, "init", "-q")
        git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    git(project, "submodule", "add", "-q", "--name", "libs/part", str(part), "part")
    git(project, "commit", "-q", "-m", "second")
    git(project, "worktree", "add", "-q", str(ground / "tree"))
    git(project, "config", "extensions.worktreeConfig", "true")
    git(project, "config", "--worktree", "core.abbrev", "9")
    for name in (".git", ".git/modules/libs/part"):
        (project / name / "hooks").mkdir(exist_ok=True)
    return project


@pytest.fixture
def bare(ground: Path) -> Path:
    bare = ground / "bare"
    bare.mkdir()
    git(bare, "init", "-q", "--bare")
    (bare / "hooks").mkdir(exist_ok=True)
    return bare


MODULE = ".git/modules/libs/part"
TREE = ".git/worktrees/tree"
OBEYED = {
    "the configuration": ("write", ".git/config"),
    "a hook": ("write", ".git/hooks/post-checkout"),
    "the configuration of a worktree": ("write", ".git/config.worktree"),
    "the configuration of a submodule": ("write", f"{MODULE}/config"),
    "a hook of a submodule": ("write", f"{MODULE}/hooks/post-checkout"),
    "another folder in a submodule's place": ("rename", MODULE, f"{MODULE}.old"),
    "where a worktree looks for its repository": ("write", f"{TREE}/commondir"),
    "where a worktree is": ("write", f"{TREE}/gitdir"),
}


@pytest.mark.parametrize("name", OBEYED)
def test_what_git_obeys_cannot_be_changed_by_a_tool_that_may_start_git(
    lab: Lab, project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb, *paths = OBEYED[name]
    tried = (verb, *(str(project / path) for path in paths))
    granted = {"write": [project], "subprocess": ("git",)}
    assert attempts(lab, tried, **granted)[0] in (RO, BUSY)
    monkeypatch.setattr(repository_module, "obeyed", lambda _: ())
    assert attempts(lab, tried, **granted) == ["done"], "without the defence"


def test_git_works_in_what_is_left(lab: Lab, project: Path) -> None:
    code = (
        "import subprocess\n"
        "def run(folder):\n"
        "    open(folder + '/new', 'w').close()\n"
        f"    for words in (['add', 'new'], [*{WHO!r}, 'commit', '-q', '-m', 'third'], ['status']):\n"
        "        subprocess.run(['git', '-C', folder, *words], check=True, capture_output=True)\n"
        "    return 1\n"
    )
    limits = bounded(processes=32, open_files=256)
    compiled = lab.python(code, write=[project], subprocess=("git",), limits=limits)
    before = survey(compiled)
    assert call(compiled, folder=str(project)) == 1
    assert git(project, "log", "-1", "--format=%s") == "third"
    assert appeared(compiled, before) == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("modules/other/config", "modules/other/config"),
        ("modules/a/b/hooks/update", "modules/a/b/hooks"),
        ("worktrees/other/commondir", "worktrees/other/commondir"),
        ("commondir", "commondir"),
    ],
)
def test_what_git_will_obey_and_was_not_there_is_told(lab: Lab, project: Path, name: str, told: str) -> None:
    compiled = lab.python(ATTEMPTS, write=[project], subprocess=("git",), limits=bounded(processes=32))
    before = survey(compiled)
    path = project / ".git" / name
    folders = [each for each in reversed(path.parents) if each.is_relative_to(project / ".git")]
    made = [("mkdir", str(each)) for each in folders if not each.exists()]
    inner = project / ".git" / "/".join(told.split("/")[:-1])
    head = [("write", str(inner / "HEAD"))] if "/" in told else []
    assert set(attempt(compiled, *made, *head, ("write", str(path)))) == {"done"}
    assert appeared(compiled, before) == (str(project / ".git" / told),)


def test_a_folder_made_a_repository_is_told(lab: Lab, ground: Path) -> None:
    """git takes it for one though nothing in it begins with a dot."""
    compiled = lab.python(ATTEMPTS, write=[ground])
    before = survey(compiled)
    tries = [
        ("mkdir", "objects"),
        ("mkdir", "refs"),
        ("mkdir", "hooks"),
        ("write", "HEAD"),
        ("write", "config"),
    ]
    assert set(attempt(compiled, *((verb, str(ground / name)) for verb, name in tries))) == {"done"}
    assert sorted(appeared(compiled, before)) == [f"{ground}/{name}" for name in ("HEAD", "config", "hooks")]
    (ground / "HEAD").write_text("ref: refs/heads/main\n")
    (ground / "config").write_text("[core]\nrepositoryformatversion = 0\n")
    assert git(ground, "rev-parse", "--git-dir") == "."


def test_a_folder_made_a_repository_by_a_file_is_told(lab: Lab, ground: Path) -> None:
    """Where commondir leads, objects and refs can be under other names."""
    compiled = lab.python(ATTEMPTS, write=[ground])
    before = survey(compiled)
    tries = [("write", str(ground / "commondir")), ("write", str(ground / "HEAD"))]
    assert set(attempt(compiled, *tries)) == {"done"}
    assert sorted(appeared(compiled, before)) == [f"{ground}/HEAD", f"{ground}/commondir"]


def test_a_bare_repository_keeps_its_configuration_and_hooks(
    lab: Lab, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = [("write", str(bare / name)) for name in ("config", "hooks/update", "description")]
    assert attempts(lab, *tries, write=[bare]) == [RO, RO, "done"]
    monkeypatch.setattr(repository_module, "is_repository", lambda _: False)
    assert attempts(lab, *tries, write=[bare]) == ["done", "done", "done"], "without the defence"


@pytest.mark.parametrize("how", ["repositories", "folders", "deep", "links"])
def test_more_than_can_be_looked_after_ends_no_call(lab: Lab, project: Path, how: str) -> None:
    """A tool could make them all: then the folder that holds them stays read-only as a whole."""
    modules = project / ".git/modules"
    for number in range(300):
        if how == "repositories":
            (modules / f"m{number}").mkdir()
            (modules / f"m{number}/HEAD").touch()
        elif how == "folders":
            (modules / f"m{number}").mkdir()
        elif how == "deep":
            modules = modules / "m"
            modules.mkdir()
        else:
            (modules / f"m{number}").symlink_to(f"m{number + 1}")
    granted = {"write": [project], "subprocess": ("git",)}
    tries = [("write", str(project / "new")), ("write", str(project / MODULE / "config"))]
    assert attempts(lab, *tries, **granted) == ["done", RO]

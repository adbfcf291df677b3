"""Special files that a tool makes where there were none: what in a write grant can only be told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec.permissions import Permissions
from mpp_exec.sandbox.appeared import appeared, in_words, unguarded
from sandbox_lab import ATTEMPTS, Lab, attempt, run
from stage import NAME, Stage

MAKE = """
import os
def run(make):
    for path, kind in make:
        if kind == "file": open(path, "w").close()
        elif kind == "dir": os.makedirs(path)
        elif kind == "closed": os.makedirs(path); os.chmod(os.path.dirname(path), 0)
        elif kind == "gone": open(path, "w").close(); os.unlink(path)
        else: os.symlink(kind, path)
    return 1
"""


def told(lab: Lab, folder: Path, *make: tuple[str, str]) -> list[str]:
    request = repr({"arguments": {"make": [[f"{folder}/{name}", kind] for name, kind in make]}})
    done = run(lab.python(MAKE, write=[folder]), request.replace("'", '"').encode())
    assert done.outcome == "ok", done
    return [path.removeprefix(f"{folder}/") for path in done.appeared]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".bashrc", "file"),
        (".vscode", "dir"),
        (".envrc", "/dev/null"),
        (".git", "dir"),
        (".git", "elsewhere"),
        (".config/autostart", "dir"),
        (".local/bin", "dir"),
        (".mcp.json", "file"),
    ],
)
def test_special_file_that_was_not_there_is_told(lab: Lab, ground: Path, name: str, kind: str) -> None:
    if "/" in name:
        (ground / name).parent.mkdir()
    assert told(lab, ground, (name, kind)) == [name]
    assert os.path.lexists(ground / name), "and not removed: whose it is, nobody can tell"


def test_others_are_not(lab: Lab, ground: Path) -> None:
    (ground / ".vimrc").write_text("set nocompatible")
    assert told(lab, ground, ("a.txt", "file"), (".gitignore", "file"), (".zshrc", "gone")) == []


def test_link_that_was_replaced_is_told(lab: Lab, ground: Path) -> None:
    """A link is no mount point: what it leads to is not the grant's, and the link is."""
    (ground / ".bashrc").symlink_to("dotfiles/bashrc")
    compiled = lab.python(ATTEMPTS, write=[ground])
    before = unguarded(compiled)
    path = str(ground / ".bashrc")
    assert attempt(compiled, ("unlink", path), ("symlink", "evil", path)) == ["done", "done"]
    assert appeared(before) == (path,)


def test_folder_closed_behind_it_is_told(lab: Lab, ground: Path) -> None:
    """Root sees it all the same; anybody else is told of what cannot be looked at."""
    assert ".config/autostart" in told(lab, ground, (".config/autostart", "closed"))
    (ground / ".config").chmod(0o700)


def test_link_on_the_way_is_told_and_stops_no_later_call(lab: Lab, ground: Path) -> None:
    """Where `.config` leads to a folder of the host with such names in it, a mount there would be refused."""
    elsewhere = ground / "elsewhere"
    (elsewhere / "autostart").mkdir(parents=True)
    assert ".config/autostart" in told(lab, ground, (".config", str(elsewhere)))
    assert told(lab, ground, ("a.txt", "file")) == []


def test_read_only_tool_makes_none(lab: Lab, ground: Path) -> None:
    compiled = lab.python(ATTEMPTS, write=[ground], operation="read")
    assert unguarded(compiled) == {}
    assert attempt(compiled, ("write", ground / ".bashrc")) == ["Read-only file system"]


class TestWholeCall:
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Iterator[Stage]:
        tmp_path.chmod(0o755)
        with Stage(tmp_path) as made:
            yield made

    def test_result_says_so_once(self, stage: Stage, tmp_path: Path) -> None:
        project = tmp_path / "project"
        project.mkdir()
        stage.python(
            "def run(path):\n    return open(path, 'w').write('x')\n",
            permissions=Permissions(write=(str(project),)),
            tool={"operation": "write"},
        )
        result = stage.runtime.call(NAME, "run", {"path": f"{project}/.envrc"})
        assert result.meta["mpp-exec/appeared"] == [f"{project}/.envrc"]
        assert f"{project}/.envrc" in in_words(result.meta["mpp-exec/appeared"])
        result = stage.runtime.call(NAME, "run", {"path": f"{project}/a.txt"})
        assert "mpp-exec/appeared" not in result.meta

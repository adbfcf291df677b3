"""Special files that a tool makes where there were none: what in a write grant can only be told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec.permissions import Permissions
from mpp_exec.sandbox.appeared import TOLD_MAX, appeared, in_words
from mpp_exec.sandbox.special import survey
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
        (".config", "dir"),
        (".local", "dir"),
        (".mcp.json", "file"),
        ("CLAUDE.md", "file"),
        ("agents.md", "file"),
        ("GEMINI.md", "/etc/passwd"),
        (".cargo", "dir"),
        (".gdbinit", "file"),
        (".aws", "dir"),
        (".devcontainer", "dir"),
        (".husky", "dir"),
        (".hg", "dir"),
    ],
)
def test_special_file_that_was_not_there_is_told(lab: Lab, ground: Path, name: str, kind: str) -> None:
    assert told(lab, ground, (name, kind)) == [name]
    assert os.path.lexists(ground / name), "and not removed: whose it is, nobody can tell"


def test_others_are_not(lab: Lab, ground: Path) -> None:
    (ground / ".vimrc").write_text("set nocompatible")
    assert told(lab, ground, ("a.txt", "file"), ("claude.txt", "file"), (".zshrc", "gone")) == []


def test_link_that_was_replaced_is_told(lab: Lab, ground: Path) -> None:
    """A link is no mount point: what it leads to is not the grant's, and the link is."""
    (ground / ".bashrc").symlink_to("dotfiles/bashrc")
    compiled = lab.python(ATTEMPTS, write=[ground])
    before = survey(compiled)
    path = str(ground / ".bashrc")
    assert attempt(compiled, ("unlink", path), ("symlink", "evil", path)) == ["done", "done"]
    assert appeared(compiled, before) == (path,)


def test_folder_closed_behind_it_is_told(lab: Lab, ground: Path) -> None:
    assert told(lab, ground, (".config/autostart", "closed")) == [".config"]
    assert told(lab, ground, ("a.txt", "file")) == []
    (ground / ".config").chmod(0o700)


def test_link_on_the_way_is_told_and_stops_no_later_call(lab: Lab, ground: Path) -> None:
    """Where `.config` leads to a folder of the host with such names in it, a mount there would be refused."""
    elsewhere = ground / "elsewhere"
    (elsewhere / "autostart").mkdir(parents=True)
    assert told(lab, ground, (".config", str(elsewhere))) == [".config"]
    assert told(lab, ground, ("a.txt", "file")) == []


def test_what_a_link_leads_to_is_told_once_it_is_there(lab: Lab, ground: Path) -> None:
    (ground / ".bashrc").symlink_to("dotfiles/bashrc")
    (ground / "dotfiles").mkdir()
    assert told(lab, ground, ("dotfiles/bashrc", "file")) == [".bashrc"]
    assert told(lab, ground, ("dotfiles/other", "file")) == []


def test_covered_name_is_never_told(lab: Lab, ground: Path) -> None:
    """The home lies there, and changes at each call."""
    (ground / ".home").mkdir()
    compiled = lab.python(ATTEMPTS, write=[ground], covers=[ground / ".home"])
    before = survey(compiled)
    (ground / ".home/ledger").touch()
    assert appeared(compiled, before) == ()


def test_names_without_number_are_told_in_a_few_words(lab: Lab, ground: Path) -> None:
    names = told(lab, ground, *((f".f{number:03}", "file") for number in range(100)))
    assert names[0].startswith(".f")
    assert names[TOLD_MAX:] == ["… (and more)"]


def test_name_is_no_line_of_the_hosts(lab: Lab, ground: Path) -> None:
    assert told(lab, ground, (".x\nNOTICE", "file")) == [".x\\nNOTICE"]
    assert (ground / ".x\nNOTICE").exists()


def test_read_only_tool_makes_none(lab: Lab, ground: Path) -> None:
    compiled = lab.python(ATTEMPTS, write=[ground], operation="read")
    assert not survey(compiled).mounts
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

    def test_name_is_redacted_as_any_word_of_the_tools(self, stage: Stage, tmp_path: Path) -> None:
        project = tmp_path / "project"
        project.mkdir()
        stage.python(
            "def run(path):\n    return open(path, 'w').write('x')\n",
            permissions=Permissions(write=(str(project),)),
            tool={"operation": "write"},
        )
        result = stage.runtime.call(NAME, "run", {"path": f"{project}/.for-jane.doe@example.com"})
        assert "jane" not in str(result.meta["mpp-exec/appeared"])

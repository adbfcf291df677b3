"""What a grant contains and must not give: covered paths, and files that other programs execute or obey."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mpp_exec.errors import HostError
from sandbox_lab import ATTEMPTS, BUSY, DENIED, GONE, RO, Lab, attempt, attempts


class TestCovers:
    """What a grant contains and must not show is hidden under an empty mount."""

    @pytest.fixture
    def home(self, folder: Path) -> Path:
        home = folder / "deep/er/home"
        home.mkdir(parents=True)
        (home / "home.key").write_text("secret")
        (folder / "deep/policy.toml").write_text("policy")
        return home

    def test_covered_folder_and_file_are_empty(self, lab: Lab, folder: Path, home: Path) -> None:
        for granted in ({"read": [folder]}, {"write": [folder]}):
            seen = attempts(
                lab,
                ("list", home),
                ("read", home / "home.key"),
                ("write", home / "new"),
                ("read", folder / "deep/policy.toml"),
                ("write", folder / "deep/policy.toml"),
                covers=[home, folder / "deep/policy.toml"],
                **granted,
            )
            assert seen[0] == []
            assert seen[1] == GONE
            assert set(seen[2:]) <= {RO, DENIED}
        assert (folder / "deep/policy.toml").read_text() == "policy"

    def test_cover_cannot_be_moved_away(self, lab: Lab, folder: Path, home: Path) -> None:
        """Renaming a folder above it would leave the place free for another one."""
        seen = attempts(
            lab,
            ("rename", home, str(folder / "moved")),
            ("rename", folder / "deep/er", str(folder / "moved")),
            ("rename", folder / "deep", str(folder / "moved")),
            ("rmdir", home),
            ("write", folder / "deep/er/beside"),
            write=[folder],
            covers=[home],
        )
        other_mount = "Invalid cross-device link"
        assert seen == [other_mount, other_mount, BUSY, BUSY, "done"]
        assert (home / "home.key").read_text() == "secret"

    def test_link_in_the_place_of_a_cover_stops_the_call(self, lab: Lab, folder: Path, home: Path) -> None:
        """The empty mount would lie where the link leads, and what was to be hidden would not be."""
        compiled = lab.python(ATTEMPTS, read=[folder], covers=[home])
        home.rename(folder / "moved")
        home.symlink_to("/tmp")
        with pytest.raises(HostError, match="spawn_layout"):
            attempt(compiled, ("list", folder / "moved"))

    @pytest.mark.parametrize("above", [".claude", ".local", ".config", ".git"])
    def test_cover_holds_inside_a_protected_folder(self, lab: Lab, folder: Path, above: str) -> None:
        """The mount that protects such a folder is a fresh copy of the host's tree, without covers."""
        hidden = folder / above / "share/home"
        hidden.mkdir(parents=True)
        (hidden / "home.key").write_text("secret")
        for name in (".local/bin", ".config/git", ".git/hooks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        seen = attempts(lab, ("list", hidden), ("write", hidden / "x"), write=[folder], covers=[hidden])
        assert seen[0] == []
        assert seen[1] in (RO, DENIED)


class TestProtectedFiles:
    """In a write grant, what other programs of the user execute or obey is read-only."""

    @pytest.fixture
    def repository(self, folder: Path) -> Path:
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        (folder / ".git/hooks").mkdir(exist_ok=True)
        (folder / ".bashrc").write_text("alias")
        (folder / ".config/fish").mkdir(parents=True)
        (folder / ".vscode").mkdir()
        (folder / ".gitignore").write_text("build")
        return folder

    def test_git_as_a_whole(self, lab: Lab, repository: Path) -> None:
        """git follows a file named commondir to other hooks, and runs them for the user."""
        before = (repository / ".git/config").read_text()
        seen = attempts(
            lab,
            ("write", repository / ".git/description"),
            ("write", repository / ".git/commondir"),
            ("write", repository / ".git/hooks/post-checkout"),
            ("write", repository / ".git/config"),
            ("unlink", repository / ".git/config"),
            ("rename", repository / ".git/hooks", str(repository / ".git/old")),
            ("rename", repository / ".git", str(repository / "moved")),
            ("rename", repository / ".git/description", str(repository / ".git/config")),
            write=[repository],
        )
        assert seen == [RO, RO, RO, RO, RO, RO, BUSY, RO]
        assert (repository / ".git/config").read_text() == before
        assert not (repository / ".git/hooks/post-checkout").exists()

    def test_shell_and_editor_files(self, lab: Lab, repository: Path) -> None:
        seen = attempts(
            lab,
            ("write", repository / ".bashrc"),
            ("unlink", repository / ".bashrc"),
            ("rename", repository / "a.txt", str(repository / ".bashrc")),
            ("write", repository / ".vscode/tasks.json"),
            ("rename", repository / ".vscode", str(repository / "moved")),
            ("write", repository / ".config/fish/config.fish"),
            ("rename", repository / ".config", str(repository / "moved")),
            ("write", repository / ".config/other"),
            ("write", repository / ".gitignore"),
            write=[repository],
        )
        assert seen == [RO, BUSY, BUSY, RO, BUSY, RO, BUSY, RO, RO]
        assert (repository / ".bashrc").read_text() == "alias"

    @pytest.mark.parametrize(
        "name",
        [
            *("CLAUDE.md", "AGENTS.md", "Gemini.MD", ".tmux.conf", ".zlogout", ".env", ".gdbinit"),
            *(".pre-commit-config.yaml", ".github/workflows/ci.yml", ".husky/pre-commit", ".hg/hgrc"),
            *(".cargo/config", ".aws/config", ".devcontainer/devcontainer.json"),
        ],
    )
    def test_file_that_instructs_others_cannot_be_rewritten(self, lab: Lab, folder: Path, name: str) -> None:
        """Whatever approval says is not covered is not writable: one policy for both."""
        victim = folder / name
        victim.parent.mkdir(parents=True, exist_ok=True)
        victim.write_text("the user's")
        top = folder / name.partition("/")[0]
        seen = attempts(
            lab,
            ("write", victim),
            ("unlink", victim),
            ("rename", folder / "a.txt", str(victim)),
            ("rename", top, str(folder / "moved")),
            ("write", folder / "plain"),
            write=[folder],
        )
        assert "done" not in seen[:4]
        assert seen[4] == "done"
        assert victim.read_text() == "the user's"

    def test_what_a_special_link_leads_to_cannot_be_rewritten(self, lab: Lab, folder: Path) -> None:
        """A usual layout of dotfiles: all files in one folder, and links to them."""
        (folder / "dot/config/fish").mkdir(parents=True)
        (folder / "dot/bashrc").write_text("alias")
        (folder / "dot/git").mkdir()
        (folder / "dot/git/hooks").mkdir()
        (folder / ".config").symlink_to("dot/config")
        (folder / ".bashrc").symlink_to(folder / "dot/bashrc")
        (folder / ".local").mkdir()
        (folder / ".local/bin").symlink_to("../sub")
        seen = attempts(
            lab,
            ("write", folder / "dot/bashrc"),
            ("write", folder / ".bashrc"),
            ("write", folder / "dot/config/fish/config.fish"),
            ("rename", folder / "dot/config", str(folder / "moved")),
            ("rename", folder / "dot", str(folder / "moved")),
            ("write", folder / "sub/program"),
            ("write", folder / "dot/other"),
            write=[folder],
        )
        assert "done" not in seen[:6]
        assert seen[6] == "done"
        assert (folder / "dot/bashrc").read_text() == "alias"

    def test_links_that_lead_nowhere_stop_no_call(self, lab: Lab, folder: Path) -> None:
        """A tool can make any of them: each call after that starts, and writes where it was to write."""
        for number in range(1500):
            (folder / f"link{number}").symlink_to(f"link{number + 1}")
        for name, leads in {
            ".chain": "link0",
            ".loop": ".loop",
            ".here": ".",
            ".above": "..",
            ".gone": "missing/file",
            ".long": "sub/../" * 500 + "sub",
            ".file": "a.txt/below",
            ".outside": "/etc/passwd",
            ".null": "/dev/null",
        }.items():
            (folder / name).symlink_to(leads)
        (folder / os.fsdecode(b".\xff\n")).write_text("")
        assert attempts(lab, ("write", folder / "new"), write=[folder]) == ["done"]

    def test_protected_name_that_is_covered_stays_covered(self, lab: Lab, folder: Path) -> None:
        """The mount that protects it would show what the cover hides."""
        (folder / ".home").mkdir()
        (folder / ".home/key").write_text("secret")
        (folder / ".key").write_text("secret")
        seen = attempts(
            lab,
            ("list", folder / ".home"),
            ("read", folder / ".home/key"),
            ("read", folder / ".key"),
            write=[folder],
            covers=[folder / ".home", folder / ".key"],
        )
        assert seen[:2] == [[], GONE]
        assert seen[2] != "secret"

    def test_more_than_can_be_mounted_are_refused(self, lab: Lab, folder: Path) -> None:
        for number in range(250):
            (folder / f".file{number}").touch()
        with pytest.raises(HostError, match="have to be read-only") as caught:
            attempts(lab, ("write", folder / "x"), write=[folder])
        assert caught.value.code == "host.too_many_special"
        for number in range(100, 250):
            (folder / f".file{number}").unlink()
        assert attempts(lab, ("write", folder / "x"), write=[folder]) == ["done"]

    def test_named_ones_are_the_grants(self, lab: Lab, repository: Path) -> None:
        seen = attempts(
            lab,
            ("write", repository / ".vscode/tasks.json"),
            ("write", repository / ".bashrc"),
            write=[repository, repository / ".vscode"],
        )
        assert seen == ["done", RO]

    def test_git_still_works_afterwards(self, lab: Lab, repository: Path) -> None:
        """And finds the repository its own: on a root host, without idmapped mounts, it would not."""
        attempts(lab, ("write", repository / "new.txt"), write=[repository])
        done = subprocess.run(
            ["git", "-C", str(repository), "status", "--porcelain"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "new.txt" in done.stdout

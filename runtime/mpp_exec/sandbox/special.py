"""What other programs execute or obey: protected where a tool may write beside it.

Found anew at each call, since it is the user's folder: what is there when the call begins is mounted on
itself, read-only. What is not there cannot be (``appeared`` tells of it afterwards).
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import layout, native
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan

EXECUTED_BY_OTHERS = (
    *(".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile", ".login"),
    *(".zshrc", ".zshenv", ".zprofile", ".zlogin", ".cshrc", ".tcshrc", ".kshrc", ".inputrc", ".envrc"),
    *(
        ".config/fish",
        ".config/autostart",
        ".config/systemd",
        ".config/environment.d",
        ".xprofile",
        ".xinitrc",
    ),
    *(
        ".xsession",
        ".pam_environment",
        ".ssh",
        ".gnupg",
        ".netrc",
        ".gitconfig",
        ".config/git",
        ".gitmodules",
    ),
    *(
        ".vscode",
        ".vscode-server",
        ".idea",
        ".cursor",
        ".zed",
        ".vim",
        ".vimrc",
        ".exrc",
        ".config/nvim",
        ".emacs",
    ),
    *(
        ".emacs.d",
        ".claude",
        ".claude.json",
        ".codex",
        ".gemini",
        ".mcp.json",
        ".aider.conf.yml",
        ".continue",
    ),
    *(
        ".local/bin",
        ".npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        ".pypirc",
        ".config/pip",
        ".cargo/config.toml",
        ".pythonrc.py",
    ),
)
"""Names below a writable grant that other programs execute or obey."""


def special_entries(plan: SandboxPlan) -> tuple[Entry, ...]:
    """Return the mounts that protect special files in writable grants, as they are at this moment.

    Raises:
        InternalError: a writable folder cannot be looked at.
    """
    entries: list[Entry] = []
    git = any(program.name == "git" for program in plan.started)
    # Outer ones first: what protecting an outer one mounts again, an inner one protects anew.
    for root in sorted(plan.write_roots):
        present = []
        for name in (".git", ".git/hooks", ".git/config", *EXECUTED_BY_OTHERS):
            path = f"{root}/{name}"
            if path in plan.write_roots:
                continue  # named by the grant itself
            if "/" in name and os.path.islink(os.path.dirname(path)):  # noqa: PTH114, PTH120 -- quicker
                continue  # a tool could lead there by a link, and no call would start any more
            try:
                present.append((name, os.lstat(path).st_mode))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise InternalError(
                    "sandbox.special_files",
                    f"{path} cannot be looked at: {error.strerror}",
                    "check its permissions",
                ) from error
        special = []
        for path, writable in special_names(root, present, git=git):
            flags = native.ENTRY_EXISTS | native.ENTRY_IDMAP | (native.ENTRY_WRITABLE if writable else 0)
            attributes = layout.WRITABLE if writable else layout.READ_ONLY
            special.append(Entry("bind", path, path, attributes=attributes, flags=flags))
        entries += special
        entries += _again(plan, special)
    return tuple(entries)


def _again(plan: SandboxPlan, special: list[Entry]) -> Iterable[Entry]:
    """Yield the plan's mounts that *special* ones lie over: a fresh copy of the host's tree has no covers."""
    for entry in plan.entries:
        above = [mount for mount in special if entry.target.startswith(f"{mount.target}/")]
        if not above or entry.kind not in ("bind", "tmpfs"):
            continue
        locked = any(mount.attributes & native.MOUNT_RDONLY for mount in above)
        attributes = entry.attributes
        if locked and entry.target not in plan.write_roots:  # a pin, which must not open what is protected
            attributes |= native.MOUNT_RDONLY
        yield dataclasses.replace(entry, attributes=attributes, flags=entry.flags | native.ENTRY_EXISTS)


def special_names(root: str, present: Iterable[tuple[str, int]], *, git: bool) -> Iterable[tuple[str, bool]]:
    """Yield (path, writable) for what must be a mount of its own inside the writable folder *root*.

    ``.git`` is one, so that it cannot be replaced by renaming it away. A tool that was granted *git*
    works in it, with hooks and configuration read-only; for any other it is read-only as a whole,
    since a file such as ``commondir`` leads the host's git to other hooks. What a shell, an editor, an
    agent or a login runs is read-only. *present* are (name relative to root, st_mode) of what exists.
    """
    found = dict(present)
    if stat.S_ISDIR(found.get(".git", 0)):
        yield f"{root}/.git", git
        for name in (".git/hooks", ".git/config"):
            if name in found:
                yield f"{root}/{name}", False
    elif stat.S_ISREG(found.get(".git", 0)):
        yield f"{root}/.git", False  # of a worktree: it names the folder
    others = [name for name, mode in found.items() if name.split("/")[0] != ".git" and not stat.S_ISLNK(mode)]
    # A folder on the way, too: renamed away, it would take the protected file with it.
    for parent in dict.fromkeys(name.rpartition("/")[0] for name in others if "/" in name):
        yield f"{root}/{parent}", True
    for name in others:
        yield f"{root}/{name}", False

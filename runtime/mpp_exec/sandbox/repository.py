"""Where git looks for what it obeys in a repository, so that ``special`` can protect or report it.

Git runs what a repository's configuration and hooks say, even for ``git status`` or a shell's prompt. It
takes any folder with HEAD, objects and refs for a repository, whatever its name.

Source: gitrepository-layout(5), git-config(1) on files and safe.bareRepository, gitsubmodules(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

OBEYED: Final = ("config", "config.worktree", "hooks", "commondir", "gitdir")
"""Names in the folder of a repository, a submodule or a worktree: what is run, and what leads to that."""

_REPOSITORIES_MAX: Final = 32
_FOLDERS_MAX: Final = 256


def is_repository(folder: str) -> bool:
    """Return whether git takes *folder* itself for a repository, a bare one."""
    return os.path.lexists(f"{folder}/HEAD") and (
        os.path.lexists(f"{folder}/commondir")
        or (os.path.isdir(f"{folder}/objects") and os.path.isdir(f"{folder}/refs"))  # noqa: PTH112 -- quicker
    )


def obeyed(repository: str) -> Iterator[str]:
    """Yield the paths that git obeys in *repository*, its submodules and worktrees, there or not.

    Where there are more of these than one call can look after, the folder that holds them stands for all.
    """
    yield from (f"{repository}/{name}" for name in OBEYED)
    for holder in (f"{repository}/modules", f"{repository}/worktrees"):
        found = _inner(holder)
        if found is None or os.path.islink(holder):  # noqa: PTH114 -- quicker
            yield holder
        yield from found or ()


def _inner(holder: str) -> list[str] | None:
    """Return what git obeys below *holder*; None where that is too much to look at."""
    found: list[str] = []
    repositories = looked = 0
    pending = [holder]
    while pending:
        looked += 1
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if looked + len(pending) > _FOLDERS_MAX:
                        return None
                    if entry.is_symlink():
                        found.append(entry.path)
                    elif entry.is_dir():
                        # A submodule is named by its path, so there may be folders in between.
                        if not os.path.lexists(f"{entry.path}/HEAD"):
                            pending.append(entry.path)
                            continue
                        repositories += 1
                        if repositories > _REPOSITORIES_MAX:
                            return None
                        found += (f"{entry.path}/{name}" for name in OBEYED)
                        pending += (f"{entry.path}/modules", f"{entry.path}/worktrees")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
    return found

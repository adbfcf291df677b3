"""Files that other programs obey and that were not there when a call began: found after it, and told.

What exists of them is mounted read-only (``special.special_entries``). A name that does not exist cannot be
guarded: a mount needs something to lie on, Landlock's rights are of whole trees and never of a name, a
seccomp program sees no path, and a private upper layer would have to be merged by somebody whom the
tool could then deceive. A placeholder in the user's folder would be seen by the very programs it is
to protect, and stay there if the host died. So this looks twice and says what is new.

It removes nothing: within a call the user's own editor may have made ``.vscode``, and nothing tells
whose it is. All processes of the call are dead when it looks the second time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.special import EXECUTED_BY_OTHERS

_GIT = (".git/hooks", ".git/config", ".git/commondir")
_ABSENT: tuple[int, ...] = ()
_UNKNOWN = (-1,)

Unguarded = Mapping[str, tuple[int, ...]]
"""By path: what was there, () for nothing. A link is known by its inode, since it can be replaced."""


def unguarded(plan: SandboxPlan) -> Unguarded:
    """Return the special names in the writable folders of *plan* that no mount will guard in this call."""
    found: dict[str, tuple[int, ...]] = {}
    for root in plan.write_roots:
        for name in (".git", *_GIT, *EXECUTED_BY_OTHERS):
            path = f"{root}/{name}"
            if path in plan.write_roots:
                continue  # named by the grant itself
            seen = _seen(path)
            if seen is not None:
                found[path] = seen
    return found


def appeared(before: Unguarded) -> tuple[str, ...]:
    """Return what is there now and was not, or was another link, or cannot be looked at any more."""
    return tuple(path for path, seen in before.items() if _is_new(seen, _now(path)))


def _is_new(before: tuple[int, ...], now: tuple[int, ...]) -> bool:
    return now not in (_ABSENT, before)


def _seen(path: str) -> tuple[int, ...] | None:
    """Return what is at *path*; None where it is something that a mount guards."""
    now = _now(path)
    return now if now in (_ABSENT, _UNKNOWN) or stat.S_ISLNK(now[0]) else None


def _now(path: str) -> tuple[int, ...]:
    try:
        facts = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    except OSError:
        return _UNKNOWN
    return facts.st_mode, facts.st_dev, facts.st_ino, facts.st_ctime_ns


def in_words(paths: Iterable[str]) -> str:
    """Return the warning about *paths* that appeared."""
    return (
        f"while the tool ran, {', '.join(paths)} appeared in a folder that it may write: other programs "
        "obey such files, so look at them before you open the folder in a shell, an editor or with git"
    )

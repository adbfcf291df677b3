"""Finds and reports files that other programs obey and that did not exist when a call began.

If such a file exists when a call begins, it is mounted read-only (``special``). A name that does not exist
cannot be protected. A mount needs an existing target. Landlock's rights are for whole trees and never for a
name. A seccomp program sees no path. A private upper layer would have to be merged by somebody whom the tool
could then deceive. A placeholder in the user's folder would be seen by the very programs that it protects,
and would stay there if the host died. So this module looks twice and reports what is new.

It removes nothing: the user's own editor may have made ``.vscode`` during the call, and nothing tells who
made it. All processes of the call are dead when it looks the second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mpp_exec.characters import visible
from mpp_exec.sandbox import repository, special
from mpp_exec.sandbox.plan import SandboxPlan

TOLD_MAX: Final = 32
"""Names that are told of one folder."""

_NOTHING: Final = (special.ABSENT, special.ABSENT)


def appeared(plan: SandboxPlan, before: special.Survey) -> tuple[str, ...]:
    """Return what is there now and was not, or was another link, or leads to what has changed.

    A folder that can no longer be listed is itself returned. Beyond TOLD_MAX new names, one entry stands for
    all others. The tool chose the names, so invisible characters in them are escaped.
    """
    found: list[str] = []
    for root in plan.write_roots:
        known = frozenset(
            path[len(root) + 1 :].partition("/")[0]
            for path in (*before.watched, *before.mounts)
            if path.startswith(f"{root}/")
        )
        try:
            names = list(special.protected_names(root, TOLD_MAX, known))
        except OSError:
            found.append(root)
            continue
        new = sorted(name for name in names if name not in known)
        told = _changed(plan, root, [*(name for name in names if name in known), *new[:TOLD_MAX]], before)
        found += told
        if root not in before.repositories and repository.is_repository(root):
            found.append(f"{root}/HEAD")
        if len(new) > TOLD_MAX:
            found.append(f"{root}/… (and more)")
    return tuple(visible(path) for path in found)


def _changed(plan: SandboxPlan, root: str, names: list[str], before: special.Survey) -> list[str]:
    told: list[str] = []
    for path in special.candidates(plan, root, names):
        if special.is_guarded(root, path, before.mounts):
            continue
        if any(path.startswith(f"{above}/") for above in told):
            continue
        now = special.state(plan, path, before.mounts)
        if now not in (_NOTHING, before.watched.get(path, _NOTHING)):
            told.append(path)
    return told


def in_words(paths: Iterable[str]) -> str:
    """Return the warning about *paths* that appeared."""
    return (
        f"while the tool ran, {', '.join(paths)} appeared in a folder that it may write: other programs "
        "obey such files, so look at them before you open the folder in a shell, an editor or with git"
    )

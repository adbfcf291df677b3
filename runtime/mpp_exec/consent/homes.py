"""Homes of mpp-exec that no variable names, found by their looks: an earlier ``$MPP_HOME``, say.

A home holds private keys, and what decides about grants. Whatever its folder is called, the key of the
home lies in its ``keys``, from the first use on. Above a path such folders are found for certain. Below
one they are searched for, the nearest first, and no longer than a person or a call can wait.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from mpp_exec.trust.keyfiles import HOME_KEY

THOROUGH: Final = 100_000
"""Steps of a search at approval: some tenths of a second, where folders are many."""

QUICK: Final = 4_000
"""Steps of a search before calls: some milliseconds."""

_FOLDER: Final = 8  # steps; to open one takes as long as to read that many names


def is_home(path: str) -> bool:
    """Tell whether the folder *path* is a home, or the ``keys`` of one that are seen without it."""
    return _has_keys(path) or _is_keys(path)


def _has_keys(path: str) -> bool:
    return os.path.lexists(f"{path}/keys/{HOME_KEY}")


def _is_keys(path: str) -> bool:
    return os.path.lexists(f"{path}/{HOME_KEY}")


def home_above(path: str) -> str:
    """Return the home that the final *path* is or lies in, "" if there is none."""
    folder = path
    for further in range(path.count("/") + 1):
        if _has_keys(folder) or (further < 2 and _is_keys(folder)):  # there are no folders in those
            return folder or "/"
        folder = folder.rpartition("/")[0]
    return ""


def homes_in(folders: Iterable[str], steps: int, closed: Collection[str] = ()) -> tuple[str, ...]:
    """Return the homes found inside of *folders*, in so many *steps* at most.

    Links are not followed, what cannot be listed holds none, and what is *closed* is not looked into.
    """
    given = set(folders)  # what these are themselves is not asked
    found: list[str] = []
    pending = deque(sorted(given))
    while pending and steps > 0:
        folder = pending.popleft()
        inner, looks, listed = _listed(folder, steps - _FOLDER)
        steps -= _FOLDER + listed
        if looks and folder not in given and is_home(folder):
            found.append(folder)
        else:
            pending.extend(path for path in inner if path not in closed and path not in given)
    return tuple(found)


def _listed(path: str, most: int) -> tuple[list[str], bool, int]:
    """Return the folders in the folder *path*, whether it may be a home, and how many names were read.

    Those are *most* at most, and one.
    """
    inner: list[str] = []
    looks = False
    listed = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                listed += 1
                looks = looks or entry.name in ("keys", HOME_KEY)
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.path)
                if listed > most:
                    break
    except OSError:
        pass
    return inner, looks, listed

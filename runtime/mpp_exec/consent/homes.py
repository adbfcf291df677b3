"""Finds homes of mpp-exec that no variable names, for example an earlier ``$MPP_HOME``, by their contents.

A home holds private keys and the data that decides about grants. Whatever the name of its folder, the key of
the home lies in its ``keys`` from the first use on. Homes above a path are found for certain. Homes below a
path are searched for, the nearest first, and no longer than a person or a call can wait.
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
    """Return whether the folder *path* is a home, or the ``keys`` folder of a home, seen without the home."""
    return _has_keys(path) or _is_keys(path)


def _has_keys(path: str) -> bool:
    return os.path.lexists(f"{path}/keys/{HOME_KEY}")


def _is_keys(path: str) -> bool:
    return os.path.lexists(f"{path}/{HOME_KEY}")


def home_above(path: str) -> str:
    """Return the home that equals or contains the final *path*, "" if there is none."""
    folder = path
    for further in range(path.count("/") + 1):
        if _has_keys(folder) or (further < 2 and _is_keys(folder)):  # there are no folders in those
            return folder or "/"
        folder = folder.rpartition("/")[0]
    return ""


def homes_in(folders: Iterable[str], steps: int, closed: Collection[str] = ()) -> tuple[str, ...]:
    """Return the homes found inside *folders*, in at most *steps* steps.

    Links are not followed. A folder that cannot be listed counts as empty. *closed* folders are skipped.
    """
    given = set(folders)  # whether these are homes themselves is not checked
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

    At most *most* + 1 names are read.
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

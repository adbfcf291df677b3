"""The grammar of a system call policy: which calls are allowed, on which conditions, and what that means.

This module knows no policy (``profiles``) and no BPF (``seccomp``). A profile is a tuple of :class:`Allow`.
:func:`decide` defines its meaning, and every compiled program is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

FULL = (1 << 64) - 1
LOW = (1 << 32) - 1
"""Masks of an argument: all of it, and what the kernel looks at where its parameter is an unsigned int."""


@dataclass(frozen=True, slots=True)
class Arg:
    """A condition: argument *index*, masked, must equal one of *values*."""

    index: int
    values: tuple[int, ...]
    mask: int = FULL

    def holds(self, arguments: tuple[int, ...]) -> bool:
        """Tell whether the condition holds for the six 64-bit *arguments*."""
        return arguments[self.index] & self.mask in self.values


@dataclass(frozen=True, slots=True)
class Allow:
    """A system call that may be made, the reason, and the conditions (all of them must hold).

    If the conditions of ``idle`` hold instead, the call is answered with success and not made. If those of
    one of ``also`` hold, it is made as well.
    """

    name: str
    why: str
    args: tuple[Arg, ...] = field(default=())
    idle: tuple[Arg, ...] | None = None
    also: tuple[tuple[Arg, ...], ...] = ()

    @property
    def ways(self) -> tuple[tuple[Arg, ...], ...]:
        """Each set of conditions under which it is made."""
        return (self.args, *self.also)

    def holds(self, arguments: tuple[int, ...]) -> bool:
        """Tell whether the call is made with *arguments*."""
        return any(all(arg.holds(arguments) for arg in way) for way in self.ways)

    def idles(self, arguments: tuple[int, ...]) -> bool:
        """Tell whether it is answered with success, and not made."""
        if self.idle is None or self.holds(arguments):
            return False
        return all(arg.holds(arguments) for arg in self.idle)


@lru_cache(maxsize=16)
def by_name(profile: tuple[Allow, ...]) -> dict[str, Allow]:
    """Return the table of *profile*, in which every call stands once."""
    table = {allow.name: allow for allow in profile}
    if len(table) != len(profile):
        raise ValueError("a system call stands twice in one profile")
    return table


def decide(profile: tuple[Allow, ...], name: str | None, arguments: tuple[int, ...]) -> bool:
    """Tell whether *profile* allows the call *name* (None: a number without a name) with *arguments*."""
    allow = by_name(profile).get(name) if name is not None else None
    return allow is not None and allow.holds(arguments)

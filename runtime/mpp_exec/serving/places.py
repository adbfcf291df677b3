"""Which clients hold the places of a resident runtime, and which gives one up to a newcomer if all are taken.

A confined process of the same user may reach the socket, and hold places for as long as a client may take to
say what it wants. It cannot prove that nothing confines it. So a place belongs to a client once the client
has proven that. Until then, it may be taken from whichever process holds most places.
"""

from __future__ import annotations

from collections import Counter


class Places:
    """At most *most* clients, each told by a number of its own. Not thread-safe.

    Args:
        most: how many there may be at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[int] = set()
        self._unproven: dict[int, int] = {}  # the process of each, in the order in which they came

    def __len__(self) -> int:
        return len(self._taken)

    def __contains__(self, number: int) -> bool:
        return number in self._taken

    def is_there_one(self, process: int) -> tuple[bool, int | None]:
        """Return whether a client of *process* may come, and which other one has to leave for that.

        Nobody leaves for a process that holds as many as any other: it has the places that it took already.
        """
        if len(self._taken) < self._most:
            return True, None
        held = Counter(self._unproven.values())
        most = max(held.values(), default=0)
        if held[process] >= most:
            return False, None
        return True, next(number for number, other in self._unproven.items() if held[other] == most)

    def take(self, number: int, process: int) -> None:
        """Give a place to a client of *process*."""
        self._taken.add(number)
        self._unproven[number] = process

    def prove(self, number: int) -> bool:
        """Note that a client is not confined; return whether it still has its place, which is its own now."""
        self._unproven.pop(number, None)
        return number in self._taken

    def leave(self, number: int) -> None:
        """Free a client's place."""
        self._taken.discard(number)
        self._unproven.pop(number, None)

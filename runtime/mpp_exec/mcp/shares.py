"""How many calls the connections of one resident runtime may have open, so that none takes what all need.

Each open call holds descriptors and a thread of the runtime, also while it waits. So each connection has a
few calls that are always its own, and what is left beside those of all is for whoever comes first.
"""

from __future__ import annotations

import resource
import threading
from typing import Final

from mpp_exec.sandbox.pool import LEAVING, SANDBOXES

_BASE: Final = 64  # descriptors: the home, the ledger, the pool, listening
_CLIENT: Final = 4  # of one client: its socket, its end, its proof, its turn
_SANDBOX: Final = 24  # of one sandbox while it is made, with all that is mounted there, and at work
_PARKED: Final = 8  # of one that waits, or is on its way out
_CALL: Final = 2  # of one call that waits: its cancellation, its turn
_LEAST: Final = 3  # calls for each connection, one of them its own, however few descriptors there are


def room(*, sandboxes: int, clients: int, connections: int) -> int:
    """Return how many calls may be open at once by the limit on descriptors of this process (``ulimit -n``).

    *sandboxes* run at once; *clients* and *connections* are the most that there may be.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _BASE + _CLIENT * clients + _SANDBOX * sandboxes + _PARKED * (SANDBOXES + LEAVING)
    return max(_LEAST * connections, (limit - others) // _CALL)


class Shares:
    """What *connections* share: *calls* that may be open at once. Thread-safe."""

    def __init__(self, calls: int, connections: int) -> None:
        self.own = max(1, calls // (2 * connections))
        self.common = max(0, calls - self.own * connections)
        self.lock = threading.Lock()
        self.taken = 0  # of what is common


class Share:
    """One connection's part of *shares*; without, it may have as many as it likes. Thread-safe."""

    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = shares
        self._held = 0

    def take(self) -> bool:
        """Return whether one more call may be open, which it then is until :meth:`give`."""
        if (shares := self._shares) is None:
            return True
        with shares.lock:
            if self._held >= shares.own:
                if shares.taken >= shares.common:
                    return False
                shares.taken += 1
            self._held += 1
            return True

    def give(self) -> None:
        """Let go of one."""
        if (shares := self._shares) is None:
            return
        with shares.lock:
            if self._held > shares.own:
                shares.taken -= 1
            self._held -= 1

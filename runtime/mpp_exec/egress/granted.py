"""Which names and addresses a sandbox may reach, and which address inside stands for which name.

A client in the sandbox that looks up a granted name gets an address of 127.64.0.0/10, which leads only to the
listener there. The address stands for that name, in that sandbox, until the end of the call. So the address
of a connection says which name was meant, and no client has to know of a proxy.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from mpp_exec.vocabulary import HostPort

NAMES_MAX: Final = 1_024
"""Names that stand for something in one sandbox at once; each costs some hundred bytes."""

LOCALHOST: Final = "localhost"
LOOPBACKS: Final = ("127.0.0.1", "::1")
"""Where ``localhost`` is, inside and outside. It is asked of nobody."""

_FIRST: Final = int(ipaddress.IPv4Address("127.64.0.1"))


def is_address(host: str) -> bool:
    """Return whether *host*, in canonical form, is an address rather than a name."""
    return ":" in host or host.rpartition(".")[2].isdigit()


class Granted:
    """The destinations of one sandbox, and its names in the order in which they were looked up."""

    def __init__(self, destinations: tuple[HostPort, ...]) -> None:
        self._destinations = destinations
        self._hosts = {HostPort(each.host, 0) for each in destinations}  # whatever the port
        self._reserved = {each.host for each in destinations if is_address(each.host)}
        self._names: dict[str, str] = {}  # address: name
        self._addresses: dict[str, str] = {}  # name: address
        self._next = _FIRST

    def covers(self, host: str, port: int) -> bool:
        """Return whether one destination covers *host* and *port* together."""
        wanted = HostPort(host, port)
        return any(each.covers(wanted) for each in self._destinations)

    def has_name(self, name: str) -> bool:
        """Return whether a destination covers the *name*, with whatever port."""
        wanted = HostPort(name, 0)
        return not is_address(name) and any(each.covers(wanted) for each in self._hosts)

    def address_of(self, name: str) -> str | None:
        """Return the address that stands for the granted *name*; None if there are too many names."""
        if name == LOCALHOST:
            return LOOPBACKS[0]
        known = self._addresses.get(name)
        if known is None and len(self._addresses) < NAMES_MAX:
            known = self._allot()
            self._addresses[name] = known
            self._names[known] = name
        return known

    def _allot(self) -> str:
        while True:
            address = str(ipaddress.IPv4Address(self._next))
            self._next += 1
            if address not in self._reserved:
                return address

    def meant(self, address: str, port: int) -> tuple[str, bool]:
        """Return which host a connection to *address* and *port* inside means, and whether it is granted.

        The host is *address* itself if that stands for no name.
        """
        name = self._names.get(address)
        if name is not None:
            return name, self.covers(name, port)
        if address in LOOPBACKS and not self.covers(address, port) and self.covers(LOCALHOST, port):
            return LOCALHOST, True
        return address, self.covers(address, port)

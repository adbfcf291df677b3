"""The network of one call: a way out for each of its sandboxes, and a record of what was connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from mpp_exec.calls.prepared import HostAsked
from mpp_exec.permissions import HostPort, Permissions
from mpp_exec.privacy.meter import StoppedError
from mpp_exec.privacy.redact import Redactor

if TYPE_CHECKING:
    from mpp_exec.egress.broker import Broker
    from mpp_exec.egress.traffic import Traffic


class Ends(Protocol):
    """An outlet of the broker."""

    def end(self, *, drop: bool = False) -> Traffic:
        """Close every connection, and return the traffic."""


class Reach:
    """The network access of one call: number *invocation*, of *package*, to *destinations*.

    *broker* returns the broker that connects for the call.

    One call can have several sandboxes, one after another: a prepared sandbox may no longer fit.
    """

    def __init__(
        self,
        broker: Callable[[], Broker],
        package: str,
        invocation: str,
        destinations: tuple[HostPort, ...],
    ) -> None:
        self._broker = broker
        self._package = package
        self._invocation = invocation
        self._destinations = destinations
        self._outlet: Ends | None = None

    def serve(self, streams: tuple[int, ...], names: int) -> None:
        """Let the sandbox with these sockets reach the destinations, and cut off any earlier sandbox.

        Raises:
            HostError: this host cannot confine the broker.
            InternalError: the broker cannot be started, or has no room.
        """
        from mpp_exec.egress.broker import Sockets  # noqa: PLC0415 -- most calls reach no host

        self.end()  # of a sandbox that never got the call
        self._outlet = self._broker().open(
            self._invocation, self._destinations, Sockets(streams, names), self._package
        )

    def end(self, *, drop: bool = False) -> Traffic | None:
        """Close every connection, and return the traffic, None if nothing was ever served.

        With *drop*, data that was sent but not yet taken is not forwarded.
        """
        outlet, self._outlet = self._outlet, None
        return None if outlet is None else outlet.end(drop=drop)


def refused(traffic: Traffic | None) -> tuple[tuple[str, int, str], ...]:
    """Return the destinations that were refused, as ``denial.denials`` takes them: host, port, reason.

    Port 0 means unknown.
    """
    return () if traffic is None else tuple((each.host, each.port, each.why) for each in traffic.denied)


def asked(traffic: Traffic | None) -> HostAsked:
    """Return everything known about the hosts that a call asked for."""
    if traffic is None:
        return HostAsked()
    whole = not traffic.lost and not traffic.more_connections
    reached = tuple((each.host, each.port) for each in traffic.connections) if whole else None
    return HostAsked(refused(traffic), reached)


def counts(traffic: Traffic) -> dict[str, int | bool]:
    """Return what ``_meta`` says about *traffic*."""
    told: dict[str, int | bool] = {
        "connections": len(traffic.connections) + traffic.more_connections,
        "denied": len(traffic.denied) + traffic.more_denied,
        "sent": traffic.sent,
        "received": traffic.received,
    }
    return told | {"lost": True} if traffic.lost else told


def on_record(traffic: Traffic, granted: Permissions, redactor: Redactor) -> Mapping[str, Any]:
    """Return what the ledger says about *traffic*.

    A host that is granted by its name is recorded as it is. The tool has chosen the name of any other host,
    and what is written to the ledger stays there.
    """
    named = {each.host for each in granted.network}

    def clean(host: str) -> str:
        if not host or host in named:
            return host
        try:
            shown: str = redactor.redact(host).value
        except StoppedError:
            return ""
        return shown

    connections = [{**asdict(each), "host": clean(each.host)} for each in traffic.connections]
    denied = [{**asdict(each), "host": clean(each.host)} for each in traffic.denied]
    told: dict[str, Any] = {"sent": traffic.sent, "received": traffic.received}
    rest = {
        "connections": connections,
        "denied": denied,
        "more_connections": traffic.more_connections,
        "more_denied": traffic.more_denied,
        "lost": traffic.lost,
    }
    return told | {name: value for name, value in rest.items() if value}

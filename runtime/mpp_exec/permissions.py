"""The permission vocabulary: what a tool may ask for, and when one asking is no wider than another.

Values only; no I/O. A :class:`Permissions` occurs twice in a tool's life: in the signed manifest,
where paths may hold ``${user_config.KEY}`` placeholders, and in a grant, where every path is the
final absolute path that will be mounted.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """One network destination: a lower-case A-label host name (or ``*.`` suffix pattern) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a tool may reach. The empty value reaches nothing. Tuples are sorted and unique.

    Attributes:
        network: host:port destinations.
        environment: names of host variables the tool may see.
        subprocess: names of host programs it may start.
        storage: size in bytes of its private folder, 0 for none.
        read: paths it may read (absolute, or with ``${user_config.KEY}`` in a manifest).
        write: paths it may read and write.
    """

    network: tuple[HostPort, ...] = ()
    environment: tuple[str, ...] = ()
    subprocess: tuple[str, ...] = ()
    storage: int = 0
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource bounds of one invocation, each with a safe default. Times in ms, sizes in bytes."""

    wall_ms: int = 10_000
    cpu_ms: int = 5_000
    memory: int = 256 * 1024 * 1024
    processes: int = 16
    open_files: int = 64
    output: int = 1024 * 1024
    scratch: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Privacy:
    """Kinds of sensitive data a tool may return in the clear, or be handed behind a token."""

    allow: tuple[str, ...] = field(default=())
    receive: tuple[str, ...] = field(default=())

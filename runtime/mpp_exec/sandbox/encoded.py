"""The message of ``struct mpp_plan`` (contract.h), which init reads: a plan laid out in bytes."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from mpp_exec.errors import InternalError
from mpp_exec.sandbox.native import ARGS_MAX, ENTRY_KINDS, PLAN_MAX, ffi, lib


class _Blob:
    """Lays out one message: the header, then tables and texts, each aligned for its type."""

    def __init__(self) -> None:
        self._data = bytearray(ffi.sizeof("struct mpp_plan"))
        self._texts: dict[bytes, int] = {}

    def table(self, content: bytes, align: int = 8) -> int:
        self._data.extend(b"\0" * (-len(self._data) % align))
        offset = len(self._data)
        self._data.extend(content)
        return offset

    def text(self, value: str | bytes) -> int:
        raw = os.fsencode(value) if isinstance(value, str) else value
        if b"\0" in raw:
            raise InternalError("sandbox.plan", "a text of the plan holds a NUL")
        if raw not in self._texts:
            self._texts[raw] = self.table(raw + b"\0", 1)
        return self._texts[raw]

    def finish(self, header: Any) -> bytes:
        self._data.extend(b"\0")  # so that every text ends inside the message
        header.size = len(self._data)
        self._data[: ffi.sizeof("struct mpp_plan")] = bytes(ffi.buffer(header))
        if len(self._data) > PLAN_MAX:
            raise InternalError(
                "sandbox.plan_too_large",
                f"the plan takes {len(self._data)} bytes of {PLAN_MAX}",
                "grant fewer paths or variables",
            )
        return bytes(self._data)


def encode_plan(
    *,
    entries: Sequence[Any],
    rules: Sequence[tuple[str, int]],
    limits: Sequence[tuple[int, int, int]],
    filter_program: bytes,
    guard_program: bytes,
    watch_program: bytes = b"",
    argv: Sequence[str],
    environment: Sequence[tuple[str, str]],
    exec_path: str,
    working_directory: str,
    host_name: str,
    uid: int,
    landlock: tuple[int, int, int] | None,
    root_attributes: int,
    own_signals: bool = False,
    processors: int = 0,
    late: int | None = None,
    early_start: bool = False,
    streams: Sequence[tuple[int, int]] = (),
    addresses: Sequence[str] = (),
    snapshot: int = 0,
    few_buffers: bool = False,
) -> bytes:
    """Return the message of ``struct mpp_plan`` for init.

    ``entries`` are ``plan.Entry`` values, ``rules`` pairs of path and access bits, ``limits``
    triples of RLIMIT number, soft and hard value, ``landlock`` the handled file system and network
    rights and scopes. ``watch_program`` is a traced call's, empty for any other. *processors* is how many the
    tool may run on, 0 for no such limit. *late* is the index of the
    first entry that a parked sandbox gets with its call, *early_start* whether its tool runs before that,
    *snapshot* what that does with a snapshot (``MPP_SNAPSHOT_*``).
    *streams* are family and port of each socket to the broker, *addresses* what loopback has beside its own;
    *few_buffers* says that nothing but the kernel bounds what connections hold.

    Raises:
        InternalError: it does not fit in PLAN_MAX bytes or ARGS_MAX arguments or variables.
    """
    if not 0 < len(argv) <= ARGS_MAX or len(environment) > ARGS_MAX:
        raise InternalError("sandbox.plan_too_large", f"more than {ARGS_MAX} arguments or variables")
    blob = _Blob()
    header = ffi.new("struct mpp_plan *")
    header.magic = lib.MPP_PLAN_MAGIC
    header.uid = header.gid = uid
    header.root_attributes = root_attributes
    header.own_signals = own_signals
    header.processors = processors
    header.few_buffers = few_buffers
    header.late = len(entries) if late is None else late
    header.early_start = early_start
    header.snapshot = snapshot
    if landlock is not None:
        header.landlock = 1
        header.landlock_fs, header.landlock_net, header.landlock_scoped = landlock
    header.exec_path = blob.text(exec_path)
    header.working_directory = blob.text(working_directory)
    header.host_name = blob.text(host_name)
    _place_entries(blob, header.entries, entries)
    _place_rules(blob, header.rules, rules)
    _place_limits(blob, header.limits, limits)
    _place(blob, header.filter, filter_program, len(filter_program) // 8)
    _place(blob, header.guard, guard_program, len(guard_program) // 8)
    _place(blob, header.watch, watch_program, len(watch_program) // 8)
    _place(blob, header.argv, _offsets(blob, argv), len(argv))
    _place_network(blob, header, streams, addresses)
    variables = [f"{name}={value}" for name, value in environment]
    _place(blob, header.envp, _offsets(blob, variables), len(variables))
    return blob.finish(header)


def _place(blob: _Blob, span: Any, content: bytes, count: int) -> None:
    span.offset = blob.table(content)
    span.count = count


def _place_entries(blob: _Blob, span: Any, entries: Sequence[Any]) -> None:
    table = ffi.new("struct mpp_entry[]", max(1, len(entries)))
    for row, entry in zip(table, entries, strict=False):
        row.kind = ENTRY_KINDS[entry.kind]
        row.flags = entry.flags
        row.source = blob.text(entry.source)
        row.target = blob.text(entry.target.lstrip("/"))
        row.mode = entry.mode
        row.size = entry.size
        row.inodes = entry.inodes
        row.attributes = entry.attributes
        row.data = blob.table(entry.data, 1)
        row.data_size = len(entry.data)
        row.tree = -1
        if entry.identity is not None:
            row.device, row.inode, row.birth = entry.identity
    _place(blob, span, bytes(ffi.buffer(table)), len(entries))


def _place_rules(blob: _Blob, span: Any, rules: Sequence[tuple[str, int]]) -> None:
    table = ffi.new("struct mpp_rule[]", max(1, len(rules)))
    for row, (path, access) in zip(table, rules, strict=False):
        row.path = blob.text(path)
        row.access = access
    _place(blob, span, bytes(ffi.buffer(table)), len(rules))


def _place_limits(blob: _Blob, span: Any, limits: Sequence[tuple[int, int, int]]) -> None:
    table = ffi.new("struct mpp_rlimit[]", max(1, len(limits)))
    for row, (resource, soft, hard) in zip(table, limits, strict=False):
        row.resource, row.soft, row.hard = resource, soft, hard
    _place(blob, span, bytes(ffi.buffer(table)), len(limits))


def _place_network(
    blob: _Blob, header: Any, streams: Sequence[tuple[int, int]], addresses: Sequence[str]
) -> None:
    sockets = ffi.new("struct mpp_stream[]", max(1, len(streams)))
    for row, (family, port) in zip(sockets, streams, strict=False):
        row.family, row.port = family, port
    _place(blob, header.streams, bytes(ffi.buffer(sockets)), len(streams))
    own = ffi.new("struct mpp_address[]", max(1, len(addresses)))
    for row, text in zip(own, addresses, strict=False):
        row.family = socket.AF_INET6 if ":" in text else socket.AF_INET
        raw = socket.inet_pton(row.family, text)
        ffi.memmove(row.bytes, raw, len(raw))
    _place(blob, header.addresses, bytes(ffi.buffer(own)), len(addresses))


def _offsets(blob: _Blob, texts: Sequence[str]) -> bytes:
    return bytes(ffi.buffer(ffi.new("uint32_t[]", [blob.text(text) for text in texts] or 1)))

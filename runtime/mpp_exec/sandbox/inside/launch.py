"""The launcher of a Python tool, PID 2 of its sandbox: seals the process, imports the tool, makes one call.

``launch.py ENTRY [FOLDER…]``: ENTRY is ``module:function``, the folders go on ``sys.path``. Descriptor 0
holds one JSON object ``{"arguments": {…}}``; descriptor 1 takes one JSON document, and nothing else:
``{"value": …}`` or ``{"error": {"type": …, "message": …}}``. The tool's own output goes to stderr.

The sandbox is complete before this file is read. What it does with ``_seal`` only takes away the one
right that starting Python needed. Nothing here is a defence against the tool: after the import the
tool can do what this file can, and the host believes neither.
"""

import contextlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs an import


def read_all(descriptor: int) -> bytes:
    """Return everything up to the end of *descriptor*."""
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def write_all(descriptor: int, data: bytes) -> None:
    """Write *data*, however many pieces that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def seal() -> None:
    """Take execve and further seccomp programs away from this process, for good."""
    from _seal import seal as add_program  # type: ignore[import-not-found]  # noqa: PLC0415 - sys.path is set by main

    with open(f"{HERE}/seal.bpf", "rb") as file:  # noqa: PTH123 - pathlib costs an import
        add_program(file.read())


def load(entry: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - typing costs an import
    """Return the callable that ENTRY names."""
    module_name, _, path = entry.partition(":")
    __import__(module_name)
    target = sys.modules[module_name]
    for name in path.split("."):
        target = getattr(target, name)
    return target


def describe(error: BaseException) -> dict[str, str | int | None]:
    """Return what the host is told of an exception: type, message, and for an OSError what it was about."""
    told: dict[str, str | int | None] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, OSError):
        told["errno"] = error.errno
        told["path"] = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    if isinstance(error, MemoryError):
        told["limit"] = "memory"
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        told["limit"] = "processes"
    return told


def main() -> None:
    """Run the one call."""
    entry, folders = sys.argv[1], sys.argv[2:]
    result = os.dup(1)
    os.dup2(2, 1)
    # Before the package is on the path: a `_seal.py` of its own would be imported instead, and seal nothing.
    sys.path.append(HERE)
    seal()
    sys.path.remove(HERE)
    sys.path[:0] = folders
    sys.argv[1:] = []
    try:
        function = load(entry)
        request = json.loads(read_all(0))
        value = function(**request["arguments"])
        document = json.dumps({"value": value}, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        data = document.encode("utf-8")
    except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt of a tool are its errors, too
        try:
            if not isinstance(error, MemoryError):
                sys.excepthook(type(error), error, error.__traceback__)
            data = json.dumps({"error": describe(error)}).encode("utf-8", "backslashreplace")
        except BaseException:  # noqa: BLE001 - str() of a tool's exception is tool code
            data = b'{"error":{"type":"Exception","message":"the exception could not be described"}}'
    write_all(result, data)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # Not sys.exit: threads and exit handlers of the tool have no say in when the call is over.
    os._exit(0)


main()

"""The tool that ``doctor`` runs in a sandbox: it tries what must fail and tells how it failed."""

import os
import socket
import threading
from collections.abc import Callable


def _try(attempt: Callable[..., object], *arguments: object) -> str:
    """Return ``done``, or the name of the errno, or of the exception."""
    import errno  # noqa: PLC0415 - only this process needs it

    try:
        attempt(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    except Exception as error:  # noqa: BLE001 - the name is the answer
        return type(error).__name__
    return "done"


def _connect(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", port))


def _read(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123
        file.read(1)


def _write(path: str) -> None:
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"x")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _thread() -> None:
    thread = threading.Thread(target=os.getpid)
    thread.start()
    thread.join()


def _reach(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        if client.recv(5) != b"hello":
            raise ValueError


def _reach_address(port: int) -> None:
    socket.create_connection(("192.0.2.1", port), 2).close()


def _listen() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def hosts(port: int) -> dict[str, str]:
    """Try the network of a tool that was granted this *port* of the host's loopback: {name: how it ended}."""
    return {
        "granted": _try(_reach, port),
        "port": _try(_reach, port - 1),
        "address": _try(_reach_address, port),
        "listen": _try(_listen),
        "raw": _try(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1),
    }


def attempts(hidden: str, canary: str, port: int, host_pid: int) -> dict[str, str]:
    """Try everything once: {name: how it ended}."""
    return {
        "read_hidden": _try(_read, hidden),
        "read_canary": _try(_read, canary),
        "write_canary": _try(_write, canary),
        "write_package": _try(_write, "/app/x"),
        "write_scratch": _try(_write, "/tmp/x"),  # noqa: S108 - private to the sandbox
        "connect": _try(_connect, port),
        "fork": _try(_fork),
        "execute": _try(os.execv, "/python/bin/python3", ["python3", "-V"]),
        "signal_host": _try(os.kill, host_pid, 0),
        "thread": _try(_thread),
        "identity": f"{os.getuid()}:{os.getgid()}",
        "hostname": os.uname().nodename,
    }

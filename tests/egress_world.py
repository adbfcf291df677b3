"""A host with a network of its own and an internet behind it: two network namespaces, a cable, a name server.

``run_in_world(program)`` runs a Python program on that host, as the user of the test. The internet's side
resolves names according to ``ANSWERS``. Each of its ``SERVERS`` says which server it is. No packet leaves the
two namespaces.
"""

from __future__ import annotations

import ast
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

HOST, PEER = "10.77.0.1", "10.77.0.2"
PUBLIC, OTHER_PUBLIC, SILENT, OWN = "93.184.216.34", "93.184.216.35", "93.184.216.99", "93.184.217.1"
PUBLIC_6 = "2a00:1450::34"
PORT = 4433
SERVERS = (PUBLIC, OTHER_PUBLIC, PUBLIC_6, PEER)
SEARCHED = "search.example.net"
"""Where the host's resolver looks for names, too; all that stands below it leads to ``OTHER_PUBLIC``."""

ANSWERS: dict[str, list[list[str]]] = {
    # in turn; the last one is repeated for ever
    "api.example.com": [[PUBLIC]],
    "six.example.com": [[PUBLIC_6]],
    "rebinding.example.com": [[PUBLIC], [PEER]],
    "private.example.com": [[PEER]],
    "loopback.example.com": [["127.0.0.1"]],
    "metadata.example.com": [["169.254.169.254"]],
    "mixed.example.com": [[PEER, PUBLIC, HOST]],
    "alias.example.com": [["@inside.example.net", PEER]],
    "own.example.com": [[OWN]],
    "silent.example.com": [[SILENT]],
    "slow.example.com": [[SILENT, PUBLIC]],
    "many.example.com": [[SILENT, SILENT, OTHER_PUBLIC]],
    "mapped.example.com": [["::ffff:" + PEER, "64:ff9b::a4d:2"]],
}


def run_in_world(program: str) -> tuple[list[object], Counter[str]]:
    """Run *program* there; return the lines that it printed, as literals, and the names asked for."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        resolver = Path(folder, "resolv.conf")
        resolver.write_text(f"nameserver {PEER}\nsearch {SEARCHED}\noptions ndots:5 timeout:1 attempts:1\n")
        resolver.chmod(0o644)
        log = Path(folder, "asked")
        inner = [sys.executable, "-c", "import sys; sys.path[:0] = sys.argv[2:]; exec(sys.argv[1])", program]
        command = [
            *("unshare", "--mount", "--net", *(() if root else ("--user", "--map-root-user"))),
            *(sys.executable, __file__, folder, "" if root else str(os.getuid()), *inner),
            *(str(Path(__file__).parent), *(each for each in sys.path if each)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        lines = [ast.literal_eval(line) for line in done.stdout.splitlines()]
        return lines, Counter(log.read_text().split())


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _build(folder: str, user: str, inner: list[str]) -> int:
    """In the host's namespaces: make the internet, and run the program."""
    with subprocess.Popen(
        ["unshare", "--net", sys.executable, __file__, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as internet:
        assert internet.stdout is not None
        assert internet.stdin is not None
        try:
            internet.stdout.readline()  # it has a namespace of its own
            _ip("link", "set", "lo", "up")
            _ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(internet.pid))
            for address in (f"{HOST}/24", f"{OWN}/32"):
                _ip("addr", "add", address, "dev", "cable")
            _ip("addr", "add", "fd77::1/64", "dev", "cable", "nodad")
            _ip("link", "set", "cable", "up")
            internet.stdin.write("cable\n")
            internet.stdin.flush()
            internet.stdout.readline()  # it answers
            _ip("route", "add", "default", "via", PEER)
            _ip("-6", "route", "add", "default", "via", "fd77::2")
            real = os.path.realpath("/etc/resolv.conf")
            subprocess.run(["mount", "--bind", f"{folder}/resolv.conf", real], check=True)
            as_user = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}"] if user else []
            return subprocess.run([*as_user, *inner], check=False).returncode
        finally:
            internet.kill()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _internet(folder: str) -> None:
    """In the internet's namespace: wait for the cable, then answer."""
    _say("here")
    sys.stdin.readline()
    _ip("link", "set", "lo", "up")
    for address in (PUBLIC, OTHER_PUBLIC):
        _ip("addr", "add", f"{address}/32", "dev", "lo")
    _ip("addr", "add", f"{PUBLIC_6}/128", "dev", "lo", "nodad")
    _ip("addr", "add", f"{PEER}/24", "dev", "cable")
    _ip("addr", "add", "fd77::2/64", "dev", "cable", "nodad")
    _ip("link", "set", "cable", "up")
    _ip("route", "add", "blackhole", SILENT)
    _ip("route", "add", f"{OWN}/32", "via", HOST)
    for server in SERVERS:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        listening = socket.create_server((server, PORT), family=family)
        threading.Thread(target=_serve, args=(listening, server), daemon=True).start()
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((PEER, 53))
    _say("answers")
    asked = Counter[str]()
    with Path(folder, "asked").open("w") as log:
        while True:
            message, client = names.recvfrom(4096)
            name, kind = _question(message)
            log.write(f"{name}\n")
            log.flush()
            turns = [[OTHER_PUBLIC]] if name.endswith(f".{SEARCHED}") else ANSWERS.get(name)
            answer = [] if turns is None else turns[min(asked[name], len(turns) - 1)]
            if kind == 1:
                asked[name] += 1
            names.sendto(_answer(message, answer, kind, known=turns is not None), client)


def _serve(listening: socket.socket, server: str) -> None:
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(server.encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass


def _question(message: bytes) -> tuple[str, int]:
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels).lower(), int.from_bytes(message[at + 1 : at + 3], "big")


def _answer(message: bytes, answer: list[str], kind: int, *, known: bool) -> bytes:
    records, owner = [], b"\xc0\x0c"
    for each in answer:
        if each.startswith("@"):
            target = b"".join(bytes([len(x)]) + x.encode() for x in each[1:].split(".")) + b"\0"
            records.append(owner + struct.pack("!2HIH", 5, 1, 0, len(target)) + target)
            owner = target
        elif (":" in each) == (kind == 28):
            raw = socket.inet_pton(socket.AF_INET6 if ":" in each else socket.AF_INET, each)
            records.append(owner + struct.pack("!2HIH", kind, 1, 0, len(raw)) + raw)
    end = 12 + message[12:].index(0) + 5
    head = message[:2] + struct.pack("!5H", 0x8180 if known else 0x8183, 1, len(records), 0, 0)
    return head + message[12:end] + b"".join(records)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        _internet(sys.argv[1])
    sys.exit(_build(sys.argv[1], sys.argv[2], sys.argv[3:]))

"""The broker's process: confined before it reads, gone when it is not needed, replaced when it is gone."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import mpp_exec
from egress_room import LOOPBACK, is_reset
from eventually import until
from mpp_exec.egress.broker import Broker, Denied, Outlet, Sockets
from mpp_exec.errors import HostError, InternalError
from mpp_exec.permissions import HostPort


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as made:
        yield made


def opened(broker: Broker, port: int, invocation: str = "one") -> tuple[Outlet, int]:
    """Open a sandbox that may reach *port* of the loopback; return its outlet and that port."""
    stream = socket.create_server((LOOPBACK, port))
    try:
        outlet = broker.open(invocation, (HostPort(LOOPBACK, port),), Sockets((stream.fileno(),)))
    finally:
        stream.close()
    return outlet, port


def process_of(broker: Broker) -> int:
    assert broker._process is not None
    return broker._process._pid


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except FileNotFoundError:
        return True


def is_listening(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as found:
        return int(found.getsockname()[1])


class TestConfinement:
    """Code that runs in the broker's place, as after a fault in what parses, reaches nothing."""

    ATTACKS = """
import ctypes, errno, json, os, socket, subprocess, sys
sys.path[:0] = sys.argv[3:]
from mpp_exec.egress.confining import confine
from mpp_exec.egress.process import _import_early
_import_early()
secret, unix = sys.argv[1:3]
host = os.getppid()
confine()
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def listen():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
attacks = {
    "read a file": lambda: open(secret).read(),
    "read the accounts": lambda: open("/etc/passwd").read(),
    "read the environment of another process": lambda: open(f"/proc/{host}/environ").read(),
    "list a folder": lambda: os.listdir("/"),
    "write a file": lambda: open(secret + ".new", "w"),
    "remove a file": lambda: os.unlink(secret),
    "change a mode": lambda: os.chmod(secret, 0o777),
    "make a folder": lambda: os.mkdir(secret + ".folder"),
    "start a program": lambda: os.execv("/bin/true", ["/bin/true"]),
    "start another process": lambda: os.fork(),
    "start one with another call": lambda: os.posix_spawn("/bin/true", ["/bin/true"], {}),
    "connect to a UNIX socket": lambda: socket.socket(socket.AF_UNIX).connect(unix),
    "make a pair of sockets": lambda: socket.socketpair(),
    "make a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "make a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "make a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "listen": listen,
    "signal its host": lambda: os.kill(host, 0),
    "trace its host": lambda: call(101, 16, host, 0, 0),
    "read its host's memory": lambda: call(310, host, 0, 0, 0, 0, 0),
    "take its host's descriptor": lambda: call(438, 0, 0, 0),
    "open a process": lambda: call(434, host, 0),
    "become root": lambda: os.setuid(0),
    "make a user namespace": lambda: call(272, 0x10000000),
    "make one in a new process": lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "make a file in memory": lambda: os.memfd_create("x"),
    "make a ring of requests": lambda: call(425, 1, 0),
    "load a program into the kernel": lambda: call(321, 0, 0, 0),
    "open by a handle": lambda: call(304, -100, 0, 0),
    "open with openat2": lambda: call(437, -100, 0, 0, 0),
    "give up the filter": lambda: call(157, 22, 0, 0, 0, 0),
}
done = {}
for name, attack in attacks.items():
    try:
        attack()
        done[name] = "done"
    except OSError as error:
        done[name] = errno.errorcode[error.errno]
print(json.dumps(done))
"""

    def test_nothing_is_reached(self, tmp_path: Path) -> None:
        secret, unix = tmp_path / "secret", tmp_path / "socket"
        secret.write_text("secret")
        tmp_path.chmod(0o777)
        secret.chmod(0o666)
        import landlock  # noqa: PLC0415

        folders = {str(Path(str(module.__file__)).parent.parent) for module in (mpp_exec, landlock)}
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(unix))
            listening.listen()
            unix.chmod(0o777)
            command = [sys.executable, "-I", "-S", "-B", "-c", self.ATTACKS, str(secret), str(unix), *folders]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={})
        assert ran.returncode == 0, ran.stderr
        done = json.loads(ran.stdout)
        assert {name: code for name, code in done.items() if code not in ("EPERM", "EACCES", "ENOSYS")} == {}
        assert sorted(each.name for each in tmp_path.iterdir()) == ["secret", "socket"]
        assert secret.read_text() == "secret"

    def test_it_has_nothing_of_the_host(self, broker: Broker) -> None:
        secret = os.open("/etc/hosts", os.O_RDONLY)
        os.set_inheritable(secret, True)
        try:
            opened(broker, free_port())
        finally:
            os.close(secret)
        folder = Path(f"/proc/{process_of(broker)}")
        if os.geteuid() == 0:
            targets = [str(each.readlink()) for each in (folder / "fd").iterdir()]
            assert not [each for each in targets if each.startswith("/") and each != "/dev/null"]
            assert (folder / "environ").read_bytes() == b"LOCALDOMAIN=.\0"
        status = dict(line.split(":\t") for line in (folder / "status").read_text().splitlines())
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert all(int(status[each], 16) == 0 for each in ("CapPrm", "CapEff", "CapInh", "CapAmb"))
        assert "0" not in status["Uid"].split()
        assert os.geteuid() != 0 or not status["Groups"].split()

    def test_a_root_that_cannot_be_given_up_is_refused(self) -> None:
        program = (
            "from mpp_exec.egress.broker import Broker, Sockets\n"
            "from mpp_exec.errors import HostError\n"
            "try:\n    Broker().open('one', (), Sockets(()))\n"
            "except HostError as error:\n    print(error.code)\n"
        )
        command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", program]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.stdout == "host.broker_root\n", ran.stderr


class TestLife:
    def test_it_connects_and_tells(self, broker: Broker) -> None:
        """Without a namespace between them, it finds its own listener, and goes round to the limit."""
        outlet, port = opened(broker, free_port())
        with suppress(ConnectionResetError), socket.create_connection((LOOPBACK, port)) as connection:
            assert is_reset(connection)
        traffic = outlet.end()
        assert {(each.host, each.port, each.address) for each in traffic.connections} == {
            (LOOPBACK, port, LOOPBACK)
        }
        assert Denied(LOOPBACK, port, "limit") in traffic.denied
        assert not traffic.lost
        assert outlet.end() is traffic

    def test_closing_leaves_nothing(self) -> None:
        before = sorted(Path("/proc/self/fd").iterdir()), threading.active_count()
        broker = Broker()
        outlet, _ = opened(broker, free_port())
        pid = process_of(broker)
        broker.close()
        assert is_gone(pid)
        assert not Path(f"/proc/{pid}").exists()
        assert outlet.end().lost
        with pytest.raises(InternalError, match="closed"):
            broker.open("two", (), Sockets(()))
        broker.close()
        assert (sorted(Path("/proc/self/fd").iterdir()), threading.active_count()) == before

    def test_one_that_was_killed_is_lost_and_replaced(self, broker: Broker) -> None:
        outlet, port = opened(broker, free_port())
        first = process_of(broker)
        os.kill(first, signal.SIGKILL)
        assert outlet.end().lost
        other, _ = opened(broker, port, "two")
        assert process_of(broker) != first
        assert not other.end().lost

    def test_one_that_was_killed_between_calls_is_replaced(self, broker: Broker) -> None:
        opened(broker, free_port())[0].end()
        os.kill(process_of(broker), signal.SIGKILL)
        assert not opened(broker, free_port())[0].end().lost

    def test_one_that_hangs_is_killed(self, broker: Broker) -> None:
        outlet, port = opened(broker, free_port())
        first = process_of(broker)
        os.kill(first, signal.SIGSTOP)
        assert outlet.end().lost
        assert is_gone(first)
        assert not opened(broker, port)[0].end().lost

    @pytest.mark.parametrize("during", ["open", "end"])
    def test_an_interruption_harms_no_other(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch, during: str
    ) -> None:
        """Ctrl-C comes between request and answer."""
        other, _ = opened(broker, free_port(), "other")
        outlet = opened(broker, free_port())[0] if during == "end" else None
        port = free_port()

        def interrupted(*_: object) -> bytes:
            patch.undo()
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("mpp_exec.egress.starting.Process._received", interrupted)
            with pytest.raises(KeyboardInterrupt):
                opened(broker, port) if outlet is None else outlet.end()
        if outlet is not None:
            outlet.end()
        assert until(lambda: not is_listening(port))
        assert not opened(broker, port)[0].end().lost
        assert not other.end().lost

    @pytest.mark.parametrize(
        ("program", "why"), [("import time; time.sleep(60)", "timed out"), ("", "it does not answer")]
    )
    def test_a_process_that_never_answers_is_no_broker(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch, program: str, why: str
    ) -> None:
        monkeypatch.setattr("mpp_exec.egress.starting.START_SECONDS", 0.2 if program else 60)
        monkeypatch.setattr("mpp_exec.egress.starting._STARTER", program)
        with pytest.raises(InternalError) as caught:
            opened(broker, free_port())
        assert caught.value.code == "broker.start"
        assert caught.value.message.endswith(f"cannot be started: {why}")
        assert broker._process is None

    def test_without_descriptors_there_is_none_and_it_is_told(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with monkeypatch.context() as patch:
            patch.setattr(socket, "socketpair", refuse)
            with pytest.raises(InternalError) as caught:
                opened(broker, free_port())
        assert caught.value.code == "broker.start"
        assert not opened(broker, free_port())[0].end().lost

    def test_a_process_that_is_not_confined_is_no_broker(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        starter = (
            "import sys\n"
            "sys.path[:0] = sys.argv[2:]\n"
            "from mpp_exec.egress import confining, process\n"
            "confining.landlock_abi = lambda: 0\n"
            "process.main(int(sys.argv[1]))\n"
        )
        monkeypatch.setattr("mpp_exec.egress.starting._STARTER", starter)
        with pytest.raises(HostError) as caught:
            opened(broker, free_port())
        assert caught.value.code == "host.broker_landlock"

    def test_other_resolver_files_have_another_process(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, _ = opened(broker, free_port())
        first = process_of(broker)
        monkeypatch.setattr("mpp_exec.egress.broker.seen_files", lambda: ("others",))
        monkeypatch.setattr("mpp_exec.egress.starting.seen_files", lambda: ("others",))
        new, _ = opened(broker, free_port(), "two")
        assert process_of(broker) != first
        assert not is_gone(first)
        assert not old.end().lost
        assert is_gone(first)
        assert not new.end().lost

    def test_the_same_sandbox_twice_is_a_fault_that_harms_no_other(self, broker: Broker) -> None:
        outlet, _ = opened(broker, free_port())
        with pytest.raises(InternalError, match="twice"):
            opened(broker, free_port())
        assert not outlet.end().lost


def test_it_is_imported_by_what_needs_it_only() -> None:
    program = "import sys, mpp_exec.pipeline; print([m for m in sys.modules if 'egress' in m])"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "[]\n"


OWNER = """
import os, socket, sys
from mpp_exec.egress.broker import Broker, Sockets
broker = Broker()
broker.open("one", (), Sockets(()))
if sys.argv[1] == "child":
    child = os.fork()  # without any handler, as a C library would: it keeps the socket
    if not child:
        os.read(0, 1)
        os._exit(0)
print(broker._process._pid, flush=True)
os.read(0, 1)
"""


class TestOwner:
    @pytest.mark.parametrize("how", ["alone", "child"])
    def test_nothing_is_left_of_one_that_was_killed(self, how: str) -> None:
        program = OWNER.replace(
            "broker = Broker()", "broker = Broker()\nimport mpp_exec.egress.broker as b\nb._brokers.clear()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as owner:
            assert owner.stdout is not None
            pid = int(owner.stdout.readline())
            alive = os.pidfd_open(pid)
            try:
                owner.kill()
                assert select.select([alive], [], [], 20)[0], "the broker outlives its owner"
            finally:
                os.close(alive)
        assert until(lambda: is_gone(pid))

    def test_a_child_has_one_of_its_own(self, broker: Broker) -> None:
        outlet, _ = opened(broker, free_port())
        first = process_of(broker)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                lost = outlet.end().lost
                other = broker.open("two", (), Sockets(()))
                told = f"{lost} {process_of(broker) != first} {other.end().lost}"
                broker.close()
                os.write(writing, told.encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as heard:
            assert heard.read() == "True True False"
        os.waitpid(child, 0)
        assert not is_gone(first)
        assert not outlet.end().lost

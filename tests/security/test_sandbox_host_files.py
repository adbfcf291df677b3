"""Attacks on the host's files: reading what was not granted, writing what was granted for reading.

Behind each stand two mechanisms, the mount namespace and Landlock. Each attack is tried against both,
and against each of them alone: with Landlock taken away, and with a mount added that shows the target.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpp_exec.errors import HostError
from mpp_exec.sandbox import kernel, layout
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import ATTEMPTS, Lab, attempt, call, run, without_landlock, without_seccomp

GONE = "No such file or directory"
DENIED = "Permission denied"
RO = "Read-only file system"
NOT_PERMITTED = "Operation not permitted"


@pytest.fixture
def secret(ground: Path) -> Path:
    """A file beside the granted folder that everybody may read."""
    (ground / "granted").mkdir()
    (ground / "granted/mine").write_text("mine")
    path = ground / "secret"
    path.write_text("secret")
    path.chmod(0o666)
    ground.chmod(0o755)
    return path


def showing(compiled: SandboxPlan, path: Path, attributes: int = layout.READ_ONLY) -> SandboxPlan:
    """Return *compiled* with a mount too many: *path* is there, and no Landlock rule names it."""
    parents = [Entry("dir", str(parent)) for parent in reversed(path.parents[:-1])]
    made = {entry.target for entry in compiled.entries}
    added = [parent for parent in parents if parent.target not in made]
    there = (Entry("bind", str(path), str(path), attributes=attributes),)
    return replace(compiled, entries=(*compiled.entries, *added, *there))


class TestReadingAHostFile:
    PATHS = ("/etc/shadow", "/etc/machine-id", "/root", "/home", "/var", "/proc/1/environ", "/sys", "/run")

    def test_by_its_absolute_path(self, lab: Lab, secret: Path) -> None:
        compiled = lab.python(ATTEMPTS)
        tries = [("read", path) for path in (secret, *self.PATHS)]
        assert set(attempt(compiled, *tries)) == {GONE}
        assert set(attempt(without_landlock(compiled), *tries)) == {GONE}

    def test_by_its_absolute_path_with_landlock_alone(self, lab: Lab, secret: Path) -> None:
        compiled = showing(lab.python(ATTEMPTS), secret, layout.WRITABLE)
        tries = (("read", secret), ("write", secret), ("unlink", secret))
        assert set(attempt(compiled, *tries)) <= {DENIED, RO}
        assert secret.read_text() == "secret"
        # Before ABI 3 (Linux 6.2) Landlock does not see it: there the mount, read-only, is all there is.
        seen = attempt(compiled, ("truncate", secret, 0))
        assert seen == [DENIED if kernel.probe().landlock_abi >= 3 else "done"]

    def test_attack_is_real_with_both_taken_away(self, lab: Lab, secret: Path) -> None:
        compiled = without_landlock(showing(lab.python(ATTEMPTS), secret))
        assert attempt(compiled, ("read", secret)) == ["secret"]

    def test_by_going_up_from_a_granted_folder(self, lab: Lab, secret: Path) -> None:
        granted = secret.parent / "granted"
        deep = "../" * 20
        tries = [
            ("read", f"{granted}/../secret"),
            ("read", f"{granted}/{deep}etc/shadow"),
            ("list", f"{granted}/.."),
        ]
        for compiled in (
            lab.python(ATTEMPTS, read=[granted]),
            without_landlock(lab.python(ATTEMPTS, read=[granted])),
        ):
            seen = attempt(compiled, *tries)
            assert seen[:2] == [GONE, GONE]
            assert seen[2] in (DENIED, ["granted"])
        both = without_landlock(lab.python(ATTEMPTS, read=[granted, secret]))
        assert attempt(both, *tries[:1]) not in ([GONE], [DENIED]), "what is mounted is reached so"

    def test_by_a_link_in_a_granted_folder(self, lab: Lab, secret: Path) -> None:
        """A link leads where it leads inside."""
        granted = secret.parent / "granted"
        (granted / "absolute").symlink_to(secret)
        (granted / "relative").symlink_to("../secret")
        (granted / "shadow").symlink_to("/etc/shadow")
        (granted / "root").symlink_to("/")
        tries = [("read", granted / name) for name in ("absolute", "relative", "shadow", "root/etc/shadow")]
        compiled = lab.python(ATTEMPTS, read=[granted])
        assert attempt(compiled, *tries) == [GONE] * 4
        assert attempt(without_landlock(compiled), *tries) == [GONE] * 4
        assert attempt(showing(compiled, secret), *tries[:2]) == [DENIED] * 2
        both = attempt(without_landlock(showing(compiled, secret)), *tries[:2])
        assert not {GONE, DENIED} & set(both), "the attack is real"

    def test_by_a_link_in_the_package(self, lab: Lab, secret: Path) -> None:
        """No package can hold one; an installation that was tampered with can."""
        compiled = lab.python(ATTEMPTS)
        app = next(entry.source for entry in compiled.entries if entry.target == "/app")
        Path(app, "link").symlink_to(secret)
        Path(app, "folder").symlink_to("/")
        tries = (("read", "/app/link"), ("read", "/app/folder/etc/shadow"))
        assert attempt(compiled, *tries) == [GONE] * 2
        assert attempt(showing(compiled, secret), *tries[:1]) == [DENIED]
        (both,) = attempt(without_landlock(showing(compiled, secret)), *tries[:1])
        assert both not in (GONE, DENIED), "the attack is real"

    def test_by_putting_a_link_in_the_place_of_the_granted_folder(self, lab: Lab, secret: Path) -> None:
        granted = secret.parent / "granted"
        compiled = lab.python(ATTEMPTS, read=[granted])
        granted.rename(secret.parent / "moved")
        granted.symlink_to(secret.parent)
        with pytest.raises(Exception, match="grant_changed"):
            attempt(compiled, ("read", granted / "secret"))

    def test_by_swapping_the_granted_folder_while_sandboxes_start(self, lab: Lab, secret: Path) -> None:
        """What was approved is what is mounted, whatever its path leads to by then; or nothing is."""
        granted, other = secret.parent / "granted", secret.parent / "other"
        other.mkdir()
        (other / "mine").write_text("not granted")
        away = secret.parent / "away"
        facts = granted.stat()
        compiled = lab.python(
            ATTEMPTS, read=[granted], identities={str(granted): (facts.st_dev, facts.st_ino, 0)}
        )
        over = threading.Event()

        def swap() -> None:
            while not over.is_set():
                granted.rename(away)
                other.rename(granted)
                granted.rename(other)
                granted.symlink_to(other)
                granted.unlink()
                away.rename(granted)
                for _ in range(300):  # long enough to be found in its place as well
                    granted.stat()

        thread = threading.Thread(target=swap)
        thread.start()
        seen = set()
        try:
            for _ in range(60):
                with contextlib.suppress(HostError):
                    seen.add(attempt(compiled, ("read", granted / "mine"))[0])
        finally:
            over.set()
            thread.join()
        assert seen == {"mine"}

    def test_by_a_hard_link_from_outside(self, lab: Lab, secret: Path) -> None:
        """Linking needs both ends in reach, and a granted folder is a mount of its own."""
        granted = secret.parent / "granted"
        compiled = lab.python(ATTEMPTS, write=[granted])
        tries = [("link", secret, str(granted / "linked")), ("link", "/etc/passwd", str(granted / "linked"))]
        assert attempt(compiled, *tries)[0] == GONE
        other_mount = "Invalid cross-device link"
        assert attempt(compiled, *tries)[1] in (NOT_PERMITTED, DENIED, other_mount)
        shown = showing(compiled, secret)
        assert attempt(shown, *tries)[0] in (DENIED, other_mount)
        assert attempt(without_landlock(shown), *tries)[0] in (NOT_PERMITTED, other_mount)
        assert secret.stat().st_nlink == 1

    def test_by_moving_it_out_of_a_read_grant(self, lab: Lab, secret: Path) -> None:
        granted = secret.parent / "granted"
        target = secret.parent / "target"
        target.mkdir()
        compiled = lab.python(ATTEMPTS, read=[granted], write=[target])
        for variant in (compiled, without_landlock(compiled)):
            seen = attempt(
                variant,
                ("rename", granted / "mine", str(target / "mine")),
                ("link", granted / "mine", str(target / "mine")),
            )
            assert set(seen) <= {DENIED, RO, "Invalid cross-device link"}
        assert list(target.iterdir()) == []

    def test_by_a_descriptor_that_the_host_forgot(self, lab: Lab, probe: Path, secret: Path) -> None:
        """Open and inheritable in this process: the tool has 0, 1 and 2."""
        with secret.open() as file, socket.socket() as inherited:
            for descriptor in (file.fileno(), inherited.fileno()):
                os.set_inheritable(descriptor, True)
                os.dup2(descriptor, 200, inheritable=True)
            try:
                assert run(lab.program(probe, "descriptors")).output == b"0 1 2 "
            finally:
                os.close(200)

    def test_through_processes(self, lab: Lab, secret: Path) -> None:
        """There is no /proc: no environment of the host, no root of init, no descriptors."""
        tries = [
            ("list", "/proc"),
            ("read", "/proc/self/environ"),
            ("list", "/proc/1/root"),
            ("list", "/dev/fd"),
        ]
        assert attempt(lab.python(ATTEMPTS), *tries) == [GONE] * 4
        assert secret.exists()


class TestWritingWhatWasGrantedForReading:
    @pytest.fixture
    def folder(self, ground: Path) -> Path:
        (ground / "file").write_text("text")
        (ground / "file").chmod(0o666)
        (ground / "empty").mkdir()
        return ground

    def tries(self, folder: Path) -> list[tuple[object, ...]]:
        return [
            ("write", folder / "file"),
            ("truncate", folder / "file", 0),
            ("unlink", folder / "file"),
            ("rmdir", folder / "empty"),
            ("mkdir", folder / "new"),
            ("symlink", "/", folder / "new"),
            ("link", folder / "file", folder / "new"),
            ("rename", folder / "file", folder / "new"),
            ("mkfifo", folder / "new"),
        ]

    def assert_unchanged(self, folder: Path) -> None:
        assert sorted(path.name for path in folder.iterdir()) == ["empty", "file"]
        assert (folder / "file").read_text() == "text"

    def test_with_the_mount_alone(self, lab: Lab, folder: Path) -> None:
        compiled = without_landlock(lab.python(ATTEMPTS, read=[folder]))
        seen = attempt(
            compiled, *self.tries(folder), ("chmod", folder / "file", 0o600), ("utime", folder / "file")
        )
        assert set(seen) == {RO, "Function not implemented"}
        self.assert_unchanged(folder)

    def test_with_landlock_alone(self, lab: Lab, folder: Path) -> None:
        compiled = lab.python(ATTEMPTS, read=[folder])
        entries = tuple(
            replace(entry, attributes=layout.WRITABLE) if entry.target == str(folder) else entry
            for entry in compiled.entries
        )
        shown = replace(compiled, entries=entries)
        truncations = [each for each in self.tries(folder) if each[0] == "truncate"]
        seen = attempt(shown, *(each for each in self.tries(folder) if each not in truncations))
        assert set(seen) <= {DENIED, "Function not implemented", "Invalid cross-device link"}
        self.assert_unchanged(folder)
        assert attempt(shown, *truncations) == [DENIED if kernel.probe().landlock_abi >= 3 else "done"]

    @pytest.mark.parametrize("below", ["/var/tmp", "/tmp"])
    def test_through_a_fifo(self, lab: Lab, below: str) -> None:
        """A FIFO opens for writing on a read-only mount, to whoever reads it. Only Landlock stops that."""
        code = "import os\ndef run(path):\n    return os.open(path, os.O_WRONLY | os.O_NONBLOCK)\n"
        with tempfile.TemporaryDirectory(dir=below) as name:
            fifo = Path(name, "fifo")
            os.mkfifo(fifo)
            fifo.chmod(0o666)
            reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            try:
                compiled = lab.python(code, read=[name])
                with pytest.raises(AssertionError, match="Permission denied"):
                    call(compiled, path=str(fifo))
                assert call(without_landlock(compiled), path=str(fifo)) >= 3, "the attack is real"
            finally:
                os.close(reader)

    def test_through_a_second_name_in_a_write_grant(self, lab: Lab, folder: Path) -> None:
        """A link in the writable folder that leads to the readable one."""
        writable, readable = folder / "empty", folder / "readable"
        readable.mkdir()
        (readable / "file").write_text("text")
        (writable / "link").symlink_to(readable / "file")
        compiled = lab.python(ATTEMPTS, read=[readable], write=[writable])
        for variant in (compiled, without_landlock(compiled)):
            assert attempt(variant, ("write", writable / "link"))[0] in (RO, DENIED)
        assert (readable / "file").read_text() == "text"

    def test_by_remounting_it(self, lab: Lab, folder: Path) -> None:
        code = (
            "import ctypes, os\n"
            "def run(path):\n"
            "    libc = ctypes.CDLL(None, use_errno=True)\n"
            "    flags = 32 | 4096\n"  # MS_REMOUNT | MS_BIND
            "    seen = [libc.mount(None, path.encode(), None, flags, None), ctypes.get_errno()]\n"
            "    return seen\n"
        )
        assert call(lab.python(code, read=[folder]), path=str(folder)) == [-1, 38]


class TestDevicesAndSpecialFiles:
    def test_devices_are_three_and_only_null_takes_data(self, lab: Lab) -> None:
        """No /dev/zero: mapped shared, it is memory that no limit sees."""
        names = (
            "null",
            "random",
            "urandom",
            "zero",
            "full",
            "mem",
            "kmsg",
            "tty",
            "fd",
            "shm",
            "pts",
            "fuse",
        )
        seen = attempt(lab.python(ATTEMPTS), *(("write", f"/dev/{name}") for name in names))
        assert seen[:3] == ["done", DENIED, DENIED]
        assert set(seen[3:]) <= {RO, DENIED}
        exists = attempt(lab.python(ATTEMPTS), *(("stat", f"/dev/{name}") for name in names))
        assert exists == ["done"] * 3 + [GONE] * 9

    def test_device_node_in_a_granted_folder_does_not_open(self, lab: Lab, ground: Path) -> None:
        """Made by somebody who is root: nodev is on every granted mount."""
        if os.geteuid() != 0:
            pytest.skip("only root can make a device")
        os.mknod(ground / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        for compiled in (lab.python(ATTEMPTS, read=[ground]), lab.python(ATTEMPTS, write=[ground])):
            assert attempt(without_landlock(compiled), ("read", ground / "zero")) == [DENIED]
            assert attempt(compiled, ("read", ground / "zero")) == [DENIED]


@pytest.fixture
def listening(ground: Path) -> Iterator[Path]:
    """A service of the host's on a socket in the granted folder."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(ground / "service"))
        server.listen()
        (ground / "service").chmod(0o777)
        yield ground / "service"


CONNECT = """
import socket
def run(path):
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            return "connected"
    except OSError as error:
        return error.strerror
"""


def test_service_of_the_host_on_a_socket_in_a_granted_folder(lab: Lab, listening: Path) -> None:
    """It takes the tool for the host's user. Mounts and Landlock below ABI 9 let it: seccomp does not."""
    folder = listening.parent
    for compiled in (lab.python(CONNECT, read=[folder]), lab.python(CONNECT, write=[folder])):
        assert call(compiled, path=str(listening)) == "Function not implemented"
        assert call(without_seccomp(compiled, "socket"), path=str(listening)) == "Function not implemented"
        real = call(without_seccomp(compiled, "socket", "connect"), path=str(listening))
        assert real in ("connected", DENIED)

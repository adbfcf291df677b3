"""The ground of a plan: what is built on it is what is built on nothing, and nobody can change it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mcp_servers import server
from mpp_exec.permissions import Permissions
from mpp_exec.sandbox import spawn, supervise
from mpp_exec.sandbox.bounds import bounds_of
from mpp_exec.sandbox.call import Call
from mpp_exec.sandbox.ground import Ground
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.supervise import RawOutcome
from sandbox_lab import CACHE, Lab, answer, call, ground_of, run, stands_on_the_host
from stage import NAME, Stage

ROOT = os.geteuid() == 0
NOTHING = Call(b'{"arguments":{}}', "lab")

VIEW = """
import os

PATHS = '''/ /app /dev /dev/full /dev/null /dev/urandom /etc /etc/hosts /etc/localtime /etc/passwd /home
/made /mpp /proc /root /run /sys /tmp /tmp/home /usr /usr/bin /usr/lib /var'''.split()

def seen(path):
    try:
        facts = os.lstat(path)
    except OSError as error:
        return [path, error.strerror]
    return [path, oct(facts.st_mode), facts.st_nlink, facts.st_size, facts.st_rdev, os.access(path, os.W_OK)]

def run():
    root = [seen(path) for path in PATHS]
    there = [open("/etc/passwd").read(), open("/etc/hosts").read()]
    for folder, names, files in os.walk("/app"):
        there += [seen(os.path.join(folder, name)) for name in sorted(names + files)]
    try:
        os.mkdir("/made")
        refused = ""
    except OSError as error:
        refused = error.strerror
    with open("own", "w") as file:
        file.write("mine")
    return [root, there, refused, os.getcwd(), os.listdir("."), os.getpid(), os.getuid(), os.getgid()]
"""


class Seen:
    """What came of each sandbox that was built."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.raws: list[RawOutcome] = []
        invoke = supervise.invoke

        def kept(*words: Any, **options: Any) -> RawOutcome:
            self.raws.append(invoke(*words, **options))
            return self.raws[-1]

        monkeypatch.setattr(supervise, "invoke", kept)

    @property
    def grounded(self) -> list[bool]:
        return [raw.grounded for raw in self.raws]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def on_ground(compiled: SandboxPlan, **arguments: Any) -> Any:
    """Make a call of a Python tool on the ground of its plan; return what it returned."""
    request = json.dumps({"arguments": arguments}).encode()
    done = spawn.run(compiled, Call(request, "lab"), cache=CACHE, ground=ground_of(compiled))
    assert done.outcome == "ok", done
    return json.loads(done.output)["value"]


def test_what_a_tool_sees_is_the_same(lab: Lab, seen: Seen) -> None:
    compiled = lab.python(VIEW)
    asked = [call(compiled), on_ground(compiled), on_ground(compiled)]
    assert seen.grounded[-2:] == [True, True]
    assert asked[0] == asked[1] == asked[2]
    assert asked[1][2] == "Read-only file system"


def test_what_is_granted_is_added(lab: Lab, seen: Seen, tmp_path: Path) -> None:
    """A host that is no root has nothing of the host's tree there, and builds such a sandbox on nothing."""
    tmp_path.chmod(0o777)
    granted = tmp_path / "granted"
    granted.mkdir(mode=0o777)
    (granted / "in").write_text("first")
    compiled = lab.python(
        "import pathlib\ndef run(where, text):\n    here = pathlib.Path(where) / 'in'\n"
        "    before = here.read_text()\n    here.write_text(text)\n    return before\n",
        write=[granted],
    )
    said = [on_ground(compiled, where=str(granted), text=text) for text in ("second", "third")]
    assert said == ["first", "second"]
    assert (granted / "in").read_text() == "third"
    assert (granted / "in").stat().st_uid == os.geteuid()
    assert seen.grounded[-2:] == [not stands_on_the_host(compiled)] * 2 == [ROOT] * 2


BELOW = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def did(result):
    return 0 if result == 0 else ctypes.get_errno()
for number, kind in ((int(sys.argv[1]), 0x10000000), (int(sys.argv[2]), 0x20000)):
    assert did(libc.setns(number, kind)) == 0, errno.errorcode[ctypes.get_errno()]
print(sorted(os.listdir("/")))
assert did(libc.unshare(int(sys.argv[3]))) == 0, errno.errorcode[ctypes.get_errno()]
REMOUNT, BIND, NOSUID, NODEV, NOEXEC = 32, 4096, 2, 4, 8
if sys.argv[3] == str(0x20000):
    print(did(libc.mount(None, b"/", None, REMOUNT | BIND, None)))
    try:
        os.mkdir("/made")
    except OSError as error:
        print(error.errno)
    sys.exit()
print(did(libc.mount(None, b"/", None, REMOUNT | NOSUID | NODEV | NOEXEC, None)))
print(did(libc.mount(None, b"/", None, REMOUNT | BIND | NOSUID | NODEV | NOEXEC, None)))
print(did(libc.umount2(b"/app", 2)))
try:
    os.mkdir("/made")
except OSError as error:
    print(error.errno)
"""


def namespaces_held() -> tuple[int, ...]:
    """The descriptors of namespaces that this process has: of user namespaces, then of mounts."""
    found: list[tuple[str, int]] = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            leads = str(path.readlink())
            if leads.startswith(("user:[", "mnt:[")):
                found.append((leads, int(path.name)))
    return tuple(number for _, number in sorted(found, reverse=True))


@pytest.fixture
def laid(lab: Lab) -> tuple[SandboxPlan, Ground]:
    """A plan and the one ground that there is."""
    compiled = lab.python(VIEW)
    on_ground(lab.python("def run():\n    return 1\n"))  # in the place of what earlier tests have laid
    on_ground(compiled)
    ground = ground_of(compiled)(b"")
    assert ground is not None
    return compiled, ground


def _inside(namespaces: int) -> list[str]:
    """Enter the ground, and from there new *namespaces*; return what was there, and how each try ended."""
    held = namespaces_held()
    assert len(held) == 2
    command = [sys.executable, "-c", BELOW, *map(str, (*held, namespaces))]
    done = subprocess.run(command, pass_fds=held, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_file_system_is_sealed_beside_its_mount(laid: tuple[SandboxPlan, Ground]) -> None:
    """With every capability over the ground itself, in a copy of it."""
    assert laid[1].fits
    assert _inside(0x20000)[1:] == ["0", "30"], "the mount is writable, and EROFS"


def test_nobody_below_it_can_change_it(laid: tuple[SandboxPlan, Ground]) -> None:
    """As init of a sandbox, with every capability there: file system and mount are the ground's."""
    assert laid[1].fits
    there, *refused = _inside(0x10020000)
    assert "app" in there
    assert "bin" not in there, "nothing of the tree of the host"
    assert refused == ["1", "1", "22", "30"], "EPERM, EPERM, EINVAL (locked), EROFS"


def test_source_that_was_replaced_is_not_what_it_shows(lab: Lab, seen: Seen) -> None:
    compiled = lab.python(
        "from words import said\ndef run():\n    return said\n", files={"words.py": b"said = 1\n"}
    )
    assert on_ground(compiled) == 1
    app = Path(next(entry.source for entry in compiled.entries if entry.target == "/app"))
    aside = app.with_name("aside")
    app.rename(aside)
    subprocess.run(["cp", "-a", aside, app], check=True)
    (app / "words.py").write_text("said = 2\n")
    ground = ground_of(compiled)(b"")
    assert ground is not None
    done = spawn.run(compiled, NOTHING, cache=CACHE, ground=lambda _: ground)
    assert json.loads(done.output)["value"] == 2
    assert seen.grounded == [True, False]
    assert not ground.fits


def test_plan_that_differs_is_not_built_on_it(laid: tuple[SandboxPlan, Ground], lab: Lab, seen: Seen) -> None:
    _, ground = laid
    other = lab.python("def run():\n    return 'other'\n")
    done = spawn.run(other, NOTHING, cache=CACHE, ground=lambda _: ground)
    assert json.loads(done.output)["value"] == "other"
    assert seen.grounded == [False]


def test_host_that_closed_what_was_open_builds_on_nothing(
    laid: tuple[SandboxPlan, Ground], seen: Seen
) -> None:
    """Its numbers are other namespaces' then: the host's own."""
    compiled, ground = laid
    held = namespaces_held()
    saved = [os.dup(number) for number in held]
    try:
        for number, name in zip(held, ("user", "mnt"), strict=True):
            own = os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(own, number, inheritable=False)
            os.close(own)
        done = spawn.run(compiled, NOTHING, cache=CACHE, ground=lambda _: ground)
        assert done.outcome == "ok"
        assert seen.grounded == [False]
    finally:
        for number, copy in zip(held, saved, strict=True):
            os.dup2(copy, number, inheritable=False)
            os.close(copy)


def test_host_stays_as_dumpable_as_it_was(laid: tuple[SandboxPlan, Ground]) -> None:
    """The child that enters it is on the host's memory."""
    prctl = ctypes.CDLL(None).prctl
    before = prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
    on_ground(laid[0])
    assert prctl(3, 0, 0, 0, 0) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone has a group of that number")
def test_group_of_ten_digits_has_one(lab: Lab, seen: Seen) -> None:
    """As a directory service numbers them; its map lost its line end.

    It is the real group, too: until Linux 6.12 one that differs has execve take away what init is left with.
    """
    compiled = lab.python("def run():\n    return 1\n")
    before = os.getresgid()
    os.setresgid(1_500_000_000, 1_500_000_000, before[2])
    try:
        on_ground(compiled)
    finally:
        os.setresgid(*before)
    assert seen.grounded == [True]


def test_message_of_another_form_lays_nothing(lab: Lab) -> None:
    compiled = lab.python("def run():\n    return 1\n")
    with pytest.raises(Exception, match="no ground"):
        Ground(b"\0" * 4096, bounds_of(compiled))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=0) as made:
        yield made


def test_second_call_lays_it_and_a_change_of_the_home_takes_it_away(stage: Stage, seen: Seen) -> None:
    before = namespaces_held()
    stage.python("def run():\n    return 1\n")
    for _ in range(3):
        assert stage.runtime.call(NAME).outcome == "ok"
    assert seen.grounded[-3:] == [False, True, True]
    assert len(namespaces_held()) == len(before) + 2
    stage.python("def run():\n    return 2\n", name="acme/other")
    assert stage.runtime.call(NAME).structured == {"result": 1}
    assert not seen.grounded[-1]
    assert namespaces_held() == before
    stage.runtime.call(NAME)
    assert seen.grounded[-1]
    stage.runtime.close()
    assert namespaces_held() == before


def test_each_call_has_scratch_of_its_own(stage: Stage, seen: Seen) -> None:
    stage.python(
        "import os, pathlib\ndef run():\n    before = sorted(os.listdir('.'))\n"
        "    pathlib.Path('left').touch()\n    return before\n"
    )
    said = [stage.runtime.call(NAME).structured for _ in range(4)]
    assert seen.grounded[-4:] == [False, True, True, True]
    assert said == [said[0]] * 4
    assert "left" not in str(said)


def test_fork_of_the_host_makes_calls_of_its_own(stage: Stage) -> None:
    stage.python("def run():\n    return 1\n")
    for _ in range(3):
        stage.runtime.call(NAME)
    assert stage.call_in_a_fork() == 0
    assert stage.runtime.call(NAME).outcome == "ok"


def test_tool_with_storage_keeps_it(stage: Stage, seen: Seen) -> None:
    stage.python(
        "import os, pathlib\ndef run():\n    kept = pathlib.Path(os.environ['MPP_STORAGE']) / 'n'\n"
        "    n = int(kept.read_text()) if kept.exists() else 0\n"
        "    kept.write_text(str(n + 1))\n    return n\n",
        permissions=Permissions(storage=1 << 20),
        tool={"operation": "write"},
    )
    assert [stage.runtime.call(NAME).structured for _ in range(4)] == [{"result": n} for n in range(4)]
    assert seen.grounded[-1] == ROOT


def test_sandboxes_at_once_share_it(lab: Lab, seen: Seen) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    compiled = lab.python(
        "import os\ndef run(n):\n    open('mine', 'x').write(str(n))\n    return [n, os.getpid()]\n"
    )
    on_ground(compiled, n=0)
    with ThreadPoolExecutor(6) as threads:
        said = list(threads.map(lambda n: on_ground(compiled, n=n), range(24)))
    assert [n for n, _ in said] == list(range(24))
    assert all(seen.grounded)
    assert run(compiled, b'{"arguments":{"n":1}}').outcome == "ok"


def test_what_is_prepared_is_built_on_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=1) as stage:
        stage.server(server('say(id=name, result=text("it"))'))
        stock = stage.runtime._open().sandboxes._stock
        for _ in range(3):
            assert stage.runtime.call(NAME).outcome == "ok"
        assert until(lambda: stage.runtime._open().sandboxes.waiting)
        with stock.lock:
            (shelf,) = stock.shelves.values()
            assert [parked.is_grounded for parked in shelf.ready] == [True]


def test_what_is_granted_comes_with_the_call(lab: Lab, tmp_path: Path) -> None:
    """To one that is prepared: its places are the ground's, and what lies there is the call's."""
    tmp_path.chmod(0o777)
    granted = tmp_path / "granted"
    granted.mkdir(mode=0o777)
    (granted / "in").write_text("text")
    source = "def run(where):\n    with open(where + '/in') as file:\n        return file.read()\n"
    compiled = lab.python(source, write=[granted])
    for early in (False, True):
        made = Parked(compiled, constants=(), cache=CACHE, early_start=early, ground=ground_of(compiled))
        while made.look(1000) == "preparing":
            continue
        assert made.is_grounded == ROOT
        request = json.dumps({"arguments": {"where": str(granted)}}).encode()
        assert answer(run(compiled, request, parked=made)) == {"value": "text"}
        made.close()

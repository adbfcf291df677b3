"""The organisation's policy is believed only where nobody else can have written it, and never skipped."""

from __future__ import annotations

import itertools
import os
import resource
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.consent import policy_file
from mpp_exec.consent.policy import Policy, PolicyLayer
from mpp_exec.consent.policy_file import MAX_POLICY, SYSTEM_POLICY, PolicyFiles
from mpp_exec.errors import ConsentError, InternalError
from private_mounts import run_in_private_mounts

MINE = os.geteuid()
STRICT = "[permissions]\nnetwork = []\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A policy as it should be, but that the owner is whoever runs the tests."""
    folder = tmp_path / "etc" / "mpp-exec"
    folder.mkdir(parents=True, mode=0o755)
    (folder / "policy.toml").write_text(STRICT)
    (folder / "policy.toml").chmod(0o644)
    return folder / "policy.toml"


def load(home: Path, system: Path, **environ: str) -> Policy:
    return PolicyFiles(home, system=system, system_owner=MINE, environ=environ).load()


def test_a_machine_without_descriptors_is_no_fault_of_the_policy(home: Path, system: Path) -> None:
    """Nothing runs, and no list without the package says that it is there no more (MCP's ``-32602``)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(InternalError) as caught:
            load(home, system)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.code == "host.exhausted"


def refused(home: Path, system: Path, **environ: str) -> str:
    with pytest.raises(ConsentError) as caught:
        load(home, system, **environ)
    assert caught.value.hint
    return caught.value.code


def test_the_real_path_is_not_configurable(home: Path) -> None:
    assert Path("/etc/mpp-exec/policy.toml") == SYSTEM_POLICY
    files = PolicyFiles(
        home, environ={"MPP_SYSTEM_POLICY": "/x", "MPP_EXEC_POLICY": "/x", "XDG_CONFIG_DIRS": "/x"}
    )
    assert files.protected() == (Path("/etc/mpp-exec"),)


def test_policy_is_read(home: Path, system: Path) -> None:
    (layer,) = load(home, system).layers
    assert layer.network == ()
    assert layer.source == str(system)


def test_only_enoent_means_that_there_is_none(home: Path, system: Path) -> None:
    system.unlink()
    assert load(home, system) == Policy()
    system.parent.rmdir()
    assert load(home, system) == Policy()
    system.parent.parent.rmdir()
    assert load(home, system) == Policy()


def test_foreign_owner_is_refused(home: Path, system: Path) -> None:
    files = PolicyFiles(home, system=system, system_owner=MINE + 1, environ={})
    with pytest.raises(ConsentError) as caught:
        files.load()
    assert caught.value.code == "policy.owner"


@pytest.mark.skipif(MINE != 0, reason="giving files away takes root")
def test_file_of_another_user_in_a_good_folder_is_refused(home: Path, system: Path) -> None:
    os.chown(system, 1000, 0)
    assert refused(home, system) == "policy.owner"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_file_that_others_can_write_is_refused(home: Path, system: Path, mode: int) -> None:
    system.chmod(mode)
    assert refused(home, system) == "policy.writable"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_folder_that_others_can_write_is_refused(home: Path, system: Path, mode: int) -> None:
    """Whoever writes to the folder can put another file in its place; the sticky bit is no excuse here."""
    system.parent.chmod(mode)
    assert refused(home, system) == "policy.writable"


def replace_by_link(system: Path) -> None:
    system.rename(system.with_name("real"))
    system.symlink_to("real")


def replace_by_dangling_link(system: Path) -> None:
    system.unlink()
    system.symlink_to("absent")


def replace_folder_by_link(system: Path) -> None:
    system.parent.rename(system.parent.with_name("real"))
    system.parent.symlink_to("real")


def replace_by_fifo(system: Path) -> None:
    system.unlink()
    os.mkfifo(system, 0o644)


def replace_by_folder(system: Path) -> None:
    system.unlink()
    system.mkdir()


def replace_by_socket(system: Path) -> None:
    system.unlink()
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(system.parent)
        sock.bind(system.name)


def replace_folder_by_file(system: Path) -> None:
    system.unlink()
    system.parent.rmdir()
    system.parent.write_text("")


REPLACEMENTS: list[tuple[Callable[[Path], None], str]] = [
    (replace_by_link, "policy.link"),
    (replace_by_dangling_link, "policy.link"),
    (replace_folder_by_link, "policy.link"),
    (replace_by_fifo, "policy.link"),
    (replace_by_folder, "policy.link"),
    (replace_by_socket, "policy.unreadable"),
    (replace_folder_by_file, "policy.link"),
]


@pytest.mark.parametrize(("replace", "code"), REPLACEMENTS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_no_plain_file_is_refused_and_never_blocks(
    replace: Callable[[Path], None], code: str, home: Path, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    replace(system)
    assert refused(home, system) == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff", "policy.malformed"),
        (b"carry_over = ", "policy.malformed"),
        (b"unknown = 1", "policy.unknown_key"),
        (b"#" * (MAX_POLICY + 1), "policy.too_large"),
    ],
)
def test_policy_that_cannot_be_understood_stops_everything(
    home: Path, system: Path, data: bytes, code: str
) -> None:
    system.write_bytes(data)
    assert refused(home, system) == code


@pytest.mark.skipif(MINE == 0, reason="root can read everything")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_policy_that_cannot_be_read_stops_everything(home: Path, system: Path, what: str) -> None:
    victim = system if what == "file" else system.parent
    mode = victim.stat().st_mode
    victim.chmod(0)
    try:
        assert refused(home, system) == "policy.unreadable"
    finally:
        victim.chmod(mode)


def test_unreadable_for_an_unprivileged_user(tmp_path: Path) -> None:
    """EACCES is not ENOENT: a policy that root closed off stops a user's calls rather than vanishing."""
    program = """
import os, sys
from pathlib import Path
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import ConsentError
base = Path(sys.argv[1])
(base / "etc").mkdir()
(base / "etc" / "policy.toml").write_text("")
os.chmod(base / "etc" / "policy.toml", 0o600)
os.chmod(base, 0o755)
if os.getuid() == 0 and int(sys.argv[2]) == 0:
    os.setresuid(1000, 1000, 1000)
else:
    os.chmod(base / "etc" / "policy.toml", 0)
    import ctypes
    ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP CAP_DAC_OVERRIDE
    ctypes.CDLL(None).prctl(24, 2)
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], str(base)])
exec(sys.argv[3])
"""
    check = """
import sys
from pathlib import Path
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import ConsentError
base = Path(sys.argv[1])
try:
    PolicyFiles(base, system=base / "etc" / "policy.toml", environ={}).load()
except ConsentError as error:
    print(error.code)
"""
    folder = tmp_path / "open"
    folder.mkdir()
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        mode = parent.stat().st_mode
        if MINE == 0 and not mode & stat.S_IXOTH:  # only what pytest made; never a folder that all may enter
            parent.chmod(stat.S_IMODE(mode) | 0o055)
    assert run_in_private_mounts(program, folder, MINE, check) == "policy.unreadable\n"


def test_users_policy_narrows(home: Path, system: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[permissions]\nsubprocess = ["git"]')
    (home / "policy.toml").write_text("carry_over = false")
    policy = load(home, system, MPP_POLICY=str(tmp_path / "mine.toml"))
    assert [Path(layer.source).name for layer in policy.layers] == ["policy.toml", "mine.toml", "policy.toml"]
    assert not policy.carry_over
    assert policy.redaction == {}


def test_named_policy_must_exist(home: Path, system: Path, tmp_path: Path) -> None:
    """A name that leads nowhere is a mistake, and must not mean that nothing is narrowed."""
    assert refused(home, system, MPP_POLICY=str(tmp_path / "absent.toml")) == "policy.missing"
    assert load(home, system, MPP_POLICY="").layers[0].source == str(system)


def test_named_policy_that_others_can_write_is_refused(home: Path, system: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("")
    mine.chmod(0o666)
    assert refused(home, system, MPP_POLICY=str(mine)) == "policy.writable"
    mine.chmod(0o600)
    tmp_path.chmod(0o777)
    assert refused(home, system, MPP_POLICY=str(mine)) == "policy.writable"
    tmp_path.chmod(0o1777)
    assert len(load(home, system, MPP_POLICY=str(mine)).layers) == 2


def test_users_policy_cannot_leave_data_unredacted(home: Path, system: Path) -> None:
    (home / "policy.toml").write_text('[redaction]\nemail = "allow"')
    assert refused(home, system) == "policy.widens"


def test_change_is_seen_at_the_next_call(home: Path, system: Path) -> None:
    """Also a second change within the same tick of the clock, of the same length."""
    files = PolicyFiles(home, system=system, system_owner=MINE, environ={})
    for number in range(50):
        system.write_text(f"[limits]\nprocesses = {10 + number}\n")
        assert files.load().layers[0].limits == {"processes": 10 + number}
        assert files._seen == {}, "too young to be told from its next change by its times"


def test_settled_policy_is_not_parsed_again(
    home: Path, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the last change is old enough to be told from the next one, the parsed layer is kept."""
    monkeypatch.setattr(policy_file, "_SETTLED_NS", -1)
    files = PolicyFiles(home, system=system, system_owner=MINE, environ={})
    first = files.load().layers[0]
    assert files.load().layers[0] is first
    system.write_text("broken")
    with pytest.raises(ConsentError):
        files.load()


def test_another_thread_may_read_a_further_file_meanwhile(home: Path, system: Path) -> None:
    files = PolicyFiles(home, system=system, system_owner=MINE, environ={})
    others = map(Path, map(str, itertools.count()))

    class Seen(tuple[Any, ...]):  # noqa: SLOT001
        """What one thread looks at while another one has just read a file for the first time."""

        def __getitem__(self, index: Any) -> Any:
            files._seen[next(others)] = ((), PolicyLayer(source=""))
            return super().__getitem__(index)

    files._seen[Path("/seen")] = Seen(((), PolicyLayer(source="")))
    assert files.load().layers


def test_policy_that_becomes_untrusted_is_dropped_from_memory(home: Path, system: Path) -> None:
    files = PolicyFiles(home, system=system, system_owner=MINE, environ={})
    files.load()
    system.chmod(0o666)
    with pytest.raises(ConsentError):
        files.load()


@pytest.mark.skipif(MINE != 0, reason="giving folders away takes root")
@pytest.mark.parametrize("way", ["a link", "a folder"])
def test_attack_to_choose_among_the_users_policies(home: Path, system: Path, way: str) -> None:
    """Who owns a part of the way to $MPP_POLICY could put a wider one of the user's in its place."""
    for name in ("strict", "wide"):
        (home / name).mkdir()
    (home / "strict" / "policy.toml").write_text(STRICT)
    (home / "wide" / "policy.toml").write_text("")
    theirs = system.parent.parent / "theirs"
    theirs.mkdir()
    if way == "a link":
        (theirs / "way").symlink_to(home / "strict")
        theirs.chmod(0o1777)
        os.chown(theirs / "way", 1000, 1000, follow_symlinks=False)
    else:
        (home / "strict").rename(theirs / "way")
        os.chown(theirs, 1000, 1000)
    assert refused(home, system, MPP_POLICY=str(theirs / "way" / "policy.toml")) == "policy.exposed"
    os.chown(theirs, 0, 0)
    os.chown(theirs / "way", 0, 0, follow_symlinks=False)
    assert len(load(home, system, MPP_POLICY=str(theirs / "way" / "policy.toml")).layers) == 2

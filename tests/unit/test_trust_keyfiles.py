"""Private keys on disk: whole or not at all, never overwritten, never open to others."""

from __future__ import annotations

import base64
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec.errors import ConsentError, InternalError, MppError, UsageError
from mpp_exec.trust.keyfiles import KeyFolder


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys")


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def names(folder: KeyFolder) -> list[str]:
    return sorted(entry.name for entry in folder.path.iterdir())


def code_of(error: pytest.ExceptionInfo[MppError]) -> str:
    assert error.value.hint
    return error.value.code


@pytest.mark.usefixtures("loose_umask")
def test_a_new_key_is_private_and_loads_again(folder: KeyFolder) -> None:
    made = folder.create("acme")
    assert folder.load("acme").public_key == made.public_key
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "acme.key").stat().st_mode) == 0o600
    assert names(folder) == ["acme.key"]


def test_a_key_is_never_overwritten(folder: KeyFolder) -> None:
    folder.create("acme")
    before = (folder.path / "acme.key").read_bytes()
    with pytest.raises(UsageError) as error:
        folder.create("acme")
    assert code_of(error) == "key.exists"
    assert (folder.path / "acme.key").read_bytes() == before
    assert names(folder) == ["acme.key"]


def test_an_encrypted_key_wants_its_passphrase(folder: KeyFolder) -> None:
    made = folder.create("acme", "correct horse")
    text = (folder.path / "acme.key").read_text()
    assert base64.b64encode(made.secret_seed()).decode() not in text
    assert folder.load("acme", "correct horse").key_id == made.key_id
    with pytest.raises(ConsentError) as error:
        folder.load("acme")
    assert code_of(error) == "key.needs_passphrase"
    with pytest.raises(ConsentError) as error:
        folder.load("acme", "wrong horse")
    assert code_of(error) == "key.wrong_passphrase"


def test_an_empty_passphrase_is_refused(folder: KeyFolder) -> None:
    with pytest.raises(UsageError) as error:
        folder.create("acme", "")
    assert code_of(error) == "key.empty_passphrase"
    assert not folder.path.exists()


@pytest.mark.parametrize("name", ["", "Acme", "a/b", "../x", "-a", "_home", "a" * 64, "a\n", ".", "é"])
def test_only_a_publisher_name_names_a_key(folder: KeyFolder, name: str) -> None:
    for attempt in (folder.create, folder.load):
        with pytest.raises(UsageError) as error:
            attempt(name)
        assert code_of(error) == "key.bad_publisher"
    assert not folder.path.exists()


def test_a_missing_key_says_how_to_make_it(folder: KeyFolder) -> None:
    with pytest.raises(UsageError) as error:
        folder.load("acme")
    assert code_of(error) == "key.not_found"
    assert "keygen acme" in error.value.hint
    assert folder.publishers() == []
    folder.create("other")
    with pytest.raises(UsageError) as error:
        folder.load("acme")
    assert code_of(error) == "key.not_found"


def test_publishers_lists_keys_and_nothing_else(folder: KeyFolder) -> None:
    folder.create("zeta")
    folder.create("home")
    folder.home_key()
    (folder.path / "notes.txt").write_text("x")
    (folder.path / "Bad.key").write_text("x")
    assert folder.publishers() == ["home", "zeta"]


def test_a_publisher_called_home_is_not_the_key_of_the_home(folder: KeyFolder) -> None:
    home = folder.home_key()
    folder.create("home")
    assert folder.home_key().derive("x") == home.derive("x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_file_open_to_others_is_refused(folder: KeyFolder, mode: int) -> None:
    folder.create("acme")
    folder.home_key()
    (folder.path / "acme.key").chmod(mode)
    (folder.path / "_home.key").chmod(mode)
    with pytest.raises(ConsentError) as error:
        folder.load("acme")
    assert code_of(error) == "key.exposed"
    with pytest.raises(ConsentError) as error:
        folder.home_key()
    assert code_of(error) == "key.exposed"


def test_a_key_folder_open_to_others_is_refused(folder: KeyFolder) -> None:
    folder.create("acme")
    folder.path.chmod(0o755)
    for attempt in (lambda: folder.load("acme"), lambda: folder.create("b"), folder.home_key):
        with pytest.raises(ConsentError) as error:
            attempt()
        assert code_of(error) == "key.exposed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_that_belongs_to_somebody_else_is_refused(folder: KeyFolder) -> None:
    folder.create("acme")
    os.chown(folder.path / "acme.key", 12345, 12345)
    with pytest.raises(ConsentError) as error:
        folder.load("acme")
    assert code_of(error) == "key.exposed"
    os.chown(folder.path, 12345, 12345)
    with pytest.raises(ConsentError) as error:
        folder.create("other")
    assert code_of(error) == "key.exposed"


def test_a_link_a_fifo_or_a_folder_in_place_of_a_key_is_refused(folder: KeyFolder, tmp_path: Path) -> None:
    folder.create("acme")
    (folder.path / "acme.key").rename(folder.path / "real.key")
    (folder.path / "acme.key").symlink_to("real.key")
    os.mkfifo(folder.path / "pipe.key", 0o600)
    (folder.path / "dir.key").mkdir(mode=0o700)
    for name in ("acme", "pipe", "dir"):
        with pytest.raises(UsageError) as error:
            folder.load(name)
        assert code_of(error) == "key.malformed"
    link = KeyFolder(tmp_path / "link")
    link.path.symlink_to(folder.path)
    with pytest.raises(InternalError) as failure:
        link.load("real")
    assert code_of(failure) == "key.io"


def test_creating_does_not_write_through_a_dangling_link(folder: KeyFolder, tmp_path: Path) -> None:
    folder.create("other")
    (folder.path / "acme.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError) as error:
        folder.create("acme")
    assert code_of(error) == "key.exists"
    assert not (tmp_path / "elsewhere").exists()


def damage(text: str) -> dict[str, str]:
    head, body, _ = text.split("\n")
    return {
        "empty": "",
        "no body": head + "\n",
        "no final newline": text[:-1],
        "a third line": text + "x\n",
        "another version": text.replace("/1 ", "/2 "),
        "another publisher": text.replace(" acme ", " evil "),
        "another form": text.replace(" plain ", " rot13 "),
        "plain claimed encrypted": text.replace(" plain ", " argon2id "),
        "wrong key id": text.replace("sha256:", "sha256:00")[: len(text) + 2],
        "another key": f"{head}\n{base64.b64encode(bytes(32)).decode()}\n",
        "short key": f"{head}\n{base64.b64encode(bytes(31)).decode()}\n",
        "no padding": f"{head}\n{body[:-1]}\n",
        "padding bits": f"{head}\n{body[:-2]}{'B' if body[-2] != 'B' else 'C'}=\n",
        "crlf": text.replace("\n", "\r\n"),
        "not ascii": text.replace("acme", "acm\u00e9"),
        "huge": text + "x" * 5000,
    }


@pytest.mark.parametrize("case", list(damage("a\nbcd\n")))
def test_a_damaged_key_file_is_refused(folder: KeyFolder, case: str) -> None:
    folder.create("acme")
    file = folder.path / "acme.key"
    file.write_text(damage(file.read_text())[case])
    with pytest.raises(UsageError) as error:
        folder.load("acme", "passphrase")
    assert code_of(error) == "key.malformed"


def test_a_damaged_home_key_is_refused_and_not_replaced(folder: KeyFolder) -> None:
    folder.home_key()
    for data in (b"", bytes(31), bytes(33), bytes(2000)):
        (folder.path / "_home.key").write_bytes(data)
        with pytest.raises(UsageError) as error:
            folder.home_key()
        assert code_of(error) == "key.malformed"
        assert (folder.path / "_home.key").read_bytes() == data


def test_the_home_key_is_made_once_and_stays(folder: KeyFolder) -> None:
    first = folder.home_key()
    assert (folder.path / "_home.key").stat().st_size == 32
    assert stat.S_IMODE((folder.path / "_home.key").stat().st_mode) == 0o600
    assert KeyFolder(folder.path).home_key().derive("x") == first.derive("x")


def test_processes_that_race_for_a_home_key_all_get_the_same(folder: KeyFolder) -> None:
    script = (
        "import sys; from pathlib import Path; from mpp_exec.trust.keyfiles import KeyFolder\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()\n"
        "sys.stdout.write(KeyFolder(Path(sys.argv[1])).home_key().derive('x').hex())"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    assert len({racer.communicate(timeout=60)[0] for racer in racers}) == 1
    assert all(racer.returncode == 0 for racer in racers)
    assert names(folder) == ["_home.key"]


def test_a_home_that_does_not_exist_is_not_conjured_up(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "no" / "keys")
    for attempt in (lambda: folder.create("acme"), folder.home_key):
        with pytest.raises(InternalError) as error:
            attempt()
        assert code_of(error) == "key.io"


def test_a_write_that_stops_half_way_leaves_no_half_key(folder: KeyFolder) -> None:
    folder.create("other")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
    try:
        with pytest.raises(InternalError) as error:
            folder.create("acme")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code_of(error) == "key.io"
    assert names(folder) == ["other.key"]


@pytest.mark.parametrize("missing", [95, 21, 2])
def test_a_file_system_without_nameless_files_will_do(
    folder: KeyFolder, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    """NFS and older overlayfs refuse O_TMPFILE; what they then do is the same, under a name."""
    real = os.open

    def without(path: str, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(missing, os.strerror(missing))
        return real(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", without)
    made = folder.create("acme")
    with pytest.raises(UsageError) as error:
        folder.create("acme")
    assert code_of(error) == "key.exists"
    assert folder.load("acme").key_id == made.key_id
    assert names(folder) == ["acme.key"]
    assert stat.S_IMODE((folder.path / "acme.key").stat().st_mode) == 0o600


def test_a_key_waits_until_it_replaces_the_other(folder: KeyFolder) -> None:
    old = folder.create("acme")
    assert folder.next_id("acme") is None
    new = folder.create_next("acme", "pass")
    assert folder.next_id("acme") == new.key_id
    assert folder.load("acme").key_id == old.key_id
    with pytest.raises(UsageError) as error:
        folder.create_next("acme")
    assert code_of(error) == "key.exists"
    former = folder.promote_next("acme", old.key_id)
    assert former == folder.path / f"acme.former-{old.key_id[7:15]}.key"
    assert folder.load("acme", "pass").key_id == new.key_id
    assert folder.next_id("acme") is None
    assert folder.publishers() == ["acme"], "the former one is no publisher's"
    assert old.key_id in former.read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()} == {0o600}


def test_replacing_goes_on_where_a_crash_interrupted_it(folder: KeyFolder) -> None:
    old = folder.create("acme")
    new = folder.create_next("acme")
    os.link(folder.path / "acme.key", folder.path / f"acme.former-{old.key_id[7:15]}.key")
    folder.promote_next("acme", old.key_id)
    assert folder.load("acme").key_id == new.key_id
    assert names(folder) == [f"acme.former-{old.key_id[7:15]}.key", "acme.key"]


def test_a_waiting_key_of_another_publisher_is_none(folder: KeyFolder) -> None:
    folder.create("acme")
    folder.create("other")
    os.link(folder.path / "other.key", folder.path / "acme.next")
    with pytest.raises(UsageError) as error:
        folder.next_id("acme")
    assert code_of(error) == "key.malformed"

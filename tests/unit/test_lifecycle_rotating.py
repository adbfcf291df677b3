"""A publisher's own key is replaced whole, or the next attempt goes on where a crash ended the last one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mpp_exec.audit.entry import Kind
from mpp_exec.errors import MppError
from mpp_exec.lifecycle import publishers, rotating
from mpp_exec.lifecycle.rotating import Rotated
from mpp_exec.lifecycle.session import Session
from mpp_exec.trust import rotation
from mpp_exec.trust.keyfiles import KeyFolder
from mpp_exec.trust.keys import SigningKey
from mpp_exec.trust.publishers import Rotation, format_public_key


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session(tmp_path / "home") as opened:
        publishers.keygen(opened, "acme", None)
        yield opened


def unlock(publisher: str, load: Callable[[str, str | None], SigningKey]) -> SigningKey:
    return load(publisher, None)


def rotate(session: Session, output: Path, passphrase: str | None = None) -> Rotated:
    def new_passphrase() -> str | None:
        return passphrase

    return rotating.rotate_own(session, "acme", str(output), unlock=unlock, new_passphrase=new_passphrase)


def test_the_new_key_signs_and_the_statement_is_for_others(session: Session, tmp_path: Path) -> None:
    old = session.keys.load("acme")
    made = rotate(session, tmp_path)
    new = session.keys.load("acme")
    assert made.rotation == rotation.read(made.statement.read_bytes())
    assert (made.rotation.old_id, made.rotation.new_id) == (old.key_id, new.key_id)
    assert made.statement == tmp_path / f"acme-{new.key_id[7:15]}.rotation"
    known = publishers.required(session, "acme")
    assert (known.key_id, known.origin) == (new.key_id, "own")
    [former] = session.store.trust_view().former_keys("acme")
    assert (former.old_id, former.statement) == (old.key_id, made.statement.read_bytes())
    with Session(tmp_path / "other") as other:
        publishers.add(other, "acme", format_public_key(old.public_key))
        assert rotating.take(other, rotating.offered(other, former.statement))
        assert publishers.required(other, "acme").key_id == new.key_id


def test_the_statement_is_written_whole(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write(2) may take a part of it, on a disk that is nearly full; and the home takes no other."""
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        made = rotating._write(_any(session), b"x" * 1000, str(tmp_path / "whole"))
    assert made.read_bytes() == b"x" * 1000


def test_it_is_on_record(session: Session, tmp_path: Path) -> None:
    made = rotate(session, tmp_path)
    entry = next(session.ledger.list())
    assert entry.kind == Kind.PUBLISHER_ROTATE
    assert entry.content["detail"] == {
        "publisher": "acme",
        "key": made.rotation.new_id,
        "former": made.rotation.old_id,
        "issued": made.rotation.issued,
        "origin": "own",
    }


def _any(session: Session) -> Rotation:
    key = session.keys.load("acme").public_key
    return Rotation("acme", key, key, "2026-01-01")


class Crash(BaseException):
    """The machine is gone."""


def crash(*_: object, **__: object) -> None:
    raise Crash


POINTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the statement is written": lambda patch: patch.setattr(rotating, "_write", crash),
    "before the home takes it": lambda patch: patch.setattr(rotating, "_take", crash),
    "before the keys change places": lambda patch: patch.setattr(KeyFolder, "promote_next", crash),
    "between the two names": lambda patch: patch.setattr(os, "rename", crash),
}


@pytest.mark.parametrize("point", POINTS)
def test_the_next_attempt_goes_on_with_the_same_key(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    old = session.keys.load("acme")
    with monkeypatch.context() as patch:
        POINTS[point](patch)
        with pytest.raises(Crash):
            rotate(session, tmp_path / "first.rotation")
    assert session.keys.load("acme").key_id == old.key_id
    waiting = session.keys.next_id("acme")
    made = rotate(session, tmp_path / "second.rotation")
    assert made.rotation.new_id == waiting == session.keys.load("acme").key_id
    assert publishers.required(session, "acme").key_id == waiting
    assert session.keys.next_id("acme") is None
    assert rotation.read((tmp_path / "second.rotation").read_bytes()) == Rotation(
        "acme", made.rotation.old_key, made.rotation.new_key, made.rotation.issued
    )
    assert len(session.store.trust_view().rotations) == 1


def test_a_private_key_that_is_not_the_known_one_is_not_replaced(session: Session, tmp_path: Path) -> None:
    """Another machine of the publisher, with the key from before the rotation, signs and rotates nothing."""
    other = Session(tmp_path / "other")
    with other:
        publishers.add(other, "acme", format_public_key(session.keys.load("acme").public_key))
        other.keys.path.mkdir(mode=0o700, exist_ok=True)
        (other.keys.path / "acme.key").write_bytes((session.keys.path / "acme.key").read_bytes())
        (other.keys.path / "acme.key").chmod(0o600)
        old = other.keys.load("acme")
        rotating.require_current(other, "acme", old)
        statement = rotate(session, tmp_path).statement.read_bytes()
        rotating.take(other, rotating.offered(other, statement))
        for refused in (
            lambda: rotate(other, tmp_path / "again.rotation"),
            lambda: rotating.require_current(other, "acme", old),
        ):
            with pytest.raises(MppError) as error:
                refused()
            assert error.value.code == "key.replaced"
        assert not (tmp_path / "again.rotation").exists()
        assert other.keys.next_id("acme") is None


def test_of_two_attempts_at_once_one_makes_a_statement(session: Session, tmp_path: Path) -> None:
    """Else there were two of one key, as if somebody else had it (``rotation.fork``)."""

    def meanwhile() -> None:
        rotate(session, tmp_path / "first.rotation")

    with pytest.raises(MppError) as error:
        rotating.rotate_own(
            session, "acme", str(tmp_path / "second.rotation"), unlock=unlock, new_passphrase=meanwhile
        )
    assert error.value.code == "rotation.fork"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["first.rotation"]


def test_a_new_key_that_was_added_by_hand_meanwhile(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = session.keys.load("acme")
    with monkeypatch.context() as patch:
        patch.setattr(rotating, "_take", crash)
        with pytest.raises(Crash):
            rotate(session, tmp_path / "first.rotation")
    publishers.remove(session, "acme")
    new = session.keys.load_next("acme")
    publishers.add(session, "acme", format_public_key(new.public_key))
    made = rotate(session, tmp_path / "second.rotation")
    assert (made.rotation.old_id, made.rotation.new_id) == (old.key_id, new.key_id)
    assert session.keys.load("acme").key_id == new.key_id
    assert [each.old_id for each in session.store.trust_view().former_keys("acme")] == [old.key_id]


@pytest.mark.parametrize("point", ["before the home takes it", "before the keys change places"])
def test_it_says_of_the_new_key_whether_that_is_encrypted(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Also where the key is of an earlier attempt: a passphrase that is wished for then comes too late."""
    with monkeypatch.context() as patch:
        POINTS[point](patch)
        with pytest.raises(Crash):
            rotate(session, tmp_path / "first.rotation", "a long passphrase")

    def unlocked(publisher: str, load: Callable[[str, str | None], SigningKey]) -> SigningKey:
        return load(publisher, "a long passphrase" if load.__name__ == "load_next" else None)

    made = rotating.rotate_own(
        session, "acme", str(tmp_path / "x.rotation"), unlock=unlocked, new_passphrase=lambda: None
    )
    assert made.encrypted
    assert session.keys.load("acme", "a long passphrase").key_id == made.rotation.new_id


def test_a_new_key_without_a_passphrase_is_not_encrypted(session: Session, tmp_path: Path) -> None:
    assert not rotate(session, tmp_path).encrypted

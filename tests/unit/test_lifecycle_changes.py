"""Between looking and doing, anything can happen: what was looked at is checked again, or nothing changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command import Shell
from mpp_exec.audit.entry import Kind
from mpp_exec.consent.config import Setting
from mpp_exec.errors import ConsentError, InternalError
from mpp_exec.lifecycle import installing, publishers
from mpp_exec.lifecycle.compiling import compile_ahead
from mpp_exec.lifecycle.installing import Arrival
from mpp_exec.lifecycle.proposing import Proposal, Wishes, propose
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.archive import open_package
from mpp_exec.registry.store import Store
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import SignedManifest, UnknownPublisherError

READS = """
[permissions]
storage = "1MiB"

[permissions.filesystem]
read = ["${user_config.folder}"]

[user_config.folder]
type = "directory"
required = true
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def nothing(setting: Setting) -> bytes:
    raise AssertionError(f"{setting} was read")


def proposed(
    session: Session, package: SignedManifest, *words: str, without: tuple[str, ...] = ()
) -> Proposal:
    found = session.find(package.manifest.name)
    old = found.grant if found is not None else None
    return propose(session, package, Wishes(words, without), old, read_secret=nothing, ask=None)


@contextmanager
def arrived(session: Session, file: Path, *, trust: bool = False) -> Iterator[Arrival]:
    with open_package(file) as package:
        yield Arrival.of(session, installing.verify_file(session, package, trust=trust))


def installed(session: Session, file: Path, *words: str, without: tuple[str, ...] = ()) -> None:
    with arrived(session, file) as arrival:
        installing.install(session, arrival, proposed(session, arrival.package, *words, without=without))


def test_an_approval_that_was_withdrawn_meanwhile_is_not_carried_over(shell: Shell) -> None:
    first, second = shell.package(), shell.package(version="1.1.0")
    with Session(shell.home) as session, Session(shell.home) as other:
        installed(session, first)
        with arrived(session, second) as arrival:
            assert arrival.keeps_grant(session)
            assert installing.revoke(other, "acme/echo")
            installing.install(session, arrival, None)
        standing = session.find("acme/echo")
        assert standing is not None
        assert (standing.state, standing.installed.version) == ("not approved", "1.1.0")


def test_a_change_that_is_made_does_not_fail_for_what_is_cleared_away_behind_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: Store) -> None:
        raise InternalError("store.busy", "another process holds it", "try again")

    with Session(shell.home) as session:
        installed(session, shell.package())
        found = session.store.package("acme/echo")
        monkeypatch.setattr(Store, "installed", busy)
        compile_ahead(session, found)
        assert installing.uninstall(session, "acme/echo") == found
        monkeypatch.undo()
        assert session.store.installed() == []


def test_a_key_that_cannot_be_recorded_is_not_made(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be in nobody's list, and in the way of the next attempt."""

    def full(*_: object, **__: object) -> None:
        raise InternalError("ledger.full", "there is no room to write", "free space")

    with Session(shell.home) as session:
        before = session.keys.publishers()
        monkeypatch.setattr(session.ledger, "event", full)
        with pytest.raises(InternalError):
            publishers.keygen(session, "other", None)
        monkeypatch.undo()
        assert session.keys.publishers() == before
        made = publishers.keygen(session, "other", None)
        assert publishers.required(session, "other").key == session.keys.load("other").public_key == made.key


def test_an_approval_of_what_was_replaced_meanwhile_is_refused(shell: Shell) -> None:
    first, second = shell.package(), shell.package(version="1.1.0")
    with Session(shell.home) as session, Session(shell.home) as other:
        with arrived(session, first) as arrival:
            installing.install(session, arrival, None)
        _, package = session.verified("acme/echo")
        proposal = proposed(session, package)
        installed(other, second)
        with pytest.raises(ConsentError) as caught:
            installing.approve(session, proposal)
        assert caught.value.code == "grant.superseded"
        grant = session.store.grant("acme/echo")
        assert grant is not None
        assert grant.version == "1.1.0"


def test_a_publisher_that_was_removed_meanwhile_installs_nothing(shell: Shell) -> None:
    file = shell.package()
    with Session(shell.home) as session, Session(shell.home) as other:
        with arrived(session, file) as arrival:
            publishers.remove(other, "acme")
            with pytest.raises(UnknownPublisherError):
                installing.install(session, arrival, proposed(session, arrival.package))
        assert session.store.installed() == []


def test_what_cannot_be_recorded_does_not_happen(shell: Shell, tmp_path: Path) -> None:
    """Trust, package and grant are one transaction, and the ledger is part of it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = Shell(elsewhere).package()
    (shell.home / "ledger.db").mkdir(parents=True, mode=0o700)
    shell.home.chmod(0o700)
    with Session(shell.home) as session:
        generation = session.store.generation()
        with arrived(session, file, trust=True) as arrival, pytest.raises(InternalError):
            installing.install(session, arrival, proposed(session, arrival.package))
        with pytest.raises(InternalError):
            publishers.add(session, "new", "ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik")
        assert session.store.generation() == generation
        assert session.store.installed() == []
        assert session.store.publishers() == []
        assert not any((shell.home / "packages").iterdir())
        assert not any((shell.home / "tmp").iterdir())


def test_every_change_is_on_record_with_what_it_was(shell: Shell) -> None:
    file = shell.package(toml=READS)
    folder = shell.root / "data"
    folder.mkdir()
    with Session(shell.home) as session:
        installed(session, file, f"folder={folder}", without=("storage",))
        installing.revoke(session, "acme/echo")
        installing.uninstall(session, "acme/echo")
        publishers.remove(session, "acme")
        entries = {entry.kind: entry.content for entry in session.ledger.list()}
    assert set(entries) == {
        "genesis",
        Kind.KEYGEN,
        Kind.INSTALL,
        Kind.APPROVE,
        Kind.REVOKE,
        Kind.UNINSTALL,
        Kind.PUBLISHER_REMOVE,
    }
    detail = entries[Kind.APPROVE]["detail"]
    assert detail["granted"]["read"] == [str(folder)]
    assert detail["granted"]["storage"] == 0
    assert detail["withheld"] == ["storage"]
    assert entries[Kind.INSTALL]["detail"] == {"replaces": "", "grant": "approved"}
    assert entries[Kind.INSTALL]["package"]["name"] == "acme/echo"


@pytest.mark.parametrize(
    "word", ["filesystem.read", "filesystem.read=${user_config.folder}", "filesystem.read={}"]
)
def test_what_was_withheld_stays_withheld_when_an_update_is_approved(shell: Shell, word: str) -> None:
    """Only the difference is shown then; in whichever words it was withheld."""
    folder = shell.root / "data"
    folder.mkdir()
    first = shell.package(toml=READS)
    second = shell.package(version="2.0.0", toml=READS.replace("1MiB", "2MiB"))
    with Session(shell.home) as session:
        installed(
            session, first, f"folder={folder}", without=(word.format(folder) if "{}" in word else word,)
        )
        with arrived(session, second) as arrival:
            assert not arrival.keeps_grant(session)
            proposal = proposed(session, arrival.package)
            assert proposal.grant.permissions.read == ()
            assert proposal.grant.permissions.storage == 2 << 20
            assert any("storage: was 1MiB, now 2MiB" in line for line in proposal.text())


def test_a_new_value_for_a_folder_is_shown_in_an_update(shell: Shell) -> None:
    """The final path is what is agreed to, so a different one is part of the difference."""
    for name in ("one", "two"):
        (shell.root / name).mkdir()
    first, second = shell.package(toml=READS), shell.package(version="2.0.0", toml=READS)
    with Session(shell.home) as session:
        installed(session, first, f"folder={shell.root / 'one'}")
        with arrived(session, second) as arrival:
            text = proposed(session, arrival.package, f"folder={shell.root / 'two'}").text()
        assert f"  + it may read {shell.root / 'two'} and everything below it" in text
        assert f"  - it may no longer read {shell.root / 'one'} and everything below it" in text


def test_a_grant_that_was_edited_is_not_an_earlier_approval(shell: Shell) -> None:
    """What this home did not write allows nothing and is compared with nothing: all is shown anew."""
    first, second = shell.package(), shell.package(version="1.1.0")
    with Session(shell.home) as session:
        installed(session, first)
    connection = sqlite3.connect(shell.home / "state.db")
    connection.execute("UPDATE grants SET mac = zeroblob(32)")
    connection.commit()
    connection.close()
    with Session(shell.home) as session, arrived(session, second) as arrival:
        assert arrival.there is not None
        assert arrival.there.state == "unreadable"
        assert not arrival.keeps_grant(session)
        assert proposed(session, arrival.package).text()[0] == "package acme/echo 1.1.0"


def test_a_list_reads_whom_the_home_trusts_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is installed: it is all that was ever seen."""
    files = [shell.package(name) for name in ("acme/one", "acme/two", "acme/three")]
    with Session(shell.home) as session:
        for file in files:
            installed(session, file)
        read = []
        view = Store.trust_view

        def counted(store: Store) -> TrustView:
            read.append(store)
            return view(store)

        monkeypatch.setattr(Store, "trust_view", counted)
        assert [each.state for each in session.standings()] == ["approved"] * 3
        assert len(read) == 1

"""What somebody does with a rotation statement, or with a former key: refused, and nothing has changed.

Each attack succeeds where the check that it names is not made.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import forge
from eventually import until
from mpp_exec.calls.result import ToolResult
from mpp_exec.consent.config import check_settings
from mpp_exec.errors import MppError
from mpp_exec.lifecycle import installing, publishers, rotating
from mpp_exec.lifecycle.installing import Arrival
from mpp_exec.lifecycle.proposing import Wishes, propose
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.archive import open_package
from mpp_exec.package.manifest import ConfigField
from mpp_exec.permissions import Permissions
from mpp_exec.registry.records import Installed, Revocation
from mpp_exec.trust import rotation
from mpp_exec.trust.installed import verify_installed
from mpp_exec.trust.keys import SigningKey
from mpp_exec.trust.publishers import format_public_key
from sandbox_lab import bounded
from stage import Stage
from store_samples import grant_of

A, B, C, D = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3, 4))
DAY = date(2026, 6, 1)
NAME = "acme/echo"
SECRET = (ConfigField("token", "string", sensitive=True, required=True),)


@dataclass
class House:
    """A home that knows acme by key A, with what A signed installed and approved."""

    session: Session
    folder: Path

    def package(self, key: SigningKey, version: str, **changes: Any) -> Path:
        manifest = forge.manifest("python", publisher_key=key.public_key, version=version, **changes)
        path = self.folder / f"{key.key_id[7:15]}-{version}.mpp"
        path.write_bytes(forge.pack(forge.raw_members(forge.sign(manifest, key), forge.PYTHON_FILES)))
        return path

    @contextmanager
    def arrived(self, path: Path, **options: Any) -> Iterator[Arrival]:
        with open_package(path) as package:
            yield Arrival.of(self.session, installing.verify_file(self.session, package, **options))

    def install(self, key: SigningKey, version: str, **options: Any) -> Installed:
        with self.arrived(self.package(key, version), **options) as arrival:
            return installing.install(self.session, arrival, None)

    def take(self, old: SigningKey, new: SigningKey, publisher: str = "acme") -> bool:
        statement = rotation.sign(publisher, old, new, DAY)
        return rotating.take(self.session, rotating.offered(self.session, statement))

    def add(self, key: SigningKey) -> bool:
        """Have *key* typed in as that of acme, whatever was known."""
        if self.session.store.publishers():
            publishers.remove(self.session, "acme")
        return publishers.add(self.session, "acme", format_public_key(key.public_key))[1]

    def revoke(self, key: SigningKey) -> list[Installed]:
        return publishers.revoke(self.session, publishers.Revoking("key", key.key_id))[1]

    def runs(self) -> bool:
        """Whether what is installed is verified before a call, and approved."""
        try:
            self.session.verified(NAME)
            self.session.store.approved(NAME)
        except MppError:
            return False
        return True

    def state(self) -> list[str]:
        connection = sqlite3.connect(self.session.home.state)
        try:
            return list(connection.iterdump())
        finally:
            connection.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Session(tmp_path / "home", clock=lambda: forge.NOW) as session:
        made = House(session, tmp_path)
        publishers.add(session, "acme", format_public_key(A.public_key))
        installed = made.install(A, "1.0.0")
        session.store.approve(grant_of(installed, publisher_key=A.public_key))
        yield made


def refused(house: House, attempt: Callable[[], object]) -> str:
    before = house.state()
    with pytest.raises(MppError) as error:
        attempt()
    assert error.value.hint
    assert house.state() == before
    return error.value.code


# Statements


@dataclass(frozen=True)
class Statement:
    """*attack* on a home where *before* happened: *old* says that *new* follows."""

    attack: str
    code: str
    old: SigningKey
    new: SigningKey
    before: Callable[[House], object] = lambda _: None
    publisher: str = "acme"


STATEMENTS = [
    Statement("a stranger's keys in the publisher's name", "rotation.key_mismatch", C, D),
    Statement(
        "another publisher's key in this one's name",
        "rotation.key_mismatch",
        C,
        D,
        lambda house: publishers.add(house.session, "evil", format_public_key(C.public_key)),
    ),
    Statement("the name of one that nobody knows", "rotation.unknown_publisher", A, B, publisher="other"),
    Statement("a second successor", "rotation.fork", A, C, lambda house: house.take(A, B)),
    Statement(
        "a second successor, later in the line",
        "rotation.fork",
        A,
        D,
        lambda house: (house.take(A, B), house.take(B, C)),
    ),
    Statement("back to the former key", "rotation.former_key", B, A, lambda house: house.take(A, B)),
    Statement(
        "back to the first key of a line",
        "rotation.former_key",
        C,
        A,
        lambda house: (house.take(A, B), house.take(B, C)),
    ),
    Statement(
        "back to the oldest former key, where the known one was added",
        "rotation.former_key",
        C,
        B,
        lambda house: (house.add(C), house.take(B, C)),
    ),
    Statement(
        "a second one before a former key",
        "rotation.fork",
        D,
        B,
        lambda house: (house.add(C), house.take(B, C), house.take(A, B)),
    ),
    Statement(
        "a key that was added in the place of one that was not revoked",
        "rotation.fork",
        A,
        C,
        lambda house: (house.take(A, B), house.add(C)),
    ),
    Statement("out of its turn", "rotation.key_mismatch", B, C),
    Statement(
        "to the key of another publisher",
        "rotation.key_in_use",
        A,
        C,
        lambda house: publishers.add(house.session, "evil", format_public_key(C.public_key)),
    ),
    Statement("to a revoked key", "rotation.revoked_key", A, B, lambda house: house.revoke(B)),
    Statement("by a revoked key", "rotation.revoked_key", A, B, lambda house: house.revoke(A)),
    Statement(
        "by a former key that was revoked",
        "rotation.revoked_key",
        A,
        B,
        lambda house: (house.take(A, B), house.revoke(A)),
    ),
    Statement(
        "again, after the publisher was removed",
        "rotation.unknown_publisher",
        A,
        B,
        lambda house: (house.take(A, B), publishers.remove(house.session, "acme")),
    ),
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: each.attack)
def test_attack_with_a_statement(house: House, statement: Statement) -> None:
    statement.before(house)
    assert refused(house, lambda: house.take(statement.old, statement.new, statement.publisher)) == (
        statement.code
    )


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: each.attack)
def test_attack_with_a_statement_that_was_in_order_when_it_was_shown(
    house: House, statement: Statement
) -> None:
    """What a person agreed to is checked again in the transaction that makes it so."""
    what = rotation.read(rotation.sign(statement.publisher, statement.old, statement.new, DAY))
    statement.before(house)
    offer = rotating.Offer(what, b"", "follows", what.new_key, packages=[])
    assert refused(house, lambda: rotating.take(house.session, offer)) == statement.code


def test_replayed_statements_change_nothing(house: House) -> None:
    assert house.take(A, B)
    assert house.take(B, C)
    before = house.state()
    assert not house.take(A, B)
    assert not house.take(B, C)
    assert house.state() == before
    assert house.session.store.publishers()[0].key == C.public_key


def test_what_was_agreed_to_is_what_is_done(house: House) -> None:
    """Shown as one that only takes away, it is not taken as one that replaces the key."""
    what = rotation.read(rotation.sign("acme", A, B, DAY))
    offer = rotating.Offer(what, b"", "bars", C.public_key, packages=[])
    assert refused(house, lambda: rotating.take(house.session, offer)) == "rotation.changed"


def test_a_key_that_policy_does_not_list_is_not_taken(house: House) -> None:
    policy = house.session.home.path / "policy.toml"
    policy.write_text(f'[publishers]\nallow = ["{A.key_id}"]\n', encoding="utf-8")
    policy.chmod(0o600)
    assert refused(house, lambda: house.take(A, B)) == "policy.publisher"


def test_a_row_that_says_neither_is_none(house: House) -> None:
    house.take(A, B)
    connection = sqlite3.connect(house.session.home.state)
    with connection:
        connection.execute("UPDATE rotations SET speaks = 2")
    connection.close()
    assert refused(house, house.session.store.trust_view) == "store.corrupt"


# What a former key signs


def test_a_former_key_signs_nothing_that_arrives(house: House) -> None:
    there, newer = house.package(A, "1.0.0"), house.package(A, "2.0.0")
    house.take(A, B)
    for path in (there, newer):
        for options in ({}, {"downgrade": True}, {"trust": True}, {"trust": A.key_id}):

            def arrive(path: Path = path, options: dict[str, Any] = options) -> None:
                with house.arrived(path, **options):
                    pass

            assert refused(house, arrive) == "trust.former_key"


def test_nor_after_the_publisher_was_removed(house: House) -> None:
    """Neither on first use, nor typed in, nor, with the publisher known by a third key, at all."""
    house.take(A, B)
    publishers.remove(house.session, "acme")

    def arrive() -> None:
        with house.arrived(house.package(A, "2.0.0"), trust=A.key_id):
            pass

    assert refused(house, arrive) == "trust.former_key"
    typed = format_public_key(A.public_key)
    assert refused(house, lambda: publishers.add(house.session, "acme", typed)) == "publisher.key_former"
    publishers.add(house.session, "acme", format_public_key(D.public_key))
    assert refused(house, arrive) == "trust.former_key"
    assert not house.runs(), "D did not follow A"


def test_nor_where_the_new_key_was_added_before_the_statement_came(house: House) -> None:
    """What is said of a key that is trusted already counts as well: which is former, and what was seen."""
    publishers.remove(house.session, "acme")
    publishers.add(house.session, "acme", format_public_key(B.public_key))
    assert house.take(A, B)
    assert not house.take(A, B)
    assert house.runs()
    assert refused(house, lambda: house.install(B, "0.9.0")) == "trust.rollback"
    publishers.remove(house.session, "acme")
    assert refused(house, lambda: house.install(A, "2.0.0", trust=True)) == "trust.former_key"
    assert refused(house, lambda: publishers.add(house.session, "acme", format_public_key(A.public_key))) == (
        "publisher.key_former"
    )


def arrives(house: House, key: SigningKey, version: str, **options: Any) -> Callable[[], None]:
    def arrive() -> None:
        with house.arrived(house.package(key, version), **options):
            pass

    return arrive


def test_nor_where_a_later_key_was_added_and_the_line_is_told_backwards(house: House) -> None:
    house.add(C)
    assert house.take(B, C)
    assert house.take(A, B)
    assert not house.take(A, B)
    assert house.session.store.publishers()[0].key == C.public_key
    assert refused(house, arrives(house, A, "2.0.0")) == "trust.former_key"
    assert refused(house, arrives(house, C, "0.9.0")) == "trust.rollback"
    publishers.remove(house.session, "acme")
    assert refused(house, arrives(house, A, "2.0.0", trust=A.key_id)) == "trust.former_key"
    assert refused(house, arrives(house, C, "0.9.0", trust=C.key_id)) == "trust.rollback"
    assert refused(house, lambda: house.add(A)) == "publisher.key_former"


def test_a_former_key_that_leaked_brings_nothing_back(house: House) -> None:
    """Its holder, who once was taken for the publisher here, has a key of theirs go before it."""
    house.add(C)
    assert house.take(B, C)
    assert not house.runs()
    assert house.take(A, B)
    assert not house.runs()
    assert house.session.store.trust_view().distrust(A.key_id, NAME, house.session.store.package(NAME).digest)
    with house.arrived(house.package(C, "2.0.0")) as arrival:
        code = refused(house, lambda: installing.install(house.session, arrival, None))
    assert code == "store.other_key"


def test_the_versions_of_a_stolen_key_count_for_the_real_one_and_the_thief_s_do_not(house: House) -> None:
    """A thief's successor was taken, then revoked, and the real one added: its statement gives the floor."""
    house.install(A, "1.5.0")
    house.take(A, D)
    house.install(D, "9.0.0")
    house.revoke(D)
    house.add(C)
    arrives(house, C, "1.4.0")()  # a key that was typed in begins with no versions
    assert house.take(A, C)
    assert refused(house, arrives(house, C, "1.4.0")) == "trust.rollback"
    assert refused(house, arrives(house, C, "1.5.0")) == "trust.version_conflict"
    arrives(house, C, "1.5.1")()
    assert not house.runs()
    publishers.remove(house.session, "acme")
    assert refused(house, arrives(house, C, "1.4.0", trust=C.key_id)) == "trust.rollback"
    assert refused(house, arrives(house, A, "2.0.0", trust=A.key_id)) == "trust.former_key"
    house.add(C)
    publishers.lift(house.session, publishers.Revoking("key", D.key_id))
    assert refused(house, lambda: house.take(A, D)) == "rotation.fork"


def test_nor_does_what_a_stolen_key_signed_run_under_the_real_one(house: House) -> None:
    house.take(A, D)
    assert house.runs()
    house.revoke(D)
    house.add(C)
    assert house.take(A, C)
    assert not house.runs()


def test_a_package_that_was_verified_just_before_is_not_installed(house: House) -> None:
    with house.arrived(house.package(A, "2.0.0")) as arrival:
        house.take(A, B)
        code = refused(house, lambda: installing.install(house.session, arrival, None))
    assert code == "trust.former_key"


def test_a_former_key_speaks_for_nothing_that_was_not_seen_of_it(house: House) -> None:
    """Whoever could put a package of the former key into the home's place for it gets no further."""
    house.take(A, B)
    assert house.runs()
    store = house.session.store
    unseen = replace(store.trust_view(), seen={})
    installed = store.package(NAME)
    with store.leased(installed) as folder, pytest.raises(MppError) as error:
        verify_installed(folder, installed.digest, unseen, now=forge.NOW, platform=forge.PLATFORM)
    assert error.value.code == "trust.former_key"


# Versions, grants, secrets


@pytest.mark.parametrize("removed", [False, True], ids=["known", "removed and trusted again"])
def test_the_highest_version_seen_is_that_of_the_whole_line(house: House, removed: bool) -> None:
    house.install(A, "1.5.0")
    house.take(A, B)
    house.take(B, C)
    if removed:
        publishers.remove(house.session, "acme")
    for version, code in (("1.4.0", "trust.rollback"), ("1.5.0", "trust.version_conflict")):

        def arrive(version: str = version) -> None:
            with house.arrived(house.package(C, version), trust=removed):
                pass

        assert refused(house, arrive) == code
    with house.arrived(house.package(C, "1.4.0"), downgrade=True, trust=removed) as arrival:
        assert arrival.downgrade, "it goes on record as that"


def test_an_update_by_the_new_key_keeps_no_grant(house: House) -> None:
    house.take(A, B)
    with house.arrived(house.package(B, "1.0.1")) as arrival:
        assert not arrival.keeps_grant(house.session)
        installing.install(house.session, arrival, None)
    standing = house.session.find(NAME)
    assert standing is not None
    assert standing.state == "outdated"


def test_an_update_by_a_key_that_did_not_follow_is_no_update(house: House) -> None:
    house.take(A, B)
    publishers.remove(house.session, "acme")
    publishers.add(house.session, "acme", format_public_key(D.public_key))
    with house.arrived(house.package(D, "3.0.0")) as arrival:
        code = refused(house, lambda: installing.install(house.session, arrival, None))
    assert code == "store.other_key"


def test_a_secret_is_not_handed_to_the_new_key(house: House) -> None:
    with house.arrived(house.package(A, "2.0.0", user_config=SECRET)) as arrival:
        installed = installing.install(house.session, arrival, None)
    settings = check_settings(SECRET, {}, {"token": "hunter2"})
    changes = {"user_config": SECRET, "publisher_key": A.public_key}
    house.session.store.approve(grant_of(installed, settings, **changes), settings.secrets)
    house.take(A, B)
    with house.arrived(house.package(B, "2.0.1", user_config=SECRET)) as arrival:

        def approve() -> None:
            propose(house.session, arrival.package, Wishes(), arrival.old, read_secret=never, ask=None)

        assert refused(house, approve) == "config.missing"


def never(*_: object) -> bytes:
    raise AssertionError


# Revocation


def test_revoking_a_former_key_stops_what_it_signed_and_nothing_else(house: House) -> None:
    house.take(A, B)
    assert house.runs()
    revoking = publishers.Revoking.of(house.session, A.key_id, package=False)
    assert (revoking.publisher, revoking.former) == ("acme", True)
    _, stopped = publishers.revoke(house.session, revoking)
    assert [each.name for each in stopped] == [NAME]
    assert not house.runs()
    assert house.session.store.publishers()[0].key == B.public_key
    with house.arrived(house.package(B, "2.0.0")):
        pass


def test_revoking_the_publisher_stops_what_former_keys_signed(house: House) -> None:
    house.take(A, B)
    _, stopped = publishers.revoke(
        house.session, publishers.Revoking.of(house.session, "acme", package=False)
    )
    assert [each.name for each in stopped] == [NAME]
    assert not house.runs()


# While calls run

SLOW = """
import time
def run(folder):
    open(folder + "/made", "w").close()
    time.sleep(40)
"""


def test_a_call_goes_on_under_a_new_key_and_ends_when_the_former_one_is_revoked(
    tmp_path: Path, ground: Path
) -> None:
    """What was agreed to stands after the one, and falls with the other."""
    with Stage(tmp_path) as stage:
        stage.python(
            SLOW,
            permissions=Permissions(write=(str(ground),)),
            tool={"operation": "write"},
            limits=bounded(wall_ms=50_000),
        )
        found: list[ToolResult] = []
        store = stage.runtime.store
        caller = threading.Thread(
            target=lambda: found.append(stage.runtime.call(NAME, "run", {"folder": str(ground)}))
        )
        caller.start()
        until((ground / "made").exists)
        what = rotation.read(rotation.sign("acme", A, B, DAY))
        assert store.rotate_publisher(what, b"", datetime.now(UTC))
        with stage.runtime.preparer.prepared(NAME, "run"):  # and so does the next one
            pass
        assert caller.is_alive()
        store.add_revocation(Revocation("key", A.key_id, datetime.now(UTC)))
        caller.join(60)
        assert found[0].outcome == "killed", found
        with pytest.raises(MppError) as error:
            stage.runtime.call(NAME, "run", {"folder": str(ground)})
        assert error.value.code == "trust.revoked_key"

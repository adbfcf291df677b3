"""Rows that this home did not write are refused: edited, copied, moved or forged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import forge
from mpp_exec.consent.config import check_settings
from mpp_exec.consent.grant import Grant
from mpp_exec.errors import MppError
from mpp_exec.package.manifest import ConfigField
from mpp_exec.permissions import Permissions
from mpp_exec.registry.store import Store
from mpp_exec.trust.publishers import Publisher
from store_samples import NOW, grant_of, install, open_store

NAME = "acme/echo"
FIELDS = (ConfigField("token", "string", sensitive=True), ConfigField("other", "string", sensitive=True))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path, packages: Path) -> Iterator[Store]:
    """A home with one approved package that has two secrets."""
    with open_store(tmp_path / "home") as opened:
        approve(opened, packages)
        yield opened


def approve(store: Store, packages: Path, **changes: Any) -> None:
    installed = install(store, packages, user_config=FIELDS, **changes)
    settings = check_settings(FIELDS, {}, {"token": "hunter2", "other": "second"})
    store.approve(grant_of(installed, settings, user_config=FIELDS, **changes), settings.secrets)


def edit(store: Store, statement: str, *values: Any) -> None:
    """Change the database behind the store's back."""
    connection = sqlite3.connect(store.home.state)
    with connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def query(store: Store, statement: str) -> list[Any]:
    connection = sqlite3.connect(store.home.state)
    rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def refused(store: Store, name: str = NAME) -> str:
    with pytest.raises(MppError) as caught:
        store.approved(name)
    assert caught.value.hint
    return caught.value.code


def widened(store: Store) -> bytes:
    """Return the body of the stored grant, changed to allow more."""
    value = Grant.decode(query(store, "SELECT body FROM grants")[0][0]).to_value()
    value["permissions"]["subprocess"] = ["sh"]
    return Grant.from_value(value).encode()


def test_edited_grant_is_refused(store: Store) -> None:
    edit(store, "UPDATE grants SET body = ?", widened(store))
    assert refused(store) == "grant.tampered"
    with pytest.raises(MppError):
        store.grant(NAME)


@pytest.mark.parametrize("mac", [b"", b"\0" * 32, "text", None])
def test_grant_with_another_mac_is_refused(store: Store, mac: Any) -> None:
    if mac is not None:
        edit(store, "UPDATE grants SET mac = ?", mac)
    else:
        edit(store, "UPDATE grants SET mac = zeroblob(32)")
    assert refused(store) == "grant.tampered"


def test_grant_row_copied_to_another_package_is_refused(store: Store, packages: Path) -> None:
    install(store, packages, name="acme/other")
    edit(store, "INSERT INTO grants SELECT 'acme/other', digest, body, mac FROM grants")
    assert refused(store, "acme/other") == "grant.tampered"


def test_grant_copied_from_another_home_is_refused(store: Store, packages: Path, tmp_path: Path) -> None:
    with open_store(tmp_path / "theirs") as theirs:
        approve(theirs, packages)
        body, mac = query(theirs, "SELECT body, mac FROM grants")[0]
    edit(store, "UPDATE grants SET body = ?, mac = ?", body, mac)
    assert refused(store) == "grant.tampered"


def test_grant_of_an_old_version_does_not_fit_the_new(store: Store, packages: Path) -> None:
    """The row as it was, put back beside a package row that was pointed at another digest."""
    other = install(store, packages, name="acme/other", permissions=Permissions(subprocess=("sh",)))
    edit(store, "DELETE FROM packages WHERE name = 'acme/other'")
    edit(store, "UPDATE packages SET digest = ? WHERE name = ?", other.digest, NAME)
    assert refused(store) == "grant.outdated"


def test_lost_home_key_means_that_nothing_is_granted(store: Store) -> None:
    store.close()
    next(path for path in store.home.keys.iterdir() if "home" in path.name).unlink()
    with open_store(store.home.path) as again:
        assert refused(again) == "grant.tampered"


def test_tampered_grant_can_be_replaced_and_withdrawn(store: Store, packages: Path) -> None:
    edit(store, "UPDATE grants SET body = ?", widened(store))
    approve(store, packages)
    assert store.approved(NAME).secrets["token"] == "hunter2"
    edit(store, "UPDATE grants SET body = ?", widened(store))
    install(store, packages, version="2.0.0", carry_over=lambda _: pytest.fail("it must not be carried over"))
    assert refused(store) == "grant.tampered"
    assert store.revoke(NAME)
    assert refused(store) == "grant.none"


# Secrets


def test_secret_moved_to_another_setting_is_refused(store: Store) -> None:
    """A tool would be handed one secret under the name of another."""
    edit(
        store,
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE key = 'other') WHERE key = 'token'",
    )
    assert refused(store) == "grant.secret_tampered"


def test_secret_moved_to_another_package_is_refused(store: Store, packages: Path) -> None:
    """A package could otherwise read the secrets of another."""
    approve(store, packages, name="acme/other")
    edit(
        store,
        """UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = ? AND key = 'token')
        WHERE name = 'acme/other' AND key = 'token'""",
        NAME,
    )
    assert refused(store, "acme/other") == "grant.secret_tampered"


@pytest.mark.parametrize("sealed", [b"", b"\0" * 100, "text", 5])
def test_secret_that_does_not_open_is_refused(store: Store, sealed: Any) -> None:
    edit(store, "UPDATE secrets SET sealed = ? WHERE key = 'token'", sealed)
    assert refused(store) == "grant.secret_tampered"


def test_every_bit_of_a_sealed_secret_counts(store: Store) -> None:
    (sealed,) = query(store, "SELECT sealed FROM secrets WHERE key = 'token'")[0]
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        edit(store, "UPDATE secrets SET sealed = ? WHERE key = 'token'", bytes(changed))
        assert refused(store) == "grant.secret_tampered"
    edit(store, "UPDATE secrets SET sealed = ? WHERE key = 'token'", sealed)
    assert store.approved(NAME).secrets["token"] == "hunter2"


def test_removed_secret_is_missed(store: Store) -> None:
    edit(store, "DELETE FROM secrets WHERE key = 'token'")
    assert refused(store) == "grant.secret_missing"


# Confirmations


def test_forged_confirmation_does_not_count(store: Store) -> None:
    approved = store.approved(NAME)
    for mac in (b"", b"\0" * 32, "text"):
        edit(store, "INSERT OR REPLACE INTO confirmations VALUES (?, 'echo', ?)", NAME, mac)
        assert not store.is_confirmed(approved, "echo")


def test_confirmation_of_one_tool_is_none_of_another(store: Store) -> None:
    approved = store.approved(NAME)
    store.remember_confirmation(approved, "echo")
    edit(store, "UPDATE confirmations SET tool = 'wipe'")
    assert not store.is_confirmed(approved, "wipe")


# Rows that become paths


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../../../etc", "../../../../etc", "sha256:" + "AB" * 32, "", 5, b"sha256:" + b"ab" * 32],
)
def test_digest_that_is_none_never_becomes_a_path(store: Store, digest: Any) -> None:
    edit(store, "UPDATE packages SET digest = ?", digest)
    for ask in (store.installed, lambda: store.package(NAME), lambda: store.uninstall(NAME), store.repair):
        with pytest.raises(MppError) as caught:
            ask()
        assert caught.value.code == "store.corrupt"


@pytest.mark.parametrize("name", ["../../x", "acme", "acme/../../x", "ACME/x", 5])
def test_name_that_is_none_never_becomes_a_path(store: Store, name: Any, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    edit(store, "UPDATE packages SET name = ?", name)
    for ask in (store.installed, store.repair):
        with pytest.raises(MppError) as caught:
            ask()
        assert caught.value.code == "store.corrupt"
    assert (tmp_path / "x").exists()


def test_forged_fingerprint_does_not_count(store: Store) -> None:
    """With it, changed files would pass for checked ones."""
    edit(store, "UPDATE packages SET fingerprint = 'sha256:forged'")
    assert store.package(NAME).fingerprint is None
    edit(store, "UPDATE packages SET fingerprint = 5, fingerprint_mac = zeroblob(32)")
    assert store.package(NAME).fingerprint is None


def test_fingerprint_of_another_package_does_not_count(store: Store, packages: Path) -> None:
    install(store, packages, name="acme/other")
    edit(
        store,
        """UPDATE packages SET (fingerprint, fingerprint_mac) =
        (SELECT fingerprint, fingerprint_mac FROM packages WHERE name = 'acme/other') WHERE name = ?""",
        NAME,
    )
    assert store.package(NAME).fingerprint is None


@pytest.mark.parametrize(
    ("column", "value"), [("key", b"short"), ("key", "text"), ("origin", "mine"), ("added_at", "x")]
)
def test_publisher_that_makes_no_sense_is_refused(store: Store, column: str, value: Any) -> None:
    edit(store, f"UPDATE publishers SET {column} = ?", value)
    with pytest.raises(MppError) as caught:
        store.trust_view()
    assert caught.value.code == "store.corrupt"


def test_swapped_publisher_key_does_not_reach_an_approved_package(store: Store) -> None:
    """The grant names the key: with another one pinned, the installed package verifies no more."""
    store.remove_publisher("acme")
    store.add_publisher(Publisher("acme", forge.OTHER_KEY.public_key, NOW, "added"))
    approved = store.approved(NAME)
    assert approved.grant.key_id == forge.KEY.key_id
    assert approved.view.publishers["acme"].key_id != approved.grant.key_id

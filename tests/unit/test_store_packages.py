"""Installing, updating, approving, withdrawing: each one change, and nothing in between."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import forge
from consent_samples import UNPROTECTED
from mpp_exec.consent.approve import carry_over
from mpp_exec.consent.config import check_settings
from mpp_exec.consent.grant import Grant
from mpp_exec.consent.policy import Policy
from mpp_exec.errors import MppError, PackageError
from mpp_exec.package.archive import open_package
from mpp_exec.package.manifest import ConfigField
from mpp_exec.package.unpacked import check_unpacked, fingerprint
from mpp_exec.permissions import Permissions
from mpp_exec.registry.records import Installed, Revocation, Revoked
from mpp_exec.registry.store import Store
from mpp_exec.trust.keys import SigningKey
from mpp_exec.trust.publishers import Publisher
from mpp_exec.trust.verify import verify
from store_samples import NOW, grant_of, install, open_store, signed_of, verified

NAME = "acme/echo"
MIB = 1 << 20
SECRET = (ConfigField("token", "string", sensitive=True), ConfigField("other", "string", sensitive=True))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "home") as opened:
        yield opened


def refusal(function: Any, *arguments: Any, **keywords: Any) -> MppError:
    with pytest.raises(MppError) as caught:
        function(*arguments, **keywords)
    assert caught.value.hint
    return caught.value


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def folders(store: Store) -> tuple[list[str], list[str], list[str]]:
    """Return what lies in packages/, storage/ and tmp/."""
    home = store.home
    return listed(home.packages), listed(home.storage), listed(home.tmp)


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hexes(*installed: Installed) -> list[str]:
    return sorted(each.digest.removeprefix("sha256:") for each in installed)


# Installing


def test_installed_package_is_what_was_signed(store: Store, packages: Path) -> None:
    found = install(store, packages)
    assert (found.name, found.version, found.key_id, found.installed_at) == (
        NAME,
        "1.0.0",
        forge.KEY.key_id,
        NOW,
    )
    folder = store.home.package_folder(found.digest)
    assert tree(folder) == ["files", "files/data", "files/data/words.txt", "files/echo.py", "manifest.cose"]
    descriptor = os.open(folder, os.O_RDONLY)
    check_unpacked(descriptor, forge.manifest().files)
    assert found.fingerprint == fingerprint(descriptor, forge.manifest().files)
    os.close(descriptor)
    assert folders(store) == (hexes(found), [], [])
    assert store.installed() == [found]
    assert store.package(NAME) == found


def test_contents_are_world_readable_below_a_closed_home(store: Store, packages: Path) -> None:
    old = os.umask(0o077)
    try:
        found = install(store, packages)
    finally:
        os.umask(old)
    folder = store.home.package_folder(found.digest)
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)
    assert stat.S_IMODE(store.home.path.stat().st_mode) == 0o700


def test_first_use_pins_the_publisher(store: Store, packages: Path) -> None:
    install(store, packages)
    assert store.publishers() == [Publisher("acme", forge.KEY.public_key, NOW, "first-use")]
    assert store.trust_view().seen == {
        (forge.KEY.key_id, NAME): {"1.0.0": store.package(NAME).digest},
    }


def test_update_replaces_the_version_and_its_folder(store: Store, packages: Path) -> None:
    install(store, packages)
    new = install(store, packages, version="1.1.0")
    assert store.installed() == [new]
    assert folders(store) == (hexes(new), [], [])


def test_two_packages_stand_side_by_side(store: Store, packages: Path) -> None:
    one, two = install(store, packages), install(store, packages, name="acme/other")
    assert store.installed() == [one, two]
    assert folders(store)[0] == hexes(one, two)


def test_same_package_again_replaces_its_files(store: Store, packages: Path) -> None:
    """Reinstalling mends files that were damaged."""
    first = install(store, packages)
    victim = store.home.package_folder(first.digest) / "files" / "echo.py"
    victim.write_bytes(b"damaged")
    (victim.parent / "extra").write_bytes(b"extra")
    again = install(store, packages)
    assert again.digest == first.digest
    assert victim.read_bytes() == forge.PYTHON_FILES["echo.py"]
    assert folders(store) == (hexes(first), [], [])
    assert not (victim.parent / "extra").exists()


def test_same_package_again_keeps_its_grant(store: Store, packages: Path) -> None:
    found = install(store, packages)
    store.approve(grant_of(found))
    install(store, packages)
    assert store.approved(NAME).grant == grant_of(found)


def test_publisher_removed_meanwhile_stops_the_installation(store: Store, packages: Path) -> None:
    """What was true when the package was verified is checked again in the transaction that uses it."""
    install(store, packages)
    with verified(packages, store.trust_view(), version="1.1.0") as package:
        store.remove_publisher("acme")
        before = folders(store)
        assert refusal(store.install, package, now=NOW).code == "trust.unknown_publisher"
    assert store.package(NAME).version == "1.0.0"
    assert folders(store) == before


@pytest.mark.parametrize("kind", ["key", "digest"])
def test_what_is_revoked_meanwhile_is_not_installed(store: Store, packages: Path, kind: Revoked) -> None:
    install(store, packages)
    with verified(packages, store.trust_view(), version="1.1.0") as package:
        id_ = package.key_id if kind == "key" else package.digest
        assert store.add_revocation(Revocation(kind, id_, NOW))
        before = folders(store)
        assert refusal(store.install, package, now=NOW).code == f"trust.revoked_{kind}"
    assert store.package(NAME).version == "1.0.0"
    assert folders(store) == before


def test_a_revoked_key_is_trusted_in_no_way_until_it_is_lifted(store: Store, packages: Path) -> None:
    found = install(store, packages)
    assert store.add_revocation(Revocation("key", found.key_id, NOW))
    assert not store.add_revocation(Revocation("key", found.key_id, NOW))
    assert store.publishers() == []
    key = Publisher("acme", forge.KEY.public_key, NOW, "added")
    assert refusal(store.add_publisher, key).code == "publisher.key_revoked"
    view = store.trust_view(trust_first_use=True)
    with pytest.raises(PackageError) as refused, verified(packages, view, version="1.1.0"):
        pass
    assert refused.value.code == "trust.revoked_key"
    store.add_publisher(Publisher("acme", forge.OTHER_KEY.public_key, NOW, "added"))
    assert store.remove_revocation("key", found.key_id)
    assert not store.remove_revocation("key", found.key_id)
    assert refusal(store.add_publisher, key).code == "publisher.key_changed"


def test_publisher_pinned_meanwhile_with_another_key_wins(store: Store, packages: Path) -> None:
    with verified(packages, store.trust_view(trust_first_use=True)) as package:
        store.add_publisher(Publisher("acme", forge.OTHER_KEY.public_key, NOW, "added"))
        assert refusal(store.install, package, now=NOW).code == "trust.key_mismatch"
    assert store.installed() == []
    assert folders(store) == ([], [], [])


def test_newer_version_installed_meanwhile_stops_the_older(store: Store, packages: Path) -> None:
    install(store, packages)
    with verified(packages, store.trust_view(), version="1.1.0") as package:
        newest = install(store, packages, version="2.0.0")
        assert refusal(store.install, package, now=NOW).code == "trust.rollback"
    assert store.installed() == [newest]
    assert folders(store) == (hexes(newest), [], [])


def test_downgrade_only_on_purpose(store: Store, packages: Path) -> None:
    install(store, packages, version="2.0.0")
    assert refusal(install, store, packages).code == "trust.rollback"
    assert install(store, packages, allow_downgrade=True).version == "1.0.0"
    assert refusal(install, store, packages, version="1.5.0").code == "trust.rollback"


def test_seen_versions_survive_uninstall_and_publisher_remove(store: Store, packages: Path) -> None:
    install(store, packages, version="2.0.0")
    store.uninstall(NAME)
    store.remove_publisher("acme")
    assert refusal(install, store, packages, version="1.9.0").code == "trust.rollback"
    assert (
        refusal(install, store, packages, version="2.0.0", description="Other.").code
        == "trust.version_conflict"
    )
    assert install(store, packages, version="2.0.0").version == "2.0.0"


def test_package_of_the_same_name_under_another_key_is_no_update(store: Store, packages: Path) -> None:
    """It would inherit the grant's difference view and the private folder of a stranger's package."""
    install(store, packages)
    store.remove_publisher("acme")
    path = packages / "theirs.mpp"
    manifest = forge.manifest(version="2.0.0", publisher_key=forge.OTHER_KEY.public_key)
    path.write_bytes(forge.pack(forge.raw_members(forge.sign(manifest, forge.OTHER_KEY), forge.PYTHON_FILES)))
    view = store.trust_view(trust_first_use=True)
    with open_package(path) as opened:
        package = verify(opened, view, now=NOW, platform=forge.PLATFORM)
        assert refusal(store.install, package, now=NOW).code == "store.other_key"
        store.uninstall(NAME)
        assert store.install(package, now=NOW).key_id == forge.OTHER_KEY.key_id


def test_cancelled_installation_leaves_nothing(store: Store, packages: Path) -> None:
    cancel = threading.Event()
    files = {**forge.PYTHON_FILES, "big": bytes(3_000_000)}
    with verified(packages, store.trust_view(trust_first_use=True), files=files) as package:
        error = refusal(store.install, package, now=NOW, progress=lambda *_: cancel.set(), cancel=cancel)
    assert error.code == "package.cancelled"
    assert (store.installed(), store.publishers()) == ([], [])
    assert folders(store) == ([], [], [])


def test_progress_is_reported(store: Store, packages: Path) -> None:
    seen: list[tuple[int, int]] = []
    with verified(packages, store.trust_view(trust_first_use=True)) as package:
        store.install(package, now=NOW, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]


# Uninstalling


def test_uninstall_leaves_nothing_but_the_memory_of_versions(store: Store, packages: Path) -> None:
    found = install(store, packages, user_config=SECRET)
    settings = check_settings(SECRET, {}, {"token": "hunter2"})
    store.approve(grant_of(found, settings, user_config=SECRET), settings.secrets)
    storage = store.home.storage_folder(NAME)
    storage.mkdir(parents=True)
    (storage / "notes").write_text("x")
    assert store.uninstall(NAME) == found
    assert store.installed() == []
    assert store.grant(NAME) is None
    assert folders(store) == ([], ["acme"], [])
    assert not storage.exists()
    assert store.trust_view().seen
    assert refusal(store.uninstall, NAME).code == "store.not_installed"


def test_storage_of_others_stays(store: Store, packages: Path) -> None:
    install(store, packages)
    install(store, packages, name="acme/other")
    kept = store.home.storage_folder("acme/other")
    kept.mkdir(parents=True)
    (kept / "notes").write_text("x")
    store.uninstall(NAME)
    assert (kept / "notes").read_text() == "x"


def test_new_package_does_not_find_the_storage_of_an_old_one(store: Store, packages: Path) -> None:
    """Also where a crash kept the folder from being removed."""
    left = store.home.storage_folder(NAME)
    left.mkdir(parents=True)
    (left / "secret").write_text("of another package")
    install(store, packages)
    assert not left.exists()


def test_storage_that_a_tool_closed_to_itself_is_removed(store: Store, packages: Path) -> None:
    install(store, packages)
    storage = store.home.storage_folder(NAME)
    (storage / "deep" / "er").mkdir(parents=True)
    (storage / "deep" / "er" / "file").write_text("x")
    (storage / "deep" / "er").chmod(0)
    (storage / "deep").chmod(0o100)
    storage.chmod(0)
    store.uninstall(NAME)
    assert folders(store)[2] == []
    assert not storage.exists()


def test_unknown_package_names_the_nearest(store: Store, packages: Path) -> None:
    assert refusal(store.package, NAME).hint == "there is no package here yet"
    install(store, packages)
    assert refusal(store.package, "acme/ecko").hint == "did you mean 'acme/echo'?"
    assert refusal(store.revoke, "acme/ecko").code == "store.not_installed"
    assert refusal(store.approved, "acme/\udcff").code == "store.not_installed"  # no UTF-8
    assert refusal(store.pending.find, "\udcff", NOW).code == "confirm.unknown"


# Publishers


def test_publishers_are_added_once_and_never_change_key(store: Store) -> None:
    acme = Publisher("acme", forge.KEY.public_key, NOW, "added")
    assert store.add_publisher(acme)
    assert not store.add_publisher(replace(acme, added_at=NOW + timedelta(days=1)))
    changed = Publisher("acme", forge.OTHER_KEY.public_key, NOW, "added")
    assert refusal(store.add_publisher, changed).code == "publisher.key_changed"
    assert store.publishers() == [acme]
    store.remove_publisher("acme")
    assert store.add_publisher(changed)
    assert refusal(store.remove_publisher, "acne").hint == "did you mean 'acme'?"


def test_one_key_may_speak_for_two_names(store: Store) -> None:
    for name in ("acme", "acme-labs"):
        assert store.add_publisher(Publisher(name, forge.KEY.public_key, NOW, "own"))
    assert [each.name for each in store.publishers()] == ["acme", "acme-labs"]


# Grants


def test_package_runs_only_when_approved(store: Store, packages: Path) -> None:
    found = install(store, packages)
    assert refusal(store.approved, NAME).code == "grant.none"
    store.approve(grant_of(found))
    approved = store.approved(NAME)
    assert (approved.installed, approved.grant) == (found, grant_of(found))
    assert store.revoke(NAME)
    assert not store.revoke(NAME)
    assert refusal(store.approved, NAME).code == "grant.none"


def test_update_stops_until_approved(store: Store, packages: Path) -> None:
    first = install(store, packages)
    store.approve(grant_of(first))
    second = install(store, packages, version="1.1.0")
    assert refusal(store.approved, NAME).code == "grant.outdated"
    assert store.grant(NAME) == grant_of(first), "kept to show the difference"
    store.approve(grant_of(second, version="1.1.0"))
    assert store.approved(NAME).installed == second


def test_grant_of_what_was_replaced_meanwhile_is_refused(store: Store, packages: Path) -> None:
    first = install(store, packages)
    given = grant_of(first)
    install(store, packages, version="1.1.0")
    assert refusal(store.approve, given).code == "grant.superseded"
    assert store.grant(NAME) is None


def carry(store: Store, packages: Path, old: Installed, **changes: Any) -> None:
    """Install an update the way the pipeline does, carrying the grant over where that is allowed."""

    def carrying(grant: Grant) -> Grant | None:
        signed = signed_of(replace(old, digest=digest), **changes)
        return carry_over(grant, signed, policy=Policy(), protected=UNPROTECTED)

    with verified(packages, store.trust_view(), **changes) as package:
        digest = package.digest
        store.install(package, now=NOW, carry_over=carrying)


def test_update_that_is_no_wider_keeps_its_grant(store: Store, packages: Path) -> None:
    first = install(store, packages, permissions=Permissions(storage=MIB))
    store.approve(grant_of(first, permissions=Permissions(storage=MIB)))
    carry(store, packages, first, version="1.1.0", permissions=Permissions(storage=MIB // 2))
    approved = store.approved(NAME)
    assert approved.installed.version == "1.1.0"
    assert approved.grant.permissions.storage == MIB // 2


def test_update_that_is_wider_does_not(store: Store, packages: Path) -> None:
    first = install(store, packages, permissions=Permissions(storage=MIB))
    store.approve(grant_of(first, permissions=Permissions(storage=MIB)))
    carry(store, packages, first, version="1.1.0", permissions=Permissions(storage=2 * MIB))
    assert refusal(store.approved, NAME).code == "grant.outdated"


def test_withdrawn_grant_is_not_carried_over(store: Store, packages: Path) -> None:
    first = install(store, packages)
    store.approve(grant_of(first))
    store.revoke(NAME)
    carry(store, packages, first, version="1.1.0")
    assert refusal(store.approved, NAME).code == "grant.none"


def test_carried_grant_for_another_package_is_a_fault(store: Store, packages: Path) -> None:
    first = install(store, packages)
    store.approve(grant_of(first))
    with (
        verified(packages, store.trust_view(), version="1.1.0") as package,
        pytest.raises(ValueError, match="another package"),
    ):
        store.install(package, now=NOW, carry_over=lambda grant: grant)
    assert store.approved(NAME).installed == first
    assert folders(store) == (hexes(first), [], [])


# Secrets


def with_secrets(
    store: Store, installed: Installed, values: dict[str, str], kept: tuple[str, ...] = ()
) -> None:
    settings = check_settings(SECRET, {}, values)
    grant = grant_of(installed, settings, user_config=SECRET)
    store.approve(replace(grant, secrets=tuple(sorted({*grant.secrets, *kept}))), settings.secrets)


def test_secrets_come_back_and_are_nowhere_in_the_files(store: Store, packages: Path) -> None:
    found = install(store, packages, user_config=SECRET)
    with_secrets(store, found, {"token": "hunter2-hunter2", "other": "ünïcode"})
    assert store.approved(NAME).secrets == {"token": "hunter2-hunter2", "other": "ünïcode"}
    assert "hunter2" not in repr(store.approved(NAME))
    for path in store.home.path.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


def test_kept_secret_stays_and_dropped_one_goes(store: Store, packages: Path) -> None:
    found = install(store, packages, user_config=SECRET)
    with_secrets(store, found, {"token": "one", "other": "two"})
    with_secrets(store, found, {"token": "new"}, kept=("other",))
    assert store.approved(NAME).secrets == {"token": "new", "other": "two"}
    with_secrets(store, found, {"token": "new"})
    assert store.approved(NAME).secrets == {"token": "new"}
    with pytest.raises(MppError) as caught:
        with_secrets(store, found, {}, kept=("other",))
    assert caught.value.code == "grant.secret_missing"
    assert store.approved(NAME).secrets == {"token": "new"}, "nothing changed"


def test_withdrawing_forgets_the_secrets(store: Store, packages: Path) -> None:
    found = install(store, packages, user_config=SECRET)
    with_secrets(store, found, {"token": "one"})
    store.revoke(NAME)
    with pytest.raises(MppError):
        with_secrets(store, found, {}, kept=("token",))


# Confirmations


def test_once_is_remembered_with_the_grant(store: Store, packages: Path) -> None:
    found = install(store, packages)
    store.approve(grant_of(found))
    approved = store.approved(NAME)
    assert not store.is_confirmed(approved, "echo")
    store.remember_confirmation(approved, "echo")
    assert store.is_confirmed(approved, "echo")
    assert not store.is_confirmed(approved, "other")
    assert store.is_confirmed(store.approved(NAME), "echo")


def test_once_starts_again_with_every_new_grant(store: Store, packages: Path) -> None:
    found = install(store, packages)
    store.approve(grant_of(found))
    store.remember_confirmation(store.approved(NAME), "echo")
    store.approve(grant_of(found))
    assert not store.is_confirmed(store.approved(NAME), "echo")
    store.remember_confirmation(store.approved(NAME), "echo")
    carry(store, packages, found, version="1.1.0")
    assert not store.is_confirmed(store.approved(NAME), "echo")


def test_confirmation_under_a_withdrawn_grant_does_not_count_for_the_next(
    store: Store, packages: Path
) -> None:
    """A call that waited for its answer while the grant was replaced."""
    found = install(store, packages)
    store.approve(grant_of(found))
    waiting = store.approved(NAME)
    store.approve(replace(grant_of(found), approved_at=NOW + timedelta(seconds=1)))
    store.remember_confirmation(waiting, "echo")
    assert not store.is_confirmed(store.approved(NAME), "echo")


# Generation


def test_every_change_that_matters_is_noticed(store: Store, packages: Path) -> None:
    numbers = [store.generation()]

    def step() -> None:
        numbers.append(store.generation())

    found = install(store, packages)
    step()
    store.approve(grant_of(found))
    step()
    store.revoke(NAME)
    step()
    store.add_publisher(Publisher("other", SigningKey(b"\3" * 32).public_key, NOW, "added"))
    step()
    store.remove_publisher("other")
    step()
    store.uninstall(NAME)
    step()
    assert numbers == sorted(set(numbers))
    install(store, packages)
    before = store.generation()
    store.note_fingerprint(store.package(NAME), "sha256:other")
    store.repair()
    assert store.generation() == before


def test_another_process_is_noticed(store: Store, tmp_path: Path, packages: Path) -> None:
    found = install(store, packages)
    store.approve(grant_of(found))
    approved = store.approved(NAME)
    assert approved.generation == store.generation()
    with open_store(tmp_path / "home") as other:
        other.revoke(NAME)
    assert approved.generation != store.generation()


def test_homes_do_not_see_one_another(store: Store, tmp_path: Path, packages: Path) -> None:
    found = install(store, packages)
    store.approve(grant_of(found))
    with open_store(tmp_path / "second") as other:
        assert (other.installed(), other.publishers()) == ([], [])
        assert other.grant(NAME) is None


# Leases


def test_leased_package_stays_until_the_call_is_over(store: Store, packages: Path) -> None:
    found = install(store, packages)
    with store.leased(found) as folder:
        install(store, packages, version="1.1.0")
        assert listed(Path(f"/proc/self/fd/{folder}")) == ["files", "manifest.cose"]
        descriptor = os.open("files/echo.py", os.O_RDONLY, dir_fd=folder)
        assert os.read(descriptor, 100) == forge.PYTHON_FILES["echo.py"]
        os.close(descriptor)
        assert len(folders(store)[2]) == 1
    store.repair()
    assert folders(store)[2] == []
    assert refusal(store.leased(found).__enter__).code == "store.package_gone"


def test_lease_can_be_shared(store: Store, packages: Path) -> None:
    found = install(store, packages)
    with store.leased(found), store.leased(found):
        store.uninstall(NAME)
    store.repair()
    assert folders(store)[2] == []


def test_fingerprint_is_remembered(store: Store, packages: Path) -> None:
    found = install(store, packages)
    store.note_fingerprint(found, "sha256:other")
    assert store.package(NAME).fingerprint == "sha256:other"
    assert install(store, packages).fingerprint not in (None, "sha256:other")

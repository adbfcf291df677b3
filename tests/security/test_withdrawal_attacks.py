"""What was taken away while a call waited for its person, or ran, is not given to it all the same.

A model can leave a call waiting for its confirmation as long as it likes. Each attack succeeds where the
runtime does not ask again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mpp_exec.calls import verifier, withdraw
from mpp_exec.calls.prepare import Preparer
from mpp_exec.calls.prepared import Prepared, Temporary
from mpp_exec.calls.result import ToolResult
from mpp_exec.calls.verifier import Verifier
from mpp_exec.calls.withdraw import Cancellation, RunningCall, Watchdog
from mpp_exec.consent.config import check_settings
from mpp_exec.consent.confirm import ConfirmationRequest
from mpp_exec.errors import ConsentError, InternalError, MppError
from mpp_exec.package.manifest import ConfigField
from mpp_exec.permissions import Permissions
from mpp_exec.registry.records import Revocation, Revoked
from mpp_exec.registry.store import Approved
from mpp_exec.trust.installed import InstalledPackage, check_trusted, verify_installed
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import SignedManifest
from sandbox_lab import bounded, descendants
from stage import NAME, Stage

FIELDS = (ConfigField("where", "string"),)
WRITER = """
import time
def run(folder, times):
    for number in range(times):
        with open(folder + "/made", "a") as file: file.write(str(number))
        if number: time.sleep(0.05)
    return 1
"""


class Withdrawing:
    """A stage whose person does *meanwhile* before saying yes."""

    def __init__(self, folder: Path, granted: Path) -> None:
        self.granted = granted
        self.meanwhile: Callable[[Withdrawing], object] = lambda _: None
        self.stage = Stage(folder, confirm=self._person)
        self.signed: SignedManifest | None = None

    def _person(self, _request: ConfirmationRequest) -> bool:
        self.meanwhile(self)
        return True

    def install(self, confirm: str) -> None:
        tool = {"operation": "destructive", "confirm": confirm}
        self.stage.python(
            WRITER,
            permissions=Permissions(write=(str(self.granted),)),
            tool=tool,
            limits=bounded(wall_ms=50_000),
            user_config=FIELDS,
            settings=check_settings(FIELDS, {"where": "here"}),
        )
        with self.stage.runtime.preparer.prepared(NAME, "run") as prepared:
            manifest, approved = prepared.manifest, prepared.approved
        self.signed = SignedManifest(manifest, approved.grant.digest, approved.grant.key_id, first_use=False)

    def approve(self, where: str = "here", **keywords: object) -> None:
        assert self.signed is not None
        settings = check_settings(FIELDS, {"where": where})
        self.stage.approve(self.signed, settings=settings, **keywords)  # type: ignore[arg-type]

    def revoke(self, kind: Revoked) -> None:
        store = self.stage.runtime.store
        installed = store.package(NAME)
        id_ = installed.key_id if kind == "key" else installed.digest
        assert store.add_revocation(Revocation(kind, id_, datetime.now(UTC)))

    def call(self, times: int = 1) -> ToolResult:
        return self.stage.runtime.call(NAME, "run", {"folder": str(self.granted), "times": times})


@pytest.fixture
def home(tmp_path: Path, ground: Path) -> Iterator[Withdrawing]:
    made = Withdrawing(tmp_path, ground)
    with made.stage:
        yield made


def policy(text: str) -> Callable[[Withdrawing], object]:
    return lambda home: home.stage.system_policy.write_text(text, encoding="utf-8")


TAKEN: dict[str, Callable[[Withdrawing], object]] = {
    "the grant": lambda home: home.stage.runtime.store.revoke(NAME),
    "a permission": lambda home: home.approve(without=["filesystem.write"]),
    "a setting": lambda home: home.approve(where="there"),
    "a choice of redaction": lambda home: home.approve(redaction={"email": "drop"}),
    "the publisher": lambda home: home.stage.runtime.store.remove_publisher("acme"),
    "the publisher's key, for good": lambda home: home.revoke("key"),
    "this package, for good": lambda home: home.revoke("digest"),
    "the package": lambda home: home.stage.runtime.store.uninstall(NAME),
    "by policy, a permission": policy("[permissions.filesystem]\nwrite = []\n"),
    "by policy, the publisher": policy('[publishers]\ndeny = ["acme"]\n'),
    "by policy, time": policy('[limits]\nwall = "1s"\n'),
    "by a policy that nobody can read": policy("not toml ["),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_call_does_not_begin_with_what_was_taken_away_while_it_was_asked_about(
    home: Withdrawing, name: str
) -> None:
    home.install("always")
    home.meanwhile = TAKEN[name]
    with pytest.raises(ConsentError):
        home.call()
    kinds = [entry.kind for entry in home.stage.runtime.ledger.list()]
    assert "start" not in kinds
    assert ("refused" in kinds) == (name != "the package")
    assert not (home.granted / "made").exists()


@pytest.mark.parametrize("name", [name for name in TAKEN if name != "the package" and "read" not in name])
def test_it_would_begin_if_nobody_asked_again(
    home: Withdrawing, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half of the test above: the attack is one."""
    home.install("always")
    home.meanwhile = TAKEN[name]
    monkeypatch.setattr(Preparer, "lost", lambda *_: "")
    monkeypatch.setattr(Preparer, "withdrawn", lambda *_: "")  # asked of a call that takes longer
    assert home.call().outcome == "ok"
    assert (home.granted / "made").exists()


@pytest.mark.parametrize("name", TAKEN)
def test_a_running_call_ends_when_something_it_runs_with_is_taken_away(home: Withdrawing, name: str) -> None:
    home.install("always")
    found: list[ToolResult] = []
    caller = threading.Thread(target=lambda: found.append(home.call(800)))
    caller.start()
    end = time.monotonic() + 60
    while not (home.granted / "made").exists() and time.monotonic() < end:
        threading.Event().wait(0.01)
    TAKEN[name](home)
    caller.join(60)
    assert found[0].outcome == "killed", found
    assert "may run" in found[0].reason or "may not run any more" in found[0].reason


GOES_ON = ("the grant", "by policy, a permission")


@pytest.mark.parametrize("name", GOES_ON)
def test_it_would_go_on_if_nobody_asked_again(
    home: Withdrawing, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half of the test above."""
    home.install("always")
    monkeypatch.setattr(Preparer, "lost", lambda *_: "")
    monkeypatch.setattr(Preparer, "withdrawn", lambda *_: "")
    found: list[ToolResult] = []
    caller = threading.Thread(target=lambda: found.append(home.call(12)))
    caller.start()
    assert until((home.granted / "made").exists, 60)
    TAKEN[name](home)
    caller.join(60)
    assert found[0].outcome == "ok", found
    assert (home.granted / "made").read_text() == "01234567891011"


def test_a_call_goes_on_when_more_is_granted_or_the_same_again(home: Withdrawing, ground: Path) -> None:
    home.install("always")

    def again(home: Withdrawing) -> None:
        home.approve()
        home.stage.system_policy.write_text('[limits]\nwall = "90s"\n', encoding="utf-8")

    home.meanwhile = again
    assert home.call(8).outcome == "ok"
    assert (ground / "made").read_text() == "01234567"


def test_once_is_not_remembered_for_what_was_taken_away(home: Withdrawing) -> None:
    home.install("once")
    home.meanwhile = TAKEN["a permission"]
    with pytest.raises(ConsentError):
        home.call()
    asked: list[int] = []
    home.meanwhile = lambda _: asked.append(1)
    home.approve()
    assert home.call().outcome == "ok"
    assert asked == [1]


def test_many_calls_of_a_large_package_do_not_delay_their_own_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its files are still those takes long where there are many: it is asked once."""
    tmp_path.chmod(0o755)
    with Stage(tmp_path, sandboxes=6, parked=0) as stage:
        stage.python("import time\ndef run():\n    time.sleep(600)\n")
        preparer, asked = stage.runtime.preparer, [0]
        lost = preparer.lost

        def counted(prepared: Prepared, temporary: Temporary | None = None) -> str:
            asked[0] += 1
            return lost(prepared, temporary)

        monkeypatch.setattr(preparer, "lost", counted)
        with ThreadPoolExecutor(6) as threads:
            calls = [threads.submit(stage.runtime.call, NAME) for _ in range(6)]
            watchdog = stage.runtime._open().watchdog
            assert until(lambda: len(watchdog._calls) == 6)
            # Each tool runs, below its init: a call looks for itself when it begins to be watched.
            assert until(lambda: len(descendants(os.getpid())) >= 12)
            asked[0] = 0
            stage.system_policy.write_text('[limits]\nwall = "5h"\n', encoding="utf-8")
            assert until(lambda: asked[0] > 0)
            stage.runtime.store.revoke(NAME)  # which is told without
            assert [call.result(60).outcome for call in calls] == ["killed"] * 6
        assert asked == [1]


def test_a_large_package_is_not_verified_anew_for_what_others_lost(
    home: Withdrawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes a second for 20,000 files, and whoever was revoked could stand behind it."""
    home.install("never")
    preparer, store = home.stage.runtime.preparer, home.stage.runtime.store
    with preparer.prepared(NAME, "run") as prepared:
        pass
    monkeypatch.setattr(verifier, "verify_installed", lambda *_, **__: pytest.fail("it is verified anew"))
    other = "sha256:" + 64 * "0"
    for kind in ("digest", "key"):
        assert store.add_revocation(Revocation(kind, other, datetime.now(UTC)))
        assert preparer.lost(prepared) == ""
    store.remove_publisher("acme")
    assert "is not known here" in preparer.lost(prepared)


@pytest.mark.parametrize("changed", ["day", "platform", "file"])
def test_what_was_verified_is_verified_anew_when_it_may_be_otherwise(
    home: Withdrawing, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.install("never")
    preparer, store = home.stage.runtime.preparer, home.stage.runtime.store
    with preparer.prepared(NAME, "run") as prepared:
        pass
    asked: list[int] = []

    def counted(*given: Any, **named: Any) -> InstalledPackage:
        asked.append(1)
        return verify_installed(*given, **named)

    monkeypatch.setattr(verifier, "verify_installed", counted)
    if changed == "file":
        files = store.home.package_folder(prepared.grant.digest) / "files"
        os.utime(next(path for path in files.rglob("*") if path.is_file()))
    else:
        checked = preparer._verifier._checked[NAME]
        day, platform = checked.basis
        other = (day - timedelta(1), platform) if changed == "day" else (day, "linux-other")
        preparer._verifier._checked[NAME] = replace(checked, basis=other)
    assert preparer.lost(prepared) == ""
    assert asked == [1]


@pytest.mark.parametrize("name", ["by policy, the publisher", "this package, for good"])
@pytest.mark.parametrize("is_traced", [False, True])
def test_what_is_taken_away_while_a_call_is_prepared_is_told_by_what_it_was_prepared_under(
    home: Withdrawing, name: str, is_traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.install("never")
    home.approve(redaction={"email": "drop"})  # nothing that is kept of the call serves
    preparer, store = home.stage.runtime.preparer, home.stage.runtime.store
    temporary = Temporary(store.approved(NAME).grant, {}) if is_traced else None
    assemble = preparer._assemble

    def meanwhile(*given: Any, **named: Any) -> Prepared:
        made = assemble(*given, **named)
        TAKEN[name](home)
        return made

    monkeypatch.setattr(preparer, "_assemble", meanwhile)
    with preparer.prepared(NAME, "run", temporary) as prepared:
        now = store.generation(), home.stage.policies.load()
        assert prepared.recipe.basis != now
        assert name.startswith("by policy") or prepared.approved.generation != now[0]


@pytest.mark.parametrize("name", [name for name in TAKEN if "read" not in name])
def test_whatever_is_taken_away_is_seen_without_a_look_at_files(
    home: Withdrawing, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a package of thousands of files would keep others running for as long as its look takes."""
    home.install("never")
    preparer = home.stage.runtime.preparer
    with preparer.prepared(NAME, "run") as prepared:
        assert preparer.withdrawn(prepared) == preparer.lost(prepared) == ""
        TAKEN[name](home)
        why = preparer.lost(prepared)
        monkeypatch.setattr(Verifier, "verified", lambda *_: pytest.fail("it looked"))
        assert preparer.withdrawn(prepared) == why != ""


@pytest.mark.parametrize("name", ["the publisher", "the publisher's key, for good", "this package, for good"])
def test_whom_a_home_trusts_is_asked_once_and_again_with_every_change_of_it(
    home: Withdrawing, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.install("never")
    runtime = home.stage.runtime
    asked: list[TrustView] = []

    def counted(package: InstalledPackage, view: TrustView) -> None:
        asked.append(view)
        check_trusted(package, view)

    def verify(approved: Approved) -> None:
        with runtime.store.leased(approved.installed) as folder:
            runtime._open().verifier.verified(approved.installed, folder, approved.view)

    monkeypatch.setattr(verifier, "check_trusted", counted)
    approved = runtime.store.approved(NAME)
    for _ in range(3):
        verify(approved)
    assert asked == [approved.view]
    home.approve()  # a change that takes nothing
    other = runtime.store.approved(NAME)
    for _ in range(3):
        verify(other)
    assert asked == [approved.view, other.view]
    TAKEN[name](home)
    taken = replace(other, view=runtime.store.trust_view())
    for _ in range(3):
        with pytest.raises(MppError, match=r"revoked|unknown|not known|not trusted"):
            verify(taken)
    assert asked == [approved.view, other.view, *[taken.view] * 3], "a no is never kept"


def test_a_package_whose_files_take_long_to_look_at_keeps_others_running() -> None:
    changes = [1]
    watchdog = Watchdog(lambda: changes[0], lambda: None)
    ended = threading.Event()
    cancellations = [Cancellation() for _ in range(16)]
    slow = RunningCall(lambda: "" if changes[0] == 1 or ended.wait(20) else "nobody was", cancellations[0])
    others = [
        RunningCall(lambda: "", each, withdrawn=lambda: "it was withdrawn" if changes[0] == 2 else "")
        for each in cancellations[1:]
    ]
    with ExitStack() as stack:
        stack.callback(watchdog.close)
        for each in cancellations:
            stack.callback(each.close)
        for call in (slow, *others):
            stack.enter_context(watchdog.watch(call, (1, None)))
        changes[0] = 2
        until(lambda: all(each.is_set() for each in cancellations[1:]))
        ended.set()
    assert slow.reason == ""


@pytest.mark.parametrize("now", [(2, "wide"), (1, "narrow")])
def test_what_was_taken_away_before_a_call_is_watched_ends_it(now: tuple[int, str]) -> None:
    """The thread may have seen the change for other calls, and does not look again by itself."""
    watchdog = Watchdog(lambda: now[0], lambda: now[1])
    call = RunningCall(lambda: "it was withdrawn", Cancellation())
    try:
        with watchdog.watch(call, (1, "wide")):
            assert call.reason == "it was not to run any more: it was withdrawn"
    finally:
        call.cancellation.close()
        watchdog.close()


def test_a_question_that_fails_ends_the_call_and_others_are_still_asked_about() -> None:
    """A thread that ended with that would leave whatever runs to run on."""
    changes = [1]

    def fails() -> str:
        raise MemoryError

    def lost() -> str:
        return "it was withdrawn" if changes[0] == 3 else ""

    watchdog = Watchdog(lambda: changes[0], lambda: None)
    with ExitStack() as stack:
        stack.callback(watchdog.close)
        for question, change, reason in (
            (fails, 2, "whether it may run could not be checked: MemoryError"),
            (lost, 3, "it may not run any more: it was withdrawn"),
        ):
            call = RunningCall(lambda: "", Cancellation(), withdrawn=question)
            stack.callback(call.cancellation.close)
            threads = set(threading.enumerate())
            with watchdog.watch(call, (changes[0], None)):
                changes[0] = change
                until(call.cancellation.is_set)
            assert call.reason == reason
        assert threads == set(threading.enumerate()), "it is the same thread still"


def test_a_measure_that_fails_ends_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_folder: Path, _limit: int) -> int:
        raise MemoryError

    monkeypatch.setattr(withdraw, "folder_size", fails)
    watchdog = Watchdog(lambda: 1, lambda: None)
    call = RunningCall(lambda: "", Cancellation())
    call.bound(tmp_path, 1, "full")
    try:
        with watchdog.watch(call, (1, None)):
            until(call.cancellation.is_set)
            assert call.reason == "what it has written could not be measured: MemoryError"
    finally:
        call.cancellation.close()
        watchdog.close()


@pytest.mark.parametrize("name", ["mpp-exec-watchdog", "mpp-exec-measure"])
def test_a_call_that_nobody_could_watch_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tmp_path.chmod(0o755)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    with Stage(tmp_path, parked=0) as stage:
        stage.python("def run():\n    return 1\n", permissions=Permissions(storage=1 << 20))
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(InternalError) as refused:
                stage.runtime.call(NAME)
        assert refused.value.code == "host.exhausted"
        (entry,) = stage.runtime.ledger.list(kinds=["start"])
        assert (entry.outcome, entry.ending and entry.ending.content["code"]) == ("failed", "host.exhausted")
        assert stage.runtime.call(NAME).outcome == "ok"

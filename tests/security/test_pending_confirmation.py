"""A call that waits for a person out of band: only what was shown, only for its asker, only once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from command import Shell, error_lines
from consent_samples import REQUEST
from mcp_peer import Peer, meta
from mpp_exec.consent.confirm import ConfirmationRequest
from mpp_exec.errors import ConsentError, InternalError, UsageError
from mpp_exec.registry.pending import LIFETIME, MAX_OF_ASKER, MAX_OF_HOME, Asker, PendingCall
from mpp_exec.registry.store import Store
from store_samples import NOW, grant_of, install, open_store

ASKER = Asker("uid 5", "one", "peer 1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "home") as made:
        yield made


def nothing(_: PendingCall) -> None:
    """Stand for a ledger."""


def ask(
    store: Store, request: ConfirmationRequest = REQUEST, asker: Asker = ASKER, seconds: float = 0
) -> PendingCall:
    return store.pending.ask(request, asker, NOW + timedelta(seconds=seconds), nothing)


def granted(store: Store, request: ConfirmationRequest = REQUEST, seconds: float = 0) -> PendingCall:
    """Ask, and have a person say yes."""
    call = ask(store, request, seconds=seconds)
    now = NOW + timedelta(seconds=seconds)
    return store.pending.decide(call, granted=True, now=now, record=nothing)


# -- one answer, one call ----------------------------------------------------------------------------


def test_what_was_granted_is_used_once(store: Store) -> None:
    call = granted(store)
    assert ask(store).state == "granted"
    again = ask(store)
    assert (again.state, again.id != call.id) == ("waiting", True)


def test_asking_again_while_it_waits_is_the_same_question(store: Store) -> None:
    assert ask(store) == ask(store, seconds=60)


def test_what_was_refused_stays_refused_however_often_it_is_asked(store: Store) -> None:
    store.pending.decide(ask(store), granted=False, now=NOW, record=nothing)
    assert [ask(store).state for _ in range(3)] == ["refused"] * 3


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, arguments_json='{"what":"everything"}'),
        replace(REQUEST, tool="wipe"),
        replace(REQUEST, version="1.0.1", digest="sha256:" + "2" * 64),
        replace(REQUEST, key_id="sha256:" + "3" * 64),
        replace(REQUEST, reach=("change /data", "connect to evil.example:443")),
        replace(REQUEST, description="Reads."),
        replace(REQUEST, package="acme/other"),
        replace(REQUEST, confirmation="once"),
        replace(REQUEST, approved="2026-01-01T00:00:00.000+00:00"),
    ],
    ids=["arguments", "tool", "version", "key", "reach", "description", "package", "once", "approval"],
)
def test_a_yes_to_one_call_is_none_to_another(store: Store, other: ConfirmationRequest) -> None:
    granted(store)
    assert ask(store, other).state == "waiting"
    assert ask(store).state == "granted"


@pytest.mark.parametrize(
    "other",
    [replace(ASKER, principal="uid 6"), replace(ASKER, connection="two")],
    ids=["principal", "connection"],
)
def test_a_yes_to_one_asker_is_none_to_another(store: Store, other: Asker) -> None:
    granted(store)
    assert ask(store, asker=other).state == "waiting"


@pytest.mark.parametrize("callers", [2, 8])
def test_of_two_callers_one_gets_the_answer(store: Store, tmp_path: Path, callers: int) -> None:
    """Each has a connection of its own to the database, as processes have."""
    granted(store)
    stores = [open_store(tmp_path / "home") for _ in range(callers)]
    begin = threading.Barrier(callers)
    states: list[str] = []

    def call(own: Store) -> None:
        begin.wait()
        states.append(ask(own).state)

    threads = [threading.Thread(target=call, args=(each,)) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in stores:
        each.close()
    assert sorted(states) == ["granted", *["waiting"] * (callers - 1)]


def test_two_people_cannot_both_answer(store: Store) -> None:
    call = ask(store)
    store.pending.decide(call, granted=False, now=NOW, record=nothing)
    with pytest.raises(ConsentError) as refused:
        store.pending.decide(call, granted=True, now=NOW, record=nothing)
    assert refused.value.code == "confirm.answered"
    assert ask(store).state == "refused"


def test_what_cannot_be_put_on_record_is_neither_granted_nor_used(store: Store) -> None:
    def broken(_: PendingCall) -> None:
        raise InternalError("ledger.io", "the disk said no")

    call = ask(store)
    with pytest.raises(InternalError):
        store.pending.decide(call, granted=True, now=NOW, record=broken)
    assert ask(store).state == "waiting"
    store.pending.decide(call, granted=True, now=NOW, record=nothing)
    with pytest.raises(InternalError):
        store.pending.ask(REQUEST, ASKER, NOW, broken)
    assert ask(store).state == "granted"


# -- time --------------------------------------------------------------------------------------------


def test_a_question_that_is_too_old_cannot_be_answered(store: Store) -> None:
    call = ask(store)
    late = NOW + LIFETIME
    for answer in (True, False):
        with pytest.raises(UsageError) as refused:
            store.pending.decide(call, granted=answer, now=late, record=nothing)
        assert refused.value.code == "confirm.unknown"
    assert store.pending.all(late) == []


def test_an_answer_that_is_too_old_is_none(store: Store) -> None:
    granted(store, seconds=30)
    assert ask(store, seconds=30 + LIFETIME.total_seconds()).state == "waiting"


def test_a_clock_that_is_set_back_makes_no_answer_last_longer(store: Store) -> None:
    granted(store)
    assert ask(store, seconds=-3600).state == "waiting"


# -- forging -----------------------------------------------------------------------------------------


def rows(store: Store, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with sqlite3.connect(store.home.state) as database:
        found = database.execute(statement, values).fetchall()
    database.close()
    return found


def test_a_row_that_somebody_edits_is_none(store: Store) -> None:
    call = granted(store)
    (sealed,) = rows(store, "SELECT sealed FROM pending")[0]
    for at in (0, 30, len(sealed) - 1):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        rows(store, "UPDATE pending SET sealed = ?", changed)
        with pytest.raises(UsageError):
            store.pending.find(call.id, NOW)
    rows(store, "UPDATE pending SET sealed = 'text'")
    assert ask(store).state == "waiting"


def test_the_yes_of_one_row_put_into_another_is_none(store: Store) -> None:
    harmless = granted(store)
    other = replace(REQUEST, arguments_json='{"what":"everything"}')
    target = ask(store, other)
    (sealed,) = rows(store, "SELECT sealed FROM pending WHERE id = ?", harmless.id)[0]
    rows(store, "UPDATE pending SET sealed = ? WHERE id = ?", sealed, target.id)
    with pytest.raises(UsageError):  # and a person who names one is not shown another
        store.pending.find(target.id, NOW)
    assert ask(store, other).state == "waiting"
    # And with the id, too: what the row is about is inside.
    (call,) = rows(store, "SELECT call FROM pending WHERE id != ?", harmless.id)[0]
    rows(store, "DELETE FROM pending WHERE id != ?", harmless.id)
    rows(store, "UPDATE pending SET call = ?", call)
    assert ask(store, other).state == "waiting"


def test_times_that_somebody_edits_make_no_answer_last_longer(store: Store) -> None:
    granted(store)
    rows(store, "UPDATE pending SET since = 0, until = until + 100000000")
    assert ask(store, seconds=LIFETIME.total_seconds()).state == "waiting"


def test_a_clock_set_back_with_an_edited_time_does_not_either(store: Store) -> None:
    granted(store)
    rows(store, "UPDATE pending SET since = 0")
    assert ask(store, seconds=-3600).state == "waiting"


def test_a_row_of_another_home_is_none(store: Store, tmp_path: Path) -> None:
    granted(store)
    row = rows(store, "SELECT * FROM pending")[0]
    with open_store(tmp_path / "other") as other:
        ask(other)
        rows(other, "DELETE FROM pending")
        rows(other, "INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
        assert ask(other).state == "waiting"
        assert [each.state for each in other.pending.all(NOW)] == ["waiting"]


def test_nothing_of_a_call_lies_open_in_the_home(store: Store) -> None:
    ask(store, replace(REQUEST, arguments_json='{"password":"hunter2-hunter2"}'))
    for path in store.home.path.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


# -- its end, and floods -----------------------------------------------------------------------------


def test_a_new_grant_and_a_withdrawn_one_end_what_was_confirmed_under_the_old(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "packages").mkdir()
    installed = install(store, tmp_path / "packages")
    request = replace(REQUEST, package=installed.name, digest=installed.digest)
    store.approve(grant_of(installed))
    granted(store, request)
    store.approve(grant_of(installed))
    assert ask(store, request).state == "waiting"
    store.pending.decide(ask(store, request), granted=True, now=NOW, record=nothing)
    store.revoke(installed.name)
    assert store.pending.all(NOW) == []


def test_a_flood_of_one_asker_drops_its_own_and_nobody_elses(store: Store) -> None:
    other = replace(ASKER, connection="two")
    theirs = ask(store, asker=other)
    for number in range(MAX_OF_ASKER * 3):
        ask(store, replace(REQUEST, arguments_json=f'{{"number":{number}}}'), seconds=number)
    assert len(store.pending.all(NOW + timedelta(seconds=100))) == MAX_OF_ASKER + 1
    assert ask(store, asker=other) == theirs


def test_a_flood_of_many_askers_is_bounded(store: Store) -> None:
    for number in range(MAX_OF_HOME):
        ask(store, asker=replace(ASKER, connection=str(number)))
    with pytest.raises(ConsentError) as refused:
        ask(store, asker=replace(ASKER, connection="one more"))
    assert refused.value.code == "confirm.too_many"
    assert ask(store, seconds=LIFETIME.total_seconds()).state == "waiting", "they end by themselves"


# -- over the wire, with a person at a terminal ------------------------------------------------------

CODE = "def call(**arguments):\n    return {'ran': arguments}\n"
NAME = "acme_echo_call"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("pending"))
    made.root.chmod(0o755)
    made.install(code=CODE, schema='{ type = "object" }', extra='operation = "destructive"')
    return made


@pytest.fixture
def peer(shell: Shell) -> Iterator[Peer]:
    with Peer(shell) as made:
        made.initialize()
        yield made


def refused(peer: Peer, arguments: dict[str, Any], **more: Any) -> str:
    """Call, be refused, and return the id that the refusal names."""
    answer = peer.call(NAME, arguments, **more)
    if "error" in answer:  # 2026-07-28 has an error for it
        assert answer["error"]["code"] == -32021
        error, text = answer["error"]["data"]["mpp-exec/error"], answer["error"]["message"]
    else:
        assert answer["result"]["isError"] is True
        error, text = answer["result"]["_meta"]["mpp-exec/error"], answer["result"]["content"][0]["text"]
    assert error["code"] == "confirm.pending"
    assert error["hint"] in text
    name: str = error["hint"].partition("mpp-exec confirm ")[2].partition(";")[0]
    return name


def answer(shell: Shell, name: str, letter: str) -> tuple[str, str]:
    """Answer as a person would; return what was shown, and what was said."""
    with shell.at_terminal("confirm", name) as terminal:
        shown = terminal.expect("Let it run, once?")
        terminal.type(f"{letter}\n")
        code, rest = terminal.end()
    assert code == 0
    return shown, rest


def code_of(peer: Peer, arguments: dict[str, Any]) -> str:
    result = peer.call(NAME, arguments)["result"]
    error = result.get("_meta", {}).get("mpp-exec/error", {})
    return str(error.get("code", "ran"))


def test_a_client_that_cannot_ask_is_told_how_and_a_persons_yes_runs_the_call_once(
    peer: Peer, shell: Shell
) -> None:
    arguments = {"what": "all\u202e"}
    name = refused(peer, arguments)
    shown, said = answer(shell, name, "y")
    for part in ("asked for by peer 1", "acme/echo 1.0.0", "sha256:", "may destroy things", "all\\u202e"):
        assert part in shown
    assert "granted" in said
    assert peer.call(NAME, arguments)["result"]["structuredContent"] == {"ran": arguments}
    assert refused(peer, arguments) != name
    seen = shell.ok("audit", "list", "--json").json
    kinds = [entry["kind"] for entry in seen]
    for kind in ("confirm", "confirm.used", "start"):
        assert kind in kinds
    details = [entry["detail"] for entry in seen if entry["kind"].startswith("confirm")]
    assert {detail["confirmation"] for detail in details} == {name}


def test_a_no_is_a_no(peer: Peer, shell: Shell) -> None:
    arguments = {"case": "no"}
    name = refused(peer, arguments)
    answer(shell, name, "n")
    assert [code_of(peer, arguments) for _ in range(2)] == ["confirm.refused"] * 2
    with shell.at_terminal("confirm", name) as terminal:
        code, screen = terminal.end()
    assert (code, "[confirm.answered]" in screen) == (4, True)


@pytest.mark.parametrize(("first", "second", "state"), [("n", "y", "refused"), ("y", "n", "granted")])
def test_of_two_people_at_two_terminals_the_first_one_answers(
    peer: Peer, shell: Shell, first: str, second: str, state: str
) -> None:
    """And the second is told what that means."""
    arguments = {"case": f"terminals {first}"}
    name = refused(peer, arguments)
    with shell.at_terminal("confirm", name) as one, shell.at_terminal("confirm", name) as other:
        for terminal in (one, other):
            terminal.expect("Let it run, once?")
        one.type(f"{first}\n")
        assert one.end()[0] == 0
        other.type(f"{second}\n")
        code, screen = other.end()
    assert (code, f"was {state} already" in screen) == (4, True)
    assert ("runs once" if state == "granted" else "holds for ten minutes") in screen
    assert code_of(peer, arguments) == ("ran" if state == "granted" else "confirm.refused")


def test_a_call_whose_approval_changes_while_it_is_shown_is_told(peer: Peer, shell: Shell) -> None:
    arguments = {"case": "approval"}
    name = refused(peer, arguments)
    with shell.at_terminal("confirm", name) as terminal:
        terminal.expect("Let it run, once?")
        shell.ok("approve", "acme/echo", "--yes")
        terminal.type("y\n")
        code, screen = terminal.end()
    assert (code, "[confirm.unknown]" in screen) == (2, True)
    assert "ended when the approval changed" in screen
    assert refused(peer, arguments) != name


@pytest.mark.parametrize("letter", ["", "l", "later", "yy", "\x04"], ids=repr)
def test_what_is_no_answer_leaves_it_waiting(peer: Peer, shell: Shell, letter: str) -> None:
    arguments = {"case": repr(letter)}
    name = refused(peer, arguments)
    answer(shell, name, letter)
    assert refused(peer, arguments) == name


def test_without_a_terminal_nothing_is_granted(peer: Peer, shell: Shell) -> None:
    """What an agent with a shell could do."""
    arguments = {"case": "no terminal"}
    name = refused(peer, arguments)
    done = shell.run("confirm", name, stdin="y\ny\n")
    assert (done.code, error_lines(done)[1]) == (4, "confirm.no_terminal")
    shown = shell.ok("confirm", name, "--json", stdin="y\ny\n").json
    assert (shown["state"], shown["arguments"], shown["id"]) == ("waiting", arguments, name)
    assert shell.run("confirm", name, "--yes").code == 2
    assert name in shell.ok("confirm").out
    assert refused(peer, arguments) == name


def test_the_id_in_the_hands_of_the_model_confirms_nothing(peer: Peer) -> None:
    arguments: dict[str, Any] = {"case": "model"}
    name = refused(peer, arguments)
    for more in (
        {
            "requestState": name,
            "inputResponses": {"confirm": {"action": "accept", "content": {"confirm": True}}},
        },
        {"_meta": {"confirm": name, "mpp-exec/confirmation": name}},
        {"confirm": name, "confirmation": name},
    ):
        assert refused(peer, arguments, **more) == name
    for changed in ({**arguments, "confirm": name}, {**arguments, "id": name, "confirmed": True}):
        assert refused(peer, changed) != name


def test_a_yes_on_one_connection_is_none_on_another(peer: Peer, shell: Shell) -> None:
    arguments = {"case": "connection"}
    name = refused(peer, arguments)
    answer(shell, name, "y")
    with Peer(shell) as other:
        other.initialize()
        assert refused(other, arguments) != name
    done = shell.run("run", "acme/echo", "call", "--args", '{"case": "connection"}')
    assert error_lines(done)[1] == "confirm.pending"
    assert code_of(peer, arguments) == "ran"


def test_of_two_calls_at_once_one_runs(peer: Peer, shell: Shell) -> None:
    arguments = {"case": "race"}
    answer(shell, refused(peer, arguments), "y")
    names = [peer.request("tools/call", {"name": NAME, "arguments": arguments}) for _ in range(6)]
    results = [peer.answer(name)["result"] for name in names]
    assert [result["isError"] for result in results].count(False) == 1


def test_a_client_that_says_it_can_ask_and_does_not_is_told_how(shell: Shell) -> None:
    with Peer(shell) as peer:
        peer.initialize(elicitation={})
        name = peer.request("tools/call", {"name": NAME, "arguments": {"case": "lies"}})
        asking = peer.notified("elicitation/create")
        peer.send(id=asking["id"], error={"code": -32601, "message": "not here"})
        error = peer.answer(name)["result"]["_meta"]["mpp-exec/error"]
    assert error["code"] == "confirm.pending"


def test_a_client_of_2026_is_told_how(shell: Shell) -> None:
    with Peer(shell) as peer:
        arguments = {"case": "modern"}
        name = refused(peer, arguments, _meta=meta())
        answer(shell, name, "y")
        assert peer.call(NAME, arguments, _meta=meta())["result"]["isError"] is False


def test_the_name_of_a_client_cannot_draw_on_the_terminal(shell: Shell) -> None:
    with Peer(shell) as peer:
        client = {"name": "\x1b[2Jnice\npackage acme/other", "version": "1"}
        peer.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        name = refused(peer, {"case": "client"})
        shown, _ = answer(shell, name, "l")
        assert "\\x1b[2Jnice\\npackage acme/other" in shown
        assert "\x1b" not in shell.ok("confirm").out


def test_a_run_without_a_terminal_waits_for_a_person_too(shell: Shell) -> None:
    words = ("run", "acme/echo", "call", "--args", '{"case": "run"}')
    done = shell.run(*words)
    assert (done.code, error_lines(done)[1]) == (4, "confirm.pending")
    name = error_lines(done)[2].partition("mpp-exec confirm ")[2].partition(";")[0]
    answer(shell, name, "y")
    assert '"case":"run"' in shell.ok(*words, "--json").out.replace(" ", "")
    assert shell.run(*words).code == 4


def test_a_call_too_large_to_be_read_waits_for_nobody(peer: Peer, shell: Shell) -> None:
    assert code_of(peer, {"what": "x" * 100_000}) == "confirm.too_large"
    assert not [each for each in shell.ok("confirm", "--json").json if "x" * 100 in str(each["arguments"])]


@pytest.mark.parametrize("name", ["0000000000", "", "'; DROP TABLE pending; --", "\x1b[2J"], ids=repr)
def test_an_id_that_was_never_given_out_is_unknown(shell: Shell, name: str) -> None:
    done = shell.run("confirm", name)
    assert (done.code, error_lines(done)[1]) == (2, "confirm.unknown")
    assert "\x1b" not in done.err

"""Nothing the model or a client can put on the wire confirms a call, but a person's answer to that call."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from consent_samples import REQUEST
from mcp_peer import Peer, meta
from mpp_exec.consent.confirm import MAX_LINES, ConfirmationRequest
from mpp_exec.mcp.confirming import MAX_OPEN, PATIENCE, BadStateError, Proofs, agreed, question
from mpp_exec.trust.keys import HomeKey

CODE = "def call(**arguments):\n    return {'ran': arguments}\n"
YES = {"confirm": {"action": "accept", "content": {"confirm": True}}}
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
NAME = "acme_echo_call"
STORING = 'operation = "destructive"\n\n[permissions]\nstorage = "1MiB"'


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("confirm"))
    made.root.chmod(0o755)
    made.ok("keygen", "acme")
    for name in ("acme/echo", "acme/other"):
        source = made.tool(name, code=CODE, schema='{ type = "object" }', extra='operation = "destructive"')
        made.ok("build", str(source))
        made.ok("install", f"{name.replace('/', '-')}-1.0.0.mpp", "--approve")
    return made


@pytest.fixture
def peer(shell: Shell) -> Iterator[Peer]:
    with Peer(shell) as made:
        yield made


def asked(peer: Peer, arguments: dict[str, Any] | None = None) -> str:
    """Call the tool for the first time, and return the state of the question."""
    result = peer.call(NAME, arguments, _meta=meta(**FORM))["result"]
    assert result["resultType"] == "input_required"
    state = result["requestState"]
    assert isinstance(state, str)
    return state


def again(peer: Peer, state: Any, responses: Any = YES, name: str = NAME, **more: Any) -> dict[str, Any]:
    given = more.pop("arguments", {})
    return peer.call(name, given, requestState=state, inputResponses=responses, _meta=meta(**FORM), **more)


def refusals(shell: Shell) -> list[str]:
    """Return the codes of what was refused, the newest first."""
    entries = shell.ok("audit", "list", "--json").json
    return [entry["code"] for entry in entries if entry["kind"] == "refused"]


# -- it works for a person ---------------------------------------------------------------------------


def test_a_modern_client_is_asked_with_everything_and_its_yes_runs_the_call(peer: Peer) -> None:
    first = peer.call(NAME, {"what": "all"}, _meta=meta(**FORM))["result"]
    asking = first["inputRequests"]["confirm"]
    assert asking["method"] == "elicitation/create"
    for part in ("acme/echo 1.0.0", "sha256:", "may destroy things", '"what": "all"', "reach nothing"):
        assert part in asking["params"]["message"]
    result = again(peer, first["requestState"], arguments={"what": "all"})["result"]
    assert result["structuredContent"] == {"ran": {"what": "all"}}


def test_a_client_of_earlier_versions_is_asked_by_a_request(peer: Peer) -> None:
    peer.initialize(elicitation={})
    name = peer.request("tools/call", {"name": NAME, "arguments": {"what": "all"}})
    asking = peer.notified("elicitation/create")
    assert '"what": "all"' in asking["params"]["message"]
    peer.send(id=asking["id"], result={"action": "accept", "content": {"confirm": True}})
    assert peer.answer(name)["result"]["structuredContent"] == {"ran": {"what": "all"}}


# -- attacks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "responses",
    [
        None,
        {},
        {"confirm": {"action": "decline"}},
        {"confirm": {"action": "cancel"}},
        {"confirm": {"action": "accept"}},
        {"confirm": {"action": "accept", "content": {"confirm": False}}},
        {"confirm": {"action": "accept", "content": {"confirm": "true"}}},
        {"confirm": {"action": "accept", "content": {"confirm": 1}}},
        {"confirm": {"action": "accept", "content": {"yes": True}}},
        {"confirm": True},
        [{"action": "accept"}],
        {"other": {"action": "accept", "content": {"confirm": True}}},
    ],
    ids=str,
)
def test_what_is_no_yes_runs_nothing(peer: Peer, responses: Any) -> None:
    result = again(peer, asked(peer), responses)["result"]
    assert result["isError"] is True
    assert result["_meta"]["mpp-exec/error"]["code"] == "confirm.refused"


def test_a_state_is_good_for_one_call(peer: Peer) -> None:
    state = asked(peer)
    assert again(peer, state)["result"]["isError"] is False
    assert again(peer, state)["error"]["code"] == -32602


def test_a_refused_state_cannot_be_tried_again_with_another_answer(peer: Peer) -> None:
    state = asked(peer)
    assert again(peer, state, {"confirm": {"action": "decline"}})["result"]["isError"] is True
    assert again(peer, state)["error"]["code"] == -32602


def test_a_yes_to_some_arguments_is_none_to_others(peer: Peer) -> None:
    state = asked(peer, {"what": "one"})
    assert again(peer, state, arguments={"what": "all"})["error"]["code"] == -32602
    assert again(peer, state, arguments={"what": "one"})["error"]["code"] == -32602, "it was used up"


def test_a_yes_to_one_tool_is_none_to_another(peer: Peer) -> None:
    assert again(peer, asked(peer), name="acme_other_call")["error"]["code"] == -32602


def test_a_yes_to_one_server_is_none_to_another_of_the_same_home(peer: Peer, shell: Shell) -> None:
    state = asked(peer)
    with Peer(shell) as other:
        assert again(other, state)["error"]["code"] == -32602
    assert again(peer, state)["result"]["isError"] is False


@pytest.mark.parametrize("part", [0, 30, -5])
def test_a_changed_state_is_none(peer: Peer, part: int) -> None:
    sealed = bytearray(base64.urlsafe_b64decode(asked(peer)))
    sealed[part] ^= 1
    assert again(peer, base64.urlsafe_b64encode(sealed).decode())["error"]["code"] == -32602


@pytest.mark.parametrize("state", ["", "AAAA", "x" * 10_000, 7, {}, ["a"], "é", True], ids=repr)
def test_a_made_up_state_is_none(peer: Peer, state: Any) -> None:
    assert again(peer, state)["error"]["code"] == -32602


def test_answers_without_a_question_run_nothing(peer: Peer) -> None:
    result = peer.call(NAME, {}, inputResponses=YES, _meta=meta(**FORM))["result"]
    assert result["resultType"] == "input_required"


def test_arguments_that_say_they_are_confirmed_confirm_nothing(peer: Peer) -> None:
    peer.initialize()
    for arguments in (
        {"confirm": True, "confirmed": True, "force": True},
        {"_meta": {"confirmed": True}},
        {"requestState": "x", "inputResponses": YES},
    ):
        result = peer.call(NAME, arguments)["result"]
        assert result["_meta"]["mpp-exec/error"]["code"] == "confirm.pending"


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": None}, {"elicitation": {"url": {}}}, {"x": 1}])
def test_a_client_that_cannot_ask_is_refused_and_told_how(peer: Peer, capabilities: dict[str, Any]) -> None:
    error = peer.call(NAME, {}, _meta=meta(**capabilities))["error"]
    assert (error["code"], error["data"]["requiredCapabilities"]) == (-32021, {"elicitation": {"form": {}}})
    assert "mpp-exec confirm " in error["message"]


def test_a_client_of_earlier_versions_that_cannot_ask_is_told_how_in_a_result(peer: Peer) -> None:
    """Earlier versions have no error for it, and what is a result reaches the model."""
    peer.initialize()
    result = peer.call(NAME, {})["result"]
    assert result["isError"] is True
    assert "mpp-exec confirm " in result["content"][0]["text"]


def test_a_person_is_told_which_home_a_call_waits_in(shell: Shell) -> None:
    """A client starts the server with --home; for whoever answers another home is the usual."""
    elsewhere = Shell(shell.root, variables={"MPP_HOME": str(shell.root / "other")})
    with Peer(elsewhere, "--home", str(shell.home)) as peer:
        peer.initialize()
        hint = peer.call(NAME)["result"]["_meta"]["mpp-exec/error"]["hint"]
    words = shlex.split(hint.partition("mpp-exec ")[2].partition(";")[0])
    assert words[0] == "confirm"
    assert elsewhere.run(*words, "--json").json["id"] == words[1]


def test_a_client_that_says_it_can_ask_and_answers_with_an_error_runs_nothing(peer: Peer) -> None:
    peer.initialize(elicitation={})
    name = peer.request("tools/call", {"name": NAME, "arguments": {}})
    asking = peer.notified("elicitation/create")
    peer.send(id=asking["id"], error={"code": -32600, "message": "not supported"})
    result = peer.answer(name)["result"]
    assert result["_meta"]["mpp-exec/error"]["code"] == "confirm.pending"


def test_an_answer_that_is_a_result_and_an_error_is_no_yes(peer: Peer) -> None:
    """JSON-RPC 2.0 has either; null stands for what was left out, as some clients write it."""
    peer.initialize(elicitation={})
    for error, is_error in (
        ({"code": -1, "message": "no"}, True),
        ("no", True),
        (False, True),
        (None, False),
    ):
        name = peer.request("tools/call", {"name": NAME, "arguments": {"error": error}})
        asking = peer.notified("elicitation/create")
        peer.send(id=asking["id"], result=YES["confirm"], error=error)
        assert peer.answer(name)["result"]["isError"] is is_error


def test_an_answer_to_a_question_that_was_not_asked_confirms_nothing(peer: Peer) -> None:
    peer.initialize(elicitation={})
    peer.ask("tools/list")  # before it has any use for tools, a server passes answers over
    for number in range(1, 5):
        peer.send(id=f"mpp-exec-{number}", result={"action": "accept", "content": {"confirm": True}})
    name = peer.request("tools/call", {"name": NAME, "arguments": {}})
    asking = peer.notified("elicitation/create")
    peer.send(id=asking["id"], result={"action": "decline"})
    assert peer.answer(name)["result"]["_meta"]["mpp-exec/error"]["code"] == "confirm.refused"


def test_a_call_that_was_cancelled_while_it_asked_runs_nothing(peer: Peer, shell: Shell) -> None:
    peer.initialize(elicitation={})
    before = len(shell.ok("audit", "list", "--json").json)
    name = peer.request("tools/call", {"name": NAME, "arguments": {"mark": "cancelled"}})
    asking = peer.notified("elicitation/create")
    peer.send(method="notifications/cancelled", params={"requestId": name})
    peer.send(id=asking["id"], result={"action": "accept", "content": {"confirm": True}})
    told = [each.get("method") for each in peer.silent()]
    assert set(told) <= {"notifications/cancelled"}  # of the question, where its answer comes later
    assert peer.end() == 0
    entries = shell.ok("audit", "list", "--json").json[
        : len(shell.ok("audit", "list", "--json").json) - before
    ]
    assert not [entry for entry in entries if entry.get("kind") == "start"]


def test_a_question_about_a_call_that_was_cancelled_is_withdrawn(peer: Peer) -> None:
    """Otherwise a person goes on being asked, and agrees to what will not happen."""
    peer.initialize(elicitation={})
    name = peer.request("tools/call", {"name": NAME})
    asking = peer.notified("elicitation/create")
    peer.send(method="notifications/cancelled", params={"requestId": name})
    assert peer.notified("notifications/cancelled")["params"]["requestId"] == asking["id"]


@pytest.mark.parametrize(
    ("done", "undone"),
    [
        (["revoke", "acme/other"], ["approve", "acme/other", "--yes"]),
        (["uninstall", "acme/other"], ["install", "acme-other-1.0.0.mpp", "--approve"]),
    ],
    ids=["revoked", "uninstalled"],
)
def test_a_question_about_a_tool_that_was_taken_away_is_withdrawn(
    peer: Peer, shell: Shell, done: list[str], undone: list[str]
) -> None:
    """Otherwise a person reads, and agrees to, what nobody may do any more."""
    peer.initialize(elicitation={})
    name = peer.request("tools/call", {"name": "acme_other_call"})
    other = peer.request("tools/call", {"name": NAME})
    asking = peer.take(lambda message: "acme/other" in str(message.get("params")))
    kept = peer.notified("elicitation/create")
    shell.ok(*done)
    try:
        assert peer.notified("notifications/cancelled")["params"]["requestId"] == asking["id"]
        peer.send(id=asking["id"], result={"action": "accept", "content": {"confirm": True}})
        assert peer.answer(name)["error"]["code"] == -32602
        assert "confirm.withdrawn" in refusals(shell)
        peer.send(id=kept["id"], result={"action": "accept", "content": {"confirm": True}})
        assert peer.answer(other)["result"]["structuredContent"] == {"ran": {}}, "its own stays"
    finally:
        shell.ok(*undone)


def test_a_question_about_a_tool_that_may_do_something_else_by_now_is_withdrawn(
    peer: Peer, shell: Shell
) -> None:
    peer.initialize(elicitation={})
    shell.ok("build", str(shell.tool("acme/third", code=CODE, schema='{ type = "object" }', toml=STORING)))
    shell.ok("install", "acme-third-1.0.0.mpp", "--approve")
    name = peer.request("tools/call", {"name": "acme_third_call"})
    asking = peer.notified("elicitation/create")
    shell.ok("approve", "acme/third", "--yes", "--without", "storage")
    assert peer.notified("notifications/cancelled")["params"]["requestId"] == asking["id"]
    assert peer.answer(name)["result"]["_meta"]["mpp-exec/error"]["code"] == "confirm.withdrawn"


def test_invisible_characters_of_arguments_are_written_out_in_the_question(peer: Peer) -> None:
    result = peer.call(NAME, {"what": "all\u202e\u200b\x1b[2K"}, _meta=meta(**FORM))["result"]
    message = result["inputRequests"]["confirm"]["params"]["message"]
    assert "\\u202e" in message
    assert not any(character in message for character in "\u202e\u200b\x1b")


def test_a_call_too_large_to_be_read_is_not_asked_about(peer: Peer) -> None:
    result = peer.call(NAME, {"what": "x" * 100_000}, _meta=meta(**FORM))["result"]
    assert result["_meta"]["mpp-exec/error"]["code"] == "confirm.too_large"


def test_a_call_of_more_lines_than_anybody_reads_is_not_asked_about(peer: Peer) -> None:
    many = {"what": ["all", *([0] * MAX_LINES)]}
    result = peer.call(NAME, many, _meta=meta(**FORM))["result"]
    assert result["_meta"]["mpp-exec/error"]["code"] == "confirm.too_large"


def test_a_call_of_more_lines_than_anybody_reads_is_not_asked_about_at_a_terminal(shell: Shell) -> None:
    """What stands above the question has scrolled away by then."""
    arguments = shell.cwd / "many.json"
    arguments.write_text(json.dumps({"what": ["all", *([0] * MAX_LINES)]}))
    words = ("run", "acme/echo", "call", "--args", f"@{arguments}", "--confirm")
    with shell.at_terminal(*words) as terminal:
        code, screen = terminal.end()
    assert code == 4
    assert "confirm.too_large" in screen
    assert "Run this call?" not in screen


SETTING = """
[user_config.account]
type = "string"
default = "test"
"""


@pytest.mark.parametrize("words", [("revoke",), ("approve", "--yes", "--set", "account=real")], ids=str)
def test_a_proof_ends_with_the_approval_that_it_was_asked_under(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """What nobody was shown, as a setting, may be another one by then."""
    shell = Shell(tmp_path)
    extra = 'operation = "destructive"'
    shell.install("acme/set", code=CODE, schema='{ type = "object" }', extra=extra, toml=SETTING)
    with Peer(shell) as peer:
        result = peer.call("acme_set_call", _meta=meta(**FORM))["result"]
        verb, *more = words
        shell.ok(verb, "acme/set", *more)
        shell.ok("approve", "acme/set", "--yes")
        assert again(peer, result["requestState"], name="acme_set_call")["error"]["code"] == -32602
        result = peer.call("acme_set_call", _meta=meta(**FORM))["result"]
        assert again(peer, result["requestState"], name="acme_set_call")["result"]["isError"] is False
    assert refusals(shell)[:2] == ["confirm.asked", "confirm.bad_state"]


def test_a_call_whose_client_goes_while_a_person_is_asked_is_on_the_ledger(shell: Shell) -> None:
    before = refusals(shell).count("confirm.unanswered")
    for number in range(1, 6):
        with Peer(shell) as peer:
            peer.initialize(elicitation={})
            names = [peer.request("tools/call", {"name": NAME, "arguments": {"n": n}}) for n in range(3)]
            for _ in names:
                peer.notified("elicitation/create")
            assert peer.end() == 0
        assert refusals(shell).count("confirm.unanswered") == before + 3 * number


def test_a_proof_that_is_refused_is_on_the_ledger(peer: Peer, shell: Shell) -> None:
    """Who tries states over and over is to be seen; and so is each question."""
    state = asked(peer, {"what": "recorded"})
    assert refusals(shell)[0] == "confirm.asked"
    assert again(peer, state, arguments={"what": "else"})["error"]["code"] == -32602
    assert refusals(shell)[:2] == ["confirm.bad_state", "confirm.asked"]
    assert again(peer, "made up", arguments={"what": "recorded"})["error"]["code"] == -32602
    assert refusals(shell)[:3] == ["confirm.bad_state", "confirm.bad_state", "confirm.asked"]


# -- the proofs themselves ---------------------------------------------------------------------------


def test_a_proof_expires() -> None:
    now = [0.0]
    proofs = Proofs(HomeKey(bytes(32)), clock=lambda: now[0])
    state = proofs.issue(REQUEST, "uid 5")
    now[0] = PATIENCE
    with pytest.raises(BadStateError):
        proofs.redeem(state, REQUEST, "uid 5")


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, digest="sha256:" + "2" * 64),
        replace(REQUEST, tool="other"),
        replace(REQUEST, arguments_json="{}"),
        replace(REQUEST, reach=("change /home/user/data",)),
        replace(REQUEST, approved="2026-01-01T00:00:00.000+00:00"),
    ],
    ids=["another version", "another tool", "other arguments", "more reach", "another approval"],
)
def test_a_proof_is_bound_to_its_call(other: ConfirmationRequest) -> None:
    proofs = Proofs(HomeKey(bytes(32)))
    with pytest.raises(BadStateError):
        proofs.redeem(proofs.issue(REQUEST, "uid 5"), other, "uid 5")


def test_a_proof_is_bound_to_its_principal_and_its_home() -> None:
    proofs, elsewhere = Proofs(HomeKey(bytes(32))), Proofs(HomeKey(bytes([1]) * 32))
    with pytest.raises(BadStateError):
        proofs.redeem(proofs.issue(REQUEST, "uid 5"), REQUEST, "uid 6")
    with pytest.raises(BadStateError):
        elsewhere.redeem(proofs.issue(REQUEST, "uid 5"), REQUEST, "uid 5")


def test_a_flood_of_questions_is_bounded_and_forgets_the_oldest() -> None:
    proofs = Proofs(HomeKey(bytes(32)))
    states = [proofs.issue(REQUEST, "uid 5") for _ in range(MAX_OPEN + 1)]
    assert len(proofs._open) == MAX_OPEN
    with pytest.raises(BadStateError):
        proofs.redeem(states[0], REQUEST, "uid 5")
    proofs.redeem(states[-1], REQUEST, "uid 5")


def test_the_question_asks_for_no_secret_and_one_box() -> None:
    schema = question(REQUEST)["requestedSchema"]
    assert list(schema["properties"]) == ["confirm"]
    assert schema["properties"]["confirm"]["type"] == "boolean"
    assert schema["properties"]["confirm"]["default"] is False
    assert not agreed(None)

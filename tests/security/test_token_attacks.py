"""A model, a tool or another session tries to get at the value behind a token, or to make one of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mcp_servers import server
from mpp_exec import Runtime
from mpp_exec.calls.result import ToolResult
from mpp_exec.consent.confirm import ConfirmationRequest
from mpp_exec.dialogue.session import Progress
from mpp_exec.errors import UsageError
from mpp_exec.mcp.confirming import BadStateError, Proofs, question
from mpp_exec.permissions import Permissions, Privacy
from mpp_exec.privacy.vault import MAX_TOKENS, Vault
from mpp_exec.trust.keys import HomeKey
from stage import Stage

EMAIL = "jane.doe@example.com"
PHONE = "+1 212-555-0147"
LOOKUP, MAIL, ECHO = "acme/lookup", "acme/mail", "acme/plain"
FIND = f"""\
def run(**more):
    return {{"mail": {EMAIL!r}, "phone": {PHONE!r}, **more}}
"""
SAY = """\
import sys

def run(**given):
    say = given.pop("say", "value")
    text = str(given.get("to", ""))
    if say == "raise":
        raise ValueError(f"cannot write to {text}")
    if say == "stderr":
        print("writing to", text, file=sys.stderr)
        return "done"
    if say == "key":
        return {text: 1}
    if say == "path":
        open(f"/nowhere/{text}")
    if say == "upper":
        return text.upper()
    if say == "inside":
        return f"x{text}y"
    if say == "split":
        return {"a": "note", "b": {"to": [text]}}
    return {"seen": text, "length": len(text), "all": sorted(given)}
"""


class Agent:
    """One session with a lookup tool whose addresses become tokens, and tools that want them."""

    def __init__(self, folder: Path, **runtime: Any) -> None:
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)
        self.stage = Stage(folder, **runtime)
        self.runtime = self.stage.runtime
        self.stage.python(FIND, name=LOOKUP, redaction={"email": "token", "phone": "token"})
        self.stage.python(SAY, name=MAIL, privacy=Privacy(receive=("email",)))
        self.stage.python(SAY, name=ECHO)

    def token(self, what: str = "mail") -> str:
        structured = self.runtime.call(LOOKUP, "run", {}).structured
        assert structured is not None
        token = structured[what]
        assert isinstance(token, str)
        return token

    def call(self, package: str, **arguments: Any) -> ToolResult:
        return self.runtime.call(package, "run", arguments)

    def seen(self, package: str, to: str) -> int:
        """Return how long the text is that the tool was given for *to*."""
        structured = self.call(package, to=to).structured
        assert structured is not None
        return int(structured["length"])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path)
    with made.stage:
        yield made


def everything(result: ToolResult) -> str:
    """All that a client, a model or a person gets to see of a call."""
    return json.dumps(result.to_call_tool_result()) + result.stderr + result.reason + result.denied


def test_a_tool_that_may_receive_the_kind_is_given_the_value_and_nobody_else_sees_it(agent: Agent) -> None:
    token = agent.token()
    assert token.startswith("[EMAIL:")
    result = agent.call(MAIL, to=token)
    assert result.structured == {"seen": "[EMAIL]", "length": len(EMAIL), "all": ["to"]}
    assert result.meta["mpp-exec/received"] == {"email": 1}
    assert EMAIL not in everything(result)


# -- forging and guessing ----------------------------------------------------------------------------


def test_a_token_whose_letters_kind_or_form_was_changed_is_only_text(agent: Agent) -> None:
    token = agent.token()
    letters = token[7:-1]
    other = "b" if letters[0] != "b" else "c"
    for changed in (
        f"[EMAIL:{other}{letters[1:]}]",
        f"[EMAIL:{letters[1:]}{letters[0]}]",
        f"[PHONE:{letters}]",
        f"[email:{letters}]",
        f"[EMAIL:{letters.upper()}]",
        f"[EMAIL:{letters}",
        f"[EMAIL: {letters}]",
        letters,
        "[EMAIL]",
        agent.token("phone").replace("PHONE", "EMAIL"),
    ):
        assert changed == token or agent.seen(MAIL, changed) == len(changed), changed


def test_guessed_tokens_resolve_to_nothing(agent: Agent) -> None:
    token = agent.token()
    guesses = [Vault().token("p", "email", EMAIL) for _ in range(1000)]
    assert token not in guesses
    assert agent.seen(MAIL, "".join(guesses)) == sum(map(len, guesses))


# -- whose token it is -------------------------------------------------------------------------------


def test_a_token_of_one_session_is_text_in_another_of_the_same_home(agent: Agent) -> None:
    token = agent.token()
    with Runtime(agent.stage.home, policies=agent.stage.policies) as other:
        result = other.call(MAIL, "run", {"to": token})
        assert result.structured is not None
        assert result.structured["length"] == len(token)
        again = other.call(LOOKUP, "run", {}).structured
        assert again is not None
        assert again["mail"] != token
        # Also once the other session has a token for the very same value.
        result = other.call(MAIL, "run", {"to": token})
        assert result.structured is not None
        assert result.structured["length"] == len(token)
    assert agent.seen(MAIL, token) == len(EMAIL)


def test_a_token_of_one_home_is_text_in_another(tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, two = (Agent(tmp_path / name) for name in ("one", "two"))
        stack.enter_context(one.stage)
        stack.enter_context(two.stage)
        token = one.token()
        assert two.token() != token
        assert two.seen(MAIL, token) == len(token)


def test_a_forked_child_is_another_session(agent: Agent) -> None:
    token = agent.token()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(agent.seen(MAIL, token)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        assert answer.read() == str(len(token))
    assert agent.seen(MAIL, token) == len(EMAIL)


def test_where_there_is_no_session_nothing_becomes_a_token_and_none_is_resolved(agent: Agent) -> None:
    token = agent.token()
    with Runtime(agent.stage.home, policies=agent.stage.policies, session=False) as single:
        found = single.call(LOOKUP, "run", {}).structured
        assert found == {"mail": "[EMAIL]", "phone": "[PHONE]"}
        result = single.call(MAIL, "run", {"to": token})
        assert result.structured is not None
        assert result.structured["length"] == len(token)


def test_a_token_dies_with_its_runtime_and_was_never_on_disk(agent: Agent) -> None:
    token = agent.token()
    agent.call(MAIL, to=token)
    agent.runtime.close()
    for path in agent.stage.home.rglob("*"):
        if path.is_file() and "packages" not in path.parts:
            data = path.read_bytes()
            assert EMAIL.encode() not in data, path
            assert token[7:-1].encode() not in data, path


# -- who may receive ---------------------------------------------------------------------------------


def test_a_tool_without_the_grant_is_given_the_token_known_or_not_and_cannot_tell_them_apart(
    agent: Agent,
) -> None:
    known = agent.token()
    unknown = Vault().token("p", "email", EMAIL)
    results = [agent.call(ECHO, to=token) for token in (known, unknown)]
    for result, token in zip(results, (known, unknown), strict=True):
        assert result.structured == {"seen": token, "length": len(token), "all": ["to"]}
        assert "mpp-exec/received" not in result.meta
    assert results[0].redactions == results[1].redactions


def test_a_tool_that_may_receive_one_kind_is_not_given_another(agent: Agent) -> None:
    phone = agent.token("phone")
    unknown = Vault().token("p", "phone", PHONE)
    for token in (phone, unknown):
        result = agent.call(MAIL, to=token)
        assert result.structured is not None
        assert (result.structured["seen"], result.structured["length"]) == (token, len(token))
        assert "mpp-exec/received" not in result.meta


def test_what_was_withheld_is_not_received(agent: Agent) -> None:
    token = agent.token()
    agent.stage.python(
        SAY,
        name=MAIL,
        version="1.0.1",
        privacy=Privacy(receive=("email",)),
        redaction={},
        without=["privacy"],
    )
    assert agent.seen(MAIL, token) == len(token)


@pytest.mark.parametrize("action", ["mask", "hash", "partial", "drop"])
def test_a_policy_that_forbids_it_holds_for_tokens_that_were_made_before(agent: Agent, action: str) -> None:
    token = agent.token()
    agent.stage.system_policy.write_text(f'[redaction]\nemail = "{action}"\n')
    assert agent.seen(MAIL, token) == len(token)
    assert agent.token() != token


# -- on the way out again ----------------------------------------------------------------------------


@pytest.mark.parametrize("say", ["value", "raise", "stderr", "key", "path", "upper", "inside", "split"])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_tool_that_was_given_a_value_cannot_say_it_also_where_its_kind_is_allowed(
    agent: Agent, say: str, *, allowed: bool
) -> None:
    if allowed:
        privacy = Privacy(allow=("email",), receive=("email",))
        agent.stage.python(SAY, name=MAIL, version="1.0.1", privacy=privacy)
    token = agent.token()
    result = agent.call(MAIL, to=token, say=say)
    said = everything(result)
    assert EMAIL.lower() not in said.lower()
    assert "[EMAIL" in said
    if allowed and say == "value":
        assert token in said, "what comes back is the token that went in"


KEEP = """\
import os, pathlib
def run(to="", find=False):
    kept = pathlib.Path(os.environ["MPP_STORAGE"], "kept")
    if find:
        return {"patient": {"name": "Quentin Ashworth"}}
    if to:
        kept.write_text(to)
    return f"noted for {kept.read_text()} just now"
"""


@pytest.mark.parametrize("allowed", [False, True])
def test_a_tool_cannot_say_in_a_later_call_what_it_was_given_in_an_earlier_one(
    agent: Agent, *, allowed: bool
) -> None:
    """It has a place to keep it, and nothing about a name in prose tells what it is."""
    privacy = Privacy(allow=("person",) if allowed else (), receive=("person",))
    found = 'def run():\n    return {"patient": {"name": "Quentin Ashworth"}}\n'
    agent.stage.python(found, name=LOOKUP, version="1.0.1", redaction={"person": "token"})
    agent.stage.python(
        KEEP,
        name="acme/notes",
        permissions=Permissions(storage=1 << 20),
        tool={"operation": "write"},
        privacy=privacy,
    )
    structured = agent.runtime.call(LOOKUP, "run", {}).structured
    assert structured is not None
    token = structured["patient"]["name"]
    first = everything(agent.runtime.call("acme/notes", "run", {"to": token}))
    later = agent.runtime.call("acme/notes", "run", {})
    for said in (first, everything(later)):
        assert "Ashworth" not in said
        assert (token if allowed else "[PERSON]") in said
    assert "mpp-exec/received" not in later.meta, "it was given nothing this time"


def test_what_a_tool_was_given_is_nothing_to_other_tools_or_sessions(agent: Agent) -> None:
    """It stays known where it was given; a word that was somebody's name here is a word there."""
    found = 'def run():\n    return {"patient": {"name": "Quentin Ashworth"}}\n'
    agent.stage.python(found, name=LOOKUP, version="1.0.1", redaction={"person": "token"})
    agent.stage.python(SAY, name=MAIL, version="1.0.1", privacy=Privacy(receive=("person",)))
    structured = agent.runtime.call(LOOKUP, "run", {}).structured
    assert structured is not None
    agent.call(MAIL, to=structured["patient"]["name"])
    assert agent.call(ECHO, to="by Quentin Ashworth").content[0]["text"].count("Quentin Ashworth") == 1
    with Runtime(agent.stage.home, policies=agent.stage.policies) as other:
        assert "Quentin Ashworth" in everything(other.call(MAIL, "run", {"to": "by Quentin Ashworth"}))


def test_a_server_that_was_given_a_value_cannot_say_it_while_it_runs(agent: Agent) -> None:
    told = """
    to = params["arguments"]["to"]
    say(method="notifications/progress", params={
        "progressToken": params["_meta"]["progressToken"], "progress": 1, "message": "writing to " + to})
    say(id=name, result=text("wrote " + str(len(to)) + " to " + to))
    """
    privacy = Privacy(allow=("email",), receive=("email",))
    agent.stage.server(server(told), name=MAIL, version="1.0.1", privacy=privacy)
    token = agent.token()
    seen: list[Progress] = []
    result = agent.runtime.call(MAIL, "run", {"to": token}, progress=seen.append)
    assert [each.message for each in seen] == [f"writing to {token}"]
    assert result.content[0]["text"] == f"wrote {len(EMAIL)} to {token}"


def test_a_value_that_only_its_label_gave_away_is_known_where_it_was_handed_to(agent: Agent) -> None:
    """A name is found where something announces it, and by nothing in the result of the tool that got it."""
    agent.stage.python(
        'def run():\n    return {"patient": {"name": "Quentin Ashworth"}}\n',
        name=LOOKUP,
        version="1.0.1",
        redaction={"person": "token"},
    )
    agent.stage.python(SAY, name=MAIL, version="1.0.1", privacy=Privacy(receive=("person",)))
    found = agent.runtime.call(LOOKUP, "run", {}).structured
    assert found is not None
    token = found["patient"]["name"]
    assert token.startswith("[PERSON:")
    for say in ("value", "raise", "stderr", "inside"):
        assert "Ashworth" not in everything(agent.call(MAIL, to=token, say=say))


# -- what sees tokens unresolved ---------------------------------------------------------------------


def test_a_validation_error_says_nothing_of_the_value(agent: Agent) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string", "pattern": "^[^@]*$"}}}
    agent.stage.python(
        SAY, name=MAIL, version="1.0.1", tool={"input_schema": schema}, privacy=Privacy(receive=("email",))
    )
    token = agent.token()
    with pytest.raises(UsageError) as caught:
        agent.call(MAIL, to=token)
    error: BaseException | None = caught.value
    assert caught.value.code == "arguments.schema"
    while error is not None:
        assert "example.com" not in f"{error!r}{error}{vars(error)}"
        error = error.__cause__ or error.__context__
    assert agent.call(MAIL, to="no address").structured is not None


def test_what_is_validated_is_what_the_tool_will_read(agent: Agent) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string", "pattern": "^[^@]+@example[.]com$"}}}
    agent.stage.python(
        SAY, name=MAIL, version="1.0.1", tool={"input_schema": schema}, privacy=Privacy(receive=("email",))
    )
    assert agent.seen(MAIL, agent.token()) == len(EMAIL)
    with pytest.raises(UsageError):
        agent.call(MAIL, to=Vault().token("p", "email", EMAIL))


def test_a_person_confirms_a_token_and_is_told_that_the_tool_gets_the_value(tmp_path: Path) -> None:
    asked: list[ConfirmationRequest] = []

    def confirm(request: ConfirmationRequest) -> bool:
        asked.append(request)
        return True

    agent = Agent(tmp_path, confirm=confirm)
    with agent.stage:
        agent.stage.python(
            SAY,
            name=MAIL,
            version="1.0.1",
            tool={"operation": "destructive", "confirm": "always"},
            privacy=Privacy(receive=("email",)),
        )
        token, phone = agent.token(), agent.token("phone")
        agent.call(MAIL, to=token, cc=phone)
    (request,) = asked
    text = "\n".join(request.lines()) + question(request)["message"]
    assert EMAIL not in text + repr(request)
    assert f"for {token} it is given the real email value" in text
    assert f"for {phone}" not in text, "that one it is not given"
    assert ConfirmationRequest.of_map(request.to_map()) == request


def test_a_yes_to_a_token_that_was_text_is_none_to_the_value_behind_it() -> None:
    """Between question and answer a token can come to mean something: then it is another call."""
    given: dict[str, Any] = {
        "package": "acme/mail",
        "version": "1.0.0",
        "digest": "sha256:" + "0" * 64,
        "key_id": "sha256:" + "1" * 64,
        "tool": "run",
        "title": "",
        "description": "",
        "operation": "destructive",
        "confirmation": "always",
        "arguments_json": '{"to":"[EMAIL:x]"}',
        "reach": (),
    }
    text = ConfirmationRequest(**given)
    value = ConfirmationRequest(**given, receives={"[EMAIL:x]": "email"})
    proofs = Proofs(HomeKey(bytes(32)))
    for asked, sent in ((text, value), (value, text)):
        with pytest.raises(BadStateError):
            proofs.redeem(proofs.issue(asked, "uid 5"), sent, "uid 5")
    proofs.redeem(proofs.issue(value, "uid 5"), value, "uid 5")


def test_the_ledger_knows_the_token_and_that_a_value_was_handed_over(agent: Agent) -> None:
    token = agent.token()
    result = agent.call(MAIL, to=token)
    ledger = agent.runtime.ledger
    entry = ledger.show(result.invocation)
    assert entry.content["received"] == {"email": 1}
    assert ledger.prove(result.invocation, "arguments", {"to": token}) == "matches"
    assert ledger.prove(result.invocation, "arguments", {"to": EMAIL}) == "differs"


# -- floods ------------------------------------------------------------------------------------------


def test_a_package_that_makes_a_flood_of_tokens_forgets_its_own_and_no_other(agent: Agent) -> None:
    token = agent.token()
    agent.stage.python(
        f"def run():\n    return [f'u{{n}}@example.net' for n in range({MAX_TOKENS} + 10)]\n",
        name="acme/flood",
        redaction={"email": "token"},
        limits=None,
    )
    flood = agent.runtime.call("acme/flood", "run", {}).structured
    assert flood is not None
    assert agent.seen(MAIL, flood["result"][0]) == len(flood["result"][0]), "its first are forgotten"
    assert agent.seen(MAIL, flood["result"][-1]) < len(flood["result"][-1])
    assert agent.seen(MAIL, token) == len(EMAIL)


def test_arguments_cannot_be_made_to_grow_without_bound(agent: Agent) -> None:
    agent.stage.python(
        'def run():\n    return {"password": "Zq8!" + "kV3x" * 4000}\n',
        name="acme/big",
        redaction={"secret": "token"},
    )
    agent.stage.python(SAY, name=MAIL, version="1.0.1", privacy=Privacy(receive=("secret",)))
    found = agent.runtime.call("acme/big", "run", {}).structured
    assert found is not None
    token = found["password"]
    assert agent.seen(MAIL, token) == 16_004
    with pytest.raises(UsageError) as caught:
        agent.call(MAIL, to=token * 10_000)
    assert caught.value.code == "arguments.too_large"


def test_a_tool_that_keeps_a_token_has_nothing_in_the_next_session(agent: Agent) -> None:
    keep = """\
import os, pathlib
def run(to=""):
    kept = pathlib.Path(os.environ["MPP_STORAGE"], "token")
    if to:
        kept.write_text(to)
    return kept.read_text()
"""
    agent.stage.python(
        keep, name="acme/keep", permissions=Permissions(storage=1 << 20), tool={"operation": "write"}
    )
    agent.runtime.call("acme/keep", "run", {"to": agent.token()})
    with Runtime(agent.stage.home, policies=agent.stage.policies) as later:
        kept = later.call("acme/keep", "run", {}).structured
        assert kept is not None
        result = later.call(MAIL, "run", {"to": kept["result"]})
        assert result.structured is not None
        assert result.structured["length"] == len(kept["result"])

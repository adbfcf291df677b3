"""A value that was found in one channel of a result leaves through no other, nor as what is no text."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mcp_servers import server
from mpp_exec.calls.result import ToolResult
from mpp_exec.consent.policy import Action
from mpp_exec.dialogue.session import Progress
from mpp_exec.errors import InternalError
from mpp_exec.permissions import Permissions, Privacy
from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.redact import Redactor
from mpp_exec.sandbox import special
from stage import NAME, Stage

# What gives a value away, and the value.
KNOWN: dict[str, tuple[Any, str]] = {
    "email": ({"mail": "jane.doe@example.com"}, "jane.doe@example.com"),
    "phone": ({"phone": "020 7946 0958"}, "020 7946 0958"),
    "ssn": ({"ssn": "241558820"}, "241558820"),
    "ssn as a number": ({"ssn": 241558820}, "241558820"),
    "credit_card": ({"card": "4111 1111 1111 1111"}, "4111 1111 1111 1111"),
    "date_of_birth": ({"dob": "1980-02-03"}, "1980-02-03"),
    "passport": ({"passport": "C01X00T47"}, "C01X00T47"),
    "drivers_license": ({"drivers_license": "D1234567"}, "D1234567"),
    "bank_account": ({"account_number": "12345678"}, "12345678"),
    "person": ({"patient": {"name": "Quentin Ashworth"}}, "Quentin Ashworth"),
    "person beyond ASCII": ({"patient": {"name": "Zoë Müllerová"}}, "Zoë Müllerová"),
    "address": ({"address": "12 Elm Street, Springfield"}, "12 Elm Street, Springfield"),
    "username": ({"username": "qashworth77"}, "qashworth77"),
    "vin": ({"vin": "1HGCM82633A004352"}, "1HGCM82633A004352"),
    "password": ({"password": "hunter2!Zebra"}, "hunter2!Zebra"),
    "password with quotes": ({"password": 'a"b8\\Zebra!x'}, 'a"b8\\Zebra!x'),
    "api key": ({"api_key": "9f8e7d6c5b4a39281706f5e4d3c2b1a0"}, "9f8e7d6c5b4a39281706f5e4d3c2b1a0"),
    "password of a URL": ("postgres://bob:S3cr3tPassw0rd@db.example/x", "S3cr3tPassw0rd"),
    "user and password of a URL": ("https://bob:S3cr3tPassw0rd@db.example/x", "bob:S3cr3tPassw0rd"),
    "password of an option": ("curl -u bob:S3cr3tPassw0rd https://db.example", "S3cr3tPassw0rd"),
    "AWS key": ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    "token of a provider": ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
}
PLACES = ("failed for {} now", "value '{}'", "/tmp/{}/x", "ValueError: {}.", "a_{}_b", "x={}&y=1", "[{}]")


@pytest.mark.parametrize("name", KNOWN)
def test_what_was_found_in_one_channel_stands_in_no_other(name: str) -> None:
    known, value = KNOWN[name]
    spellings = [json.dumps(value, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)]
    for other in (*(place.format(value) for place in PLACES), {value: 1}, *spellings):
        clean = Redactor().redact_many({"structured": known, "stderr": other})
        left = clean["stderr"].value
        text = left if isinstance(left, str) else "".join(left)
        for spelling in (value, *spellings):
            assert spelling not in text, other
        assert value not in json.dumps(clean["structured"].value, ensure_ascii=False)


@pytest.mark.parametrize("name", [name for name in KNOWN if "password" in name or "key" in name])
def test_a_secret_inside_a_longer_word_is_still_one(name: str) -> None:
    known, value = KNOWN[name]
    clean = Redactor().redact_many({"structured": known, "stderr": f"id{value}x"})
    assert value not in clean["stderr"].value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Tr0ub4dor&3x", "Tr0ub4dor\\u00263x"),  # as Go writes JSON
        ("Tr0ub4dor&3x", "Tr0ub4dor&amp;3x"),
        ("Tr0ub4dor&3x", "Tr0ub4dor&#38;3x"),
        ("Tr0ub4dor&3x", "Tr0ub4dor%263x"),
        ("Tr0ub4dor&3x", "VHIwdWI0ZG9yJjN4"),
        ("Tr0ub4dor&3xy", "VHIwdWI0ZG9yJjN4eQ=="),
        ("Tr0ub4dor&3xy", "VHIwdWI0ZG9yJjN4eQ"),
        ("Tr0ub4dor<3x", "Tr0ub4dor\\u003C3x"),
        ("Tr0ub/dor3xQ", r"Tr0ub\/dor3xQ"),  # as PHP does
        ("Tr0ub(dor-3xQ!", r"Tr0ub\(dor-3xQ\!"),  # as a shell has it
        ("Mül-ler4xQ", "M%C3%BCl-ler4xQ"),
        ("Mül-ler4xQ", "M&uuml;l-ler4xQ"),
        ("Mül-ler4xQ", r"M\xfcl-ler4xQ"),
        ("Mül-ler4xQ", r"M\xc3\xbcl-ler4xQ"),
        ("Mül-ler4xQ", "M\\u00FCl-ler4xQ"),
    ],
)
def test_a_secret_is_known_in_what_a_library_makes_of_it(value: str, written: str) -> None:
    places = {place: place.format(written) for place in ("{}", "<p>{}</p>", '{{"x": "{}"}}', "x={}&y=1\n")}
    clean = Redactor().redact_many({"found": {"password": value}, **places})
    for place in places:
        assert clean[place].value == place.format("[SECRET]")


@pytest.mark.parametrize(
    "written", ["Quentin%20Ashworth", "Quentin+Ashworth", "Quentin\\u0020Ashworth", "Quentin&#32;Ashworth"]
)
def test_so_is_a_name(written: str) -> None:
    clean = Redactor().redact_many(
        {"found": {"patient": {"name": "Quentin Ashworth"}}, "out": f"q={written}&b=1"}
    )
    assert clean["out"].value == "q=[PERSON]&b=1"


def test_so_is_a_name_in_a_form() -> None:
    clean = Redactor().redact_many(
        {"found": {"patient": {"name": "Zoë Müllerová"}}, "out": "q=Zo%C3%AB+M%C3%BCllerov%C3%A1"}
    )
    assert clean["out"].value == "q=[PERSON]"


def test_a_word_that_was_a_password_stays_a_word_elsewhere() -> None:
    said = {"log": "https://bob:password@db.example/x", "text": "the password field"}
    assert Redactor().redact(said).value["text"] == "the password field"


SOURCE = """\
import sys
SAY = {"patient": {"name": "Quentin Ashworth"}}

def value():
    print("looked up Quentin Ashworth", file=sys.stderr)
    return {**SAY, "note": "for Quentin Ashworth", "Quentin Ashworth": 1}

def blocks():
    return {
        "content": [{"type": "text", "text": "seen: Quentin Ashworth"}],
        "structuredContent": SAY,
    }

def denied():
    print('{"patient": {"name": "Quentin Ashworth"}}', file=sys.stderr)
    open("/srv/Quentin Ashworth/file")
"""


@pytest.mark.parametrize("function", ["value", "blocks", "denied"])
@pytest.mark.parametrize("action", ["mask", "hash", "token", "drop"])
def test_all_of_a_result_agrees_on_what_a_value_is(tmp_path: Path, function: str, action: Action) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        form = {"result": "mcp"} if function == "blocks" else {}
        stage.python(SOURCE, function=function, tool=form, redaction={"person": action})
        result = stage.runtime.call(NAME, "run", {})
    everything = json.dumps(result.to_call_tool_result()) + result.stderr + result.reason + result.denied
    assert "Ashworth" not in everything
    assert result.redactions["person"] >= 2
    if function == "denied":
        assert result.meta["mpp-exec/denials"]


def test_what_progress_gave_away_is_known_in_the_result(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    told = """
    say(method="notifications/progress", params={
        "progressToken": params["_meta"]["progressToken"], "progress": 1,
        "message": "patient: Quentin Ashworth"})
    say(id=name, result=text("done for Quentin Ashworth"))
    """
    seen: list[Progress] = []
    with Stage(tmp_path) as stage:
        stage.server(server(told), redaction={"person": "hash"})
        result = stage.runtime.call(NAME, progress=seen.append)
    (progress,) = seen
    assert "Ashworth" not in progress.message
    assert result.content[0]["text"].removeprefix("done for ") == progress.message.removeprefix("patient: ")


PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n\xff\xfe jane@example.com").decode()
BINARY: list[dict[str, Any]] = [
    {"type": "image", "mimeType": "image/png", "data": PIXEL, "annotations": {"priority": 1}},
    {"type": "audio", "mimeType": "audio/wav", "data": PIXEL},
    {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "x/y", "blob": PIXEL}},
    {"type": "resource_link", "uri": "https://example.com/x", "name": "x"},
]
READ: list[dict[str, Any]] = [
    {"type": "text", "text": "to jane@example.com"},
    {"type": "resource", "resource": {"uri": "file:///b", "text": "to jane@example.com"}},
]


def shown(stage: Stage, redaction: dict[str, Action] | None = None) -> ToolResult:
    source = f"def run():\n    return {{'content': {BINARY + READ!r}}}\n"
    stage.python(source, tool={"result": "mcp"}, redaction=redaction, privacy=Privacy())
    return stage.runtime.call(NAME, "run", {})


def test_binary_passes_by_rule_and_text_beside_it_is_redacted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        result = shown(stage)
    assert [block["type"] for block in result.content[:4]] == [block["type"] for block in BINARY]
    assert result.content[0]["data"] == PIXEL
    assert result.redactions == {"email": 2}


@pytest.mark.parametrize("who", ["policy", "user"])
def test_where_policy_or_user_says_so_nothing_leaves_that_nobody_has_read(tmp_path: Path, who: str) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        if who == "policy":
            stage.system_policy.write_text('[redaction]\nbinary = "drop"\n')
        result = shown(stage, {"binary": "drop"} if who == "user" else {"binary": "allow"})
    text = json.dumps(result.to_call_tool_result())
    assert PIXEL not in text
    assert "https://example.com/x" not in text
    assert [block["type"] for block in result.content] == ["text"] * 5 + ["resource"]
    assert result.content[0]["text"].startswith("[BINARY] image of type image/png, 27 bytes")
    assert result.redactions == {"binary": 4, "email": 2}


def test_an_allowed_binary_is_no_way_to_be_allowed_anything_else() -> None:
    assert not RedactionPolicy({"binary": "allow"}).drops_binary
    assert RedactionPolicy({"binary": "allow"}).action("email") == "mask"


WORDS = """\
import base64, sys
TEXT = base64.b64encode(b"see jane.doe@example.com").decode()

def run(word):
    print(f'password: "{word}"', file=sys.stderr)
    resource = {"uri": "x:y", "mimeType": "text/plain"}
    return {
        "content": [
            {"type": "resource", "resource": {**resource, "blob": TEXT}},
            {"type": "resource", "resource": {**resource, "text": "jane.doe@example.com"}},
            {"type": "image", "mimeType": "image/svg", "data": TEXT},
        ],
    }
"""


@pytest.mark.parametrize("word", ["blob", "data", "resource", "text", "type", "uri", "mimeType"])
def test_attack_to_have_a_member_of_a_block_redacted_so_that_its_bytes_are_not_read(
    tmp_path: Path, word: str
) -> None:
    """What a tool calls a password is masked everywhere, but not where it is a name of MCP's."""
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        stage.python(WORDS, tool={"result": "mcp"})
        result = stage.runtime.call(NAME, "run", {"word": word})
    clean = base64.b64encode(b"see [EMAIL]").decode()
    first, second, third = result.content
    assert first["resource"]["blob"] == third["data"] == clean
    assert first["resource"].keys() == {"uri", "mimeType", "blob"}
    assert second["resource"]["text"] == "[EMAIL]"
    assert [block["type"] for block in result.content] == ["resource", "resource", "image"]
    assert "jane.doe" not in json.dumps(result.to_call_tool_result())


def test_attack_to_get_a_name_out_in_the_error_of_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that one call made and that the host cannot look at ends the next one, and its name is told."""
    tmp_path.chmod(0o755)
    (folder := tmp_path / "data").mkdir()
    name = folder / ".jane.doe@example.com"
    with Stage(tmp_path) as stage:
        stage.python(
            f"import os\ndef run():\n    os.makedirs({str(name)!r})\n",
            tool={"operation": "write"},
            permissions=Permissions(write=(str(folder),)),
        )
        told = stage.runtime.call(NAME, "run", {}).meta["mpp-exec/appeared"]
        assert told == [f"{folder}/.[EMAIL]"]
        # As an unprivileged host is answered where the tool closed the folder; root is asked by nobody.
        monkeypatch.setattr(special, "seen", lambda path: special.UNKNOWN if path == str(name) else ())
        with pytest.raises(InternalError) as caught:
            stage.runtime.call(NAME, "run", {})
    assert caught.value.code == "sandbox.special_files"
    assert caught.value.message.startswith(f"{folder}/.[EMAIL] cannot be looked at")
    assert "jane.doe" not in repr(caught.value)

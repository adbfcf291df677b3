"""The host's own sentences about a call spell what the tool said otherwise; none of it leaves by that."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_servers import server
from mpp_exec.calls.result import ToolResult
from mpp_exec.consent.config import Settings
from mpp_exec.lifecycle.tracing import _spellings
from mpp_exec.package.manifest import ConfigField
from mpp_exec.privacy.redact import redact
from sandbox_lab import UNHURRIED
from stage import NAME, Stage

FIELD = ConfigField("token", "string", required=True, sensitive=True, env="TOKEN")
INTEGERS = {"type": "object", "additionalProperties": {"type": "integer"}}
SECRETS = {
    "slash and tilde": ("p@ss/wo~rd+1&x=Zq9", ("p@ss", "wo~", "rd+1", "Zq9")),
    "two slashes": ("ab//cd/./ef==zzzz", ("cd/", "ef==", "zzzz")),
    "a way up": ("qq55/x/../rr66", ("qq55", "rr66")),
    "line break": ("first77\nsecond88", ("first77", "second88")),
    "in capitals": ("HUNTER2HUNTER2", ("hunter2", "HUNTER2")),
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        yield stage


def everything(result: ToolResult) -> str:
    return json.dumps(result.to_call_tool_result()) + result.stderr + result.reason + result.denied


SOURCE = """\
import os, socket, subprocess
def run(code, handled):
    t = os.environ["TOKEN"]
    try:
        return eval(code)
    except Exception:
        if not handled:
            raise
"""


def installed(stage: Stage, secret: str, output_schema: object = None) -> None:
    stage.python(
        SOURCE,
        limits=UNHURRIED,
        user_config=(FIELD,),
        settings=Settings(secrets={"token": secret}),
        tool={"output_schema": output_schema} if output_schema else None,
    )


def called(stage: Stage, code: str, *, handled: bool = False) -> ToolResult:
    return stage.runtime.call(NAME, "run", {"code": code, "handled": handled})


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_the_name_of_a_property_that_breaks_the_schema(stage: Stage, name: str) -> None:
    secret, parts = SECRETS[name]
    installed(stage, secret, INTEGERS)
    for code in ("{t: 'x'}", "{'a': {t: 1}}", "{'x' * 1016 + t: 'x'}", "{t + 'y': 'x'}"):
        result = called(stage, code)
        assert result.outcome == "protocol"
        assert "breaks its outputSchema at /" in result.reason
        assert not any(part in everything(result) for part in parts), code


DENIED = (
    "open('/x/' + t)",
    "open('//x/./' + t + '/../y/' + t)",
    "os.listdir('/x/' + t)",
    "open(t)",
    "open('/app/' + t, 'w')",
    "subprocess.run([t])",
    "subprocess.run(['/bin/' + t + 'z'])",
    "socket.getaddrinfo(t, 443)",
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_what_was_denied(stage: Stage, name: str) -> None:
    secret, parts = SECRETS[name]
    installed(stage, secret)
    for code in DENIED:
        for handled in (False, True):
            shown = everything(called(stage, code, handled=handled))
            assert not any(part in shown for part in parts), (code, shown)


def test_a_password_in_a_url_that_is_taken_for_a_path(stage: Stage) -> None:
    installed(stage, "unused-here")
    result = called(stage, "open('/x/https://user:Zebra77pw@h.example/y')")
    assert "Zebra77pw" not in everything(result)
    assert result.redactions["url_credential"] >= 1
    assert result.denied


def test_a_denial_without_anything_sensitive_says_the_path(stage: Stage) -> None:
    installed(stage, "unused-here")
    result = called(stage, "open('//srv/./a//b')")
    assert "/srv/a/b is not granted" in result.denied
    assert result.meta["mpp-exec/denials"][0]["tried"] == "/srv/a/b"
    assert "toml" in result.meta["mpp-exec/denials"][0]


@pytest.mark.parametrize("name", ["slash and tilde", "two slashes", "a way up"])
def test_a_secret_in_a_path_that_was_normalised_elsewhere(name: str) -> None:
    secret, parts = SECRETS[name]
    clean = redact(posixpath.normpath(f"/srv/{secret}"), secrets=[secret]).value
    assert not any(part in clean for part in parts)


CUT = {
    "path with spaces": ("correct horse battery", "cat: /x/{}: Permission denied"),
    "path with a quote": ("corr'ct-horse9", "cat: '/x/{}': No such file or directory"),
    "path with a colon": ("corr:ct-horse9", "open /x/{}: ENOENT"),
    "host with an underscore": ("horse9_battery", "curl: (6) Could not resolve host: {}"),
    "program with a sign": ("b@ttery9horse", "sh: 1: {}: not found"),
    "program with a slash": ("spawn/b@tt", "Error: spawn {} ENOENT"),
}
SAYS = """\
params_ = {{"error": {{"code": 1, "message": {line!r}}}}}
sys.stderr.write({line!r} + "\\n")
say(id=name, **params_)
"""


@pytest.mark.parametrize("name", CUT)
def test_a_secret_that_a_program_complains_of_is_not_told_in_part(stage: Stage, name: str) -> None:
    """What is read out of an error message may end in the middle of a value."""
    secret, line = CUT[name]
    stage.server(
        server(SAYS.format(line=line.format(secret))),
        user_config=(FIELD,),
        settings=Settings(secrets={"token": secret}),
    )
    shown = everything(stage.runtime.call(NAME, "run", {}))
    assert not any(part in shown for part in ("correct", "corr", "horse", "ttery", "b@tt")), shown


def test_what_a_program_complains_of_is_told_with_masks_where_a_value_is_whole(stage: Stage) -> None:
    line = "cat: /srv/jane.doe@example.com/hunter2zebra/x: Permission denied"
    stage.server(
        server(SAYS.format(line=line)),
        user_config=(FIELD,),
        settings=Settings(secrets={"token": "hunter2zebra"}),
    )
    result = stage.runtime.call(NAME, "run", {})
    assert "/srv/[EMAIL]/[SECRET]/x is not granted" in result.denied


def test_a_secret_is_known_as_hosts_and_paths_spell_it_where_a_trace_proposes_them() -> None:
    assert set(_spellings("Ab//c/../Dé")) == {"Ab//c/../Dé", "ab//c/../dé", "Ab/Dé"}
    assert list(_spellings(".")) == [".", "."], "of nothing nothing is left"

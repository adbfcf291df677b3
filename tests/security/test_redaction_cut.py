"""A tool that is stopped in the middle of a value, of which half is there to be recognised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpp_exec.calls.result import ToolResult
from mpp_exec.consent.config import Settings
from mpp_exec.package.manifest import ConfigField
from mpp_exec.privacy.redact import CUT_OFF, Redactor
from sandbox_lab import UNHURRIED
from stage import NAME, Stage

SECRET = "p@ss/word+1&x=Zq9"
FIELD = ConfigField("token", "string", required=True, sensitive=True, env="TOKEN")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        yield stage


def called(stage: Stage, source: str, *, output: int = 1 << 16, timeout: float | None = None) -> ToolResult:
    stage.python(
        source,
        limits=replace(UNHURRIED, output=output),
        user_config=(FIELD,),
        settings=Settings(secrets={"token": SECRET}),
    )
    return stage.runtime.call(NAME, "run", {}, timeout=timeout)


@pytest.mark.parametrize("kept", [1, 4, len(SECRET) - 1])
@pytest.mark.parametrize(
    "spelling", ["t", "urllib.parse.quote(t, safe='')", "base64.b64encode(t.encode()).decode()"]
)
def test_output_that_reaches_its_limit_inside_a_secret(stage: Stage, kept: int, spelling: str) -> None:
    source = f"""\
import base64, os, urllib.parse
def run():
    t = os.environ["TOKEN"]
    line = "token is " + {spelling}
    pad = {1 << 16} - len("token is ") - {kept}
    # More than a pipe holds: the tool never gets to its result, which would count to the limit, too.
    data = "x\\n" * (pad // 2) + "\\n" * (pad % 2) + (line + "\\n") * 20_000
    data = data.encode()
    while data:
        data = data[os.write(2, data[:4096]):]
"""
    result = called(stage, source)
    assert result.outcome == "output"
    assert "token is" not in result.stderr
    assert result.stderr.endswith(CUT_OFF)


def test_a_tool_that_is_stopped_inside_a_card_number(stage: Stage) -> None:
    source = (
        "import os, signal\n"
        "def run():\n"
        "    os.write(2, b'whole line\\ncard 4111 1111 1111 11')\n"
        "    signal.pause()\n"
    )
    result = called(stage, source, timeout=2)
    assert result.outcome == "timeout"
    assert result.stderr == f"whole line\n{CUT_OFF}"


def test_a_tool_that_dies_inside_a_card_number(stage: Stage) -> None:
    source = (
        "import os, signal\n"
        "def run():\n"
        "    os.write(2, b'card 4111 1111 1111 11')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert called(stage, source).stderr == CUT_OFF


def test_what_ends_by_itself_keeps_its_last_line(stage: Stage) -> None:
    result = called(stage, "import os\ndef run():\n    os.write(2, b'first\\nlast')\n")
    assert result.stderr == "first\nlast"


def test_the_first_lines_of_a_secret_that_has_several() -> None:
    secret = "first line of it\nsecond line\nthird line"
    redactor = Redactor(secrets=[secret])
    assert redactor.without_cut_end("x\nfirst line of it\nsecond l") == f"x\n[SECRET]{CUT_OFF}"


def test_a_line_that_never_ends_is_cut_by_as_much_as_a_value_is_long() -> None:
    text = "x" * 100_000 + " 4111 1111 1111 11"
    kept = Redactor().without_cut_end(text)
    assert "4111" not in kept
    assert len(kept) > 90_000

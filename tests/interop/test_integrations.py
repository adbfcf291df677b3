"""Installed tools as native tools of the real frameworks, which run them in their own loops."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import mpp_exec
from command import Shell
from mpp_exec.integrations.offering import MAX_NAME, name_of, text_of

pytestmark = pytest.mark.timeout(600)  # the first run makes the environment

HERE = Path(__file__).parent
CODE = """\
def call(**arguments):
    if arguments.get("fail"):
        raise ValueError("for jane@example.com")
    return arguments
def look():
    data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
    image = {"type": "image", "data": data, "mimeType": "image/png"}
    return {"content": [{"type": "text", "text": "a pixel"}, image]}
"""
SCHEMA = '{ type = "object", properties = { config = { type = "string" }, self = { type = "integer" } } }'
MORE = """
[[tools]]
name = "look.at"
description = "Shows."
entry = "tool:look"
result = "mcp"
inputSchema = { type = "object" }

[[tools]]
name = "wipe"
description = "Destroys."
entry = "tool:call"
operation = "destructive"
inputSchema = { type = "object" }
"""
# Names that a framework has a use of its own for.
ODD = {"config": "mine", "self": 3, "run_manager": "mine", "callbacks": [], "tool_call_id": "x", "input": 1}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("integrations"))
    made.root.chmod(0o755)
    made.install(code=CODE, schema=SCHEMA, extra=MORE)
    made.install("acme/other", code=CODE, schema=SCHEMA)
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with mpp_exec and the libraries it needs, and nothing else of this environment."""
    folder = tmp_path_factory.mktemp("site")
    folder.chmod(0o755)
    (folder / "mpp_exec").symlink_to(Path(mpp_exec.__file__).parent)
    for requirement in importlib.metadata.requires("mpp-exec") or ():
        if "extra ==" in requirement:
            continue
        name = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert name is not None
        distribution = importlib.metadata.distribution(name[0])
        tops = {file.parts[0] for file in distribution.files or ()}
        for top in tops:
            if not top.endswith(".dist-info") and top not in ("..", "__pycache__"):
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def host(  # noqa: PLR0917 -- a request
    python: Path, site: Path, shell: Shell, name: str, calls: list[Any], answer: bool = False, *packages: str
) -> Any:
    request = {"home": str(shell.home), "packages": packages, "calls": calls, "answer": answer}
    done = subprocess.run(
        [str(python), str(HERE / f"{name}_host.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={**shell.environment(), "PYTHONPATH": str(site), "LANGSMITH_TRACING": "false"},
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_langchain_calls_tools_in_turn_and_at_once(interop_python: Path, site: Path, shell: Shell) -> None:
    seen = host(
        interop_python,
        site,
        shell,
        "langchain",
        [
            ["acme_echo_call", ODD],
            ["acme_echo_call", {"fail": True}],
            ["acme_echo_call", {"config": 7}],
            ["acme_echo_wipe", {}],
            [name_of("acme/echo", "look.at"), {}],
        ],
    )
    names = [tool["function"]["name"] for tool in seen["tools"]]
    assert names == ["acme_echo_call", name_of("acme/echo", "look.at"), "acme_echo_wipe", "acme_other_call"]
    assert seen["tools"][0]["function"]["description"] == "Answers."
    assert seen["tools"][0]["function"]["parameters"]["properties"]["config"] == {"type": "string"}
    assert seen["streamed"] == 5
    for came in (seen["calls"], seen["again"], *seen["looped"]):
        right, failed, wrong, refused, image = came
        assert json.loads(right["content"]) == ODD
        assert (right["status"], right["outcome"]) == ("success", "ok")
        assert failed["status"] == wrong["status"] == refused["status"] == "error"
        assert "ValueError: for [EMAIL]" in failed["content"]
        assert "/config" in wrong["content"]
        assert "refused" in refused["content"]
        assert [block["type"] for block in image["content"]] == ["text", "image"]
        assert image["content"][1]["mime_type"] == "image/png"
    assert seen["started"] == [call[0] for call in [["acme_echo_call"]] * 3] + [
        "acme_echo_wipe",
        name_of("acme/echo", "look.at"),
    ]


def test_the_openai_agents_sdk_runs_its_loop_with_them(
    interop_python: Path, site: Path, shell: Shell
) -> None:
    seen = host(
        interop_python,
        site,
        shell,
        "openai_agents",
        [
            ["acme_echo_call", ODD],
            ["acme_echo_call", {"fail": True}],
            ["acme_echo_call", "[1]"],
            ["acme_echo_call", "{broken"],
            ["acme_echo_wipe", {}],
            [name_of("acme/echo", "look.at"), {}],
        ],
    )
    assert [tool["name"] for tool in seen["tools"]][:1] == ["acme_echo_call"]
    assert seen["tools"][0]["schema"]["properties"]["self"] == {"type": "integer"}
    right, failed, listed, broken, refused, image = seen["calls"]
    assert json.loads(right) == ODD
    assert failed.startswith("error: ")
    assert "ValueError: for [EMAIL]" in failed
    for wrong in (listed, broken, refused):
        assert wrong.startswith("error: ")
    assert [block["type"] for block in image] == ["input_text", "input_image"]
    assert image[1]["image_url"].startswith("data:image/png;base64,")
    assert seen["ended"] == "done"
    assert seen["streamed"] == 6
    assert seen["again"] == seen["calls"]


@pytest.mark.parametrize("name", ["langchain", "openai_agents"])
def test_a_confirmation_is_the_hosts_own(interop_python: Path, site: Path, shell: Shell, name: str) -> None:
    seen = host(interop_python, site, shell, name, [["acme_echo_wipe", {"what": "all"}]], True)
    (call,) = seen["calls"]
    assert json.loads(call if isinstance(call, str) else call["content"]) == {"what": "all"}


@pytest.mark.parametrize("name", ["langchain", "openai_agents"])
def test_one_package_keeps_the_names_it_has_among_all(
    interop_python: Path, site: Path, shell: Shell, name: str
) -> None:
    call = ["acme_other_call", {}]
    seen = host(interop_python, site, shell, name, [call], False, "acme/other")
    assert len(seen["tools"]) == 1


def test_names_are_what_models_take_and_stay_apart() -> None:
    tools = ["look.at", "look_at", "l" * 100, "l" * 101, "Call", "call"]
    names = {name_of("acme/echo", tool) for tool in tools}
    assert len(names) == len(tools)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
        assert len(name) <= MAX_NAME


def test_what_is_no_text_is_named_and_not_spelt_out() -> None:
    blob = {"type": "resource", "resource": {"uri": "a:b", "blob": "AAAA"}}
    assert text_of(blob) == '{"resource":{"uri":"a:b"},"type":"resource"}'
    assert "AAAA" not in text_of({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"})
    assert text_of({"type": "resource", "resource": {"uri": "a:b", "text": "words"}}) == "words"


def test_the_project_does_without_the_frameworks() -> None:
    for framework in ("langchain_core", "agents", "openai"):
        assert importlib.util.find_spec(framework) is None, "the other tests would prove nothing"

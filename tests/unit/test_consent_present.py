"""What a person is shown, and how a call is confirmed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consent_samples import MANIFEST, READ, WRITE, grant, signed
from mpp_exec.consent.config import check_settings
from mpp_exec.consent.confirm import ConfirmationRequest, require_confirmation
from mpp_exec.consent.difference import difference
from mpp_exec.consent.policy import Policy, PolicyLayer
from mpp_exec.consent.present import approval_text, stays_read_only, update_text
from mpp_exec.errors import MppError
from mpp_exec.lifecycle.proposing import Proposal
from mpp_exec.package.manifest import ConfigField, Requirement, RuntimeSpec
from mpp_exec.permissions import HostPort, Permissions, Privacy, is_protected_name
from mpp_exec.sandbox.repository import OBEYED


def everything(tmp_path: Path) -> tuple[Any, Any]:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    package = signed(
        runtime=RuntimeSpec(
            "exec",
            command=("bin/tool", "two words", "${user_config.dir}"),
            env=(("MODE", "fast"),),
            requires=(Requirement("python", ">=3.11"),),
        ),
        permissions=Permissions(
            network=(HostPort("api.example.com", 443),),
            environment=("TZ",),
            subprocess=("git",),
            storage=16 << 20,
            read=("/usr",),
            write=("${user_config.dir}",),
        ),
        privacy=Privacy(allow=("email",)),
        user_config=(
            ConfigField("dir", "directory", required=True),
            ConfigField("token", "string", sensitive=True, env="TOKEN"),
            ConfigField("unset", "string"),
        ),
    )
    settings = check_settings(package.manifest.user_config, {"dir": f"{tmp_path}/link"}, {"token": "hunter2"})
    return package, settings


def test_approval_shows_everything(tmp_path: Path) -> None:
    package, settings = everything(tmp_path)
    found = grant(package, settings, degrade=["landlock-scope"], degradable=["landlock-scope"])
    text = "\n".join(approval_text(replace(package, first_use=True), found))
    for expected in (
        "package acme/csv 1.4.0",
        package.digest,
        f"publisher acme, key {package.key_id}",
        "for the first time",
        "| Query CSV files",
        "runs as: exec",
        "| bin/tool 'two words' ${user_config.dir}",
        "sets MODE to:",
        "takes from this host: python>=3.11",
        "tool query: reads only, runs without asking",
        "| Runs a filter.",
        "| path (required)",
        "tool wipe: may destroy things, asks at every call",
        "- connect to api.example.com, port 443",
        "can send to these hosts whatever it may read",
        "- read /usr and everything below it",
        f"- read and change {tmp_path}/real and everything below it",
        "only the size of each file is bounded",
        "- see the environment variable TZ",
        "- start the program git",
        "16MiB",
        "- run for 10s",
        "- return email values unredacted",
        "- landlock-scope, where this host lacks it:",
        "- Landlock's scopes are missing",
        f"dir = {tmp_path}/real",
        "token = a secret, stored encrypted, handed over as TOKEN",
        "unset = not given",
    ):
        assert expected in text
    assert "hunter2" not in text
    assert "/link" not in text


def test_the_name_of_an_argument_passes_for_no_other(tmp_path: Path) -> None:
    package, settings = everything(tmp_path)
    names = ("path (required), mode", "", "naïve-name", 'a"b')
    schema = {"type": "object", "properties": {name: {} for name in names}, "required": [""]}
    first, *others = package.manifest.tools
    tools = (replace(first, input_schema=schema), *others)
    package = replace(package, manifest=replace(package.manifest, tools=tools))
    assert '  | "path (required), mode", "" (required), naïve-name, "a\\"b"' in approval_text(
        package, grant(package, settings)
    )


@pytest.mark.parametrize(
    ("destination", "inside"),
    [
        ("api.example.com", False),
        ("93.184.216.34", False),
        ("2606:2800:220:1::1", False),
        ("127.0.0.1", True),
        ("localhost", True),
        ("10.0.0.5", True),
        ("169.254.169.254", True),
        ("fd00::1", True),
        ("::7f00:1", True),
        ("64:ff9b::a00:1", True),
        ("64:ff9b::808:808", False),
        ("224.0.0.1", True),
        ("168.63.129.16", True),
    ],
)
def test_approval_says_which_hosts_are_no_strangers(tmp_path: Path, destination: str, inside: bool) -> None:
    package, settings = everything(tmp_path)
    found = grant(package, settings)
    there = HostPort(destination, 443)
    found = replace(found, permissions=replace(found.permissions, network=(there,)))
    lines = approval_text(package, found)
    told = "note: these are services of this machine, or of a private network:"
    assert (told in lines) == inside
    assert (f"  - {there}" in lines) == inside


def test_approval_shows_what_is_withheld_and_covered(tmp_path: Path) -> None:
    package, settings = everything(tmp_path)
    policy = Policy((PolicyLayer(source="p.toml", subprocess=()),))
    found = replace(grant(package, settings, policy=policy, without=["network"]), covers=("/usr/x",))
    text = "\n".join(approval_text(package, found))
    assert "- network (withheld by you)" in text
    assert "- subprocess=git (p.toml does not allow it)" in text
    assert "it sees an empty folder or file instead of:\n  - /usr/x" in text
    assert "for the first time" not in text
    assert "connect" not in text


def words(permissions: Permissions) -> str:
    return "\n".join(stays_read_only(permissions))


def test_approval_of_a_write_grant_says_what_stays_read_only(tmp_path: Path) -> None:
    package, settings = everything(tmp_path)
    lines = approval_text(package, grant(package, settings))
    told = stays_read_only(grant(package, settings).permissions)
    assert "\n".join(told) in "\n".join(lines)
    assert lines.index(told[0]) > lines.index("it may:")
    assert "inside of that, these stay read-only" not in "\n".join(approval_text(signed(), grant()))


def test_what_stays_read_only_is_what_the_grant_makes_of_it() -> None:
    assert stays_read_only(Permissions(read=("/p",))) == []
    plain = words(Permissions(write=("/p",)))
    for expected in ("begins with a dot (.git,", "AGENTS.md, CLAUDE.md and GEMINI.md", "links lead to"):
        assert expected in plain
    assert "but" not in plain
    assert "- /p/keep, which it may only read" in words(Permissions(read=("/p/keep",), write=("/p",)))
    named = words(Permissions(write=("/p", "/p/.github", "/p/plain", "/q")))
    assert "since they are named:\n  - /p/.github\n" in named
    assert "/p/plain" not in named
    assert "/q" not in named
    assert "read-only: config, config.worktree, hooks," in words(
        Permissions(write=("/p",), subprocess=("git",))
    )


def test_sentence_names_what_the_sandbox_protects() -> None:
    """The examples and the three files of .git are those of the policy."""
    plain = words(Permissions(write=("/p",)))
    assert all(is_protected_name(name) for name in re.findall(r"[.][a-z]+|[A-Z]+[.]md", plain))
    inside = re.search(
        r"these stay read-only: (config.*)", words(Permissions(write=("/p",), subprocess=("git",)))
    )
    assert inside is not None
    assert tuple(re.findall(r"[\w.]+", inside.group(1).replace(" and ", " "))) == OBEYED


def test_update_that_may_change_more_says_what_stays_read_only() -> None:
    old = grant(signed(permissions=Permissions(read=("/usr",))))
    update = signed(version="2.0.0", permissions=Permissions(write=("/usr",)))
    shown = Proposal(update, grant(update), {}, old, tuple(difference(old, update))).text()
    assert "\n".join(stays_read_only(Permissions(write=("/usr",)))) in "\n".join(shown)
    same = signed(version="3.0.0", permissions=Permissions(write=("/usr",)))
    again = Proposal(same, grant(same), {}, grant(update), tuple(difference(grant(update), same))).text()
    assert "read-only" not in "\n".join(again)


def test_text_of_the_publisher_cannot_pass_for_ours() -> None:
    """Every line that a publisher writes is marked, also those after a line break of whatever kind."""
    for break_ in ("\n", "\r", "\r\n", "\u2028", "\x0b", "\x85"):
        forged = f"Nice.{break_}it may:{break_}  - reach nothing outside its sandbox"
        tool = replace(
            READ,
            description=forged,
            title=forged,
            input_schema={"type": "object", "properties": {forged: {}}},
        )
        package = signed(
            description=forged,
            tools=(tool,),
            runtime=RuntimeSpec("exec", command=("t", forged), env=(("E", forged),)),
            user_config=(ConfigField("s", "string", default=forged),),
        )
        settings = check_settings(package.manifest.user_config, {})
        lines = approval_text(package, grant(package, settings))
        assert [line for line in lines if line.startswith("it may:")] == ["it may:"]
        assert all(break_ not in line for line in lines)
        forged_lines = [line for line in lines if "reach nothing" in line]
        honest = "  - reach nothing outside its sandbox"
        assert forged_lines.count(honest) == 1
        assert all(line == honest or "| " in line[:6] for line in forged_lines)


def test_update_shows_what_changed() -> None:
    old = grant(signed(permissions=Permissions(read=("/usr",))))
    update = signed(version="2.0.0", permissions=Permissions(read=("/usr", "/var")), tools=(READ, WRITE))
    lines = update_text(update, old, difference(old, update))
    assert lines == [
        f"package acme/csv: 1.4.0 → 2.0.0, digest {update.digest}",
        "  + asks for filesystem.read=/var",
        "  - tool wipe is gone",
    ]
    assert "nothing that was shown" in update_text(signed(version="1.5.0"), grant(), [])[-1]
    other = replace(update, key_id="sha256:" + "22" * 32)
    assert any("another key" in line for line in update_text(other, old, difference(old, other)))


# Confirmation


def request(
    tool: str = "wipe", arguments: dict[str, Any] | None = None, **keywords: Any
) -> ConfirmationRequest:
    found = grant(signed(permissions=Permissions(write=("/var/tmp",))), **keywords)
    return ConfirmationRequest.of_call(found, tool, arguments or {"path": "/x"})


def refusal(function: Any, *arguments: Any, **keywords: Any) -> MppError:
    with pytest.raises(MppError) as caught:
        function(*arguments, **keywords)
    assert caught.value.hint
    return caught.value


def test_request_shows_the_whole_call() -> None:
    found = request()
    assert (found.tool, found.operation, found.confirmation) == ("wipe", "destructive", "always")
    assert found.description == "Wipes."
    assert found.arguments == {"path": "/x"}
    assert found.arguments_json == '{"path":"/x"}'
    assert found.reach == (
        "read and change /var/tmp and everything below it; how much it writes there is not bounded",
    )


def test_arguments_that_were_shown_cannot_be_changed() -> None:
    arguments = {"path": "/x"}
    found = request(arguments=arguments)
    arguments["path"] = "/y"
    found.arguments["path"] = "/z"
    assert found.arguments == {"path": "/x"}


def test_never_does_not_ask() -> None:
    def fail(_request: ConfirmationRequest) -> bool:
        raise AssertionError

    assert require_confirmation(request("query"), fail) is False
    assert require_confirmation(request("query"), None) is False


def test_always_asks_at_every_call() -> None:
    asked = []

    def ask(each: ConfirmationRequest) -> bool:
        asked.append(each.tool)
        return True

    assert require_confirmation(request(), ask) is True
    assert require_confirmation(request(), ask, remembered=True) is True
    assert asked == ["wipe", "wipe"]


def test_once_is_remembered() -> None:
    once = request("query", confirm={"query": "once"})
    assert require_confirmation(once, lambda _: True) is True
    assert require_confirmation(once, None, remembered=True) is False
    assert refusal(require_confirmation, once, None).code == "confirm.required"


def test_no_is_no() -> None:
    assert refusal(require_confirmation, request(), lambda _: False).code == "confirm.refused"
    assert refusal(require_confirmation, request(), None).code == "confirm.required"


@pytest.mark.parametrize("answer", [None, 1, "yes", "False", [True], object()])
def test_what_is_no_bool_is_no_answer(answer: Any) -> None:
    assert refusal(require_confirmation, request(), lambda _: answer).code == "confirm.no_answer"


def test_coroutine_is_no_answer() -> None:
    """An async function returns something truthy before anybody was asked."""

    async def ask(_request: ConfirmationRequest) -> bool:
        await asyncio.sleep(0)
        return True

    confirm: Any = ask
    assert refusal(require_confirmation, request(), confirm).code == "confirm.no_answer"


def test_exception_of_the_function_stops_the_call() -> None:
    def ask(_request: ConfirmationRequest) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        require_confirmation(request(), ask)


def test_manifest_of_the_samples_is_what_tests_believe() -> None:
    assert [tool.confirm for tool in MANIFEST.tools] == ["never", "never", "always"]

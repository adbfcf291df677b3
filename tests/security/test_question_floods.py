"""Calls that wait for a person in their dozens, which a model can make: nobody else has to wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from mcp_peer import Peer
from mpp_exec import ConsentError
from mpp_exec.calls.result import ToolResult
from mpp_exec.consent.confirm import MOST_ASKED, MOST_OF_PACKAGE, ConfirmationRequest
from mpp_exec.mcp.calling import MAX_RUNNING
from stage import Stage

TOOL = "def run(**arguments):\n    return 1\n"
ASKED_ABOUT: dict[str, Any] = {"operation": "destructive", "confirm": "always"}
PATIENCE = 60.0  # seconds; what is waited for here comes at once, or never


class Person:
    """Who is asked, says nothing until ``answers`` is set, and then no."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self._asked: list[str] = []
        self._one_more = threading.Condition()

    def confirm(self, request: ConfirmationRequest) -> bool:
        with self._one_more:
            self._asked.append(request.package)
            self._one_more.notify_all()
        assert self.answers.wait(2 * PATIENCE)
        return False

    def is_asked(self, times: int) -> None:
        """Wait until that many questions were put."""
        with self._one_more:
            assert self._one_more.wait_for(lambda: len(self._asked) >= times, PATIENCE)

    @property
    def asked(self) -> int:
        return len(self._asked)


@pytest.fixture
def person() -> Iterator[Person]:
    made = Person()
    yield made
    made.answers.set()


@pytest.fixture
def stage(tmp_path: Path, person: Person) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, confirm=person.confirm, parked=0) as made:
        for name in ("acme/bad", "acme/worse", "acme/asked"):
            made.python(TOOL, tool=ASKED_ABOUT, name=name)
        made.python(TOOL, name="acme/good")
        yield made
        person.answers.set()


def codes(results: list[ToolResult | BaseException]) -> list[str]:
    return sorted(each.code for each in results if isinstance(each, ConsentError))


def asked_or_answered(message: dict[str, Any]) -> bool:
    return message.get("method") == "elicitation/create" or "result" in message


async def only(count: int, calls: list[asyncio.Task[ToolResult]]) -> None:
    """Wait until *count* of *calls* are left: the others are refused before anybody answers."""
    waiting = set(calls)
    while len(waiting) > count:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def flooded(stage: Stage, person: Person, act: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Have 100 tasks wait for a person, *act* meanwhile; return what that returned, and how they ended."""

    async def main() -> tuple[Any, list[str]]:
        flood = [
            asyncio.create_task(stage.runtime.acall(name, arguments={"number": number}))
            for name in ("acme/bad", "acme/worse")
            for number in range(50)
        ]
        await asyncio.to_thread(person.is_asked, MOST_ASKED)
        result = await asyncio.wait_for(act(), PATIENCE)
        await only(MOST_ASKED, flood)
        person.answers.set()
        return result, codes(await asyncio.gather(*flood, return_exceptions=True))

    return asyncio.run(main())


def test_a_call_without_a_question_does_not_wait_behind_a_hundred_with_one(
    stage: Stage, person: Person
) -> None:
    result, ends = flooded(stage, person, lambda: stage.runtime.acall("acme/good"))
    assert result.outcome == "ok"
    assert person.asked == MOST_ASKED
    assert ends == ["confirm.refused"] * MOST_ASKED + ["confirm.too_many"] * (100 - MOST_ASKED)
    refused = [entry.content["code"] for entry in stage.runtime.ledger.list(kinds=["refused"])]
    assert sorted(refused) == ends, "on record, all of them"


def test_a_question_beyond_the_bound_is_refused_at_once(stage: Stage, person: Person) -> None:
    async def one_more() -> str:
        with pytest.raises(ConsentError) as refused:
            await stage.runtime.acall("acme/asked")
        assert refused.value.hint
        return refused.value.code

    assert flooded(stage, person, one_more)[0] == "confirm.too_many"
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call("acme/asked")
    assert refused.value.code == "confirm.refused", "and asked again when the others are answered"


def test_the_questions_of_one_package_leave_others_theirs(stage: Stage, person: Person) -> None:
    async def main() -> list[ToolResult | BaseException]:
        flood = [
            asyncio.create_task(stage.runtime.acall("acme/bad", arguments={"number": number}))
            for number in range(50)
        ]
        await asyncio.to_thread(person.is_asked, MOST_OF_PACKAGE)
        other = asyncio.create_task(stage.runtime.acall("acme/asked"))
        await asyncio.to_thread(person.is_asked, MOST_OF_PACKAGE + 1)
        await only(MOST_OF_PACKAGE, flood)
        person.answers.set()
        return await asyncio.gather(other, *flood, return_exceptions=True)

    first, *others = asyncio.run(main())
    assert codes([first]) == ["confirm.refused"]
    assert codes(others).count("confirm.too_many") == 50 - MOST_OF_PACKAGE


def test_a_client_that_leaves_questions_open_can_call_what_has_none(tmp_path: Path) -> None:
    """Over MCP: as many calls as run at once, each of which its client is asked about and does not answer."""
    shell = Shell(tmp_path)
    shell.root.chmod(0o755)
    shell.ok("keygen", "acme")
    for name, operation in (("acme/bad", "destructive"), ("acme/good", "read")):
        source = shell.tool(
            name, code="def call(**arguments):\n    return {}\n", schema='{ type = "object" }',
            extra=f'operation = "{operation}"',
        )  # fmt: skip
        shell.ok("build", str(source))
        shell.ok("install", f"{name.replace('/', '-')}-1.0.0.mpp", "--approve")
    with Peer(shell) as peer:
        peer.initialize(elicitation={})
        flood = [
            peer.request("tools/call", {"name": "acme_bad_call", "arguments": {"number": number}})
            for number in range(MAX_RUNNING)
        ]
        seen = [peer.take(asked_or_answered) for _ in flood]
        errors = [each["result"]["_meta"]["mpp-exec/error"]["code"] for each in seen if "result" in each]
        assert errors == ["confirm.too_many"] * (MAX_RUNNING - MOST_OF_PACKAGE)
        good = peer.call("acme_good_call")
        assert good["result"].get("isError") is not True, good

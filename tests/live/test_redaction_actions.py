"""What is done with each kind, through whole calls: whose word counts, and what a hash is good for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mpp_exec.consent.policy import Action
from mpp_exec.permissions import Privacy
from stage import NAME, Stage

SOURCE = """\
def run(text="jane@example.com"):
    return {"mail": text}
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    tmp_path.chmod(0o755)
    return Stage(tmp_path)


def answer(stage: Stage, redaction: Mapping[str, Action], policy: str = "", **arguments: str) -> str:
    with stage:
        stage.system_policy.write_text(policy)
        stage.python(SOURCE, privacy=Privacy(allow=("email",)), redaction=redaction)
        result = stage.runtime.call(NAME, "run", arguments)
        assert result.redactions == {"email": 1}
        assert result.structured is not None
        mail = result.structured["mail"]
        assert isinstance(mail, str)
        return mail


@pytest.mark.parametrize(
    ("chosen", "policy", "mail"),
    [
        ({}, "", "jane@example.com"),
        ({"email": "mask"}, "", "[EMAIL]"),
        ({"email": "partial"}, "", "j***@example.com"),
        ({"email": "drop"}, "", ""),
        ({}, "partial", "j***@example.com"),
        ({"email": "drop"}, "partial", ""),
        ({"email": "partial"}, "mask", "[EMAIL]"),
        ({"email": "partial"}, "allow", "j***@example.com"),
        ({}, "allow", "jane@example.com"),
    ],
)
def test_the_policy_bounds_the_persons_choice_and_that_what_a_package_asks_for(
    stage: Stage, chosen: Mapping[str, Action], policy: str, mail: str
) -> None:
    text = f'[redaction]\nemail = "{policy}"\n' if policy else ""
    assert answer(stage, chosen, text) == mail


def test_a_hash_is_the_same_in_one_home_and_another_in_the_next(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    hashes = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir(mode=0o755)
        with Stage(folder) as stage:
            stage.python(SOURCE, redaction={"email": "hash"})
            said = [
                stage.runtime.call(NAME, "run", {"text": text}).structured
                for text in ("jane@example.com", "Jane@EXAMPLE.com", "joan@example.com")
            ]
            assert said[0] == said[1] != said[2]
            hashes.append(said[0])
    assert hashes[0] != hashes[1]

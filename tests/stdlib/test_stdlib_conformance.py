"""CPython's own tests inside a sandbox: what must not work does not, for its reason; all else works.

``make test`` runs the modules that take seconds, ``make test-stdlib`` all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from needs import missing
from sandbox_lab import Lab
from stdlib.suite import FETCHED, Bench, Difference, Expected, disagreements, expected

VERSION, MODULES = expected()
SLOW = ("test.test_threading", "test.test_ssl", "test.test_asyncio.")


@pytest.fixture(scope="module")
def bench(lab: Lab) -> Iterator[Bench]:
    if not (FETCHED / "version").is_file():
        missing("CPython's own tests are not here: make cpython-tests")
    with Bench(lab) as made:
        fetched = (FETCHED / "version").read_text(encoding="ascii").strip()
        if made.python.version != fetched or not fetched.startswith(f"{VERSION}."):
            pytest.skip(f"the list is for Python {VERSION}, the tests for {fetched}: make cpython-tests")
        yield made


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("module", MODULES)
def test_module_ends_inside_as_the_list_says(bench: Bench, module: str) -> None:
    if module.startswith(SLOW) and os.environ.get("MPP_STDLIB") != "all":
        pytest.skip("takes minutes: make test-stdlib")
    assert bench.compare(module, MODULES[module]) == []


REFUSED = Difference("starts a process", "error", "Errno 38]", ("m.C.test_fork", "m.D.*"))
LIST = Expected((REFUSED,))


@pytest.mark.parametrize(
    ("outside", "inside", "said"),
    [
        ({"m.C.test_fork": "pass"}, {"m.C.test_fork": "error Errno 38] x"}, None),
        ({"m.C.test_fork": "pass"}, {"m.C.test_fork": "pass"}, "and passes"),
        ({"m.C.test_fork": "pass"}, {"m.C.test_fork": "error Errno 1] x"}, "Errno 1] x"),
        ({"m.C.test_fork": "pass"}, {"m.C.test_fork": "fail Errno 38]"}, "and fail"),
        ({"m.C.test_fork": "pass"}, {}, "and absent"),
        ({"m.C.test_other": "pass"}, {"m.C.test_other": "error Errno 38]"}, "error inside"),
        ({"m.C.test_other": "pass"}, {}, "absent inside"),
        ({"m.C.test_other": "fail x"}, {"m.C.test_other": "pass"}, "fail outside"),
        (
            {"m.D.test_a": "skip", "m.D.test_b": "pass"},
            {"m.D.test_a": "skip", "m.D.test_b": "pass"},
            "test_b",
        ),
    ],
)
def test_list_is_exact_in_both_directions(
    outside: dict[str, str], inside: dict[str, str], said: str | None
) -> None:
    def ended(words: dict[str, str]) -> dict[str, tuple[str, str]]:
        return {name: (text.partition(" ")[0], text.partition(" ")[2]) for name, text in words.items()}

    wrong = disagreements(ended(outside), ended(inside), LIST)
    assert len(wrong) == (said is not None)
    assert said is None or said in " ".join(wrong.values())


def test_every_row_has_a_reason_and_tests_of_its_module() -> None:
    for module, wanted in MODULES.items():
        for row in wanted.differences:
            assert len(row.why) > 10
            assert row.how in ("error", "fail", "skip")
            assert row.shows
            assert row.tests, module
            assert len(set(row.tests)) == len(row.tests)

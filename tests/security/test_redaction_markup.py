"""Markup inside a value, which a reader of the page does not see; and values that a page takes apart."""

from __future__ import annotations

import pytest

from mpp_exec.privacy.redact import redact

AWS_ID = "AKIAIOSFODNN7" + "EXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
CARD = "4111111111111111"


@pytest.mark.parametrize("mark", ["**", "*", "***", "`", "~~", "<b>", "</b>", "<wbr/>", "</b><i class='x'>"])
def test_emphasis_between_the_characters_of_a_value(mark: str) -> None:
    for value, mask in ((AWS_ID, "SECRET"), (GITHUB, "SECRET"), (CARD, "CREDIT_CARD")):
        text = f"it is {value[:6]}{mark}{value[6:10]}{mark}{value[10:]} now"
        assert redact(text).value == f"it is [{mask}] now"
        assert redact({"page": text}).value == {"page": f"it is [{mask}] now"}


def test_signs_of_a_value_that_markdown_has_escaped() -> None:
    assert redact(r"write to jane\_doe\@example\.com").value == "write to [EMAIL]"
    assert redact(GITHUB.replace("_", r"\_")).value == "[SECRET]"
    assert redact(r"ssn 241\-55\-8820").counts() == {"ssn": 1}


def test_emphasis_around_a_value_stays() -> None:
    assert redact(f"**{CARD}** and `{AWS_ID}`").value == "**[CREDIT_CARD]** and `[SECRET]`"


def test_cells_and_items_are_not_joined() -> None:
    """Tags that separate are no markup inside a word."""
    text = "<td>4111</td><td>1111</td><td>1111</td><td>1111</td>"
    assert redact(text).value == text
    assert redact("total = items[i].price*1.19*quantity").findings == ()


@pytest.mark.parametrize("separator", ["\t", " \t", "\t\t"])
def test_tabs_between_the_groups_of_a_card(separator: str) -> None:
    groups = separator.join(("4111", "1111", "1111", "1111"))
    assert redact(f"card number:\t{groups}\tJane").counts() == {"credit_card": 1}


def test_tabs_between_the_groups_of_a_card_that_nobody_announces() -> None:
    assert redact("pay 4111\t1111\t1111\t1111 now").value == "pay [CREDIT_CARD] now"
    years = "2018\t2019\t2020\t2021\n1998\t1999\t2000\t2001\n"
    assert redact(years).value == years


@pytest.mark.parametrize(
    "value",
    [
        {"a": AWS_ID, "b": AWS_SECRET},
        {"b": AWS_SECRET, "note": "x", "a": AWS_ID},
        [AWS_ID, AWS_SECRET],
        {"left": {"v": AWS_ID}, "right": {"v": AWS_SECRET}},
    ],
)
def test_an_aws_secret_beside_its_id_under_keys_that_do_not_tell(value: object) -> None:
    assert AWS_SECRET not in str(redact(value).value)


def test_a_digest_beside_an_aws_id_stays() -> None:
    digest = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
    assert redact({"id": AWS_ID, "sha1": digest}).value == {"id": "[SECRET]", "sha1": digest}

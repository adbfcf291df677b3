"""Tokens: the same for the same value, for a while, and worth nothing to whoever was not given the value."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.errors import UsageError
from mpp_exec.privacy.finding import KINDS, LETTERS, LETTERS_OF_A_TOKEN
from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.redact import Redactor, redact
from mpp_exec.privacy.vault import LIFETIME, MAX_BYTES, MAX_HANDED, MAX_TOKENS, MAX_VALUE, Vault
from mpp_exec.vocabulary import parse_kind

EMAIL = "jane@example.com"
SIZE = 1 << 20


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def received(vault: Vault, arguments: Any, *kinds: str) -> Any:
    return vault.receive(arguments, kinds or ("email",), max_size=SIZE).value


def test_a_token_names_its_kind_and_is_the_same_for_the_same_value() -> None:
    vault = Vault()
    token = vault.token("p", "email", EMAIL)
    assert token.startswith("[EMAIL:")
    assert vault.token("q", "email", EMAIL) == token
    assert vault.token("p", "username", EMAIL) != token
    assert vault.token("p", "email", f"{EMAIL}x") != token
    assert set(token[7:-1]) <= set(LETTERS)
    assert len(LETTERS) ** LETTERS_OF_A_TOKEN > 1 << 128


def test_every_kind_that_a_policy_can_name_makes_tokens_that_are_found_again() -> None:
    vault = Vault()
    for kind in ("x", "employee_id2", "k" * 32):
        token = vault.token("p", parse_kind(kind), "E-1")
        assert received(vault, token, kind) == "E-1"


def test_it_is_replaced_wherever_it_stands_in_a_string_and_not_in_a_key() -> None:
    vault = Vault()
    token = vault.token("p", "email", EMAIL)
    arguments = {"to": [f"Jane <{token}>", token], token: 7, "n": {"body": f"{token}{token}", "x": None}}
    found = vault.receive(arguments, ("email",), max_size=SIZE)
    assert found.value == {
        "to": [f"Jane <{EMAIL}>", EMAIL],
        token: 7,
        "n": {"body": f"{EMAIL}{EMAIL}", "x": None},
    }
    assert found.tokens == {token: "email"}
    assert list(found.values) == [("email", EMAIL)]
    assert found.counts() == {"email": 1}
    assert EMAIL not in repr(found.values.__class__) + repr(vault)


def test_what_is_put_in_is_not_read_again() -> None:
    vault = Vault()
    inner = vault.token("p", "email", EMAIL)
    outer = vault.token("p", "secret", inner)
    assert received(vault, [outer], "secret", "email") == [inner]


def test_the_same_value_has_the_same_token_after_it_was_forgotten() -> None:
    clock = Clock()
    vault = Vault(clock=clock)
    token = vault.token("p", "email", EMAIL)
    clock.now += LIFETIME
    assert received(vault, token) == token
    assert vault.token("p", "email", EMAIL) == token
    assert received(vault, token) == EMAIL


def test_showing_a_token_again_keeps_it_longer() -> None:
    clock = Clock()
    vault = Vault(clock=clock)
    token = vault.token("p", "email", EMAIL)
    clock.now += LIFETIME - 1
    vault.token("p", "email", EMAIL)
    clock.now += LIFETIME - 1
    assert received(vault, token) == EMAIL


def test_what_has_expired_is_forgotten_not_only_refused() -> None:
    clock = Clock()
    vault = Vault(clock=clock)
    for number in range(100):
        vault.token("p", "email", f"{number}{EMAIL}")
    clock.now += LIFETIME
    vault.token("p", "email", EMAIL)
    assert len(vault._shelves["p"]._kept) == 1


@pytest.mark.parametrize("value", ["", "x" * (MAX_VALUE + 1)])
def test_a_value_that_can_have_no_token_has_none_and_is_masked(value: str) -> None:
    vault = Vault()
    assert vault.token("p", "email", value) == ""
    policy = RedactionPolicy({"email": "token"})
    assert Redactor(policy, tokens=lambda _kind, _value: "").redact(EMAIL).value == "[EMAIL]"
    assert Redactor(policy).redact(EMAIL).value == "[EMAIL]"


def test_a_vault_is_bounded_in_tokens_and_in_size() -> None:
    vault = Vault()
    first = vault.token("p", "email", EMAIL)
    for number in range(MAX_TOKENS):
        vault.token("p", "email", f"{number}{EMAIL}")
    shelf = vault._shelves["p"]
    assert len(shelf._kept) == MAX_TOKENS
    assert received(vault, first) == first
    large = [f"{number:05}" + "x" * (MAX_VALUE - 5) for number in range(MAX_BYTES // MAX_VALUE + 10)]
    tokens = [vault.token("q", "secret", value) for value in large]
    assert sum(len(kept.value) for kept in vault._shelves["q"]._kept.values()) <= MAX_BYTES
    assert received(vault, tokens[-1], "secret") == large[-1]


def test_what_a_package_was_handed_it_is_known_for_afterwards_and_no_other() -> None:
    vault = Vault()
    mine, other = ("person", "Quentin Ashworth"), ("email", "jane.doe@example.com")
    assert vault.handed("acme/mail", ()) == ()
    assert vault.handed("acme/mail", (mine,)) == (mine,)
    assert set(vault.handed("acme/mail", (other,))) == {mine, other}
    assert vault.handed("acme/notes", ()) == ()
    many = tuple(("person", f"Somebody {number}") for number in range(MAX_HANDED + 7))
    assert set(vault.handed("acme/mail", many)) == set(many), "what it is handed now is always known"
    assert vault.handed("acme/mail", ()) == many[-MAX_HANDED:]
    assert vault.handed("acme/mail", (mine,)) == (*many[-MAX_HANDED + 1 :], mine)
    vault.close()
    assert vault.handed("acme/mail", ()) == ()


def test_a_closed_vault_has_forgotten_everything() -> None:
    vault = Vault()
    token = vault.token("p", "email", EMAIL)
    vault.close()
    assert received(vault, token) == token


def test_a_vault_cannot_be_carried_elsewhere() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Vault())


def test_threads_share_it() -> None:
    vault = Vault()
    tokens: set[str] = set()

    def work(name: str) -> None:
        for number in range(300):
            token = vault.token(name, "email", f"{number}{EMAIL}")
            assert received(vault, token) == f"{number}{EMAIL}"
            tokens.add(token)

    threads = [threading.Thread(target=work, args=(str(name),)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 300


WORDS = (
    "password",
    "secret",
    "api_key",
    "Authorization",
    "ssn",
    "name",
    "phone",
    "email",
    "dob",
    "iban",
    "user",
)


@given(st.sampled_from(KINDS), st.text(min_size=1), st.sampled_from(WORDS))
def test_nothing_is_found_in_a_token_whatever_announces_it(kind: str, value: str, word: str) -> None:
    token = Vault().token("p", kind, value)
    for said in (
        {word: token},
        {token: word},
        [f"{word}: {token}", f"{word}={token}&x=1", f'{{"{word}": "{token}"}}', f"{word},x\n{token},y\n"],
        f"https://{token}@host.example/?{word}={token}",
    ):
        assert redact(said).value == said


@given(st.lists(st.sampled_from([EMAIL, "241-55-8820", "4111 1111 1111 1111", "203.0.113.9"]), min_size=1))
def test_what_became_tokens_is_what_it_was_once_they_are_replaced(values: list[str]) -> None:
    vault = Vault()
    redactor = Redactor(
        RedactionPolicy(dict.fromkeys(KINDS, "token")),
        tokens=lambda kind, value: vault.token("p", kind, value),
    )
    text = " | ".join(values)
    written = redactor.redact(text).value
    assert not any(value in written for value in values)
    assert received(vault, written, *KINDS) == text


def test_many_tokens_of_one_large_value_are_refused_before_they_are_large() -> None:
    vault = Vault()
    token = vault.token("p", "secret", "x" * MAX_VALUE)
    with pytest.raises(UsageError) as caught:
        vault.receive([token * 10_000], ("secret",), max_size=SIZE)
    assert caught.value.code == "arguments.too_large"

"""A value whose name stands beside it as another value, and not above it as a key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mpp_exec.privacy.redact import redact

AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NAMES = {
    "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
    "password": "hunter2hunter2",
    "DB_PASSWORD": "Zebra77pw",
    "apiKey": "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "ssn": "241558820",
    "Phone number": "020 7946 0958",
    "date of birth": "1980-02-03",
    "First name": "Quentin",
}
FORMS: dict[str, tuple[str, str]] = {
    "Kubernetes": ("name", "value"),
    "ECS and tags": ("Name", "Value"),
    "tags": ("Key", "Value"),
    "CloudFormation": ("ParameterKey", "ParameterValue"),
    "a form": ("field_name", "field_value"),
    "a survey": ("question", "answer"),
    "variables": ("variable", "content"),
    "the value first": ("zz key", ""),
}


def pair(form: str, name: str, value: Any) -> dict[str, Any]:
    naming, named = FORMS[form]
    return {naming: name, named: value} if named else {"value": value, "key": name}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_value_beside_its_name(form: str, name: str) -> None:
    value = NAMES[name]
    for document in (
        pair(form, name, value),
        [pair(form, "PATH", "/usr/bin"), pair(form, name, value), {"id": 7, **pair(form, name, value)}],
        {"env": [pair(form, name, value)], "note": f"it is {value}"},
        pair(form, name, [value]),
    ):
        clean = redact(document)
        assert value not in json.dumps(clean.value)
        assert clean.findings


@pytest.mark.parametrize("name", [name for name in NAMES if name.lower().endswith(("key", "password"))])
def test_a_secret_beside_its_name_in_a_list(name: str) -> None:
    secret = NAMES[name] if name != "password" else "9zQ-hunter22"
    clean = redact([[name, secret], ["PATH", "/usr/bin"]])
    assert clean.value == [[name, "[SECRET]"], ["PATH", "/usr/bin"]]


@pytest.mark.parametrize(
    "text",
    [
        '{"Name":"DB_PASSWORD","Value":"Zebra77pw"}',
        json.dumps([{"name": "DB_PASSWORD", "value": "Zebra77pw"}], indent=2),
        json.dumps({"text": json.dumps({"name": "DB_PASSWORD", "value": "Zebra77pw"})}),
        "env:\n- name: DB_PASSWORD\n  value: Zebra77pw\n- name: PATH\n  value: /bin\n",
        'env:\r\n  - name: "DB_PASSWORD"\r\n    value: "Zebra77pw"\r\n',
    ],
)
def test_a_value_beside_its_name_in_text(text: str) -> None:
    clean = redact(text)
    assert "Zebra77pw" not in clean.value
    assert "DB_PASSWORD" in clean.value


def test_pairs_of_other_things_stay() -> None:
    document = {
        "required": ["password", "email"],
        "fields": [["token", "refresh_token"], ["name", "Jane"], ["key", "value"]],
        "options": [{"name": "colour", "value": "red"}, {"key": "id", "value": "48213"}],
        "schema": {"name": "password", "value": "string"},
        "labels": [{"name": "password", "content": "Choose a good one"}],
        "numbers": [{"key": "password_length", "value": 12}],
        "text": "name: token\nversion: 3\nvalue: x",
    }
    clean = redact(document)
    assert clean.value == document

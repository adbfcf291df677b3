"""What a header, a label or a tag announces, in every form of a table that tools print."""

from __future__ import annotations

import json

import pytest

from mpp_exec.privacy.redact import Redactor, redact
from mpp_exec.privacy.stream import StreamRedactor

ROWS = (("Jane Doe", "1985-01-06", "rT9#kw2Lq"), ("Omar Haddad", "1990-11-23", "blue-Otter-77"))
NAMES = ("full_name", "dob", "password")
VALUES = tuple(value for row in ROWS for value in row)


def _sql(row: tuple[str, ...]) -> str:
    return "(7, " + ", ".join(f"'{value}'" for value in row) + ", NULL)"


FRAME = "+-------------+------------+---------------+\n"
TABLES = {
    "insert": "INSERT INTO `users` (`id`, `full_name`, `dob`, `password`, `x`) VALUES\n"
    f"{_sql(ROWS[0])},\n{_sql(ROWS[1])};\n",
    "create": "CREATE TABLE users (\n  id int PRIMARY KEY,\n  full_name text,\n  dob date,\n"
    f"  password text,\n  x int,\n  KEY k (dob)\n);\n"
    f"INSERT INTO users VALUES {_sql(ROWS[0])},{_sql(ROWS[1])};\n",
    "copy": "COPY public.users (full_name, dob, password) FROM stdin;\n"
    + "\n".join("\t".join(row) for row in ROWS)
    + "\n\\.\n",
    "frame": FRAME
    + "\n".join("| " + " | ".join(row) + " |" for row in (NAMES,))
    + f"\n{FRAME}"
    + "\n".join("| " + " | ".join(f"{v:10}" for v in row) + " |" for row in ROWS)
    + f"\n{FRAME}",
    "aligned": "\n".join("   ".join(f"{value:13}" for value in row).rstrip() for row in (NAMES, *ROWS))
    + "\n",
    "html": "<table>"
    + "".join(
        f"<tr><th>Full Name</th><td>{a}</td></tr><tr><th>Date of birth</th><td>{b}</td></tr>"
        f"<tr><th>Password</th><td>{c}</td></tr>"
        for a, b, c in ROWS
    )
    + "</table>",
    "terms": "<dl>\n"
    + "".join(
        f"<dt>Full Name</dt>\n<dd>{a}</dd>\n<dt>Date of birth</dt>\n<dd>{b}</dd>"
        f"<dt>Password</dt><dd>{c}</dd>\n"
        for a, b, c in ROWS
    )
    + "</dl>",
    "expanded": "".join(
        f"-[ RECORD {n} ]-\nfull_name | {a}\ndob       | {b}\npassword  | {c}\n"
        for n, (a, b, c) in enumerate(ROWS)
    ),
    "print_r": "".join(
        f"Array\n(\n    [full_name] => {a}\n    [dob] => {b}\n    [password] => {c}\n)\n" for a, b, c in ROWS
    ),
    "key and value": "".join(
        f"Key        Value\n---        -----\nfull_name  {a}\ndob        {b}\npassword   {c}\n\n"
        for a, b, c in ROWS
    ),
    "form": "".join(
        f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for row in ROWS
        for name, value in zip(NAMES, row, strict=True)
    ),
    "elements": "".join(
        f"<u><fullName>{a}</fullName><birthDate>{b}</birthDate><password>{c}</password></u>"
        for a, b, c in ROWS
    ),
}


@pytest.mark.parametrize("form", TABLES)
def test_what_a_column_announces(form: str) -> None:
    clean = redact(TABLES[form]).value
    assert [value for value in VALUES if value in clean] == []


@pytest.mark.parametrize(
    "document",
    [
        {"columns": NAMES, "rows": ROWS},
        {"schema": {"x": 1}, "fields": [{"name": name, "type": "text"} for name in NAMES], "data": ROWS},
        [NAMES, *ROWS],
        [["full_name", "dob"], *(row[:2] for row in ROWS)],
        {"values": [NAMES, *ROWS]},
        {name: {str(n): row[at] for n, row in enumerate(ROWS)} for at, name in enumerate(NAMES)},
    ],
    ids=["columns", "fields", "first row", "two columns", "sheet", "numbered"],
)
def test_what_a_column_of_json_announces(document: object) -> None:
    value = json.loads(json.dumps(document))
    clean = redact(value).value
    shown = json.dumps(clean)
    assert [each for each in VALUES if each in shown] == []
    assert json.dumps(clean, sort_keys=True).count("full_name") == 1
    if isinstance(value, dict):
        assert clean.keys() == value.keys()


def test_a_mask_in_an_element_is_no_value_and_does_not_take_the_rest_with_it() -> None:
    text = "<server><id>nexus</id><username>jdoe</username><password>rT9#kw2Lq</password></server>"
    clean = "<server><id>nexus</id><username>[USERNAME]</username><password>[SECRET]</password></server>"
    assert redact(text).value == clean
    assert redact(clean).value == clean


def test_masks_that_are_out_of_line_do_not_take_the_rest_with_them() -> None:
    rows = "".join(
        f"{n} Elm Street Suite {n}   sku-{n:03}   jane{n}@example.com   1951-10-{n}\n" for n in range(10, 30)
    )
    text = f"STREET                  SKU       EMAIL                DOB\n{rows}"
    clean = redact(text).value
    assert clean.count("sku-0") == 20
    assert clean.count("[ADDRESS]") == clean.count("[EMAIL]") == clean.count("[DATE_OF_BIRTH]") == 20


def test_rows_of_another_length_and_equal_names_are_no_table() -> None:
    document = {
        "columns": ["name", "dob"],
        "rows": [["a", "1985-01-06", 3], ["b"]],
    }
    assert redact(document).value == document
    assert redact([["dob", "dob", "x"], ["1985-01-06", "1985-01-06", "y"]]).value[1][0] == "1985-01-06"


def test_a_list_of_settings_is_no_table() -> None:
    assert redact([["DB_PASSWORD", "tR7kq92xLwzP"], ["PATH", "/usr/bin"]]).value == [
        ["DB_PASSWORD", "[SECRET]"],
        ["PATH", "/usr/bin"],
    ]


def test_a_dump_of_a_database_is_redacted_in_every_block() -> None:
    rows = "".join(f"{n}\tJane Doe{chr(97 + n % 26)}\tx\n" for n in range(400))
    text = f"COPY users (id, full_name, note) FROM stdin;\n{rows}\\.\n\nJane Doe is a name.\n"
    stream = StreamRedactor(Redactor, block=1024)
    clean = stream.feed(text) + stream.finish()
    assert "Jane Doea" not in clean
    assert stream.counts["person"] == 400


def test_a_secret_says_what_it_is() -> None:
    manifest = (
        'apiVersion: v1\ndata:\n  config.json: eyJ4IjoxfQ==\n  seed: "c2VlZC1vZi1hbGw="\nkind: Secret\n'
        "metadata:\n  name: app-secrets\n---\nkind: ConfigMap\ndata:\n  colour: Ymx1ZS1pcy1ncmVhdA\n"
    )
    clean = redact(manifest).value
    assert "eyJ4" not in clean
    assert "c2Vl" not in clean
    assert "app-secrets" in clean
    assert "Ymx1ZS1pcy1ncmVhdA" in clean
    document = {"kind": "Secret", "metadata": {"name": "app"}, "data": {"config.json": "eyJ4IjoxfQ=="}}
    assert redact(document).value == document | {"data": {"config.json": "[SECRET]"}}


def test_a_value_that_is_said_to_be_sensitive() -> None:
    outputs = {
        "url": {"sensitive": False, "value": "https://x.example"},
        "seed": {"sensitive": True, "value": "otter7"},
    }
    assert redact(outputs).value == outputs | {"seed": {"sensitive": True, "value": "[SECRET]"}}
    assert redact({"db_password": {"value": "otter-77"}}).value == {"db_password": {"value": "[SECRET]"}}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("- **API key**: `q7Rk2Zp9Lw4Xv8Tn3Bc6`", "- **API key**: `[SECRET]`"),
        ("**Full name:** Jane Doe", "**Full name:** [PERSON]"),
        ("**Password:** blue-Otter-77", "**Password:** [SECRET]"),
        ("the password is sea-sense-fox-win13 for now", "the password is [SECRET] for now"),
        ('network={\n  psk="U8tHOtnaxRBE"\n}', 'network={\n  psk="[SECRET]"\n}'),
        ("customer:\n  lastName: Zysk\n", "customer:\n  lastName: [PERSON]\n"),
        ("User(first_name='Antonio', last_name='Dima')", "User(first_name='[PERSON]', last_name='[PERSON]')"),
        ("app --db-password lCAMOgQxjIEfTuAG --port 80", "app --db-password [SECRET] --port 80"),
    ],
)
def test_what_a_label_announces(text: str, clean: str) -> None:
    assert redact(text).value == clean


@pytest.mark.parametrize(
    "text",
    [
        "passwd:         files systemd\ngroup:          files systemd\nshadow:         files\n",
        "NAME                 READY   STATUS\nweb-7f9c-x2         1/1     Running\n",
        "the password is base64-encoded, and the password is sha256-hashed\n",
        "organizationalUnitName: Organizational Unit Name\n",
        "<p>Array<number>x</number></p> <address>see below</address>",
        "INSERT INTO t (name, price) VALUES ('Widget Seven', 3), ('Blue Otter', 4);\n",
        "SELECT name FROM users; -- copy the rows from stdin\n",
        "<tr><td>Address</td><td>2 bytes, little endian</td></tr><tr><td>Name</td><td>Frame Type</td></tr>",
        "kind: Secret\nmetadata:\n  name: app-secrets\n",
        "Name: requests\nVersion: 2.32\nHome-page: https://x.example\nAuthor-email: x\n",
        "Key       Value\n---       -----\nname      web\nreplicas  3\n",
        'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello world\r\n--X--',
    ],
)
def test_what_announces_nothing(text: str) -> None:
    assert redact(text).value == text

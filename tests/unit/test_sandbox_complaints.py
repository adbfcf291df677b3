"""What programs say that they could not have: lines as they really write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.sandbox.complaints import LINE, MOST, complaints


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("cat: /home/jane/notes.txt: No such file or directory", {"read": ["/home/jane/notes.txt"]}),
        ("ls: cannot access '/srv/my data': No such file or directory", {"read": ["/srv/my data"]}),
        ("sh: 1: cannot open /srv/x: No such file", {"read": ["/srv/x"]}),
        ("sh: 1: cannot create /srv/out.txt: Directory nonexistent", {"write": ["/srv/out.txt"]}),
        ("touch: cannot touch '/srv/out': Read-only file system", {"write": ["/srv/out"]}),
        (
            "mkdir: cannot create directory \u2018/srv/a\u2019: No such file or directory",
            {"write": ["/srv/a"]},
        ),
        ("fatal: cannot change to '/srv/repo': No such file or directory", {"read": ["/srv/repo"]}),
        ("Error: ENOENT: no such file or directory, open '/srv/in.json'", {"read": ["/srv/in.json"]}),
        ("Error: EROFS: read-only file system, mkdir '/srv/cache'", {"write": ["/srv/cache"]}),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/srv/a.db'", {"read": ["/srv/a.db"]}),
        ("open /srv/a.toml: no such file or directory", {"read": ["/srv/a.toml"]}),
        ("sh: 1: git: not found", {"program": ["git"]}),
        ("bash: line 1: jq: command not found", {"program": ["jq"]}),
        ("Error: spawn git ENOENT", {"program": ["git"]}),
        ("curl: (6) Could not resolve host: example.org", {"host": ["example.org:"]}),
        ("Error: getaddrinfo EAI_AGAIN api.example.org", {"host": ["api.example.org:"]}),
        ("connect: Network is unreachable", {"host": [""]}),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", {"host": [""]}),
        ("reading /etc/passwd and /srv/a", {}),
        ("HTTP 404: page not found", {}),
        ("see https://example.org/a: not found here", {}),
        ("", {}),
    ],
)
def test_lines(line: str, told: dict[str, list[str]]) -> None:
    assert complaints(line) == told


def test_line_without_end_is_not_read() -> None:
    assert complaints("/x" * LINE + ": No such file or directory") == {}


def test_little_is_kept_of_much() -> None:
    text = "".join(f"cat: /srv/{number}: No such file or directory\n" for number in range(5000))
    assert len(complaints(text)["read"]) == MOST


@given(st.text(), st.text())
def test_any_text(text: str, other: str) -> None:
    for word in (
        text,
        f"{text}: No such file or directory",
        f"{text} ENOENT {other}",
        f"resolve host {text}",
    ):
        assert set(complaints(word, None, 1, other)) <= {"read", "write", "program", "host"}

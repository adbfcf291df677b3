"""Detectors for passwords beside a user's name: in URLs, and in the options of a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import MASK, Candidate
from mpp_exec.privacy.values import PLACEHOLDER, SHORTEST

# --- credentials in a URL: RFC 3986 section 3.2.1, ``scheme://user:password@host``

_USERINFO: Final = lazily(
    r"://(?<=[0-9A-Za-z+.-].{3})([^\s/?#@:\"'<>]{0,128}):([^\s/?#\"'<>]{1,256})@(?=[0-9A-Za-z\[_$-])"
)


def url_credentials(text: str, _key: str, colons: Sequence[int]) -> list[Candidate]:
    """Return the credentials in URLs at their *colons*. What a template will fill in is none."""
    found: list[Candidate] = []
    for at in colons:
        meter.step(len(found))
        if not (match := _USERINFO.match(text, at)):
            continue
        password = match[2]
        if "@" in password and "." in password.partition("@")[0]:
            continue  # ``https://a.b:80,c@d``
        if MASK.fullmatch(f"{match[1]}:{password}"):
            continue
        if PLACEHOLDER.fullmatch(password) and password.lower() not in (
            "password",
            "secret",
            "admin",
            "root",
        ):
            continue
        found.append(Candidate("url_credential", match.start(1), match.end(2), 0.9, f"{match[1]}:{password}"))
    return found


_USER_OPTION: Final = lazily(r"(?:-u|--user|-U)[ =]{0,2}[\"']?([^\s:\"'$<{]{0,64}:[^\s\"'${]{0,128})")
# ``psexec -u user -p word``, ``mysql -u user -pword``
_TWO_OPTIONS: Final = lazily(
    r"(?:-u|--user(?:name)?|-U)[ =]?[^\s-]\S{0,64}[ ](?:-p|-P|--pass(?:word)?)[ =]?[\"']?"
    r"(?P<value>[^\s\"'$<%{[-][^\s\"'$]{3,64})(?=[\s\"']|\Z)"
)


def user_options(text: str, _key: str, hyphens: Sequence[int]) -> list[Candidate]:
    """Return the passwords that options at *hyphens* are given: of ``curl -u``, or beside a user's name."""
    found: list[Candidate] = []
    is_curl = "curl" in text or "wget" in text
    for at in hyphens:
        meter.step(len(found))
        if both := _TWO_OPTIONS.match(text, at):
            if not both["value"].isdecimal():  # a port
                found.append(Candidate("secret", *both.span("value"), 0.7, both["value"], "user_option"))
            continue
        match = _USER_OPTION.match(text, at) if is_curl else None
        if match and len(match[1]) > SHORTEST["password"] + 1:
            user, _, password = match[1].partition(":")
            if MASK.fullmatch(match[1]):
                continue
            either = password or user  # one of them may be empty, where a token is the other
            if not PLACEHOLDER.fullmatch(either) and not (password and PLACEHOLDER.fullmatch(user + ":")):
                found.append(Candidate("secret", *match.span(1), 0.7, match[1], "user_option"))
    return found

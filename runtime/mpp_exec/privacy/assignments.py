"""Detectors for secrets that only their names give away: ``DB_PASSWORD=…``, ``"api_key": "…"``, ``Bearer …``.

Three strengths of names. A *password* may be anything that is no placeholder and no code. A *secret* (token,
API key, credential) has to look as if nobody had thought of it. A *key*, which names map keys more often than
secrets, has to be long and random besides. What a provider marks by a prefix is found by ``tokens``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mpp_exec.privacy import anchors, meter
from mpp_exec.privacy.finding import MASK, Candidate, is_in_mask, lazily
from mpp_exec.privacy.labels import strength

# What the names of secrets have in them, and what is one only as a whole word.
_STEMS: Final = (
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "auth",
    "cred",
    "bearer",
    "salt",
    "private",
    "access",
    "webhook",
)
_WORDS: Final = ("identified by", "sig", "pat")
NEEDLES: Final = (
    *(anchors.Needle(stem, anchors.ASSIGN) for stem in _STEMS),
    *(anchors.Needle(word, anchors.ASSIGN | anchors.WORD | anchors.WHOLE) for word in _WORDS),
)
_PART: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.-"
_LONGEST_LABEL: Final = 48
_TAIL: Final = lazily(r"[0-9A-Za-z_.-]{0,32}+")
# Between a name and its value: an assignment of some language, an option, a header, an XML tag.
_ASSIGN: Final = lazily(
    r"(?:\\?[\"'`\])]){0,3}[ \t]{0,16}+"
    r"(?:[:=]{1,3}>?|=>|->|\|\||,(?=[ ]{0,2}[\"'`])|>(?=[^\s<>]{4,200}</))[ \t]{0,16}+(?:\\?\n[ \t]{0,16}+)?"
    r"(?:(?:new )?(?:String|SecureString|SecretStr|Secret|str|bytes|Buffer\.from)\()?"
    r"(?:[rbuf]{0,2}(?=[\"'`]))?",
)
_TYPED: Final = lazily(r"[ ]{0,2}:[ ]{0,2}[A-Za-z&'<>\[\]. ]{2,24}?[ ]{0,2}=[ ]{0,2}(?=[\"'`])")
_OPTION: Final = lazily(r"[\"']?[ \t]{1,4}(?:(?:is|was|of)[ :]{1,3})?(?=[\"'`]?[^\s\"'`]{8})")
_SCHEMES: Final = lazily(
    r"(?:bearer|basic|token|digest|apikey|bot|negotiate|key|sso-key|splunk)[ =]{1,3}", re.IGNORECASE
)
_QUOTED: Final = lazily(r"(\\?[\"'`])((?:(?!\1)[^\r\n]){1,512}?)\1")
_BARE: Final = lazily(r"[^\s\"'`,;&<>(){}\[\]|\\]{1,512}")
_BARE_PASSWORD: Final = lazily(r"[^\s\"'`<>|\\]{1,128}")

_PLACEHOLDER: Final = lazily(
    r"x{3,}|\*{2,}|\.{3,}|_{3,}|-{4,}|[<\[{(].{0,200}[>\]})]|\$.{0,200}|%.{1,100}%|\{\{?.{0,200}|#\{.{0,100}|@.{0,60}@|[?!]+"
    r"|(?:.{0,40}[^A-Za-z])?(?:your|my|the|insert|enter|replace|change|put|add|use|set|some|fake|dummy|sample|example|placeholder|redacted|removed|masked|hidden|todo|fixme|foo|bar|test|default|undefined)"
    r"(?:[^A-Za-z].{0,80}|me|this|here|it|ing|password|passwd|secret|token|key|api|pass|bar|foo)?"
    r"|.{0,40}(?:changeme|change_me|change-me|placeholder|redacted|xxxxx|your[_-]|[_-]here|yourpass).{0,40}"
    r"|(?:true|false|null|none|nil|nan|undefined|void|string|str|text|int|bool|boolean|number|object|any|optional|required|unknown"
    r"|password|passwd|pass|pwd|secret|token|key|apikey|api_key|api-key|username|user|admin|root|basic|bearer|auth|yes|no|on|off|n/a|na|tbd|empty|hidden|disabled|enabled|never|always)[0-9!]{0,1}",
    re.IGNORECASE,
)
# An expression rather than a string: a name with its parts, a call, an index. The parts are joined
# by what they cannot contain, so there is one way to read it.
_CODE: Final = lazily(
    r"[&*!]{0,2}[A-Za-z_$][0-9A-Za-z_$]*+(?:(?:\.|->|::|\?\.)[A-Za-z_$][0-9A-Za-z_$]*+)*(?P<more>[(\[].*)?",
    re.DOTALL,
)
_PIECE: Final = lazily(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_WORD_LIKE: Final = lazily(r"[A-Za-z]{0,24}[0-9]{0,5}")
_JOINTS: Final = lazily(r"[ _./:+-]")
_CONSONANTS: Final = lazily(r"[bcdfghjklmnpqrstvwxzBCDFGHJKLMNPQRSTVWXZ]{5}")
_PATHLIKE: Final = lazily(
    r"(?:[a-z]{2,10}://|\.{0,2}/|[A-Za-z]:\\|~/)[^@]{0,300}|[\w.-]{1,60}\.(?:json|pem|txt|yml|yaml|key|crt|cer|p12|jks|conf|cfg|ini|env|xml|html?|js|ts|py|rb|go|java|php|com|org|net|io)(?:[:/].{0,200})?",
    re.IGNORECASE,
)
_UUID_ZERO: Final = lazily(r"[0-]{30,}|(.)\1{5,}")


def assigned(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the secrets in *text* whose name holds a stem; *places* are the offsets of stems."""
    found: list[Candidate] = []
    free = 0
    for at, stem in places:
        meter.step(len(found))
        if at < free:
            continue  # in a name that has been looked at
        start = _label_start(text, max(free, at - _LONGEST_LABEL), at)
        end = _TAIL.match(text, at + len(stem)).end()  # type: ignore[union-attr]  # it matches the empty string
        label = text[start:end].strip(".-_")
        joined = text.startswith("--", at + len(stem)) or is_in_mask(text, at)  # of a mask, or a marker
        candidate = None if joined else _value(text, label, end, stem)
        if candidate:
            found.append(candidate)
        free = end
    return found


def _label_start(text: str, floor: int, at: int) -> int:
    start = at
    while start > floor and text[start - 1] in _PART:
        start -= 1
    return start


def _value(text: str, label: str, end: int, stem: str) -> Candidate | None:
    how = "password" if stem == "identified by" else "secret" if label == "sig" else strength(label)
    if not how:
        return None
    assign = _TYPED.match(text, end) or _ASSIGN.match(text, end)
    if assign:
        return _read(text, assign.end(), how, label)
    option = _OPTION.match(text, end)
    if option:
        # An option, or the first word of a line.
        before = text[max(0, end - _LONGEST_LABEL) : end].removesuffix(label)
        is_option = how == "password" and (before.endswith("-") or not before.rpartition("\n")[2].strip())
        return _read_loose(text, option.end(), how, label, sure=stem == "identified by" or is_option)
    return None


def _read(text: str, start: int, how: str, label: str) -> Candidate | None:
    """Return the value that is assigned at *start*, if it is a secret."""
    quoted = _QUOTED.match(text, start)
    if quoted:
        value, at = quoted[2], quoted.start(2)
    else:
        if scheme := _SCHEMES.match(text, start):
            start = scheme.end()
            how = "secret"
        bare = (_BARE_PASSWORD if how == "password" else _BARE).match(text, start)
        if not bare:
            return None
        value, at = bare[0].rstrip(".,;:)]}"), start
        if how == "password" and "&" in value and "=" in value:
            value = value.partition("&")[0]  # of a query
        if how == "password":
            value = value.partition(";")[0]  # of a connection string
        if text[at + len(value) : at + len(value) + 1] == "(":
            return None
    if scheme := _SCHEMES.match(value):
        at, value, how = at + scheme.end(), value[scheme.end() :], "secret"
    return judged(value, at, how, quoted=bool(quoted), shell=label.isupper())


def _read_loose(text: str, start: int, how: str, label: str, *, sure: bool) -> Candidate | None:
    """Return the value behind a name and a space: an option's, or a word that nobody would write."""
    quoted = _QUOTED.match(text, start)
    bare = None if quoted else _BARE.match(text, start)
    if not quoted and not bare:
        return None
    value, at = (quoted[2], quoted.start(2)) if quoted else (bare[0].rstrip(".,;:"), start)  # type: ignore[index]
    if "-----" in value:
        return None  # a marker, and what follows it: ``PRIVATE KEY-----``
    if quoted or sure:
        is_mixed = not value.isalpha() and any(map(str.isalpha, value))
        if how == "password" and (quoted or (is_mixed and len(value) >= 6)):
            return judged(value, at, how, quoted=True, shell=False)
    if scheme := _SCHEMES.match(label + " "):
        return judged(value, at, "secret", quoted=False, shell=False) if scheme and len(value) >= 16 else None
    if len(value) >= 16 and is_random(value) and any(map(str.isdigit, value)):
        return judged(value, at, "key", quoted=False, shell=False)
    return None


def judged(value: str, at: int, how: str, *, quoted: bool, shell: bool) -> Candidate | None:
    """Return the candidate that *value* at offset *at* is, None if it is a placeholder, code or a plain word.

    *shell*: the name is in capitals, as in a shell or ``.env`` file, where a bare word is a string.
    """
    is_password = how == "password"
    if len(value) < _SHORTEST[how] or _is_filler(value) or (_is_path(value) and not is_password):
        return None
    if quoted:
        # The name of a variable, or of a message.
        is_code = is_password and "_" in value and _is_expression(value)
    else:
        plain = is_password and (shell or (value.isalpha() and value.islower() and len(value) >= 6))
        is_code = value[0] in "([{<$!" or (not plain and _is_expression(value))
    if is_code or (is_password and value.startswith("/")):
        return None
    if is_password:
        return _secret(value, at, "assigned_password", 0.7)
    if not is_random(value) or (how == "key" and not _is_long(value)):
        return None
    return _secret(value, at, "assigned_secret", 0.6 if how == "key" else 0.75)


_SHORTEST: Final = {"password": 4, "secret": 8, "key": 16}


def _is_filler(value: str) -> bool:
    """Tell whether a value stands for one that somebody has yet to write, or is no single word."""
    if _PLACEHOLDER.fullmatch(value) or _UUID_ZERO.fullmatch(value):
        return True
    return " " in value.strip() or len(set(value)) < 3


def _is_path(value: str) -> bool:
    return bool(_PATHLIKE.fullmatch(value)) or (
        value.count("/") > 1 and not is_random(value.replace("/", "-"))
    )


def _is_long(value: str) -> bool:
    digits = sum(map(str.isdigit, value))
    return len(value) >= 16 and (digits >= 2 or len(value) >= 24)


def is_random(value: str) -> bool:
    """Tell a token from words, however they are joined: ``user-access-token-2`` is none."""
    if value.isdigit():
        return len(value) >= 12 and len(set(value)) >= 5
    pieces = _PIECE.findall(value)
    if len(set(value)) < 5 or not pieces:
        return False
    if not any(map(str.isdigit, value)):
        return sum(map(len, pieces)) < 3 * len(pieces) or bool(_CONSONANTS.search(value))
    parts = _JOINTS.split(value)
    is_words = len(parts) > 1 and all(map(_WORD_LIKE.fullmatch, parts))
    is_alphabet = "abcdefghijklmnop" in value.lower() and "0123456789" in value
    return not is_words and not is_alphabet and (len(pieces) > 2 or len(value) >= 16)


def _is_expression(value: str) -> bool:
    """Tell whether an unquoted value is code: a name without digits, with parts, called or indexed."""
    match = _CODE.fullmatch(value)
    if not match:
        return False
    if any(len(part) >= 16 and is_random(part) for part in _JOINTS.split(value)):
        return False  # ``s.ZC9Ecf4M5g9o34Q6``
    plain = match["more"] is None and not any(mark in value for mark in (".", "->", "::"))
    return not plain or not any(map(str.isdigit, value))


def _secret(value: str, at: int, rule: str, score: float) -> Candidate:
    return Candidate("secret", at, at + len(value), score, value, rule)


def under_label(key: str, text: str) -> Candidate | None:
    """Return what a string under a JSON key or column header is, None if it is no secret."""
    how = strength(key)
    if not how:
        return None
    value = text.strip()
    start = text.find(value)
    if scheme := _SCHEMES.match(value):
        start, value, how = start + scheme.end(), value[scheme.end() :], "secret"
    return judged(value, start, how, quoted=True, shell=False)


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
        if _PLACEHOLDER.fullmatch(password) and password.lower() not in (
            "password",
            "secret",
            "admin",
            "root",
        ):
            continue
        found.append(Candidate("url_credential", match.start(1), match.end(2), 0.9, f"{match[1]}:{password}"))
    return found


_USER_OPTION: Final = lazily(r"(?:-u|--user|-U)[ =]{0,2}[\"']?([^\s:\"'$]{1,64}:[^\s\"'$]{4,128})")


def user_options(text: str, _key: str, hyphens: Sequence[int]) -> list[Candidate]:
    """Return the ``user:password`` that ``curl -u`` and its like are given at *hyphens*."""
    found: list[Candidate] = []
    if "curl" not in text and "wget" not in text:
        return found
    for at in hyphens:
        meter.step(len(found))
        if not (match := _USER_OPTION.match(text, at)):
            continue
        user, _, password = match[1].partition(":")
        if MASK.fullmatch(match[1]):
            continue
        if not _PLACEHOLDER.fullmatch(password) and not _PLACEHOLDER.fullmatch(user + ":"):
            found.append(Candidate("secret", *match.span(1), 0.7, match[1], "user_option"))
    return found

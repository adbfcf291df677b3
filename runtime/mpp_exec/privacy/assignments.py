"""Detectors for secrets that only their names give away: ``DB_PASSWORD=…``, ``"api_key": "…"``, ``Bearer …``.

A stem leads to a name, and what follows the name to a value (``assigned_values``, ``told_values``), of which
``values`` says whether it is a secret. What a provider marks by a prefix is found by ``tokens``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import anchors, handed, meter
from mpp_exec.privacy.assigned_values import LONGEST_LABEL, SCHEMES, Name, in_cell, read
from mpp_exec.privacy.finding import Candidate, is_in_mask
from mpp_exec.privacy.secret_names import SERVICES, strength
from mpp_exec.privacy.told_values import glued, near
from mpp_exec.privacy.values import is_phrase, judged, secret

# What the names of secrets have in them, and what is one only as a whole word.
_STEMS: Final = (
    *("pass", "pwd", "secret", "token", "key", "auth", "cred", "bearer", "salt", "private", "access"),
    *("webhook", "api", "login", "kennwort", "contrasena", "senha", "wachtwoord", "parola", "haslo"),
    *("seed", "nonce", "losenord", "adgangskode", "salasana", "geheimnis", "jelszo"),
)
_WORDS: Final = (
    *("identified by", "sig", "pat", "clave", "mdp", "pw", "sifre", "heslo", "jeton", "unseal", "psk"),
    *("connect", "directoryentry", "oauth", "reporter_id", "jsessionid", "phpsessid"),
)
NEEDLES: Final = (
    *(anchors.Needle(stem, anchors.ASSIGN) for stem in _STEMS),
    *(anchors.Needle(word, anchors.ASSIGN | anchors.WORD | anchors.WHOLE) for word in _WORDS),
    *(anchors.Needle(word, anchors.ASSIGN | anchors.WORD) for word in sorted(SERVICES)),
)
_PART: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.-"
_TAIL: Final = lazily(r"[0-9A-Za-z_.-]{0,32}+")
# Between a name and its value: an assignment of some language, an option, a header, an XML tag.
_ASSIGN: Final = lazily(
    r"(?:\\?[\"'`\])]|\*\*){0,3}[ \t]{0,16}+"
    # … or the name is itself a value, and the next member of the object has what it names.
    r"(?:(?:,\s{0,32}|\r?\n[ \t]{0,32})\\?[\"']?(?i:value|val|content)\\?[\"']?[ \t]{0,4}[:=]"
    r"|[:=]{1,3}>?|[!?]==?|=>|->|\|\||\|(?=[ ]{1,40}[^|\s]{6,80}[ ]{1,40}\|)"
    r"|,(?=[ ]{0,16}[\"'`])|>(?=[^\s<>]{4,200}</)|value=(?=[\"'])"
    # … or a variable of HCL that has its default.
    r"|\{\s{1,40}(?:(?:type|description|sensitive)[ ]{0,12}=[^\n]{0,120}\n\s{0,40}){0,3}default[ ]{0,12}=)"
    # … or YAML's block of lines, of which the first counts.
    r"(?:\*\*)?[ \t]{0,16}+(?:[|>][+-]?[ \t]{0,4}(?=\r?\n))?(?:\\?\r?\n[ \t]{0,16}+)?"
    r"(?:\"\"(?=\"[^\"\s])|''(?='[^'\s]))?"
    r"(?:(?:new )?(?:String|SecureString|SecretStr|Secret|str|bytes|Buffer\.from)\()?"
    r"(?:[rbuf]{0,2}(?=[\"'`]))?",
)
_TYPED: Final = lazily(r"[ ]{0,2}:[ ]{0,2}[A-Za-z&'<>\[\]. ]{2,24}?[ ]{0,2}=[ ]{0,2}(?=[\"'`])")
_PUBLIC: Final = "public "
# The name of a secret at AWS, which opens nothing: ``arn:aws:secretsmanager:eu-west-1:…:secret:name``.
_IN_ARN: Final = lazily(r"arn:[a-z-]{3,12}:[a-z]{2,20}:[0-9a-z-]{0,20}:[0-9]{0,12}:\Z")
_ARN_MAX: Final = 80
# What a test runner says of a test or a file: ``--- PASS: TestLogin2 (0.30s)``, ``PASS src/form.test.ts``.
_VERDICT: Final = lazily(
    r"pass(?:ed)?:?[ \t]{1,4}"
    r"(?:test|\S{0,120}\.(?:[cm]?[jt]sx?|py|go|rs|rb|java|kt|c|cc|cpp|cs|php|sh|swift)(?![0-9A-Za-z]))",
    re.IGNORECASE,
)
# Only what has this very name may be several words.
_OF_PHRASES: Final = ("password", "passphrase", "pass_phrase", "passwd")


def assigned(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the secrets in *text* whose name holds a stem; *places* are the offsets of stems."""
    found: list[Candidate] = []
    free = 0
    for at, stem in places:
        meter.step(len(found))
        if at < free:
            continue  # in a name that has been looked at
        start, stem_end = _label_start(text, max(free, at - LONGEST_LABEL), at), at + len(stem)
        free = _TAIL.match(text, stem_end).end()  # type: ignore[union-attr]  # it matches the empty string
        if text.startswith("--", stem_end) or is_in_mask(text, at):
            continue  # of a marker, or a mask
        if stem == "pass" and _VERDICT.match(text, at) and start == at:
            continue
        if text[max(0, start - len(_PUBLIC)) : start].lower() == _PUBLIC or _IN_ARN.search(
            text, max(0, start - _ARN_MAX), start
        ):
            continue
        name = Name(start, stem, stem_end, free, text[start:free].strip(".-_"))
        if candidate := _value(text, name) or glued(text, stem_end):
            found.append(candidate)
    return found


def _label_start(text: str, floor: int, at: int) -> int:
    start = at
    while start > floor and text[start - 1] in _PART:
        start -= 1
    return start


def _value(text: str, name: Name) -> Candidate | None:
    how = strength(name.label)
    if name.stem == "identified by":
        how = "password"
    elif name.label == "sig":
        how = "secret"
    if how and (assign := _TYPED.match(text, name.end) or _ASSIGN.match(text, name.end)):
        if text.startswith("(", assign.end()) and name.label.lower().endswith(handed.PAIRED):
            return handed.called(text, name.start, name.end, name.label, how)
        if assign[0].strip(" \t\"'`*") == "|":
            return in_cell(text, assign.end(), name)
        return read(text, assign, how, name)
    return near(text, how, name) or handed.called(text, name.start, name.end, name.label, how)


def under_label(key: str, text: str) -> Candidate | None:
    """Return what a string under a JSON key or column header is, None if it is no secret."""
    how = strength(key)
    if not how:
        return None
    value = text.strip()
    start = text.find(value)
    if scheme := SCHEMES.match(value):
        start, value, how = start + scheme.end(), value[scheme.end() :], "secret"
    if how == "password" and key.casefold() in _OF_PHRASES and is_phrase(value):
        return secret(value, start, "assigned_password", 0.6)
    return judged(value, start, how, quoted=True, shell=False)

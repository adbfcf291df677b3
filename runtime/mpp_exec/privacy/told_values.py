"""What follows the name of a secret without anything that assigns it: an option's value, or what prose tells.

Much may stand behind a name, so here a value must look as if it could be nothing else. ``assignments`` finds
the names.
"""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy.assigned_values import (
    BARE,
    LONGEST_LABEL,
    QUOTED,
    SCHEMES,
    Name,
    beyond,
    default_password,
)
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.values import PIECE, is_made_up, is_random, is_scrambled, judged

_OPTION: Final = lazily(r"[\"']?[ \t]{1,4}(?:(?:is|was|of)[ :]{1,3})?(?=[\"'`]?[^\s\"'`]{6})")
# ``machine host login user password word`` (netrc, and those who write like it)
_LOGIN_BEFORE: Final = lazily(
    r"\b(?:login|user(?:name)?|account)[ \t:=]{1,3}\S{1,48}[ \t,;]{1,3}\Z", re.IGNORECASE
)
# ``the password for 'root' is 'toor'``
_SAID: Final = lazily(r"(?: for [^\n]{1,40}?)? is:? ([\"'`])(?P<value>[^\s\"'`]{3,64})\1")
# A share of the key of a vault, as ``vault operator`` prints it and takes it.
_UNSEAL: Final = lazily(
    r"(?: [Kk]ey)?(?: [0-9]{1,2})?:?[ \t]{1,4}(?P<value>[0-9A-Za-z+/]{43,64}={0,2})(?![0-9A-Za-z+/=])"
)
_WHICH_KEY: Final = lazily(
    r"\b(?:api|access|secret|private|licen[sc]e|recovery|unseal|encryption)[ _-]\Z", re.IGNORECASE
)
# A line that says what the next one is, and nothing else is in that: ``Your API token:``
_BELOW: Final = lazily(
    r"[^\n:]{0,60}:[ \t]{0,4}(?:\r?\n[ \t]{0,40}){1,3}"
    r"(?P<value>[0-9A-Za-z_+/.=-]{16,200})[ \t]{0,4}(?=[\r\n]|\Z)"
)
# ``the pwd of root is …``, ``password for root: …``, ``password(default: …)``, ``ID/PW: root/…``
_TOLD: Final = lazily(
    r"(?:[ ](?:for|of|in|to|on)[ ][^\s:]{1,40}(?:[ ][^\s:]{1,24}){0,2}?)?"
    r"(?:[ ]is:?|,?[a-z]{0,10}[ ]{0,2}[:=]|[ ]{0,2}\((?:[a-z]{1,12}[:=][ ]?)?|[ ]-[ ]|[ ])[ ]{0,2}"
    r"(?:[^\s\"'`()<>,;/]{1,32}/)?(?P<value>[^\s\"'`()<>,;/]{8,64})(?![^\s\"'`()<>,;.])"
)
# What is told of a password (``the password is sea-bar-win13``): no word of a sentence ends so, but for what
# names an algorithm or a version.
_PLAINLY: Final = lazily(
    r"(?!(?:[a-z]{1,16}[-_])?(?:md|sha|rsa|aes|utf|base|bcrypt|argon|scrypt|pbkdf|ipv|v|http|oauth|python)[-_]?[0-9])"
    r"(?=[^0-9]{0,62}[0-9])[A-Za-z][^\s.:]{4,61}[0-9!?#$%^&*]",
    re.IGNORECASE,
)
# ``vendorTOKEN q7Rk2Zp9Lw4X``
_SHOUTED: Final = lazily(r"(?:KEY|TOKEN|SECRET|ACCESS|PRIVATE|PASS|PWD)\Z")
# A name and its value in one word: ``vendor-token-q7Rk2Zp9Lw4Xv8Tn3Bc6``.
_GLUED: Final = lazily(
    r"[-_. ]?[A-Za-z]{0,16}[-_.:]{1,2}"
    r"(?P<value>[0-9A-Za-z][0-9A-Za-z_=-]{19,159})(?![0-9A-Za-z_./-])"
)


def near(text: str, how: str, name: Name) -> Candidate | None:
    """Return the value that follows a name without anything that assigns it."""
    if how and (loose := _loose(text, how, name)):
        return loose
    for pattern, as_what in (
        (_SAID, "said" if how else ""),
        (_UNSEAL, "key" if name.stem == "unseal" else ""),
    ):
        if as_what and (match := pattern.match(text, name.stem_end if as_what == "key" else name.end)):
            return judged(match["value"], match.start("value"), as_what, quoted=True, shell=False)
    if how == "password" and (told := _told(text, name)):
        return told
    if _may_be_told_below(text, how, name) and (below := _BELOW.match(text, name.end)):
        return judged(below["value"], below.start("value"), "key", quoted=True, shell=False)
    return None


def _loose(text: str, how: str, name: Name) -> Candidate | None:
    """Return the value of an option, or the one that follows a name and a space."""
    option = _OPTION.match(text, name.end)
    if not option:
        return None
    # An option, or the first word of a line.
    before = text[max(0, name.end - LONGEST_LABEL) : name.end].removesuffix(name.label)
    is_option = how == "password" and (before.endswith("-") or not before.rpartition("\n")[2].strip())
    sure = name.stem == "identified by" or is_option or bool(_LOGIN_BEFORE.search(before))
    return _read_loose(text, option.end(), how, name, sure=sure)


def _read_loose(text: str, start: int, how: str, name: Name, *, sure: bool) -> Candidate | None:
    """Return the value behind a name and a space: an option's, or a word that nobody would write."""
    if quoted := QUOTED.match(text, start):
        value, at = quoted[2], quoted.start(2)
    elif bare := BARE.match(text, start):
        value, at = bare[0].rstrip(".,;:"), start
    else:
        return None
    if "-----" in value:
        return None  # a marker, and what follows it: ``PRIVATE KEY-----``
    if not quoted and (value[:1] in "*&" or text[at + len(value) : at + len(value) + 1] == "("):
        return None  # a declaration: ``EVP_PKEY *make_key(``
    is_mixed = any(map(str.isalpha, value)) and (not value.rstrip("?!").isalpha() or is_scrambled(value))
    if how == "password" and quoted and (whole := beyond(text, quoted)):
        value = whole
    if how == "password" and (quoted or (sure and is_mixed and len(value) >= 6)):
        found = judged(value, at, how, quoted=True, shell=False)
        return found or (default_password(text, name, value, at) if quoted else None)
    digits = sum(map(str.isdigit, value))
    if SCHEMES.match(name.label + " "):
        as_what = "secret" if len(value) >= 16 else ""
    elif _SHOUTED.search(name.label) and len(value) >= 12 and digits > 2 and not value.isdigit():
        as_what = "secret"
    else:
        pieces = PIECE.findall(value)
        unlike_words = digits or len(pieces) > 5 or max(map(len, pieces), default=0) >= 20
        as_what = "key" if len(value) >= 16 and unlike_words and is_random(value) else ""
    return judged(value, at, as_what, quoted=False, shell=False) if as_what else None


def _may_be_told_below(text: str, how: str, name: Name) -> bool:
    """Tell whether a line may say that the next one is a secret. Of keys it says which: most are public."""
    return bool(how) and (how != "key" or bool(_WHICH_KEY.search(text, max(0, name.start - 16), name.start)))


def _told(text: str, name: Name) -> Candidate | None:
    """Return the password that prose tells, which must look as if it could be nothing else."""
    told = _TOLD.match(text, name.end) if name.label.lower() != "pass" else None
    value = told["value"].rstrip(".") if told else ""
    if not told:
        return None
    is_plain = " is" in text[name.end : told.start("value")] and bool(_PLAINLY.fullmatch(value))
    if not (is_plain or is_made_up(value)) or value[0] in "*&" or text.startswith("(", told.end()):
        return None
    if "(" in text[name.end : told.start("value")] and not text.startswith(")", told.end()):
        return None  # the parameters of a function
    return judged(value, told.start("value"), "password", quoted=True, shell=False)


def glued(text: str, end: int) -> Candidate | None:
    """Return the value that the word goes on with in which a stem ends at *end*."""
    match = _GLUED.match(text, end)
    if not match or sum(map(str.isdigit, match["value"])) < 3:
        return None
    return judged(match["value"], match.start("value"), "key", quoted=True, shell=False)

"""What a name and an assignment lead to: the value in quotes, the bare word, the cell beside it.

``assignments`` finds the name and the sign of assignment; whether the value is a secret, ``values`` says.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy.finding import Candidate, is_in_mask
from mpp_exec.privacy.values import is_filler, is_said_of_secrets, judged, secret

LONGEST_LABEL: Final = 48
_NEARBY: Final = 96
SCHEMES: Final = lazily(
    r"(?:bearer|basic|token|digest|apikey|bot|negotiate|key|sso-key|splunk|ssws|hmac|snipcart)[ =]{1,3}",
    re.IGNORECASE,
)
QUOTED: Final = lazily(r"(\\?[\"'`])((?:(?!\1)[^\r\n]){1,512}?)\1")
# The same with its own quotes escaped in it, and as JSON in a text has that: ``"pa\"ss"``, ``\"pa\\\"ss\"``.
_ESCAPING: Final = (
    lazily(r"([\"'`])((?:\\[^\r\n]|(?!\1)[^\r\n\\]){1,512})\1"),
    lazily(r"(\\[\"'`])((?:\\\\(?:\1|\\\\|[^\r\n\\])|\\[^\r\n\\\"'`]|[^\r\n\\]){1,512})\1"),
)
# Its end is cut off, or somebody forgot it.
_UNCLOSED: Final = lazily(r"\\?[\"'`]([^\s\"'`]{1,512})[ \t]{0,4}(?=[\r\n]|\Z)")
BARE: Final = lazily(r"[^\s\"'`,;&<>(){}\[\]|\\]{1,512}")
_BARE_PASSWORD: Final = lazily(r"[^\s\"'`<>|\\]{1,128}")
_IS_NAME: Final = lazily(r"[ ]{0,4}:")
_IN_LIST: Final = lazily(r"[ ]{0,2},\s{0,40}[\"'`]")
# ``  password: word``, ``spring.datasource.password=word``: all of a line, and not as a program has it.
_SETTING: Final = lazily(r"[ \t]{0,16}[0-9A-Za-z_!@#%^&*+~?-]{4,64}[ \t]{0,8}(?:\r?\n|\Z)")
_INDENT: Final = lazily(r"(?:\A|\n)[ \t]{0,40}(?:- |export |set |ENV )?\Z")
# What a connection string has besides: ``Server=…;User Id=…;Password=…``.
_IN_CONNECTION: Final = lazily(
    r";? ?\b(?:server|host|data source|database|initial catalog|dbname|port|uid|user(?: ?id)?|pooling"
    r"|provider|driver)"
    r" ?= ?[^;\n]{0,64};? ?(?=\Z|[A-Za-z ]{1,20}=)",
    re.IGNORECASE,
)
# The line before it says whose it is, and quotes as little.
_USER_BEFORE: Final = lazily(
    r"\b(?:user(?:_?name)?|login|uid)[ \t]{0,3}[=:][ \t]{0,3}[^\s\"'({$<]{2,48}\s{1,80}"
    r"(?:(?://|#|--)[^\n]{0,80}\s{1,80}){0,2}[A-Za-z_.]{0,24}\Z",
    re.IGNORECASE,
)
# A user's name in the line before, quoted as well.
_USER_ABOVE: Final = lazily(
    r"(?:(?<![A-Za-z])(?i:user(?:_?name)?|login|uid)|(?<=[a-z])User(?:[nN]ame)?)"
    r"[\"']?[ \t]{0,8}(?:=>|[=: ])[ \t]{0,3}"
    r"(?:([\"'])(?!\1)[^\"'\n]{1,48}\1|[^\s\"'({$<]{2,48}(?=\s))[;,]?"
    r"[^\n\"'=:]{0,48}\n\s{0,40}[\"']?[A-Za-z_.$>-]{0,32}\Z"
)
# Words that somebody chose where he had to, or has left as they came.
_DEFAULT: Final = lazily(
    r"(?:my)?(?:password|passwd|pass|secret|admin|administrator|root|guest|test|user|change(?:it|me)|letmein|welcome)"
    r"[0-9!]{0,4}|[a-z]{2,12}(?: [a-z]{2,12}){1,3}",
    re.IGNORECASE,
)
_CELL: Final = lazily(r"`?(?P<value>[^\s|()`]{6,80})`?[ ]{1,40}\|")


class Name(NamedTuple):
    """A name that may be a secret's: its start, what it is found by and where that ends, its end."""

    start: int
    stem: str
    stem_end: int
    end: int
    label: str


def read(text: str, assign: re.Match[str], how: str, name: Name) -> Candidate | None:
    """Return the value that is assigned behind *assign*, if it is a secret."""
    start = assign.end()
    shell = name.label.isupper()
    if quoted := QUOTED.match(text, start):
        value, at = quoted[2], quoted.start(2)
        if assign[0].strip().endswith(",") and (
            _IS_NAME.match(text, quoted.end())
            or (value.replace("_", "").isalpha() and _IN_LIST.match(text, quoted.end()))
        ):
            return None  # the name of the next member, or a word of a list of words
        if whole := beyond(text, quoted):
            found = judged(whole, at, how, quoted=True, shell=shell)
            # ``"[{\"a\": …}]"`` is no secret, nor is its beginning.
            if found or not any(map(str.isalnum, value)):
                return found
    elif quoted := _UNCLOSED.match(text, start):
        value, at = quoted[1], quoted.start(1)
    else:
        shell = shell or _is_setting(text, name, assign)
        if scheme := SCHEMES.match(text, start):
            start, how = scheme.end(), "secret"
        bare = (_BARE_PASSWORD if how == "password" else BARE).match(text, start)
        if not bare or is_in_mask(text, start + 1):
            return None
        value, at = bare[0].rstrip(".,;:)]}"), start
        if how == "password":
            value, certain = _bare_password(text, value, name)
            if certain:
                return secret(value, at, "assigned_password", 0.7)
        if not value or text.startswith("(", at + len(value)):
            return None
    if scheme := SCHEMES.match(value):
        at, value, how = at + scheme.end(), value[scheme.end() :], "secret"
    is_element = text.startswith("<", name.start - 1) and assign[0].startswith(">")
    found = judged(value, at, how, quoted=bool(quoted) or is_element, shell=shell)
    return found or (
        default_password(text, name, value, at) if how == "password" and (quoted or shell) else None
    )


def beyond(text: str, quoted: re.Match[str]) -> str:
    """Return the value of which *quoted* is what stands before a quote that is escaped; "" if none is."""
    value, level = quoted[2], len(quoted[1]) - 1
    last = len(value) - len(value.rstrip("\\"))
    if last % (2 << level) != 1 << level:
        return ""
    whole = _ESCAPING[level].match(text, quoted.start())
    return whole[2] if whole else ""


def _is_setting(text: str, name: Name, assign: re.Match[str]) -> bool:
    """Tell whether a line is one of a file of settings, in which a bare word is a string."""
    joint = assign[0].strip(" \t")
    if not (joint == ":" and assign[0] != ":") and assign[0] != "=":
        return False
    begins = _INDENT.search(text, max(0, name.start - LONGEST_LABEL), name.start)
    if not begins or (begins.start() == name.start - LONGEST_LABEL > 0):
        return False
    value = _SETTING.match(text, assign.end())
    return value is not None and not is_said_of_secrets(value[0].strip())


def _bare_password(text: str, value: str, name: Name) -> tuple[str, bool]:
    """Return what of *value*, which has no quotes, is the password, and whether its neighbours say so."""
    if "&" in value and "=" in value:
        value = value.partition("&")[0]  # of a query
    value, _, more = value.partition(";")  # of a connection string
    beside = text[max(0, name.start - _NEARBY) : name.start]
    if _IN_CONNECTION.search(beside) or _IN_CONNECTION.match(f";{more}"):
        return value, value[:1] not in ("", "<", "{", "$", "%", "[", "*")
    return value, bool(value.isidentifier() and not is_filler(value) and _USER_BEFORE.search(beside))


def default_password(text: str, name: Name, value: str, at: int) -> Candidate | None:
    """Return a password of plain words that stands below the name of its user."""
    above = _USER_ABOVE.search(text, max(0, name.start - _NEARBY), name.start)
    if not above or not _DEFAULT.fullmatch(value):
        return None
    return secret(value, at, "assigned_password", 0.5)


def in_cell(text: str, start: int, name: Name) -> Candidate | None:
    """Return the value in the cell of a table behind the first one of its line, which names it."""
    before = text[max(0, name.start - LONGEST_LABEL) : name.start].rpartition("\n")[2]
    cell = _CELL.match(text, start)
    if before.strip(" \t|*`\"'") or not cell or not any(map(str.isdigit, cell["value"])):
        return None
    return judged(cell["value"], cell.start("value"), "password", quoted=True, shell=False)

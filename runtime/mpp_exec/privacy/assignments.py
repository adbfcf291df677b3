"""Detectors for secrets that only their names give away: ``DB_PASSWORD=…``, ``"api_key": "…"``, ``Bearer …``.

A stem leads to a name, and what follows the name to a value; whether that is a secret, ``values`` says. What
a provider marks by a prefix is found by ``tokens``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from mpp_exec.privacy import anchors, handed, meter
from mpp_exec.privacy.finding import Candidate, is_in_mask, lazily
from mpp_exec.privacy.secret_names import SERVICES, strength
from mpp_exec.privacy.values import (
    PIECE,
    is_filler,
    is_made_up,
    is_phrase,
    is_random,
    is_said_of_secrets,
    is_scrambled,
    judged,
    secret,
)

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
_LONGEST_LABEL: Final = 48
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
_OPTION: Final = lazily(r"[\"']?[ \t]{1,4}(?:(?:is|was|of)[ :]{1,3})?(?=[\"'`]?[^\s\"'`]{6})")
_SCHEMES: Final = lazily(
    r"(?:bearer|basic|token|digest|apikey|bot|negotiate|key|sso-key|splunk|ssws|hmac|snipcart)[ =]{1,3}",
    re.IGNORECASE,
)
_QUOTED: Final = lazily(r"(\\?[\"'`])((?:(?!\1)[^\r\n]){1,512}?)\1")
# The same with its own quotes escaped in it, and as JSON in a text has that: ``"pa\"ss"``, ``\"pa\\\"ss\"``.
_ESCAPING: Final = (
    lazily(r"([\"'`])((?:\\[^\r\n]|(?!\1)[^\r\n\\]){1,512})\1"),
    lazily(r"(\\[\"'`])((?:\\\\(?:\1|\\\\|[^\r\n\\])|\\[^\r\n\\\"'`]|[^\r\n\\]){1,512})\1"),
)
# Its end is cut off, or somebody forgot it.
_UNCLOSED: Final = lazily(r"\\?[\"'`]([^\s\"'`]{1,512})[ \t]{0,4}(?=[\r\n]|\Z)")
_BARE: Final = lazily(r"[^\s\"'`,;&<>(){}\[\]|\\]{1,512}")
_BARE_PASSWORD: Final = lazily(r"[^\s\"'`<>|\\]{1,128}")


class _Name(NamedTuple):
    """A name that may be a secret's: its start, what it is found by and where that ends, its end."""

    start: int
    stem: str
    stem_end: int
    end: int
    label: str


def assigned(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the secrets in *text* whose name holds a stem; *places* are the offsets of stems."""
    found: list[Candidate] = []
    free = 0
    for at, stem in places:
        meter.step(len(found))
        if at < free:
            continue  # in a name that has been looked at
        start, stem_end = _label_start(text, max(free, at - _LONGEST_LABEL), at), at + len(stem)
        free = _TAIL.match(text, stem_end).end()  # type: ignore[union-attr]  # it matches the empty string
        if text.startswith("--", stem_end) or is_in_mask(text, at):
            continue  # of a marker, or a mask
        if stem == "pass" and _VERDICT.match(text, at) and start == at:
            continue
        if text[max(0, start - len(_PUBLIC)) : start].lower() == _PUBLIC or _IN_ARN.search(
            text, max(0, start - _ARN_MAX), start
        ):
            continue
        name = _Name(start, stem, stem_end, free, text[start:free].strip(".-_"))
        if candidate := _value(text, name) or _glued(text, stem_end):
            found.append(candidate)
    return found


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


def _label_start(text: str, floor: int, at: int) -> int:
    start = at
    while start > floor and text[start - 1] in _PART:
        start -= 1
    return start


def _value(text: str, name: _Name) -> Candidate | None:
    how = strength(name.label)
    if name.stem == "identified by":
        how = "password"
    elif name.label == "sig":
        how = "secret"
    if how and (assign := _TYPED.match(text, name.end) or _ASSIGN.match(text, name.end)):
        if text.startswith("(", assign.end()) and name.label.lower().endswith(handed.PAIRED):
            return handed.called(text, name.start, name.end, name.label, how)
        if assign[0].strip(" \t\"'`*") == "|":
            return _cell(text, assign.end(), name)
        return _read(text, assign, how, name)
    return _near(text, how, name) or handed.called(text, name.start, name.end, name.label, how)


def _near(text: str, how: str, name: _Name) -> Candidate | None:
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


def _loose(text: str, how: str, name: _Name) -> Candidate | None:
    """Return the value of an option, or the one that follows a name and a space."""
    option = _OPTION.match(text, name.end)
    if not option:
        return None
    # An option, or the first word of a line.
    before = text[max(0, name.end - _LONGEST_LABEL) : name.end].removesuffix(name.label)
    is_option = how == "password" and (before.endswith("-") or not before.rpartition("\n")[2].strip())
    sure = name.stem == "identified by" or is_option or bool(_LOGIN_BEFORE.search(before))
    return _read_loose(text, option.end(), how, name, sure=sure)


# A share of the key of a vault, as ``vault operator`` prints it and takes it.
_UNSEAL: Final = lazily(
    r"(?: [Kk]ey)?(?: [0-9]{1,2})?:?[ \t]{1,4}(?P<value>[0-9A-Za-z+/]{43,64}={0,2})(?![0-9A-Za-z+/=])"
)
# ``machine host login user password word`` (netrc, and those who write like it)
_LOGIN_BEFORE: Final = lazily(
    r"\b(?:login|user(?:name)?|account)[ \t:=]{1,3}\S{1,48}[ \t,;]{1,3}\Z", re.IGNORECASE
)
# ``the password for 'root' is 'toor'``
_SAID: Final = lazily(r"(?: for [^\n]{1,40}?)? is:? ([\"'`])(?P<value>[^\s\"'`]{3,64})\1")


def _may_be_told_below(text: str, how: str, name: _Name) -> bool:
    """Tell whether a line may say that the next one is a secret. Of keys it says which: most are public."""
    return bool(how) and (how != "key" or bool(_WHICH_KEY.search(text, max(0, name.start - 16), name.start)))


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


def _told(text: str, name: _Name) -> Candidate | None:
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


def _cell(text: str, start: int, name: _Name) -> Candidate | None:
    """Return the value in the cell of a table behind the first one of its line, which names it."""
    before = text[max(0, name.start - _LONGEST_LABEL) : name.start].rpartition("\n")[2]
    cell = _CELL.match(text, start)
    if before.strip(" \t|*`\"'") or not cell or not any(map(str.isdigit, cell["value"])):
        return None
    return judged(cell["value"], cell.start("value"), "password", quoted=True, shell=False)


_CELL: Final = lazily(r"`?(?P<value>[^\s|()`]{6,80})`?[ ]{1,40}\|")

# A name and its value in one word: ``vendor-token-q7Rk2Zp9Lw4Xv8Tn3Bc6``.
_GLUED: Final = lazily(
    r"[-_. ]?[A-Za-z]{0,16}[-_.:]{1,2}"
    r"(?P<value>[0-9A-Za-z][0-9A-Za-z_=-]{19,159})(?![0-9A-Za-z_./-])"
)


def _glued(text: str, end: int) -> Candidate | None:
    """Return the value that the word goes on with in which a stem ends at *end*."""
    match = _GLUED.match(text, end)
    if not match or sum(map(str.isdigit, match["value"])) < 3:
        return None
    return judged(match["value"], match.start("value"), "key", quoted=True, shell=False)


def _read(text: str, assign: re.Match[str], how: str, name: _Name) -> Candidate | None:
    """Return the value that is assigned behind *assign*, if it is a secret."""
    start = assign.end()
    shell = name.label.isupper()
    if quoted := _QUOTED.match(text, start):
        value, at = quoted[2], quoted.start(2)
        if assign[0].strip().endswith(",") and (
            _IS_NAME.match(text, quoted.end())
            or (value.replace("_", "").isalpha() and _IN_LIST.match(text, quoted.end()))
        ):
            return None  # the name of the next member, or a word of a list of words
        if whole := _beyond(text, quoted):
            found = judged(whole, at, how, quoted=True, shell=shell)
            if found or not any(
                map(str.isalnum, value)
            ):  # ``"[{\"a\": …}]"`` is no secret, nor is its beginning
                return found
    elif quoted := _UNCLOSED.match(text, start):
        value, at = quoted[1], quoted.start(1)
    else:
        shell = shell or _is_setting(text, name, assign)
        if scheme := _SCHEMES.match(text, start):
            start, how = scheme.end(), "secret"
        bare = (_BARE_PASSWORD if how == "password" else _BARE).match(text, start)
        if not bare or is_in_mask(text, start + 1):
            return None
        value, at = bare[0].rstrip(".,;:)]}"), start
        if how == "password":
            value, certain = _bare_password(text, value, name)
            if certain:
                return secret(value, at, "assigned_password", 0.7)
        if not value or text.startswith("(", at + len(value)):
            return None
    if scheme := _SCHEMES.match(value):
        at, value, how = at + scheme.end(), value[scheme.end() :], "secret"
    is_element = text.startswith("<", name.start - 1) and assign[0].startswith(">")
    found = judged(value, at, how, quoted=bool(quoted) or is_element, shell=shell)
    return found or (_default(text, name, value, at) if how == "password" and (quoted or shell) else None)


def _beyond(text: str, quoted: re.Match[str]) -> str:
    """Return the value of which *quoted* is what stands before a quote that is escaped; "" if none is."""
    value, level = quoted[2], len(quoted[1]) - 1
    last = len(value) - len(value.rstrip("\\"))
    if last % (2 << level) != 1 << level:
        return ""
    whole = _ESCAPING[level].match(text, quoted.start())
    return whole[2] if whole else ""


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


def _default(text: str, name: _Name, value: str, at: int) -> Candidate | None:
    """Return a password of plain words that stands below the name of its user."""
    above = _USER_ABOVE.search(text, max(0, name.start - _NEARBY), name.start)
    if not above or not _DEFAULT.fullmatch(value):
        return None
    return secret(value, at, "assigned_password", 0.5)


_IS_NAME: Final = lazily(r"[ ]{0,4}:")
_IN_LIST: Final = lazily(r"[ ]{0,2},\s{0,40}[\"'`]")
# ``  password: word``, ``spring.datasource.password=word``: all of a line, and not as a program has it.
_SETTING: Final = lazily(r"[ \t]{0,16}[0-9A-Za-z_!@#%^&*+~?-]{4,64}[ \t]{0,8}(?:\r?\n|\Z)")
_INDENT: Final = lazily(r"(?:\A|\n)[ \t]{0,40}(?:- |export |set |ENV )?\Z")


def _is_setting(text: str, name: _Name, assign: re.Match[str]) -> bool:
    """Tell whether a line is one of a file of settings, in which a bare word is a string."""
    joint = assign[0].strip(" \t")
    if not (joint == ":" and assign[0] != ":") and assign[0] != "=":
        return False
    begins = _INDENT.search(text, max(0, name.start - _LONGEST_LABEL), name.start)
    if not begins or (begins.start() == name.start - _LONGEST_LABEL > 0):
        return False
    value = _SETTING.match(text, assign.end())
    return value is not None and not is_said_of_secrets(value[0].strip())


def _bare_password(text: str, value: str, name: _Name) -> tuple[str, bool]:
    """Return what of *value*, which has no quotes, is the password, and whether its neighbours say so."""
    if "&" in value and "=" in value:
        value = value.partition("&")[0]  # of a query
    value, _, more = value.partition(";")  # of a connection string
    beside = text[max(0, name.start - _NEARBY) : name.start]
    if _IN_CONNECTION.search(beside) or _IN_CONNECTION.match(f";{more}"):
        return value, value[:1] not in ("", "<", "{", "$", "%", "[", "*")
    return value, bool(value.isidentifier() and not is_filler(value) and _USER_BEFORE.search(beside))


# ``vendorTOKEN q7Rk2Zp9Lw4X``
_SHOUTED: Final = lazily(r"(?:KEY|TOKEN|SECRET|ACCESS|PRIVATE|PASS|PWD)\Z")
_NEARBY: Final = 96
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


def _read_loose(text: str, start: int, how: str, name: _Name, *, sure: bool) -> Candidate | None:
    """Return the value behind a name and a space: an option's, or a word that nobody would write."""
    if quoted := _QUOTED.match(text, start):
        value, at = quoted[2], quoted.start(2)
    elif bare := _BARE.match(text, start):
        value, at = bare[0].rstrip(".,;:"), start
    else:
        return None
    if "-----" in value:
        return None  # a marker, and what follows it: ``PRIVATE KEY-----``
    if not quoted and (value[:1] in "*&" or text[at + len(value) : at + len(value) + 1] == "("):
        return None  # a declaration: ``EVP_PKEY *make_key(``
    is_mixed = any(map(str.isalpha, value)) and (not value.rstrip("?!").isalpha() or is_scrambled(value))
    if how == "password" and quoted and (whole := _beyond(text, quoted)):
        value = whole
    if how == "password" and (quoted or (sure and is_mixed and len(value) >= 6)):
        found = judged(value, at, how, quoted=True, shell=False)
        return found or (_default(text, name, value, at) if quoted else None)
    digits = sum(map(str.isdigit, value))
    if _SCHEMES.match(name.label + " "):
        as_what = "secret" if len(value) >= 16 else ""
    elif _SHOUTED.search(name.label) and len(value) >= 12 and digits > 2 and not value.isdigit():
        as_what = "secret"
    else:
        pieces = PIECE.findall(value)
        unlike_words = digits or len(pieces) > 5 or max(map(len, pieces), default=0) >= 20
        as_what = "key" if len(value) >= 16 and unlike_words and is_random(value) else ""
    return judged(value, at, as_what, quoted=False, shell=False) if as_what else None


# Only what has this very name may be several words.
_OF_PHRASES: Final = ("password", "passphrase", "pass_phrase", "passwd")


def under_label(key: str, text: str) -> Candidate | None:
    """Return what a string under a JSON key or column header is, None if it is no secret."""
    how = strength(key)
    if not how:
        return None
    value = text.strip()
    start = text.find(value)
    if scheme := _SCHEMES.match(value):
        start, value, how = start + scheme.end(), value[scheme.end() :], "secret"
    if how == "password" and key.casefold() in _OF_PHRASES and is_phrase(value):
        return secret(value, start, "assigned_password", 0.6)
    return judged(value, start, how, quoted=True, shell=False)

"""Detectors for names, addresses and user names: only where a label says so.

Nothing about ``Jordan``, ``Paris`` or ``Chase`` tells a person from a product, so prose is never searched
for names. What stands behind ``Patient:`` or under ``"first_name"`` is one, if it looks like one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import anchors, meter, places
from mpp_exec.privacy.finding import Candidate, is_in_mask, is_letter, listed

# ``Label: value``. What precedes the colon decides; a label is at most three words.
_STRONG: Final = (  # nobody else is called this
    "fullname surname forename cardholder patient applicant cardholdername patientname customername employee"
    " passenger borrower payee recipient attention attn undersigned spouse guardian resident tenant"
)
_ROLES: Final = (  # these announce departments and products too
    "name customer client member user contact owner holder driver sender student guest attendee to cc bcc"
    " bio profile buyer seller author reporter requester requestor assignee insured subscriber"
)
_PERSON: Final = frozenset((_STRONG + " " + _ROLES).split())
_STRONG_WORDS: Final = frozenset(_STRONG.split())
_ADDRESS: Final = listed(
    """
    address addr residence location residing ship shipping billing street deliver delivery mailing
    home
    """
)
_USERNAME: Final = frozenset(("username", "login", "userid", "handle", "nickname"))
_ONLY_ROLES: Final = _PERSON - _STRONG_WORDS - _ADDRESS - _USERNAME
NEEDLES: Final = tuple(
    anchors.Needle(word, anchors.COLON | anchors.WORD | (anchors.ROLE if word in _ONLY_ROLES else 0))
    for word in sorted(_PERSON | _ADDRESS | _USERNAME)
)
# Words that make a label of a person into one of a thing.
_OF_THINGS: Final = listed(
    """
    product brand file host domain server company business project package service app application
    table column field class function variable event model city country school device user display
    dataset branch repo repository image module team group role tag key path theme font plan job
    task step workflow resource bucket cluster pod node volume account bank tool method type process
    thread database schema index command program library plugin channel room course book game song
    org organization organisation
    """
)
_OF_PEOPLE: Final = listed(
    "full first last middle legal maiden preferred given family customer client patient employee"
)
_OF_SOMEBODY: Final = _OF_PEOPLE | _PERSON  # in front of ``Name``: ``customerName``, and not ``unitName``
_BEFORE: Final = 16
_COLON: Final = lazily(
    r"(?:[ _-]?(?:full[ _]?)?(?:name|names|details|on file|address|holder|to|info|line ?[12]))?['\"]?"
    r"[ \t]{0,2}[:=](?:\*\*)?[ \t]{0,4}['\"]?",
    re.IGNORECASE,
)

# One to five words of letters; the first letter decides about an unclear label.
_NAME: Final = lazily(
    r"(?:(?:mr|mrs|ms|miss|dr|prof|sir|herr|frau)\.?\s{1,2})?[^\W\d_][^\W\d_.'\u2019-]{0,30}+[.'\u2019-]?(?:[^\W\d_]{1,30}+)?"
    r"(?:(?:,[ ]{0,2}|[ ]{1,2}|\.[ ]?)[^\W\d_]['\u2019-]?[^\W\d_]{0,30}+(?:['\u2019-][^\W\d_]{1,30}+)?)"
    r"{0,4}\.?",
    re.IGNORECASE,
)
_ENDS: Final = lazily(r"[ \t]{0,4}(?:\Z|[\r\n|;<>()\[\]{}\"'\\/,]|[-\u2013\u2014] |[.!?](?:\s|\Z)|\S+@)")
_NOT_NAMES: Final = listed(
    """
    true false null none nil undefined unknown anonymous n/a na tbd test admin root guest default
    yes no string str int required optional empty system public private self this the a an all any
    name value redacted
    """
)
# What programs write where a name would stand: git of lines that nobody has committed.
_NOBODY: Final = frozenset({"not committed yet", "unknown author", "no author"})
_FIRST_MAX: Final = 72  # no first word is longer
# Up to the end of the line or the next field of it.
_ADDRESS_VALUE: Final = lazily(r"[^\r\n|;<>\"\\{}\[\]]{6,160}")
_NEXT_FIELD: Final = lazily(
    r"(?:[.,]? {1,2}|[.,] ?| [-\u2013] | / )(?:and |or |my |with )?"
    r"(?:[A-Za-z'#. ]{0,14}(?:ssn|dob|phone|email|e-mail|license|licence|passport|account|tel|fax|mobile"
    r"|cell|ph|vin|ip|card)\b|[\w.+-]{1,40}@|\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ][0-9]{4})",
    re.IGNORECASE,
)
_STREET: Final = lazily(
    r"\b(?:st|street|ave|avenue|rd|road|blvd|boulevard|lane|ln|drive|dr|court|ct|way|place|pl|square|sq|box|apt|suite|ste|unit"
    r"|floor|terrace|highway|hwy|parkway|circle|trail|stra(?:ss|\u00df)e|platz|weg|allee|rue|via|calle|avenida)\b",
    re.IGNORECASE,
)
_SCHEME: Final = lazily(r"[a-z][a-z+.-]{1,12}://|[/~.]|0x|[0-9A-Fa-f:.]+\Z", re.IGNORECASE)
_USERNAME_VALUE: Final = lazily(r"@?[0-9A-Za-z_][0-9A-Za-z_.@+-]{1,63}(?![^\s,;|\"'\\<>)\]}])")


def announced(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what in *text* stands behind a word and a colon; *places* are the offsets of such words."""
    found: list[Candidate] = []
    for at, word in places:
        meter.step(len(found))
        before = text[at - 1 : at]
        is_hump = before.islower() and text[at].isupper()  # ``firstName: ``
        starts = not is_letter(before) or is_hump or text[at - 2 : at] in ("\\n", "\\r", "\\t")
        if starts and (colon := _COLON.match(text, at + len(word))) and not is_in_mask(text, at):
            candidate = _value(text, word, at, colon)
            if candidate:
                found.append(candidate)
    return found


def last_word(before: str) -> str:
    """Return the word that *before* ends in, in lower case, whatever joins it to what follows."""
    words = _NOT_LETTERS.split(before.rstrip(" _.-"))
    return _HUMP.split(words[-1])[-1].lower()


_NOT_LETTERS: Final = lazily(r"[^A-Za-z]+")
_HUMP: Final = lazily(r"(?<=[a-z])(?=[A-Z])")


# What is assigned in a program rather than written in a file: a call, an attribute, an operator behind it.
_CODE: Final = lazily(
    r"[A-Za-z_$&*][\w$]*(?:(?:\.|->|::)[A-Za-z_$][\w$]*)*"
    r"(?:[(\[]|[ ]{0,2}(?:\|\||&&|\?|[-+*/]=?[ ]|->)|[ ]?;|[ ]\w+[.(\[])"
    r"|(?:this|self|os|req|new|await)\b[. ]"
)


def is_code(text: str, start: int) -> bool:
    """Tell whether what is assigned at *start* is an expression of a program."""
    return text[start - 1 : start] not in ("'", '"') and bool(_CODE.match(text, start))


def _value(text: str, word: str, at: int, colon: re.Match[str]) -> Candidate | None:
    start = colon.end()
    if "=" in colon[0] and is_code(text, start):
        return None
    qualifier = last_word(text[max(0, at - _BEFORE) : at])
    if qualifier in _OF_THINGS or (
        is_letter(text[at - 1 : at]) and qualifier not in _OF_SOMEBODY and word == "name"
    ):
        return None
    label = colon[0].lower()
    if word in _USERNAME or (word == "user" and "name" in label):
        return _username(text, start)
    if word in _ADDRESS or "address" in label:
        return _address(
            text,
            start,
            sure="addr" in word or "address" in label or word in ("residence", "residing", "street"),
        )
    return person(text, start, strong=word in _STRONG_WORDS or "name" in label or qualifier in _OF_PEOPLE)


def person(text: str, start: int, *, strong: bool) -> Candidate | None:
    """Return the name of somebody that starts at *start*, None if there is none.

    *strong*: the label cannot mean anything else, so how it is capitalised does not matter. Otherwise
    every word has to be capitalised, and one word is not enough to be sure.
    """
    if not strong:  # at once, what costs more to match
        begins = text[start : start + 2]
        if begins.islower() or (" " not in (head := text[start : start + _FIRST_MAX]) and "," not in head):
            return None
    match = _NAME.match(text, start, _quoted_end(text, start))
    if not match or not _ENDS.match(text, match.end()):
        return None
    value = match[0]
    words = value.replace(",", " ").split()
    spelled = " ".join(words).casefold()
    if not words or len(value) < 2 or words[0].lower() in _NOT_NAMES or spelled in _NOBODY:
        return None
    if not strong and (len(words) < 2 or not all(word[0].isupper() or word[1:2].isupper() for word in words)):
        return None
    return Candidate("person", start, match.end(), 0.8 if strong else 0.6, spelled)


# An apostrophe that ends a string is not one of a name: ``first_name='Antonio', …``
_CLOSING: Final = lazily(r"'(?=[,;)}\]\s]|\Z)")
_QUOTED_MAX: Final = 200


def _quoted_end(text: str, start: int) -> int:
    """Return where the string ends in which *start* is the first character behind an apostrophe, else all."""
    if text[start - 1 : start] != "'":
        return len(text)
    closing = _CLOSING.search(text, start, start + _QUOTED_MAX)
    return closing.start() if closing else len(text)


def _address(text: str, start: int, *, sure: bool) -> Candidate | None:
    match = _ADDRESS_VALUE.match(text, start, _quoted_end(text, start))
    if not match:
        return None
    following = _NEXT_FIELD.search(text, start, match.end())
    end = following.start() if following else match.end()
    value = text[start:end].rstrip(" .,-")
    return (
        Candidate("address", start, start + len(value), 0.7, _spelled(value))
        if is_address(value, sure=sure)
        else None
    )


_IDEOGRAPHS: Final = lazily(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{2}")
_JOINING: Final = str.maketrans("", "", ".,-'\u2019/")


def is_address(value: str, *, sure: bool = True) -> bool:
    """Tell whether *value*, which is called an address, is a place: words and a number.

    Not *sure*: the label has other uses (``Delivery: 3 business days``), so a street or a comma is asked for.
    """
    if _SCHEME.match(value) or "@" in value or "://" in value or len(value) < 6:
        return False
    words = _unmarked(value).split()
    has_number = any(map(str.isdigit, value))
    if has_number and sure and _IDEOGRAPHS.search(value):
        return True  # no spaces between the words of these scripts
    has_word = any(len(word) > 2 and word.translate(_JOINING).isalpha() for word in words)
    if not has_word or len(words) < 2:
        return False
    return (has_number and (sure or bool(_STREET.search(value)))) or ("," in value and has_number)


def _unmarked(value: str) -> str:
    """Return *value* less the vowels and tones that other scripts write as marks, which are no letters."""
    if value.isascii():
        return value
    import unicodedata  # noqa: PLC0415  # plain ASCII never needs it

    return "".join(each for each in value if unicodedata.category(each)[0] != "M")


def _spelled(value: str) -> str:
    return " ".join(value.split()).casefold()


_PROSE: Final = lazily(r"[A-Z][a-z]+ (?:[a-z]+ ){0,2}[a-z]+")  # ``:param username: User to sign in``


def _username(text: str, start: int) -> Candidate | None:
    match = _USERNAME_VALUE.match(text, start)
    if not match or match[0].lower() in _NOT_NAMES or _PROSE.match(text, start):
        return None
    if match[0].lower() in text[max(0, start - _BEFORE) : start].lower():
        return None  # ``username=username``
    return Candidate("username", start, match.end(), 0.6, match[0].casefold())


_IS_STREET: Final = lazily(
    r"(?:.{0,40}[^A-Za-z])?(?:street|stra(?:ss|\u00df)e|rue|calle|via)(?:_?(?:address|name|line))?",
    re.IGNORECASE,
)


def _is_street(value: str) -> bool:
    is_long = 2 <= len(value.split()) <= 8 or bool(_IDEOGRAPHS.search(value))
    return is_long and not _SCHEME.match(value)


def _is_place(kind: str, value: str, key: str) -> bool:
    if kind == places.PART:
        return places.is_part(value)
    return is_address(value) or (bool(_IS_STREET.fullmatch(key)) and _is_street(value))


def under_label(kind: str, text: str, key: str = "") -> Candidate | None:
    """Return what a string under a label is: ``person``, ``person?``, ``address``, ``place``, ``username``.

    Below a *key* that says ``street`` an address needs no number.
    """
    value = text.strip()
    start = text.find(value)
    if not value or len(value) > 200 or value.lower() in _NOT_NAMES:
        return None
    if kind in ("address", places.PART):
        if not _is_place(kind, value, key):
            return None
        score = 0.85 if kind == "address" else 0.8
        return Candidate("address", start, start + len(value), score, _spelled(value))
    if kind == "username":
        match = _USERNAME_VALUE.fullmatch(value)
        return Candidate("username", start, start + len(value), 0.8, value.casefold()) if match else None
    match = _NAME.fullmatch(_unmarked(value))
    words = value.replace(",", " ").split()
    if not match or (kind == "person?" and (len(words) < 2 or any(map(_is_lower, words)))):
        return None
    spelled = " ".join(words).casefold()
    return None if spelled in _NOBODY else Candidate("person", start, start + len(value), 0.85, spelled)


def _is_lower(word: str) -> bool:
    """Tell whether a word begins with a small letter. Many scripts have neither small ones nor capitals."""
    return not word[0].isupper() and (word[0].isascii() or word[0].islower())

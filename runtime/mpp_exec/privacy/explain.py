"""Why something counts as found: which rule, which check, which context, and what would switch it off.

Nothing here runs unless somebody asks. What a detector has proposed is looked for once more, by itself, so
that finding costs nothing for being explained; a reason never holds the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec.privacy import assignments, commands, labelled, markup_tables, names, tables, tokens
from mpp_exec.privacy.detect import detect, detect_plain, places_of
from mpp_exec.privacy.document import key_in_text
from mpp_exec.privacy.finding import ORGANISATION, SECOND_OPINION, Candidate
from mpp_exec.privacy.leaf import Leaf
from mpp_exec.privacy.literals import RECEIVED, USER_CONFIG

_CHECKS: Final = {
    "address": "words and a number, with a street or a comma",
    "bank_account": "6 to 17 digits",
    "credit_card": "a network's prefix and length (ISO/IEC 7812), and the Luhn digit",
    "crypto_address": "the checksum of Base58Check or bech32, or the form of EIP-55",
    "date_of_birth": "a date",
    "drivers_license": "letters and digits, five digits at least",
    "email": "an at sign, what may stand before it, and a domain behind it (RFC 5321)",
    "health_id": "the form of a health service's number, and its check digit where it has one",
    "iban": "a country's length and the remainder of mod 97 (ISO 13616)",
    "ip_address": "four octets, or the groups of an IPv6 address (RFC 4291), that identify somebody",
    "mac_address": "six pairs of hexadecimal digits, neither broadcast nor null",
    "national_id": "the form of a state's number, and the date and check digits that it has",
    "passport": "letters and digits, four digits at least",
    "person": "one to five words of letters",
    "phone": "a country code and a length of E.164, or groups of the NANP",
    "ssn": "nine digits in a range that is issued (SSA POMS RM 10201.035)",
    "tax_id": "the form of a tax office's number, and its check digits where it has any",
    "url_credential": "scheme://user:password@ (RFC 3986, section 3.2.1), no placeholder",
    "username": "one word",
    "vin": "17 characters with the check digit of 49 CFR 565.15",
}
_SECRETS: Final = {
    "assigned_password": "no placeholder, no code, no path",
    "assigned_random": "20 characters in which letters and digits are mixed, and a name that says nothing",
    "assigned_secret": "no placeholder and no code, and unlike words",
    "aws_access_key": "the prefix and length of an access key ID, or 40 characters of base64 beside one",
    "command_password": "no placeholder and no variable",
    "github_token": "the prefix and length that GitHub publishes",
    "jwt": "a JOSE header that names an algorithm (RFC 7515)",
    "password_hash": "the form of crypt(5) or of RFC 2307",
    "private_key": "the markers of a private key (RFC 7468), and what stands between them",
    "user_option": "a user's name and a password, no placeholder",
}
# Detectors that are led by a word, which is then what announces.
_BY_WORDS: Final = (
    *(labelled.announced, labelled.identified, names.announced, assignments.assigned),
    *(commands.passwords, commands.pgpass_lines),
)
_ROW: Final = re.compile("<tr", re.IGNORECASE)
_PUBLISHED: Final = {rule: source for rule, _, _, source in tokens.FORMATS}
_UNANNOUNCED: Final = {ORGANISATION: "none: the pattern is enough", SECOND_OPINION: "the sentence"}
_ELSEWHERE: Final = "the same value was found elsewhere in the same result"
_HANDED: Final = {
    USER_CONFIG: "it is a sensitive setting of the tool",
    RECEIVED: "the tool was handed it in the place of a token",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a finding counts.

    Attributes:
        rule: what recognised it, a kind or the rule of one.
        check: what the value had to be like.
        context: what stands around it that matters.
        switch_off: what would leave it in a tool's results, "" for nothing.
    """

    rule: str
    check: str
    context: str
    switch_off: str

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``redact --json --explain`` prints with a finding."""
        return {
            "rule": self.rule,
            "check": self.check,
            "context": self.context,
            "switch_off": self.switch_off or None,
        }


def reason(leaf: Leaf, span: Candidate, shown: str) -> Reason:
    """Return why *span* of *leaf* counts; *shown* is the key above it as it may be shown, or ""."""
    if span.rule in _HANDED:
        return Reason(span.rule, "the same characters", _HANDED[span.rule], "")
    context = _context(leaf, span, shown)
    return Reason(span.rule or span.kind, _check(span), context, _switch_off(span.kind))


def _check(span: Candidate) -> str:
    if span.kind not in _CHECKS and span.kind != "secret":
        return "the pattern of the organisation's rule"
    if span.rule == SECOND_OPINION:
        return "what Presidio's language model takes for one"
    published = _PUBLISHED.get(span.rule)
    if published:
        return f"the format that its provider publishes ({published})"
    return _CHECKS.get(span.kind) or _SECRETS.get(span.rule, "the telling parts of its format")


def _switch_off(kind: str) -> str:
    return (
        f'[privacy] allow = ["{kind}"] in the package and approve --privacy {kind}=allow, '
        f"unless the policy's [redaction] says otherwise for {kind}"
    )


def _context(leaf: Leaf, span: Candidate, shown: str) -> str:
    text, key, label = leaf.text, leaf.key, leaf.label
    if label and any(_same(each, span) for each in labelled.under(label, key, text)):
        return f"the key {shown!r} announces it" if shown else "its name announces it"
    if span.rule in _UNANNOUNCED:
        return _UNANNOUNCED[span.rule]
    if (above := key_in_text(text, span)) is not None:
        left = text if leaf.written is None else leaf.written
        is_shown = bool(above) and above in left  # by what is left of the text
        return f"the key {above!r} announces it" if is_shown else "its key announces it"
    for at, word, announced in places_of(_BY_WORDS, text, key):
        if _same(announced, span):
            # A word may be part of a value, and then says what is in that.
            is_redacted = any(each.start < at + len(word) and at < each.end for each in leaf.spans)
            return f"a word at {at} announces it" if is_redacted else f"{word!r} at {at} announces it"
    if above := _in_table(text, key, span):
        return above
    return _by_form(text, key, span)


def _in_table(text: str, key: str, span: Candidate) -> str:
    if "\n" in text and any(_same(each, span) for each in tables.columns(text)):
        return "the header of its column announces it"
    rows = [(at.start(), at[0]) for at in _ROW.finditer(text)]
    if rows and any(_same(each, span) for each in markup_tables.cells(text, key, rows)):
        return "a cell of its table announces it"
    return ""


def _by_form(text: str, key: str, span: Candidate) -> str:
    if any(_same(each, span) for each in detect_plain(text)):
        return "none: its form is enough"
    if any(_same(each, span) for each in detect(text, key)):
        return "none: its form is enough, once it is read as it looks"
    return _ELSEWHERE


def _same(one: Candidate, other: Candidate) -> bool:
    return one.kind == other.kind and one.start < other.end and other.start < one.end

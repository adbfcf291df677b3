"""Detectors for what identifies somebody on a network: e-mail and IP addresses.

IP addresses that identify nobody are no findings: the unspecified address (``0.0.0.0``, ``::``),
loopback (``127.0.0.0/8``, ``::1``), the limited broadcast address and netmasks. Private and
documentation ranges are findings: they describe the inside of somebody's network, and a reader
cannot tell a documentation address from a real one by its sense.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import WORD_START, Candidate, is_word

# --- e-mail: RFC 5321 and 6531, less quoted local parts and the punctuation that in real text
# surrounds an address more often than it belongs to one (``email=jane@…``, ``<jane@…>``).

# RFC 5321 allows 64 octets; bounce addresses (VERP, SRS) are longer.
_LOCAL_MAX: Final = 128
# Read backwards from the at sign. What precedes it decides the script, so that an address that
# stands in text without spaces (``邮箱jane@example.cn``) does not take the text with it.
_LOCAL_LATIN: Final = lazily("[0-9A-Za-z\u00c0-\u024f._%+'~-]+")
_LOCAL_ANY: Final = lazily(r"[\w.%+'~-]+")
_LOCAL_EDGE: Final = ".'%+~-"
# Labels and a top-level domain that is no number; one in ASCII wins, so that a sentence in another
# script that follows is left alone. A label cannot contain the full stop that ends it, so there is one
# way to read the text and the pattern cannot backtrack far.
_LABELS: Final = r"(?:\w[\w-]{0,62}\.){1,10}"
_DOMAIN: Final = lazily(
    rf"{_LABELS}(?:xn--[0-9A-Za-z-]{{1,59}}|[A-Za-z]{{2,63}}|(?:c0m|0rg|1nfo|inf0|b1z|n3t)(?!\w))|{_LABELS}[^\W\d_]{{2,63}}"
    r"|\[(?:IPv6:)?[0-9A-Fa-f:.]{3,45}\]"
)
# As it is when a single space has slipped in before or behind a stop or into the name behind the last one.
_SPLIT_DOMAIN: Final = lazily(
    r" ?[\w-]{1,63}(?: [\w-]{1,63}(?=\.))?(?: ?\.[\w-]{1,63}){0,3} ?\. ?"
    r"(?:c ?o ?m|o ?r ?g|n ?e ?t|b ?i ?z|i ?n ?f ?o|edu|gov|io|co\.uk|de|fr)(?![\w@-])"
)
# File name endings that are no top-level domains: ``icon@2x.png`` is a picture.
_NO_DOMAIN: Final = lazily(
    r"\.(?:bmp|css|csv|dll|exe|gif|html?|ico|jpe?g|jsx?|json|pdf|png|scss|svg|toml|tsx?|txt|webp|xml|ya?ml)\Z",
    re.IGNORECASE,
)
_JSON_ESCAPE: Final = lazily(r"[nrtbf]|u[0-9A-Fa-f]{4}")


# Names that are reserved for examples (RFC 2606), in an address that is introduced as one, are nobody's.
_RESERVED: Final = lazily(r"(?:\A|\.)example\.(?:com|net|org)\Z", re.IGNORECASE)
_EXAMPLE: Final = lazily(r"(?:example|sample|e\.g\.)[:, ]{1,3}\Z", re.IGNORECASE)


def emails(text: str, _key: str, signs: Sequence[int]) -> list[Candidate]:
    """Return the e-mail addresses in *text*, of which *signs* are the at signs."""
    found: list[Candidate] = []
    free = 0  # an address starts after the one before it
    for at in signs:
        meter.step(len(found))
        domain = _DOMAIN.match(text, at + 1)
        if not domain and (split := _SPLIT_DOMAIN.match(text, at + 1)) and split[0].count(" ") == 1:
            domain = split
        start = _local_start(text, max(free, at - _LOCAL_MAX), at) if domain else at
        if domain and start < at and not _is_no_address(text, start, at, domain):
            free = domain.end()
            start = _with_fragment(text, start)
            weak = bool(
                _RESERVED.search(domain[0]) and _EXAMPLE.search(text, max(0, start - _CONTEXT), start)
            )
            found.append(Candidate("email", start, free, 0.95, text[start:free].casefold(), weak=weak))
    return found


def _local_start(text: str, floor: int, at: int) -> int:
    """Return where the local part that ends before *at* starts, or *at* if there is none."""
    backwards = text[floor:at][::-1]
    match = _LOCAL_LATIN.match(backwards) or _LOCAL_ANY.match(backwards)
    if not match:
        return at
    start = at - match.end()
    if start and text[start - 1] == "\\" and (escape := _JSON_ESCAPE.match(text, start, at)):
        start = escape.end()  # JSON text inside the string must stay JSON text
    while start < at and text[start] in _LOCAL_EDGE:
        start += 1
    return start


# A word in front that a single space has split off: ``From: jonescar la@example.com``.
_FRAGMENT: Final = lazily(
    r"(?:[:|,/(<] ?|- |\b(?:at|to|from|is|mail) )"
    r"(?!(?:at|to|from|is|or|and|me|my|the|a|on|by|via|for|with|cc|bcc|mail|email"
    r"|user|contact|address|reply|sent|send|please|write|see|use|of|in|as|not|was|are|name|login|smtp|mailto|git|ssh|scp|ftp|curl|ping)"
    r"(?![0-9a-z]))([a-z][0-9a-z._-]{1,24}) \Z"
)


def _with_fragment(text: str, start: int) -> int:
    """Return where an address starts whose local part seems to start at *start*."""
    if start < 3 or text[start - 1] != " " or not (text[start - 2].isalnum() or text[start - 2] in "._-"):
        return start
    fragment = _FRAGMENT.search(text, max(0, start - _CONTEXT), start)
    return fragment.start(1) if fragment else start


def _is_no_address(text: str, start: int, at: int, domain: re.Match[str]) -> bool:
    # ``git@github.com:owner/repository`` names a service, nobody's mailbox.
    service = text[start:at] == "git" and text[domain.end() : domain.end() + 1] in (":", "/")
    # ``scheme://user:password@host``: what stands before the at sign is a password.
    password = text[start - 1 : start] == ":" and "//" in text[max(0, start - _LOCAL_MAX) : start]
    return service or password or bool(_NO_DOMAIN.search(domain[0]))


# --- IPv4: dotted decimal, four parts. Searched for by its first stop.

_IPV4: Final = lazily(
    rf"[0-9]{WORD_START}(?<![0-9]\..)[0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}}(?![0-9A-Za-z]|\.[0-9])"
)
# Four numbers with dots are a version, a section or an object identifier after one of these words, and
# a version after the product of a user agent (``Chrome/120.0.0.0``) or in a requirement (``>=1.2.3.4``).
_NUMBERING: Final = lazily(
    r"v|vers?|versions?|rel|released?|rev|revision|build|firmware|fw|sec|section|chapter|clause|appendix|oid|schema"
)
_PRODUCTS: Final = lazily(
    r"(?:headless)?chrome|chromium|crios|edg|edga|edgios|opr|opera|vivaldi|yabrowser|electron|safari|firefox|fxios"
    r"|samsungbrowser|trident"
)
_COMPARISONS: Final = (">=", "<=", "~=", "~>", "^", "§")
_BETWEEN: Final = frozenset(("is", "no", "num", "number"))
_FILLING: Final = " .:=#(\"'`"
_CONTEXT: Final = 32
_LETTERS: Final = lazily(r"[A-Za-z]+")
_NUMBERING_KEYS: Final = ("version", "release", "revision", "build", "firmware", "oid", "section")


def ip_addresses(text: str, key: str, stops: Sequence[int]) -> list[Candidate]:
    """Return the IPv4 addresses in *text*, with the first of their *stops*.

    What reads like a version number is a weak candidate.
    """
    found: list[Candidate] = []
    free = 0
    for stop in stops:
        if stop < free:
            continue
        meter.step(len(found))
        match = _IPV4.match(text, start) if (start := _number_start(text, stop)) >= 0 else None
        if match and (value := _ipv4(match[0])):
            weak = key.lower().endswith(_NUMBERING_KEYS) or _is_numbering(text, start)
            found.append(Candidate("ip_address", start, match.end(), 0.9, value, weak=weak))
        free = match.end() if match else stop + 1
    return found


def _is_numbering(text: str, start: int) -> bool:
    """Tell whether what precedes *start* announces a number of some order rather than an address."""
    before = text[max(0, start - _CONTEXT) : start]
    if before.endswith("/"):
        return bool(_PRODUCTS.fullmatch(_last_word(before[:-1])))
    before = before.rstrip(_FILLING)
    word = _last_word(before)
    if word in _BETWEEN:
        before = before[: -len(word)].rstrip(_FILLING)
        word = _last_word(before)
    # ``ping -v 10.0.0.1`` has an option, ``/v`` a path.
    named = _NUMBERING.fullmatch(word) and before[: -len(word)][-1:] not in ("-", "/")
    return bool(named) or text[max(0, start - 3) : start].rstrip().endswith(_COMPARISONS)


def _last_word(text: str) -> str:
    letters = _LETTERS.match(text[::-1])
    return letters[0][::-1].lower() if letters else ""


def _number_start(text: str, end: int) -> int:
    """Return where the number of one to three digits that ends at *end* starts, or -1."""
    start = end
    while start and end - start < 3 and "0" <= text[start - 1] <= "9":
        start -= 1
    if "%" in (before := text[max(0, start - 2) : start]):
        escape = 2 - before[::-1].index("%")  # digits that end an escape: ``%2010.…``
        start += escape if start + escape < end else 0
    return start if start < end else -1


def _ipv4(text: str) -> str:
    """Return the address in its usual spelling, "" if it is none or identifies nobody."""
    parts = [int(part) for part in text.split(".")]
    if max(parts) > 255 or parts[0] == 127 or not any(parts):
        return ""
    if parts[0] == 255:
        bits = int.from_bytes(bytes(parts))
        if not (~bits & 0xFFFFFFFF) & ((~bits & 0xFFFFFFFF) + 1):  # ones, then zeros: a netmask
            return ""
    return ".".join(map(str, parts))


# --- IPv6: RFC 4291 section 2.2, with the zone of RFC 4007. Searched for by its colons: two together, with no
# word on either side, or as many as an unshortened address has.

_IPV6_HEAD: Final = lazily(r"[0-9A-Fa-f:]*")
_IPV6_REST: Final = lazily(r"[0-9A-Fa-f:]*(?:\.[0-9]{1,3}){0,3}")
_ZONE: Final = lazily(r"%[0-9A-Za-z]{1,15}")
_LONGEST: Final = 45  # eight groups of four with an embedded IPv4 address


def ipv6_addresses(text: str, _key: str, colons: Sequence[int]) -> list[Candidate]:
    """Return the IPv6 addresses in *text*, at some of their *colons*."""
    found: list[Candidate] = []
    free = 0  # an address starts after the one before it
    for colon in colons:
        if colon < free:
            continue
        meter.step(len(found))
        backwards = text[max(free, colon - _LONGEST) : colon][::-1]
        start = colon - _IPV6_HEAD.match(backwards).end()  # type: ignore[union-attr]  # matches ""
        end = _IPV6_REST.match(text, colon).end()  # type: ignore[union-attr]  # matches ""
        token = text[start:end] if end - start <= _LONGEST else ""
        for reading in (token, token.partition(".")[0]) if token.count(".") == 1 else (token,):  # …::1.8080
            # ``2001:db8::1: unreachable``
            address = reading[:-1] if reading.endswith(":") and not reading.endswith("::") else reading
            stop = start + len(address)
            if (value := _ipv6(address)) and _stands_alone(text, start, stop):
                zone = _ZONE.match(text, stop)
                found.append(Candidate("ip_address", start, zone.end() if zone else stop, 0.9, value))
                break
        free = end
    return found


_ESCAPES: Final = ("\\n", "\\r", "\\t")


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 2) : start], text[end : end + 1]
    if (is_word(before[-1:]) or before[-1:] in ("_", ":")) and before not in _ESCAPES:
        return False
    return not is_word(after) and after != "_" and text[end : end + 2] != "::"


def _ipv6(token: str) -> str:
    """Return the eight groups of an address as hexadecimal, "" if it is none or identifies nobody."""
    head, shortened, tail = token.partition("::")
    if "::" in tail or tail[:1] == ":" or (not shortened and len(token) == _EUI_64):
        return ""
    before, after = _groups(head, last=not shortened), _groups(tail, last=True)
    if before is None or after is None:
        return ""
    written = len(before) + len(after)
    if (written > 7) if shortened else (written != 8):
        return ""
    groups = before + [0] * (8 - written) + after
    return ":".join(f"{group:x}" for group in groups) if _is_somebody(groups, token, written) else ""


_EUI_64: Final = 23  # eight pairs, as in 50:06:01:60:3b:20:0a:b5, are a hardware address


def _is_somebody(groups: list[int], token: str, written: int) -> bool:
    """Tell whether an address that can be read as one is meant as one, and identifies somebody.

    Code is full of two colons (``a[1::2]``, ``std::size``), so a shortened address must either start
    with a prefix that IANA has assigned or have four groups of its own.
    """
    if not any(groups[:5]) and groups[5] in (0, 0xFFFF):  # ::, ::1, mapped or compatible IPv4
        return (groups[5] != 0 or "." in token) and groups[6] != 0 and groups[6] >> 8 != 127
    return written >= 4 or _is_assigned(groups)


def _groups(text: str, *, last: bool) -> list[int] | None:
    """Return the 16-bit groups of one side of ``::``, None if one of them is none."""
    groups: list[int] = []
    parts = text.split(":") if text else []
    for index, part in enumerate(parts):
        if "." in part:
            octets = [int(octet) for octet in part.split(".") if octet.isdecimal()]
            if not (last and index == len(parts) - 1) or len(octets) != 4 or max(octets) > 255:
                return None
            groups += [octets[0] << 8 | octets[1], octets[2] << 8 | octets[3]]
        elif 1 <= len(part) <= 4:
            groups.append(int(part, 16))
        else:
            return None
    return groups


def _is_assigned(groups: list[int]) -> bool:
    """Tell whether an address lies in a block of the IANA IPv6 address space registry."""
    first = groups[0]
    return (
        0x2000 <= first <= 0x3FFF  # global unicast
        or 0xFC00 <= first <= 0xFDFF  # unique local
        or 0xFE80 <= first <= 0xFEBF  # link-local
        or first >= 0xFF00  # multicast
        or (first, groups[1]) == (0x64, 0xFF9B)  # NAT64, RFC 6052
    )

"""Detectors for secrets, each after the format that its provider has published."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import anchors, meter
from mpp_exec.privacy.finding import WORD_START, Candidate

# --- private_key: PEM (RFC 7468 section 10 and 11, and the RSA, EC, DSA and OPENSSH labels that
# OpenSSL and OpenSSH write), OpenPGP armor (RFC 9580 section 6.2), SSH2 (RFC 4716 has the markers).
# The dashes are four or five; fewer survive a word processor.

_MARKED: Final = r"-{2,6} ?(BEGIN|END) [0-9A-Z ]{0,40}?PRIVATE KEY(?: BLOCK)? ?-{2,6}"
_MARKER: Final = lazily(_MARKED)
_BLOCK_MAX: Final = 1 << 18  # an OpenPGP key with a photograph is some hundred kilobytes
# What lies between the markers is key material, rather than prose about keys, if it is long or dense.
_DENSE: Final = lazily(r"[0-9A-Za-z+/]{16}")
_LONG: Final = 64
# Lines end in a line break, or in the ``\n`` of text that was escaped, perhaps more than once.
_LINE: Final = lazily(r"([^\n\\]*)(?:\n|\\+[nr]?|\Z)")
_AROUND: Final = " \t\r\"'`+,;|>#"
_FULL_LINE: Final = lazily(r"[0-9A-Za-z+/]{24,}={0,2}\Z")
_FULL_LINE_END: Final = 96  # of a longer line only the end is looked at, so that looking stays linear
_LAST_LINE: Final = lazily(r"[0-9A-Za-z+/]+={0,2}\Z")
_ARMOR_HEADER: Final = lazily(r"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID|Subject): ")
_KEY_TEXT: Final = lazily(
    r"\s*+(?P<line>[0-9A-Za-z+/]{16,}+={0,2}+\s*+)*+(?P<last>[0-9A-Za-z+/]{1,15}+={0,2}+\s*+)?+"
    rf"(?P<end>{_MARKED}\s*+)?+"
)


MARKER_NEEDLES: Final = (anchors.Needle("PRIVATE KEY", anchors.CASE),)
_MARKER_REACH: Final = 80


def private_keys(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the private key blocks in *text* with markers at *places*, also those whose end is cut off."""
    found: list[Candidate] = []
    low, high = max(0, places[0][0] - _MARKER_REACH), places[-1][0] + _MARKER_REACH
    markers = list(_MARKER.finditer(text, low, high))
    for index, marker in enumerate(markers):
        if marker[1] == "END":
            continue
        following = markers[index + 1] if index + 1 < len(markers) else None
        limit = following.start() if following else len(text)
        if following and following[1] == "END" and limit - marker.end() <= _BLOCK_MAX:
            body = text[marker.end() : limit]
            end = following.end() if len(body) >= _LONG or _DENSE.search(body) else marker.end()
        else:
            end = _end_of_lines(text, marker.end(), limit)
        if end > marker.end():
            block = text[marker.start() : end]
            found.append(Candidate("secret", marker.start(), end, 1.0, block, "private_key"))
    return found


def _end_of_lines(text: str, start: int, limit: int) -> int:
    """Return where the key material after *start* ends, *start* if there is none."""
    end = start
    for line in _LINE.finditer(text, start, min(limit, start + _BLOCK_MAX)):
        content = line[1].strip(_AROUND)
        if _FULL_LINE.search(content[-_FULL_LINE_END:]):
            end = line.end(1)
        elif content and not _ARMOR_HEADER.match(content):
            if end > start and _LAST_LINE.match(content):
                end = line.end(1)
            break
    return end


def opens_private_key(text: str) -> bool:
    """Tell whether a key block that starts in *text* does not end in it."""
    if "PRIVATE KEY" not in text:
        return False
    markers = [*(marker[1] for marker in _MARKER.finditer(text)), ""]
    return any(marker == "BEGIN" and following != "END" for marker, following in pairwise(markers))


def continues_private_key(text: str) -> bool | None:
    """Tell what *text* is behind an open block: key material, something else, or no sign of either."""
    if not text.strip() or _ARMOR_HEADER.match(text):
        return None
    match = _KEY_TEXT.fullmatch(text)
    return bool(match and (match["line"] or (match["last"] and (match["end"] or "=" in match["last"]))))


def key_lines(block: str) -> list[str]:
    """Return the lines of a key block that give it away by themselves."""
    return _KEY_LINE.findall(_ESCAPED_BREAK.sub("\n", block))


_KEY_LINE: Final = lazily(r"[0-9A-Za-z+/]{40,}={0,2}")
_ESCAPED_BREAK: Final = lazily(r"\\+[nr]")

# --- aws_access_key. Access key IDs: the prefixes of "Unique identifiers" in the IAM User Guide that
# belong to credentials (AKIA long-term, ASIA temporary, ABIA bearer token, ACCA context-specific), 20
# characters in all; A3T is an older prefix still seen. Secret access keys have no prefix, only 40
# characters of base64 (same guide, "Managing access keys"), so they need their name before them or an
# access key ID nearby.

_AWS_ID: Final = lazily(
    rf"A{WORD_START}(?:KIA|SIA|BIA|CCA|3T[0-9A-Z])[0-9A-Z]{{16}}(?![0-9A-Za-z])",
)
_AWS_SECRET: Final = lazily(
    r"[0-9A-Za-z+/](?:(?<![0-9A-Za-z+/].)|(?<=\\[nrt].)|(?<=%[0-9A-Fa-f]{2}.))"
    r"[0-9A-Za-z+/]{39}(?![0-9A-Za-z+/=])"
)
# A mask, ``[SECRET]``, is no name.
_AWS_NAME: Final = lazily(
    r"(?:aws|amazon).{0,24}(?<!\[)(?:secret|key)|secret[ _.-]{0,2}(?:access|key)|access[ _.-]{0,2}secret",
    re.IGNORECASE | re.DOTALL,
)
_AWS_NEARBY: Final = 256
_AWS_WINDOW: Final = _AWS_NEARBY + 64  # with room for the key, and for what follows it to be seen
_NAME_BEFORE: Final = 64


AWS_ID_NEEDLES: Final = tuple(
    anchors.Needle(prefix, anchors.CASE | anchors.START | anchors.TOKEN, 16)
    for prefix in ("AKIA", "ASIA", "ABIA", "ACCA", "A3T")
)


def aws_key_ids(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the AWS access key IDs in *text*; *places* are the offsets of their prefixes."""
    return [
        Candidate("secret", match.start(), match.end(), 0.95, match[0], "aws_access_key")
        for at, _ in meter.steps(places)
        if (match := _AWS_ID.match(text, at)) and not _is_placeholder(match[0][4:])
    ]


AWS_HINT_NEEDLES: Final = tuple(
    anchors.Needle(hint) for hint in ("secret", "akia", "asia", "abia", "acca", "a3t")
)


def names_aws_secret(key: str) -> bool:
    """Tell whether a JSON key names an AWS secret access key."""
    return bool(_AWS_NAME.search(key))


def aws_secret_keys_under(text: str) -> list[Candidate]:
    """Return the AWS secret access keys in *text*, which stands under a key that names one."""
    return [_aws_secret(match) for match in meter.steps(_AWS_SECRET.finditer(text))]


def aws_secret_keys(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the AWS secret access keys in *text* that are named or stand near an access key ID.

    *places* are the offsets of what hints at them.
    """
    found: list[Candidate] = []
    ids = [at for at, hint in places if hint != "secret" and _AWS_ID.match(text, at)]
    nearest = 0
    for low, high in _around([at for at, _ in places]):
        for match in meter.steps(_AWS_SECRET.finditer(text, low, high)):
            start = match.start()
            while nearest + 1 < len(ids) and abs(ids[nearest + 1] - start) <= abs(ids[nearest] - start):
                nearest += 1
            near = bool(ids) and abs(ids[nearest] - start) <= _AWS_NEARBY and _is_mixed(match[0])
            if near or _AWS_NAME.search(text[max(0, start - _NAME_BEFORE) : start]):
                found.append(_aws_secret(match))
    return found


def is_aws_key_id(candidates: Sequence[Candidate]) -> bool:
    """Tell whether any of *candidates* is an AWS access key ID."""
    return any(each.rule == "aws_access_key" and _AWS_ID.fullmatch(each.value) for each in candidates)


def aws_secret_beside(text: str) -> Candidate | None:
    """Return the AWS secret access key that *text* is, beside an access key ID, None if it is none."""
    match = _AWS_SECRET.fullmatch(text.strip()) if 40 <= len(text) <= 64 else None
    if not match or not _is_mixed(match[0]):
        return None
    start = text.find(match[0])
    return Candidate("secret", start, start + 40, 0.9, match[0], "aws_access_key")


def _aws_secret(match: re.Match[str]) -> Candidate:
    return Candidate("secret", match.start(), match.end(), 0.9, match[0], "aws_access_key")


def _around(hints: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text in which a hint is near, in order and without overlap."""
    low = max(0, hints[0] - _AWS_WINDOW)
    high = low
    for at in meter.steps(hints):
        if at - _AWS_WINDOW > high:
            yield low, high
            low = at - _AWS_WINDOW
        high = max(high, at + len("secret") + _AWS_WINDOW)
    yield low, high


def _is_mixed(token: str) -> bool:
    """Tell a random token from a word, a path or a digest in hexadecimal."""
    return not (token.islower() or token.isupper() or token.isalpha()) and len(set(token)) > 16


def _is_placeholder(token: str) -> bool:
    return token.strip("xX") == ""


# --- github_token: "GitHub's token formats" in "About authentication to GitHub" (ghp, gho, ghu, ghs,
# ghr, github_pat). The alphabet is [A-Za-z0-9_] and lengths may grow to 255 (changelog 2021-03-31);
# installation tokens may also be ghs_APPID_JWT, some 520 characters (changelogs 2026-04-24 and
# 2026-05-15, which give the pattern ghs_[A-Za-z0-9\._]{36,}; the JWT can hold a hyphen too).

_GITHUB: Final = lazily(
    rf"g{WORD_START}(?:h[pour]_[0-9A-Za-z_]{{36,}}|hs_[0-9A-Za-z._-]{{36,}}|ithub_pat_[0-9A-Za-z_]{{36,}})"
)


GITHUB_NEEDLES: Final = tuple(
    anchors.Needle(prefix, anchors.CASE | anchors.START | anchors.TOKEN, 36)
    for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_")
)


def github_tokens(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the GitHub tokens in *text*; *places* are the offsets of their prefixes."""
    found: list[Candidate] = []
    free = 0
    for at, _ in places:
        meter.step(len(found))
        match = _GITHUB.match(text, at) if at >= free else None
        if not match:
            continue
        free = match.end()
        token = match[0].rstrip(".-")  # the end of a sentence
        if not _is_placeholder(token.rpartition("_")[2]):
            end = match.start() + len(token)
            found.append(Candidate("secret", match.start(), end, 0.95, token, "github_token"))
    return found


# --- jwt: RFC 7519 over the compact serialisations of RFC 7515 (three parts) and 7516 (five). The
# header is a JSON object in base64url, so it starts with ``eyJ`` ({") or, with white space, ewo, ewk,
# eyA or e30; it names an algorithm. Two parts, where the second is a JSON object too, are a token
# whose signature was left off.

_JWT: Final = "eyJ"
_PART: Final = lazily(r"[0-9A-Za-z_-]+")
_PARTS: Final = lazily(r"(?:\.[0-9A-Za-z_-]*){1,4}")
_ALGORITHM: Final = lazily(rb'\s*\{.*"alg"\s*:', re.DOTALL)
_HEADER_MAX: Final = 1 << 14  # a header with a certificate chain is some kilobytes
_STARTS_MAX: Final = 4


JWT_NEEDLES: Final = (anchors.Needle(_JWT, anchors.CASE | anchors.TOKEN, 12),)


def jwts(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the JSON Web Tokens in *text*; *places* are the offsets of their first characters."""
    found: list[Candidate] = []
    resume = 0
    for start, _ in places:
        meter.step(len(found))
        if start < resume:
            continue
        # Whatever else starts inside this part ends in the same full stop, or in none.
        resume = _PART.match(text, start).end()  # type: ignore[union-attr]  # eyJ is a part
        rest = _PARTS.match(text, resume)
        if rest and (begin := _header(text, start, resume)) >= 0 and (end := _end_of_parts(rest)):
            found.append(Candidate("secret", begin, end, 1.0, text[begin:end], "jwt"))
            resume = end
    return found


def _header(text: str, start: int, end: int) -> int:
    """Return where in a run of base64url characters a JOSE header starts, or -1."""
    for _ in range(_STARTS_MAX):  # a name may be glued to it: ``ghs_123_eyJ…``
        encoded = text[start : min(end, start + _HEADER_MAX)]
        encoded = encoded[: len(encoded) - (len(encoded) % 4 == 1)]
        decoded = binascii.a2b_base64(encoded.translate(_URL_SAFE) + "=" * (-len(encoded) % 4))
        if _ALGORITHM.match(decoded):
            return start
        start = text.find(_JWT, start + 1, end)
        if start < 0:
            break
    return -1


_URL_SAFE: Final = {ord("-"): "+", ord("_"): "/"}


def _end_of_parts(rest: re.Match[str]) -> int:
    """Return the end of a token whose parts after the header are *rest*, 0 if it is none."""
    parts = rest[0].split(".")[1:]
    if len(parts) == 4 and all(parts[1:]):
        return rest.end()  # the encrypted key may be empty
    if len(parts) >= 2 and parts[0]:
        return rest.start() + len(parts[0]) + len(parts[1]) + 2
    return rest.start() + len(parts[0]) + 1 if parts[0].startswith(_JWT) else 0

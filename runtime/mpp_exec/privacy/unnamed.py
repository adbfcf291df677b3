"""A detector for tokens that are given to a name which says nothing: ``dareboost = q7Rk2Zp9Lw4Xv8Tn3Bc6``.

Most services that hand out keys have a name that nobody has listed. What is long and random, in text, and is
assigned to one word, is a secret if the word is none of those that random strings are usually given to:
identifiers, digests, cursors, parts of a URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import Candidate, is_in_mask, listed
from mpp_exec.privacy.values import PLACEHOLDER, is_random, secret
from mpp_exec.privacy.words import words_of

_PART: Final = "_-"
_MOST: Final = 128
_NAME_MAX: Final = 64
_NAMED: Final = lazily(
    r"(?:\A|[\s{\[(,;\"'`])(?P<name>[A-Za-z][0-9A-Za-z_-]{1,40})[\"'`]?"
    r"[ \t]{0,2}(?:=|:=?|=>)[ \t]{0,2}[\"'`]?\Z"
)
_ENDS: Final = lazily(r"[\"'`]?(?:[\s,;)}\]]|\Z)")
# The last word of a name that says what a random string is, or in which nobody would put a secret.
_SAYS: Final = listed(
    """
    account address algorithm alt arn asset avatar batch block body bucket build cache campaign
    cert certificate challenge channel checksum chunk cid class client clientid cluster code color
    commit component connection container content contract correlation css cursor customer data
    device digest display doc docs document domain download drive element email entity etag event
    example family field file fileid filename fingerprint folder font form format from gist group
    guid hash head header hex host href html icon id ids image img index input instance integrity
    invoice issue item job key language layer layout length link list listing location log logo
    lot manifest match md5 media message meta method mint mode model module msg name next node
    nonce note number object oid order origin output owner package packet page parent part
    partition path pattern payload payment peer photo picture pid pixel playlist pod point policy
    post prefix previous principal process product profile project prompt pubkey public query
    record ref reference referrer region release render request resource response rev revision
    role room route row rule run schema script section sector selector seller sender sequence
    serial series server session sha sha1 sha256 sha384 sha512 sheet sid sig sign signature size
    sku slot slug snapshot source span spreadsheet src stack state storage stream string style
    subject sum tag target task template test text theme thread thumbnail thumbprint ticket time
    timestamp title to token topic trace transaction tx txid type uid unit uri url urn user uuid
    validator value version video view volume wallet website widget word workspace
    """
)


def random_strings(text: str, _key: str, starts: Sequence[int]) -> list[Candidate]:
    """Return the random strings in *text*, at or around *starts*, that are assigned to an unknown name."""
    found: list[Candidate] = []
    free = 0
    for at in starts:
        meter.step(len(found))
        if at < free:
            continue
        start = end = at
        while start > max(free, at - _MOST) and (text[start - 1].isalnum() or text[start - 1] in _PART):
            start -= 1
        while end < min(len(text), at + _MOST) and (text[end].isalnum() or text[end] in _PART):
            end += 1
        free = end
        if found_alone := _alone(text, start, end):
            found.append(found_alone)
            continue
        named = _NAMED.search(text, max(0, start - _NAME_MAX), start)
        if not named or not _ENDS.match(text, end) or is_in_mask(text, start):
            continue
        words = words_of(named["name"])
        value = text[start:end]
        if words and words[-1] not in _SAYS and is_random(value) and not PLACEHOLDER.fullmatch(value):
            found.append(secret(value, start, "assigned_random", 0.5))
    return found


# What its own parts and its neighbours tell: an API key of TrueNAS (www.truenas.com/docs/api), which is its
# number and 64 letters and digits; the token of a device in a path of ThingsBoard (thingsboard.io/docs).
_TRUENAS: Final = lazily(r"[0-9]{1,6}-(?=[0-9A-Z]{0,63}[a-z])(?=[0-9a-z]{0,63}[A-Z])[0-9A-Za-z]{64}")
_DEVICE: Final = lazily(r"/(?:telemetry|attributes|rpc|claim|firmware|software)(?![0-9A-Za-z])")
_BEFORE_DEVICE: Final = "/api/v1/"


def _alone(text: str, start: int, end: int) -> Candidate | None:
    """Return the secret that a random string is which has no name in front of it."""
    value = text[start:end]
    if text.startswith(_BEFORE_DEVICE, start - len(_BEFORE_DEVICE)) and _DEVICE.match(text, end):
        return secret(value, start, "thingsboard_token", 0.8)
    if _TRUENAS.fullmatch(value):
        return secret(value, start, "truenas_key", 0.8)
    return None

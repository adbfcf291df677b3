"""Addresses in parts: the keys and headers of a street, a town and a postcode, and what may stand below them.

A town alone is nobody's address, and ``line1`` and ``cap`` mean other things elsewhere. So the parts announce
one only beside each other, below an address, or, with a postcode, where somebody is described. States and
countries are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import tongues
from mpp_exec.privacy.finding import MASK, listed

PART: Final = "place"
"""What a key announces that is a part of an address, as settled by what stands beside it."""
LINE: Final = "line?"
TOWN: Final = "town?"
POSTCODE: Final = "postcode?"
_UNSETTLED: Final = frozenset((LINE, TOWN, POSTCODE))
_PARTS: Final = _UNSETTLED | {"address"}

# What else is called so: a line of a text, what something went through.
LINES: Final = listed(
    """
    line1 line2 line3 road roadname thoroughfare via voie ulica ulice utca sokak strada gata vej katu
    addressline3 address3
    """
)
TOWNS: Final = listed(
    """
    city cityname town townname locality suburb village municipality posttown stadt wohnort ort plaats
    plaatsnaam woonplaats stad ville commune localite ciudad localidad municipio poblacion citta comune
    cidade localidade miasto miejscowosc kaupunki mesto varos sehir oras postort poststed adminarea2
    """
)
POSTCODES: Final = listed(
    """
    postcode postalcode postal postalzip zip zipcode zippostal zippostalcode zip5 eircode plz postleitzahl
    codepostal codigopostal codicepostale cp cap cep kodpocztowy postnummer postnr postinumero psc
    iranyitoszam postakodu codpostal
    """
)
KINDS: Final = (
    {label: kind for label, kind in tongues.LATIN.items() if kind in (TOWN, POSTCODE)}
    | dict.fromkeys(LINES, LINE)
    | dict.fromkeys(TOWNS, TOWN)
    | dict.fromkeys(POSTCODES, POSTCODE)
)
# Whose part it is; another word in front makes it something else: ``market_cap``, ``departure_city``.
_WHOSE: Final = listed(
    """
    address addr billing bill shipping ship to home customer client mailing mail delivery postal permanent
    current residential residence work contact user patient employee recipient sender invoice registered
    legal primary secondary previous birth personal private owner member guest
    """
)
# Somebody is described by them, and a postcode beside them is theirs; a town alone tells too little.
_SOMEBODY: Final = frozenset(("person", "ssn", "date_of_birth", "passport", "drivers_license", "national_id"))
_LONGEST: Final = 120
_LABEL: Final = 3  # words of a label, at most
_MOST_WORDS: Final = 14
_NO_PART: Final = lazily(
    r"[a-z][a-z+.-]{1,12}://|[/~]|0x|[^\s@]{1,64}@|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\Z|(?:[0-9]{1,3}\.){3}[0-9]{1,3}\Z",
)
_NOTHING: Final = listed(
    "true false null none nil undefined unknown n/a na tbd yes no string required optional"
)


def of_words(words: Sequence[str]) -> str:
    """Return which part of an address the words of a label announce, "" if none."""
    for count in range(min(_LABEL, len(words)), 0, -1):
        if kind := KINDS.get("".join(words[-count:])):
            return kind if _WHOSE.issuperset(words[:-count]) else ""
    return ""


def settled(kinds: Sequence[str], outer: str = "") -> list[str]:
    """Return what keys or headers that stand beside each other announce, below one that announces *outer*.

    Parts of an address are ``place`` where they are certain and nothing elsewhere.
    """
    if _UNSETTLED.isdisjoint(kinds):
        return [*kinds]
    somebody = not _SOMEBODY.isdisjoint(kinds)
    lines = "address" in kinds or (LINE in kinds and (POSTCODE in kinds or somebody))
    certain = (
        outer == "address"
        or (lines and (TOWN in kinds or POSTCODE in kinds))
        or (somebody and POSTCODE in kinds)
    )
    return [PART if certain and kind in _PARTS else "" if kind in _UNSETTLED else kind for kind in kinds]


def is_part(value: str) -> bool:
    """Tell whether *value*, which is called a part of an address and stands beside others, may be one."""
    return (
        1 < len(value) <= _LONGEST
        and any(map(str.isalnum, value))
        and value.lower() not in _NOTHING
        and len(value.split()) <= _MOST_WORDS
        and not _NO_PART.match(value)
        and not ("[" in value and MASK.search(value))
    )

"""Every detector over one string.

A detector is added by writing a function and naming it in :data:`_FORMS` or :data:`_WORDS`, with what it is
found by. Detectors do not know of each other; what overlaps is settled where actions are known (``redact``).

Most text holds nothing, so what costs is asking. It is read once, by :mod:`anchors`, for every place where a
value could stand; a detector looks only at the places that are its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mpp_exec.privacy import (
    assignments,
    cards,
    commands,
    credentials,
    declared,
    escapes,
    forms,
    labelled,
    lookalikes,
    markup_tables,
    meter,
    names,
    national,
    network,
    numbers,
    records,
    repeats,
    rules,
    sentences,
    shapes,
    sql,
    tables,
    tokens,
    unnamed,
    wallets,
)
from mpp_exec.privacy.anchors import CASE, FORMS, Needle, Scanner, form
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.views import in_original, views

if TYPE_CHECKING:
    pass

_Find = Callable[[str, str, Any], list[Candidate]]
# By the first sign of a form: offsets of it.
_FORMS: Final[dict[int, _Find]] = {
    form("AT"): network.emails,
    form("COLONS"): network.ipv6_addresses,
    form("DOTS"): network.ip_addresses,
    form("NANP"): shapes.phones,
    form("SPACED"): shapes.spaced_phones,
    form("PLUS"): shapes.international_phones,
    form("SSN"): shapes.ssns,
    form("DIGITS"): numbers.cards,
    form("PAIRS"): shapes.macs,
    form("QUADS"): shapes.macs,
    form("IBAN"): numbers.ibans,
    form("USERINFO"): credentials.url_credentials,
    form("USER"): credentials.user_options,
    form("VIN"): shapes.vins,
    form("WALLET"): wallets.wallets,
    form("DISCORD"): tokens.discord_tokens,
    form("NUMBER"): national.identifiers,
    form("CODE"): national.identifiers,
    form("RANDOM"): unnamed.random_strings,
}
# By words: pairs of an offset and the word, or its number where that says more.
_WORDS: Final[tuple[tuple[_Find, tuple[Needle, ...], bool], ...]] = (
    (labelled.announced, labelled.NEEDLES, False),
    (national.travel_documents, (Needle(national.MRZ_WORD, CASE),), False),
    (labelled.identified, labelled.IDENTIFIER_NEEDLES, False),
    (sentences.announced, sentences.NEEDLES, False),
    (names.announced, names.NEEDLES, False),
    (assignments.assigned, assignments.NEEDLES, False),
    (tokens.prefixed, tokens.PREFIX_NEEDLES, True),
    (tokens.shaped, tokens.SHAPE_NEEDLES, True),
    (rules.private_keys, rules.MARKER_NEEDLES, False),
    (rules.aws_key_ids, rules.AWS_ID_NEEDLES, False),
    (rules.aws_secret_keys, rules.AWS_HINT_NEEDLES, False),
    (rules.github_tokens, rules.GITHUB_NEEDLES, False),
    (rules.jwts, rules.JWT_NEEDLES, False),
    (commands.passwords, commands.NEEDLES, False),
    (commands.pgpass_lines, commands.PGPASS_NEEDLES, False),
    (markup_tables.cells, markup_tables.NEEDLES, False),
    (markup_tables.described, markup_tables.TERM_NEEDLES, False),
    (markup_tables.elements, markup_tables.ELEMENT_NEEDLES, False),
    (forms.parts, forms.NEEDLES, False),
    (sql.statements, sql.NEEDLES, False),
    (records.lines, records.NEEDLES, False),
    (cards.cards, cards.NEEDLES, False),
    (forms.inputs, forms.INPUT_NEEDLES, False),
    (declared.manifests, declared.NEEDLES, False),
)
# What these find depends on all of the places: a marker needs its end, a key its ID, a row its header.
_WHOLE: Final = (
    rules.private_keys,
    rules.aws_secret_keys,
    markup_tables.cells,
    markup_tables.described,
    sql.statements,
    records.lines,
    declared.manifests,
)
# What these find at a place depends on nothing but the text around it.
_LOCAL: Final = (
    assignments.assigned,
    names.announced,
    labelled.announced,
    labelled.identified,
    sentences.announced,
    commands.passwords,
    commands.pgpass_lines,
)
_LOOKALIKE, _ESCAPE, _BASE64, _BARE = form("LOOKALIKE"), form("ESCAPE"), form("BASE64"), form("BARE")
_SPACED, _CONTROL, _MARKUP = form("SPACED"), form("CONTROL"), form("MARKUP")
# Places that are not a detector's own: of bare numbers, and those where a text reads in another way.
_AGAIN: Final = (_BARE, _LOOKALIKE, _ESCAPE, _BASE64, _CONTROL, _MARKUP)
# Between texts that are read together: nothing that is looked for goes over it.
BETWEEN: Final = "\0\n"
# How much around a place that reads in two ways is read again.
_AROUND: Final = 512


class _Words(NamedTuple):
    scanner: Scanner
    find: tuple[_Find, ...]
    place: tuple[str | int, ...]


@cache
def _words() -> _Words:
    """Return the scanner of all words, and by the number of a word who is told of it, and what."""
    needles: list[Needle] = []
    find: list[_Find] = []
    place: list[str | int] = []
    for detector, own, numbered in _WORDS:
        needles += own
        find += [detector] * len(own)
        place += range(len(own)) if numbered else [needle.word for needle in own]
    return _Words(Scanner(needles), tuple(find), tuple(place))


class _Scanned(NamedTuple):
    """What was found in a text, and the places where it has to be read in another way."""

    found: list[Candidate]
    lookalike: list[int]
    escape: list[int]
    base64: list[int]
    control: list[int]
    markup: list[int]


def candidates_in(texts: Sequence[str], joined: str) -> Iterator[int]:
    """Yield the numbers of those *texts* that something could be found in, in order.

    *joined* is all of them with ``BETWEEN`` between.
    """
    marked = _anchored(texts, joined)
    if joined.count("\n") >= len(texts):
        marked.update(
            number for number, text in enumerate(texts) if "\n" in text
        )  # there may be tables in them
    return iter(sorted(marked))


def detect_parts(text: str, parts: Sequence[tuple[int, int]], key: str) -> Iterator[Candidate]:
    """Yield what :func:`detect` returns for each of the *parts* of *text*, and what all of it is a table of.

    Parts are read together, which costs far less than to ask every detector about each.
    """
    yield from _in_context(text, key, [], [])
    texts = [text[low:high] for low, high in parts]
    for number in sorted(_anchored(texts, BETWEEN.join(texts))):
        low = parts[number][0]
        for each in detect(texts[number], key):
            yield each._replace(start=each.start + low, end=each.end + low)


def _anchored(texts: Sequence[str], joined: str) -> set[int]:
    """Return the numbers of those *texts* in which there is a place where a value could stand."""
    marked: set[int] = set()
    ends: list[int] = []
    if not joined.isascii():
        from mpp_exec.privacy import foreign  # noqa: PLC0415  # words that plain ASCII never has

        ends = list(accumulate(len(text) + len(BETWEEN) for text in texts))
        marked.update(bisect_right(ends, at) for at in foreign.places(joined))
        marked.update(bisect_right(ends, at) for at in records.places_of_others(joined))
        marked.update(bisect_right(ends, at) for at in sentences.places(joined))
    for view, offsets in views(joined, for_anchors=True):
        for flat in _words().scanner.chunks(view):
            ends = ends or list(accumulate(len(text) + len(BETWEEN) for text in texts))
            places = flat[::2] if offsets is None else map(offsets.original, flat[::2])
            marked.update(bisect_right(ends, at) for at in places)
    return marked


def detect(text: str, key: str = "") -> list[Candidate]:
    """Return what every detector finds in *text*, in its offsets, in no particular order.

    *key* is the nearest JSON key above the text, "" if there is none. Candidates may overlap.
    """
    scanned = _scan(text, key)
    found = scanned.found
    if scanned.lookalike and text.isascii():
        found += _as_digits(text, key, scanned.lookalike)
    if scanned.escape:
        found += _unescaped(text, key, scanned.escape)
    if scanned.base64:
        found += _decoded(text, scanned.base64)
    if scanned.markup:
        found += _rendered(text, key, scanned.markup)
    if text.isascii() and not scanned.control:
        return found
    if not text.isascii():
        from mpp_exec.privacy import foreign  # noqa: PLC0415  # words that plain ASCII never has

        found += foreign.passwords(text)
        found += records.other_scripts(text)
        found += sentences.others(text)
    placed = {(each.kind, each.start, each.end): each for each in reversed(found)}
    for view, offsets in views(text):
        if view is not text:
            for candidate in _scan(view, key).found:
                original = in_original(candidate, offsets)
                placed.setdefault((original.kind, original.start, original.end), original)
    return [*placed.values()]


def _as_digits(text: str, key: str, meetings: list[int]) -> list[Candidate]:
    """Return what is found in *text* once letters among digits are read as these."""
    regions = lookalikes.regions(text, meetings)
    if not regions:
        return []
    found: list[Candidate] = []
    view = lookalikes.rewritten(text, regions)
    starts = [region.start for region in regions]
    ends = [region.end for region in regions]  # in order, as they are, and without overlap
    for low, high in _windows(text, starts):
        for each in _scan(view[low:high], key).found:
            start, end = each.start + low, each.end + low
            first = bisect_right(ends, start)
            if first < len(starts) and starts[first] < end:
                found.append(each._replace(start=start, end=end))
    return found


def _unescaped(text: str, key: str, places: list[int]) -> list[Candidate]:
    """Return what is found in *text* once one level of escapes is undone."""
    found: list[Candidate] = []
    for low, high in _windows(text, places):
        unescaped = escapes.Unescaped(text[low:high])
        if not unescaped:
            continue
        for each in _scan(unescaped.text, key).found:
            start, end = unescaped.original(each.start), unescaped.original(each.end)
            if end - start > each.end - each.start:  # there was an escape in it
                found.append(each._replace(start=start + low, end=end + low))
    return found


def _decoded(text: str, starts: list[int]) -> list[Candidate]:
    """Return the words of *text* that something is found in once they are decoded from base64."""
    found: list[Candidate] = []
    for start, end, meaning in escapes.decoded(text, starts):
        sure = [each for each in detect_plain(meaning) if not each.weak]
        found += [each._replace(start=start, end=end, value=text[start:end]) for each in sure[:1]]
    return found


def _rendered(text: str, key: str, places: list[int]) -> list[Candidate]:
    """Return what is found in *text* once the markup inside its words is gone."""
    from mpp_exec.privacy import markup  # noqa: PLC0415  # needs tables that plain ASCII never needs

    found: list[Candidate] = []
    for low, high in _windows(text, places):
        if (shown := markup.rendered(text[low:high])) is None:
            continue
        for each in _scan(shown[0], key).found:
            original = in_original(each, shown[1])
            if original.end - original.start > each.end - each.start:  # there was markup in it
                found.append(original._replace(start=original.start + low, end=original.end + low))
    return found


def detect_plain(text: str) -> list[Candidate]:
    """Return what is found in *text* as it is written, without undoing anything."""
    return _scan(text, "").found


def _windows(text: str, places: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the parts of *text* around *places*, which are in order; parts do not overlap."""
    low, high = max(0, places[0] - _AROUND), 0
    for at in places:
        if high and at - _AROUND > high:
            yield low, min(high, len(text))
            low = at - _AROUND
        high = at + _AROUND
    yield low, min(high, len(text))


def _scan(text: str, key: str) -> _Scanned:
    scanner, finders, place = _words()
    again: dict[int, list[int]] = {kind: [] for kind in _AGAIN}
    whole: dict[_Find, list[Any]] = {}
    found: list[Candidate] = []
    again_and_again = repeats.Repeats(text)
    for flat in scanner.chunks(text):
        places: dict[_Find, list[Any]] = {}
        for at, what in zip(flat[::2], flat[1::2], strict=True):
            if what >= FORMS:
                find = finders[what - FORMS]
                (whole if find in _WHOLE else places).setdefault(find, []).append((at, place[what - FORMS]))
            elif what in again:
                again[what].append(at)
            else:
                places.setdefault(_FORMS[what], []).append(at)
                if what == _SPACED:
                    again[_BARE].append(at)
        for find, own in places.items():
            if again_and_again and find in _LOCAL:
                found += again_and_again.found(find, key, own)
            else:
                found += find(text, key, own)
        meter.step(len(found))
    for find, own in whole.items():
        found += find(text, key, own)
    found += _in_context(text, key, found, again[_BARE])
    return _Scanned(found, *(again[kind] for kind in _AGAIN[1:]))


def places_of(chosen: Sequence[_Find], text: str, key: str) -> Iterator[tuple[int, str, Candidate]]:
    """Yield what each of the *chosen* detectors finds in *text*, with the offset and word that led to it."""
    scanner, finders, place = _words()
    for flat in scanner.chunks(text):
        for at, what in zip(flat[::2], flat[1::2], strict=True):
            if what >= FORMS and (find := finders[what - FORMS]) in chosen:
                for found in find(text, key, [(at, place[what - FORMS])]):
                    yield at, text[at : at + len(str(place[what - FORMS]))], found


def _in_context(text: str, key: str, found: list[Candidate], bare: list[int]) -> list[Candidate]:
    """Return what in *text* counts for what it stands under or beside."""
    more: list[Candidate] = []
    if key and rules.names_aws_secret(key):
        more += rules.aws_secret_keys_under(text)
    if "\n" in text:
        more += tables.columns(text)
        more += forms.pairs(text)
    emails = [each for each in found if each.kind == "email"]
    if emails and bare:
        more += shapes.beside_emails(text, emails, bare)
    if emails and "<" in text:
        more += cards.beside_emails(text, emails)
    return more

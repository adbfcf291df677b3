"""Values that somebody tells in a sentence, in the largest languages that are not English.

``Meine Telefonnummer ist 030 …``, ``né le 14 mars 1985``, ``мой ИНН …``, ``生年月日は1985年3月14日です``: a word, few
others, and a value of its form. Labels of forms and tables are ``tongues``; English sentences are ``labelled``.
A word that is plain ASCII is found by the one pass over a text, the others in texts that are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy import anchors, meter, national, people
from mpp_exec.privacy.finding import Candidate, is_in_mask
from mpp_exec.privacy.labelled import canonical
from mpp_exec.privacy.values import judged

# Small words between an announcement and its value: verbs, articles, prepositions, "number".
_SMALL: Final = (
    r"ist|war|lautet|der|die|das|dem|den|am|unter|mich|uns|an|bitte|nr|nummer|im|vom|für|sie"
    r"|est|sont|le|la|les|au|du|de|des|n[°ºo]|num[ée]ro|moi|sur|identité"
    r"|es|el|al|del|los|n[úu]m(?:ero)?|me|en|y|la seguridad social"
    r"|è|il|di|da|dal|n|che|é|o|a|em|para|do|meu|mim"
    r"|is|op|mij|ons|van|het|een|to|jest|pod|numer|numerem|się|dnia|roku|w"
    r"|это|мой|мне|по|номеру|номер|серия|и|№|на|был[аи]?|года?|г"
    r"|numaram|numaras[ıi]|numaran[ıi]z|no|nosu|tarihim|tarihi|tarihiniz"
)
_JOINED: Final = "は|が|の|も|番号|号码|号|是|为|為|于|於|日期|은|는|이|가|번호|일"
_FILLING: Final = lazily(
    rf"(?:[ \t\u00a0-]{{0,2}}(?:(?:{_SMALL})(?![^\W\d_])\.?|{_JOINED})){{0,5}}[ \t\u00a0:\uff1a=#«\"'(]{{0,4}}",
    re.IGNORECASE,
)
# ``nato a Roma il …``
_PLACE: Final = lazily(r" (?:a|à|in|en|em|w|te|zu) [A-ZÀ-Þ][\w'-]{1,20}(?: [A-ZÀ-Þ][\w'-]{1,20})?(?= )")
_NUMBERED: Final = lazily(
    r"(?:n[úu]m(?:[eé]ro)?|n[º°o]|nr|numer|nummer)\.?[ ]?(?:(?:de|di|da|do|del|du|della?) )?(?:la |l')?\Z",
    re.IGNORECASE,
)
_BY_NUMBER: Final = lazily(
    r"[ ]?(?:n[º°o]?|nr|nummer|numer|numaras[ıi]|№)\.?(?![^\W\d_])",
    re.IGNORECASE,
)

# ruff: noqa: E501, RUF001 -- the words are as they are written, one language to a line

# --- dates with a month's name, or in the order of East Asia

_MONTHS: Final = (
    r"jan(?:uar|vier|uari)?|enero|gennaio|janeiro|stycznia|января|ocak|jänner"
    r"|feb(?:ruar|ruari)?|février|fevrier|febrero|febbraio|fevereiro|lutego|февраля|şubat"
    r"|märz|maerz|mars|marzo|março|maart|marca|марта|mart"
    r"|apr(?:il|ile)?|avril|abril|kwietnia|апреля|nisan"
    r"|mai|mayo|maggio|maio|mei|maja|мая|mayıs"
    r"|juni|juin|junio|giugno|junho|czerwca|июня|haziran"
    r"|juli|juillet|julio|luglio|julho|lipca|июля|temmuz"
    r"|aug(?:ust|ustus)?|août|aout|agosto|sierpnia|августа|ağustos"
    r"|sept(?:ember|embre|iembre)?|sep(?:tember)?|settembre|setembro|września|сентября|eylül"
    r"|okt(?:ober)?|octobre|octubre|ottobre|outubro|października|октября|ekim"
    r"|nov(?:ember|embre|iembre)?|novembro|listopada|ноября|kasım"
    r"|dez(?:ember)?|dec(?:ember)?|décembre|decembre|diciembre|dicembre|dezembro|grudnia|декабря|aralık"
)
_DAY: Final = "(?:3[01]|[12][0-9]|0?[1-9])"
_MONTH: Final = "(?:1[0-2]|0?[1-9])"
_YEAR: Final = "(?:18|19|20)[0-9]{2}"
_DATE: Final = lazily(
    rf"(?:{_DAY}(?:\.|º|er)?[ ]?(?:de |d')?(?:{_MONTHS})\.?(?:,| del?)? {_YEAR}"
    rf"|{_YEAR}[ ]?[年년][ ]?{_MONTH}[ ]?[月월][ ]?{_DAY}[ ]?[日일]?"
    rf"|{_DAY}[ ]?[-./][ ]?{_MONTH}[ ]?[-./][ ]?(?:{_YEAR}|[0-9]{{2}})|{_YEAR}[-./]{_MONTH}[-./]{_DAY})(?![0-9])",
    re.IGNORECASE,
)


def date(text: str, start: int) -> int:
    """Return where the date at *start* ends, 0 if there is none. In figures, or with a month's name."""
    match = _DATE.match(text, start)
    return match.end() if match else 0


# --- numbers of documents and of accounts

_CODE: Final = lazily(r"[0-9A-Za-z](?:[ ./-]?[0-9A-Za-z]){5,19}(?![0-9A-Za-z])")
_ACCOUNT: Final = lazily(
    r"(?:[A-Z]{2}[0-9]{2}[ ]?)?[0-9](?:[ -]?[0-9]){5,27}(?![ ]?[0-9]|[A-Za-z]|[-./:][0-9A-Za-z])"
)
_DIGIT: Final = lazily(r"[0-9]")
_WORD: Final = lazily(r"[a-z]{4}|[A-Z]{4}")


def document(text: str, start: int) -> int:
    """Return where the number of a document at *start* ends: six to twenty signs, most of them digits."""
    match = _CODE.match(text, start)
    if match is None or _WORD.search(match[0]) or people.date(text, start) == match.end():
        return 0
    digits = len(_DIGIT.findall(match[0]))
    return match.end() if digits >= 5 and digits * 2 > sum(map(str.isalnum, match[0])) else 0


def account(text: str, start: int) -> int:
    """Return where the number of a bank account at *start* ends, 0 if none starts there."""
    match = _ACCOUNT.match(text, start)
    return match.end() if match and people.date(text, start) != match.end() else 0


class _Told(NamedTuple):
    """A kind, the words that announce it, how its values end, and how many digits they have at least.

    ``numbered``: the words say other things, too, unless "number" stands at them.
    """

    kind: str
    words: str
    end: Callable[[str, int], int]
    fewest: int = 0
    numbered: bool = False


_TOLD: Final = (
    _Told(
        "phone",
        "telefon telefonnummer telefonnr handynummer handynr mobilnummer rufnummer festnetz telefono"
        " celular cellulare telefone telemovel telefoonnummer telefoon telefonu"
        " téléphone móvil telemóvel teléfono телефон телефона телефону мобильный сотовый"
        " 電話 携帯 电话 手机 전화번호 휴대폰 휴대전화 연락처",
        people.phone, 7,
    ),
    _Told(
        "phone",
        "erreichen rufen joindre appelez llamarme llame chiami chiamami contattarmi ligue bereiken bel"
        " dzwonić zadzwonić звоните позвоните звони 拨打 致电",
        people.phone, 9,
    ),
    _Told("phone", "handy mobil portable numara", people.phone, 10),
    _Told(
        "date_of_birth",
        "geburtsdatum geburtstag geboren naissance nacimiento nacido nacida nascita nascido nascida nasceu"
        " nascimento nato nata geboortedatum urodzony urodzona urodzenia née né nació urodził urodziła"
        " родился родилась рождения doğum 出生 生日 生年月日 誕生日 생년월일 생일",
        date,
    ),
    _Told(
        "passport",
        "reisepassnummer passnummer reisepass passeport pasaporte passaporto passaporte paspoortnummer paspoort"
        " paszportu pasaport паспорт паспорта загранпаспорт 旅券 パスポート 护照 여권번호",
        document, 5,
    ),
    _Told(
        "drivers_license",
        "fuehrerscheinnummer rijbewijsnummer rijbewijs patente cnh conducir conduire jazdy führerscheinnummer"
        " führerschein удостоверение 免許証 驾驶证 驾照 운전면허",
        document, 5,
    ),
    _Told(
        "bank_account",
        "kontonummer rekeningnummer konto счёт счет счёта счета 口座番号 账号 계좌번호",
        account, 6,
    ),
    _Told("bank_account", "compte cuenta conto conta konta hesap", account, 6, numbered=True),
    _Told("national_id", "personalausweisnummer ausweisnummer rg osobisty", document, 6),
    _Told("national_id", "social identité identidad identità", document, 5, numbered=True),
    _Told("tax_id", "steuernummer nip vergi", document, 8),
    _Told("tax_id", "fiscal", document, 9, numbered=True),
)  # fmt: skip
# Identifiers with a check digit, by the words under which ``national`` knows them.
_CHECKED: Final = {
    **{
        word: word
        for word in (
            *("dni", "nie", "nif", "pesel", "bsn", "burgerservicenummer", "cpf", "steuer-id", "contribuinte"),
            *("steueridentifikationsnummer", "sozialversicherungsnummer", "rentenversicherungsnummer"),
        )
    },
    "снилс": "snils",
    "инн": "inn",
    "マイナンバー": "my number",
    "個人番号": "my number",
    "kimlik": "tckn",
    "身份证": "resident identity",
    "주민등록번호": "rrn",
    "주민번호": "rrn",
}
_BY_WORD: Final = {word: told for told in _TOLD for word in told.words.split()}
_PASSWORDS: Final = frozenset(
    [
        "passwort",
        "kennwort",
        "wachtwoord",
        "senha",
        "passe",
        "parola",
        "contraseña",
        "hasło",
        "şifre",
        "пароль",
        "密码",
        "密碼",
        "パスワード",
        "비밀번호",
    ]
)
NEEDLES: Final = tuple(
    anchors.Needle(word, anchors.WHOLE)
    for word in (*_BY_WORD, *_CHECKED, *sorted(_PASSWORDS))
    if word.isascii()
)
# Words behind a date: ``14 Mart 1985 doğumlu``, ``1985年3月14日生まれ``.
_BEHIND: Final = ("doğumlu", "doğdu", "года рождения", "生まれ", "出生", "생")
_FAR: Final = 80
_LATIN: Final = 0x370
_CYRILLIC: Final = 0x530


def _by_script() -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Return the words with other letters: Latin ones by the first of these, Cyrillic ones, and the rest."""
    latin: dict[str, list[str]] = {}
    cyrillic: list[str] = []
    others: list[str] = []
    for word in sorted({*_BY_WORD, *_CHECKED, *_PASSWORDS, *_BEHIND}):
        letter = next((letter for letter in word if not letter.isascii()), "")
        if not letter:
            continue
        if ord(letter) < _LATIN:
            latin.setdefault(letter, []).append(word)
        else:
            (cyrillic if ord(letter) < _CYRILLIC else others).append(word)
    return latin, cyrillic, others


_LATIN_WORDS, _CYRILLIC_WORDS, _OTHER_WORDS = _by_script()
_HAS_CYRILLIC: Final = lazily("[\u0400-\u052f]")
_HAS_OTHERS: Final = lazily("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]")


def announced(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the values in *text* that a word of ASCII tells; *places* are the offsets of such words."""
    found: list[Candidate] = []
    for at, word in places:
        meter.step(len(found))
        if is_in_mask(text, at):
            continue
        candidate = _told(text, at, at + len(word), word)
        if candidate is None and word == "geboren":
            candidate = _dated_before(text, at)
        if candidate:
            found.append(candidate)
    return found


def places(text: str) -> Iterator[int]:
    """Yield where in *text*, which is not all ASCII, a word with other letters stands."""
    for at, _ in _words_in(text):
        yield at


def others(text: str) -> list[Candidate]:
    """Return the values in *text*, which is not all ASCII, that a word with other letters tells."""
    found: list[Candidate] = []
    for at, word in _words_in(text):
        meter.step(len(found))
        candidate = _told(text, at, at + len(word), word)
        if candidate is None and word in _BEHIND:
            candidate = _dated_before(text, at)
        if candidate:
            found.append(candidate)
    return found


def _words_in(text: str) -> Iterator[tuple[int, str]]:
    """Yield where words with other letters stand in *text*. To search for each costs less than for all."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = text
    for letter, words in _LATIN_WORDS.items():
        if letter in lower:
            yield from _whole_words(lower, words)
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        if _HAS_CYRILLIC.search(text):
            yield from _whole_words(lower, _CYRILLIC_WORDS)
        if _HAS_OTHERS.search(text):
            for word in _OTHER_WORDS:
                yield from ((at, word) for at in _places_of(word, lower))


def _whole_words(lower: str, words: list[str]) -> Iterator[tuple[int, str]]:
    for word in words:
        for at in _places_of(word, lower):
            end = at + len(word)
            if not (lower[at - 1 : at].isalpha() or lower[end : end + 1].isalpha()):
                yield at, word


def _places_of(word: str, lower: str) -> Iterator[int]:
    at = lower.find(word)
    while at >= 0:
        yield at
        at = lower.find(word, at + 1)


def _dated_before(text: str, at: int) -> Candidate | None:
    """Return the date in front of the word at *at*, where that is what it is the birth date of."""
    low = max(0, at - _FAR)
    for match in _BEGINS.finditer(text, low, at):
        end = date(text, match.start())
        if end and _BETWEEN.fullmatch(text, end, at):
            return _candidate("date_of_birth", text, match.start(), end)
    return None


_BEGINS: Final = lazily(r"(?<![0-9.])[0-9]{1,4}(?=[-. /年년])")
_BETWEEN: Final = lazily(r"[ ]?| tarihinde [^.\n]{0,40}| in [^\W\d_][\w -]{1,30} ")


def _told(text: str, at: int, end: int, word: str) -> Candidate | None:
    """Return the value that the *word* from *at* to *end* tells, None if none is there."""
    start = _FILLING.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string
    if (start == end and word.isascii()) or text[at:end] == "NATO":
        return None
    if word in _CHECKED:
        kind, stop = national.announced(_CHECKED[word], text, start)
        return _candidate(kind, text, start, stop) if stop else None
    if told := _BY_WORD.get(word):
        return _formed(told, text, (at, end), start)
    return _password(text, start) if word in _PASSWORDS and start > end else None


def _formed(told: _Told, text: str, word: tuple[int, int], start: int) -> Candidate | None:
    """Return the value of a kind's form at *start*, or behind a place's name; *word* is where it is told."""
    at, end = word
    if told.numbered and not (_NUMBERED.search(text, max(0, at - 24), at) or _BY_NUMBER.match(text, end)):
        return None
    stop = told.end(text, start)
    if not stop and told.end is date and (place := _PLACE.match(text, end)):
        start = _FILLING.match(text, place.end()).end()  # type: ignore[union-attr]
        stop = told.end(text, start)
    if not stop or len(_DIGIT.findall(text, start, stop)) < told.fewest:
        return None
    return _candidate(told.kind, text, start, stop)


_SECRET: Final = lazily(r"[^\s\"'»”)）,;。、]{6,64}")


def _password(text: str, start: int) -> Candidate | None:
    """Return the password at *start*: in prose a word with letters and digits, or signs."""
    match = _SECRET.match(text, start)
    if match is None:
        return None
    value = match[0].rstrip(".!?")
    ascii_ = re.match(r"[!-~]+", value)
    if ascii_ is None or not (_DIGIT.search(ascii_[0]) and re.search("[A-Za-z]", ascii_[0])):
        return None
    return judged(ascii_[0], start, "password", quoted=True, shell=False)


def _candidate(kind: str, text: str, start: int, end: int) -> Candidate:
    return Candidate(kind, start, end, 0.85, canonical(kind, text[start:end]))

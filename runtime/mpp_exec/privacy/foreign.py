"""A detector for passwords whose label is no word of ASCII.

The one pass over a text (``anchors``) knows words of ASCII. Texts that have other characters are searched
once more, for these few words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.secret_names import FOREIGN_PASSWORDS
from mpp_exec.privacy.values import judged

_WORDS: Final = "|".join(sorted(FOREIGN_PASSWORDS, key=len, reverse=True))
_LABEL: Final = lazily(rf"(?i:{_WORDS})(?!\w)|(?:密码|密碼|口令|パスワード|비밀번호|비번|패스워드)")
_VALUE: Final = lazily(
    r"[\"'»”]?[ \t\u3000]{0,2}(?:\([^()\n]{0,16}\)[ \t]{0,2})?"
    r"(?:(?:[:=：＝]|は|[-–—])[ \t\u3000]{0,2}[\"'«“「(（]?|[(（][ \t]?)"  # noqa: RUF001  # as they are written
    r"(?P<value>[^\s\"'»”」)）,;，。、]{4,64})"  # noqa: RUF001
)
# ``パスワードは必須です`` says something of passwords.
_SENTENCE: Final = lazily("[\u3040-\u30ff\u4e00-\u9fff]")


def places(text: str) -> Iterator[int]:
    """Yield where in *text*, which is not all ASCII, such a word stands."""
    for match in _labels(text):
        yield match.start()


def _labels(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while match := meter.search(_LABEL, text, at, len(text)):
        meter.step()
        yield match
        at = match.end()


def passwords(text: str) -> list[Candidate]:
    """Return the passwords in *text*, which is not all ASCII, behind a word of another script."""
    found: list[Candidate] = []
    for label in _labels(text):
        meter.step(len(found))
        match = _VALUE.match(text, label.end())
        if match and "は" in text[label.end() : match.start("value")] and _SENTENCE.match(match["value"]):
            continue
        if match and (
            candidate := judged(match["value"], match.start("value"), "password", quoted=True, shell=False)
        ):
            found.append(candidate)
    return found

r"""Text as a renderer shows it: the emphasis of Markdown, its escapes, and inline tags of HTML, gone.

``AKIA**IOSF**ODNN7EXAMPLE``, ``jane\_doe@example.com`` and ``4111<wbr>1111…`` are values to whoever reads
the page. Only what stands between the characters of a word counts: elsewhere it separates.

Source: CommonMark 0.31, sections 2.4 and 6.2; the phrasing content of the HTML standard, section 3.2.5.2.5.
"""

from __future__ import annotations

from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy.fold import Offsets

_TAGS: Final = (
    "abbr|acronym|a|bdi|bdo|big|b|cite|code|del|em|font|ins|i|kbd|mark|nobr|q|samp|small|span|strike|strong"
    "|sub|sup|s|tt|u|var|wbr"
)
_MARKUP: Final = lazily(
    r"(?<=[\w@.+-])(?:"
    rf"(?:\*{{1,3}}|`{{1,3}}|~~|</?(?:{_TAGS})(?:\s[^<>\n]{{0,64}})?/?>){{1,4}}(?=[\w@.+-])"
    r"|\\(?=[@.+_-]))",
)


def rendered(text: str) -> tuple[str, Offsets] | None:
    """Return *text* less its markup inside words and the way back, None if it has none."""
    removed = [match.span() for match in _MARKUP.finditer(text)]
    return (_MARKUP.sub("", text), Offsets(removed)) if removed else None

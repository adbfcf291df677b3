"""The words of a label, whatever joins them: of a key, a header, a variable or an option."""

from __future__ import annotations

from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy.finding import MASK

_HUMP: Final = lazily(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+")


def words_of(label: str) -> list[str]:
    """Return the words of a label, in lower case: ``phoneNumber`` is ``phone``, ``number``."""
    if "[" in label:
        label = MASK.sub(" ", label)
    if not label.isascii():
        label = _without_marks(label)
    return [word.lower() for word in _HUMP.split(label.replace("'", "")) if word]


def _without_marks(label: str) -> str:
    """Return a label less the marks of its letters: ``direcci\u00f3n`` is ``direccion``. Scripts stay."""
    import unicodedata  # noqa: PLC0415  # plain ASCII never needs it

    plain = unicodedata.normalize("NFKD", label.translate(_LETTERS))
    return "".join(each for each in plain if unicodedata.category(each)[0] != "M")


# Letters that are no other letter with a mark.
_LETTERS: Final = str.maketrans(
    {"\u00df": "ss", "\u00e6": "ae", "\u0131": "i"}
    | dict.fromkeys("\u00f8\u00d8", "o")
    | dict.fromkeys("\u0142\u0141", "l")
    | dict.fromkeys("\u0111\u0110", "d")
)

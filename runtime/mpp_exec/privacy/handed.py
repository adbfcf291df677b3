"""Secrets that a function is called with: ``login("user", "word")``, ``user.setPassword("word")``.

A call names a secret only where it takes one. Functions that return one are called with its name
(``getToken("admin-console")``), so a verb has to say that it is handed over.
"""

from __future__ import annotations

from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy.finding import Candidate, listed
from mpp_exec.privacy.values import is_said_of_secrets, judged
from mpp_exec.privacy.words import words_of

# ``NetworkCredential("user", "word")``, ``auth=("user", "word")``
_CALL: Final = lazily(
    r"(?:[ ]{0,2}[:=][ ]{0,2})?\(\s{0,8}(?:[a-z_]{1,16}=)?([\"'])[^\"'\n]{0,128}\1,\s{0,40}(?:[a-z_]{1,16}=)?"
    r"([\"'])(?P<value>[^\s\"']{4,128})\2(?:,\s{0,40}([\"'])(?P<third>[^\s\"']{4,128})\4)?"
)
# What is given a name and a password, in this order; and in front of them the place.
PAIRED: Final = (
    "auth",
    "login",
    "credential",
    "credentials",
    "creds",
    "account",
    "directoryentry",
    "connect",
)
_PLACED: Final = ("directoryentry", "connect")
# ``setPassword("word")``, ``user.check_password('word')``, ``.password("word")``
_HANDED: Final = lazily(r"\(\s{0,8}([\"'])(?P<value>[^\s\"']{4,128})\1\s{0,8}[,)]")
_HANDING: Final = listed(
    "set with check use using change update reset hash encode encrypt verify matches match validate"
    " authenticate"
)
_SSHPASS: Final = lazily(r"[ ]-p[ ]?([\"']?)(?P<value>[^\s\"'$]{4,64})\1(?=\s|\Z)")


def called(text: str, start: int, end: int, label: str, how: str) -> Candidate | None:
    """Return the secret that a function is called with whose name is *label*, from *start* to *end*.

    *how* is what the name announces (``secret_names.strength``). Only functions that take secrets count.
    """
    lower = label.lower()
    if call := _CALL.match(text, end):
        which = "third" if call["third"] and lower.endswith(_PLACED) else "value"
        as_what = "password" if lower.endswith(PAIRED) or how == "password" else "key"
        return judged(call[which], call.start(which), as_what, quoted=True, shell=False)
    if lower.endswith("sshpass") and (given := _SSHPASS.match(text, end)):
        return judged(given["value"], given.start("value"), "password", quoted=True, shell=False)
    handed = _HANDED.match(text, end) if how else None
    if not handed:
        return None
    words = words_of(label)
    is_handing = not _HANDING.isdisjoint(words[:-1]) or (text[start] == "." and len(words) == 1)
    is_handing = is_handing and words[-1] not in _HANDING
    if not is_handing or (how == "password" and is_said_of_secrets(handed["value"])):
        return None
    as_what = how if how == "password" else "key"
    return judged(handed["value"], handed.start("value"), as_what, quoted=True, shell=False)

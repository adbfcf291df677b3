"""What a JSON key says about what stands below it, and a string about the one beside it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy import labels, rules
from mpp_exec.privacy.detect import candidates_in
from mpp_exec.privacy.secret_names import strength
from mpp_exec.privacy.values import is_random
from mpp_exec.privacy.words import words_of

_SHORTEST_IN_PAIR: Final = 8
_NAME: Final = lazily(r"[0-9A-Za-z_.-]{2,64}")


class Key(NamedTuple):
    """What a JSON key says about what stands below it.

    Attributes:
        label: the kind that it announces, "" if none.
        personal: somebody is described where it stands.
        aws: it names an AWS secret access key.
        plain: nothing could be found in the key itself.
        part: ``name``, ``type`` or ``value`` of a pair, "" for neither (``labels.part_of_pair``).
    """

    label: str
    personal: bool
    aws: bool
    plain: bool
    part: str


_PLAIN: Final = Key("", personal=False, aws=False, plain=True, part="")
_ROOT: Final = ""
# Keys are few and come again in every result. One that anything could be found in is not kept.
_KEPT: Final[dict[str, Key]] = {_ROOT: _PLAIN}
_MOST_KEPT: Final = 4096
_LONGEST_KEPT: Final = 48


def key_of(name: str) -> Key:
    """Return what the key *name* says."""
    known = _KEPT.get(name)
    if known is None:
        plain = not any(True for _ in candidates_in((name,), name))
        known = Key(
            labels.announced(name),
            labels.is_personal(name),
            rules.names_aws_secret(name),
            plain,
            labels.part_of_pair(name),
        )
        if plain and len(name) <= _LONGEST_KEPT:
            if len(_KEPT) >= _MOST_KEPT:
                _KEPT.clear()
            _KEPT[name] = known
    return known


def is_pair(value: list[Any]) -> bool:
    """Tell whether of two strings the one names the other: a secret, and what could be nothing else."""
    name, secret = value
    return (
        isinstance(name, str)
        and isinstance(secret, str)
        and len(secret) >= _SHORTEST_IN_PAIR
        and bool(_NAME.fullmatch(name))
        and any(map(str.isdigit, secret))
        and bool(strength(name) or rules.names_aws_secret(name))
        and is_random(secret)
    )


_OPTION: Final = lazily(r"--?([A-Za-z][0-9A-Za-z_.-]{1,46})")
# What tells a program about passwords without being followed by one.
_SWITCHES: Final = frozenset(("prompt", "stdin", "only", "file", "no", "ask", "without", "disable", "enable"))


def option_of(item: str) -> str:
    """Return the name of an option that the next word of a command is the secret of, "" for any other."""
    option = _OPTION.fullmatch(item)
    if not option or not _SWITCHES.isdisjoint(words_of(option[1])):
        return ""
    return option[1] if strength(option[1]) in ("password", "secret") else ""

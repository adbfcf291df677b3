"""What the keys of objects announce of their values: by their words, beside one another and below others."""

from __future__ import annotations

from typing import Any, Final

from mpp_exec.privacy import declared, labels, places, rules
from mpp_exec.privacy.finding import listed
from mpp_exec.privacy.keys import Key, key_of
from mpp_exec.privacy.leaf import AWS, Leaf
from mpp_exec.privacy.numerals import not_json

_PARTS_OF_NAMES: Final = frozenset(("first", "last", "middle", "given", "family", "full"))
# What a label says about all that is nested below it: ``"phone": {"home": …}``.
_NESTED: Final = frozenset(("phone", "ssn", "passport", "drivers_license", "bank_account", "address"))
# An account beside a bank's number is one at a bank.
_ACCOUNTS: Final = frozenset(("account", "acct", "konto", "compte", "cuenta", "conto", "conta", "rekening"))
# What holds the value of the key above it, and says nothing: types of DynamoDB and MongoDB, of rich text.
_HOLDING: Final = listed(
    """
    s n m l ss ns value val text raw formatted formattedvalue formatted_value display displayvalue content
    plain_text plaintext string stringvalue $date $numberlong number localized default
    """
)
# What ``name`` announces with nobody beside it: somebody only in its parts, ``{"first": …, "last": …}``.
_UNCLEAR: Final = "name?"
# What a key announces that lists somebody each: their names, if these are of two words.
_PEOPLE: Final = "people"
SILENT: Final = frozenset((_UNCLEAR, _PEOPLE))
"""What a key may announce that says nothing of a text below it."""

_SAY_NOTHING: Final = frozenset(("", *SILENT))


class Naming:
    """The keys of one document; what a set of them announces is worked out once.

    Attributes:
        known: every distinct key.
        odd: those of them that something may be found in.
        labels: what the keys of an object announce each, by all of them.
        nested: the same below a label, and above a key or none.
        pairs: which key of an object holds the name of another one, and which one that is.
    """

    def __init__(self) -> None:
        self.known: dict[str, Key] = {}
        self.odd: dict[str, Leaf] = {}
        self.labels: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.nested: dict[tuple[str, bool, tuple[str, ...]], tuple[str, ...]] = {}
        self.pairs: dict[tuple[str, ...], tuple[str, int]] = {}

    def is_silent(self, value: dict[str, Any]) -> bool:
        """Tell whether *value* is flat, and its keys, which have been met before, announce nothing."""
        names = tuple(value)
        labels = self.labels.get(names)
        return (
            labels is not None
            and _SAY_NOTHING.issuperset(labels)
            and names not in self.pairs
            and not any(map(_is_nested, value.values()))
            and "kind" not in value
            and "sensitive" not in value
        )

    def below(self, names: tuple[str, ...], above: str, outer: str) -> tuple[str, ...]:
        """Return what each of the keys of an object announces, below a key and what that announces."""
        known = [self.known.get(name) or self._name(name) for name in names]
        personal = any(each.personal for each in known)
        kinds = [each.label for each in known]
        if "bank_account" in kinds:
            kinds = [
                "bank_account" if not kind and name.lower() in _ACCOUNTS else kind
                for kind, name in zip(kinds, names, strict=True)
            ]
        announced = places.settled(kinds, outer)
        below = tuple(
            _label(name, label, personal, above, outer) or (AWS if each.aws else "")
            for name, label, each in zip(names, announced, known, strict=True)
        )
        if not outer:
            self.labels[names] = below
        else:
            self.nested[outer, not above, names] = below
        parts = [each.part for each in known]
        naming = "name" if "name" in parts else "type"
        if "value" in parts and naming in parts:
            self.pairs[names] = (names[parts.index(naming)], parts.index("value"))
        return below

    def named(
        self, value: dict[str, Any], names: tuple[str, ...], below: tuple[str, ...]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return keys and what they announce where one member of *value* is the name of another."""
        naming, at = self.pairs[names]
        name = value[naming]
        if not isinstance(name, str):
            return names, below
        label = places.settled([labels.named_by(name)])[0]
        if label in ("", _UNCLEAR, "person?", _PEOPLE) and rules.names_aws_secret(name):
            label = AWS
        if label in ("", _UNCLEAR, "person?", _PEOPLE):
            return names, below
        return (*names[:at], name, *names[at + 1 :]), (*below[:at], label, *below[at + 1 :])

    def declared(
        self, value: dict[str, Any], names: tuple[str, ...], below: tuple[str, ...], key: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return keys and what they announce where an object says that it holds secrets.

        So does the *key* above it, if it is not "": ``"db_password": {"value": …}``.
        """
        if (said := declared.below(value, names, below)) != below:
            return names, said
        if not key:
            return names, below
        held = [not kind and _holds(name) for name, kind in zip(names, below, strict=True)]
        named = (key if holds else name for name, holds in zip(names, held, strict=True))
        return tuple(named), tuple(
            "secret" if holds else kind for kind, holds in zip(below, held, strict=True)
        )

    def _name(self, name: Any) -> Key:
        """Take in a key that has not been met before."""
        if not isinstance(name, str):
            raise not_json(name, "the key of an object")
        known = self.known[name] = key_of(name)
        if not known.plain:
            leaf = self.odd[name] = Leaf(name, "")
            leaf.anchored = True
        return known


def _is_nested(item: Any) -> bool:
    if type(item) is list:
        return any(type(each) in (dict, list) for each in item)
    return type(item) is dict


def _holds(name: str) -> bool:
    """Tell whether a key says nothing but that what the one above it names is below it."""
    return name in ("value", "Value") or name.isdigit()


def _label(name: str, label: str, personal: bool, above: str, outer: str) -> str:
    """Return what a key announces, beside keys that describe somebody or not, and below another."""
    if outer == labels.DECLARED:
        return outer
    if label == _UNCLEAR:
        if outer == "person?" or personal:
            return "person"
        return "person?" if outer == _PEOPLE else _UNCLEAR
    if label or not outer:
        return label
    if outer in ("person", _UNCLEAR) and name.lower() in _PARTS_OF_NAMES:
        return "person"
    is_one_of = outer != "secret" and (name.isdigit() or name.lower() in _HOLDING)  # ``{"0": …, "1": …}``
    return outer if is_one_of or outer in _NESTED or (outer == "secret" and not above) else ""

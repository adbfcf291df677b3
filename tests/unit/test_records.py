"""Records against the dataclasses that they stand for: the same class, made by both."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import operator
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from mpp_exec import records

Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]
SOURCES: dict[str, tuple[str, Calls]] = {
    "frozen": (
        """
@dataclass(frozen=True, slots=True)
class Made:
    a: int
    b: str = "b"
""",
        [((1,), {}), ((1, "x"), {}), ((), {"a": 2, "b": "y"})],
    ),
    "mutable": (
        """
@dataclass(slots=True)
class Made:
    a: int
    b: list = field(default_factory=list)
""",
        [((1,), {}), ((1, [2]), {}), ((2,), {"b": [3]})],
    ),
    "without slots": (
        """
@dataclass(frozen=True)
class Made:
    a: int = 3
    b: int = field(default=4, compare=False)
""",
        [((), {}), ((1, 2), {}), ((1, 5), {})],
    ),
    "by name only": (
        """
@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    a: int = 3
    b: int
""",
        [((), {"b": 1}), ((), {"b": 1, "a": 1})],
    ),
    "ordered": (
        """
@dataclass(frozen=True, slots=True, order=True)
class Made:
    a: int
    b: int = 1
""",
        [((1,), {}), ((1, 2), {}), ((0, 9), {})],
    ),
    "of one": (
        """
@dataclass(frozen=True, slots=True, order=True)
class Made:
    a: tuple
""",
        [(((1, 2),), {}), (((1, 3),), {})],
    ),
    "of none": (
        """
@dataclass(frozen=True, slots=True)
class Made:
    pass
""",
        [((), {})],
    ),
    "by identity": (
        """
@dataclass(slots=True, eq=False)
class Made:
    a: int
""",
        [((1,), {})],
    ),
    "derived": (
        """
@dataclass(frozen=True, slots=True)
class Base:
    a: int
    b: int = 2
@dataclass(frozen=True, slots=True)
class Made(Base):
    b: int = 3
    c: str = field(default="c", repr=False)
""",
        [((1,), {}), ((1, 2, "d"), {})],
    ),
    "derived by name": (
        """
@dataclass(frozen=True, slots=True)
class Base:
    a: int = 1
@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Base):
    b: int
""",
        [((), {"b": 2}), ((4,), {"b": 2})],
    ),
    "settled afterwards": (
        """
@dataclass(frozen=True, slots=True)
class Made:
    a: int
    sum: int = field(init=False, repr=False, compare=False)
    def __post_init__(self):
        object.__setattr__(self, "sum", self.a + 1)
""",
        [((1,), {}), ((2,), {})],
    ),
    "with its own equality": (
        """
@dataclass(frozen=True)
class Made:
    a: int
    b: int = 0
    def __eq__(self, other):
        return self.a == other.a
    def __repr__(self):
        return "own"
""",
        [((1,), {}), ((1, 2), {}), ((2, 2), {})],
    ),
    "a constant of the class": (
        """
@dataclass(frozen=True, slots=True)
class Made:
    a: int
    B: ClassVar[int] = 5
""",
        [((1,), {})],
    ),
}
OPERATORS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (TypeError, AttributeError, ValueError) as error:
        return type(error)


def made_by(module: types.ModuleType, source: str, name: str) -> Any:
    place = types.ModuleType(name)
    sys.modules[name] = place  # where annotations are looked up, and pickle finds the class
    head = "from __future__ import annotations\nfrom typing import ClassVar\n"
    vars(place).update(dataclass=module.dataclass, field=module.field)
    exec(head + source, vars(place))
    return vars(place)["Made"]


@pytest.fixture(params=SOURCES)
def pair(request: pytest.FixtureRequest) -> Any:
    source, calls = SOURCES[request.param]
    names = ("of_the_library", "of_the_project")
    yield (
        made_by(dataclasses, source, names[0]),
        made_by(records, source, names[1]),
        calls,
    )
    for name in names:
        sys.modules.pop(name)


def test_instances_say_and_compare_alike(pair: Any) -> None:
    library, own, calls = pair
    theirs = [library(*given, **named) for given, named in calls]
    ours = [own(*given, **named) for given, named in calls]
    assert [each.__dict__ if hasattr(each, "__dict__") else None for each in theirs] == [
        each.__dict__ if hasattr(each, "__dict__") else None for each in ours
    ]
    assert getattr(library, "__slots__", None) == getattr(own, "__slots__", None)
    assert library.__match_args__ == own.__match_args__
    assert list(map(repr, theirs)) == list(map(repr, ours))
    for compare in OPERATORS:
        expected = [outcome(lambda: compare(a, b)) for a in theirs for b in theirs]  # noqa: B023
        assert [outcome(lambda: compare(a, b)) for a in ours for b in ours] == expected  # noqa: B023
        assert outcome(lambda: compare(ours[0], 1)) == outcome(lambda: compare(theirs[0], 1))  # noqa: B023
    hashed = [outcome(lambda: hash(a) == hash(b)) for a in theirs for b in theirs]  # noqa: B023
    assert [outcome(lambda: hash(a) == hash(b)) for a in ours for b in ours] == hashed  # noqa: B023


def test_instances_refuse_alike(pair: Any) -> None:
    library, own, calls = pair
    given, named = calls[0]
    fields = dataclasses.fields(library)
    for call in (
        lambda cls: cls(*given, **named, other=1),
        lambda cls: cls(*given, *range(9), **named),
        lambda cls: cls(),
        *(lambda cls, name=each.name: setattr(cls(*given, **named), name, 5) for each in fields),
        *(lambda cls, name=each.name: delattr(cls(*given, **named), name) for each in fields),
    ):
        theirs, ours = (outcome(functools.partial(call, cls)) for cls in (library, own))
        assert (ours if isinstance(ours, type) else None) == (theirs if isinstance(theirs, type) else None)
    if own.__setattr__ is not object.__setattr__:
        assert outcome(lambda: setattr(own(*given, **named), "other", 5)) is dataclasses.FrozenInstanceError


def test_the_library_takes_them_for_its_own(pair: Any) -> None:
    library, own, calls = pair
    for given, named in calls:
        theirs, ours = library(*given, **named), own(*given, **named)
        assert dataclasses.is_dataclass(own)
        assert [each.name for each in dataclasses.fields(theirs)] == [
            each.name for each in records.fields(ours)
        ]
        assert [
            (each.name, each.type, each.default, each.init, each.repr, each.compare, each.kw_only)
            for each in dataclasses.fields(theirs)
        ] == [
            (each.name, each.type, each.default, each.init, each.repr, each.compare, each.kw_only)
            for each in dataclasses.fields(own)
        ]
        assert dataclasses.asdict(theirs) == dataclasses.asdict(ours) == records.asdict(ours)
        for change in [{each.name: 7} for each in dataclasses.fields(theirs) if each.init]:
            assert repr(dataclasses.replace(theirs, **change)) == repr(records.replace(ours, **change))
            assert repr(dataclasses.replace(ours, **change)) == repr(records.replace(ours, **change))
        assert repr(copy.copy(ours)) == repr(copy.deepcopy(ours)) == repr(ours)
        assert repr(pickle.loads(pickle.dumps(ours))) == repr(ours)


def test_constructors_look_alike_once_they_are_made(pair: Any) -> None:
    library, own, calls = pair
    given, named = calls[0]
    own(*given, **named)
    theirs, ours = inspect.signature(library), inspect.signature(own)
    assert [(each.name, each.kind, each.annotation) for each in theirs.parameters.values()] == [
        (each.name, each.kind, each.annotation) for each in ours.parameters.values()
    ]


def test_a_mutable_default_is_refused() -> None:
    for module in (dataclasses, records):
        with pytest.raises(ValueError, match="mutable"):
            made_by(module, "@dataclass\nclass Made:\n    a: list = []\n", "mutable_default")
    sys.modules.pop("mutable_default")


def test_the_constructor_of_a_base_is_compiled_for_it_alone() -> None:
    source = (
        "@dataclass(slots=True)\nclass Base:\n    a: int\n"
        "@dataclass(slots=True)\nclass Made(Base):\n    b: int = 1\n"
        "    def __post_init__(self):\n        self.b += 1\n"
    )
    cls = made_by(records, source, "base_and_made")
    try:
        assert (cls(1).b, cls.__base__(2).a, cls(3).a) == (2, 2, 3)
        assert cls.__init__ is not cls.__base__.__init__
    finally:
        sys.modules.pop("base_and_made")


def test_defining_them_compiles_nothing() -> None:
    code = """
import builtins, sys
from mpp_exec.records import dataclass
ran = []
kept = builtins.exec
builtins.exec = lambda source, *rest: (ran.append(source), kept(source, *rest))
@dataclass(frozen=True, slots=True, order=True)
class Made:
    a: int = 1
print(len(ran), "dataclasses" in sys.modules)
assert Made(1) == Made() and Made(1) < Made(2) and hash(Made(1)) and repr(Made(1))
print(len(ran), "dataclasses" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n1 False\n"

"""Dataclasses whose methods are made when they are first used.

``dataclasses`` compiles up to six methods of each class that it is given, whether they are ever called or
not: that was a third of the start of ``mpp-exec run``. Here, defining a class compiles nothing: ``__init__``
is compiled with the first instance, and the other methods are functions that know the names of the fields.
To a type checker these are the standard library's, whose ``fields``, ``replace`` and ``asdict`` take them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

_MISSING: Final[Any] = object()
_FIELDS: Final = "__record_fields__"


class _Field:
    """What is said of one value: as ``dataclasses.field`` takes it, and its name and annotation."""

    __slots__ = ("compare", "default", "default_factory", "init", "kw_only", "name", "repr", "type")

    def __init__(self, default: Any, default_factory: Any, *, init: bool, repr: bool, compare: bool) -> None:  # noqa: A002 -- as in dataclasses
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.compare = compare
        self.name = ""
        self.type: Any = None
        self.kw_only = False

    def is_optional(self) -> bool:
        return self.default is not _MISSING or self.default_factory is not _MISSING


def _field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    init: bool = True,
    repr: bool = True,  # noqa: A002 -- as in dataclasses
    compare: bool = True,
) -> Any:
    return _Field(default, default_factory, init=init, repr=repr, compare=compare)


def _dataclass(
    cls: type | None = None,
    /,
    *,
    frozen: bool = False,
    slots: bool = False,
    eq: bool = True,
    order: bool = False,
    kw_only: bool = False,
) -> Any:
    def decorate(cls: type) -> type:
        fields = {
            each.name: each for base in reversed(cls.__mro__[1:]) for each in vars(base).get(_FIELDS, ())
        }
        fields |= {each.name: each for each in _own_fields(cls, kw_only=kw_only)}
        methods = _methods(tuple(fields.values()), frozen=frozen, slots=slots, eq=eq, order=order)
        made = _with_slots(cls, methods, fields) if slots else _with_methods(cls, methods)
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(made, name, _Standard(made, name, frozen=frozen))
        if "__init__" not in vars(made):
            type.__setattr__(made, "__init__", _first_init(made, frozen=frozen))
        return made

    return decorate if cls is None else decorate(cls)


def _own_fields(cls: type, *, kw_only: bool) -> Iterator[_Field]:
    """Yield what *cls* itself says, less its defaults, which move where the constructor finds them."""
    for name, annotation in cls.__annotations__.items():
        if str(annotation).startswith("ClassVar"):
            continue
        said = vars(cls).get(name, _MISSING)
        each = (
            said if isinstance(said, _Field) else _Field(said, _MISSING, init=True, repr=True, compare=True)
        )
        if each.default.__class__.__hash__ is None:
            raise ValueError(f"the default of {cls.__qualname__}.{name} is mutable: give a default_factory")
        if each is said:
            if each.default is _MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, each.default)
        each.name, each.type, each.kw_only = name, annotation, kw_only
        yield each


def _methods(
    fields: tuple[_Field, ...], *, frozen: bool, slots: bool, eq: bool, order: bool
) -> dict[str, Any]:
    """Return what a class of *fields* gets, where it has none of its own."""
    shown = tuple(each.name for each in fields if each.repr)
    values = _reader([each.name for each in fields if each.compare])

    def __repr__(self: Any) -> str:  # noqa: N807
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({told})"

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    methods: dict[str, Any] = {
        _FIELDS: fields,
        "__match_args__": tuple(each.name for each in fields if each.init and not each.kw_only),
        "__repr__": __repr__,
    }
    if eq:
        methods |= {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}
    if order:
        methods |= _ordering(values)
    if frozen:
        methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    if frozen and slots:
        methods |= {"__getstate__": _state, "__setstate__": _set_state}
    return methods


def _reader(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads the values of *names* from an instance."""
    if not names:
        return lambda _: ()
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda record: (only(record),)
    return attrgetter(*names)


def _ordering(values: Callable[[Any], tuple[Any, ...]]) -> dict[str, Any]:
    def compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, object], bool]:
        return lambda self, other: (
            compare(values(self), values(other)) if other.__class__ is self.__class__ else NotImplemented
        )

    return {
        "__lt__": compared(tuple.__lt__),
        "__le__": compared(tuple.__le__),
        "__gt__": compared(tuple.__gt__),
        "__ge__": compared(tuple.__ge__),
    }


def _refuse_to_set(_: object, name: str, __: object) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 -- only for a mistake

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: object, name: str) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 -- only for a mistake

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    """Return what a copy is made of: a frozen instance with slots cannot be given its values one by one."""
    return [getattr(self, each.name) for each in _fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(_fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)


def _with_methods(cls: type, methods: Mapping[str, Any]) -> type:
    for name in methods.keys() - _own(cls).keys():
        setattr(cls, name, methods[name])
    return cls


def _own(cls: type) -> dict[str, Any]:
    """Return what *cls* says itself; with an ``__eq__`` of its own, Python says None of its hash."""
    own = dict(vars(cls))
    if "__eq__" in own and own["__hash__"] is None:
        del own["__hash__"]
    return own


def _with_slots(cls: type, methods: Mapping[str, Any], fields: Mapping[str, _Field]) -> type:
    """Return *cls* anew: only when a class is made can it be given slots."""
    inherited = {name for base in cls.__mro__[1:-1] for name in vars(base).get("__slots__", ())}
    own = {
        name: value
        for name, value in _own(cls).items()
        if name not in fields and name not in ("__dict__", "__weakref__")
    }
    slots = tuple(name for name in fields if name not in inherited)
    made = type(cls)(cls.__name__, cls.__bases__, {**methods, **own, "__slots__": slots})
    made.__qualname__ = cls.__qualname__
    return made


def _first_init(cls: type, *, frozen: bool) -> Callable[..., None]:
    """Return a constructor of *cls* that makes the real one, and leaves its place to it."""

    def __init__(self: Any, /, *values: Any, **named: Any) -> None:  # noqa: N807
        init = _init(cls, frozen=frozen)
        type.__setattr__(cls, "__init__", init)
        init(self, *values, **named)

    return __init__


def _init(cls: type, *, frozen: bool) -> Callable[..., None]:
    fields: tuple[_Field, ...] = getattr(cls, _FIELDS)
    given: dict[str, Any] = {"__missing": _MISSING, "__set": object.__setattr__}
    positional, named, body = ["self"], ["*"], []
    for each in fields:
        name, value = each.name, each.name
        if each.default_factory is not _MISSING:
            given[f"__made_{name}"] = each.default_factory
            value = f"__made_{name}() if {name} is __missing else {name}" if each.init else f"__made_{name}()"
            default = "=__missing"
        elif each.default is not _MISSING:
            given[f"__default_{name}"] = each.default
            value = name if each.init else f"__default_{name}"
            default = f"=__default_{name}"
        else:
            default = ""
        if each.init:
            (named if each.kw_only else positional).append(f"{name}{default}")
        if each.init or each.is_optional():
            body.append(f"__set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(positional + (named if len(named) > 1 else []))
    lines = "\n  ".join(body or ["pass"])
    source = f"def make({', '.join(given)}):\n def __init__({parameters}):\n  {lines}\n return __init__"
    made: dict[str, Any] = {}
    exec(source, vars(sys.modules[cls.__module__]), made)  # noqa: S102 -- as dataclasses does, of a class's own names
    init: Callable[..., None] = made["make"](**given)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {each.name: each.type for each in fields if each.init} | {"return": None}
    return init


class _Standard:
    """What ``dataclasses`` knows a class by, made when it asks."""

    def __init__(self, cls: type, name: str, *, frozen: bool) -> None:
        self._cls = cls
        self._name = name
        self._frozen = frozen

    def __get__(self, _: object, __: type) -> Any:
        import dataclasses  # noqa: PLC0415 -- not for a call

        fields: tuple[_Field, ...] = getattr(self._cls, _FIELDS)
        missing: Any = dataclasses.MISSING
        said: dict[str, Any] = {
            each.name: dataclasses.field(
                default=missing if each.default is _MISSING else each.default,
                default_factory=missing if each.default_factory is _MISSING else each.default_factory,
                init=each.init,
                repr=each.repr,
                compare=each.compare,
                kw_only=each.kw_only,
            )
            for each in fields
        }
        said |= {
            "__annotations__": {each.name: each.type for each in fields},
            "__module__": self._cls.__module__,
        }
        like: type = dataclasses.dataclass(init=False, frozen=self._frozen)(
            type(self._cls.__name__, (), said)
        )
        value = getattr(like, self._name)
        type.__setattr__(self._cls, self._name, value)
        return value


def _fields(record: Any, /) -> tuple[_Field, ...]:
    fields: tuple[_Field, ...] = getattr(record, _FIELDS)
    return fields


def _replace(record: Any, /, **changes: Any) -> Any:
    kept = {each.name: getattr(record, each.name) for each in _fields(record) if each.init}
    return type(record)(**(kept | changes))


def _asdict(record: Any, /) -> dict[str, Any]:
    return {each.name: _as_plain(getattr(record, each.name)) for each in _fields(record)}


def _as_plain(value: Any) -> Any:
    """Return *value* with maps in place of records; what it holds otherwise is not copied."""
    if hasattr(type(value), _FIELDS):
        return _asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_as_plain, value))
    if isinstance(value, list | tuple):
        return type(value)(map(_as_plain, value))
    if isinstance(value, dict):
        return {_as_plain(key): _as_plain(each) for key, each in value.items()}
    return value


if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, fields, replace
else:
    asdict, dataclass, field, fields, replace = _asdict, _dataclass, _field, _fields, _replace

__all__ = ["asdict", "dataclass", "field", "fields", "replace"]

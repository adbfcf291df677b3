"""A server's JSON Schemas, brought into the form that a package may have.

As they are, but for what packages do not accept or TOML cannot write: what had to go is told. A schema is
never made stricter: what goes only ever widens it, since the server checks its arguments itself.
"""

from __future__ import annotations

from typing import Any, Final

from mpp_exec.characters import replace_forbidden
from mpp_exec.errors import PackageError
from mpp_exec.package.schema import check_schema

_DIALECT: Final = ("$schema", "$id", "id")
_DATA: Final = ("const", "enum", "default", "examples")
_NAMES: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_TEXTS: Final = ("title", "description", "$comment")
_COSTLY: Final = (("pattern", "patternProperties"), ("format",), ("oneOf", "anyOf", "allOf", "not", "if"))
"""What goes first where a schema is refused as it is."""


def fit(schema: Any, *, where: str) -> tuple[dict[str, Any], list[str]]:
    """Return *schema* as a package may have it, and a line for each thing that could not be carried."""
    lost: list[str] = []
    if not isinstance(schema, dict):
        return {"type": "object"}, [f"{where} is not an object: any object is accepted"]
    fitted = _fitted(schema, lost)
    if fitted.get("type") != "object":
        fitted["type"] = "object"
    refused = _refusal(fitted, where)
    for keywords in _COSTLY if refused else ():
        dropped = _without(fitted, keywords)
        if dropped != fitted:
            lost.append(f"{where}: {', '.join(keywords)} ({refused})")
            fitted = dropped
            if not (refused := _refusal(fitted, where)):
                break
    if refused:
        return {"type": "object"}, [f"{where} cannot be carried: any object is accepted ({refused})"]
    return fitted, [
        f"{where}: {each}" if not each.startswith(where) else each for each in dict.fromkeys(lost)
    ]


def _refusal(schema: dict[str, Any], where: str) -> str:
    try:
        check_schema(schema, where=where)
    except PackageError as error:
        return error.message
    return ""


def plain_text(text: str) -> str:
    """Return *text* on one line, without what nobody would see."""
    return " ".join(replace_forbidden(text, lambda each: " " if each.isspace() else "").split())


def _fitted(value: dict[str, Any], lost: list[str], *, names: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, inner in value.items():
        if names:
            made[key] = _fitted(inner, lost) if isinstance(inner, dict) else inner
        elif key in _DIALECT and isinstance(inner, str):
            continue
        elif key in _TEXTS:
            made[key] = plain_text(inner) if isinstance(inner, str) else ""
        elif key in _DATA:
            _put_data(made, key, inner, lost)
        elif key == "items" and isinstance(inner, list):  # up to draft 2019-09
            made["prefixItems"] = [_fitted(each, lost) if isinstance(each, dict) else each for each in inner]
        elif key == "nullable" or inner is None:
            lost.append(f"{key}")
        elif isinstance(inner, dict):
            made[key] = _fitted(inner, lost, names=key in _NAMES)
        elif isinstance(inner, list):
            made[key] = [_fitted(each, lost) if isinstance(each, dict) else each for each in inner]
        else:
            made[key] = inner
    return made


def _put_data(made: dict[str, Any], key: str, inner: Any, lost: list[str]) -> None:
    """Carry a value that is data. TOML has no null, anywhere."""
    if key == "enum" and isinstance(inner, list) and None in inner:
        values = [each for each in inner if each is not None]
        made["anyOf"] = [{"enum": values}, {"type": "null"}] if values else [{"type": "null"}]
    elif key == "const" and inner is None:
        made["type"] = "null"
    elif _has_null(inner):
        if inner is not None:  # a default of null says no more than that there is none
            lost.append(f"{key} with null in it")
    else:
        made[key] = inner


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _without(value: Any, keywords: tuple[str, ...], *, names: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(inner, keywords, names=not names and key in _NAMES)
            for key, inner in value.items()
            if names or key not in keywords
        }
    return [_without(each, keywords) for each in value] if isinstance(value, list) else value

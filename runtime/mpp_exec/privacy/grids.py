"""Tables in JSON: lists of rows, whose columns are named in a list beside them or in the first row.

``{"columns": ["name", "email"], "rows": [["Jane Doe", "…"]]}``, as databases and data frames answer, also
where each column is an object with a name; and a list of lists of which the first has the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from mpp_exec.privacy import headers, labels
from mpp_exec.privacy.secret_names import strength

_MOST_COLUMNS: Final = 256
# Two are a name and its value as often, each row for itself: ``["DB_PASSWORD", "…"]``.
_PAIR: Final = 2
_COLUMNS: Final = ("columns", "cols", "column_names", "fields", "header", "headers", "names", "schema")
_NAME: Final = ("name", "columnName", "column_name", "field", "label", "title", "id", "key")


def named_beside(members: Iterable[tuple[str, Any]], rows: list[Any]) -> Sequence[str]:
    """Return the names of the columns of *rows* that one of the *members* beside them holds, or none."""
    width = len(rows[0])
    for key, value in members:
        if type(value) is list and value is not rows and len(value) == width:
            names = [_name_of(each) for each in value]
            if (width > _PAIR or key.lower() in _COLUMNS) and _are_names(names):
                return names
    return ()


def named_above(rows: list[Any]) -> Sequence[str]:
    """Return the names of the columns of *rows* that the first of them holds, or none."""
    first = rows[0]
    if len(rows) == 1 or not _are_names(first):
        return ()
    is_sheet = len(first) > _PAIR or (any(map(labels.is_personal, first)) and not any(map(strength, first)))
    return first if is_sheet else ()


def is_row(row: Any, names: Sequence[str]) -> bool:
    """Tell whether *row* is one of a table with columns of these *names*."""
    return type(row) is list and len(row) == len(names)


def _name_of(column: Any) -> Any:
    if type(column) is dict:
        return next((column[name] for name in _NAME if isinstance(column.get(name), str)), None)
    return column


def _are_names(names: Sequence[Any]) -> bool:
    if not 1 < len(names) <= _MOST_COLUMNS or not all(type(name) is str for name in names):
        return False
    return len(set(names)) == len(names) and headers.announce(headers.announced(names))

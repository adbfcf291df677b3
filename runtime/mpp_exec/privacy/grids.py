"""Tables in JSON: lists of rows, whose columns are named in a list beside them or in the first row.

``{"columns": ["name", "email"], "rows": [["Jane Doe", "…"]]}``, as databases and data frames answer, also
where each column is an object with a name; and a list of lists of which the first has the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from mpp_exec.privacy import headers, labels

_MOST_COLUMNS: Final = 256
_PAIR: Final = 2
_NAME: Final = ("name", "columnName", "column_name", "field", "label", "title", "id", "key")


def named_beside(values: Iterable[Any], rows: list[Any]) -> Sequence[str]:
    """Return the names of the columns of *rows* that one of the *values* beside them holds, or none."""
    width = len(rows[0])
    for value in values:
        if type(value) is list and value is not rows and len(value) == width:
            names = [_name_of(each) for each in value]
            if _are_names(names):
                return names
    return ()


def named_above(rows: list[Any]) -> Sequence[str]:
    """Return the names of the columns of *rows* that the first of them holds, or none."""
    first = rows[0]
    if len(rows) == 1 or not _are_names(first):
        return ()
    # Two of them are a name and its value as often, each row for itself: ``["DB_PASSWORD", "…"]``.
    return first if len(first) > _PAIR or all(map(labels.is_personal, first)) else ()


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

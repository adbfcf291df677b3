"""JSON Schema 2020-12, of which a package must not be able to make a weapon."""

from __future__ import annotations

from typing import Any, Final

import jsonschema_rs

from mpp_exec.encoding import JsonError, json_dumps
from mpp_exec.errors import PackageError

MAX_SCHEMA_SIZE: Final = 64 * 1024


def check_schema(schema: dict[str, Any], *, where: str) -> None:
    """Refuse a schema that is too large, invalid or not of an object.

    Raises:
        PackageError: ``schema.*``; *where* names the key.
    """
    try:
        size = len(json_dumps(schema).encode())
    except JsonError as error:
        raise PackageError("schema.invalid", f"{where}: {error.message}", "write plain JSON") from None
    if size > MAX_SCHEMA_SIZE:
        raise PackageError(
            "schema.too_large", f"{where} has {size} bytes", f"at most {MAX_SCHEMA_SIZE} are accepted"
        )
    if schema.get("type") != "object":
        raise PackageError(
            "schema.not_object", f"{where} is no schema of an object", 'its root has type = "object"'
        )
    try:
        jsonschema_rs.meta.validate(schema)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise PackageError(
            "schema.invalid", f"{where} is no JSON Schema: {error}", "see json-schema.org"
        ) from None

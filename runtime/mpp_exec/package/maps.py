"""Permissions, limits and privacy as CBOR maps, both ways: in a manifest and in a grant they are the same."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mpp_exec.package.fields import Fields, exact
from mpp_exec.permissions import Limits, Permissions, Privacy
from mpp_exec.vocabulary import parse_host_port


def permissions_value(permissions: Permissions) -> dict[str, Any]:
    """Return *permissions* as a CBOR map."""
    return {
        "network": [str(destination) for destination in permissions.network],
        "environment": list(permissions.environment),
        "subprocess": list(permissions.subprocess),
        "storage": permissions.storage,
        "filesystem": {"read": list(permissions.read), "write": list(permissions.write)},
    }


def default_of(value: Any) -> Any:
    """Return the default of a setting as it is kept: a list as a tuple. Whether it fits is for the rules."""
    return tuple(value) if type(value) is list else value


def permissions_from(value: Any) -> Permissions:
    """Read :func:`permissions_value` back. Raises FieldError."""
    table = Fields(value, "permissions", ("network", "environment", "subprocess", "storage", "filesystem"))
    paths = Fields(table.take("filesystem", dict), "permissions.filesystem", ("read", "write"))
    return Permissions(
        network=tuple(
            exact(f"permissions.network[{index}]", parse_host_port, text)
            for index, text in enumerate(table.texts("network"))
        ),
        environment=table.texts("environment"),
        subprocess=table.texts("subprocess"),
        storage=table.integer("storage"),
        read=paths.texts("read"),
        write=paths.texts("write"),
    )


def limits_value(limits: Limits) -> dict[str, int]:
    """Return *limits* as a CBOR map."""
    return {each.name: getattr(limits, each.name) for each in fields(Limits)}


def limits_from(value: Any) -> Limits:
    """Read :func:`limits_value` back. Raises FieldError."""
    names = tuple(each.name for each in fields(Limits))
    table = Fields(value, "limits", names)
    return Limits(**{name: table.integer(name) for name in names})


def privacy_value(privacy: Privacy) -> dict[str, Any]:
    """Return *privacy* as a CBOR map."""
    return {"allow": list(privacy.allow), "receive": list(privacy.receive)}


def privacy_from(value: Any) -> Privacy:
    """Read :func:`privacy_value` back. Raises FieldError."""
    table = Fields(value, "privacy", ("allow", "receive"))
    return Privacy(allow=table.texts("allow"), receive=table.texts("receive"))

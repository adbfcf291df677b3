"""Who we are at a registry: what other tools of the same user have stored for it.

Nothing is stored here and nothing is asked for: a login is made with any tool that writes the common file
(``docker login``, ``podman login``, ``oras login``). Its form: the keys ``auths``, ``credHelpers`` and
``credsStore`` of Docker's ``config.json``, and of containers-auth.json(5); what a helper program says is
JSON with ``Username`` and ``Secret`` (docker-credential-helpers).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mpp_exec.errors import UsageError
from mpp_exec.patterns import lazily

_SIZE_MOST: Final = 1 << 20  # bytes of a file, or of what a helper says
_PATIENCE_S: Final = 30  # for a helper, which may ask its person for a passphrase
_HELPER: Final = lazily(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NOT_FOUND: Final = "credentials not found"
"""With what a helper says that it has none for a host."""
_IS_TOKEN: Final = "<token>"  # noqa: S105 -- in the place of a user name: the secret is no password


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password, or an identity token that stands for both. Never shown."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def credentials_for(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """Return what is stored for the registry *host*, None where nothing is.

    Raises:
        UsageError: ``registry.credentials``: a file cannot be read, or a helper failed.
    """
    for path in _files(environ):
        found = _stored(path, host, environ)
        if found is not None:
            return found
    return None


def _files(environ: Mapping[str, str]) -> list[Path]:
    """Return where credentials may be, the first that is set alone where it was named."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    if folder := environ.get("DOCKER_CONFIG"):
        return [Path(folder, "config.json")]
    files = []
    if folder := environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(folder, "containers", "auth.json"))
    if home := environ.get("HOME"):
        files.append(Path(home, ".docker", "config.json"))
    return files


def _stored(path: Path, host: str, environ: Mapping[str, str]) -> Credentials | None:
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_MOST)  # what is larger is cut off, and no JSON
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from None
    try:
        config = json.loads(data)
        auths, helpers = _table(config, "auths"), _table(config, "credHelpers")
        names = (host, f"https://{host}")
        helper = next((helpers[name] for name in names if name in helpers), config.get("credsStore"))
        entry = next((auths[name] for name in names if name in auths), None)
        if isinstance(helper, str) and helper:
            return _asked(helper, host if entry is None else _key(auths, names), environ)
        return None if entry is None else _entry(entry)
    except (ValueError, RecursionError, binascii.Error) as error:
        raise _unusable(path, str(error)) from None


def _key(auths: dict[str, Any], names: tuple[str, ...]) -> str:
    return next(name for name in names if name in auths)


def _table(config: object, key: str) -> dict[str, Any]:
    value = config.get(key, {}) if isinstance(config, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not a table")  # noqa: TRY004 -- caught with the other faults of the file
    return value


def _entry(entry: object) -> Credentials | None:
    if not isinstance(entry, dict):
        raise ValueError("an entry of auths is not a table")  # noqa: TRY004 -- as above
    if isinstance(token := entry.get("identitytoken"), str) and token:
        return Credentials(identity_token=token)
    auth = entry.get("auth")
    if not isinstance(auth, str) or not auth:
        return None
    user, colon, password = base64.b64decode(auth, validate=True).decode("utf-8").partition(":")
    if not colon:
        raise ValueError("an auth is not a user and password")
    return Credentials(user, password.rstrip("\0"))


def _asked(helper: str, server: str, environ: Mapping[str, str]) -> Credentials | None:
    """Ask a helper program of the user's for what it has for *server*."""
    program = f"docker-credential-{helper}"
    if _HELPER.fullmatch(helper) is None:
        raise ValueError(f"{helper} is not the name of a credential helper")
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it took more than {_PATIENCE_S} s"
        raise UsageError(
            "registry.credentials", f"{program} cannot be asked: {reason}", "log in again, or mend its entry"
        ) from None
    if done.returncode != 0:
        if _NOT_FOUND in done.stdout[:_SIZE_MOST].decode("utf-8", "replace"):
            return None
        raise UsageError(
            "registry.credentials",
            f"{program} has no answer (exit {done.returncode})",
            f"echo {server} | {program} get says why",
        )
    said = json.loads(done.stdout[:_SIZE_MOST])
    user, secret = (said.get("Username"), said.get("Secret")) if isinstance(said, dict) else (None, None)
    if not isinstance(user, str) or not isinstance(secret, str):
        raise ValueError(f"{program} said neither a user nor a secret")  # noqa: TRY004 -- as above
    return Credentials(identity_token=secret) if user == _IS_TOKEN else Credentials(user, secret)


def _unusable(path: Path, reason: str) -> UsageError:
    return UsageError(
        "registry.credentials",
        f"the credentials in {path} cannot be used: {reason}",
        "mend the file, or name another one in REGISTRY_AUTH_FILE",
    )

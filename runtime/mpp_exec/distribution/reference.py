"""Names of packages in a registry: ``oci://host[:port]/repository:tag`` or ``…@sha256:…``.

The grammar of repository, tag and digest is the OCI distribution specification's (1.1, "Pulling manifests").
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from mpp_exec.errors import UsageError
from mpp_exec.patterns import lazily

SCHEME: Final = "oci://"
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = lazily(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?", re.ASCII)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = lazily(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = lazily(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST: Final = lazily(r"sha256:[0-9a-f]{64}", re.ASCII)
_REPOSITORY_MOST: Final = 255  # characters, as most registries have it
_HINT: Final = "write it as oci://host[:port]/repository:tag, or …@sha256:… for exactly one version"


@dataclass(frozen=True, slots=True)
class Reference:
    """One package in a registry.

    Attributes:
        host: of the registry, with its port where that is not the usual one, in lower case.
        repository: its path there.
        tag: "" where there is a digest.
        digest: of the manifest, ``sha256:`` and 64 hexadecimal digits; "" where there is a tag.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        name = f"{SCHEME}{self.host}/{self.repository}"
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag}"

    @property
    def named(self) -> str:
        """What the registry is asked for: the digest or the tag."""
        return self.digest or self.tag

    def pinned(self, digest: str) -> Reference:
        """Return the name of the version with *digest*, whatever the tag will mean later."""
        return Reference(self.host, self.repository, digest=digest)


def is_reference(word: str) -> bool:
    """Whether *word* is meant as a name in a registry, not as a path."""
    return word[: len(SCHEME)].lower() == SCHEME


def parse(word: str) -> Reference:
    """Read a reference.

    Raises:
        UsageError: ``registry.reference``.
    """
    rest = word[len(SCHEME) :] if is_reference(word) else ""
    host, _, path = rest.partition("/")
    host = host.lower()
    if "@" in host or "/" in rest.partition("@")[2]:  # not shown: messages end up in logs
        raise UsageError(
            "registry.reference",
            "a name in a registry holds no user and no password",
            "log in with docker login, podman login or oras login, and leave out what stands before the @",
        )
    repository, at, digest = path.partition("@")
    tag = ""
    if not at:
        repository, _, tag = path.partition(":")
    fits = _HOST.fullmatch(host) and _is_port(host) and _REPOSITORY.fullmatch(repository)
    if not fits or len(repository) > _REPOSITORY_MOST:
        raise UsageError("registry.reference", f"{word} names nothing in a registry", _HINT)
    if at and _DIGEST.fullmatch(digest) is None:
        raise UsageError("registry.reference", f"{word} has no digest behind its @", _HINT)
    if not at and _TAG.fullmatch(tag) is None:
        raise UsageError("registry.reference", f"{word} says no version: a tag or a digest is missing", _HINT)
    return Reference(host, repository, tag, digest)


def is_loopback(host: str) -> bool:
    """Whether *host*, with its port or without, is this machine by its very name."""
    name = without_port(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def without_port(host: str) -> str:
    """Return *host* less its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (not host.startswith("[") or name.endswith("]")) else host


def _is_port(host: str) -> bool:
    name = without_port(host)
    return name == host or 0 < int(host[len(name) + 1 :]) <= 0xFFFF

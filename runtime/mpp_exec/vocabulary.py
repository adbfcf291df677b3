"""The words in which permissions and limits are written: sizes, times, destinations, names, paths.

Each word has one canonical spelling. ``parse_*`` takes what a person may write and returns the
value; ``format_*`` and ``str()`` give the canonical spelling back, and parsing that is the identity.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from mpp_exec.characters import forbidden_character
from mpp_exec.patterns import lazily


class VocabularyError(ValueError):
    """A word that cannot be parsed. Callers add where it stood and whose mistake it is."""

    def __init__(self, message: str, hint: str = "", *, reason: str = "bad_value") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint
        self.reason = reason


def refuse_forbidden(text: str, what: str = "") -> None:
    """Refuse *text* if it holds a :func:`forbidden_character`; the error names the text as *what*."""
    if found := forbidden_character(text):
        raise VocabularyError(
            f"{what} holds the character {found}".lstrip(),
            "leave it out: whoever approves would not see it, or would see something else",
            reason="forbidden_character",
        )


_SIZE_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DURATION_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_QUANTITY: Final = lazily(r"(0|[1-9][0-9]{0,14}) ?([A-Za-z]{1,8})", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes that ``16MiB`` and the like stand for. Units: B, KiB, MiB, GiB, TiB."""
    return _parse_quantity(
        text, _SIZE_UNITS, "size", "write a whole number and B, KiB, MiB, GiB or TiB, as in 16MiB"
    )


def format_size(size: int) -> str:
    """Return *size* in bytes with the largest unit that leaves a whole number."""
    return _format_quantity(size, _SIZE_UNITS)


def parse_duration(text: str) -> int:
    """Return the milliseconds that ``10s``, ``250ms``, ``2m`` or ``1h`` stand for."""
    return _parse_quantity(text, _DURATION_UNITS, "time", "write a whole number and ms, s, m or h, as in 10s")


def format_duration(milliseconds: int) -> str:
    """Return a time with the largest unit that leaves a whole number."""
    return _format_quantity(milliseconds, _DURATION_UNITS)


def _parse_quantity(text: str, units: dict[str, int], what: str, hint: str) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None or match.group(2) not in units:
        raise VocabularyError(f"{text!r} is not a {what}", hint)
    return int(match.group(1)) * units[match.group(2)]


def _format_quantity(quantity: int, units: dict[str, int]) -> str:
    if quantity:
        for unit, factor in reversed(units.items()):
            if quantity % factor == 0:
                return f"{quantity // factor}{unit}"
    return f"0{next(iter(units))}"


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """One network destination: host and port. The name decides, never the address it resolves to.

    ``host`` is one of: a lower-case A-label name; ``*.`` followed by such a name (any host below that
    name, at any depth, but not the name itself); an IPv4 address; an IPv6 address without brackets in
    RFC 5952 form.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def covers(self, other: HostPort) -> bool:
        """Return whether permission to reach this destination includes *other*."""
        if self.port != other.port:
            return False
        if self.host == other.host:
            return True
        # A suffix that begins with a dot never matches an address: no top-level domain is a number.
        return self.host.startswith("*.") and other.host.removeprefix("*").endswith(self.host[1:])


_PORT: Final = lazily(r"[1-9][0-9]{0,4}", re.ASCII)
_LABEL: Final = lazily(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ENDS_IN_NUMBER: Final = lazily(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)", re.ASCII)
_OTHER_DOTS: Final = lazily("[\u3002\uff0e\uff61]")
_DESTINATION_HINT: Final = "write a host name and a port, as in api.example.com:443"


def parse_host_port(text: str) -> HostPort:
    """Parse ``host:port``; case, one trailing dot, internationalised labels and IPv6 forms are canonicalised.

    A wildcard is allowed only as a leading ``*.`` before at least two labels. Address forms that resolvers
    interpret differently (``0x7f.1``, ``2130706433``, ``::ffff:127.0.0.1``) are refused.
    """
    refuse_forbidden(text, "a destination")
    if "//" in text or "/" in text:
        raise VocabularyError(f"{text!r} is a URL or path, not host:port", _DESTINATION_HINT)
    host, colon, port_text = text.rpartition(":")
    if not colon or not host:
        raise VocabularyError(f"{text!r} has no port", _DESTINATION_HINT)
    if _PORT.fullmatch(port_text) is None or int(port_text) > 65_535:
        raise VocabularyError(f"{port_text!r} is not a port", "a port is a number from 1 to 65535")
    return HostPort(_parse_host(host), int(port_text))


def _parse_host(text: str) -> str:
    if text.startswith("["):
        if not text.endswith("]"):
            raise VocabularyError(
                f"{text!r} has no closing bracket", "write an IPv6 address as in [2001:db8::1]:443"
            )
        return _parse_ipv6(text[1:-1])
    if ":" in text:
        raise VocabularyError(
            f"{text!r} is ambiguous", "put an IPv6 address into brackets, as in [2001:db8::1]:443"
        )
    if text == "*":
        raise VocabularyError(
            "any host cannot be asked for", "name the hosts, or a domain as in *.example.com:443"
        )
    wildcard = text.startswith("*.")
    name = parse_hostname(text[2:] if wildcard else text)
    if not wildcard:
        return name
    if "." not in name or _ENDS_IN_NUMBER.fullmatch(name):
        raise VocabularyError(
            f"{text!r} is too wide", "a wildcard stands over at least two labels: *.example.com"
        )
    return f"*.{name}"


def _parse_ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise VocabularyError(
            f"{text!r} is not an IPv6 address", "write it as in [2001:db8::1]:443"
        ) from None
    if address.scope_id is not None:
        raise VocabularyError(f"{text!r} names an interface", "leave out what follows '%'")
    if address.ipv4_mapped is not None:
        raise VocabularyError(
            f"{text!r} is an IPv4 address in disguise", f"write {address.ipv4_mapped} instead"
        )
    return address.compressed


def parse_hostname(text: str) -> str:
    """Return *text* as a lower-case A-label host name, or as an IPv4 address in dotted form."""
    refuse_forbidden(text, "a host name")
    if _OTHER_DOTS.search(text):
        raise VocabularyError(f"{text!r} has a dot that is not an ASCII dot", "separate the labels with '.'")
    name = text.removesuffix(".")
    if _ENDS_IN_NUMBER.fullmatch(name):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise VocabularyError(
                f"{text!r} is an address that programs read differently",
                "write all four numbers, as in 127.0.0.1",
            ) from None
    labels = [_parse_label(label, text) for label in name.split(".")]
    if len(canonical := ".".join(labels)) > 253:
        raise VocabularyError(f"{text!r} is longer than 253 characters", "no host can have that name")
    return canonical


def _parse_label(label: str, host: str) -> str:
    canonical = label.lower() if label.isascii() else _to_a_label(unicodedata.normalize("NFC", label), host)
    if "*" in canonical:
        raise VocabularyError(
            f"{host!r} has a wildcard inside", "a wildcard stands only in front: *.example.com:443"
        )
    if _LABEL.fullmatch(canonical) is None:
        raise VocabularyError(
            f"{host!r} is not a host name",
            "labels are 1 to 63 letters, digits and inner hyphens, separated by dots",
        )
    return canonical


def _to_a_label(label: str, host: str) -> str:
    """Convert one internationalised label, refusing those on which IDNA 2003 and 2008 disagree."""
    from encodings import idna  # noqa: PLC0415 -- brings stringprep and its tables, for a rare case

    try:
        canonical = idna.ToASCII(label).decode().lower()
        same = idna.ToUnicode(canonical) == label.lower()
    except UnicodeError:
        same = False
        canonical = ""
    if not same:
        raise VocabularyError(f"{host!r} has no single ASCII form", "write its A-label form, xn--…, yourself")
    return canonical


_ENV_NAME: Final = lazily(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_PROGRAM: Final = lazily(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}", re.ASCII)
_KIND: Final = lazily(r"[a-z][a-z0-9_]{0,31}", re.ASCII)

# mpp-exec sets these for every call, or the C library reads them before any code of the tool runs
# (glibc sysdeps/generic/unsecvars.h). Nobody else may set them.
_RESERVED_ENV: Final = frozenset(
    {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "GCONV_PATH",
        "GETCONF_DIR",
        "GLIBC_TUNABLES",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "NIS_PATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "TZDIR",
    }
)
_RESERVED_ENV_PREFIXES: Final = ("MPP_", "LD_", "MALLOC_")
# These name code that an interpreter loads or runs. A signed constant may set them (it names code of the
# package); a value from the host or from the user must not.
_STEERING_ENV: Final = frozenset(
    {
        "BASH_ENV",
        "ENV",
        "IFS",
        "SHELLOPTS",
        "BASHOPTS",
        "PS4",
        "CDPATH",
        "GLOBIGNORE",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PHPRC",
        "PHP_INI_SCAN_DIR",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "_JAVA_OPTIONS",
        "CLASSPATH",
        "OPENSSL_CONF",
        "OPENSSL_ENGINES",
        "OPENSSL_MODULES",
    }
)
_STEERING_ENV_PREFIXES: Final = (
    "PYTHON",
    "NPM_CONFIG_",
    "PERL",
    "RUBY",
    "GEM_",
    "LUA_",
    "DENO_",
    "BUN_",
    "BASH_FUNC_",
)


def parse_env_name(text: str, *, constant: bool = False) -> str:
    """Return *text* if a tool may be given an environment variable of that name.

    Variables that mpp-exec sets itself or that the loader obeys are always refused. Variables that name
    code for an interpreter are refused unless the value is a *constant* of the signed manifest.
    """
    if _ENV_NAME.fullmatch(text) is None:
        raise VocabularyError(
            f"{text!r} is not the name of an environment variable", "use letters, digits and underscores"
        )
    upper = text.upper()
    if upper in _RESERVED_ENV or upper.startswith(_RESERVED_ENV_PREFIXES):
        raise VocabularyError(
            f"the environment variable {text} belongs to mpp-exec or the loader", "use another name"
        )
    if not constant and (upper in _STEERING_ENV or upper.startswith(_STEERING_ENV_PREFIXES)):
        raise VocabularyError(
            f"the environment variable {text} decides what code an interpreter runs",
            "only a constant in [runtime].env may set it, and not for kind python",
        )
    return text


def parse_program(text: str) -> str:
    """Return *text* if it is the bare name of a host program, as found on the host's ``PATH``."""
    if _PROGRAM.fullmatch(text) is None:
        raise VocabularyError(
            f"{text!r} is not the name of a program", "give its bare name, as in git, without a path"
        )
    return text


def parse_kind(text: str) -> str:
    """Return *text* if it can name a kind of sensitive data; an organisation may add its own kinds."""
    if _KIND.fullmatch(text) is None:
        raise VocabularyError(
            f"{text!r} is not a kind of sensitive data", "kinds are lower-case words such as email"
        )
    return text


CONFIG_KEY: Final = r"[A-Za-z][A-Za-z0-9_-]{0,62}"
"""Regular expression of a ``user_config`` key."""

_PATH_PLACEHOLDER: Final = lazily(r"\$\{user_config\.(" + CONFIG_KEY + r")\}", re.ASCII)
_MAX_PATH: Final = 4_095  # linux/limits.h PATH_MAX, without the terminating NUL


def parse_path(text: str, *, placeholder: bool = False) -> str:
    """Return the normalised form of an absolute path: no ``.``, no empty component, no slash at the end.

    With *placeholder*, the path may begin with ``${user_config.KEY}`` instead of ``/``. Nothing is looked
    up on disk, so ``..`` cannot be resolved and is refused.
    """
    refuse_forbidden(text, "a path")
    if len(text.encode()) > _MAX_PATH:
        raise VocabularyError("a path is longer than 4095 bytes", "no file can have that path")
    match = _PATH_PLACEHOLDER.match(text) if placeholder else None
    head = match.group() if match else ""
    rest = text[len(head) :]
    if rest.startswith("~") and not head:
        raise VocabularyError(
            f"{text!r} depends on who runs it", "let the user choose: a user_config of type directory"
        )
    if (not head and not rest.startswith("/")) or (head and rest and not rest.startswith("/")):
        hint = "begin with / or with ${user_config.KEY}" if placeholder else "begin with /"
        raise VocabularyError(f"{text!r} is not an absolute path", hint)
    if "${" in rest:
        raise VocabularyError(
            f"{text!r} has a placeholder inside", "${user_config.KEY} stands only at the beginning"
        )
    components = [component for component in rest.split("/") if component not in ("", ".")]
    if ".." in components:
        raise VocabularyError(f"{text!r} goes upwards with '..'", "write the path that is meant")
    normal = "".join(f"/{component}" for component in components)
    return f"{head}{normal}" if head else normal or "/"


def path_placeholder(path: str) -> str:
    """Return the ``user_config`` key that *path* begins with, or ``""``."""
    match = _PATH_PLACEHOLDER.match(path)
    return match.group(1) if match else ""

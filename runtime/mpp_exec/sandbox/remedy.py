"""What to change on a host that gives no namespaces, depending on where building a sandbox failed.

Settings are read only to find out which of them is the cause. That namespaces are missing was found out by
trying.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mpp_exec.patterns import lazily
from mpp_exec.sandbox.spaces import Missing

_CONTAINER = (
    "in a container, allow user namespaces and mounts: docker run --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined --security-opt systempaths=unconfined …"
)
_APPARMOR = (
    "AppArmor refuses what takes a capability in a user namespace (Ubuntu 23.10 and later): "
    "mpp-exec doctor prints the profile that allows it, for /etc/apparmor.d/mpp-exec"
)
_CONFINED = (
    "AppArmor confines this process by its profile {name}, which refuses user namespaces or what takes a "
    "capability in one: mpp-exec doctor prints the profile that allows both, for /etc/apparmor.d/mpp-exec; "
    "{name} must allow programs a transition to it (pix)"
)
_LABELS = ("/proc/thread-self/attr/apparmor/current", "/proc/thread-self/attr/current")
_SETTINGS = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=10000"),
}
_RESTRICTION = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_PATTERN = lazily(r'[\\"*?\[\]{}^@,]')
_OR_BARE = "or accept the risk and do without namespaces: mpp-exec approve NAME --degrade namespaces"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A line for people, and the AppArmor profile to install, "" where it is none of AppArmor's doing."""

    hint: str
    profile: str = ""


def remedy(missing: Missing) -> Remedy:
    """Return what to change so that sandboxes can be built with namespaces."""
    for path, (bad, line) in _SETTINGS.items():
        if _setting(path) == bad:
            return Remedy(f"{line}; {_OR_BARE}")
    if missing.error in (errno.ENOSPC, errno.EUSERS):
        return Remedy(f"all namespaces are used up: sysctl -w user.max_user_namespaces=10000; {_OR_BARE}")
    if name := _confining_profile():
        # A seccomp profile of a container, which is confined as well, says EPERM; AppArmor alone says EACCES.
        more = () if missing.error == errno.EACCES else (_CONTAINER,)
        return Remedy("; ".join((_CONFINED.format(name=name), *more, _OR_BARE)), apparmor_profile())
    if missing.step != "clone" or _setting(_RESTRICTION) == "1":
        return Remedy(f"{_APPARMOR}; {_CONTAINER}; {_OR_BARE}", apparmor_profile())
    return Remedy(f"{_CONTAINER}; {_OR_BARE}")


def apparmor_profile() -> str:
    """Return the profile that Ubuntu needs, for the interpreter of this process and the init program."""
    init = resources.files("mpp_exec.sandbox").joinpath("mpp-init")
    return f"""\
abi <abi/4.0>,
include <tunables/global>

# Every program of this interpreter may make user namespaces then; one of its own for mpp-exec is narrower.
profile mpp-exec "{_literal(sys.executable)}" flags=(unconfined) {{
  userns,
  include if exists <local/mpp-exec>
}}

profile mpp-exec-init "{_literal(str(init))}" flags=(unconfined) {{
  userns,
}}
"""


def _literal(program: str) -> str:
    """Return the path of *program* between quotes, where some characters are patterns (apparmor.d(5))."""
    return _PATTERN.sub(r"\\\g<0>", os.path.realpath(program))


def _confining_profile() -> str:
    """Return the AppArmor profile that refuses things to this process, "" for none.

    A label is "NAME (MODE)" or "unconfined" (aa_getcon(2)); that of another security module has no mode.
    """
    label = next(filter(None, map(_setting, _LABELS)), "")
    name, bracket, mode = label.rpartition(" (")
    return name if bracket and mode not in ("complain)", "unconfined)") else ""


def _setting(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return ""

"""What a traced call is watched for: which system calls, and which of their arguments are noted.

Stated without any BPF, as ``profiles`` is. A watched call that the tool's profile allows is noted and
continued. Mounts, Landlock and limits decide about it as they do without tracing.

Of two programs the kernel takes the stricter answer, and refusing (ERRNO) is stricter than asking
(USER_NOTIF). So the watcher would never hear of a call that the ordinary program refuses. For the few calls
that a permission could allow, a traced tool's program therefore leaves the refusal to the watcher. The
watcher refuses them by their number, whatever the tool's memory says. If nobody watches any more, the kernel
refuses them. :func:`ordinary` is that rule. ``seccomp.prove_watch`` compares it with the profile: a traced
tool may do what it may do untraced.

Source: seccomp_unotify(2), Linux ``kernel/seccomp.c`` (``seccomp_run_filters``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mpp_exec.sandbox.allow import Allow, Arg
from mpp_exec.sandbox.profiles import CLONE_FILES, CLONE_NAMESPACES, CLONE_PTRACE_FLAGS, CLONE_THREAD, THREAD


@dataclass(frozen=True, slots=True)
class Watched:
    """How one system call is noted.

    Attributes:
        name: the call; only calls with *args* are meant.
        does: a word of ``access.Does``, or ``open``, which its flags decide.
        path: index of the argument that points to a path, -1 for none.
        folder: index of the descriptor that a relative path starts from, -1 for the working folder.
        word: index of an argument that is noted as a number, -1 for none.
        refuse: whether the watcher refuses it; it is in no ordinary program then.
    """

    name: str
    does: str
    path: int = -1
    folder: int = -1
    word: int = -1
    args: tuple[Arg, ...] = ()
    refuse: bool = False


def _at_path(does: str, names: str) -> tuple[Watched, ...]:
    return tuple(Watched(name, does, path=0) for name in names.split())


def _below_folder(does: str, names: str) -> tuple[Watched, ...]:
    return tuple(Watched(name, does, path=1, folder=0) for name in names.split())


_PATHS: tuple[Watched, ...] = (
    Watched("open", "open", path=0, word=1),
    Watched("openat", "open", path=1, folder=0, word=2),
    *_at_path("make", "creat mkdir"),
    *_below_folder("make", "mkdirat"),
    *_at_path("look", "stat lstat access readlink statfs chdir"),
    *_below_folder("look", "newfstatat statx faccessat faccessat2 readlinkat"),
    *_at_path("change", "truncate chmod utime utimes"),
    *_below_folder("change", "fchmodat utimensat futimesat"),
    *_at_path("make", "rmdir unlink rename link"),
    *_below_folder("make", "unlinkat renameat renameat2 linkat"),
    *(Watched(name, "make", path=1) for name in ("rename", "link", "symlink")),
    *(Watched(name, "make", path=3, folder=2) for name in ("renameat", "renameat2", "linkat")),
    Watched("symlinkat", "make", path=2, folder=1),
    Watched("execve", "start", path=0),
)
# Every permission that a refused call could be missing: network, and subprocess.
_NOT_A_THREAD = Arg(0, (0,), CLONE_THREAD)
_REFUSED: tuple[Watched, ...] = (
    Watched("socket", "socket", word=0, refuse=True),
    Watched("fork", "fork", refuse=True),
    Watched("vfork", "fork", refuse=True),
    Watched("clone", "fork", args=(_NOT_A_THREAD,), refuse=True),
)
_ANY_CLONE = Allow(
    "clone",
    "threads; what is no thread the watcher refuses",
    (Arg(0, (0, CLONE_FILES, THREAD), THREAD | CLONE_NAMESPACES | CLONE_PTRACE_FLAGS),),
)


@cache
def watched_calls(profile: tuple[Allow, ...]) -> tuple[Watched, ...]:
    """Return what is watched of a tool of *profile*: paths of calls it may make, and calls it may not."""
    allowed = {allow.name: allow for allow in profile}
    paths = tuple(row for row in _PATHS if row.name in allowed)
    return (*paths, *(row for row in _REFUSED if _is_refused(row, allowed)))


def _is_refused(row: Watched, allowed: dict[str, Allow]) -> bool:
    if row.name != "clone":
        return row.name not in allowed
    clone = allowed.get("clone")  # refused are processes, where the profile wants the thread flag set
    return clone is None or any(0 not in arg.values for arg in clone.args)


@cache
def told_profile(profile: tuple[Allow, ...]) -> tuple[Allow, ...]:
    """Return *profile* with those calls added that the watcher refuses in its place."""
    refused = {row.name for row in watched_calls(profile) if row.refuse}
    threads = any(allow.name == "clone" for allow in profile)
    kept = tuple(allow for allow in profile if allow.name not in refused)
    added = tuple(
        _ANY_CLONE if name == "clone" else Allow(name, "the watcher of a traced call refuses it")
        for name in sorted(refused)
        if name != "clone" or threads
    )
    return (*kept, *added)


def asks(rows: tuple[Watched, ...], name: str | None, arguments: tuple[int, ...]) -> bool:
    """Tell whether the kernel asks the watcher about the call *name* with *arguments*."""
    return any(row.name == name and all(arg.holds(arguments) for arg in row.args) for row in rows)


def ordinary(
    rows: tuple[Watched, ...], told: tuple[Allow, ...], name: str | None, arguments: tuple[int, ...]
) -> bool:
    """Tell whether a traced tool may make the call: its program lets it through, and the watcher, too."""
    allow = next((each for each in told if each.name == name), None)
    passed = allow is not None and allow.holds(arguments)
    return passed and not asks(tuple(row for row in rows if row.refuse), name, arguments)

"""Attacks on files, and on information about the host, as expressions that a Python tool evaluates."""

from __future__ import annotations

from dataclasses import dataclass

TOOL = """
import ctypes, fcntl, mmap, os, socket, stat
def exchange(one, other):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, one.encode(), -100, other.encode(), 2):
        raise OSError(ctypes.get_errno(), "")
def read(path, **how):
    descriptor = os.open(path, os.O_RDONLY, **how)
    return os.read(descriptor, 100).decode()
def through(*links):
    for link, target in links:
        os.symlink(target, link)
    return read(links[-1][0])
def run(granted, secret, code):
    beside = os.path.dirname(secret)
    try:
        return eval(code)
    except OSError as error:
        return error.errno
"""


@dataclass(frozen=True)
class FileAttack:
    """An expression over ``granted`` (a writable folder), ``secret`` (a file beside it) and ``beside``.

    ``meta``: Landlock does not control it, so the mount is the only defence.
    """

    name: str
    code: str
    meta: bool = False


_F = FileAttack
READING = (
    _F("by its path", "read(secret)"),
    _F("by going up", "read(granted + '/../secret')"),
    _F("by going up from a working directory", "[os.chdir(granted), read('../secret')][1]"),
    _F("by going up from a descriptor", "read('../secret', dir_fd=os.open(granted, os.O_PATH))"),
    _F("by a link in scratch", "through(('/tmp/link', secret))"),
    _F("by a link in the grant", "through((granted + '/link', '../secret'))"),
    _F("by a chain of links", "through(('/tmp/a', beside), ('/tmp/b', '/tmp/a/secret'))"),
    _F("by a hard link into the grant", "os.link(secret, granted + '/x') or read(granted + '/x')"),
    _F("by moving it into the grant", "os.rename(secret, granted + '/x') or read(granted + '/x')"),
    _F("by moving it to scratch", "os.rename(secret, '/tmp/x') or read('/tmp/x')"),
    _F("by mapping it", "mmap.mmap(os.open(secret, os.O_RDWR), 0)[:6].decode()"),
    _F("by listing the folder", "'secret' in os.listdir(beside) or 2"),
    _F("by a descriptor of the folder", "read('secret', dir_fd=os.open(beside, os.O_PATH))"),
)
CHANGING = (
    _F("by overwriting it", "os.write(os.open(secret, os.O_WRONLY), b'x') * 0"),
    _F("by truncating it", "os.truncate(secret, 0)"),
    _F("by removing it", "os.unlink(secret)"),
    _F("by moving a file onto it", "os.rename(granted + '/mine', secret)"),
    _F("by replacing it through the grant", "os.replace(granted + '/mine', granted + '/../secret')"),
    _F("by linking it elsewhere", "os.link(secret, beside + '/x')"),
    _F("by making a file", "os.open(beside + '/x', os.O_CREAT | os.O_WRONLY) * 0"),
    _F("by making a folder", "os.mkdir(beside + '/x')"),
    _F("by making a link", "os.symlink('/', beside + '/x')"),
    _F("by moving the granted folder", "os.rename(granted, beside + '/x')"),
    _F("by removing the folder", "os.rmdir(beside + '/empty')"),
)
LOOKING = (
    _F("by its facts", "os.stat(secret).st_size", meta=True),
    _F("by its existence", "os.access(secret, os.F_OK)", meta=True),
    _F("by its attributes", "len(os.listxattr(secret)) + 1", meta=True),
    _F("by going there", "os.chdir(beside) or 1", meta=True),
    _F("by a path descriptor", "os.open(secret, os.O_PATH) and 1", meta=True),
    _F("by its mode", "os.chmod(secret, 0o600) or 1", meta=True),
    _F("by its times", "os.utime(secret, (1, 1)) or 1", meta=True),
)

STEERING = (
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/tasks",
    "/sys/kernel/uevent_helper",
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
)
"""Known ways out of containers."""

BY_NUMBER = {
    "signal 0": "os.kill(pid, 0)",
    "priority": "os.getpriority(os.PRIO_PROCESS, pid)",
    "priority of its group": "os.getpriority(os.PRIO_PGRP, pid)",
    "processors": "sorted(os.sched_getaffinity(pid))",
    "scheduler": "os.sched_getscheduler(pid)",
    "session": "os.getsid(pid)",
    "process group": "os.getpgid(pid)",
    "child": "os.waitpid(pid, os.WNOHANG)",
}
"""What may tell of a process of the host's, by its number."""

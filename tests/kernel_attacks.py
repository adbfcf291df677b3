"""System calls that a tool would make to attack its kernel, each with the result when the filter is removed.

One row is one attack: a system call, under the name of what it reaches for. ``seen`` are the errors that the
kernel returns once this one call is allowed: 0 if it succeeds; EPERM if a missing capability is the defence
behind the filter; otherwise an error that a kernel returns only after it has looked at the arguments.
Arguments that could do damage are replaced with harmless ones: a bad pointer, a descriptor that is not open,
a size of zero.
"""

from __future__ import annotations

from dataclasses import dataclass

Call = tuple[object, ...]

EPERM, ESRCH, E2BIG, EBADF, EACCES, EFAULT, EINVAL = 1, 3, 7, 9, 13, 14, 22
NO_FILE = 99
BAD = 1
"""A pointer that cannot be read: EFAULT instead of ENOSYS says that the kernel tried."""
HERE = -100  # AT_FDCWD
NEW = {
    "time": 0x80,
    "mount": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}
SESSION = -3  # KEY_SPEC_SESSION_KEYRING


# The same calls from Python: `b` is a page of zeros, and `s:TEXT` is a text, as in the probe's sweep.
PYTHON_SWEEP = """
import ctypes, os
def run(calls):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    page = ctypes.create_string_buffer(1 << 16)
    seen, own = [], os.getpid()
    for call in calls:
        words = []
        for word in call:
            if word == "b":
                words.append(page)
            elif isinstance(word, str):
                words.append(word[2:].encode())
            else:
                words.append(ctypes.c_void_p(word & (1 << 64) - 1))
        ctypes.set_errno(0)
        got = libc.syscall(*words)
        if os.getpid() != own:
            os._exit(0)
        seen.append(ctypes.get_errno() if got == -1 else 0)
    return seen
"""


@dataclass(frozen=True)
class KernelAttack:
    """One attack. ``optional``: not every kernel has the call, and a kernel without the call proves nothing.

    ``starts``: ``subprocess`` grants the call, and it is not an attack if that was granted.
    """

    name: str
    call: Call
    seen: tuple[int, ...]
    optional: bool = False
    starts: bool = False


_Row = KernelAttack

MOUNTS = (
    _Row("mount a file system", ("mount", "s:none", "s:/tmp", "s:tmpfs", 0, 0), (EPERM,)),
    _Row("bind a folder elsewhere", ("mount", "s:/app", "s:/tmp", "s:", 4096, 0), (EPERM,)),
    _Row("remount the package writable", ("mount", "s:none", "s:/app", "s:", 32 | 4096, 0), (EPERM,)),
    _Row("move a mount", ("mount", "s:/app", "s:/tmp", "s:", 8192, 0), (EPERM,)),
    _Row("share mounts with the host", ("mount", "s:none", "s:/", "s:", 1 << 20, 0), (EPERM,)),
    _Row("unmount what covers", ("umount2", "s:/app", 2), (EPERM,)),
    _Row("unmount the root", ("umount2", "s:/", 2), (EPERM,)),
    _Row("pivot the root", ("pivot_root", "s:/tmp", "s:/tmp"), (EPERM,)),
    _Row("change the root", ("chroot", "s:/tmp"), (EPERM,)),
    _Row("hold a mount", ("open_tree", HERE, "s:/app", 0), (0,)),
    _Row("copy a mount", ("open_tree", HERE, "s:/app", 1), (EPERM,)),
    _Row("copy a mount and change it", ("open_tree_attr", HERE, "s:/app", 0, 0, 0), (0,), optional=True),
    _Row("attach a mount", ("move_mount", HERE, "s:/app", HERE, "s:/tmp", 0), (EPERM,)),
    _Row("begin a file system", ("fsopen", "s:tmpfs", 0), (EPERM,)),
    _Row("set up a file system", ("fsconfig", NO_FILE, 6, 0, 0, 0), (EBADF,)),
    _Row("mount a file system it began", ("fsmount", NO_FILE, 0, 0), (EPERM,)),
    _Row("reconfigure a file system", ("fspick", HERE, "s:/app", 0), (EPERM,)),
    _Row("change a mount's attributes", ("mount_setattr", HERE, "s:/app", 0, "b", 32), (EPERM, EINVAL)),
    _Row("describe a mount", ("statmount", BAD, BAD, 512, 0), (EFAULT,), optional=True),
    _Row("list mounts", ("listmount", BAD, BAD, 8, 0), (EFAULT,), optional=True),
    _Row("name a file by handle", ("name_to_handle_at", HERE, "s:/app", "b", "b", 0), (75, 95)),
    _Row("open a file by handle", ("open_by_handle_at", HERE, "b", 0), (EINVAL, EPERM)),
    _Row("open past the filter's view", ("openat2", HERE, "s:/app", "b", 24), (0,)),
)

NAMESPACES = (
    *(
        _Row(f"enter a new {kind} namespace", ("unshare", flag), (0,) if kind == "user" else (EPERM,))
        for kind, flag in NEW.items()
    ),
    _Row("unshare its descriptors", ("unshare", 0x400), (0,)),
    _Row("join a namespace", ("setns", NO_FILE, 0), (EBADF,)),
    _Row("clone3, whose flags no filter sees", ("clone3", BAD, 88), (EFAULT,)),
    _Row("fork", ("fork",), (0,), starts=True),
    _Row("vfork", ("vfork",), (0,), starts=True),
    _Row("a new session", ("setsid",), (0,), starts=True),
)

OTHERS = (
    _Row("be traced", ("ptrace", 0, 0, 0, 0), (0,)),
    _Row("attach to init", ("ptrace", 16, 1, 0, 0), (EPERM,)),
    _Row("seize init", ("ptrace", 0x4206, 1, 0, 0), (EPERM,)),
    _Row("read another's memory", ("process_vm_readv", 1, BAD, 1, BAD, 1, 0), (EFAULT,)),
    _Row("write another's memory", ("process_vm_writev", 1, BAD, 1, BAD, 1, 0), (EFAULT,)),
    _Row("advise another's memory", ("process_madvise", NO_FILE, "b", 1, 4, 0), (EBADF,)),
    _Row("release another's memory", ("process_mrelease", NO_FILE, 0), (EBADF,)),
    _Row("hold init by descriptor", ("pidfd_open", 1, 0), (0,)),
    _Row("take another's descriptor", ("pidfd_getfd", NO_FILE, 0, 0), (EBADF,)),
    _Row("signal by descriptor", ("pidfd_send_signal", NO_FILE, 0, 0, 0), (EBADF,)),
    _Row("compare kernel objects", ("kcmp", 1, 2, 0, 0, 0), (EPERM,)),
    _Row("find another's locks", ("get_robust_list", 1, "b", "b"), (EPERM,)),
    _Row("move another's pages", ("move_pages", 1, 0, 0, 0, 0, 0), (EPERM,)),
    _Row("migrate another's pages", ("migrate_pages", 1, 64, "b", "b"), (EPERM, EINVAL, 38)),
    _Row("pin init to a processor", ("sched_setaffinity", 1, 8, "b"), (EINVAL, EPERM)),
    _Row("schedule init", ("sched_setscheduler", 1, 0, "b"), (0, EPERM)),
    _Row("schedule by attributes", ("sched_setattr", 0, "b", 0), (0, EINVAL, EPERM)),  # EPERM: it is nice
    _Row("change priority", ("setpriority", 0, 0, 5), (0,)),
    _Row("change disk priority", ("ioprio_set", 1, 0, 0), (0,)),
    _Row("queue a forged signal", ("rt_sigqueueinfo", 1, 10, "b"), (EPERM,)),
    _Row("queue a forged signal to a thread", ("rt_tgsigqueueinfo", 1, 1, 10, "b"), (EPERM,)),
)

IPC = (
    _Row("the session's keys", ("keyctl", 0, SESSION, 0), (0,)),
    _Row("the user's keys", ("keyctl", 0, -4, 1), (0,)),
    _Row("a new session of keys", ("keyctl", 1, 0), (0,)),
    _Row("keys that outlive everything", ("keyctl", 22, -1, SESSION), (0, 95)),
    _Row("add a key", ("add_key", "s:user", "s:mpp", "b", 1, SESSION), (0,)),
    _Row("ask the host for a key", ("request_key", "s:user", "s:mpp", 0, SESSION), (126, 2)),
    _Row("System V shared memory", ("shmget", 0, 4096, 0o1600), (0,)),
    _Row("attach shared memory", ("shmat", 0, 0, 0), (EINVAL,)),
    _Row("survey shared memory", ("shmctl", 0, 14, "b"), (0,)),
    _Row("System V semaphores", ("semget", 0, 1, 0o1600), (0,)),
    _Row("wait on a semaphore", ("semop", 0, "b", 1), (EINVAL,)),
    _Row("survey semaphores", ("semctl", 0, 0, 19, "b"), (0,)),
    _Row("System V message queue", ("msgget", 0, 0o1600), (0,)),
    _Row("send a message", ("msgsnd", 0, "b", 1, 0o4000), (EINVAL,)),
    _Row("survey message queues", ("msgctl", 0, 12, "b"), (0,)),
    _Row("POSIX message queue", ("mq_open", "s:mpp", 0o102, 0o600, 0), (24, 0)),
    _Row("remove a POSIX message queue", ("mq_unlink", "s:mpp"), (2, 0)),
    _Row("pass descriptors over a pair", ("sendmsg", 0, "b", 0), (88,)),
    _Row("receive descriptors", ("recvmsg", 0, "b", 0), (88,)),
    _Row("many messages at once", ("sendmmsg", 0, "b", 1, 0), (88,)),
    _Row("a BPF program on a socket", ("setsockopt", 0, 1, 26, "b", 16), (88,)),
)

MACHINERY = (
    _Row("io_uring, which no filter sees", ("io_uring_setup", 1, "b"), (0, EPERM, EINVAL)),
    _Row("submit to a ring", ("io_uring_enter", NO_FILE, 1, 1, 0, 0, 0), (EBADF,)),
    _Row("register with a ring", ("io_uring_register", NO_FILE, 0, 0, 0), (EBADF,)),
    _Row("kernel AIO", ("io_setup", 1, "b"), (0,)),
    _Row("submit AIO", ("io_submit", 0, 1, "b"), (EINVAL,)),
    _Row("a BPF map", ("bpf", 0, "b", 72), (EINVAL, EPERM)),
    _Row("a BPF program", ("bpf", 5, "b", 72), (EINVAL, EPERM)),
    _Row("the host's BPF programs", ("bpf", 11, "b", 72), (EPERM,)),
    _Row("performance counters", ("perf_event_open", BAD, 0, -1, -1, 0), (EFAULT, EACCES)),
    _Row("handle its own page faults", ("userfaultfd", 1), (0,)),
    _Row("handle the kernel's page faults", ("userfaultfd", 0), (EPERM, 0)),
    _Row("strict seccomp", ("seccomp", 0, 1, 0), (EINVAL,)),
    _Row("a seccomp listener", ("seccomp", 1, 8, BAD), (EFAULT,)),
    _Row("a seccomp program of its own", ("seccomp", 1, 0, BAD), (EFAULT,)),
    _Row("probe the sizes of notifications", ("seccomp", 3, 0, BAD), (EFAULT,)),
    _Row("a Landlock domain of its own", ("landlock_create_ruleset", 0, 0, 1), (0,)),
    _Row("enter a Landlock domain", ("landlock_restrict_self", NO_FILE, 0), (EBADF,)),
    _Row("LSM attributes", ("lsm_get_self_attr", 100, "b", "b", 0), (95, EINVAL, E2BIG), optional=True),
    _Row("set LSM attributes", ("lsm_set_self_attr", 100, "b", 0, 0), (EINVAL,), optional=True),
    _Row("which LSMs there are", ("lsm_list_modules", "b", "b", 0), (E2BIG,), optional=True),
    _Row("watch files with fanotify", ("fanotify_init", 0x200, 0), (0, EPERM)),
    _Row("decide about opens", ("fanotify_init", 4, 0), (EPERM,)),
    _Row("watch files with inotify", ("inotify_init1", 0), (0,)),
    _Row("watch one file", ("inotify_add_watch", NO_FILE, "s:/app", 1), (EBADF,)),
    _Row("splice pages between files", ("splice", 0, 0, 1, 0, 1, 0), (0,)),
    _Row("gift pages to a pipe", ("vmsplice", 1, "b", 0, 0), (0,)),
    _Row("duplicate a pipe", ("tee", 0, 1, 1, 0), (0,)),
    _Row("what the page cache holds", ("cachestat", 0, "b", "b", 0), (0, EPERM), optional=True),
    _Row("what memory is resident", ("mincore", BAD, 4096, "b"), (EINVAL,)),
    _Row("write out every disk", ("sync",), (0,)),
    _Row("write out one disk", ("syncfs", 0), (0,)),
)

CODE = (
    _Row("make all it reads executable", ("personality", 0x0400000), (0,)),
    _Row("fixed addresses", ("personality", 0x0040000), (0,)),
    _Row("write a local descriptor table", ("modify_ldt", 1, "b", 16), (0, 38), optional=True),
    _Row("set the GS base", ("arch_prctl", 0x1001, 0), (0,)),
    _Row("fault on CPUID", ("arch_prctl", 0x1012, 1), (0, 19)),
    _Row("a shadow stack", ("map_shadow_stack", 0, 4096, 0), (EINVAL, 95, 38), optional=True),
    _Row("a memory key", ("pkey_alloc", 0, 0), (0, 28, EINVAL)),
    _Row("protect by key, past the rule for mprotect", ("pkey_mprotect", 0, 0, 7, -1), (0,)),
    _Row("remap file pages", ("remap_file_pages", 0, 0, 0, 0, 0), (EINVAL,)),
    _Row("a memory file", ("memfd_create", "s:x", 0), (0,)),
    _Row("an executable memory file", ("memfd_create", "s:x", 0x10), (0, EINVAL)),
    _Row("secret memory", ("memfd_secret", 0), (0, 38), optional=True),
    _Row("execute a descriptor", ("execveat", NO_FILE, "s:", "b", "b", 0x1000), (EBADF,)),
    _Row("lock all of its memory", ("mlockall", 1), (12, 0)),
    _Row("lock memory on fault", ("mlock2", "b", 4096, 1), (0,)),
    _Row("choose memory nodes", ("set_mempolicy", 0, 0, 0), (0, 38), optional=True),
)

HOST = (
    _Row("swap on a file", ("swapon", "s:/tmp/x", 0), (EPERM,)),
    _Row("stop swapping", ("swapoff", "s:/tmp/x"), (EPERM,)),
    _Row("accounting", ("acct", 0), (EPERM,)),
    _Row("reboot", ("reboot", 0xFEE1DEAD, 672274793, 0, 0), (EPERM,)),
    _Row("another kernel", ("kexec_load", 0, 0, 0, 0), (EPERM,), optional=True),
    _Row("load a module", ("init_module", 0, 0, 0), (EPERM,), optional=True),
    _Row("load a module from a file", ("finit_module", NO_FILE, "s:", 0), (EPERM,), optional=True),
    _Row("unload a module", ("delete_module", "s:mpp_none", 0), (EPERM,), optional=True),
    _Row("read the kernel's log", ("syslog", 3, "b", 100), (EPERM,)),
    _Row("set the clock", ("clock_settime", 0, "b"), (EPERM,)),
    _Row("set the time of day", ("settimeofday", "b", 0), (EPERM,)),
    _Row("how the clock is steered", ("adjtimex", "b"), (0, 5)),
    _Row("how a clock is steered", ("clock_adjtime", 0, "b"), (0, 5)),
    _Row("name the host", ("sethostname", "s:x", 1), (EPERM,)),
    _Row("name the domain", ("setdomainname", "s:x", 1), (EPERM,)),
    _Row("hang up the terminal", ("vhangup",), (EPERM,)),
    _Row("disk quotas", ("quotactl_fd", NO_FILE, 0, 0, "b"), (EBADF, 38), optional=True),
    _Row("facts of a device", ("ustat", 0, "b"), (EINVAL,)),
    _Row("which file systems there are", ("sysfs", 3), (0, 38), optional=True),
    _Row("load, memory and processes of the host", ("sysinfo", "b"), (0,)),
    _Row("become root", ("setuid", 0), (EINVAL,)),
    _Row("join root's group", ("setgid", 0), (EINVAL,)),
    _Row("all three ids", ("setresuid", 0, 0, 0), (EINVAL,)),
    _Row("supplementary groups", ("setgroups", 0, 0), (EPERM,)),
    _Row("the file system id", ("setfsuid", 0), (0,)),
    _Row("raise capabilities", ("capset", "b", "b"), (EINVAL,)),
    _Row("give a file away", ("chown", "s:/tmp/home", 0, 0), (EINVAL,)),
    _Row("a security label", ("setxattr", "s:/tmp", "s:security.x", "b", 1, 0), (EPERM, 95)),
    _Row("a device node", ("mknod", "s:/tmp/n", 0o20666, 0x103), (EACCES, EPERM)),
    _Row("a socket node", ("mknod", "s:/tmp/s", 0o140666, 0), (EACCES, 0)),
)

_NO_TERMINAL = (25,)
_HIGH = 1 << 32
ARGUMENTS = (
    _Row("type into a terminal", ("ioctl", 0, 0x5412, "b"), _NO_TERMINAL),
    _Row("type, with a bit that the kernel drops", ("ioctl", 0, 0x5412 | _HIGH, "b"), _NO_TERMINAL),
    _Row("type, with the highest bit", ("ioctl", 0, 0x5412 | 1 << 63, "b"), _NO_TERMINAL),
    _Row("paste from a console", ("ioctl", 0, 0x541C, "b"), _NO_TERMINAL),
    _Row("paste, with a bit that the kernel drops", ("ioctl", 0, 0x541C | _HIGH, "b"), _NO_TERMINAL),
    _Row("take a controlling terminal", ("ioctl", 0, 0x540E, 1), _NO_TERMINAL),
    _Row("take the foreground", ("ioctl", 0, 0x5410, "b"), _NO_TERMINAL),
    _Row("a line discipline", ("ioctl", 0, 0x5423, "b"), _NO_TERMINAL),
    _Row("clone a file's blocks", ("ioctl", 0, 0x40049409, 0), (9, 22, 25, 95)),
    _Row("flags of a file", ("ioctl", 0, 0x40086602, "b"), _NO_TERMINAL),
    _Row("freeze a file system", ("ioctl", 0, 0xC0045877, "b"), (EPERM, 25)),
    _Row("who is sent a descriptor's signals", ("fcntl", 0, 8, 1), (0, ESRCH)),
    _Row("which signal a descriptor sends", ("fcntl", 0, 10, 9), (0,)),
    _Row("a lease that delays the host", ("fcntl", 0, 1024, 1), (EINVAL, EACCES)),
    _Row("be told of a folder's changes", ("fcntl", 0, 1026, 2), (20, EINVAL, 0)),
    _Row("grow a pipe out of the user's budget", ("fcntl", 0, 1031, 1 << 18), (0, EPERM)),
    _Row("grow a pipe, with a bit dropped", ("fcntl", 0, 1031 | _HIGH, 1 << 18), (0, EPERM)),
    _Row("let go of the owner's death", ("prctl", 1, 0), (0,)),
    _Row("become dumpable", ("prctl", 4, 1), (0,)),
    _Row("become dumpable, with a bit dropped", ("prctl", 4 | _HIGH, 1), (0,)),
    _Row("a seccomp program by prctl", ("prctl", 22, 2, BAD), (EFAULT,)),
    _Row("other securebits", ("prctl", 28, 0), (EPERM,)),
    _Row("edit its memory map", ("prctl", 35, 1, "b"), (EPERM, EINVAL)),
    _Row("adopt orphans", ("prctl", 36, 1), (0,)),
    _Row("ambient capabilities", ("prctl", 47, 2, 21, 0, 0), (EPERM,)),
    _Row("speculation", ("prctl", 53, 0, 4, 0, 0), (0, EPERM, 6, 19)),
    _Row("dispatch system calls itself", ("prctl", 59, 7, 0, 0, 0), (EINVAL,)),
    _Row("let anybody trace it", ("prctl", 0x59616D61, -1), (0, EINVAL)),
    _Row("limits of init", ("prlimit64", 1, 7, 0, "b"), (0,)),
    _Row("limits by its own number", ("prlimit64", 2, 7, 0, "b"), (0,)),
    _Row("a set-user-id file", ("chmod", "s:/tmp/home", 0o4755), (0,)),
    _Row("a set-group-id folder", ("mkdir", "s:/tmp/d", 0o2755), (0,)),
    _Row("a set-user-id file at creation", ("open", "s:/tmp/f", 0o101, 0o4755), (0,)),
    _Row("memory that outlives its mapping", ("mmap", 0, 4096, 3, 0x21, -1, 0), (0,)),
    _Row("huge pages of the host", ("mmap", 0, 4096, 3, 0x40021, -1, 0), (0, 12)),
    _Row("a datagram pair", ("socketpair", 1, 2, 0, "b"), (0,)),
    _Row("a packet pair", ("socketpair", 1, 5, 0, "b"), (0,)),
    *(
        _Row(
            f"a process in a new {kind} namespace", ("clone", flag | 17), (0,) if kind == "user" else (EPERM,)
        )
        for kind, flag in NEW.items()
        if kind != "time"  # only clone3 and unshare support it: in clone its bit belongs to the signal
    ),
    _Row("a thread in a new user namespace", ("clone", NEW["user"] | 0x10900), (EINVAL,)),
    _Row("a traced child", ("clone", 0x2000 | 17), (0,)),
    _Row("a child that no tracer follows", ("clone", 0x800000 | 17), (0,)),
)

_SOCKET = (0, EPERM, EINVAL, 93, 94, 97)
"""EAFNOSUPPORT and its like: the kernel looked for the family and has it not, or not with that type."""
FAMILIES = {
    "UNIX": (1, 1),
    "UNIX datagram": (1, 2),
    "IPv4": (2, 1),
    "IPv4 datagram": (2, 2),
    "IPv4 raw": (2, 3),
    "IPv4 multipath": (2, 1, 262),
    "IPv6": (10, 1),
    "AX.25": (3, 5),
    "IPX": (4, 2),
    "AppleTalk": (5, 2),
    "X.25": (9, 5),
    "netlink route": (16, 3),
    "netlink netfilter": (16, 3, 12),
    "netlink audit": (16, 3, 9),
    "packet": (17, 3),
    "RDS": (21, 5),
    "CAN": (29, 3),
    "TIPC": (30, 5),
    "Bluetooth": (31, 3),
    "RxRPC": (33, 2),
    "Phonet": (35, 2),
    "802.15.4": (36, 2),
    "kernel crypto": (38, 5),
    "NFC": (39, 5),
    "virtual machine": (40, 1),
    "kernel connection multiplexer": (41, 5),
    "Qualcomm router": (42, 2),
    "SMC": (43, 1),
    "XDP": (44, 3),
    "MCTP": (45, 2),
}
SOCKETS = tuple(
    _Row(f"socket: {name}", ("socket", *parts, *(0,) * (3 - len(parts))), _SOCKET)
    for name, parts in FAMILIES.items()
)

GROUPS: dict[str, tuple[KernelAttack, ...]] = {
    "mounts": MOUNTS,
    "namespaces": NAMESPACES,
    "others": OTHERS,
    "ipc": IPC,
    "machinery": MACHINERY,
    "code": CODE,
    "host": HOST,
    "arguments": ARGUMENTS,
    "sockets": SOCKETS,
}
ALL = tuple(row for rows in GROUPS.values() for row in rows)

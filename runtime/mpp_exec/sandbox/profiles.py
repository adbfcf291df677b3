"""Which system calls a tool may make, and why: the policy table, stated without any BPF.

A profile is a tuple of ``allow.Allow``. What is not in it does not exist (ENOSYS): new system calls,
``clone3`` (its flags lie in memory where no filter sees them), ``openat2``, io_uring, userfaultfd, bpf,
keyctl, ptrace, process_vm_*, process_madvise, pidfd_getfd, perf_event_open, open_by_handle_at, the old and
the new mount calls, unshare, setns, memfd_create, mknod, inotify, message queues, System V IPC, personality,
sysinfo, POSIX timers and timers as descriptors, statfs (the host's disk), fadvise (what the host's page
cache holds), and every socket call beyond a stream pair. In addition, a tool with granted hosts has TCP and
UDP sockets of its own namespace: no listener, no raw socket, no netlink.

``allow.decide`` is the meaning of a profile. ``seccomp.prove`` compares every compiled program with it.
"""

from __future__ import annotations

from functools import cache

from mpp_exec.sandbox.allow import LOW, Allow, Arg

SETID = 0o6000
PROT_WRITE = 2
PROT_EXEC = 4
MAP_SHARED = 0x01  # set in MAP_SHARED_VALIDATE, too, and clear in MAP_PRIVATE
MAP_ANONYMOUS = 0x20
O_TMPFILE = 0o20000000  # __O_TMPFILE: the bit that no other flag has
AT_EMPTY_PATH = 0x1000
CLONE_FILES = 0x00000400
CLONE_THREAD = 0x00010000
# Every CLONE_NEW* of include/uapi/linux/sched.h, CLONE_NEWTIME (0x80) included, and CLONE_INTO_CGROUP has no
# place in the 32 bits of clone(2).
CLONE_NAMESPACES = 0x7E020080
MAP_GROWSDOWN = 0x0100  # a mapping that the kernel extends by itself: the stack is one, and enough
MAP_LOCKED = 0x2000
MAP_HUGETLB = 0x40000  # from a pool that the host reserved for others
CLONE_PTRACE_FLAGS = 0x00002000 | 0x00800000  # CLONE_PTRACE, CLONE_UNTRACED


def _calls(why: str, names: str) -> tuple[Allow, ...]:
    return tuple(Allow(name, why) for name in names.split())


def _no_setid(index: int) -> tuple[Arg, ...]:
    return (Arg(index, (0,), SETID),)


_FCNTL = (
    *(0, 1030, 1, 2, 3, 4),  # F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL
    1032,  # F_GETPIPE_SZ; F_SETPIPE_SZ draws on a budget of the host's user and is refused
)
_GETLK = 5
_SETLK = (
    6,
    7,
)  # and F_SETLKW; not those of open file descriptions, which a mapping keeps without a descriptor
_IOCTL = (
    0x5401,  # TCGETS: isatty(3)
    0x5413,  # TIOCGWINSZ: shutil.get_terminal_size
    0x541B,  # FIONREAD
    0x5421,  # FIONBIO
    0x5450,  # FIONCLEX
    0x5451,  # FIOCLEX
)
_PRCTL = (
    15,  # PR_SET_NAME: thread names
    16,  # PR_GET_NAME
    3,  # PR_GET_DUMPABLE
    23,  # PR_CAPBSET_READ
    39,  # PR_GET_NO_NEW_PRIVS
)
_ARCH_PRCTL = (0x1002, 0x1003)  # ARCH_SET_FS, ARCH_GET_FS
# O_CLOEXEC, O_NONBLOCK. Not O_EXCL, which is O_NOTIFICATION_PIPE: a queue of events of the kernel's.
_PIPE_FLAGS = 0o2004000
_FUTEX = (0, 1, 3, 4, 5, 9, 10)  # WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET
_FUTEX_FLAGS = 128 | 256  # FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME
_MADVISE = (
    *(0, 1, 2, 3),  # NORMAL, RANDOM, SEQUENTIAL, WILLNEED
    *(4, 8),  # DONTNEED, FREE: allocators give memory back
    *(10, 11, 18, 19),  # DONTFORK, DOFORK, WIPEONFORK, KEEPONFORK: random state of libraries
    *(14, 15, 16, 17),  # HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP
    *(102, 103),  # GUARD_INSTALL, GUARD_REMOVE: stacks of threads
)
# Not the two global ones, which interrupt every processor of the host.
_MEMBARRIER = (0, 8, 16, 32, 64)  # QUERY, PRIVATE_EXPEDITED and its registration, the same with SYNC_CORE
_SOCKET_FACTS = (3, 4, 38, 39)  # SO_TYPE, SO_ERROR, SO_PROTOCOL, SO_DOMAIN
# What either direction may ask for. Not MSG_OOB: its queue is the part of stream pairs that broke most.
_SEND = 0x40 | 0x4000  # MSG_DONTWAIT, MSG_NOSIGNAL
_RECEIVE = 0x02 | 0x20 | 0x40 | 0x100 | 0x40000000  # MSG_PEEK, TRUNC, DONTWAIT, WAITALL, CMSG_CLOEXEC

_BASE: tuple[Allow, ...] = (
    *_calls("read and write open descriptors", "read write readv writev pread64 pwrite64 preadv pwritev"),
    *_calls("position, length and durability of open files", "lseek ftruncate fsync fdatasync"),
    Allow("fallocate", "reserve room, as posix_fallocate(3) does; no holes, no moving", (Arg(1, (0,), LOW),)),
    *_calls("close and duplicate descriptors", "close dup dup2 dup3"),
    Allow("close_range", "close many; no table of descriptors of its own", (Arg(2, (0, 4), LOW),)),
    Allow("ioctl", "is it a terminal, how much is there, non-blocking; nothing else", (Arg(1, _IOCTL, LOW),)),
    *_calls("pipes within the sandbox", "pipe"),
    Allow("pipe2", "as pipe: close-on-exec, non-blocking", (Arg(1, (0,), LOW & ~_PIPE_FLAGS),)),
    *_calls("wait for descriptors", "poll ppoll select pselect6"),
    *_calls("event loops", "epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2"),
    # A file without a name is counted by nothing that measures a folder, and could be given one at the end.
    Allow(
        "open",
        "open files that mounts and Landlock let through; no set-id modes, no file without a name",
        (Arg(1, (0,), O_TMPFILE), *_no_setid(2)),
    ),
    Allow("openat", "as open", (Arg(2, (0,), O_TMPFILE), *_no_setid(3))),
    *_calls(
        "file metadata", "stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat"
    ),
    *_calls("list folders", "getdents64"),
    *_calls("working directory", "getcwd chdir fchdir"),
    Allow("mkdir", "make folders; no set-id modes", _no_setid(1)),
    Allow("mkdirat", "as mkdir", _no_setid(2)),
    Allow("chmod", "permission bits of own files; no set-id bits", _no_setid(1)),
    Allow("fchmod", "as chmod", _no_setid(1)),
    Allow("fchmodat", "as chmod", _no_setid(2)),
    *_calls("change the tree where it is writable", "rmdir unlink unlinkat rename renameat truncate"),
    Allow("renameat2", "as rename, or not onto something; no exchange, no device", (Arg(4, (0, 1), LOW),)),
    *_calls("links where the tree is writable", "link symlink symlinkat"),
    Allow("linkat", "as link, of what has a name", (Arg(4, (0,), AT_EMPTY_PATH),)),
    *_calls("time stamps of own files", "utimensat umask"),
    *_calls(
        "extended attributes are read by copying tools",
        "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr",
    ),
    *_calls("memory of its own", "munmap brk msync"),
    Allow("mremap", "grow and move own mappings, as realloc(3) does", (Arg(3, (0, 1)),)),
    Allow(
        "madvise",
        "give memory back, huge pages, what forks inherit; no merging, no eviction",
        (Arg(2, _MADVISE, LOW),),
    ),
    *_calls("who am I", "getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid"),
    # A host that is no root cannot empty its own: how many they are, or which, tells of its user.
    Allow("getgroups", "there are none, whatever the host's user has", (Arg(0, (), LOW),), idle=()),
    *_calls("process group and session numbers", "getpgrp getpgid getsid"),
    # Not sysinfo: load, free memory and the number of processes are the host's, and change while one looks.
    *_calls("kernel name, as every runtime asks at start", "uname"),
    *_calls("own resource use and rights", "getrusage times getrlimit capget"),
    Allow("prlimit64", "own limits: a hard one cannot be raised without a capability", (Arg(0, (0,), LOW),)),
    *_calls("scheduling facts", "sched_yield sched_getaffinity sched_getparam sched_getscheduler"),
    *_calls("scheduling bounds", "sched_get_priority_max sched_get_priority_min"),
    Allow("arch_prctl", "thread-local storage", (Arg(0, _ARCH_PRCTL, LOW),)),
    Allow("prctl", "thread names and own state", (Arg(0, _PRCTL, LOW),)),
    *_calls("thread start and end", "set_tid_address set_robust_list rseq exit exit_group"),
    Allow(
        "futex",
        "locks between threads; no priority inheritance, where most of its flaws were",
        (Arg(1, _FUTEX, LOW & ~_FUTEX_FLAGS),),
    ),
    *_calls(
        "signal handling",
        "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait",
    ),
    *_calls("signal stacks, and continuing after a signal", "sigaltstack restart_syscall pause"),
    *_calls("signals within the PID namespace", "kill tkill tgkill"),
    *_calls("alarms", "alarm getitimer"),
    Allow("setitimer", "alarms by the clock; not by processor time", (Arg(0, (0,), LOW),)),
    *_calls("clocks", "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time"),
    *_calls("randomness", "getrandom"),
    Allow(
        "socketpair",
        "asyncio wakes its loop over one: AF_UNIX, SOCK_STREAM",
        (Arg(0, (1,), LOW), Arg(1, (1,), LOW & ~0o2004000)),
    ),
    Allow("sendto", "talk over such a pair; not out of band", (Arg(3, (0,), LOW & ~_SEND),)),
    Allow("recvfrom", "as sendto", (Arg(3, (0,), LOW & ~_RECEIVE),)),
    *_calls("end such a pair; its names, which are empty", "shutdown getsockname getpeername"),
    # Not setsockopt: SO_ATTACH_FILTER would hand BPF programs to the kernel.
    Allow(
        "getsockopt",
        "kind and state of such a pair",
        (Arg(1, (1,), LOW), Arg(2, _SOCKET_FACTS, LOW)),
    ),
)

# A connection is the broker's to decide about: what stands here is what clients do with one. Nothing listens
# or accepts; MSG_FASTOPEN, which connects without connect(2), is no flag of sending; of protocols TCP and UDP
# alone, of options none that loads code (SO_ATTACH_FILTER, TCP_ULP) or turns a socket into another one
# (IPV6_ADDRFORM).
_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_SOL_SOCKET, _IP, _TCP, _IPV6 = 1, 0, 6, 41
_SOCKET_OPTIONS = (
    2,  # SO_REUSEADDR
    *(4, 6),  # SO_ERROR, SO_BROADCAST: Go sets the latter on every socket
    *(9, 13),  # SO_KEEPALIVE, SO_LINGER
    *(20, 21),  # SO_RCVTIMEO, SO_SNDTIMEO
)
_BUFFERS = (7, 8)  # SO_SNDBUF, SO_RCVBUF: memory that is the kernel's, and counted by nothing but a cgroup
_IP_OPTIONS = (1, 11)  # IP_TOS, IP_RECVERR: glibc wants to know at once that no resolver answers
_TCP_OPTIONS = (
    *(1, 2, 3),  # TCP_NODELAY, TCP_MAXSEG, TCP_CORK
    *(4, 5, 6),  # TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT
    *(12, 18, 25),  # TCP_QUICKACK, TCP_USER_TIMEOUT, TCP_NOTSENT_LOWAT
)
_IPV6_OPTIONS = (25, 26, 67)  # IPV6_RECVERR, IPV6_V6ONLY, IPV6_TCLASS


def _options(level: int, names: tuple[int, ...]) -> tuple[Arg, ...]:
    return (Arg(1, (level,), LOW), Arg(2, names, LOW))


_NETWORK: tuple[Allow, ...] = (
    Allow(
        "socket",
        "TCP and UDP of IPv4 and IPv6, in a namespace with nothing but loopback",
        (Arg(0, _FAMILIES, LOW), Arg(1, (1, 2), LOW & ~0o2004000), Arg(2, (0, 6, 17), LOW)),
    ),
    *_calls("reach the listeners of the broker; Landlock names their ports", "connect"),
    *_calls("an own address, as some resolvers ask for; no call listens on it", "bind"),
    Allow("sendmsg", "as sendto: event loops gather what they send", (Arg(2, (0,), LOW & ~_SEND),)),
    Allow("recvmsg", "as recvfrom", (Arg(2, (0,), LOW & ~_RECEIVE),)),
    Allow(
        "setsockopt",
        "times and delays of a connection; no larger buffers, no filter, no other protocol",
        _options(_SOL_SOCKET, _SOCKET_OPTIONS),
        also=(
            _options(_IP, _IP_OPTIONS),
            _options(_TCP, _TCP_OPTIONS),
            _options(_IPV6, _IPV6_OPTIONS),
        ),
        idle=_options(_SOL_SOCKET, _BUFFERS),
    ),
    Allow(
        "getsockopt",
        "kind and state of a socket, and what may be set",
        _options(_SOL_SOCKET, (*_SOCKET_FACTS, *_SOCKET_OPTIONS[:1], *_SOCKET_OPTIONS[2:], *_BUFFERS)),
        also=(
            _options(_IP, _IP_OPTIONS),
            _options(_TCP, (*_TCP_OPTIONS, 11)),  # TCP_INFO
            _options(_IPV6, _IPV6_OPTIONS),
        ),
    ),
)

# The files of a package, of an interpreter and of the system are the same for every sandbox, and the host's.
# A lock that one holds is a message to whoever can find it, and thousands of them make a file slow for all.
# Where one process is all there is, and its files end with it, nobody is there to be kept out: such a lock is
# always had. Where there may be several, they are told that there are none.
_OWN_LOCKS: tuple[Allow, ...] = (
    Allow(
        "fcntl",
        "descriptor flags; who holds a lock; no pipe sizes, no leases, no signals",
        (Arg(1, (*_FCNTL, _GETLK), LOW),),
        idle=(Arg(1, _SETLK, LOW),),
    ),
    Allow("flock", "locks of files that nobody else has", (Arg(1, (), LOW),), idle=()),
)
_NO_LOCKS: tuple[Allow, ...] = (
    Allow(
        "fcntl",
        "descriptor flags; who holds a lock, and none of its own; no pipe sizes, no leases, no signals",
        (Arg(1, (*_FCNTL, _GETLK), LOW),),
    ),
)
# Where files outlast a call, others may share them, and locks have to work (sqlite3 finds a crash by them).
_LOCKS: tuple[Allow, ...] = (
    Allow(
        "fcntl",
        "descriptor flags and locks; no pipe sizes, no leases, no signals",
        (Arg(1, (*_FCNTL, _GETLK, *_SETLK), LOW),),
    ),
    *_calls("advisory locks", "flock"),
)

# What no Python needs: other runtimes, and programs that were linked to older C libraries.
_PROGRAMS: tuple[Allow, ...] = (
    Allow("creat", "as open; older programs", _no_setid(1)),
    *_calls("time stamps of own files, older programs", "utime utimes"),
    *_calls("event loops of older programs", "epoll_create eventfd"),
    *_calls("copy between open files: libuv has no other way", "sendfile"),
    Allow("membarrier", "barriers between own threads: musl, .NET", (Arg(0, _MEMBARRIER, LOW),)),
)

# RLIMIT_NOFILE is of one table of descriptors: a thread with one of its own would have as many again.
THREAD = CLONE_THREAD | CLONE_FILES
_THREADS = Allow(
    "clone",
    "threads with the descriptors of their process; no process, no namespace",
    (Arg(0, (THREAD,), THREAD | CLONE_NAMESPACES | CLONE_PTRACE_FLAGS),),
)
_PROCESSES: tuple[Allow, ...] = (
    Allow(
        "clone",
        "processes, and threads with the descriptors of theirs; no namespace",
        (Arg(0, (0, CLONE_FILES, THREAD), THREAD | CLONE_NAMESPACES | CLONE_PTRACE_FLAGS),),
    ),
    *_calls("start granted programs; Landlock's execute right names them", "fork vfork"),
    *_calls("reap them", "wait4 waitid"),
    *_calls("job control among own processes", "setpgid setsid"),
)
# Anonymous and shared is memory that stays when its mappings go, so that no rlimit and no sampling sees it.
_SHARED_ANONYMOUS = MAP_SHARED | MAP_ANONYMOUS
_NO_MAPPING = MAP_GROWSDOWN | MAP_LOCKED | MAP_HUGETLB
_NOT_SHARED = Arg(3, (0, MAP_SHARED, MAP_ANONYMOUS), _SHARED_ANONYMOUS | _NO_MAPPING)
_NOT_BOTH = Arg(2, (0, PROT_WRITE, PROT_EXEC), PROT_WRITE | PROT_EXEC)
_ANY_PROTECTION: tuple[Allow, ...] = (
    Allow("mmap", "map memory; a program of the package may bring a compiler", (_NOT_SHARED,)),
    Allow("mprotect", "change the protection of own memory"),
)
_NO_WRITABLE_CODE: tuple[Allow, ...] = (
    Allow("mmap", "map memory, never writable and executable at once", (_NOT_BOTH, _NOT_SHARED)),
    Allow("mprotect", "as mmap", (_NOT_BOTH,)),
)
# MREMAP_FIXED, with MREMAP_MAYMOVE: no more than mmap(2) and a copy can do, but for the kernel's pages.
_MOVE_BACK = Allow("mremap", "as ever, and the kernel's own pages to where they were", (Arg(3, (0, 1, 3)),))
_EXECVE = Allow("execve", "become the entry: Landlock's execute right names it and its loader only")
_SEAL = Allow(
    "seccomp",
    "the launcher adds the program that takes execve away, before tool code is loaded",
    (Arg(0, (1,), LOW), Arg(1, (0,), LOW)),
)

_INIT: tuple[Allow, ...] = (
    *_calls("wait for the tool's end and the owner's", "ppoll wait4 read restart_syscall"),
    *_calls("report once and leave", "write clock_gettime exit_group"),
)

_INIT_ALONE: tuple[Allow, ...] = (
    Allow("kill", "end the tool's process and group", (Arg(1, (9,), LOW),)),
    Allow("waitid", "see that the tool is dead before its number is free"),
)
_METADATA = frozenset(
    [
        *("chmod", "fchmod", "fchmodat", "utime", "utimes", "utimensat"),
        *("getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"),
    ]
)


@cache
def tool_profile(
    kind: str,
    *,
    subprocess: bool,
    writes: bool = False,
    mounts: bool = True,
    network: bool = False,
    restores: bool = False,
) -> tuple[Allow, ...]:
    """Return what a tool of *kind* may call, with or without the right to start programs.

    *writes* says that what it writes can outlast the call, *network* that it was granted hosts, *restores*
    that its process may be one that is restored.
    Landlock does not cover modes, times and extended attributes of files: without *mounts* of its own a tool
    could change the former of every file that its user owns, and read the latter (origins of downloads,
    labels, capabilities) of every file, so that the calls for it are left out.
    """
    if not mounts:
        whole = tool_profile(kind, subprocess=subprocess, writes=writes)
        return tuple(allow for allow in whole if allow.name not in _METADATA)
    if restores:
        whole = tool_profile(kind, subprocess=subprocess, writes=writes, network=network)
        return tuple(_MOVE_BACK if allow.name == _MOVE_BACK.name else allow for allow in whole)
    processes = _PROCESSES if subprocess else (_THREADS,)
    locks = _LOCKS if writes else _NO_LOCKS if subprocess else _OWN_LOCKS
    base = (*_BASE, *locks)
    if network:
        own = {allow.name for allow in _NETWORK}
        base = (*(allow for allow in base if allow.name not in own), *_NETWORK)
    if kind == "python":
        programs = _PROGRAMS if subprocess else ()
        return (*base, *programs, *processes, *_NO_WRITABLE_CODE, _EXECVE, _SEAL)
    return (*base, *_PROGRAMS, *processes, *_ANY_PROTECTION, _EXECVE)


@cache
def init_profile(*, namespaces: bool = True) -> tuple[Allow, ...]:
    """Return what init may call once the tool runs; where it is no PID 1, it kills the tool itself."""
    return _INIT if namespaces else (*_INIT, *_INIT_ALONE)


SEALED_AWAY = ("execve", "execveat", "seccomp")
SEALED_WITH_PROGRAMS = ("execveat", "seccomp")
"""What the launcher of a Python tool takes away before it loads the tool (prctl(2) never offered it)."""

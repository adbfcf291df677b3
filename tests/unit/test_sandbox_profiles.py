"""The policy table: what stands in it, what must never, and what its conditions mean."""

from __future__ import annotations

import pytest

from mpp_exec.sandbox.allow import FULL, Allow, Arg, decide
from mpp_exec.sandbox.profiles import CLONE_THREAD, SEALED_AWAY, init_profile, tool_profile
from mpp_exec.sandbox.syscalls import X86_64

PROFILES = {
    "python": tool_profile("python", subprocess=False),
    "python with subprocess": tool_profile("python", subprocess=True),
    "python, restored": tool_profile("python", subprocess=False, restores=True),
    "exec": tool_profile("exec", subprocess=False),
    "exec with subprocess": tool_profile("exec", subprocess=True),
    "init": init_profile(),
    "python with hosts": tool_profile("python", subprocess=False, network=True),
    "exec with hosts and subprocess": tool_profile("exec", subprocess=True, network=True),
    "python without namespaces": tool_profile("python", subprocess=False, mounts=False),
    "exec without namespaces": tool_profile("exec", subprocess=False, mounts=False),
    "init without namespaces": init_profile(namespaces=False),
}

# What design.md 5 names, what research found behind past escapes, and what has no business in a tool.
_NEVER = """
    clone3 unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick
    mount_setattr open_tree_attr statmount listmount ptrace process_vm_readv process_vm_writev
    process_madvise process_mrelease pidfd_open pidfd_getfd pidfd_send_signal kcmp keyctl add_key request_key
    io_uring_setup io_uring_enter io_uring_register io_setup io_submit bpf perf_event_open userfaultfd
    open_by_handle_at name_to_handle_at memfd_create memfd_secret execveat openat2 mknod mknodat
    socket connect bind listen accept accept4 setsockopt sendmmsg recvmmsg personality modify_ldt
    set_thread_area shmget shmat shmctl msgget msgsnd semget semop mq_open mq_notify inotify_init
    inotify_init1 inotify_add_watch fanotify_init setuid setgid setreuid setregid setresuid setresgid
    setgroups setfsuid setfsgid capset chown fchown lchown fchownat setxattr lsetxattr fsetxattr
    removexattr init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff
    sethostname setdomainname acct quotactl syslog vhangup iopl ioperm settimeofday clock_settime
    adjtimex clock_adjtime setpriority sched_setscheduler sched_setattr sched_setparam ioprio_set
    rt_sigqueueinfo rt_tgsigqueueinfo move_pages migrate_pages mbind set_mempolicy vmsplice splice tee
    landlock_create_ruleset landlock_add_rule landlock_restrict_self fchmodat2 setrlimit uselib ustat sysfs
    lookup_dcookie pkey_mprotect remap_file_pages map_shadow_stack lsm_set_self_attr
    timer_create timer_settime timerfd_create timerfd_settime futex_waitv statfs fstatfs ustat fadvise64
    readahead cachestat mincore copy_file_range preadv2 pwritev2 signalfd signalfd4 mlock mlock2 mlockall
    getdents getcpu getpriority futimesat epoll_pwait2 sendmsg recvmsg
"""
NEVER = frozenset(_NEVER.split())
OF_HOSTS = frozenset({"socket", "connect", "bind", "setsockopt", "sendmsg", "recvmsg"})
"""What of it a tool that was granted hosts may call, with certain arguments."""


@pytest.mark.parametrize("name", PROFILES)
def test_every_call_has_a_number_a_reason_and_one_row(name: str) -> None:
    profile = PROFILES[name]
    assert {allow.name for allow in profile} <= set(X86_64)
    assert len({allow.name for allow in profile}) == len(profile)
    assert all(len(allow.why) > 4 for allow in profile)


@pytest.mark.parametrize("name", PROFILES)
def test_dangerous_calls_stand_in_no_profile(name: str) -> None:
    assert set(X86_64) >= NEVER
    allowed = {allow.name for allow in PROFILES[name]} & NEVER
    assert allowed == (OF_HOSTS if "with hosts" in name else set())


def test_starting_processes_needs_the_right_to_subprocesses() -> None:
    for kind in ("python", "exec"):
        names = {allow.name for allow in tool_profile(kind, subprocess=False)}
        assert names & {"fork", "vfork", "setsid", "setpgid", "wait4", "waitid"} == set()
    assert {"fork", "vfork"} <= {allow.name for allow in PROFILES["exec with subprocess"]}


def test_python_alone_gets_nothing_that_only_other_programs_need() -> None:
    names = {allow.name for allow in PROFILES["python"]}
    others = {"sendfile", "creat", "utime", "utimes", "epoll_create", "eventfd", "membarrier"}
    assert names & others == set()
    assert others <= {allow.name for allow in PROFILES["python with subprocess"]}
    assert names - {"seccomp"} <= {allow.name for allow in PROFILES["exec"]}


def test_only_python_may_add_a_filter_and_the_seal_takes_that_away() -> None:
    assert "seccomp" in {allow.name for allow in PROFILES["python"]}
    assert "seccomp" in SEALED_AWAY
    assert "execve" in SEALED_AWAY
    for name in ("exec", "exec with subprocess", "init"):
        assert "seccomp" not in {allow.name for allow in PROFILES[name]}


def test_init_cannot_open_send_or_start_anything() -> None:
    assert {allow.name for allow in init_profile()} == {
        *("ppoll", "wait4", "read", "restart_syscall", "write", "clock_gettime", "exit_group")
    }


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("clone", (0x3D0F00,), True),  # what pthread_create passes
        ("clone", (17,), False),  # fork: SIGCHLD
        ("clone", (0x4111,), False),  # vfork
        ("clone", (CLONE_THREAD | 0x10000000,), False),  # CLONE_NEWUSER
        ("clone", (CLONE_THREAD | 0x80,), False),  # CLONE_NEWTIME
        ("clone", (CLONE_THREAD | 0x2000,), False),  # CLONE_PTRACE
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),  # TIOCSTI
        ("ioctl", (0, 0x5412 | 1 << 32), False),  # and with bits that the kernel does not look at
        ("ioctl", (0, 0x541C), False),  # TIOCLINUX
        ("ioctl", (0, 0x5401 | 1 << 40), True),
        ("fcntl", (0, 1031), False),  # F_SETPIPE_SZ
        ("fcntl", (0, 8), False),  # F_SETOWN
        ("fcntl", (0, 1024), False),  # F_SETLEASE
        ("fcntl", (0, 1026), False),  # F_NOTIFY
        ("chmod", (0, 0o755), True),
        ("chmod", (0, 0o4755), False),
        ("chmod", (0, 0o2755), False),
        ("open", (0, 0, 0o6777), False),
        ("mkdirat", (0, 0, 0o2755), False),
        ("mkdirat", (0, 0, 0o1777), True),
        ("socketpair", (1, 1), True),
        ("socketpair", (1, 0o2004001), True),
        ("socketpair", (1, 2), False),  # SOCK_DGRAM: could name another socket as its target
        ("socketpair", (1, 5), False),
        ("socketpair", (2, 1), False),
        ("prlimit64", (0,), True),
        ("prlimit64", (1,), False),
        ("prctl", (15,), True),
        ("prctl", (4,), False),  # PR_SET_DUMPABLE
        ("prctl", (22,), False),  # PR_SET_SECCOMP
        ("prctl", (0x59616D61,), False),  # PR_SET_PTRACER
        ("mmap", (0, 0, 3), True),
        ("mmap", (0, 0, 5), True),
        ("mmap", (0, 0, 7), False),
        ("mprotect", (0, 0, 6), False),
        ("mmap", (0, 0, 3, 0x22), True),
        ("mmap", (0, 0, 3, 0x122), False),  # MAP_GROWSDOWN
        ("mmap", (0, 0, 3, 0x2022), False),  # MAP_LOCKED
        ("mmap", (0, 0, 3, 0x40022), False),  # MAP_HUGETLB
        ("mremap", (0, 0, 0, 1), True),
        ("mremap", (0, 0, 0, 3), False),  # MREMAP_FIXED
        ("mremap", (0, 0, 0, 5), False),  # MREMAP_DONTUNMAP
        ("madvise", (0, 0, 4), True),
        ("madvise", (0, 0, 12), False),  # MADV_MERGEABLE
        ("madvise", (0, 0, 21), False),  # MADV_PAGEOUT
        ("madvise", (0, 0, 100), False),  # MADV_HWPOISON
        ("futex", (0, 128), True),
        ("futex", (0, 128 | 256 | 9), True),
        ("futex", (0, 128 | 6), False),  # FUTEX_LOCK_PI
        ("futex", (0, 11), False),  # FUTEX_WAIT_REQUEUE_PI
        ("futex", (0, 12), False),  # FUTEX_CMP_REQUEUE_PI
        ("futex", (0, 512), False),
        ("pipe2", (0, 0o2004000), True),
        ("pipe2", (0, 0o200), False),  # O_NOTIFICATION_PIPE
        ("fallocate", (0, 0), True),
        ("fallocate", (0, 3), False),  # FALLOC_FL_PUNCH_HOLE
        ("close_range", (3, 9, 4), True),
        ("close_range", (3, 9, 2), False),  # CLOSE_RANGE_UNSHARE
        ("renameat2", (0, 0, 0, 0, 1), True),
        ("renameat2", (0, 0, 0, 0, 2), False),  # RENAME_EXCHANGE
        ("renameat2", (0, 0, 0, 0, 4), False),  # RENAME_WHITEOUT
        ("sendto", (0, 0, 0, 0x4040), True),
        ("sendto", (0, 0, 0, 1), False),  # MSG_OOB
        ("sendto", (0, 0, 0, 0x4000000), False),  # MSG_ZEROCOPY
        ("recvfrom", (0, 0, 0, 0x40000162), True),
        ("recvfrom", (0, 0, 0, 1), False),
        ("getsockopt", (0, 1, 3), True),
        ("getsockopt", (0, 1, 26), False),  # SO_GET_FILTER
        ("getsockopt", (0, 1, 77), False),  # SO_PEERPIDFD
        ("getsockopt", (0, 6, 3), False),
        ("setitimer", (0,), True),
        ("setitimer", (2,), False),  # ITIMER_PROF
        ("seccomp", (1, 0), True),
        ("seccomp", (1, 8), False),  # SECCOMP_FILTER_FLAG_NEW_LISTENER
        ("seccomp", (0, 0), False),  # strict mode
    ],
)
def test_condition_of_a_call(name: str, arguments: tuple[int, ...], allowed: bool) -> None:
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    assert decide(PROFILES["python"], name, padded) is allowed


def test_conditions_all_hold_or_nothing_does() -> None:
    profile = (Allow("dup3", "test", (Arg(0, (1, 2)), Arg(1, (7,), 0xFF))),)
    assert decide(profile, "dup3", (2, 0x107, 0, 0, 0, 0))
    assert not decide(profile, "dup3", (3, 7, 0, 0, 0, 0))
    assert not decide(profile, "dup3", (1, 8, 0, 0, 0, 0))
    assert not decide(profile, "dup2", (1, 7, 0, 0, 0, 0))
    assert not decide(profile, None, (1, 7, 0, 0, 0, 0))


def test_two_rows_for_one_call_are_refused() -> None:
    """Two rows would be allowed where either holds, in one reading, and where the last does, in another."""
    with pytest.raises(ValueError, match="twice"):
        decide((Allow("dup", "once"), Allow("dup", "again")), "dup", (FULL,) * 6)


@pytest.mark.parametrize("kind", ["python", "exec"])
def test_without_mounts_no_call_changes_modes_or_times(kind: str) -> None:
    """Landlock does not cover them, nor attributes, so they would reach every file of the user's."""
    names = {allow.name for allow in tool_profile(kind, subprocess=False, mounts=False)}
    whole = {allow.name for allow in tool_profile(kind, subprocess=False)}
    lost = {"chmod", "fchmod", "fchmodat", "utime", "utimes", "utimensat"}
    lost |= {name for name in whole if name.endswith("xattr")}
    assert whole - names == whole & lost
    assert {"chmod", "fchmod", "fchmodat", "utimensat"} <= whole & lost
    assert not [name for name in names if name.endswith("xattr") or "chown" in name]


def test_init_without_namespaces_can_kill_and_nothing_less() -> None:
    profile = init_profile(namespaces=False)
    assert {allow.name for allow in profile} - {allow.name for allow in init_profile()} == {"kill", "waitid"}
    assert decide(profile, "kill", (FULL, 9, 0, 0, 0, 0))
    assert not decide(profile, "kill", (FULL, 19, 0, 0, 0, 0))


class TestSocketsOfATool:
    """One that was granted hosts: TCP and UDP, what clients do with them, and nothing that listens."""

    HOSTS = tool_profile("exec", subprocess=False, network=True)

    @pytest.mark.parametrize("family", [2, 10])
    @pytest.mark.parametrize("kind", [1, 2, 1 | 0o2000000, 2 | 0o4000])
    @pytest.mark.parametrize("protocol", [0, 6, 17])
    def test_ordinary_ones(self, family: int, kind: int, protocol: int) -> None:
        assert decide(self.HOSTS, "socket", (family, kind, protocol, 0, 0, 0))

    @pytest.mark.parametrize(
        "arguments",
        [
            *[(family, 1, 0) for family in range(46) if family not in (2, 10)],
            *[(2, kind, 0) for kind in (0, 3, 4, 5, 6, 10)],
            *[(2, 1, protocol) for protocol in (1, 2, 33, 58, 132, 136, 255, 256, 262)],
            (2, 2, 1),  # a ping
            (2, 1 | 1 << 5, 0),
        ],
    )
    def test_no_others(self, arguments: tuple[int, int, int]) -> None:
        assert not decide(self.HOSTS, "socket", (*arguments, 0, 0, 0))

    def test_nothing_connects_beside_connect(self) -> None:
        """MSG_FASTOPEN opens a connection that Landlock is not asked about; so does TCP_FASTOPEN_CONNECT."""
        fast_open = 0x20000000
        assert not decide(self.HOSTS, "sendto", (3, 0, 0, fast_open, 0, 0))
        assert not decide(self.HOSTS, "sendmsg", (3, 0, fast_open, 0, 0, 0))
        assert not decide(self.HOSTS, "setsockopt", (3, 6, 30, 0, 0, 0))
        assert decide(self.HOSTS, "sendmsg", (3, 0, 0x4000, 0, 0, 0))

    def test_options_of_one_level_are_none_of_another(self) -> None:
        """IPV6_V6ONLY is 26, and so is SO_ATTACH_FILTER; 1 is TCP_NODELAY, and IPV6_ADDRFORM."""
        for call in ("setsockopt", "getsockopt"):
            assert decide(self.HOSTS, call, (3, 41, 26, 0, 0, 0))
            assert not decide(self.HOSTS, call, (3, 1, 26, 0, 0, 0))
            assert decide(self.HOSTS, call, (3, 6, 1, 0, 0, 0))
            assert not decide(self.HOSTS, call, (3, 41, 1, 0, 0, 0))
        assert not decide(self.HOSTS, "setsockopt", (3, 6, 31, 0, 0, 0)), "TCP_ULP"
        assert not decide(self.HOSTS, "getsockopt", (3, 0, 80, 0, 0, 0)), "SO_ORIGINAL_DST"

    def test_larger_buffers_are_asked_for_in_vain(self) -> None:
        """Who is told that it cannot be done gives up, and what they hold nothing counts."""
        (allow,) = (each for each in self.HOSTS if each.name == "setsockopt")
        for name in (7, 8):
            assert not decide(self.HOSTS, "setsockopt", (3, 1, name, 0, 0, 0))
            assert allow.idles((3, 1, name, 0, 0, 0))
        assert not allow.idles((3, 1, 26, 0, 0, 0))
        assert not allow.idles((3, 6, 7, 0, 0, 0))

    def test_without_hosts_there_is_none_of_it(self) -> None:
        for kind in ("python", "exec"):
            more = {allow.name for allow in tool_profile(kind, subprocess=False, network=True)}
            assert more - {allow.name for allow in tool_profile(kind, subprocess=False)} == OF_HOSTS

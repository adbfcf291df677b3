/* Kernel interfaces that may be newer than the C library's headers. The values are from the kernel's uapi headers. A
 * static assertion beside each use would only compare a constant with itself, so the live tests check them. */
#ifndef MPP_KERNEL_H
#define MPP_KERNEL_H

#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifndef SYS_landlock_create_ruleset /* asm-generic/unistd.h, Linux 5.13 */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_mount_setattr /* Linux 5.12 */
#define SYS_mount_setattr 442
#endif
#ifndef SYS_clone3 /* Linux 5.3, with a cgroup 5.7 */
#define SYS_clone3 435
#endif
#ifndef SYS_openat2 /* Linux 5.6 */
#define SYS_openat2 437
#endif
#ifndef SYS_close_range /* Linux 5.9 */
#define SYS_close_range 436
#endif

/* linux/landlock.h as of ABI 6 (Linux 6.12). The structure has grown; older headers have a prefix of it. */
struct mpp_landlock_ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

struct mpp_landlock_port { /* struct landlock_net_port_attr, Linux 6.7 */
    uint64_t allowed_access;
    uint64_t port;
};

struct mpp_mount_attr { /* struct mount_attr, linux/mount.h */
    uint64_t attr_set;
    uint64_t attr_clr;
    uint64_t propagation;
    uint64_t userns_fd;
};

struct mpp_open_how { /* struct open_how, linux/openat2.h */
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

struct mpp_clone_args { /* struct clone_args, linux/sched.h */
    uint64_t flags;
    uint64_t pidfd;
    uint64_t child_tid;
    uint64_t parent_tid;
    uint64_t exit_signal;
    uint64_t stack;
    uint64_t stack_size;
    uint64_t tls;
    uint64_t set_tid;
    uint64_t set_tid_size;
    uint64_t cgroup;
};

struct kernel_sigaction { /* as rt_sigaction(2) reads it */
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

#define MPP_CLONE_INTO_CGROUP 0x200000000u
#define MPP_RESOLVE_NO_MAGICLINKS 0x02
#define MPP_RESOLVE_NO_SYMLINKS 0x04
#define MPP_RESOLVE_BENEATH 0x08

#define MPP_OPEN_TREE_CLONE 1
#define MPP_AT_EMPTY_PATH 0x1000
#define MPP_AT_RECURSIVE 0x8000
#define MPP_MOVE_MOUNT_F_EMPTY_PATH 0x04
#define MPP_MOVE_MOUNT_T_EMPTY_PATH 0x40
#define MPP_MOUNT_ATTR_IDMAP 0x00100000
#define MPP_SECCOMP_WAIT_KILLABLE 0x20 /* SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19 */
#define MPP_FSCONFIG_SET_STRING 1
#define MPP_FSCONFIG_CMD_CREATE 6
#define MPP_MNT_DETACH 2
#define MPP_CLOSE_RANGE_CLOEXEC 4
#define MPP_LANDLOCK_CREATE_RULESET_VERSION 1
#define MPP_LANDLOCK_CREATE_RULESET_ERRATA 2
#define MPP_LANDLOCK_RULE_PATH_BENEATH 1
#define MPP_LANDLOCK_RULE_NET_PORT 2 /* Linux 6.7 */
#define MPP_LANDLOCK_CONNECT_TCP 2   /* LANDLOCK_ACCESS_NET_CONNECT_TCP */

#endif

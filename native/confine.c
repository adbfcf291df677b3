/* Takes away capabilities, access rights (Landlock) and system calls. What is taken away here cannot be regained. */
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <stddef.h>

#include "init.h"
#include "kernel.h"
#include "sys.h"

/* Gives up what only a process with CAP_SETPCAP can give up; any other process does not have it to give. */
long confine_privileges(void)
{
    /* From here on id 0 gives no capabilities at execve, and nobody can change that. */
    unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                         SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    long error = sys2(SYS_prctl, PR_SET_SECUREBITS, bits);

    if (error < 0) return error;
    for (long capability = 0; capability < 64; capability++) {
        error = sys2(SYS_prctl, PR_CAPBSET_DROP, capability);
        if (error == -EINVAL && capability > CAP_BPF) break; /* beyond the last one of this kernel */
        if (error < 0) return error;
    }
    return 0;
}

long confine_capabilities(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    long error = sys5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

    if (error < 0) return error;
    error = sys2(SYS_capset, &header, none);
    if (error < 0) return error;
    return sys5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

#define PROCESSORS_MAX 8192

/* Restricts the tool to at most `most` processors. Libraries start a thread for each processor that they see, and would
 * hit the limit of processes if they saw all of them. The processors are chosen at random, so that tools that run at
 * the same time do not all share the first ones. This is no confinement, so a failure is ignored. */
void confine_processors(uint32_t most)
{
    uint8_t allowed[PROCESSORS_MAX / 8];
    uint8_t chosen[PROCESSORS_MAX / 8];
    uint32_t count = 0;
    uint32_t skip = 0;
    long size = sys3(SYS_sched_getaffinity, 0, sizeof allowed, allowed);

    for (long at = 0; at < size * 8; at++) count += allowed[at / 8] >> (at % 8) & 1;
    if (most == 0 || count <= most) return;
    sys3(SYS_getrandom, &skip, sizeof skip, 1 /* GRND_NONBLOCK */);
    skip %= count;
    for (long at = 0; at < size; at++) chosen[at] = 0;
    for (long at = 0; most > 0; at = at + 1 < size * 8 ? at + 1 : 0) {
        if ((allowed[at / 8] >> (at % 8) & 1) == 0) continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        chosen[at / 8] |= (uint8_t)(1u << (at % 8));
        most--;
    }
    sys3(SYS_sched_setaffinity, 0, size, chosen);
}

static int same_text(const char *one, const char *other)
{
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

/* Returns the kept mount that will be attached at the path of a rule, or -1 if there is none. */
static int kept_for(const struct init_context *context, const struct mpp_rule *rule)
{
    const struct mpp_plan *plan = context->plan;
    const struct mpp_entry *entries = (const void *)(context->base + plan->entries.offset);
    const char *path = text_at(context, rule->path);

    for (uint32_t i = plan->late; i < plan->entries.count && i - plan->late < MPP_TREES_MAX; i++) {
        int kept = context->kept[i - plan->late];
        if (kept >= 0 && *path == '/' && same_text(path + 1, text_at(context, entries[i].target))) return kept;
    }
    return -1;
}

long confine_landlock(const struct init_context *context, int before_release, uint32_t *detail)
{
    const struct mpp_plan *plan = context->plan;
    const struct mpp_rule *rules = (const void *)(context->base + plan->rules.offset);
    const struct mpp_entry *entries = (const void *)(context->base + plan->entries.offset);
    const struct mpp_stream *streams = (const void *)(context->base + plan->streams.offset);
    struct mpp_landlock_ruleset attr = { plan->landlock_fs, plan->landlock_net, plan->landlock_scoped };
    long error = 0;
    long ruleset;

    /* An older kernel reads a prefix of attr and refuses the call unless the rest is zero. The plan was compiled for
     * this kernel, so a refusal here means that the plan is for another kernel. */
    ruleset = sys3(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) return ruleset;
    /* The rules name paths inside the sandbox, since scratch and synthetic files exist nowhere else. Without a mount
     * namespace the rules are for the descriptors that the parent holds. These are the approved files, whatever lies at
     * their paths now. */
    for (uint32_t i = 0; i < plan->rules.count && error == 0; i++) {
        struct landlock_path_beneath_attr beneath;
        int kept = before_release ? kept_for(context, &rules[i]) : -1;
        long path;

        *detail = i;
        if (kept >= 0)
            path = kept;
        else if (plan->namespaces)
            path = sys4(SYS_openat, AT_FDCWD, text_at(context, rules[i].path), O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
        else if (i < plan->entries.count && entries[i].tree >= 0 && (uint32_t)entries[i].tree < context->tree_count)
            path = context->trees[entries[i].tree];
        else
            path = -EIO;
        if (path < 0) {
            error = path;
            break;
        }
        beneath.allowed_access = rules[i].access;
        beneath.parent_fd = (int)path;
        error = sys4(SYS_landlock_add_rule, ruleset, MPP_LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
        if (kept < 0) sys1(SYS_close, path);
    }
    /* If the ruleset does not handle this right (before ABI 4), the kernel would refuse the rules. */
    for (uint32_t i = 0; i < plan->streams.count && error == 0 && (plan->landlock_net & MPP_LANDLOCK_CONNECT_TCP);
         i++) {
        struct mpp_landlock_port port = { MPP_LANDLOCK_CONNECT_TCP, streams[i].port };

        *detail = plan->rules.count + i;
        error = sys4(SYS_landlock_add_rule, ruleset, MPP_LANDLOCK_RULE_NET_PORT, &port, 0);
    }
    if (error == 0) error = sys2(SYS_landlock_restrict_self, ruleset, 0);
    sys1(SYS_close, ruleset);
    return error;
}

static long add_program(const struct init_context *context, struct mpp_span filter, unsigned long flags)
{
    struct sock_fprog program;

    if (filter.count == 0 || filter.count > 4096) return -EINVAL;
    program.len = (unsigned short)filter.count;
    program.filter = (struct sock_filter *)(uintptr_t)(context->base + filter.offset);
    return sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

long confine_seccomp(const struct init_context *context, struct mpp_span filter)
{
    return add_program(context, filter, 0);
}

long confine_watch(const struct init_context *context)
{
    /* With this flag only the death of the caller interrupts a call that the owner has received. Otherwise a tool with
     * a timer would repeat the call for ever, as it does before Linux 5.19. */
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | MPP_SECCOMP_WAIT_KILLABLE;
    long listener = add_program(context, context->plan->watch, flags);

    if (listener == -EINVAL) listener = add_program(context, context->plan->watch, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    return listener;
}

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

/* Lets the tool signal only itself and its own process group, which contains only the tool. The program is made here,
 * since it contains the tool's pid. It also refuses tkill(2) of another thread, since no filter knows to which process
 * a thread belongs. System calls of another architecture are left to the plan's program, which kills the tool for
 * them. */
long confine_signals(void)
{
    uint32_t self = (uint32_t)sys0(SYS_getpid);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, 8),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tkill, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])), /* pid_t: the low half */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, self, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof code[0], code };

    return sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

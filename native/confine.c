/* Takes away: capabilities, Landlock rights, system calls. What is taken here cannot be had back. */
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>

#include "init.h"
#include "kernel.h"
#include "sys.h"

long confine_capabilities(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    /* Id 0 means nothing to execve any more, and nobody can change that. */
    unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                         SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    long error = sys2(SYS_prctl, PR_SET_SECUREBITS, bits);

    if (error < 0) return error;
    for (long capability = 0; capability < 64; capability++) {
        error = sys2(SYS_prctl, PR_CAPBSET_DROP, capability);
        if (error == -EINVAL && capability > CAP_BPF) break; /* beyond the last one of this kernel */
        if (error < 0) return error;
    }
    error = sys5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (error < 0) return error;
    error = sys2(SYS_capset, &header, none);
    if (error < 0) return error;
    return sys5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

long confine_landlock(const struct init_context *context, uint32_t *detail)
{
    const struct mpp_plan *plan = context->plan;
    const struct mpp_rule *rules = (const void *)(context->base + plan->rules.offset);
    struct mpp_landlock_ruleset attr = { plan->landlock_fs, plan->landlock_net, plan->landlock_scoped };
    long error = 0;
    long ruleset;

    /* An older kernel reads a prefix of attr and refuses the call unless the rest is zero: the plan was
     * compiled for this kernel, so a refusal here is a plan for another one. */
    ruleset = sys3(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) return ruleset;
    /* The rules name paths inside the sandbox: scratch and synthetic files exist nowhere else. */
    for (uint32_t i = 0; i < plan->rules.count && error == 0; i++) {
        struct landlock_path_beneath_attr beneath;
        long path = sys4(SYS_openat, AT_FDCWD, text_at(context, rules[i].path), O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
        *detail = i;
        if (path < 0) {
            error = path;
            break;
        }
        beneath.allowed_access = rules[i].access;
        beneath.parent_fd = (int)path;
        error = sys4(SYS_landlock_add_rule, ruleset, MPP_LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
        sys1(SYS_close, path);
    }
    if (error == 0) error = sys2(SYS_landlock_restrict_self, ruleset, 0);
    sys1(SYS_close, ruleset);
    return error;
}

long confine_seccomp(const struct init_context *context, struct mpp_span filter)
{
    struct sock_fprog program;

    if (filter.count == 0 || filter.count > 4096) return -EINVAL;
    program.len = (unsigned short)filter.count;
    program.filter = (struct sock_filter *)(uintptr_t)(context->base + filter.offset);
    return sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

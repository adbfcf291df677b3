/* Questions about this kernel, each answered by trying: can such a process be made, and which Landlock and seccomp
 * features exist. */
#include <errno.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdalign.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

MPP_NEVER_RETURNS static int end_at_once(void *unused)
{
    (void)unused;
    sys1(SYS_exit_group, 0);
    return 0;
}

int mpp_try_clone(uint32_t namespaces, int cgroup)
{
    alignas(16) char stack[4096];
    int pidfd = -1;

    if (mpp_clone(CLONE_VM | CLONE_VFORK | (uint64_t)namespaces, cgroup, stack, sizeof stack, end_at_once, NULL,
                  &pidfd) < 0)
        return errno;
    mpp_await_child(&pidfd);
    return 0;
}

int mpp_landlock_abi(void)
{
    long abi = sys3(SYS_landlock_create_ruleset, 0, 0, MPP_LANDLOCK_CREATE_RULESET_VERSION);

    return abi == -ENOSYS || abi == -EOPNOTSUPP ? 0 : (int)abi;
}

int mpp_landlock_errata(void)
{
    long errata = sys3(SYS_landlock_create_ruleset, 0, 0, MPP_LANDLOCK_CREATE_RULESET_ERRATA);

    return errata == -EINVAL || errata == -ENOSYS || errata == -EOPNOTSUPP ? 0 : (int)errata;
}

int mpp_seccomp_action(uint32_t action)
{
    long error = sys3(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);

    if (error == 0) return 1;
    return error == -EOPNOTSUPP || error == -ENOSYS || error == -EINVAL ? 0 : (int)error;
}

size_t mpp_sizeof_plan(void)
{
    return sizeof(struct mpp_plan);
}

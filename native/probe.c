/* Questions to this kernel, each answered by doing: can such a process be made, which Landlock, which seccomp. */
#include <errno.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <sys/wait.h>
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
    siginfo_t ended;
    sigset_t all;
    sigset_t before;
    int pidfd = -1;
    int error = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (mpp_clone(CLONE_VM | CLONE_VFORK | (uint64_t)namespaces, cgroup, stack, sizeof stack, end_at_once, NULL,
                  &pidfd) < 0)
        error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        while (waitid(P_PIDFD, (id_t)pidfd, &ended, WEXITED | __WALL) < 0 && errno == EINTR) continue;
        close(pidfd);
    }
    return error;
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

/* Children that share the memory of the host: starting and ending them. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

/* clone3(2) with a function to run in the child. The child starts on a stack of its own and never returns from here, so
 * it does not touch the parent's frame. Returns the kernel's value. */
static long clone3_call(const struct mpp_clone_args *args, int (*child)(void *), void *argument)
{
#if defined(__x86_64__)
    long result;
    register long r8 __asm__("r8") = (long)child;
    register long r9 __asm__("r9") = (long)argument;
    __asm__ volatile("syscall\n\t"
                     "test %%rax,%%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp,%%ebp\n\t"
                     "mov %%r9,%%rdi\n\t"
                     "call *%%r8\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)SYS_clone3), "D"(args), "S"(sizeof *args), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)sizeof *args;
    register long x9 __asm__("x9") = (long)child;
    register long x10 __asm__("x10") = (long)argument;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0,1f\n\t"
                     "mov x29,#0\n\t"
                     "mov x0,x10\n\t"
                     "blr x9\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x9), "r"(x10)
                     : "memory");
    return x0;
#else
#error "no system call convention for this architecture"
#endif
}

/* The child is created inside the cgroup, so that nothing it does is counted elsewhere. Moving it there afterwards
 * would make the kernel wait for all processors. */
int mpp_clone(uint64_t flags, int cgroup, char *stack, size_t size, int (*child)(void *), void *argument, int *pidfd)
{
    struct mpp_clone_args args = {
        .flags = flags | CLONE_PIDFD | (cgroup >= 0 ? MPP_CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, /* CLONE_PARENT: the exit signal of the caller is used */
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = size,
        .cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
    };
    sigset_t all;
    sigset_t before;
    long pid;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* otherwise a handler could run in the child, on this memory */
    /* The seccomp profiles of many containers refuse clone3, and without a cgroup it is not needed. */
    if (cgroup < 0) {
        pid = clone(child, stack + size, (int)(flags | CLONE_PIDFD | SIGCHLD), argument, pidfd);
        error = errno;
    } else {
        pid = clone3_call(&args, child, argument);
        error = (int)-pid;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid >= 0) return (int)pid;
    errno = error;
    return -1;
}

/* The child shares the host's memory, so it must not outlive the host, not even if SIGKILL kills the host at this
 * moment. */
MPP_NEVER_RETURNS int mpp_wait_to_be_killed(void *owner)
{
    sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    while (sys0(SYS_getppid) == *(const pid_t *)owner) {
        if (sys4(SYS_ppoll, 0, 0, 0, 0) != -EINTR) break;
    }
    return 0;
}

void mpp_await_child(int *pidfd)
{
    siginfo_t ended;

    while (waitid(P_PIDFD, (id_t)*pidfd, &ended, WEXITED | __WALL) < 0 && errno == EINTR) continue;
    mpp_close(pidfd);
}

void mpp_end_child(int *pidfd)
{
    sys4(SYS_pidfd_send_signal, *pidfd, SIGKILL, 0, 0);
    mpp_await_child(pidfd);
}

/* The cgroup of one invocation: cloned into, asked, killed. It was made and bounded before, and is removed
 * after, by Python (sandbox/cgroup.py); here is what happens while it is full. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

/* clone3(2) with a function to run in the child. The child starts on a stack of its own and never comes back
 * from here; the parent's frame is not touched. Returns the kernel's value. */
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

/* Born inside, so that nothing it does is counted anywhere else. Moving it there afterwards would make the
 * kernel wait for all of its processors. */
int mpp_clone(uint64_t flags, int cgroup, char *stack, size_t size, int (*child)(void *), void *argument, int *pidfd)
{
    struct mpp_clone_args args = {
        .flags = flags | CLONE_PIDFD | (cgroup >= 0 ? MPP_CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = size,
        .cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
    };
    long pid;

    /* clone3 is refused by the seccomp profiles of many containers, and without a cgroup it is not needed. */
    if (cgroup < 0) return clone(child, stack + size, (int)(flags | CLONE_PIDFD | SIGCHLD), argument, pidfd);
    pid = clone3_call(&args, child, argument);
    if (pid < 0) {
        errno = (int)-pid;
        return -1;
    }
    return (int)pid;
}

/* The number behind a key at the start of a line, or the whole file where the key is empty; -1 without one. */
static long long number_of(int cgroup, const char *name, const char *key)
{
    char text[8192];
    int fd = openat(cgroup, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t length = strlen(key);
    ssize_t size;

    if (fd < 0) return -1;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0) return -1;
    text[size] = '\0';
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, length) == 0 && (length == 0 || line[length] == ' ')) {
            char *end;
            long long number = strtoll(line + length, &end, 10);
            return end == line + length || number < 0 ? -1 : number;
        }
    }
    return -1;
}

int mpp_cgroup_usage(const struct mpp_sandbox *sandbox, struct mpp_usage *usage)
{
    int cgroup = sandbox->launch.cgroup_fd;
    long long cpu = number_of(cgroup, "cpu.stat", "usage_usec");
    long long resident = number_of(cgroup, "memory.current", "");
    long long tasks = number_of(cgroup, "pids.current", "");
    uint64_t before;

    if (cpu < 0 || resident < 0 || tasks < 0) return -1;
    /* Scratch has a bound of its own, and pages of files that were read can be had back at any time. The kernel
     * adds these rows up when they are read, so that is left out while it cannot matter. */
    if ((uint64_t)resident > sandbox->launch.memory / 2) {
        long long files = number_of(cgroup, "memory.stat", "file");
        if (files < 0) return -1;
        resident = resident > files ? resident - files : 0;
    }
    before = sandbox->before_user_us + sandbox->before_system_us;
    usage->cpu_us = (uint64_t)cpu > before ? (uint64_t)cpu - before : 0;
    usage->resident = (uint64_t)resident;
    usage->tasks = tasks > 0 ? (uint32_t)tasks - 1 : 0; /* less init */
    return 0;
}

void mpp_cgroup_times(int cgroup, uint64_t *user_us, uint64_t *system_us)
{
    long long user = number_of(cgroup, "cpu.stat", "user_usec");
    long long system = number_of(cgroup, "cpu.stat", "system_usec");

    if (user < 0 || system < 0) return;
    *user_us = (uint64_t)user;
    *system_us = (uint64_t)system;
}

/* What it came to, once everything in it is dead. */
void mpp_cgroup_account(const struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    int cgroup = sandbox->launch.cgroup_fd;
    uint64_t user = 0;
    uint64_t system = 0;
    long long number;

    mpp_cgroup_times(cgroup, &user, &system);
    if (user >= sandbox->before_user_us && system >= sandbox->before_system_us && user + system > 0) {
        outcome->user_us = user - sandbox->before_user_us;
        outcome->system_us = system - sandbox->before_system_us;
    }
    if ((number = number_of(cgroup, "memory.peak", "")) > 0) outcome->memory_peak = (uint64_t)number; /* Linux 5.19 */
    if ((number = number_of(cgroup, "memory.events", "oom_kill")) > 0) outcome->memory_kills = (uint32_t)number;
    if ((number = number_of(cgroup, "pids.events", "max")) > 0) outcome->processes_denied = (uint32_t)number;
    if ((number = number_of(cgroup, "pids.peak", "")) > 1) { /* Linux 6.8 */
        if ((uint32_t)number - 1 > outcome->processes_peak) outcome->processes_peak = (uint32_t)number - 1;
    }
}

void mpp_cgroup_kill(int cgroup)
{
    int fd = cgroup >= 0 ? openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

    if (fd < 0) return; /* the death of init kills all the same */
    while (write(fd, "1", 1) < 0 && errno == EINTR) continue;
    close(fd);
}

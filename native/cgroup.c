/* The cgroup of one invocation: the sandbox is cloned into it, its counters are read, and it is killed. Python
 * (sandbox/cgroup.py) makes and bounds it before and removes it afterwards. This file is for the time in between, while
 * the cgroup has processes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

/* Returns the number behind a key at the start of a line, or the number that the file starts with if the key is empty;
 * -1 if there is none. */
static long long number_of(int cgroup, const char *name, const char *key)
{
    char text[8192];
    size_t length = strlen(key);

    if (mpp_read_text(cgroup, name, text, sizeof text) <= 0) return -1;
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
    /* Pages of files are not counted: scratch has a bound of its own, and the kernel can reclaim pages of files that
     * were read at any time. The kernel adds these rows up when they are read, so they are not read while they cannot
     * matter. */
    if ((uint64_t)resident > sandbox->launch.memory / 2) {
        long long files = number_of(cgroup, "memory.stat", "file");
        if (files < 0) return -1;
        resident = resident > files ? resident - files : 0;
    }
    before = sandbox->before_user_us + sandbox->before_system_us;
    usage->cpu_us = (uint64_t)cpu > before ? (uint64_t)cpu - before : 0;
    usage->resident = (uint64_t)resident;
    usage->tasks = tasks > 0 ? (uint32_t)tasks - 1 : 0; /* init is not counted */
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

/* Puts the cgroup's final counts into the outcome, once everything in the cgroup is dead. */
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

    if (fd < 0) return; /* the death of init kills all the others nevertheless */
    while (write(fd, "1", 1) < 0 && errno == EINTR) continue;
    close(fd);
}

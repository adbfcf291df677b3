/* What a sandbox uses, read from the host's /proc: the second line behind rlimits where no cgroup counts.
 * Whatever cannot be read counts as nothing; the rlimits still hold. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.h"

#define PROCESSES_MAX 1024

static ssize_t read_text(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size;

    if (fd < 0) return -1;
    size = read(fd, text, room - 1);
    close(fd);
    if (size < 0) return -1;
    text[size] = '\0';
    return size;
}

/* proc_pid_stat(5): fields 14 to 17 are the times, 20 the threads, 24 the resident pages. The name in field 2
 * may hold anything, so counting starts behind the last parenthesis. */
static void add_process(pid_t pid, int is_init, struct mpp_usage *usage)
{
    char path[40];
    char text[1024];
    const char *at;
    unsigned long long user, system, reaped_user, reaped_system, threads, pages;
    unsigned long long tick = (unsigned long long)sysconf(_SC_CLK_TCK);

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_text(path, text, sizeof text) <= 0) return;
    at = strrchr(text, ')');
    if (at == NULL) return;
    if (sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu %*d %*d %llu %*d %*u %*u %llu",
               &user, &system, &reaped_user, &reaped_system, &threads, &pages) != 6)
        return;
    usage->cpu_us += (user + system + reaped_user + reaped_system) * 1000000u / tick;
    if (is_init) return; /* the project's own process is not the tool's memory */
    usage->tasks += (uint32_t)threads;
    usage->resident += pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static size_t add_children(pid_t pid, long task, pid_t *found, size_t count)
{
    char path[64];
    char text[8192];
    char *at = text;
    char *end;

    snprintf(path, sizeof path, "/proc/%d/task/%ld/children", (int)pid, task);
    if (read_text(path, text, sizeof text) <= 0) return count;
    while (count < PROCESSES_MAX) {
        long child = strtol(at, &end, 10);
        if (end == at || child <= 0) break;
        found[count++] = (pid_t)child;
        at = end;
    }
    return count;
}

void mpp_watch(pid_t init, struct mpp_usage *usage)
{
    pid_t found[PROCESSES_MAX];
    size_t count = 1;

    memset(usage, 0, sizeof *usage);
    found[0] = init;
    for (size_t i = 0; i < count; i++) {
        char path[40];
        DIR *tasks;
        struct dirent *task;

        add_process(found[i], i == 0, usage);
        snprintf(path, sizeof path, "/proc/%d/task", (int)found[i]);
        tasks = opendir(path);
        if (tasks == NULL) continue;
        while ((task = readdir(tasks)) != NULL) {
            long id = strtol(task->d_name, NULL, 10);
            if (id > 0) count = add_children(found[i], id, found, count);
        }
        closedir(tasks);
    }
}

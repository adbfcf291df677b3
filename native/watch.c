/* The resource usage of a sandbox, read from the host's /proc: the second line of defence behind rlimits if no cgroup
 * counts.
 *
 * A process that vanishes while it is read has ended. If a process exists but cannot be read, the usage is unknown, and
 * these functions return an error: a sandbox that is not watched must not run on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.h"

#define PROCESSES_MAX 65536 /* more than any limit allows, including processes that die meanwhile */
#define HIDDEN_MAX 128      /* number of deleted files that may be mapped */
#define THREADS_NEW 1024    /* number of threads that may come and go while a process is read */

struct found {
    pid_t *processes;
    size_t count;
    size_t room;
};

/* Fields 3, 14 to 17, 20 and 24 of a line of proc_pid_stat(5). */
struct stat_line {
    char state;
    unsigned long long cpu_ticks; /* including the children that were waited for */
    unsigned long long threads;
    unsigned long long pages;
};

static int gone(int error)
{
    return error == ENOENT || error == ESRCH;
}

/* Reads a whole file into *text, which grows as needed and ends in NUL. Returns the text's size, or -errno. */
static ssize_t read_all(const char *path, char **text, size_t *room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    ssize_t got = 0;

    if (fd < 0) return -errno;
    for (;;) {
        if (*room - size < 4096) {
            size_t larger = *room > 0 ? *room * 2 : 8192;
            char *grown = larger <= (1u << 24) ? realloc(*text, larger) : NULL;
            if (grown == NULL) {
                got = -ENOMEM;
                break;
            }
            *text = grown;
            *room = larger;
        }
        got = read(fd, *text + size, *room - size - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) got = -errno;
        if (got <= 0) break;
        size += (size_t)got;
    }
    close(fd);
    if (got < 0) return got;
    (*text)[size] = '\0';
    return (ssize_t)size;
}

/* Reads a stat file. The name in field 2 may contain anything, so counting starts behind the last parenthesis. Returns
 * 0 or -errno. */
static int read_stat(const char *path, struct stat_line *line)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t size = read_all(path, &text, &room);
    const char *at = size > 0 ? strrchr(text, ')') : NULL;
    unsigned long long user, system, reaped_user, reaped_system;
    int error = 0;

    if (size < 0)
        error = (int)size;
    else if (at == NULL ||
             sscanf(at + 1,
                    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu %*d %*d %llu %*d %*u %*u %llu",
                    &line->state, &user, &system, &reaped_user, &reaped_system, &line->threads, &line->pages) != 7)
        error = -EPROTO;
    else
        line->cpu_ticks = user + system + reaped_user + reaped_system;
    free(text);
    return error;
}

static int add_children(const char *task_path, struct found *found)
{
    char path[128];
    char *text = NULL;
    char *at;
    size_t room = 0;
    ssize_t size;
    int error = 0;

    snprintf(path, sizeof path, "%s/children", task_path);
    size = read_all(path, &text, &room);
    if (size < 0) {
        free(text);
        /* A kernel without CONFIG_PROC_CHILDREN has the task's folder, but not this file. */
        return gone((int)-size) && access(task_path, F_OK) != 0 ? 0 : (int)size;
    }
    at = text;
    while (error == 0) {
        char *end;
        long child = strtol(at, &end, 10);

        if (end == at || child <= 0) break;
        at = end;
        if (found->count == found->room) {
            size_t larger = found->room * 2;
            pid_t *grown = larger <= PROCESSES_MAX ? realloc(found->processes, larger * sizeof *grown) : NULL;
            if (grown == NULL) {
                error = -ENOMEM;
                break;
            }
            found->processes = grown;
            found->room = larger;
        }
        found->processes[found->count++] = (pid_t)child;
    }
    free(text);
    return error;
}

/* Adds one process and finds its children, which may be children of any of its threads. Returns 0 or -errno: -EAGAIN if
 * threads come and go faster than they can be read. If there are more tasks than most, the rest is left out. */
static int add_process(pid_t pid, int is_init, uint32_t most, struct found *found, struct mpp_usage *usage)
{
    unsigned long long tick = (unsigned long long)sysconf(_SC_CLK_TCK);
    struct stat_line whole;
    char whole_path[40];
    char folder[40];
    char path[96];
    struct dirent *task;
    DIR *tasks;
    uint32_t others = usage->tasks;
    unsigned long long seen = 0;
    int error;

    snprintf(whole_path, sizeof whole_path, "/proc/%d/stat", (int)pid);
    error = read_stat(whole_path, &whole);
    if (error < 0) return gone(-error) && !is_init ? 0 : error;
    if (!is_init && whole.threads > most - others) {
        usage->tasks += (uint32_t)whole.threads;
        return 0;
    }
    snprintf(folder, sizeof folder, "/proc/%d/task", (int)pid);
    tasks = opendir(folder);
    if (tasks == NULL) return gone(errno) && !is_init ? 0 : -errno;
    while (error == 0 && (task = readdir(tasks)) != NULL) {
        struct stat_line one;
        long id = strtol(task->d_name, NULL, 10);

        if (id <= 0) continue;
        /* There are more threads than the process had at first: the tool makes threads while they are counted. Without
         * a bound the loop could follow the tool for ever. */
        if (++seen > whole.threads && !is_init) {
            if (read_stat(whole_path, &one) == 0 && one.threads > whole.threads) whole.threads = one.threads;
            if (whole.threads > most - others) break;
            if (seen > 2 * whole.threads + THREADS_NEW) {
                error = -EAGAIN;
                break;
            }
        }
        snprintf(path, sizeof path, "%s/%ld", folder, id);
        error = add_children(path, found);
        /* A first thread that has ended shows no memory, although the other threads still have it. */
        if (error != 0 || whole.pages != 0 || whole.threads < 2) continue;
        snprintf(path, sizeof path, "%s/%ld/stat", folder, id);
        if (read_stat(path, &one) == 0) whole.pages = one.pages;
    }
    closedir(tasks);
    usage->cpu_us += whole.cpu_ticks * 1000000u / tick;
    if (!is_init) { /* the project's own process is not the tool's memory */
        usage->tasks += (uint32_t)whole.threads;
        usage->resident += whole.pages * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    return error;
}

int mpp_watch(pid_t init, uint32_t most, struct mpp_usage *usage)
{
    struct found found = { NULL, 1, 64 };
    int error = 0;

    memset(usage, 0, sizeof *usage);
    found.processes = malloc(found.room * sizeof *found.processes);
    if (found.processes == NULL) return ENOMEM;
    found.processes[0] = init;
    for (size_t i = 0; error == 0 && i < found.count && usage->tasks <= most; i++)
        error = add_process(found.processes[i], i == 0, most, &found, usage);
    free(found.processes);
    return -error;
}

/* Whether the text of a proc_pid_maps(5) file names more than HIDDEN_MAX deleted files. */
static int names_many(char *text)
{
    static const char deleted[] = " (deleted)";
    struct {
        unsigned int major, minor;
        unsigned long long inode;
    } seen[HIDDEN_MAX], one;
    size_t count = 0;

    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        size_t known = 0;

        if ((size_t)(end - line) < sizeof deleted - 1) continue;
        if (memcmp(end - (sizeof deleted - 1), deleted, sizeof deleted - 1) != 0) continue;
        /* sscanf(3) first searches for the end of its input. Without this it would search all lines for each line. */
        *end = '\0';
        if (sscanf(line, "%*s %*s %*s %x:%x %llu", &one.major, &one.minor, &one.inode) != 3) continue;
        while (known < count &&
               (seen[known].inode != one.inode || seen[known].major != one.major || seen[known].minor != one.minor))
            known++;
        if (known == HIDDEN_MAX) return 1;
        if (known == count) seen[count++] = one;
    }
    return 0;
}

/* Reads the mappings of a process. A first thread that has ended shows none, although the other threads still have
 * them. Returns as read_all does, and also -ENOMEM if threads come and go faster than they can be read. */
static ssize_t read_maps(pid_t pid, char **text, size_t *room)
{
    char path[96];
    struct dirent *task;
    unsigned int seen = 0;
    ssize_t size = 0;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (tasks == NULL) return -errno;
    while ((size == 0 || gone((int)-size)) && (task = readdir(tasks)) != NULL) {
        long id = strtol(task->d_name, NULL, 10);

        if (id <= 0) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%ld/maps", (int)pid, id);
        size = ++seen > THREADS_NEW ? -ENOMEM : read_all(path, text, room);
    }
    closedir(tasks);
    return size;
}

int mpp_hides(pid_t init)
{
    struct found found = { NULL, 0, 64 };
    char path[40];
    char *text = NULL;
    size_t room = 0;
    int hides = 0;

    found.processes = malloc(found.room * sizeof *found.processes);
    if (found.processes == NULL) return 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d", (int)init, (int)init);
    if (add_children(path, &found) == 0)
        for (size_t i = 0; !hides && i < found.count; i++) {
            ssize_t size = read_maps(found.processes[i], &text, &room);

            hides = size == -ENOMEM || (size > 0 && names_many(text));
        }
    free(found.processes);
    free(text);
    return hides;
}

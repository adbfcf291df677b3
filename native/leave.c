/* The end of a tool that has answered: nothing of it may run any more when its answer is handed over.
 *
 * To free what it had takes the kernel a millisecond or more, in which it runs no instruction of the tool: who is
 * marked as exiting never returns to its own code (do_exit). That mark is waited for, for every thread of a tool that
 * can start no process; the rest is the kernel's work, which nothing can stop, and mpp_release waits for it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.h"
#include "sys.h"

#define EXITING 0x4u /* PF_EXITING, include/linux/sched.h; shown as flags in proc_pid_stat(5) */
#define YIELDS 8
#define PAUSE_NS 50000
#define PATIENCE_NS 20000000ull /* a thread that the kernel keeps in a system call is waited for in the ordinary way */

/* The one child of init, or -1: it has none, more than one, or they are not shown. */
static long only_child(pid_t init)
{
    char text[64];
    char *end;
    char *rest;
    long child;
    ssize_t got;
    int fd;

    snprintf(text, sizeof text, "/proc/%d/task/%d/children", (int)init, (int)init);
    fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0) return -1;
    text[got] = '\0';
    child = strtol(text, &end, 10);
    return end != text && child > 0 && strtol(end, &rest, 10) == 0 && rest == end ? child : -1;
}

void mpp_hold_tool(struct mpp_sandbox *sandbox)
{
    char path[32];
    long tool = only_child(sandbox->pid);

    mpp_close(&sandbox->tool);
    if (tool < 0) return;
    snprintf(path, sizeof path, "/proc/%ld", tool);
    sandbox->tool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Its child still, so the folder is that child's and not of somebody who got its number. */
    if (sandbox->tool >= 0 && only_child(sandbox->pid) != tool) mpp_close(&sandbox->tool);
}

enum ending { RUNS, EXITS, GONE };

/* How a thread is, by the folder of it in /proc; of how many its process consists goes into *threads. */
static enum ending ending_of(int folder, const char *stat, long *threads)
{
    char text[512];
    const char *at;
    unsigned int flags;
    ssize_t got;
    int fd = openat(folder, stat, O_RDONLY | O_CLOEXEC);

    if (fd < 0) return errno == ENOENT || errno == ESRCH ? GONE : RUNS;
    got = read(fd, text, sizeof text - 1);
    if (got < 0) {
        int error = errno;
        close(fd);
        return error == ESRCH ? GONE : RUNS;
    }
    close(fd);
    text[got] = '\0';
    at = strrchr(text, ')'); /* the name before it may hold anything */
    if (at == NULL ||
        sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld", &flags, threads) != 2)
        return RUNS;
    return (flags & EXITING) != 0 ? EXITS : RUNS;
}

/* How many threads there are of which none runs; -1 where one does, or where nobody can tell. */
static long exiting_of(int tool)
{
    char stat[32];
    const struct dirent *entry;
    long count = 0;
    long ignored;
    int fd = openat(tool, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *threads = fd < 0 ? NULL : fdopendir(fd);

    if (threads == NULL) {
        if (fd >= 0) close(fd);
        return -1;
    }
    while (count >= 0 && (entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        if (snprintf(stat, sizeof stat, "%.20s/stat", entry->d_name) < 0 || ending_of(fd, stat, &ignored) == RUNS)
            count = -1;
        else
            count++;
    }
    closedir(threads);
    return count;
}

/* A thread counts until it is freed, and the last one to let go of the memory frees that before: of several, each is
 * asked. Who has been killed gets no more of them, so as many as there were before they were asked are all. */
static int is_dead(int tool)
{
    long threads = 0;
    enum ending first = ending_of(tool, "stat", &threads);

    if (first != EXITS) return first == GONE;
    return threads <= 1 || exiting_of(tool) == threads;
}

int mpp_leave(struct mpp_sandbox *sandbox)
{
    struct pollfd gone = { .fd = sandbox->pidfd, .events = POLLIN, .revents = 0 };
    struct timespec pause = { 0, PAUSE_NS };
    uint64_t limit = mpp_now_ns() + PATIENCE_NS;

    if (sandbox->tool < 0) return 0;
    /* A folder of /proc is as good as a pidfd here. Init is told as well, and with it all of its PID namespace. */
    sys4(SYS_pidfd_send_signal, sandbox->tool, SIGKILL, 0, 0);
    if (sys4(SYS_pidfd_send_signal, sandbox->pidfd, SIGKILL, 0, 0) < 0) return 0;
    for (int tries = 0; !is_dead(sandbox->tool); tries++) {
        if (mpp_now_ns() > limit) return 0;
        if (tries < YIELDS)
            sched_yield();
        else if (ppoll(&gone, 1, &pause, NULL) < 0 && errno != EINTR)
            return 0;
    }
    return 1;
}

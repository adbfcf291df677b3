/* The end of a tool that has answered: nothing of it may run any more when its answer is handed over.
 *
 * The tool is killed at once. Its owner checks whether it is dead only when the answer is ready to be handed over.
 * Waiting here would give the processor to the threads that end, and each of them frees memory before it gives the
 * processor back.
 *
 * The kernel needs a millisecond or more to free the tool's resources. In that time it runs no instruction of the tool:
 * a thread that has released its memory, or is marked as exiting, never returns to its own code (do_exit). mpp_left
 * waits for this, for every thread of a tool that cannot start a process. The rest is the kernel's work, which nothing
 * can stop, and mpp_release waits for it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"
#include "sys.h"

#define EXITING 0x4u /* PF_EXITING, include/linux/sched.h; shown as flags in proc_pid_stat(5) */
/* The least oom_score of a live process, whatever its size. Does not hold for a process that is spared (oom_score_adj
 * below 0), nor on kernels before 5.9. */
#define SCORE_MIN 666
#define PATIENT_MAX 64
#define PAUSE_NS 50000
#define PATIENCE_NS 20000000ull /* a thread that the kernel keeps longer in a system call is left to mpp_release */

/* Returns the only child of init, or -1 if init has no child or several, or if its children are not shown. */
static long only_child(pid_t init)
{
    char path[64];
    char text[64];
    char *end;
    char *rest;
    long child;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)init, (int)init);
    if (mpp_read_text(AT_FDCWD, path, text, sizeof text) <= 0) return -1;
    child = strtol(text, &end, 10);
    return end != text && child > 0 && strtol(end, &rest, 10) == 0 && rest == end ? child : -1;
}

/* Returns the tool's oom_score (proc_pid_oom_score(5)): what the kernel would gain by killing it. The score is 0 when
 * none of its threads holds the memory any more, and a thread that ends releases its memory first. Returns -1 if the
 * tool is gone, and -2 if the score is unknown. Unlike reading its stat, this takes no reference to the memory; the
 * last one to release a reference has to free the memory. */
static long score_of(int tool)
{
    char text[32];
    ssize_t got = mpp_read_text(tool, "oom_score", text, sizeof text);

    if (got < 0) return got == -ENOENT || got == -ESRCH ? -1 : -2;
    return got > 0 && text[0] >= '0' && text[0] <= '9' ? strtol(text, NULL, 10) : -2;
}

void mpp_hold_tool(struct mpp_sandbox *sandbox)
{
    char path[32];
    long tool = only_child(sandbox->pid);

    mpp_close(&sandbox->tool);
    if (tool < 0) return;
    snprintf(path, sizeof path, "/proc/%ld", tool);
    sandbox->tool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* It is init's child still, so the folder belongs to that child and not to a process that reused its pid. */
    if (sandbox->tool >= 0 && only_child(sandbox->pid) != tool) mpp_close(&sandbox->tool);
    sandbox->scored = sandbox->tool >= 0 && score_of(sandbox->tool) >= SCORE_MIN;
}

static int is_dead(int tool, int scored)
{
    char text[512];
    const char *at;
    unsigned int flags;
    long threads;
    ssize_t got;

    if (scored) {
        long score = score_of(tool);
        return score == 0 || score == -1;
    }
    got = mpp_read_text(tool, "stat", text, sizeof text);
    if (got < 0) return got == -ENOENT || got == -ESRCH;
    at = strrchr(text, ')'); /* the name before it may hold anything */
    if (at == NULL || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld", &flags,
                             &threads) != 2)
        return 0;
    return (flags & EXITING) != 0 && threads <= 1; /* a thread that has ended is not counted */
}

/* A killed thread is woken, and would take the processor from the thread that killed it, to free memory. With
 * SCHED_BATCH it does not. If this fails, or a thread was made meanwhile, the answer is only later. */
static void make_patient(pid_t init, int tool)
{
    const struct sched_param none = { 0 };
    int folder = openat(tool, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *tasks = folder < 0 ? NULL : fdopendir(folder);
    struct dirent *task;

    if (tasks == NULL) mpp_close(&folder);
    for (int seen = 0; tasks != NULL && seen < PATIENT_MAX && (task = readdir(tasks)) != NULL; seen++) {
        long id = strtol(task->d_name, NULL, 10);
        if (id > 0) sched_setscheduler((pid_t)id, SCHED_BATCH, &none);
    }
    if (tasks != NULL) closedir(tasks);
    sched_setscheduler(init, SCHED_BATCH, &none);
}

int mpp_leave(const struct mpp_sandbox *sandbox)
{
    if (sandbox->tool < 0) return 0;
    make_patient(sandbox->pid, sandbox->tool);
    /* A folder of /proc works like a pidfd here. Init is killed as well, and with it everything in its PID
     * namespace. */
    sys4(SYS_pidfd_send_signal, sandbox->tool, SIGKILL, 0, 0);
    return sys4(SYS_pidfd_send_signal, sandbox->pidfd, SIGKILL, 0, 0) >= 0;
}

int mpp_left(struct mpp_sandbox *sandbox)
{
    struct timespec pause = { 0, PAUSE_NS };
    struct pollfd gone;
    uint64_t limit = mpp_now_ns() + PATIENCE_NS;

    if (sandbox == NULL || sandbox->gone) return 1;
    if (sandbox->tool < 0) return 0;
    gone = (struct pollfd){ .fd = sandbox->pidfd, .events = POLLIN, .revents = 0 };
    while (!is_dead(sandbox->tool, sandbox->scored)) {
        if (mpp_now_ns() > limit) return 0;
        /* A pause instead of a yield: a thread that gets the processor then must give it back when this thread wakes
         * up. */
        if (ppoll(&gone, 1, &pause, NULL) < 0 && errno != EINTR) return 0;
    }
    return 1;
}

/* The end of a tool that has answered: nothing of it may run any more when its answer is handed over.
 *
 * It is killed at once, and its owner looks whether it is dead when the answer is ready to be handed over: who waited
 * here would give the processor to threads that end, and each of them frees memory before it gives it back.
 *
 * To free what it had takes the kernel a millisecond or more, in which it runs no instruction of the tool: who has let
 * go of its memory, or is marked as exiting, never returns to its own code (do_exit). That is waited for, for every
 * thread of a tool that can start no process; the rest is the kernel's work, which nothing can stop, and mpp_release
 * waits for it. */
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
/* What one that lives has at least, whatever its size: unless it is spared (oom_score_adj below 0), or on kernels
 * before 5.9. */
#define SCORE_MIN 666
#define PATIENT_MAX 64
#define PAUSE_NS 50000
#define PATIENCE_NS 20000000ull /* a thread that the kernel keeps in a system call is waited for in the ordinary way */

/* The one child of init, or -1: it has none, more than one, or they are not shown. */
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

/* What the kernel would gain by killing it (proc_pid_oom_score(5)): nothing where none of its threads has the memory any
 * more, which the first thing is that a thread lets go of when it ends; -1 where it is gone, -2 where that is unknown.
 * Unlike its stat this is read without a share in that memory, of which the last to let go has to free it. */
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
    /* Its child still, so the folder is that child's and not of somebody who got its number. */
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

/* Whoever is told to end is woken, and would take the processor from whoever told it, to free memory: as batch
 * work it does not. Where this does not work, or a thread was made meanwhile, the answer is later. */
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
    /* A folder of /proc is as good as a pidfd here. Init is told as well, and with it all of its PID namespace. */
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
        /* A pause, and no yield: whoever gets the processor then must give it back when this wakes up. */
        if (ppoll(&gone, 1, &pause, NULL) < 0 && errno != EINTR) return 0;
    }
    return 1;
}

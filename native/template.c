/* The host's side of a template: an interpreter that is started once and then asked for copies (copies.c is the other
 * side).
 *
 * The template is the host's own program and runs no code of a package, so the host believes what it sends. A template
 * that dies, hangs or sends anything unexpected is given up. The caller then starts a sandbox in the ordinary way. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

#define START_MS 5000  /* for the first answer, which includes the template's start on a busy machine */
#define ANSWER_MS 1000 /* for each further answer, which a call waits for */
#define DEATH_MS 1000  /* a frozen cgroup of version 1 keeps even killed processes */
#define SOCKET 3
#define HELD (SOCKET + 2 + MPP_TEMPLATE_HELD) /* number of its descriptors, from 0 on; copies are noted in the last */

struct mpp_template {
    pid_t owner;
    pid_t pid;
    int pidfd;
    int socket;
    volatile int32_t *noted; /* pid of a copy that it has not reported; the kernel notes it in memory that both share */
    int serves;
    int answered; /* it has given its first answer */
};

struct start {
    const char *path;
    const char *const *argv;
    const char *const *envp;
    int held[HELD];
    volatile long error;
};

/* The child. It runs on the parent's memory, so it makes only raw system calls (see spawn.c). */
MPP_NEVER_RETURNS static int become_template(void *shared)
{
    struct start *start = shared;
    struct kernel_sigaction standard = { 0, 0, 0, 0 };
    long error = sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

    for (int number = 1; number <= 64; number++) sys4(SYS_rt_sigaction, number, &standard, 0, 8);
    /* Move the descriptors out of the way first: a wanted number may be the number of another held descriptor. */
    for (int i = 0; error >= 0 && i < HELD; i++)
        error = start->held[i] = (int)sys3(SYS_fcntl, start->held[i], F_DUPFD_CLOEXEC, HELD);
    for (int i = 0; error >= 0 && i < HELD; i++) error = sys3(SYS_dup3, start->held[i], i, 0);
    if (error >= 0) error = sys3(SYS_close_range, HELD, ~0U, MPP_CLOSE_RANGE_CLOEXEC);
    if (error >= 0) error = sys1(SYS_chdir, "/");
    /* Signals stay blocked, as they are here, and the signals of a terminal do not arrive. Otherwise the interpreter
     * would note a signal, and every copy would inherit the note. */
    if (error >= 0) error = sys0(SYS_setsid);
    if (error >= 0) error = sys3(SYS_execve, start->path, start->argv, start->envp);
    start->error = error;
    for (;;) sys1(SYS_exit_group, 127);
    return 0;
}

static int clone_template(struct mpp_template *template, struct start *start)
{
    alignas(16) char stack[16384];
    int error = 0;

    template->pid = mpp_clone(CLONE_VM | CLONE_VFORK, -1, stack, sizeof stack, become_template, start,
                              &template->pidfd);
    if (template->pid < 0) {
        error = errno;
        template->pidfd = -1;
    }
    return error != 0 ? error : (int)-start->error;
}

int mpp_template_start(const char *path, const char *const *argv, const char *const *envp, const int *held,
                       struct mpp_template **slot)
{
    struct start start = { .path = path, .argv = argv, .envp = envp };
    struct mpp_template *template = calloc(1, sizeof *template);
    int pair[2] = { -1, -1 };
    int in[2] = { -1, -1 };
    int out[2] = { -1, -1 };
    int shared = memfd_create("copies", MFD_CLOEXEC);
    int error = 0;

    *slot = NULL;
    if (template == NULL) mpp_close(&shared);
    if (template == NULL) return ENOMEM;
    template->owner = getpid();
    template->pid = template->pidfd = template->socket = -1;
    if (shared < 0 || ftruncate(shared, sizeof *template->noted) < 0) error = errno;
    template->noted = mmap(NULL, sizeof *template->noted, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    if (error == 0 && template->noted == MAP_FAILED) error = errno;
    /* Pipes that nobody reads or writes. The interpreter examines its standard descriptors, and those of a tool are
     * pipes. */
    if (error == 0 && (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(in, O_CLOEXEC) < 0 ||
                       pipe2(out, O_CLOEXEC) < 0))
        error = errno;
    template->socket = pair[0];
    start.held[0] = in[0];
    start.held[1] = start.held[2] = out[1];
    start.held[SOCKET] = pair[1];
    memcpy(start.held + SOCKET + 1, held, MPP_TEMPLATE_HELD * sizeof *held);
    start.held[MPP_TEMPLATE_NOTED] = shared;
    if (error == 0) error = clone_template(template, &start);
    mpp_close(&pair[1]);
    mpp_close(&shared);
    for (int i = 0; i < 2; i++) {
        mpp_close(&in[i]);
        mpp_close(&out[i]);
    }
    template->serves = error == 0;
    *slot = template;
    if (error != 0) mpp_template_close(slot);
    return error;
}

static int ask(const struct mpp_template *template, uint64_t namespaces, int control, int cgroup)
{
    int carried[] = { control, cgroup };

    return mpp_send(template->socket, &namespaces, sizeof namespaces, carried, cgroup < 0 ? 1 : 2);
}

/* Returns 0 with the template's answer in *pid, and with *pidfd if the answer is a process; else an errno. */
static int hear(const struct mpp_template *template, int patience_ms, int64_t *pid, int *pidfd)
{
    int error = mpp_await_input(template->socket, mpp_now_ns() + (unsigned int)patience_ms * 1000000ull);
    size_t count;
    ssize_t got;

    if (error != 0) return error;
    got = mpp_receive(template->socket, pid, sizeof *pid, pidfd, 1, &count);
    if (got < 0) return errno;
    return got == (ssize_t)sizeof *pid && count == (*pid > 0) ? 0 : EPROTO;
}

/* For a template that is dead: ends the copy that it has made but not reported. The copy is a child of this process.
 * Its pid stays its own until somebody waits for it. If another part of this process has waited for it, the pid may
 * belong to a process that is not a child of this one; that process is left alone. */
static void end_untold(struct mpp_template *template)
{
    pid_t pid = *template->noted;
    siginfo_t state;
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

    *template->noted = 0;
    if (pidfd >= 0 && waitid(P_PIDFD, (id_t)pidfd, &state, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0)
        mpp_end_child(&pidfd);
    mpp_close(&pidfd);
}

static void end_template(struct mpp_template *template)
{
    mpp_end_child(&template->pidfd);
    template->pid = -1;
    end_untold(template);
}

/* Ends the template at once: the caller starts another sandbox, and a copy that the template made later would be a
 * child of the host that nobody reaps. A copy that it has made already, but reported too late or not at all, is ended,
 * too. */
static void give_up(struct mpp_template *template)
{
    template->serves = 0; /* a late answer would be taken for the answer to another request */
    if (template->owner != getpid() || template->pidfd < 0) return;
    sys4(SYS_pidfd_send_signal, template->pidfd, SIGKILL, 0, 0);
    if (mpp_await_input(template->pidfd, mpp_now_ns() + DEATH_MS * 1000000ull) == 0) end_template(template);
    /* Otherwise mpp_template_close waits for it. */
}

int mpp_template_copy(struct mpp_template *template, uint64_t namespaces, int control, int cgroup, pid_t *pid,
                      int *pidfd, int *refused)
{
    int64_t answer = 0;
    int error = 0;

    *refused = 0;
    if (!template->serves || template->owner != getpid()) error = ECHILD;
    if (error == 0) error = ask(template, namespaces, control, cgroup);
    if (error == 0) error = hear(template, template->answered ? ANSWER_MS : START_MS, &answer, pidfd);
    if (error == 0 && answer == 0) error = EPROTO;
    if (error != 0) mpp_close(pidfd);
    if (error != 0) give_up(template);
    if (error != 0) return error;
    template->answered = 1;
    *refused = answer < 0;
    if (answer < 0) return (int)-answer;
    *pid = (pid_t)answer;
    *template->noted = 0;
    return 0;
}

int mpp_template_serves(const struct mpp_template *template)
{
    return template != NULL && template->serves && template->owner == getpid();
}

uint64_t mpp_template_size(const struct mpp_template *template)
{
    unsigned long long pages = 0;
    char path[40];
    char text[256];

    if (template == NULL || template->pid < 0) return 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)template->pid);
    if (mpp_read_text(AT_FDCWD, path, text, sizeof text) < 0 || sscanf(text, "%*u %llu", &pages) != 1) return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void mpp_template_close(struct mpp_template **slot)
{
    struct mpp_template *template = *slot;

    *slot = NULL;
    if (template == NULL) return;
    mpp_close(&template->socket);
    if (template->pidfd >= 0 && template->owner == getpid()) end_template(template);
    mpp_close(&template->pidfd);
    if (template->noted != MAP_FAILED) munmap((void *)(uintptr_t) template->noted, sizeof *template->noted);
    free(template);
}

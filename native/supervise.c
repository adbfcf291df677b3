/* Runs one invocation to its end: writes the request, collects output within its bound, enforces the deadline, samples
 * the sandbox's resource usage, and returns only when every process of the sandbox is dead and reaped. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"
#include "sys.h"

#define NS_PER_MS 1000000ull
#define TICK_NS (10 * NS_PER_MS)
#define HIDDEN_LOOKS 20              /* ticks between two looks at the sandbox's mappings */
#define BLIND_MAX 10                 /* ticks for which the resource usage may be unknown */
#define DEATH_NS (10000 * NS_PER_MS) /* a killed sandbox that still exists after this time is given up on */
#define GOODBYE_NS (100 * NS_PER_MS) /* a sandbox that has said how it ended and still exists after this is killed */
/* A signal that arrives just before poll(2) interrupts nothing: the caller looks for signals this often. */
#define BACK_MS 100u

enum { SLOT_CONTROL, SLOT_OUTPUT, SLOT_ERRORS, SLOT_REQUEST, SLOT_CANCEL, SLOT_WATCHER, SLOT_COUNT };

/* Appends what the pipe holds to the buffer. Returns 1 while the pipe is open, 0 at its end, -1 when memory or the
 * bound is exhausted. */
int mpp_drain(struct mpp_sandbox *sandbox, int *fd, struct mpp_buffer *buffer)
{
    for (;;) {
        uint64_t left = sandbox->launch.output - (sandbox->out.size + sandbox->err.size);
        size_t wanted;
        ssize_t got;

        if (buffer->room - buffer->size < 4096) {
            size_t room = buffer->room > 0 ? buffer->room * 2 : 16384;
            uint8_t *data = realloc(buffer->data, room);
            if (data == NULL) return -1;
            buffer->data = data;
            buffer->room = room;
        }
        /* Reading one byte more than may be kept distinguishes output that ends at the bound from output that exceeds
         * it. */
        wanted = buffer->room - buffer->size;
        if (wanted > left) wanted = (size_t)left + 1;
        got = read(*fd, buffer->data + buffer->size, wanted);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return 1;
        if (got <= 0) {
            mpp_close(fd);
            return 0;
        }
        if ((uint64_t)got > left) {
            buffer->size += (size_t)left;
            return -1;
        }
        buffer->size += (size_t)got;
    }
}

/* Killing init ends its PID namespace. An init without a PID namespace is first asked to kill and reap the tool: it
 * sees the end of the socket. The socket is shut down rather than only closed, since a child of the host may hold it,
 * too. */
void mpp_kill_all(struct mpp_sandbox *sandbox)
{
    sandbox->killed = 1;
    if (sandbox->launch.namespaces == 0 && sandbox->control >= 0) {
        shutdown(sandbox->control, SHUT_RDWR);
        mpp_close(&sandbox->control);
        return;
    }
    mpp_cgroup_kill(sandbox->launch.cgroup_fd);
    sys4(SYS_pidfd_send_signal, sandbox->pidfd, SIGKILL, 0, 0);
}

/* Waits until init is gone. By the kernel's rule its whole PID namespace is gone then, too. */
static void reap(struct mpp_sandbox *sandbox, uint64_t patience_ns)
{
    uint64_t limit = mpp_now_ns() + patience_ns;
    siginfo_t ended;

    while (!sandbox->reaped) {
        if (mpp_await_input(sandbox->pidfd, limit) != 0) return;
        /* ECHILD: the host ignores SIGCHLD, or reaps every child that it finds. Init is dead in either case. */
        if (waitid(P_PIDFD, (id_t)sandbox->pidfd, &ended, WEXITED | __WALL) == 0 || errno == ECHILD)
            sandbox->reaped = 1;
        else if (errno != EINTR)
            return;
    }
}

void mpp_stop(struct mpp_outcome *outcome, enum mpp_stop why)
{
    if (outcome->stop != MPP_STOP_NONE) return;
    outcome->stop = why;
    outcome->stopped_ns = mpp_now_ns();
}

/* A cgroup counts everything, including processes that have ended and the kernel's own memory. /proc shows only what is
 * alive. Returns 0, or an errno if neither could be read. */
int mpp_measure(const struct mpp_sandbox *sandbox, struct mpp_usage *usage)
{
    if (sandbox->launch.cgroup_fd >= 0 && mpp_cgroup_usage(sandbox, usage) == 0) return 0;
    /* With namespaces the kernel bounds the number of processes. Without them this function has to notice, before there
     * are so many that counting them takes longer than making more. */
    return mpp_watch(sandbox->pid, sandbox->launch.namespaces == 0 ? sandbox->launch.processes : UINT32_MAX, usage);
}

/* Does not stop the sandbox at once: the host may be out of descriptors for a moment, or a process may be ending right
 * now. */
static void note_blindness(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    struct pollfd alive = { .fd = sandbox->pidfd, .events = POLLIN, .revents = 0 };

    if (poll(&alive, 1, 0) == 0 && ++sandbox->blind >= BLIND_MAX) mpp_stop(outcome, MPP_STOP_BLIND);
}

void mpp_sample(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    const struct mpp_launch *launch = &sandbox->launch;
    struct mpp_usage usage;

    if (mpp_measure(sandbox, &usage) != 0) {
        note_blindness(sandbox, outcome);
        return;
    }
    sandbox->blind = 0;
    if (usage.resident > outcome->resident_peak) outcome->resident_peak = usage.resident;
    if (usage.tasks > outcome->processes_peak) outcome->processes_peak = usage.tasks;
    outcome->user_us =
        usage.cpu_us; /* until init reports the exact time, which it cannot do if the sandbox is killed */
    if (usage.cpu_us >= launch->cpu_us)
        mpp_stop(outcome, MPP_STOP_CPU);
    else if (usage.resident > launch->memory)
        mpp_stop(outcome, MPP_STOP_MEMORY);
    else if (launch->namespaces == 0 && usage.tasks > launch->processes)
        mpp_stop(outcome, MPP_STOP_PROCESSES);
    else if (launch->namespaces == 0 && ++sandbox->looks % HIDDEN_LOOKS == 0 && mpp_hides(sandbox->pid))
        mpp_stop(outcome, MPP_STOP_HIDDEN);
}

/* Whether init may send this report now. A second MPP_REPORT_READY would discard the resource usage until then. */
static int is_in_turn(const struct mpp_sandbox *sandbox, const struct mpp_outcome *outcome,
                      const struct mpp_report *said)
{
    switch (said->kind) {
    case MPP_REPORT_READY:
        return outcome->ready_ns == 0 && sandbox->launch.parked == (uint32_t)sandbox->called;
    case MPP_REPORT_PARKED:
        return sandbox->launch.parked && !sandbox->parked && !sandbox->called;
    case MPP_REPORT_FAILED:
        return said->step != MPP_STEP_NONE && said->step < MPP_STEP_COUNT && said->error > 0;
    default:
        return 1;
    }
}

/* Returns 1 when init said how it ended, or is gone. */
int mpp_listen(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    struct mpp_report said;

    for (;;) {
        ssize_t got = mpp_receive_report(sandbox, &said);

        if (got < 0 && errno == EAGAIN) return 0;
        if (got != (ssize_t)sizeof said || !is_in_turn(sandbox, outcome, &said)) {
            mpp_stop(outcome, MPP_STOP_LOST);
            return 1;
        }
        mpp_close_sources(sandbox);
        switch (said.kind) {
        case MPP_REPORT_READY:
            outcome->ready_ns = said.at_ns;
            if (sandbox->launch.cgroup_fd >= 0)
                mpp_cgroup_times(sandbox->launch.cgroup_fd, &sandbox->before_user_us, &sandbox->before_system_us);
            sandbox->tick_ns = mpp_now_ns() + TICK_NS;
            /* The sandbox was parked. Its grants are mounted now, so its request may be written. */
            if (sandbox->held) {
                sandbox->held = 0;
                mpp_feed(sandbox);
            }
            break;
        case MPP_REPORT_PARKED:
            sandbox->parked = 1;
            break;
        case MPP_REPORT_WATCHED:
        case MPP_REPORT_NETWORK:
            break;
        case MPP_REPORT_FAILED:
            outcome->step = said.step;
            outcome->error = said.error;
            outcome->detail = said.detail;
            return 1;
        case MPP_REPORT_EXITED:
            outcome->exited_ns = said.at_ns;
            outcome->status = said.status;
            outcome->user_us = said.user_us;
            outcome->system_us = said.system_us;
            if (said.resident_kib * 1024 > outcome->resident_peak) outcome->resident_peak = said.resident_kib * 1024;
            return 1;
        default:
            mpp_stop(outcome, MPP_STOP_LOST);
            return 1;
        }
    }
}

static int wait_ms(uint64_t now, uint64_t until)
{
    uint64_t left = until > now ? until - now : 0;

    if (left > 3600000 * NS_PER_MS) left = 3600000 * NS_PER_MS;
    return (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

/* The output of a launcher ends in a line end, and its JSON contains none. The first line end said that it is ready. */
static int has_answered(const struct mpp_sandbox *sandbox)
{
    const struct mpp_buffer *out = &sandbox->out;

    return sandbox->launch.answers && out->size > 1 && out->data[out->size - 1] == '\n';
}

/* Whether nothing of the tool can be left once its one process is reaped: it has no other process and no watcher. */
static int has_only_one(const struct mpp_sandbox *sandbox)
{
    return sandbox->launch.alone && sandbox->launch.namespaces != 0 && sandbox->launch.watched_count == 0;
}

static void finish(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    mpp_guard_end(sandbox);
    if (outcome->stop == MPP_STOP_ANSWERED) outcome->leaving = (uint32_t)mpp_leave(sandbox);
    /* Init has reaped every process of the tool. Only init itself is left, and it is killed here. */
    if (outcome->stop == MPP_STOP_NONE && outcome->exited_ns != 0 && has_only_one(sandbox)) {
        mpp_kill_all(sandbox);
        sandbox->gone = 1;
        outcome->leaving = 1;
    }
    /* Only once: an init without a PID namespace that is told twice would end before it has ended the tool. */
    if (outcome->stop != MPP_STOP_NONE && !outcome->leaving && !sandbox->killed) mpp_kill_all(sandbox);
    if (!outcome->leaving) reap(sandbox, sandbox->killed ? DEATH_NS : GOODBYE_NS);
    /* Init said how it ended but did not end; or it has no PID namespace, and was only asked to end. */
    if (!sandbox->reaped && !outcome->leaving && (!sandbox->killed || sandbox->launch.namespaces == 0)) {
        mpp_kill_all(sandbox);
        reap(sandbox, DEATH_NS);
    }
    if (!sandbox->reaped && !outcome->leaving) {
        sandbox->given_up = 1;
        outcome->undead = 1;
        mpp_stop(outcome, MPP_STOP_LOST);
    }
    outcome->reaped_ns = mpp_now_ns();
    if (sandbox->launch.cgroup_fd >= 0) mpp_cgroup_account(sandbox, outcome);
    /* No process can write any more; the pipes hold the rest of the output. */
    if (sandbox->output >= 0 && outcome->stop != MPP_STOP_OUTPUT &&
        mpp_drain(sandbox, &sandbox->output, &sandbox->out) < 0)
        mpp_stop(outcome, MPP_STOP_OUTPUT);
    if (sandbox->errors >= 0 && outcome->stop != MPP_STOP_OUTPUT &&
        mpp_drain(sandbox, &sandbox->errors, &sandbox->err) < 0)
        mpp_stop(outcome, MPP_STOP_OUTPUT);
    outcome->output = sandbox->out.data;
    outcome->output_size = sandbox->out.size;
    outcome->errors = sandbox->err.data;
    outcome->errors_size = sandbox->err.size;
    mpp_watcher_tell(sandbox->watcher, outcome);
}

int mpp_supervise(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome, uint32_t back_ms)
{
    uint64_t back_ns = mpp_now_ns() + (back_ms < BACK_MS ? back_ms : BACK_MS) * NS_PER_MS;
    int over = 0;

    if (sandbox->answered) mpp_stop(outcome, MPP_STOP_ANSWERED);
    while (!over && outcome->stop == MPP_STOP_NONE) {
        /* poll(2) skips negative descriptors, so the slot of a closed channel stays empty. */
        struct pollfd slots[SLOT_COUNT] = {
            [SLOT_CONTROL] = { .fd = sandbox->control, .events = POLLIN },
            [SLOT_OUTPUT] = { .fd = sandbox->output, .events = POLLIN },
            [SLOT_ERRORS] = { .fd = sandbox->errors, .events = POLLIN },
            [SLOT_REQUEST] = { .fd = !sandbox->held && mpp_unsent(sandbox) ? sandbox->request : -1, .events = POLLOUT },
            [SLOT_CANCEL] = { .fd = sandbox->launch.cancel_fd, .events = POLLIN },
            [SLOT_WATCHER] = { .fd = mpp_watcher_fd(sandbox->watcher), .events = POLLIN },
        };
        uint64_t now = mpp_now_ns();
        uint64_t until = sandbox->deadline_ns;
        int ready;

        if (sandbox->tick_ns != 0 && sandbox->tick_ns < until) until = sandbox->tick_ns;
        if (back_ns < until) until = back_ns;
        if (mpp_unheard(sandbox)) until = now; /* there is more output than one mpp_heard hands over */
        ready = poll(slots, SLOT_COUNT, wait_ms(now, until));
        if (ready < 0 && errno == EINTR) return EINTR;
        if (ready < 0) {
            mpp_stop(outcome, MPP_STOP_LOST);
            break;
        }
        if (slots[SLOT_REQUEST].revents != 0) mpp_feed(sandbox);
        if (slots[SLOT_OUTPUT].revents != 0 && mpp_drain(sandbox, &sandbox->output, &sandbox->out) < 0)
            mpp_stop(outcome, MPP_STOP_OUTPUT);
        if (slots[SLOT_ERRORS].revents != 0 && mpp_drain(sandbox, &sandbox->errors, &sandbox->err) < 0)
            mpp_stop(outcome, MPP_STOP_OUTPUT);
        if (has_answered(sandbox)) mpp_stop(outcome, MPP_STOP_ANSWERED);
        if (outcome->stop == MPP_STOP_ANSWERED) break; /* how the tool ends after its answer does not matter */
        if (slots[SLOT_CONTROL].revents != 0) over = mpp_listen(sandbox, outcome);
        if (over) break;
        if (slots[SLOT_WATCHER].revents != 0) mpp_stop(outcome, MPP_STOP_WATCH);
        if (slots[SLOT_CANCEL].revents != 0) mpp_stop(outcome, MPP_STOP_CANCELLED);
        now = mpp_now_ns();
        if (sandbox->tick_ns != 0 && now >= sandbox->tick_ns) {
            mpp_sample(sandbox, outcome);
            sandbox->tick_ns = mpp_now_ns() + TICK_NS;
        }
        if (now >= sandbox->deadline_ns) mpp_stop(outcome, MPP_STOP_WALL);
        if (mpp_unheard(sandbox) && outcome->stop == MPP_STOP_NONE) return MPP_HEARD;
        if (now >= back_ns && outcome->stop == MPP_STOP_NONE) return EINTR;
    }
    finish(sandbox, outcome);
    return 0;
}

int mpp_kill(struct mpp_sandbox *sandbox)
{
    struct pollfd gone = { .fd = -1, .events = POLLIN, .revents = 0 };

    /* A child of the host must not act on the sandbox. */
    if (sandbox == NULL || sandbox->reaped || sandbox->owner != getpid()) return 1;
    mpp_kill_all(sandbox);
    gone.fd = sandbox->pidfd;
    return poll(&gone, 1, 0) == 1;
}

void mpp_release(struct mpp_sandbox **slot)
{
    struct mpp_sandbox *sandbox = *slot;

    *slot = NULL;
    if (sandbox == NULL) return;
    mpp_guard_end(sandbox);
    mpp_bury();
    if (sandbox->owner == getpid()) {
        int tries = sandbox->given_up ? 0 : sandbox->launch.namespaces == 0 ? 2 : 1; /* 2: asked first, then killed */

        for (; tries > 0 && !sandbox->reaped; tries--) {
            mpp_kill_all(sandbox);
            reap(sandbox, DEATH_NS);
        }
        if (!sandbox->reaped) mpp_bury_later(&sandbox->pidfd);
    }
    mpp_close_sources(sandbox);
    mpp_close_sockets(sandbox);
    mpp_close(&sandbox->pidfd);
    mpp_close(&sandbox->tool);
    mpp_close(&sandbox->control);
    mpp_close(&sandbox->request);
    mpp_close(&sandbox->output);
    mpp_close(&sandbox->errors);
    for (size_t i = 0; i < sizeof sandbox->peers / sizeof sandbox->peers[0]; i++) mpp_close(&sandbox->peers[i]);
    mpp_watcher_close(&sandbox->watcher);
    free(sandbox->sources);
    free(sandbox->plan);
    free(sandbox->out.data);
    free(sandbox->err.data);
    free(sandbox->said.data);
    free(sandbox);
}

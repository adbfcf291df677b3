/* PID 1 of a sandbox: the project's own code, never a tool's. A program of its own (begin_exec.c), or what a copy of a
 * template begins with (copies.c).
 *
 * It receives one message (the plan and its descriptors) on descriptor 3, builds the sandbox around itself,
 * gives up every privilege, forks the tool, and then does two things only: reap, and watch for the death of
 * its owner. When it ends, the kernel kills everything in its PID namespace. Where there are no namespaces it
 * is no PID 1, and kills and reaps the tool itself; should it be killed, the kernel kills the tool.
 *
 * The order of the steps is enum mpp_step; each stands once in init_run(), and a failure is reported with the
 * step, the errno and an index. seccomp comes last, in the tool's process, after the last call it forbids. */
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/wait.h>

#include "init.h"
#include "kernel.h"
#include "owner.h"
#include "sys.h"

static long text_size(const char *text)
{
    long size = 0;

    while (text[size] != '\0') size++;
    return size;
}

static long become_nobody(const struct mpp_plan *plan)
{
    long error = plan->empty_groups ? sys2(SYS_setgroups, 0, 0) : 0;

    if (error == 0) error = sys3(SYS_setresgid, plan->gid, plan->gid, plan->gid);
    if (error == 0) error = sys3(SYS_setresuid, plan->uid, plan->uid, plan->uid);
    return error;
}

static long new_session(const struct init_context *context)
{
    const char *name = text_at(context, context->plan->host_name);
    long error = sys0(SYS_setsid); /* no controlling terminal */

    /* The names are the host's own. */
    if (!context->plan->namespaces || context->plan->ground == MPP_GROUND_MADE) return error < 0 ? error : 0;
    if (error > 0) error = sys2(SYS_sethostname, name, text_size(name));
    if (error == 0) error = sys2(SYS_setdomainname, name, text_size(name));
    return error;
}

/* Without a PID namespace: dies with init, and its group is its own, so that no process is beside it there. */
static long stand_alone(long init)
{
    long error = sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

    if (error == 0 && sys0(SYS_getppid) != init) leave(1); /* init died before that */
    if (error == 0) error = sys0(SYS_setsid);
    return error < 0 ? error : 0;
}

/* Makes the network of a plan with streams, and hands its sockets to the owner: no copy of one stays inside. */
static void make_network(const struct init_context *context)
{
    static int sockets[1 + MPP_STREAMS_MAX];
    struct mpp_report made = { .kind = MPP_REPORT_NETWORK };
    uint32_t count = 1 + context->plan->streams.count;
    uint32_t detail = 0;
    long error = network_up(context, &detail);

    if (error == 0) error = network_sockets(context, sockets, &detail);
    if (error == 0) error = hand_over(&made, sockets, count);
    if (error < 0) fail(MPP_STEP_NETWORK, error, detail);
    for (uint32_t i = 0; i < count; i++) sys1(SYS_close, sockets[i]);
}

/* Installs the watching program of a traced call and hands its listener to the owner. It is closed by execve. */
static long send_listener(const struct init_context *context)
{
    struct mpp_report watched = { .kind = MPP_REPORT_WATCHED };
    /* As execve will make it: till then the owner, who is asked about that execve, could not read its path. */
    long error = sys5(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    long listener = error < 0 ? error : confine_watch(context);

    return listener < 0 ? listener : hand_over(&watched, (const int[]){ (int)listener }, 1);
}

/* A process that is saved has another number than those that become it: libraries tell by that that they are copies, and
 * make their randomness anew. */
static void use_up_a_number(void)
{
    long pid = fork_tool();

    if (pid < 0) fail(MPP_STEP_FORK, pid, 2);
    if (pid == 0) leave(0);
    if ((pid = sys4(SYS_wait4, pid, 0, 0, 0)) < 0) fail(MPP_STEP_FORK, pid, 3);
}

/* No signal is heard here, so whatever the tool sends is kept, as many as there is room for: of the host's user, whose
 * other programs have none then. That a process has ended is told all the same. The tool's own limit is set later. */
static long keep_no_signals(void)
{
    struct {
        uint64_t soft;
        uint64_t hard;
    } limit;
    long error = sys4(SYS_prlimit64, 0, RLIMIT_SIGPENDING, 0, &limit);

    limit.soft = 0;
    return error < 0 ? error : sys4(SYS_prlimit64, 0, RLIMIT_SIGPENDING, &limit, 0);
}

/* Returns where the tool has begun already: in a copy, whose caller is the tool. */
static void become_tool(struct init_context *context, long init)
{
    const struct mpp_plan *plan = context->plan;
    const struct mpp_rlimit *limits = (const void *)(context->base + plan->limits.offset);
    unsigned long unblocked = 0;
    uint32_t detail = 0;
    long error;

    if (starts_before_grants(plan)) { /* init is not confined yet: it still has to mount */
        if ((error = confine_capabilities()) < 0) fail(MPP_STEP_CAPABILITIES, error, 0);
        if (plan->landlock && (error = confine_landlock(context, 1, &detail)) < 0)
            fail(MPP_STEP_LANDLOCK, error, detail);
    }
    if (!plan->namespaces && (error = stand_alone(init)) < 0) fail(MPP_STEP_SESSION, error, 1);
    for (uint32_t i = 0; i < plan->limits.count; i++) {
        struct {
            uint64_t soft;
            uint64_t hard;
        } limit = { limits[i].soft, limits[i].hard };
        error = sys4(SYS_prlimit64, 0, limits[i].resource, &limit, 0);
        if (error < 0) fail(MPP_STEP_LIMITS, error, i);
    }
    confine_processors(plan->processors);
    sys1(SYS_umask, 022);
    /* Closed by execve, not now: a failure below is still to be reported. */
    error = sys3(SYS_close_range, 3, ~0U, MPP_CLOSE_RANGE_CLOEXEC);
    if (error < 0) fail(MPP_STEP_STDIO, error, 0);
    if ((error = let_go(context)) < 0) fail(MPP_STEP_STDIO, error, 2);
    /* In the place of the owner's pidfd; all others are closed by execve. */
    if (plan->snapshot && (error = sys3(SYS_dup3, context->snapshot, MPP_SNAPSHOT_FD, 0)) < 0)
        fail(MPP_STEP_STDIO, error, 3);
    error = sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &unblocked, 0, sizeof unblocked);
    if (error < 0) fail(MPP_STEP_STDIO, error, 1);
    /* Below the ordinary program, which would refuse this call. The order does not matter to the kernel: of two
     * answers it takes the stricter one, and a refusal is stricter than a notification. */
    if (plan->watch.count > 0 && (error = send_listener(context)) < 0) fail(MPP_STEP_WATCH, error, 0);
    if (plan->own_signals && (error = confine_signals()) < 0) fail(MPP_STEP_SECCOMP, error, 2);
    error = confine_seccomp(context, plan->filter);
    if (error < 0) fail(MPP_STEP_SECCOMP, error, 0);
    if ((error = begin_tool(text_at(context, plan->exec_path), context->arguments, context->variables)) < 0)
        fail(MPP_STEP_EXEC, error, 0);
}

/* Reaps whatever ended; returns 1 with its report filled in when that was the tool. */
static int reap(long tool, struct mpp_report *what)
{
    struct rusage usage;
    int status;
    int ended = 0;
    long pid;

    while ((pid = sys4(SYS_wait4, -1, &status, WNOHANG, &usage)) > 0) {
        if (pid != tool) continue;
        what->kind = MPP_REPORT_EXITED;
        what->status = status;
        what->user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000u + (uint64_t)usage.ru_utime.tv_usec;
        what->system_us = (uint64_t)usage.ru_stime.tv_sec * 1000000u + (uint64_t)usage.ru_stime.tv_usec;
        what->resident_kib = (uint64_t)usage.ru_maxrss;
        ended = 1;
    }
    return ended;
}

/* Where no PID namespace ends with init: the tool cannot fork, and its group is its own, so whatever it should
 * have forked all the same is in that group, and init's to reap. Before the tool itself is reaped: until then
 * nobody else can get its number. */
static void end_group_of_dead(long tool)
{
    siginfo_t ended = { 0 };

    if (sys5(SYS_waitid, 1 /* P_PID */, tool, &ended, WEXITED | WNOHANG | WNOWAIT, 0) == 0 && ended.si_pid == tool)
        sys2(SYS_kill, -tool, SIGKILL);
}

static void end_living(long tool)
{
    long pid;

    sys2(SYS_kill, tool, SIGKILL); /* it may not have made its group yet */
    sys2(SYS_kill, -tool, SIGKILL);
    do pid = sys4(SYS_wait4, -1, 0, 0, 0);
    while (pid > 0 || pid == -EINTR);
}

/* Watches the owner and, where one was started, the tool: ends with either. Returns only where it waits for the
 * release of a parked sandbox, when the owner has said something. */
static void attend(const struct init_context *context, long children, long tool, int for_release)
{
    int alone = !context->plan->namespaces;
    struct pollfd watched[3] = { { CONTROL, POLLIN, 0 }, { context->owner, POLLIN, 0 }, { (int)children, POLLIN, 0 } };
    struct mpp_report what = { 0 };
    uint8_t drained[128]; /* struct signalfd_siginfo */

    for (;;) {
        long ready = sys5(SYS_ppoll, watched, 3, 0, 0, 8);

        if (ready < 0 && ready != -EINTR) leave(1);
        if (ready <= 0) continue;
        /* The owner closed its end, or is dead even though a child of it holds the end open. */
        if (for_release && watched[0].revents == POLLIN && watched[1].revents == 0) return;
        if (watched[0].revents != 0 || watched[1].revents != 0) {
            if (alone) end_living(tool);
            leave(1);
        }
        if (watched[2].revents == 0) continue;
        sys3(SYS_read, children, drained, sizeof drained);
        if (alone) end_group_of_dead(tool);
        if (reap(tool, &what)) {
            while (alone && sys4(SYS_wait4, -1, 0, 0, 0) > 0) continue;
            report(&what);
            leave(0);
        }
    }
}

/* Init's own confinement, once it has nothing to mount any more. */
static void confine_self(const struct init_context *context)
{
    uint32_t detail = 0;
    long error = confine_capabilities();

    if (error < 0) fail(MPP_STEP_CAPABILITIES, error, 0);
    if (context->plan->landlock && (error = confine_landlock(context, 0, &detail)) < 0)
        fail(MPP_STEP_LANDLOCK, error, detail);
}

/* Waits for the call of a parked sandbox, and mounts what it was granted. */
static void take_call(struct init_context *context, long children, long tool)
{
    uint32_t detail = 0;
    long error;

    attend(context, children, tool, 1);
    if ((error = receive_release(context)) < 0) fail(MPP_STEP_RELEASE, error, 0);
    if ((error = layout_late(context, &detail)) < 0) fail(MPP_STEP_LAYOUT, error, detail);
}

static void build_root(struct init_context *context)
{
    uint32_t detail = 0;
    long error;

    if ((error = layout_root(context)) < 0) fail(MPP_STEP_ROOT, error, 0);
    if ((error = layout_build(context, &detail)) < 0) fail(MPP_STEP_LAYOUT, error, detail);
    if ((error = layout_pivot(context)) < 0) fail(MPP_STEP_PIVOT, error, 0);
    if ((error = confine_privileges()) < 0) fail(MPP_STEP_CAPABILITIES, error, 1);
}

/* What has been built is a ground: the owner takes it over, and kills this process. */
static _Noreturn void be_ground(void)
{
    struct mpp_report made = { .kind = MPP_REPORT_PARKED };
    long error = layout_seal();

    if (error < 0) fail(MPP_STEP_PIVOT, error, 1);
    report(&made);
    wait_to_be_killed();
}

void init_run(void)
{
    struct init_context context = { 0 };
    struct mpp_report started = { .kind = MPP_REPORT_READY };
    struct mpp_report parked = { .kind = MPP_REPORT_PARKED };
    unsigned long child_signal = 1ul << (SIGCHLD - 1);
    long self = sys0(SYS_getpid);
    int before_grants;
    long children;
    long error;
    long tool;

    sys1(SYS_umask, 0);
    /* Until the plan has come, the owner's death shows as the end of the socket, unless a child that the owner
     * forked at this moment holds it open. */
    if ((error = sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) < 0) fail(MPP_STEP_OWNER, error, 2);
    if ((error = receive_plan(&context)) < 0) fail(MPP_STEP_RECEIVE, error, 0);
    before_grants = starts_before_grants(context.plan);
    /* A host that is root, and has no namespace for the tool to be harmless in: before the ids, since changing
     * them takes the right away. empty_groups says that the host is root. */
    if (!context.plan->namespaces && context.plan->empty_groups && (error = confine_privileges()) < 0)
        fail(MPP_STEP_CAPABILITIES, error, 1);
    if ((error = become_nobody(context.plan)) < 0) fail(MPP_STEP_IDS, error, 0);
    /* Second line behind the socket and the owner's pidfd, set after the ids since changing them clears it. */
    if ((error = sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) < 0) fail(MPP_STEP_OWNER, error, 0);
    if ((error = sys5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0)) < 0) fail(MPP_STEP_OWNER, error, 1);
    if ((error = new_session(&context)) < 0) fail(MPP_STEP_SESSION, error, 0);
    if (context.plan->streams.count > 0) make_network(&context);
    if (context.plan->namespaces) {
        build_root(&context);
        if (context.plan->ground == MPP_GROUND_MADE) be_ground();
    } else {
        error = sys1(SYS_chdir, text_at(&context, context.plan->working_directory));
        if (error < 0) fail(MPP_STEP_PIVOT, error, 0);
        /* What the tool leaves behind becomes a child of init, not of the host's. */
        if ((error = sys5(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) < 0) fail(MPP_STEP_OWNER, error, 3);
        if (!context.plan->landlock) fail(MPP_STEP_LANDLOCK, -ENOSYS, 0); /* nothing would confine files */
    }
    if (context.plan->parked && !context.plan->early_start) {
        report(&parked);
        take_call(&context, -1, -1);
    }
    if (!before_grants) confine_self(&context);

    reset_signals();
    children = sys4(SYS_signalfd4, -1, &child_signal, 8, O_CLOEXEC);
    if (children < 0) fail(MPP_STEP_FORK, children, 0);
    if ((error = keep_no_signals()) < 0) fail(MPP_STEP_LIMITS, error, context.plan->limits.count);
    if (context.plan->snapshot == MPP_SNAPSHOT_SAVED) use_up_a_number();
    tool = fork_tool();
    if (tool < 0) fail(MPP_STEP_FORK, tool, 1);
    if (tool == 0) {
        become_tool(&context, self);
        return;
    }

    report(context.plan->parked && context.plan->early_start ? &parked : &started);
    /* The tool's ends are the tool's alone: their closing must be seen by the owner. */
    sys3(SYS_close_range, 0, 2, 0);
    if (context.plan->snapshot) sys1(SYS_close, context.snapshot);
    if (before_grants) {
        take_call(&context, children, tool);
        confine_self(&context);
        report(&started);
    }
    if ((error = confine_seccomp(&context, context.plan->guard)) < 0) fail(MPP_STEP_SECCOMP, error, 1);
    for (;;) attend(&context, children, tool, 0);
}

/* PID 1 of a sandbox: the project's own code, never a tool's. It is a program of its own (begin_exec.c), or the first
 * code that a copy of a template runs (copies.c).
 *
 * Init receives one message (the plan and its descriptors) on descriptor 3, builds the sandbox around itself, gives up
 * every privilege, and forks the tool. After that it does only two things: it reaps, and it watches for the death of
 * its owner. When init ends, the kernel kills everything in its PID namespace. Without namespaces init is not PID 1,
 * and kills and reaps the tool itself; if init is killed then, the kernel kills the tool.
 *
 * enum mpp_step gives the order of the steps. Each step occurs once in init_run(), and a failure is reported with the
 * step, the errno and an index. seccomp comes last, in the tool's process, after the last call that it forbids. */
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

    /* Here the host name and domain name are the host's own, so they are not set. */
    if (!context->plan->namespaces || context->plan->ground == MPP_GROUND_MADE) return error < 0 ? error : 0;
    if (error > 0) error = sys2(SYS_sethostname, name, text_size(name));
    if (error == 0) error = sys2(SYS_setdomainname, name, text_size(name));
    return error;
}

/* Without a PID namespace: the tool dies with init, and gets a process group of its own, with no other process in
 * it. */
static long stand_alone(long init)
{
    long error = sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

    if (error == 0 && sys0(SYS_getppid) != init) leave(1); /* init died before that */
    if (error == 0) error = sys0(SYS_setsid);
    return error < 0 ? error : 0;
}

/* Makes the network of a plan with streams, and hands the sockets to the owner. No copy of a socket stays inside. */
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

/* Installs the watching program of a traced call and hands its listener to the owner. execve closes the listener. */
static long send_listener(const struct init_context *context)
{
    struct mpp_report watched = { .kind = MPP_REPORT_WATCHED };
    /* execve sets this, too. Without it the owner, which is asked about that very execve, could not read its path. */
    long error = sys5(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    long listener = error < 0 ? error : confine_watch(context);

    return listener < 0 ? listener : hand_over(&watched, (const int[]){ (int)listener }, 1);
}

/* Gives the process that will be saved another pid than the processes that are restored from it. Libraries recognise by
 * the changed pid that they run in a copy, and reseed their random numbers. */
static void use_up_a_number(void)
{
    long pid = fork_tool();

    if (pid < 0) fail(MPP_STEP_FORK, pid, 2);
    if (pid == 0) leave(0);
    if ((pid = sys4(SYS_wait4, pid, 0, 0, 0)) < 0) fail(MPP_STEP_FORK, pid, 3);
}

/* Init takes no signals, so every signal that the tool sends to it stays queued, up to the limit of the host's user.
 * The user's other programs would then have no room for theirs. SIGCHLD still arrives when a process ends. The tool's
 * own limit is set later. */
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

/* Returns only if the tool has begun already: in a copy, where the caller is the tool. */
static void become_tool(struct init_context *context, long init)
{
    const struct mpp_plan *plan = context->plan;
    const struct mpp_rlimit *limits = (const void *)(context->base + plan->limits.offset);
    unsigned long unblocked = 0;
    uint32_t detail = 0;
    long error;

    if (starts_before_grants(plan)) { /* init is not confined yet, since it still has to mount the grants */
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
    /* execve closes them, not this call: a failure below must still be reported. */
    error = sys3(SYS_close_range, 3, ~0U, MPP_CLOSE_RANGE_CLOEXEC);
    if (error < 0) fail(MPP_STEP_STDIO, error, 0);
    if ((error = let_go(context)) < 0) fail(MPP_STEP_STDIO, error, 2);
    /* It replaces the owner's pidfd. execve closes all the others. */
    if (plan->snapshot && (error = sys3(SYS_dup3, context->snapshot, MPP_SNAPSHOT_FD, 0)) < 0)
        fail(MPP_STEP_STDIO, error, 3);
    error = sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &unblocked, 0, sizeof unblocked);
    if (error < 0) fail(MPP_STEP_STDIO, error, 1);
    /* Installed before the ordinary program, which would refuse this call. The order does not matter to the kernel: it
     * takes the stricter of two answers, and a refusal is stricter than a notification. */
    if (plan->watch.count > 0 && (error = send_listener(context)) < 0) fail(MPP_STEP_WATCH, error, 0);
    if (plan->own_signals && (error = confine_signals()) < 0) fail(MPP_STEP_SECCOMP, error, 2);
    error = confine_seccomp(context, plan->filter);
    if (error < 0) fail(MPP_STEP_SECCOMP, error, 0);
    if ((error = begin_tool(text_at(context, plan->exec_path), context->arguments, context->variables)) < 0)
        fail(MPP_STEP_EXEC, error, 0);
}

/* Reaps every process that has ended. Returns 1 with the report filled in if the tool was one of them. */
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

/* For a sandbox without a PID namespace that would end with init. The tool cannot fork, and it has a process group of
 * its own. So any process that it forked nevertheless is in that group, and init reaps it. The group is killed before
 * the tool itself is reaped: until then no other process can get the tool's pid. */
static void end_group_of_dead(long tool)
{
    siginfo_t ended = { 0 };

    if (sys5(SYS_waitid, 1 /* P_PID */, tool, &ended, WEXITED | WNOHANG | WNOWAIT, 0) == 0 && ended.si_pid == tool)
        sys2(SYS_kill, -tool, SIGKILL);
}

static void end_living(long tool)
{
    long pid;

    sys2(SYS_kill, tool, SIGKILL); /* the tool may not have made its group yet */
    sys2(SYS_kill, -tool, SIGKILL);
    do pid = sys4(SYS_wait4, -1, 0, 0, 0);
    while (pid > 0 || pid == -EINTR);
}

/* Watches the owner and, if it was started, the tool, and ends when either of them ends. Returns only while it waits
 * for the release of a parked sandbox, and only when the owner has sent something. */
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
        /* If this condition fails, the owner closed its end, or is dead although a child of the owner holds the end
         * open. */
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

/* Init's own confinement, once it has nothing left to mount. */
static void confine_self(const struct init_context *context)
{
    uint32_t detail = 0;
    long error = confine_capabilities();

    if (error < 0) fail(MPP_STEP_CAPABILITIES, error, 0);
    if (context->plan->landlock && (error = confine_landlock(context, 0, &detail)) < 0)
        fail(MPP_STEP_LANDLOCK, error, detail);
}

/* Waits for the call of a parked sandbox, and mounts what the call was granted. */
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

/* This process has built a ground: the owner takes it over, and kills this process. */
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
    /* Until the plan has come, the owner's death shows as the end of the socket, unless a child that the owner forked
     * at this moment holds the socket open. */
    if ((error = sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) < 0) fail(MPP_STEP_OWNER, error, 2);
    if ((error = receive_plan(&context)) < 0) fail(MPP_STEP_RECEIVE, error, 0);
    before_grants = starts_before_grants(context.plan);
    /* The host is root (empty_groups says so), and there is no namespace to make the tool's privileges harmless. This
     * step comes before the ids are changed, since changing them takes away the right to do it. */
    if (!context.plan->namespaces && context.plan->empty_groups && (error = confine_privileges()) < 0)
        fail(MPP_STEP_CAPABILITIES, error, 1);
    if ((error = become_nobody(context.plan)) < 0) fail(MPP_STEP_IDS, error, 0);
    /* The second line of defence behind the socket and the owner's pidfd. It is set again, since changing the ids
     * clears it. */
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
        /* A process that the tool leaves behind becomes a child of init, not of a process of the host. */
        if ((error = sys5(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) < 0) fail(MPP_STEP_OWNER, error, 3);
        if (!context.plan->landlock) fail(MPP_STEP_LANDLOCK, -ENOSYS, 0); /* nothing else would confine file access */
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
    /* Only the tool may hold the tool's ends, so that the owner sees when the tool closes them. */
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

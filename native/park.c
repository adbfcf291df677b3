/* Sandboxes that are prepared ahead of their call: they are spawned, looked after, and given one call.
 *
 * A prepared sandbox knows nothing of its call: the request is not written, and the grants are not mounted. Init holds
 * everything that mounting the grants needs, and attaches them when it is told to. Only then is the request written. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.h"
#include "sound.h"

#define NS_PER_MS 1000000ull
/* The CPU time that an idle tool may use: for a garbage collector, a thread that polls, and rounding in the
 * measurement. */
#define IDLE_CPU_US 200000u
#define IDLE_CPU_SHARE 50 /* in addition, one part in this many of the time that the sandbox is parked */
#define READY_MARK '\n'   /* the launcher of a tool that is started early writes this when it waits: a blank in JSON */

void mpp_greeted(struct mpp_sandbox *sandbox)
{
    sandbox->greeted = 1;
    mpp_guard_end(sandbox); /* one thread for each waiting sandbox would be too many */
    if (!mpp_unheard(sandbox)) sandbox->out.size = sandbox->heard = 0; /* the output of the call begins here */
}

static int is_ready(struct mpp_sandbox *sandbox)
{
    if (!sandbox->parked) return 0;
    if (sandbox->launch.dialogue) return sandbox->greeted && !mpp_unsent(sandbox);
    return !mpp_plan_of(sandbox)->early_start || sandbox->out.size == 1;
}

/* While a sandbox gets ready, the limits of its call are enforced: its tool may be running already. */
static void measure_preparing(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    uint64_t now = mpp_now_ns();

    if (now >= sandbox->deadline_ns) mpp_stop(outcome, MPP_STOP_WALL);
    if (now >= sandbox->park_tick_ns) {
        mpp_sample(sandbox, outcome);
        sandbox->park_tick_ns = mpp_now_ns() + 10 * NS_PER_MS;
    }
}

/* A tool that is started early has run its own code. While it waits it must not go on running. */
static void measure_waiting(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    const struct mpp_launch *launch = &sandbox->launch;
    struct mpp_usage usage;
    uint64_t now = mpp_now_ns();

    if (mpp_measure(sandbox, &usage) != 0) { /* a sandbox that cannot be measured is not kept */
        mpp_stop(outcome, MPP_STOP_BLIND);
        return;
    }
    if (usage.resident > outcome->resident_peak) outcome->resident_peak = usage.resident;
    if (sandbox->parked_ns == 0) {
        sandbox->parked_ns = now;
        sandbox->parked_cpu_us = usage.cpu_us;
        if (launch->alone && mpp_plan_of(sandbox)->early_start) mpp_hold_tool(sandbox);
    }
    outcome->user_us = usage.cpu_us;
    if (usage.resident > launch->memory)
        mpp_stop(outcome, MPP_STOP_MEMORY);
    else if (usage.cpu_us >= launch->cpu_us ||
             /* The time in /proc decreases when a process has ended that its parent did not wait for. */
             usage.cpu_us > sandbox->parked_cpu_us + IDLE_CPU_US + (now - sandbox->parked_ns) / 1000 / IDLE_CPU_SHARE)
        mpp_stop(outcome, MPP_STOP_CPU);
}

void mpp_park_measure(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    if (is_ready(sandbox) && !sandbox->told)
        measure_waiting(sandbox, outcome);
    else
        measure_preparing(sandbox, outcome);
}

enum mpp_parked mpp_park_look(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome, int wait_ms)
{
    struct pollfd slots[] = {
        { .fd = sandbox->control, .events = POLLIN },
        { .fd = sandbox->output, .events = POLLIN },
        { .fd = sandbox->errors, .events = POLLIN },
    };
    int ready = poll(slots, sizeof slots / sizeof slots[0], mpp_unheard(sandbox) ? 0 : wait_ms);

    if (ready < 0 && errno != EINTR) return MPP_PARKED_ENDED;
    if (ready > 0) {
        if (slots[1].revents != 0 && mpp_drain(sandbox, &sandbox->output, &sandbox->out) < 0) return MPP_PARKED_ENDED;
        if (slots[2].revents != 0 && mpp_drain(sandbox, &sandbox->errors, &sandbox->err) < 0) return MPP_PARKED_ENDED;
        if (slots[0].revents != 0 && mpp_listen(sandbox, outcome)) return MPP_PARKED_ENDED;
    }
    if (sandbox->launch.dialogue) {
        if (sandbox->request >= 0 && mpp_unsent(sandbox)) mpp_feed(sandbox);
    } else if (sandbox->told && sandbox->request >= 0 && mpp_unsent(sandbox)) {
        mpp_feed(sandbox);
    } else if (sandbox->out.size > 1 || (sandbox->out.size == 1 && sandbox->out.data[0] != READY_MARK)) {
        return MPP_PARKED_ENDED;
    }
    /* Measured before its output is handed over, so that a tool that always has output is measured like any other. */
    mpp_park_measure(sandbox, outcome);
    if (outcome->stop != MPP_STOP_NONE) return MPP_PARKED_ENDED;
    if (mpp_unheard(sandbox)) return MPP_PARKED_HEARD;
    return is_ready(sandbox) ? MPP_PARKED_READY : MPP_PARKED_PREPARING;
}

int mpp_tool_folder(const struct mpp_sandbox *sandbox)
{
    return sandbox->tool;
}

int mpp_park_tell(struct mpp_sandbox *sandbox, const uint8_t *data, size_t size)
{
    if (sandbox->told || sandbox->launch.dialogue || !is_ready(sandbox) || mpp_plan_of(sandbox)->snapshot == 0)
        return EINVAL;
    sandbox->told = 1;
    sandbox->launch.request = data;
    sandbox->launch.request_size = size;
    sandbox->request_sent = 0;
    mpp_feed(sandbox);
    return 0;
}

/* Whether the sandbox is still alive. If it has ended since it was last looked at, another sandbox has to take the
 * call. */
static int is_alive(const struct mpp_sandbox *sandbox)
{
    struct pollfd ended[] = {
        { .fd = sandbox->pidfd, .events = POLLIN },
        { .fd = sandbox->control, .events = POLLIN }, /* init sends nothing while it waits */
    };
    int ready;

    do ready = poll(ended, sizeof ended / sizeof ended[0], 0);
    while (ready < 0 && errno == EINTR); /* a signal to the host interrupts even a poll that does not wait */
    return !sandbox->killed && ready == 0;
}

/* Whether the tool has written anything before the call: that is no answer to the call. */
static int has_spoken(struct mpp_sandbox *sandbox)
{
    struct pollfd said = { .fd = sandbox->output, .events = POLLIN, .revents = 0 };
    size_t before = sandbox->out.size;

    if (poll(&said, 1, 0) != 0 && mpp_drain(sandbox, &sandbox->output, &sandbox->out) < 0) return 1;
    return sandbox->out.size != before || mpp_unheard(sandbox);
}

/* Sends init the plan of the call, which has further entries behind the prepared ones, and their descriptors. */
static int send_release(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    const struct mpp_plan *plan = (const void *)sandbox->launch.plan;
    uint32_t late = mpp_plan_of(sandbox)->late;
    uint32_t prepared = mpp_plan_of(sandbox)->entries.count;
    int trees[MPP_TREES_MAX];
    uint32_t tree_count = 0;
    int error;

    outcome->step = MPP_STEP_RELEASE;
    if (!plan_is_sound(sandbox->launch.plan, sandbox->launch.plan_size, NULL, NULL)) return EINVAL;
    if (plan->late != late || plan->entries.count < prepared) return EINVAL;
    free(sandbox->plan);
    sandbox->plan = malloc(sandbox->launch.plan_size);
    if (sandbox->plan == NULL) return ENOMEM;
    memcpy(sandbox->plan, sandbox->launch.plan, sandbox->launch.plan_size);
    mpp_fill_plan(sandbox);
    mpp_close_sources(sandbox);
    free(sandbox->sources);
    sandbox->sources = NULL;
    outcome->step = MPP_STEP_SOURCE;
    error = mpp_hold_sources(sandbox, late, &outcome->detail);
    if (error == 0 && sandbox->launch.outer_uid_base != 0)
        error = mpp_copy_trees(sandbox, prepared, trees, &tree_count, &outcome->step, &outcome->detail);
    if (error == 0) {
        outcome->step = MPP_STEP_SEND;
        error = mpp_send_plan(sandbox, trees, tree_count);
    }
    for (uint32_t i = 0; i < tree_count; i++) close(trees[i]);
    return error;
}

int mpp_unpark(struct mpp_sandbox *sandbox, const struct mpp_launch *launch, struct mpp_outcome *outcome)
{
    uint64_t begun = mpp_now_ns();
    int error = 0;
    int waits;

    memset(outcome, 0, sizeof *outcome);
    outcome->status = -1;
    outcome->started_ns = begun;
    outcome->step = MPP_STEP_RELEASE;
    if (sandbox == NULL || sandbox->told || !is_ready(sandbox) || !is_alive(sandbox) || has_spoken(sandbox)) {
        outcome->error = EINVAL;
        return 1;
    }
    waits = mpp_plan_of(sandbox)->late < mpp_plan_of(sandbox)->entries.count || !mpp_plan_of(sandbox)->early_start;
    sandbox->launch.plan = launch->plan;
    sandbox->launch.plan_size = launch->plan_size;
    sandbox->launch.request = launch->request;
    sandbox->launch.request_size = launch->request_size;
    sandbox->request_sent = 0;
    sandbox->launch.cancel_fd = launch->cancel_fd;
    sandbox->launch.wall_ns = launch->wall_ns;
    sandbox->launch.dialogue = launch->dialogue;
    sandbox->deadline_ns = begun + launch->wall_ns;
    /* The plan says that the sandbox has a network, but without its sockets nothing leads out of it. */
    if (mpp_plan_of(sandbox)->streams.count > 0 && sandbox->socket_count == 0) error = EPROTO;
    mpp_close_sockets(sandbox);
    if (error == 0 && waits) error = send_release(sandbox, outcome);
    sandbox->parked = 0;
    sandbox->called = 1;
    if (error != 0) {
        outcome->error = error;
        return 1;
    }
    outcome->step = MPP_STEP_NONE;
    outcome->detail = 0;
    outcome->sent_ns = mpp_now_ns();
    if (!waits) {
        outcome->ready_ns = outcome->sent_ns;
        sandbox->tick_ns = outcome->sent_ns + 10 * NS_PER_MS;
        sandbox->held = 0;
        mpp_feed(sandbox);
    }
    return 0;
}

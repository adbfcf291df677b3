/* Looks after a sandbox while its caller works on the tool's output. The tool chooses that output, and the work on it
 * may take long. Until the work is over, a thread of the host enforces limits, deadline and cancellation. The thread
 * uses no part of the interpreter, since the work may hold the interpreter's lock. The thread only stops and kills;
 * everything else waits. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "sandbox.h"

#define TICK_NS 10000000l
#define SECOND_NS 1000000000l

/* The thread frees it: nobody waits for the thread's end, since nobody needs the guard any more by then. */
struct mpp_guard {
    pthread_mutex_t lock; /* its holder may use the sandbox and the fields below */
    pthread_cond_t turn;
    struct mpp_sandbox *sandbox;
    struct mpp_outcome *outcome;
    int on;
    int idle; /* the thread waits to be woken; otherwise it looks by itself, every tick */
    int over;
};

static void look(struct mpp_guard *guard)
{
    struct mpp_sandbox *sandbox = guard->sandbox;
    struct mpp_outcome *outcome = guard->outcome;
    struct pollfd cancel = { .fd = sandbox->launch.cancel_fd, .events = POLLIN, .revents = 0 };

    if (outcome->stop != MPP_STOP_NONE) return;
    if (sandbox->parked) {
        mpp_park_measure(sandbox, outcome);
    } else {
        mpp_sample(sandbox, outcome);
        if (mpp_now_ns() >= sandbox->deadline_ns) mpp_stop(outcome, MPP_STOP_WALL);
        if (poll(&cancel, 1, 0) > 0) mpp_stop(outcome, MPP_STOP_CANCELLED);
    }
    if (outcome->stop != MPP_STOP_NONE) mpp_kill_all(sandbox);
}

static void *look_after(void *given)
{
    struct mpp_guard *guard = given;
    struct timespec until;

    pthread_mutex_lock(&guard->lock);
    while (!guard->over) {
        if (!guard->on) {
            guard->idle = 1;
            pthread_cond_wait(&guard->turn, &guard->lock);
            guard->idle = 0;
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NS;
        if (until.tv_nsec >= SECOND_NS) {
            until.tv_nsec -= SECOND_NS;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&guard->turn, &guard->lock, &until);
        if (guard->on) look(guard);
    }
    pthread_mutex_unlock(&guard->lock);
    pthread_cond_destroy(&guard->turn);
    pthread_mutex_destroy(&guard->lock);
    free(guard);
    return NULL;
}

static int make(struct mpp_sandbox *sandbox)
{
    struct mpp_guard *guard = calloc(1, sizeof *guard);
    pthread_condattr_t clock;
    pthread_t thread;
    int error;

    if (guard == NULL) return ENOMEM;
    guard->sandbox = sandbox;
    pthread_mutex_init(&guard->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&guard->turn, &clock);
    pthread_condattr_destroy(&clock);
    error = mpp_thread(&thread, look_after, guard);
    if (error != 0) {
        free(guard);
        return error;
    }
    pthread_detach(thread);
    sandbox->guard = guard;
    return 0;
}

int mpp_guard(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    struct mpp_guard *guard;
    int error = sandbox->guard == NULL ? make(sandbox) : 0;

    if (error != 0) return error;
    guard = sandbox->guard;
    pthread_mutex_lock(&guard->lock);
    guard->outcome = outcome;
    guard->on = 1;
    if (guard->idle) pthread_cond_signal(&guard->turn);
    pthread_mutex_unlock(&guard->lock);
    return 0;
}

void mpp_unguard(struct mpp_sandbox *sandbox)
{
    struct mpp_guard *guard = sandbox->guard;

    if (guard == NULL) return;
    pthread_mutex_lock(&guard->lock);
    guard->on = 0;
    pthread_mutex_unlock(&guard->lock);
}

void mpp_guard_end(struct mpp_sandbox *sandbox)
{
    struct mpp_guard *guard = sandbox->guard;

    sandbox->guard = NULL;
    /* A child of the host does not have the thread, and the lock may be held for ever there. */
    if (guard == NULL || sandbox->owner != getpid()) return;
    pthread_mutex_lock(&guard->lock);
    guard->on = 0;
    guard->over = 1;
    guard->sandbox = NULL;
    guard->outcome = NULL;
    pthread_cond_signal(&guard->turn);
    pthread_mutex_unlock(&guard->lock);
}

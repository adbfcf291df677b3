/* Signals that ask this process to end. They are blocked except while it waits. So each signal either arrives there, or
 * is still pending for the program that this process becomes. A signal that was ignored (nohup) stays ignored. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "client.h"

static const int NUMBERS[] = { SIGINT, SIGTERM, SIGHUP };
#define COUNT (sizeof NUMBERS / sizeof NUMBERS[0])

static volatile sig_atomic_t heard; /* the only variable that the handler may write */

static void hear(int number)
{
    heard = number;
}

static sigset_t *before(void)
{
    static sigset_t mask;

    return &mask;
}

void hold_signals(void)
{
    sigset_t held;

    sigemptyset(&held);
    for (size_t at = 0; at < COUNT; at++) sigaddset(&held, NUMBERS[at]);
    sigprocmask(SIG_BLOCK, &held, before());
    for (size_t at = 0; at < COUNT; at++) {
        struct sigaction action = { 0 };

        if (sigaction(NUMBERS[at], NULL, &action) == 0 && action.sa_handler == SIG_IGN) continue;
        action.sa_handler = hear;
        action.sa_flags = 0;
        sigemptyset(&action.sa_mask);
        sigaction(NUMBERS[at], &action, NULL);
    }
}

void let_signals_go(void)
{
    for (size_t at = 0; at < COUNT; at++) {
        struct sigaction action = { 0 };

        if (sigaction(NUMBERS[at], NULL, &action) != 0 || action.sa_handler != hear) continue;
        action.sa_handler = SIG_DFL;
        sigaction(NUMBERS[at], &action, NULL);
    }
    sigprocmask(SIG_SETMASK, before(), NULL);
}

int heard_signal(void)
{
    return (int)heard;
}

static long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int wait_for(int fd, short events, long milliseconds)
{
    struct pollfd polled = { .fd = fd, .events = events, .revents = 0 };

    return wait_for_any(&polled, 1, milliseconds);
}

int wait_for_any(struct pollfd *polled, nfds_t count, long milliseconds)
{
    long until = now() + milliseconds;

    for (;;) {
        long left = until - now();
        struct timespec time;
        int ready;

        if (milliseconds >= 0 && left < 0) left = 0;
        time.tv_sec = left / 1000;
        time.tv_nsec = left % 1000 * 1000000;
        /* A signal that is already pending is delivered as soon as the mask allows it, and ends ppoll at once. */
        ready = ppoll(polled, count, milliseconds < 0 ? NULL : &time, before());
        if (heard) return -1;
        if (ready < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (ready < 0) return 0;
        return ready;
    }
}

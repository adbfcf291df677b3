/* The time, and waiting for input until a time limit. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "sandbox.h"

#define NS_PER_MS 1000000u

uint64_t mpp_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int mpp_await_input(int fd, uint64_t limit_ns)
{
    struct pollfd input = { .fd = fd, .events = POLLIN, .revents = 0 };
    int ready;

    do {
        uint64_t now = mpp_now_ns();
        ready = now < limit_ns ? poll(&input, 1, (int)((limit_ns - now) / NS_PER_MS) + 1) : 0;
    } while (ready < 0 && errno == EINTR);
    if (ready < 0) return errno;
    return ready > 0 ? 0 : ETIMEDOUT;
}

/* An alarm that one thread waits for and that any other thread may set. Setting it wakes nobody before its time.
 *
 * A condition variable would work, too. But its notify costs its caller an interrupt of the other processor, and the
 * thread that wakes takes the interpreter from a caller that has not returned yet. */
#include <errno.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "contract.h"

#define NS_PER_S 1000000000u

int mpp_alarm_open(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

int mpp_alarm_set(int fd, uint64_t in_ns)
{
    struct itimerspec when = { .it_value = { (time_t)(in_ns / NS_PER_S), (long)(in_ns % NS_PER_S) } };

    if (in_ns == 0) when.it_value.tv_nsec = 1; /* a value of zero would disarm the timer */
    return timerfd_settime(fd, 0, &when, NULL) < 0 ? -errno : 0;
}

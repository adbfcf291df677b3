/* Sandboxes that were killed and did not die in time. A file system that does not answer can hold one of their
 * processes, whatever signal the process is sent. Nobody waits for them any longer. Once they are dead, one of the next
 * calls reaps them. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"
#include "sys.h"

#define MOST 64

/* A thread that finds it locked goes on with its other work. So a child of the host, which may find it locked for ever,
 * does not wait. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    pid_t owner;
    int pidfd;
} left[MOST];
static unsigned int count;

void mpp_bury_later(int *pidfd)
{
    if (pthread_mutex_trylock(&lock) != 0) return;
    if (count < MOST) {
        left[count].owner = getpid();
        left[count++].pidfd = *pidfd;
        *pidfd = -1;
    }
    pthread_mutex_unlock(&lock);
}

void mpp_bury(void)
{
    siginfo_t ended;

    if (__atomic_load_n(&count, __ATOMIC_RELAXED) == 0 || pthread_mutex_trylock(&lock) != 0) return;
    for (unsigned int at = 0; at < count;) {
        int is_own = left[at].owner == getpid();

        ended.si_pid = 0;
        /* If waitid fails, somebody else has reaped it. If is_own is 0, it does not belong to this process. */
        if (is_own && waitid(P_PIDFD, (id_t)left[at].pidfd, &ended, WEXITED | WNOHANG | __WALL) == 0 &&
            ended.si_pid == 0) {
            at++;
            continue;
        }
        mpp_close(&left[at].pidfd);
        left[at] = left[--count];
    }
    pthread_mutex_unlock(&lock);
}

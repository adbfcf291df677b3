/* The current identities of many files, in one call. It is made before every invocation of a tool.
 *
 * A package of thousands of files takes milliseconds, nearly all of it in the kernel. Threads share that work if there
 * are processors for them. The threads live as long as the call, and each touches only its own part. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "contract.h"

#define THREADS_MAX 4
#define WORTH_IT 256 /* files; starting a thread and waiting for it takes as long as looking at some twenty files */
#define STACK_SIZE (128u << 10)

struct part {
    int folder;
    const char *names;
    size_t count;
    struct mpp_identity *identities;
};

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void *look_at(void *given)
{
    const struct part *part = given;
    const char *name = part->names;

    for (size_t number = 0; number < part->count; number++, name += strlen(name) + 1) {
        struct mpp_identity *identity = &part->identities[number];
        struct stat status;
        memset(identity, 0, sizeof *identity);
        if (fstatat(part->folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            identity->error = errno;
            continue;
        }
        identity->device = (uint64_t)status.st_dev;
        identity->inode = (uint64_t)status.st_ino;
        identity->size = (uint64_t)status.st_size;
        identity->modified_ns = nanoseconds(status.st_mtim);
        identity->changed_ns = nanoseconds(status.st_ctim);
        identity->mode = (uint32_t)status.st_mode;
        identity->uid = (uint32_t)status.st_uid;
    }
    return NULL;
}

/* Returns the number of threads that look at the files, including this one. */
static size_t threads_for(size_t count)
{
    size_t most = count / WORTH_IT;
    cpu_set_t processors;

    if (most < 2) return 1;
    if (most > THREADS_MAX) most = THREADS_MAX;
    if (sched_getaffinity(0, sizeof processors, &processors) != 0) return 1; /* more than 1,024 of them */
    return (size_t)CPU_COUNT(&processors) < most ? (size_t)CPU_COUNT(&processors) : most;
}

void mpp_look(int folder, const char *names, size_t count, struct mpp_identity *identities)
{
    struct part parts[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    size_t shares = threads_for(count);
    size_t started = 0;
    pthread_attr_t small;
    sigset_t all;
    sigset_t before;

    for (size_t share = 0, done = 0; share < shares; share++) {
        size_t some = count / shares + (share < count % shares ? 1 : 0);

        parts[share] = (struct part){ folder, names, some, identities + done };
        done += some;
        if (share + 1 == shares) break;
        for (size_t number = 0; number < some; number++) names += strlen(names) + 1;
    }
    if (shares > 1 && pthread_attr_init(&small) == 0) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before); /* the host's signal handlers must run in the host's threads */
        pthread_attr_setstacksize(&small, STACK_SIZE);
        while (started + 1 < shares && pthread_create(&threads[started], &small, look_at, &parts[started + 1]) == 0)
            started++;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&small);
    }
    look_at(&parts[0]);
    for (size_t share = started + 1; share < shares; share++) look_at(&parts[share]); /* no thread could be started */
    for (size_t thread = 0; thread < started; thread++) pthread_join(threads[thread], NULL);
}

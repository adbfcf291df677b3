/* What a tool gets on descriptor 0: its request, and in a dialogue the answers to it while it runs. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sandbox.h"

enum written { NOBODY_READS, PIPE_FULL, ALL_WRITTEN };

/* write(2) without SIGPIPE: a tool that has closed its descriptor 0 would raise it, and an embedding host may not
 * ignore it. */
static ssize_t write_quietly(int fd, const uint8_t *data, size_t size)
{
    ssize_t sent;
    sigset_t pipe_signal;
    sigset_t before;
    int error;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    sent = write(fd, data, size);
    error = sent < 0 ? errno : 0;
    if (error == EPIPE && !sigismember(&before, SIGPIPE)) {
        struct timespec none = { 0, 0 };
        sigtimedwait(&pipe_signal, NULL, &none);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return sent;
}

static enum written write_on(int fd, const uint8_t *data, size_t size, size_t *done)
{
    while (*done < size) {
        ssize_t sent = write_quietly(fd, data + *done, size - *done);

        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) return PIPE_FULL;
        if (sent < 0) return NOBODY_READS;
        *done += (size_t)sent;
    }
    return ALL_WRITTEN;
}

void mpp_feed(struct mpp_sandbox *sandbox)
{
    const struct mpp_launch *launch = &sandbox->launch;
    enum written request = write_on(sandbox->request, launch->request, launch->request_size, &sandbox->request_sent);

    if (request == PIPE_FULL) return;
    /* In a dialogue the pipe stays open, since many servers exit at the end of their input before they have
     * answered. */
    if (request == ALL_WRITTEN && launch->dialogue &&
        write_on(sandbox->request, sandbox->said.data, sandbox->said.size, &sandbox->said_sent) != NOBODY_READS)
        return;
    mpp_close(&sandbox->request);
}

int mpp_unsent(const struct mpp_sandbox *sandbox)
{
    return !sandbox->launch.dialogue || sandbox->request_sent < sandbox->launch.request_size ||
           sandbox->said_sent < sandbox->said.size;
}

int mpp_unheard(const struct mpp_sandbox *sandbox)
{
    return sandbox->launch.dialogue && sandbox->out.size > sandbox->heard;
}

size_t mpp_heard(struct mpp_sandbox *sandbox, const uint8_t **data)
{
    size_t size = sandbox->out.size - sandbox->heard;

    if (size > MPP_HEARD_MOST) size = MPP_HEARD_MOST;
    *data = size > 0 ? sandbox->out.data + sandbox->heard : NULL;
    sandbox->heard += size;
    return size;
}

int mpp_say(struct mpp_sandbox *sandbox, const uint8_t *data, size_t size)
{
    struct mpp_buffer *said = &sandbox->said;

    if (sandbox->request < 0 || size == 0) return 0; /* nobody reads any more */
    if (sandbox->said_sent > 0) {
        said->size -= sandbox->said_sent;
        memmove(said->data, said->data + sandbox->said_sent, said->size);
        sandbox->said_sent = 0;
    }
    if (said->room - said->size < size) {
        uint8_t *grown = realloc(said->data, said->size + size);

        if (grown == NULL) return ENOMEM;
        said->data = grown;
        said->room = said->size + size;
    }
    memcpy(said->data + said->size, data, size);
    said->size += size;
    mpp_feed(sandbox);
    return 0;
}

void mpp_answered(struct mpp_sandbox *sandbox)
{
    sandbox->answered = 1;
}

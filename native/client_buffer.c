/* Buffers that grow up to a limit, which is fixed at the beginning. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

#define SMALLEST ((size_t)64) /* there may be many buffers, each with one short line */
#define CHUNK ((size_t)1 << 14)

static int make_room(struct buffer *buffer, size_t size)
{
    size_t room = buffer->room ? buffer->room : SMALLEST;
    uint8_t *data;

    if (size == 0) return 0;
    if (size > buffer->limit || buffer->size > buffer->limit - size) return -1;
    while (room < buffer->size + size) room *= 2;
    if (room == buffer->room) return 0;
    data = realloc(buffer->data, room);
    if (!data) return -1;
    buffer->data = data;
    buffer->room = room;
    return 0;
}

int append(struct buffer *buffer, const void *data, size_t size)
{
    if (make_room(buffer, size) != 0) return -1;
    if (size) memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return 0;
}

int append_text(struct buffer *buffer, const char *text)
{
    return append(buffer, text, strlen(text) + 1);
}

int read_all(int fd, struct buffer *buffer)
{
    uint8_t chunk[CHUNK];

    for (;;) {
        ssize_t got;

        if (wait_for(fd, POLLIN, -1) < 0) return -1;
        got = read(fd, chunk, sizeof chunk);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got < 0) return -1;
        if (got == 0) return 0;
        if (append(buffer, chunk, (size_t)got) != 0) {
            /* The next reader needs the bytes that were read, so the limit is raised this once. */
            buffer->limit = buffer->size + (size_t)got;
            append(buffer, chunk, (size_t)got);
            return -1;
        }
    }
}

/* A descriptor that poll(2) reports as writable takes PIPE_BUF bytes without blocking, so that a signal is noticed
 * between any two writes. */
int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t wrote;

        if (wait_for(fd, POLLOUT, -1) < 0) return -1;
        wrote = write(fd, data, size < PIPE_BUF ? size : PIPE_BUF);
        if (wrote >= 0) {
            data += wrote;
            size -= (size_t)wrote;
        } else if (errno != EINTR && errno != EAGAIN) {
            return -1;
        }
    }
    return 0;
}

void release(struct buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->size = buffer->room = 0;
}

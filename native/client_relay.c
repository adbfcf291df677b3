/* A connection of mcp that the resident runtime serves: this program passes on its bytes without understanding them.
 *
 * Every line of the client is kept until the runtime says that nobody needs it any more. If the runtime ends before the
 * connection does, another server can continue with these lines and with the runtime's last statement about the
 * connection. A call that had begun in the runtime is never made a second time; a call that had not begun is served by
 * the other server. The protocol is described in runtime/mpp_exec/serving/wire.py and mcp/relayed.py. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client.h"

#define HEADER 5
#define FACTS 8
#define CHUNK ((size_t)1 << 16)
/* One more than in runtime/mpp_exec/mcp/wire.py: so many bytes of a longer line show that it is too long. */
#define MAX_LINE (((size_t)8 << 20) + 1)
/* The most bytes that are kept of lines that nobody has served yet. Beyond that, the client is not read any further for
 * the time being. It is more than all the calls that one connection may have open (runtime/mpp_exec/mcp/calling.py),
 * since a line that ends such calls comes behind them. */
#define MAX_KEPT ((size_t)1 << 30)
#define MAX_TURN ((size_t)16 << 20)

/* The state of the connection. Only with RUNTIME_GONE has everything been read that the runtime said. A program that
 * continued before that would repeat calls that have begun. */
enum course {
    GOES_ON,
    RUNTIME_GONE, /* the runtime has gone, or says that it does not serve this one: nothing begins there any more */
    FAILED,       /* this process failed, or the runtime sent something that is not in the protocol */
};

struct line {
    struct line *next;
    uint32_t number;
    int is_complete;
    struct buffer text;
};

struct relay {
    int connection;
    int parent; /* pidfd of this process's parent: readable when the parent has gone, -1 if it cannot be watched */
    int input_ended;
    int is_over; /* the client or the parent has gone, so nothing has to be done any more */
    int code;    /* the exit code, -1 before the runtime has sent it */
    struct line *first, *last;
    uint32_t lines;
    size_t kept;
    struct buffer upward; /* bytes for the runtime; *sent* of them have been sent */
    size_t sent;
    struct buffer held;  /* the contents of O frames, until T comes */
    struct buffer shown; /* bytes for the client; *written* of them have been written */
    size_t written;
    struct buffer state; /* the runtime's statement in the last T */
    struct buffer frame; /* the current frame, as far as it has come */
};

static uint32_t number_at(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static struct line *open_line(struct relay *relay)
{
    struct line *line;

    if (relay->last && !relay->last->is_complete) return relay->last;
    line = calloc(1, sizeof *line);
    if (!line) return NULL;
    line->text.limit = MAX_LINE;
    line->number = relay->lines++;
    relay->kept += sizeof *line;
    if (relay->last)
        relay->last->next = line;
    else
        relay->first = line;
    relay->last = line;
    return line;
}

static int keep(struct relay *relay, const uint8_t *data, size_t size)
{
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t part = end ? (size_t)(end - data) : size;
        struct line *line = open_line(relay);
        size_t left;
        size_t room;

        if (!line) return -1;
        left = MAX_LINE - line->text.size;
        room = line->text.room;
        if (append(&line->text, data, part < left ? part : left) != 0) return -1;
        relay->kept += line->text.room - room;
        if (end) {
            line->is_complete = 1;
            part++;
        }
        data += part;
        size -= part;
    }
    return 0;
}

/* Frees the lines that nobody needs any more. The numbers in *needed* are ascending, like the numbers of the lines. */
static void let_go(struct relay *relay, uint32_t read, const uint8_t *needed, uint32_t count)
{
    struct line **place = &relay->first;
    struct line *before = NULL;
    uint32_t at = 0;

    while (*place) {
        struct line *line = *place;

        while (at < count && number_at(needed + 4 * (size_t)at) < line->number) at++;
        if (line->is_complete && line->number < read &&
            (at == count || number_at(needed + 4 * (size_t)at) != line->number)) {
            *place = line->next;
            relay->kept -= sizeof *line + line->text.room;
            release(&line->text);
            free(line);
        } else {
            before = line;
            place = &line->next;
        }
    }
    relay->last = before;
}

/* Takes T: the held output is complete, and T's statement about the lines is valid from here on. */
static enum course take_turn(struct relay *relay, const uint8_t *data, size_t size)
{
    uint32_t count;
    size_t facts;

    if (size < FACTS) return FAILED;
    count = number_at(data + 4);
    facts = FACTS + 4 * (size_t)count;
    if (facts > size) return FAILED;
    relay->state.size = 0;
    if (append(&relay->state, data + facts, size - facts) != 0) return FAILED;
    let_go(relay, number_at(data), data + FACTS, count);
    release(&relay->shown);
    relay->shown = relay->held;
    relay->held = (struct buffer){ .limit = MAX_ANSWER };
    relay->written = 0;
    return GOES_ON;
}

/* Takes the complete frame. */
static enum course take_frame(struct relay *relay)
{
    const uint8_t *data = relay->frame.data + HEADER;
    size_t size = relay->frame.size - HEADER;

    switch (relay->frame.data[0]) {
    case 'O':
        return append(&relay->held, data, size) == 0 ? GOES_ON : FAILED;
    case 'E':
        write_all(2, data, size);
        return GOES_ON;
    case 'T':
        return take_turn(relay, data, size);
    case 'D':
        if (size != 1) return FAILED;
        relay->code = data[0];
        return GOES_ON;
    case 'A':
        return RUNTIME_GONE;
    default:
        return FAILED;
    }
}

/* Reads the bytes that have come from the runtime. */
static enum course hear(struct relay *relay)
{
    uint8_t chunk[CHUNK];

    for (;;) {
        size_t wanted = HEADER;
        ssize_t got;

        if (relay->frame.size >= HEADER) {
            size_t size = number_at(relay->frame.data + 1);

            if (size > (relay->frame.data[0] == 'T' ? MAX_TURN : MAX_FRAME)) return FAILED;
            wanted += size;
        }
        if (relay->frame.size >= HEADER && relay->frame.size == wanted) {
            enum course course = take_frame(relay);

            relay->frame.size = 0;
            if (course != GOES_ON || relay->code >= 0 || relay->shown.size) return course;
            continue;
        }
        wanted -= relay->frame.size;
        got = recv(relay->connection, chunk, wanted < CHUNK ? wanted : CHUNK, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return GOES_ON;
        if (got == 0 || (got < 0 && errno == ECONNRESET)) return RUNTIME_GONE;
        if (got < 0 || append(&relay->frame, chunk, (size_t)got) != 0) return FAILED;
    }
}

static int say(struct relay *relay)
{
    ssize_t sent = send(relay->connection, relay->upward.data + relay->sent, relay->upward.size - relay->sent,
                        MSG_NOSIGNAL);

    if (sent < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    relay->sent += (size_t)sent;
    if (relay->sent == relay->upward.size) relay->sent = relay->upward.size = 0;
    return 0;
}

static enum course listen_to_client(struct relay *relay)
{
    uint8_t chunk[CHUNK];
    ssize_t got = read(0, chunk, sizeof chunk);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return GOES_ON;
    if (got <= 0) {
        relay->input_ended = 1;
        return GOES_ON;
    }
    return keep(relay, chunk, (size_t)got) != 0 || append(&relay->upward, chunk, (size_t)got) != 0 ? FAILED : GOES_ON;
}

/* A descriptor that poll(2) reports as writable takes PIPE_BUF bytes without blocking. */
static void show(struct relay *relay)
{
    size_t left = relay->shown.size - relay->written;
    ssize_t wrote = write(1, relay->shown.data + relay->written, left < PIPE_BUF ? left : PIPE_BUF);

    if (wrote < 0 && errno != EAGAIN && errno != EINTR) relay->is_over = 1;
    if (wrote > 0) relay->written += (size_t)wrote;
    if (relay->written == relay->shown.size) {
        release(&relay->shown);
        relay->written = 0;
    }
}

/* Waits once, and handles what has happened. */
static enum course step(struct relay *relay)
{
    enum course course = GOES_ON;
    int shows = relay->shown.size > 0;
    int listens = !relay->input_ended && !relay->upward.size && relay->kept < MAX_KEPT;
    short words = (short)((shows ? 0 : POLLIN) | (relay->upward.size ? POLLOUT : 0));
    struct pollfd polled[] = {
        { .fd = relay->connection, .events = words, .revents = 0 },
        { .fd = listens ? 0 : -1, .events = POLLIN, .revents = 0 },
        { .fd = shows ? 1 : -1, .events = POLLOUT, .revents = 0 },
        { .fd = relay->parent, .events = POLLIN, .revents = 0 },
    };

    /* poll(2) reports the connection's end whatever events are asked for. What the runtime has said before its end must
     * be read first, so the descriptor is left out. */
    if (!words) polled[0].fd = -1;
    if (wait_for_any(polled, sizeof polled / sizeof *polled, -1) < 0) return GOES_ON;
    if (polled[3].revents) relay->is_over = 1;
    if (polled[2].revents) show(relay);
    if (polled[1].revents && listen_to_client(relay) != GOES_ON) return FAILED;
    /* If the runtime does not take the bytes, its end will be read, or has been read. Every line is kept. */
    if (relay->upward.size && polled[0].revents && say(relay) != 0) relay->sent = relay->upward.size = 0;
    if (!shows && polled[0].revents) course = hear(relay);
    if (relay->input_ended == 1 && !relay->upward.size) {
        relay->input_ended = 2;
        shutdown(relay->connection, SHUT_WR);
    }
    return course;
}

/* Returns a file with what is left of the connection, or -1 if it cannot be made. */
static int leave_rest(const struct relay *relay)
{
    int fd = memfd_create("connection", 0); /* without MFD_CLOEXEC, for the program that comes next */
    int failed = fd < 0 || write_all(fd, relay->state.data, relay->state.size) != 0 ||
                 write_all(fd, (const uint8_t *)"\n", 1) != 0;

    for (const struct line *line = relay->first; line && !failed; line = line->next)
        failed = write_all(fd, line->text.data, line->text.size) != 0 ||
                 (line->is_complete && write_all(fd, (const uint8_t *)"\n", 1) != 0);
    if (!failed && lseek(fd, 0, SEEK_SET) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

int relay(int connection, int *rest)
{
    struct relay made = {
        .connection = connection,
        .parent = (int)syscall(SYS_pidfd_open, getppid(), 0),
        .code = -1,
        .upward = { .limit = CHUNK },
        .held = { .limit = MAX_ANSWER },
        .state = { .limit = MAX_TURN },
        .frame = { .limit = MAX_TURN + HEADER },
    };
    enum course course = GOES_ON;

    signal(SIGPIPE, SIG_IGN);
    while (course == GOES_ON && !made.is_over && !heard_signal() && (made.code < 0 || made.shown.size))
        course = step(&made);
    if (made.is_over || heard_signal()) {
        leave_runtime(connection);
        return 0;
    }
    if (course == GOES_ON) return made.code;
    while (made.shown.size && !made.is_over && !heard_signal())
        if (wait_for(1, POLLOUT, -1) >= 0) show(&made);
    if (made.is_over || heard_signal()) return 0;
    signal(SIGPIPE, SIG_DFL);
    if (made.parent >= 0) close(made.parent);
    *rest = course == RUNTIME_GONE ? leave_rest(&made) : -1;
    return -1;
}

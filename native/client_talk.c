/* The dialogue with the resident runtime. Its protocol is described in runtime/mpp_exec/serving/wire.py.
 *
 * A call that was handed over is never made a second time: after G was sent, only A says that nothing ran. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"

#define PROMPT 10000L /* ms for every step that does not wait for a tool */
#define HEADER 5
#define PROOF 16

extern char **environ;

static int is_own_peer(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && size == sizeof peer && peer.uid == geteuid();
}

static int reach(int folder)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SERVE_SOCKET, folder);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && is_own_peer(fd)) return fd;
    close(fd);
    return -1;
}

static int send_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

        if (sent >= 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (wait_for(fd, POLLOUT, PROMPT) != 1) return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

static void put_header(uint8_t header[HEADER], char letter, size_t size)
{
    header[0] = (uint8_t)letter;
    for (int at = 0; at < 4; at++) header[1 + at] = (uint8_t)(size >> (24 - 8 * at));
}

static int send_frame(int fd, char letter, const uint8_t *data, size_t size)
{
    uint8_t header[HEADER];

    put_header(header, letter, size);
    return send_all(fd, header, HEADER) != 0 || send_all(fd, data, size) != 0 ? -1 : 0;
}

static int receive_all(int fd, uint8_t *data, size_t size, long milliseconds)
{
    while (size) {
        ssize_t got = recv(fd, data, size, 0);

        if (got > 0) {
            data += got;
            size -= (size_t)got;
        } else if (got == 0) {
            return -1;
        } else if (errno == EAGAIN) {
            if (wait_for(fd, POLLIN, milliseconds) != 1) return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

/* If the descriptor is a terminal, adds the letter and the number of columns that the terminal reports. */
static void add_terminal(char terminals[16], char letter, int descriptor)
{
    struct winsize size = { 0 };
    size_t used = strlen(terminals);

    if (!isatty(descriptor)) return;
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0) size.ws_col = 0;
    snprintf(terminals + used, 16 - used, "%c%hu", letter, size.ws_col);
}

static int make_hello(const struct errand *errand, struct buffer *hello)
{
    const struct command *command = errand->command;
    char folder[PATH_MAX];
    char terminals[16] = { 0 };
    char number[16];
    uint8_t header[HEADER];
    int failed;

    if (!getcwd(folder, sizeof folder)) return -1;
    add_terminal(terminals, 'o', 1);
    add_terminal(terminals, 'e', 2);
    snprintf(number, sizeof number, "%d", command->count);
    put_header(header, 'H', 0);
    failed = append(hello, header, HEADER);
    failed |= append_text(hello, PROTOCOL);
    failed |= append_text(hello, MPP_BUILD);
    failed |= append_text(hello, errand->programs);
    failed |= append_text(hello, folder);
    failed |= append_text(hello, errand->home);
    failed |= append_text(hello, terminals);
    failed |= append_text(hello, command->input ? command->input : "");
    failed |= append_text(hello, number);
    for (int at = 0; at < command->count; at++) failed |= append_text(hello, command->words[at]);
    for (char **variable = environ; variable && *variable; variable++) failed |= append_text(hello, *variable);
    if (failed) return -1;
    put_header(hello->data, 'H', hello->size - HEADER);
    return 0;
}

/* Takes one frame. O and E are kept whole in *answer*. Returns the frame's letter, or 0 if the connection cannot be
 * used any more. */
static char take_frame(int fd, struct answer *answer, long milliseconds)
{
    uint8_t header[HEADER];
    uint8_t chunk[4096];
    size_t size = 0;
    char letter;

    if (receive_all(fd, header, HEADER, milliseconds) != 0) return 0;
    letter = (char)header[0];
    for (int at = 1; at < HEADER; at++) size = size << 8 | header[at];
    if (size > MAX_FRAME) return 0;
    switch (letter) {
    case 'O':
    case 'E':
        if (append(&answer->frames, header, HEADER) != 0) return 0;
        for (size_t part; size; size -= part) {
            part = size < sizeof chunk ? size : sizeof chunk;
            if (receive_all(fd, chunk, part, PROMPT) != 0 || append(&answer->frames, chunk, part) != 0) return 0;
        }
        return letter;
    case 'D':
        if (size != 1 || receive_all(fd, chunk, 1, PROMPT) != 0) return 0;
        answer->code = chunk[0];
        return letter;
    case 'A': /* the reason in it is only for people who read the traffic */
        return letter;
    case 'B':
        if (size >= sizeof answer->proof || receive_all(fd, chunk, size, PROMPT) != 0) return 0;
        for (size_t at = 0; at < size; at++) {
            if (chunk[at] < '0' || chunk[at] > '9') return 0;
            answer->proof[at] = (char)chunk[at];
        }
        answer->proof[size] = '\0';
        return letter;
    default:
        return 0;
    }
}

/* Reads bytes that a process can read only if the kernel lets it inspect the runtime. They prove that this process is
 * not more confined than the runtime. Returns the number of bytes, or -1 if they cannot be read. */
static ssize_t prove(int fd, const char *number, uint8_t proof[PROOF])
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    char path[64];
    ssize_t got;
    int held;

    if (*number == '\0') return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof peer) return -1;
    snprintf(path, sizeof path, "/proc/%ld/fd/%s", (long)peer.pid, number);
    held = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (held < 0) return -1;
    got = pread(held, proof, PROOF, 0);
    close(held);
    return got == PROOF ? got : -1;
}

/* After a signal: tells the runtime, and waits until the call is over, so that nothing of it outlives this process. */
enum ending leave_runtime(int fd)
{
    uint8_t chunk[4096];

    shutdown(fd, SHUT_WR);
    for (;;) {
        struct pollfd polled = { .fd = fd, .events = POLLIN, .revents = 0 };
        ssize_t got;

        if (poll(&polled, 1, (int)PROMPT) != 1) return LOST;
        got = recv(fd, chunk, sizeof chunk, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) return INTERRUPTED;
        if (got < 0 && errno != EAGAIN && errno != EINTR) return LOST;
    }
}

static enum ending converse(int fd, const struct command *command, struct answer *answer)
{
    int handed_over = 0;
    uint8_t proof[PROOF];
    ssize_t size;

    for (;;) {
        char letter = take_frame(fd, answer, handed_over ? -1 : PROMPT);

        if (letter == 'D') return ANSWERED;
        if (letter == 'A') return ELSEWHERE;
        if (letter == 'O' || letter == 'E') continue;
        if (letter == 'B' && !handed_over) {
            size = prove(fd, answer->proof, proof);
            if (size < 0) return ELSEWHERE;
            /* Even if sending fails, the runtime may have received it. */
            handed_over = 1;
            if (send_frame(fd, 'G', proof, (size_t)size) == 0) {
                if (command->connects) return CONNECTED;
                continue;
            }
            if (errno == EPIPE) continue; /* the runtime does not read any more, and may have said why */
        }
        if (!handed_over) return heard_signal() ? INTERRUPTED : ELSEWHERE;
        return heard_signal() ? leave_runtime(fd) : LOST;
    }
}

enum ending make_call(int folder, const struct errand *errand, struct answer *answer, int *connection)
{
    struct buffer hello = { .limit = MAX_HELLO };
    enum ending ending = ELSEWHERE;
    int fd = reach(folder);

    if (fd < 0) return UNREACHED;
    answer->frames.limit = MAX_ANSWER;
    if (make_hello(errand, &hello) == 0 && send_all(fd, hello.data, hello.size) == 0 &&
        (!errand->command->input || send_frame(fd, 'I', errand->input, errand->input_size) == 0))
        ending = converse(fd, errand->command, answer);
    else if (heard_signal())
        ending = INTERRUPTED;
    if (ending == CONNECTED)
        *connection = fd;
    else
        close(fd);
    return ending;
}

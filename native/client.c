/* mpp-exec: has the resident runtime of the home make a call, if there is one. In every other case it becomes the
 * Python program.
 *
 * The client decides nothing about a call, and prints nothing of its own except what became of the connection. A
 * command line that it does not understand, another version, another environment, a question for a person, any doubt
 * before the call was handed over: it leaves all of these to the Python program beside it, which gets the same
 * words. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"

#define PYTHON "mpp-exec-python"
#define FAULT 7
#define PIPE_CLOSED (128 + SIGPIPE)

extern char **environ;

static void fill_descriptors(void)
{
    struct stat facts;

    for (int fd = 0; fd <= 2; fd++)
        if (fstat(fd, &facts) != 0 && open("/dev/null", O_RDWR) != fd) _exit(FAULT);
}

static int is_plain(void)
{
    const char *colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return !isatty(2) || (colour && *colour) || (terminal && strcmp(terminal, "dumb") == 0);
}

/* As cli/console.py prints a failure. */
static int fail(const struct command *command, const char *code, const char *message, const char *hint)
{
    const char *text = "{\"error\":{\"code\":\"%s\",\"message\":\"%s\",\"hint\":\"%s\"}}\n";
    int plain = is_plain();

    if (isatty(1))
        text = "{\n  \"error\": {\n    \"code\": \"%s\",\n    \"message\": \"%s\",\n    \"hint\": \"%s\"\n  }\n}\n";
    if (command->json) dprintf(1, text, code, message, hint);
    dprintf(2, "%s %s [%s]\n", plain ? "error:" : "\x1b[1;31merror:\x1b[0m", message, code);
    dprintf(2, "%s %s\n", plain ? "hint:" : "\x1b[36mhint:\x1b[0m", hint);
    return FAULT;
}

static int interrupted(void)
{
    dprintf(2, "interrupted\n");
    return 128 + heard_signal();
}

/* Prints the frames that came, in their order. */
static int print(const struct command *command, const struct answer *answer)
{
    const uint8_t *data = answer->frames.data;
    size_t left = answer->frames.size;
    struct command told = *command;

    signal(SIGPIPE, SIG_IGN);
    told.json = 0; /* standard output takes no more */
    while (left >= 5) {
        size_t size = (size_t)data[1] << 24 | (size_t)data[2] << 16 | (size_t)data[3] << 8 | data[4];
        int is_out = data[0] == 'O';
        char message[256];

        if (size > left - 5) break;
        if (write_all(is_out ? 1 : 2, data + 5, size) != 0 && is_out) {
            if (heard_signal()) return interrupted();
            if (errno == EPIPE) return PIPE_CLOSED;
            snprintf(message, sizeof message, "the result cannot be written: %s", strerror(errno));
            return fail(&told, "output.io", message, "check where stdout goes");
        }
        data += 5 + size;
        left -= 5 + size;
    }
    return answer->code;
}

/* Puts back what was read from standard input: a file with the same bytes replaces it. */
static int put_back(const struct buffer *input)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    if (fd < 0 || write_all(fd, input->data, input->size) != 0 || lseek(fd, 0, SEEK_SET) != 0) return -1;
    return dup2(fd, 0) < 0 ? -1 : 0;
}

static int become_python(const struct command *command, const char *python, char **words)
{
    words[0] = (char *)python;
    execve(python, words, environ);
    return fail(command, "internal.client", "the program " PYTHON " is not beside mpp-exec, or cannot be run",
                "install mpp-exec again");
}

/* Returns 1 if the input that --args refers to was read, and the next program can read it once more. */
static int read_input(const char *name, struct buffer *input)
{
    char place[32];
    struct stat facts;
    int done = 0;
    int file;
    int fd;

    if (strcmp(name, "-") == 0) return read_all(0, input) == 0;
    /* The file is examined before it is opened for reading: a pipe can be read only once, and its writer notices the
     * opening. */
    file = open(name + 1, O_PATH | O_CLOEXEC);
    if (file < 0) return 0;
    snprintf(place, sizeof place, "/proc/self/fd/%d", file);
    if (fstat(file, &facts) == 0 && S_ISREG(facts.st_mode) && (fd = open(place, O_RDONLY | O_CLOEXEC)) >= 0) {
        done = read_all(fd, input) == 0;
        close(fd);
    }
    close(file);
    return done;
}

/* Becomes the Python program that continues the connection. The file *rest* holds what is left of the connection. */
static int go_on(const struct command *command, const char *python, int rest)
{
    char number[16];
    char **words = calloc((size_t)command->count + 4, sizeof *words);

    if (!words) return FAULT;
    for (int at = 0; at < command->count; at++) words[1 + at] = command->words[at];
    snprintf(number, sizeof number, "%d", rest);
    words[1 + command->count] = (char *)"--continued";
    words[2 + command->count] = number;
    let_signals_go();
    return become_python(command, python, words);
}

static int connected(const struct command *command, const char *python, int connection)
{
    int rest = -1;
    int code = relay(connection, &rest);

    if (heard_signal()) return interrupted();
    if (code >= 0) return code;
    close(connection);
    if (rest < 0)
        return fail(command, "serve.lost", "the connection through the resident runtime cannot be gone on with",
                    "have the client connect again; mpp-exec audit list tells what ran");
    return go_on(command, python, rest);
}

/* Returns the exit code, or -1 if Python has to do it. */
static int served(const struct command *command, const char *programs, const char *python)
{
    struct buffer input = { .limit = MAX_ARGUMENTS };
    struct answer answer = { 0 };
    char home[HOME_NAME];
    struct errand errand = { .command = command, .home = home, .programs = programs };
    enum ending ending = ELSEWHERE;
    int was_read = 0;
    int connection = -1;
    int folder = open_serve_folder(command, home);

    if (folder < 0) return -1;
    if (!is_served(folder)) {
        start_on_demand(folder, command, python);
        close(folder);
        return -1;
    }
    hold_signals();
    if (command->input) was_read = read_input(command->input, &input);
    if (!command->input || was_read) {
        errand.input = input.data;
        errand.input_size = input.size;
        ending = make_call(folder, &errand, &answer, &connection);
    }
    if (heard_signal() && ending != ANSWERED && ending != LOST) return interrupted();
    if (ending == CONNECTED) {
        close(folder);
        return connected(command, python, connection);
    }
    if (ending == ANSWERED) return print(command, &answer);
    if (ending == LOST)
        return fail(command, "serve.lost",
                    "the resident runtime ended, or does not answer: whether the tool ran is not known",
                    "mpp-exec audit list tells what is on record; the call was not made again");
    if ((was_read || input.size) && strcmp(command->input, "-") == 0 && put_back(&input) != 0)
        return fail(command, "internal.client", "what was read from standard input cannot be handed on",
                    "run the command again");
    let_signals_go();
    if (ending == UNREACHED) start_on_demand(folder, command, python);
    close(folder);
    return -1;
}

int main(int count, char **words)
{
    struct command command = { 0 };
    char programs[PATH_MAX];
    char python[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", programs, sizeof programs);
    char *slash;

    fill_descriptors();
    if (count < 1 || length <= 0 || (size_t)length >= sizeof programs)
        return fail(&command, "internal.client", "this program cannot tell where it is", "mount /proc");
    programs[length] = '\0';
    slash = strrchr(programs, '/');
    if (!slash) return FAULT;
    *slash = '\0';
    length = snprintf(python, sizeof python, "%s/" PYTHON, programs);
    if (length < 0 || (size_t)length >= sizeof python) return FAULT;
    if (geteuid() == getuid() && getegid() == getgid() && !getenv("MPP_DEBUG") &&
        read_command(count, words, &command)) {
        int code = served(&command, programs, python);

        if (code >= 0) return code;
    }
    return become_python(&command, python, words);
}

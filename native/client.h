/* The native client: what its parts share. It is a program of its own, and shares nothing with the extension. */
#ifndef MPP_CLIENT_H
#define MPP_CLIENT_H

#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As in runtime/mpp_exec/serving/wire.py. */
#define PROTOCOL "mpp-exec serve 4"
#define MAX_HELLO ((size_t)1 << 20)
#define MAX_ARGUMENTS ((size_t)4 << 20)
#define MAX_FRAME ((size_t)1 << 20)
/* More than the largest result that a package may have makes, as JSON and escaped. */
#define MAX_ANSWER ((size_t)256 << 20)

#define SERVE_FOLDER "serve"
#define SERVE_SOCKET "socket"
#define SERVE_SETTING "on-demand"

/* A command line that asks for one call, as far as it has to be understood here. */
struct command {
    int count;
    char **words;
    const char *home;  /* what --home says, NULL without it */
    const char *input; /* the word of --args where it is "-" or "@FILE", NULL otherwise */
    int json;          /* whether --json is among its options */
    int connects;      /* whether it is a connection that stays: mcp */
};

/* Bytes that grow up to a limit. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t room;
    size_t limit;
};

enum ending {
    UNREACHED,   /* nobody listens */
    ELSEWHERE,   /* the call was not handed over: make it here */
    CONNECTED,   /* a connection was handed over, and is open */
    ANSWERED,    /* the answer is all there */
    LOST,        /* it was handed over, and nobody knows what became of it */
    INTERRUPTED, /* a signal asked this process to end; the call is over */
};

/* What came back: frames O and E in their order, as they came, and the exit code. */
struct answer {
    struct buffer frames;
    int code;
    char proof[8]; /* the number of the descriptor that holds the proof, "" for none */
};

/* client_words.c: returns 1 if the words are one call that a resident runtime could make. */
int read_command(int count, char **words, struct command *command);

/* client_home.c: the folder of the home's socket, which belongs to this user; -1 without one. *home* is told as
 * DEVICE:INODE. start_on_demand starts a runtime where the home's setting says so and nobody did just now. */
#define HOME_NAME 64
int open_serve_folder(const struct command *command, char home[HOME_NAME]);
int is_served(int folder);
void start_on_demand(int folder, const struct command *command, const char *python);

/* client_talk.c: the dialogue with the runtime whose socket is in *folder*. */
struct errand {
    const struct command *command;
    const char *home;
    const char *programs; /* the folder this program is in */
    const uint8_t *input; /* what --args stands for, where command->input says so */
    size_t input_size;
};
enum ending make_call(int folder, const struct errand *errand, struct answer *answer, int *connection);
/* After it was asked to end: waits until everything that it runs is over. */
enum ending leave_runtime(int connection);

/* client_relay.c: passes on what client and runtime say, until one of them ends. Returns the exit code; -1 where the
 * runtime has gone, and *rest* is a file for whoever goes on: a line about the connection, and the lines not served; or
 * -1: nobody can, since it is not known what has begun. */
int relay(int connection, int *rest);

/* client_signals.c: signals that ask this process to end, heard while it waits and at no other time. */
void hold_signals(void);
void let_signals_go(void);                             /* as they were before */
int wait_for(int fd, short events, long milliseconds); /* poll(2): 1, 0 for the time, -1 for a signal */
int wait_for_any(struct pollfd *polled, nfds_t count, long milliseconds);
int heard_signal(void); /* its number, 0 for none */

/* client_buffer.c */
int append(struct buffer *buffer, const void *data, size_t size); /* 0, -1 where it does not fit */
int append_text(struct buffer *buffer, const char *text);         /* with its NUL */
int read_all(int fd, struct buffer *buffer);                      /* 0 at the end; -1: failed, or more than the limit */
int write_all(int fd, const uint8_t *data, size_t size);          /* 0, -1: failed, or a signal was heard */
void release(struct buffer *buffer);                              /* what it holds; it can be used again */

#endif

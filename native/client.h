/* Declarations that the parts of the native client share. The client is a program of its own, and shares nothing with
 * the extension. */
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
/* More than the size of the largest result that a package may have, as escaped JSON. */
#define MAX_ANSWER ((size_t)256 << 20)

#define SERVE_FOLDER "serve"
#define SERVE_SOCKET "socket"
#define SERVE_SETTING "on-demand"

/* A command line that asks for one call, as far as the client has to understand it. */
struct command {
    int count;
    char **words;
    const char *home;  /* the value of --home, NULL without it */
    const char *input; /* the value of --args if it is "-" or "@FILE", NULL otherwise */
    int json;          /* whether --json is among the options */
    int connects;      /* whether it asks for a connection that stays open: mcp */
};

/* A buffer that grows up to a limit. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t room;
    size_t limit;
};

enum ending {
    UNREACHED,   /* nobody listens on the socket */
    ELSEWHERE,   /* the call was not handed over: make it here */
    CONNECTED,   /* a connection was handed over, and is open */
    ANSWERED,    /* the answer is complete */
    LOST,        /* the call was handed over, and its outcome is unknown */
    INTERRUPTED, /* a signal asked this process to end; the call is over */
};

/* The answer: the frames O and E in the order of their arrival, and the exit code. */
struct answer {
    struct buffer frames;
    int code;
    char proof[8]; /* the number of the descriptor that holds the proof, "" for none */
};

/* client_words.c: returns 1 if the words ask for one call that a resident runtime could make. */
int read_command(int count, char **words, struct command *command);

/* client_home.c: open_serve_folder returns the folder of the home's socket, which belongs to this user, or -1 if there
 * is none. It fills in *home* as DEVICE:INODE. start_on_demand starts a runtime if the home's setting asks for it and
 * nobody has started one just now. */
#define HOME_NAME 64
int open_serve_folder(const struct command *command, char home[HOME_NAME]);
int is_served(int folder);
void start_on_demand(int folder, const struct command *command, const char *python);

/* client_talk.c: the dialogue with the runtime whose socket is in *folder*. */
struct errand {
    const struct command *command;
    const char *home;
    const char *programs; /* the folder that contains this program */
    const uint8_t *input; /* the bytes that --args refers to, if command->input is set */
    size_t input_size;
};
enum ending make_call(int folder, const struct errand *errand, struct answer *answer, int *connection);
/* Asks the runtime to end what it does for this process, and waits until that is over. */
enum ending leave_runtime(int connection);

/* client_relay.c: passes on what client and runtime say, until one of them ends. Returns the exit code, or -1 if the
 * runtime has gone. Then *rest* is a file for the program that continues: one line about the connection, and the lines
 * that were not served. If *rest* is -1, no program can continue, since it is not known which calls have begun. */
int relay(int connection, int *rest);

/* client_signals.c: signals that ask this process to end. They are delivered only while it waits. */
void hold_signals(void);
void let_signals_go(void);                             /* restores the signals as they were before */
int wait_for(int fd, short events, long milliseconds); /* poll(2): 1; 0 after the time; -1 after a signal */
int wait_for_any(struct pollfd *polled, nfds_t count, long milliseconds);
int heard_signal(void); /* number of the signal, 0 for none */

/* client_buffer.c */
int append(struct buffer *buffer, const void *data, size_t size); /* 0, or -1 if it does not fit */
int append_text(struct buffer *buffer, const char *text);         /* with its NUL */
int read_all(int fd, struct buffer *buffer);                      /* 0 at the end; -1: failed, or more than the limit */
int write_all(int fd, const uint8_t *data, size_t size);          /* 0; -1: failed, or a signal arrived */
void release(struct buffer *buffer);                              /* frees its memory; it can be used again */

#endif

/* A tool of many processes, for what only a cgroup counts in sum; its first argument says what they do. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Children that nobody waits for: their time is added to nothing that /proc shows. */
static int orphans(void)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        if (fork() == 0) {
            struct timespec used = { 0, 0 };
            while (used.tv_sec == 0 && used.tv_nsec < 300000000) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
            _exit(0);
        }
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) continue; /* ECHILD once it is gone */
    }
}

static void touch(size_t size)
{
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) _exit(1);
    for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
}

/* Buffers of sockets are the kernel's memory, and no process's. */
static void fill_sockets(void)
{
    static char data[65536];
    int pair[2];

    while (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0)
        for (int end = 0; end < 2; end++)
            while (send(pair[end], data, sizeof data, MSG_NOSIGNAL) > 0) continue;
}

/* Every child takes its share and keeps it; done when all of them have. */
static int crowd(const char *act, int count, size_t size)
{
    int ready[2];
    char byte;

    if (pipe(ready) < 0) return 1;
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0) return 2;
        if (pid > 0) continue;
        if (strcmp(act, "sockets") == 0)
            fill_sockets();
        else
            touch(size);
        if (write(ready[1], "x", 1) == 1)
            for (;;) pause();
        _exit(0);
    }
    close(ready[1]);
    for (int i = 0; i < count; i++)
        if (read(ready[0], &byte, 1) != 1) return 3;
    printf("held by %d", count);
    return 0;
}

/* More processes than there may be, gone again before anybody looks. */
static int burst(void)
{
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) pause();
        if (pid < 0) return 4;
    }
    return 0;
}

int main(int count, char **words)
{
    if (count < 2) return 64;
    if (strcmp(words[1], "orphans") == 0) return orphans();
    if (strcmp(words[1], "burst") == 0) return burst();
    return count == 4 ? crowd(words[1], atoi(words[2]), (size_t)atoi(words[3]) << 20) : 64;
}

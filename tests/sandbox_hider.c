/* The tool that hides what it uses from whoever samples it: one static program, its first argument says how. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1l << 20)

static long bytes;

static void *hold(void *unused)
{
    char *memory;

    usleep(50000); /* until the first thread has ended */
    memory = malloc((size_t)bytes);
    if (memory == NULL) syscall(SYS_exit_group, 3);
    for (long at = 0; at < bytes; at += 4096) memory[at] = 1;
    sleep(2);
    syscall(SYS_exit_group, 0);
    return unused;
}

/* COUNT MIB: so many processes with so much memory each, whose first thread ends while another goes on. */
static int leaderless(char **words)
{
    int count = atoi(words[0]);

    bytes = atol(words[1]) * MIB;
    for (int made = 0; made < count; made++) {
        if (fork() == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, hold, NULL);
            syscall(SYS_exit, 0);
        }
    }
    while (wait(NULL) > 0) continue;
    return 0;
}

/* IDLE COUNT MIB: so many idle processes, and behind them so many with so much memory each. */
static int crowd(char **words)
{
    int idle = atoi(words[0]), count = atoi(words[1]), held = 0;

    bytes = atol(words[2]) * MIB;
    for (int made = 0; made < idle; made++) {
        pid_t child = fork();
        if (child == 0) {
            pause();
            _exit(0);
        }
        if (child < 0) return 4;
    }
    for (; held < count; held++)
        if (fork() == 0) hold(NULL);
    while (held > 0) {
        int status;
        if (wait(&status) > 0) held--;
    }
    return 0;
}

static char stacks[16][65536] __attribute__((aligned(16)));
static int filled[16];

static int fill_table(void *number)
{
    int pair[2];
    int *made = &filled[(long)number];

    while (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) *made += 2;
    for (;;) pause();
    return 0;
}

/* Threads with a table of descriptors each: says how many descriptors there are in all. */
static int tables(char **words)
{
    int threads = atoi(words[0]), refused = 0, total = 0;

    for (long number = 0; number < threads; number++)
        if (clone(fill_table, stacks[number] + sizeof stacks[number],
                  CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS, (void *)number) < 0)
            refused++;
    usleep(300000);
    for (int number = 0; number < threads; number++) total += filled[number];
    printf("%d %d", refused, total);
    return 0;
}

/* COUNT NAME: so many mappings of a file that is deleted, and then nothing. */
static int mappings(char **words)
{
    int count = atoi(words[0]), file = open(words[1], O_RDWR | O_CREAT, 0600);

    if (file < 0 || ftruncate(file, 4096) < 0 || unlink(words[1]) < 0) return 5;
    for (int made = 0; made < count; made++)
        if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED) return 6;
    for (;;) pause();
}

static int files_wanted;

static void *keep_files(void *unused)
{
    usleep(50000); /* until the first thread has ended, if it does */
    for (int made = 0; made < files_wanted; made++) {
        int file = open("deleted", O_RDWR | O_CREAT | O_EXCL, 0600);

        if (file < 0 || ftruncate(file, 4096) < 0 || unlink("deleted") < 0) syscall(SYS_exit_group, 5);
        if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED) syscall(SYS_exit_group, 6);
        close(file);
    }
    for (;;) pause();
    return unused;
}

/* COUNT ENDS: keeps so many deleted files by mapping them, in a thread; where ENDS is not 0 the first one ends. */
static int deleted(char **words)
{
    pthread_t thread;

    files_wanted = atoi(words[0]);
    pthread_create(&thread, NULL, keep_files, NULL);
    if (atoi(words[1]) != 0) syscall(SYS_exit, 0);
    pthread_join(thread, NULL);
    return 7;
}

int main(int count, char **words)
{
    if (count > 3 && strcmp(words[1], "leaderless") == 0) return leaderless(words + 2);
    if (count > 4 && strcmp(words[1], "crowd") == 0) return crowd(words + 2);
    if (count > 2 && strcmp(words[1], "tables") == 0) return tables(words + 2);
    if (count > 3 && strcmp(words[1], "mappings") == 0) return mappings(words + 2);
    if (count > 3 && strcmp(words[1], "deleted") == 0) return deleted(words + 2);
    return 99;
}

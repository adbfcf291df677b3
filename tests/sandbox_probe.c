/* The tool that misbehaves: one static program, its first argument says how (see the table at the end). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char page[1 << 16];

static inline long raw(long number, const long *a)
{
    long result;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* Reads lines `NUMBER ARGUMENT…`, makes each system call as it stands and prints its errno, 0 for success.
 * An argument is a number, `b` for a page of zeros, `s:TEXT` for a text. */
static int sweep(char **words)
{
    char line[1024];
    pid_t self = getpid();

    (void)words;
    while (fgets(line, sizeof line, stdin) != NULL) {
        long arguments[6] = { 0 };
        char *rest = line;
        char *word = strtok_r(rest, " \n", &rest);
        long number = word != NULL ? strtol(word, NULL, 0) : -1;
        long result;

        for (int i = 0; i < 6 && (word = strtok_r(rest, " \n", &rest)) != NULL; i++) {
            if (strcmp(word, "b") == 0)
                arguments[i] = (long)page;
            else if (strncmp(word, "s:", 2) == 0)
                arguments[i] = (long)(word + 2);
            else
                arguments[i] = (long)strtoull(word, NULL, 0);
        }
        memset(page, 0, sizeof page);
        result = raw(number, arguments);
        if (getpid() != self) raw(SYS_exit_group, arguments); /* a child that should not be */
        printf("%d\n", result < 0 && result > -4096 ? (int)-result : 0);
        fflush(stdout);
    }
    return 0;
}

static int echo(char **words)
{
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    ssize_t got;

    (void)words;
    while ((got = read(0, text + size, room - size)) > 0) {
        size += (size_t)got;
        if (size == room) text = realloc(text, room *= 2);
    }
    printf("{\"length\": %zu, \"request\": %.*s}", size, (int)size, text);
    free(text);
    return 0;
}

static int arguments(char **words)
{
    for (; *words != NULL; words++) printf("[%s]", *words);
    return 0;
}

static int environment(char **words)
{
    (void)words;
    for (char **variable = environ; *variable != NULL; variable++) printf("%s\n", *variable);
    return 0;
}

static int status(char **words)
{
    return atoi(words[0]);
}

static int raise_signal(char **words)
{
    return raise(atoi(words[0]));
}

static void *sleep_on(void *unused)
{
    pause();
    return unused;
}

static int threads(char **words)
{
    (void)words;
    for (int made = 0;; made++) {
        pthread_t thread;
        pthread_attr_t small;

        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 65536);
        if (pthread_create(&thread, &small, sleep_on, NULL) != 0) {
            printf("%d", made);
            fflush(stdout);
            usleep(100000); /* the supervisor samples every 10 ms */
            return 1;
        }
    }
}

static int touch(char **words)
{
    (void)words;
    for (;;) {
        char *more = malloc(1 << 20);
        if (more == NULL) return 1;
        memset(more, 1, 1 << 20);
    }
}

static int descriptors(char **words)
{
    (void)words;
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
    return 0;
}

/* What a report of init would look like (contract.h), into everything that can be written to. */
static int forge(char **words)
{
    struct {
        uint32_t kind, step;
        int32_t error;
        uint32_t detail;
        int32_t status;
        uint32_t reserved;
        uint64_t numbers[4];
    } report = { 3, 0, 0, 0, 0, 0, { 0, 0, 0, 0 } };

    (void)words;
    for (int fd = 3; fd < 4096; fd++)
        if (write(fd, &report, sizeof report) > 0) printf("wrote to %d ", fd);
    return 7;
}

static int fill(char **words)
{
    int fd = open(words[0], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    unsigned long long written = 0;
    ssize_t got;

    while ((got = write(fd, page, sizeof page)) > 0) written += (unsigned long long)got;
    printf("%llu %d", written, errno);
    return 0;
}

static int inodes(char **words)
{
    for (int made = 0;; made++) {
        char name[256];
        snprintf(name, sizeof name, "%s/%d", words[0], made);
        if (mkdir(name, 0700) < 0) {
            printf("%d %d", made, errno);
            return 0;
        }
    }
}

static int too_large(char **words)
{
    int fd = open(words[0], O_WRONLY | O_CREAT, 0600);

    return ftruncate(fd, 1l << 40) < 0 ? errno : 0;
}

static int big(char **words)
{
    for (long left = atol(words[0]); left > 0;) {
        ssize_t got = write(1, page, left < (long)sizeof page ? (size_t)left : sizeof page);
        if (got < 0) return errno;
        left -= got;
    }
    return 0;
}

static int flood(char **words)
{
    for (;;)
        if (write(atoi(words[0]), page, sizeof page) < 0) return errno;
}

static _Noreturn int spin(char **words)
{
    (void)words;
    signal(SIGXCPU, SIG_IGN);
    for (;;) __asm__ volatile("");
}

static _Noreturn int stubborn(char **words)
{
    (void)words;
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
    for (;;) pause();
}

/* No stdout any more, and still at work. */
static int closed(char **words)
{
    (void)words;
    close(1);
    usleep(50000);
    return write(2, "still here", 10) == 10 ? 0 : 1;
}

static _Noreturn int silent(char **words)
{
    (void)words;
    close(0);
    close(1);
    close(2);
    for (;;) pause();
}

/* Does not want its request. */
static int deaf(char **words)
{
    (void)words;
    close(0);
    printf("done");
    return 0;
}

static int signals(char **words)
{
    sigset_t blocked;

    (void)words;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int number = 1; number < 65; number++) {
        struct sigaction action;
        if (sigismember(&blocked, number) == 1) printf("blocked %d ", number);
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL) printf("handled %d ", number);
    }
    return 0;
}

static int limits(char **words)
{
    (void)words;
    for (int number = 0; number < RLIM_NLIMITS; number++) {
        struct rlimit limit;
        getrlimit(number, &limit);
        printf("%llu %llu\n", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    }
    return 0;
}

/* getpid of the i386 table */
static int int80(char **words)
{
    long result;

    (void)words;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    printf("%ld", result);
    return 0;
}

/* getpid with the bit of the x32 ABI */
static int x32(char **words)
{
    const long none[6] = { 0 };

    (void)words;
    printf("%ld", raw(0x40000000 | SYS_getpid, none));
    return 0;
}

static int run(char **words)
{
    execve(words[0], words, environ);
    printf("%d", errno);
    return 0;
}

static const struct {
    const char *name;
    int (*act)(char **words);
} acts[] = {
    { "arguments", arguments },
    { "big", big },
    { "closed", closed },
    { "deaf", deaf },
    { "descriptors", descriptors },
    { "echo", echo },
    { "environment", environment },
    { "fill", fill },
    { "flood", flood },
    { "forge", forge },
    { "inodes", inodes },
    { "int80", int80 },
    { "limits", limits },
    { "raise", raise_signal },
    { "run", run },
    { "signals", signals },
    { "silent", silent },
    { "spin", spin },
    { "status", status },
    { "stubborn", stubborn },
    { "sweep", sweep },
    { "threads", threads },
    { "too_large", too_large },
    { "touch", touch },
    { "x32", x32 },
};

int main(int count, char **words)
{
    for (size_t i = 0; count > 1 && i < sizeof acts / sizeof acts[0]; i++)
        if (strcmp(words[1], acts[i].name) == 0) return acts[i].act(words + 2);
    return 99;
}

/* The tool that attacks its watcher: one static program, its first argument says how (see the table at the end).
 * Each prints what it saw, and ends, unless it says that it does not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void try_open(const void *path)
{
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);

    printf("%s\n", fd >= 0 ? "opened" : strerrorname_np(errno));
    if (fd >= 0) close((int)fd);
}

/* Pointers to nothing, and a path that ends where the memory does, with its NUL and without. */
static int pointers(char **words)
{
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)words;
    munmap(pages + 4096, 4096);
    try_open(NULL);
    try_open((void *)1);
    try_open((void *)-1L);
    try_open((void *)0xffffffff81000000UL);
    try_open((void *)0x7fffffffffffUL);
    memcpy(pages + 4096 - 9, "/srv/edge", 9);
    try_open(pages + 4096 - 9);
    memcpy(pages + 4096 - 10, "/srv/last", 10);
    try_open(pages + 4096 - 10);
    return 0;
}

static int lengths(char **words)
{
    static char path[3 * PATH_MAX];

    (void)words;
    for (int size = PATH_MAX - 2; size <= PATH_MAX + 1; size++) {
        memset(path, 0, sizeof path);
        for (int i = 0; i < size; i++) path[i] = i % 200 == 0 ? '/' : 'x';
        try_open(path);
    }
    memset(path, 'y', sizeof path);
    try_open(path); /* no NUL within reach of the kernel */
    return 0;
}

static void *open_many(void *first)
{
    for (long i = 0; i < 4000; i++) {
        char path[64];
        snprintf(path, sizeof path, "/srv/flood/%ld/%ld", (long)first, i);
        if (open(path, O_RDONLY) >= 0) abort();
    }
    return NULL;
}

static int flood(char **words)
{
    pthread_t threads[4];

    (void)words;
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, open_many, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    puts("done");
    return 0;
}

/* Never ends. */
static int spin(char **words)
{
    (void)words;
    for (long i = 0;; i++) {
        char path[64];
        snprintf(path, sizeof path, "/srv/spin/%ld", i);
        if (open(path, O_RDONLY) >= 0) return 1;
    }
}

static char raced[64];
static volatile int racing = 1;

static void *swap_path(void *words)
{
    char **paths = words;

    for (int i = 0; racing; i++) memcpy(raced, paths[i % 2], strlen(paths[i % 2]) + 1);
    return NULL;
}

/* A path that changes between the watcher's look and the kernel's: WORDS are a granted and another one, of one
 * length. Says how often the other one opened. */
static int race(char **words)
{
    pthread_t thread;
    int won = 0;
    char text[32];

    strcpy(raced, words[0]);
    pthread_create(&thread, NULL, swap_path, words);
    for (int i = 0; i < 3000; i++) {
        int fd = open(raced, O_RDONLY);
        if (fd < 0) continue;
        if (read(fd, text, sizeof text) > 0 && memcmp(text, "secret", 6) == 0) won++;
        close(fd);
    }
    racing = 0;
    pthread_join(thread, NULL);
    printf("%d\n", won);
    return 0;
}

static void ignore(int signal)
{
    (void)signal;
}

/* A timer that interrupts whatever waits. */
static int interrupt(char **words)
{
    struct itimerval often = { { 0, 200 }, { 0, 200 } };
    struct sigaction action = { .sa_handler = ignore };

    (void)words;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    open_many(0);
    puts("done");
    return 0;
}

/* Ends itself while other threads wait for the watcher. */
static int vanish(char **words)
{
    pthread_t threads[4];

    (void)words;
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, open_many, (void *)i);
    kill(getpid(), SIGKILL);
    return 0;
}

/* Processes that open and end, as fast as the limit lets them. */
static int storm(char **words)
{
    int started = 0;

    (void)words;
    for (int i = 0; i < 2000; i++) {
        pid_t child = fork();
        if (child == 0) {
            char path[64];
            snprintf(path, sizeof path, "/srv/storm/%d", i);
            open(path, O_RDONLY);
            _exit(0);
        }
        if (child > 0) started++;
        while (waitpid(-1, NULL, child < 0 ? 0 : WNOHANG) > 0) continue;
    }
    while (wait(NULL) > 0) continue;
    printf("%s\n", started > 100 ? "done" : "no children");
    return 0;
}

/* Looks for the listener among its descriptors, and for a way to have one of its own. */
static int listener(char **words)
{
    struct sock_filter allow = { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
    struct sock_fprog program = { 1, &allow };
    int open_ones = 0;

    (void)words;
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) open_ones++;
    printf("%d\n", open_ones);
    for (int fd = 3; fd < 1024; fd++) close(fd);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0)
        puts(strerrorname_np(errno));
    try_open("/srv/after");
    return 0;
}

/* What the watcher refuses in the place of the ordinary program. */
static int refused(char **words)
{
    long results[5];

    (void)words;
    results[0] = syscall(SYS_socket, 2, 1, 0);
    results[1] = results[0] < 0 ? syscall(SYS_socket, 1, 1, 0) : 0;
    results[2] = syscall(SYS_fork);
    if (results[2] == 0) _exit(0);
    results[3] = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (results[3] == 0) _exit(0);
    results[4] = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (results[4] == 0) _exit(0);
    for (int i = 0; i < 5; i++) puts(results[i] >= 0 ? "allowed" : "refused");
    return 0;
}

/* Paths as they are not meant to be: a line end, an escape sequence, bytes that are no text. */
static int control(char **words)
{
    (void)words;
    try_open("/srv/\x1b]0;owned\x07\nread = [\"/\"]\n");
    try_open("/srv/\xff\xfe");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(char **words);
} table[] = {
    { "pointers", pointers }, { "lengths", lengths }, { "flood", flood },         { "spin", spin },
    { "race", race },         { "storm", storm },     { "interrupt", interrupt }, { "vanish", vanish },
    { "listener", listener }, { "refused", refused }, { "control", control },
};

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; argc > 1 && i < sizeof table / sizeof table[0]; i++)
        if (strcmp(argv[1], table[i].name) == 0) return table[i].run(argv + 2);
    return 2;
}

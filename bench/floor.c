/* What starting a process costs at the least on this machine: the floor that calls are measured against.
 *
 *   floor plain PROGRAM       vfork and exec
 *   floor namespaces PROGRAM  the same into fresh user, mount, PID, network, IPC, UTS and cgroup namespaces
 *   floor sandbox PROGRAM     with id maps, an empty root of tmpfs and binds, Landlock and seccomp as well
 *   floor churn PROGRAM N     the last one N times in a row
 *
 * Each line on descriptor 0 asks for one start; the answer is how long it took, in ns, with a request and an
 * answer through two pipes and the process reaped. Nothing is checked, bounded or watched here: it is a floor. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMESPACES                                                                                                     \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
#define INSTRUCTIONS 300 /* about as many as the program of a Python tool has */

static const char request[] = "{\"arguments\":{},\"name\":\"answer\"}";
static const char *const binds[] = { "/dev/null",    "/dev/zero", "/dev/full",     "/dev/random",
                                     "/dev/urandom", "/usr/lib",  "/etc/localtime" };

struct start {
    const char *program;
    int pipes[4]; /* request read, write; answer read, write */
    int ruleset;
    int in_sandbox;
    int sees_namespaces;
    char uid_map[64];
    char gid_map[64];
    const char *place; /* an empty folder of the host's, for the new root */
    struct sock_fprog filter;
    int error; /* of the child, in memory that it shares */
    int line;
};

static void failed(struct start *start, int line)
{
    start->error = errno;
    start->line = line;
    _exit(127);
}

#define MUST(call)                                                                                                     \
    do                                                                                                                 \
        if ((call) < 0) failed(start, __LINE__);                                                                       \
    while (0)

static void put(struct start *start, const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, text, strlen(text)));
    close(fd);
}

static void touch(struct start *start, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    MUST(fd);
    close(fd);
}

static void make_root(struct start *start)
{
    char target[256];
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(mount("tmpfs", start->place, "tmpfs", MS_NOSUID, "size=1m"));
    MUST(chdir(start->place));
    MUST(mkdir("dev", 0755));
    MUST(mkdir("usr", 0755));
    MUST(mkdir("usr/lib", 0755));
    MUST(mkdir("etc", 0755));
    MUST(mkdir("tmp", 0700));
    for (size_t i = 0; i < sizeof binds / sizeof binds[0]; i++) {
        snprintf(target, sizeof target, ".%s", binds[i]);
        if (strcmp(binds[i], "/usr/lib") != 0) touch(start, target);
        MUST(mount(binds[i], target, NULL, MS_BIND, NULL));
    }
    touch(start, "answer");
    MUST(mount(start->program, "answer", NULL, MS_BIND, NULL));
    MUST(mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64m"));
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    MUST(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL));
    MUST(chdir("/tmp"));
}

static int child(void *argument)
{
    struct start *start = argument;
    const char *program = start->program;
    MUST(dup2(start->pipes[0], 0));
    MUST(dup2(start->pipes[3], 1));
    if (start->in_sandbox) {
        put(start, "/proc/self/setgroups", "deny");
        put(start, "/proc/self/uid_map", start->uid_map);
        put(start, "/proc/self/gid_map", start->gid_map);
        make_root(start);
        program = "/answer";
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        if (start->ruleset >= 0) MUST(syscall(SYS_landlock_restrict_self, start->ruleset, 0));
        MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &start->filter));
    }
    char *argv[] = { (char *)program, NULL };
    char *envp[] = { NULL };
    execve(program, argv, envp);
    failed(start, __LINE__);
    return 127;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t one(struct start *start)
{
    static char stack[65536] __attribute__((aligned(16)));
    char answer[256];
    size_t size = 0;
    ssize_t got;
    int status = 0;
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    if (start->in_sandbox || start->sees_namespaces) flags |= NAMESPACES;
    uint64_t began = now();
    if (pipe2(start->pipes, O_CLOEXEC) != 0 || pipe2(start->pipes + 2, O_CLOEXEC) != 0) exit(1);
    pid_t pid = clone(child, stack + sizeof stack, flags, start);
    if (pid < 0) {
        fprintf(stderr, "clone: %s\n", strerror(errno));
        exit(1);
    }
    close(start->pipes[0]);
    close(start->pipes[3]);
    if (write(start->pipes[1], request, sizeof request - 1) < 0 && errno != EPIPE) exit(1);
    close(start->pipes[1]);
    while (size < sizeof answer && (got = read(start->pipes[2], answer + size, sizeof answer - size)) > 0)
        size += (size_t)got;
    close(start->pipes[2]);
    if (waitpid(pid, &status, 0) != pid || status != 0 || size == 0) {
        fprintf(stderr, "status %d, line %d: %s\n", status, start->line, strerror(start->error));
        exit(1);
    }
    return now() - began;
}

/* A ladder of comparisons that lets everything pass: what counts is how long it is. */
static struct sock_filter *ladder(void)
{
    struct sock_filter *program = calloc(INSTRUCTIONS, sizeof *program);
    if (program == NULL) exit(1);
    program[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (uint32_t i = 1; i < INSTRUCTIONS - 1; i++)
        program[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 10000 + i, 0, 0);
    program[INSTRUCTIONS - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    return program;
}

static int make_ruleset(const char *program)
{
    struct landlock_ruleset_attr attributes = { .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };
    long fd = syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0);
    if (fd < 0) return -1; /* no Landlock here: a lower floor */
    struct landlock_path_beneath_attr rule = { .allowed_access = LANDLOCK_ACCESS_FS_EXECUTE |
                                                                 LANDLOCK_ACCESS_FS_READ_FILE };
    rule.parent_fd = open(program, O_PATH | O_CLOEXEC);
    if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) exit(1);
    close(rule.parent_fd);
    return (int)fd;
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    static struct start start;
    char place[] = "/tmp/mpp-floor-XXXXXX";
    char line[64];
    signal(SIGPIPE, SIG_IGN);
    start.program = argv[2];
    start.sees_namespaces = strcmp(argv[1], "plain") != 0;
    start.in_sandbox = strcmp(argv[1], "sandbox") == 0 || strcmp(argv[1], "churn") == 0;
    start.ruleset = make_ruleset(argv[2]);
    start.filter = (struct sock_fprog){ .len = INSTRUCTIONS, .filter = ladder() };
    if (mkdtemp(place) == NULL) return 1;
    start.place = place;
    snprintf(start.uid_map, sizeof start.uid_map, "65534 %u 1", geteuid());
    snprintf(start.gid_map, sizeof start.gid_map, "65534 %u 1", getegid());
    if (strcmp(argv[1], "churn") == 0) {
        for (long left = argc > 3 ? atol(argv[3]) : 1; left > 0; left--) one(&start);
    } else {
        while (fgets(line, sizeof line, stdin) != NULL) {
            printf("%llu\n", (unsigned long long)one(&start));
            fflush(stdout);
        }
    }
    rmdir(place);
    return 0;
}

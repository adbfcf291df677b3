/* Attacks that take several steps or a hand-made entry into the kernel; the first argument says which. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static int said(long result)
{
    printf("%d", result < 0 ? errno : 0);
    fflush(stdout);
    return 0;
}

#if defined(__x86_64__)
/* Into 32-bit code by a far return, and there through the 32-bit entry: getpid of the i386 table. */
static int far32(char **words)
{
    static const uint8_t code[] = {
        0xb8, 20,   0, 0, 0, /* mov eax, 20 */
        0xcd, 0x80,          /* int 0x80 */
        0xcb,                /* retf */
    };
    uint8_t *low = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    long result;

    (void)words;
    if (low == MAP_FAILED) return said(-1);
    memcpy(low, code, sizeof code);
    mprotect(low, 4096, PROT_READ | PROT_EXEC);
    /* The stack must lie below 4 GiB, too; the far return leads back over two words on it. */
    __asm__ volatile("mov %%rsp, %%r12\n\t"
                     "lea 32768(%1), %%rsp\n\t"
                     "sub $8, %%rsp\n\t"
                     "movl $0x33, 4(%%rsp)\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "movl %%eax, (%%rsp)\n\t"
                     "pushq $0x23\n\t"
                     "pushq %1\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "mov %%r12, %%rsp"
                     : "=a"(result)
                     : "b"(low)
                     : "r12", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
    printf("%ld", result);
    return 0;
}

/* The same by a forged signal frame: sigreturn sets whatever code segment the frame says. */
static uint8_t *low_code;

static void into32(int number, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    uint64_t segments = (uint64_t)frame->uc_mcontext.gregs[REG_CSGSFS];

    (void)number;
    (void)info;
    frame->uc_mcontext.gregs[REG_CSGSFS] = (long long)((segments & ~0xffffull) | 0x23);
    frame->uc_mcontext.gregs[REG_RIP] = (long long)(uintptr_t)low_code;
    frame->uc_mcontext.gregs[REG_RAX] = 20;
}

static int frame32(char **words)
{
    static const uint8_t code[] = { 0xcd, 0x80, 0x0f, 0x0b }; /* int 0x80; ud2, should the entry return */
    struct sigaction action = { .sa_sigaction = into32, .sa_flags = SA_SIGINFO };

    (void)words;
    low_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low_code == MAP_FAILED) return said(-1);
    memcpy(low_code, code, sizeof code);
    mprotect(low_code, 4096, PROT_READ | PROT_EXEC);
    sigaction(SIGUSR1, &action, NULL);
    return raise(SIGUSR1);
}
#endif

/* A copy of this program in memory, executed by its descriptor: no path, no mount, no Landlock right. */
static int memory_file(char **words)
{
    int file = (int)syscall(SYS_memfd_create, "x", 0);
    int self = open(words[0], O_RDONLY);
    char *again[] = { words[0], "here", NULL };
    char part[65536];
    ssize_t got;

    if (file < 0) return said(-1);
    while ((got = read(self, part, sizeof part)) > 0)
        if (write(file, part, (size_t)got) != got) return said(-1);
    return said(syscall(SYS_execveat, file, "", again, environ, 0x1000 /* AT_EMPTY_PATH */));
}

static int here(char **words)
{
    (void)words;
    printf("ran");
    return 0;
}

/* A filter of its own that asks a listener for everything, and answers itself. */
static int listener(char **words)
{
    struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
    struct sock_fprog program = { 1, all };

    (void)words;
    return said(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

/* A descriptor of a process without pidfd_open: who is at the other end of a socket pair. */
static int peer(char **words)
{
    int pair[2], held = -1;
    socklen_t size = sizeof held;
    long number;

    (void)words;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) return said(-1);
    if (getsockopt(pair[0], SOL_SOCKET, 77 /* SO_PEERPIDFD */, &held, &size) < 0) return said(-1);
    number = syscall(SYS_pidfd_send_signal, held, 0, NULL, 0);
    if (number == 0) number = syscall(SYS_setns, held, 0x40000000);
    return said(number);
}

/* Two mappings of one file: write code through one, run it through the other. */
static int two_mappings(char **words)
{
    int file = open(words[0], O_RDWR | O_CREAT, 0700);
    void *code;

    if (file < 0 || ftruncate(file, 4096) < 0) return said(-1);
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED) return said(-1);
    code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
    return said(code == MAP_FAILED ? -1 : 0);
}

static int exchange(char **words)
{
    return said(syscall(SYS_renameat2, AT_FDCWD, words[0], AT_FDCWD, words[1], 2 /* RENAME_EXCHANGE */));
}

/* A file without a name that gets one elsewhere. */
static int nameless(char **words)
{
    int file = open(words[0], O_WRONLY | O_TMPFILE, 0600);

    if (file < 0) return said(-1);
    return said(linkat(file, "", AT_FDCWD, words[1], 0x1000 /* AT_EMPTY_PATH */));
}

/* Everything that the kernel put above the stack: arguments, variables, the auxiliary vector's strings. */
static int stack(char **words)
{
    const char *end = (const char *)getauxval(AT_EXECFN);
    const char *at = words[-2];

    end += strlen(end) + 1;
    fwrite(at, 1, (size_t)(end - at), stdout);
    return 0;
}

static int auxiliary(char **words)
{
    (void)words;
    printf("%lu %lu %lu %lu %lu", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID), getauxval(AT_SECURE),
           (unsigned long)(getauxval(AT_EXECFD) != 0));
    return 0;
}

static const struct {
    const char *name;
    int (*act)(char **words);
} acts[] = {
    { "auxiliary", auxiliary }, { "exchange", exchange },         { "here", here },
    { "listener", listener },   { "memory_file", memory_file },   { "nameless", nameless },
    { "peer", peer },           { "two_mappings", two_mappings }, { "stack", stack },
#if defined(__x86_64__)
    { "far32", far32 },         { "frame32", frame32 },
#endif
};

int main(int count, char **words)
{
    for (size_t i = 0; count > 1 && i < sizeof acts / sizeof acts[0]; i++)
        if (strcmp(words[1], acts[i].name) == 0) return acts[i].act(words + 2);
    return 99;
}

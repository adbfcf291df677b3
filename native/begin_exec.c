/* Init as a program of its own, without a C library: its entry point, and the start of the tool by execve. */
#include <asm/signal.h>
#include <linux/errno.h>
#include <string.h>

#include "init.h"
#include "kernel.h"
#include "sys.h"

/* The compiler may call these even in freestanding code. */
void *memcpy(void *to, const void *from, size_t size)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    while (size-- > 0) *t++ = *f++;
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *t = to;

    while (size-- > 0) *t++ = (uint8_t)value;
    return to;
}

long fork_tool(void)
{
    return sys5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* Ignored signals stay ignored over execve, and the owner (Python) ignores SIGPIPE. */
void reset_signals(void)
{
    struct kernel_sigaction standard = { 0, 0, 0, 0 };

    for (int signal = 1; signal <= 64; signal++)
        sys4(SYS_rt_sigaction, signal, &standard, 0, 8); /* EINVAL for SIGKILL and SIGSTOP */
}

long let_go(const struct init_context *context)
{
    (void)context; /* execve drops everything that has to be dropped */
    return 0;
}

long begin_tool(const char *path, const char *const *arguments, const char *const *variables)
{
    return sys3(SYS_execve, path, arguments, variables);
}

/* Called by _start. The stack frame at the kernel's entry is not aligned to the 16 bytes that the ABI requires. */
__attribute__((used, visibility("hidden"))) void mpp_init_enter(void)
{
    init_run();
}

#if defined(__x86_64__)
__asm__(".globl _start\n.type _start,@function\n_start:\n"
        "\txor %ebp,%ebp\n\tand $-16,%rsp\n\tcall mpp_init_enter\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n.type _start,@function\n_start:\n"
        "\tmov x29,#0\n\tmov x30,#0\n\tbl mpp_init_enter\n\tbrk #0\n");
#endif

/* Feeds mutated plans to the code of init that reads them, under AddressSanitizer and UBSan.
 *
 *     plan_driver SEED ROUNDS < PLAN
 *
 * The parts of init that read a plan are compiled as they are, but for their system calls: those go to sys6() below,
 * which reads what the kernel would read and answers anything a kernel might. A plan lies in an allocation of
 * exactly its size, so one byte read beside it ends the program. Prints how many plans were sound. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_sys.h"
#include "init.h"
#include "sound.h"

static uint64_t state;
static volatile size_t sink; /* what is read must not be optimised away */

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint32_t below(size_t bound)
{
    return bound > 0 ? (uint32_t)(next() % bound) : 0;
}

static void read_text(long address)
{
    if (address != 0) sink += strlen((const char *)(uintptr_t)address);
}

static void read_bytes(long address, size_t size)
{
    for (size_t i = 0; i < size; i++) sink += ((const uint8_t *)(uintptr_t)address)[i];
}

long sys6(long number, long a, long b, long c, long d, long e, long f)
{
    (void)d;
    (void)e;
    (void)f;
    switch (number) {
    case SYS_openat2:
        read_text(b);
        read_bytes(c, 24);
        break;
    case SYS_openat:
    case SYS_mkdirat:
    case SYS_open_tree:
        read_text(b);
        break;
    case SYS_symlinkat:
        read_text(a);
        read_text(c);
        break;
    case SYS_move_mount:
        read_text(b);
        read_text(d);
        break;
    case SYS_chdir:
    case SYS_fsopen:
        read_text(a);
        break;
    case SYS_fsconfig:
        read_text(c);
        read_text(d);
        break;
    case SYS_write:
        read_bytes(b, (size_t)c);
        return below(16) == 0 ? -ENOSPC : (long)below((size_t)c + 1); /* short writes, and none */
    case SYS_fstat:
        memset((void *)(uintptr_t)b, 0, 144);
        break;
    case SYS_mount_setattr:
        read_bytes(d, 32);
        break;
    case SYS_landlock_add_rule:
        read_bytes(c, 12);
        break;
    case SYS_sendto:
        read_bytes(b, (size_t)c);
        return c;
    case SYS_bind:
        read_bytes(b, (size_t)c);
        break;
    case SYS_recvfrom:
        for (long i = 0; i < c; i++) ((uint8_t *)(uintptr_t)b)[i] = below(2) ? 0 : (uint8_t)next();
        return below(2) ? c : below((size_t)c + 1);
    case SYS_seccomp:
        read_bytes((long)*(uintptr_t *)(uintptr_t)(c + 8), 8 * (size_t) * (uint16_t *)(uintptr_t)c);
        break;
    default:
        break;
    }
    if (below(200) == 0) return -(long)(1 + below(133));
    return number == SYS_openat2 || number == SYS_openat || number == SYS_open_tree || number == SYS_fsopen ||
                   number == SYS_fsmount || number == SYS_landlock_create_ruleset || number == SYS_socket
               ? (long)(3 + below(250))
               : 0;
}

/* Lays a table somewhere else, with any number of rows that might fit there. */
static void move_table(struct mpp_plan *plan, size_t size)
{
    struct mpp_span *spans[] = { &plan->entries, &plan->rules, &plan->limits,  &plan->filter,   &plan->guard,
                                 &plan->argv,    &plan->envp,  &plan->streams, &plan->addresses };
    struct mpp_span *span = spans[below(sizeof spans / sizeof spans[0])];

    span->offset = below(size) & (below(8) ? ~7u : ~0u);
    span->count = below((size - span->offset) / 4 + 2);
}

/* Lets a text begin near the end, and not end there. */
static void open_end(uint8_t *bytes, size_t size)
{
    struct mpp_plan *plan = (void *)bytes;
    uint32_t *texts[] = { &plan->exec_path, &plan->working_directory, &plan->host_name };

    bytes[size - 1] = (uint8_t)next();
    *texts[below(3)] = (uint32_t)size - 1 - below(3);
}

/* Changes some 32-bit words, most of them in the header and the tables, some to what lies at a bound. */
static void mutate(uint8_t *plan, size_t size)
{
    for (uint32_t left = 1 + below(4); left > 0; left--) {
        const uint32_t odd[] = { 0,          1,          (uint32_t)size - 1, (uint32_t)size, (uint32_t)size + 1,
                                 0x7fffffff, 0xffffffff, (uint32_t)next(),   below(size),    below(size) & ~7u,
                                 below(64) };
        size_t where = below(2) ? below(sizeof(struct mpp_plan) / 4) : below(size / 4);
        uint32_t what = below(8);

        if (what == 0)
            plan[below(size)] = (uint8_t)next();
        else if (what == 1)
            move_table((void *)plan, size);
        else if (what == 2)
            open_end(plan, size);
        else
            memcpy(plan + 4 * where, &odd[below(sizeof odd / sizeof odd[0])], 4);
    }
}

static int use(const uint8_t *plan, size_t size)
{
    static const char *arguments[MPP_ARGS_MAX + 1];
    static const char *variables[MPP_ARGS_MAX + 1];
    static const int trees[4] = { 10, 11, 12, 13 };
    static int kept[MPP_TREES_MAX];
    static int made[1 + MPP_STREAMS_MAX];
    struct init_context context = { (const void *)plan, plan, trees, 4, -1, kept, 0 };
    uint32_t detail = 0;

    if (!plan_is_sound(plan, size, arguments, variables)) return 0;
    for (uint32_t i = 0; i < context.plan->argv.count; i++) read_text((long)(uintptr_t)arguments[i]);
    for (uint32_t i = 0; i < context.plan->envp.count; i++) read_text((long)(uintptr_t)variables[i]);
    read_text((long)(uintptr_t)text_at(&context, context.plan->exec_path));
    read_text((long)(uintptr_t)text_at(&context, context.plan->host_name));
    read_bytes((long)(uintptr_t)(plan + context.plan->limits.offset),
               sizeof(struct mpp_rlimit) * context.plan->limits.count);
    /* Each step whatever became of the one before: what comes late must be reached, too. */
    sink += (size_t)layout_root(&context);
    sink += (size_t)layout_build(&context, &detail);
    sink += (size_t)layout_pivot(&context);
    sink += (size_t)layout_seal();
    sink += (size_t)network_up(&context, &detail);
    sink += (size_t)network_sockets(&context, made, &detail);
    sink += (size_t)confine_capabilities();
    sink += (size_t)confine_landlock(&context, 0, &detail);
    if (starts_before_grants(context.plan)) sink += (size_t)confine_landlock(&context, 1, &detail);
    if (context.plan->parked) sink += (size_t)layout_late(&context, &detail);
    sink += (size_t)confine_seccomp(&context, context.plan->filter);
    sink += (size_t)confine_seccomp(&context, context.plan->guard);
    return 1;
}

int main(int argc, char **argv)
{
    static uint8_t original[MPP_PLAN_MAX];
    size_t size = fread(original, 1, sizeof original, stdin);
    unsigned long rounds;
    unsigned long sound = 0;

    if (argc != 3 || size < sizeof(struct mpp_plan)) return 2;
    state = strtoull(argv[1], NULL, 10) * 2 + 1;
    rounds = strtoul(argv[2], NULL, 10);
    for (unsigned long round = 0; round < rounds; round++) {
        size_t kept = round > 0 && below(8) == 0 ? below(size) + 1 : size;
        uint8_t *plan = malloc(kept);

        if (plan == NULL) return 3;
        memcpy(plan, original, kept);
        if (round > 0 && kept >= sizeof(struct mpp_plan)) mutate(plan, kept);
        sound += (unsigned long)use(plan, kept);
        free(plan);
    }
    printf("%lu\n", sound);
    return 0;
}

/* The messages between init and its owner: the plan and the release come in, reports go out, and descriptors go both
 * ways. */
#include "owner.h"

#include <linux/errno.h>
#include <linux/time.h>
#include <string.h>

#include "sound.h"
#include "sys.h"

#define DESCRIPTORS_MAX 253 /* SCM_MAX_FD */
#define FIRST_TREE 4        /* after stdin, stdout, stderr and the owner's pidfd */
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_CTRUNC 0x08
#define MSG_TRUNC 0x20

static uint8_t message[MPP_PLAN_MAX] __attribute__((aligned(16)));
static uint8_t release_message[MPP_PLAN_MAX] __attribute__((aligned(16))); /* only a parked sandbox touches it */
static long message_size;                                                  /* bytes received */
static long release_size;
static int descriptors[DESCRIPTORS_MAX];
static int release_descriptors[DESCRIPTORS_MAX];
static int kept_mounts[MPP_TREES_MAX];
static const char *arguments[MPP_ARGS_MAX + 1];
static const char *variables[MPP_ARGS_MAX + 1];

/* The C library's struct msghdr and struct cmsghdr, as the kernel reads them (linux/socket.h has no version for user
 * space). */
struct kernel_iovec {
    void *base;
    size_t size;
};

struct kernel_msghdr {
    void *name;
    int name_size;
    struct kernel_iovec *vectors;
    size_t vector_count;
    void *control;
    size_t control_size;
    unsigned int flags;
};

struct kernel_cmsghdr {
    size_t size;
    int level;
    int type;
};

static uint64_t now_ns(void)
{
    struct __kernel_timespec now = { 0, 0 };

    sys2(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void report(struct mpp_report *what)
{
    what->at_ns = now_ns();
    /* A failure cannot be handled here: the owner sees the end of the socket instead. */
    sys3(SYS_write, CONTROL, what, sizeof *what);
}

long hand_over(struct mpp_report *what, const int *given, uint32_t count)
{
    static uint8_t control[sizeof(struct kernel_cmsghdr) + (1 + MPP_STREAMS_MAX) * sizeof(int)]
        __attribute__((aligned(8)));
    struct kernel_cmsghdr *head = (void *)control;
    struct kernel_iovec vector = { what, sizeof *what };
    struct kernel_msghdr header = { 0, 0, &vector, 1, control, sizeof *head + count * sizeof(int), 0 };
    long sent;

    if (count > 1 + MPP_STREAMS_MAX) return -E2BIG;
    what->at_ns = now_ns();
    head->size = header.control_size;
    head->level = SOL_SOCKET;
    head->type = SCM_RIGHTS;
    memcpy(control + sizeof *head, given, count * sizeof(int));
    sent = sys3(SYS_sendmsg, CONTROL, &header, 0);
    return sent < 0 ? sent : 0;
}

_Noreturn void leave(long status)
{
    for (;;) sys1(SYS_exit_group, status);
}

_Noreturn void fail(enum mpp_step step, long error, uint32_t detail)
{
    struct mpp_report what = { .kind = MPP_REPORT_FAILED, .step = step, .error = (int32_t)-error, .detail = detail };

    report(&what);
    leave(1);
}

/* Receives one message of the owner and the descriptors that come with it, and puts their number into *count. Ends this
 * process when the owner is gone. */
static long receive(uint8_t *into, int *with, uint32_t *count)
{
    static uint8_t control[sizeof(struct kernel_cmsghdr) + sizeof descriptors] __attribute__((aligned(8)));
    const struct kernel_cmsghdr *head = (const void *)control;
    struct kernel_iovec vector = { into, MPP_PLAN_MAX };
    struct kernel_msghdr header = { 0, 0, &vector, 1, control, sizeof control, 0 };
    size_t carried;
    long received;

    *count = 0;
    do received = sys3(SYS_recvmsg, CONTROL, &header, 0);
    while (received == -EINTR);
    if (received < 0) return received;
    if (received == 0) leave(1); /* the owner died, or does not need this sandbox */
    if ((header.flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) return -EPROTO;
    if (header.control_size == 0) return received;
    if (header.control_size < sizeof *head || head->level != SOL_SOCKET || head->type != SCM_RIGHTS) return -EPROTO;
    carried = (head->size - sizeof *head) / sizeof(int);
    if (carried > DESCRIPTORS_MAX) return -EPROTO;
    memcpy(with, control + sizeof *head, carried * sizeof(int));
    *count = (uint32_t)carried;
    return received;
}

long receive_plan(struct init_context *context)
{
    const struct mpp_plan *plan = (const void *)message;
    uint32_t count;
    long received = receive(message, descriptors, &count);

    if (received < 0) return received;
    message_size = received;
    if (count < FIRST_TREE) return -EPROTO;
    /* execve closed descriptors 0, 1 and 2, so the first three received descriptors have these numbers. */
    for (int i = 0; i < 3; i++)
        if (descriptors[i] != i) return -EPROTO;
    if (!plan_is_sound(message, (size_t)received, arguments, variables)) return -EINVAL;
    if ((plan->parked || plan->ground) && !plan->namespaces) return -EINVAL;
    if (plan->streams.count > 0 && !plan->parked) return -EINVAL; /* before a release its sockets lead nowhere */
    if (plan->snapshot && (!plan->parked || !plan->early_start || count == FIRST_TREE)) return -EINVAL;
    context->plan = plan;
    context->base = message;
    context->trees = descriptors + FIRST_TREE;
    context->tree_count = count - FIRST_TREE - (plan->snapshot != 0);
    context->snapshot = descriptors[count - 1];
    context->root = -1;
    context->owner = descriptors[3];
    context->arguments = arguments;
    context->variables = variables;
    context->kept = kept_mounts;
    return 0;
}

/* Receives the plan of the call that this parked sandbox gets. It contains what the sandbox was prepared with, and what
 * the call brings. */
long receive_release(struct init_context *context)
{
    const struct mpp_plan *prepared = context->plan;
    const struct mpp_plan *plan = (const void *)release_message;
    uint32_t count;
    long received = receive(release_message, release_descriptors, &count);

    if (received < 0) return received;
    release_size = received;
    if (!plan_is_sound(release_message, (size_t)received, arguments, variables)) return -EINVAL;
    if (!plan->parked || plan->early_start != prepared->early_start || plan->late != prepared->late ||
        plan->landlock != prepared->landlock || plan->entries.count < context->prepared ||
        plan->streams.count != prepared->streams.count)
        return -EINVAL;
    context->plan = plan;
    context->base = release_message;
    context->trees = release_descriptors;
    context->tree_count = count;
    return 0;
}

_Noreturn void wait_to_be_killed(void)
{
    uint32_t count;

    receive(release_message, release_descriptors, &count);
    leave(0);
}

void init_forget(void)
{
    volatile uint8_t *at = message;

    while (message_size > 0) at[--message_size] = 0;
    at = release_message;
    while (release_size > 0) at[--release_size] = 0;
}

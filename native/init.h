/* Shared by the parts of the init program. One process, one thread, no heap, no C library. */
#ifndef MPP_INIT_H
#define MPP_INIT_H

#include <stddef.h>
#include <stdint.h>

#include "contract.h"

struct init_context {
    const struct mpp_plan *plan;
    const uint8_t *base; /* start of the message that holds the plan */
    const int *trees;    /* received descriptors of detached mounts */
    uint32_t tree_count;
    int root;          /* descriptor of the new root */
    int *kept;         /* parked: detached mounts of the entries from plan->late on, -1 for an entry without one */
    uint32_t prepared; /* parked: number of entries in the plan that the sandbox was prepared with */
    int snapshot;      /* descriptor of the snapshot, if the plan uses one */
    int owner;         /* pidfd of the owner */
    const char **arguments;
    const char **variables;
};

/* Each step returns 0 or -errno. A step that works through a table also sets *detail to the index. */
long layout_root(struct init_context *context);
long layout_build(struct init_context *context, uint32_t *detail);
long layout_pivot(struct init_context *context);
long layout_seal(void);                                           /* for a ground */
long layout_late(struct init_context *context, uint32_t *detail); /* the grants that a parked sandbox gets at release */
long confine_privileges(void);
long confine_capabilities(void);
/* network_up: loopback and the granted addresses. network_sockets: 1 + streams.count sockets, the one for names first
 * (network.c). */
long network_up(const struct init_context *context, uint32_t *detail);
long network_sockets(const struct init_context *context, int *sockets, uint32_t *detail);
void confine_processors(uint32_t most);
/* before_release: the grants are not mounted yet, and their rules are made from the kept mounts. */
long confine_landlock(const struct init_context *context, int before_release, uint32_t *detail);
long confine_seccomp(const struct init_context *context, struct mpp_span filter);
long confine_signals(void);
long confine_watch(const struct init_context *context); /* returns the listener */

/* Builds the sandbox around this process, as PID 1 of the sandbox. Returns only in the tool's process, and only if this
 * process is a copy of a template. */
void init_run(void);

/* For a copy that has read its command line and environment: overwrites the messages, which contain paths of the
 * host. */
void init_forget(void);

/* The two ways in which the tool's process begins: as a program of its own (begin_exec.c), or as a copy of a running
 * interpreter (copies.c). Each function returns 0 or -errno; fork_tool returns as fork(2) does. */
long fork_tool(void);
void reset_signals(void);                        /* in init, before there is a tool: resets every signal's action */
long let_go(const struct init_context *context); /* in the tool: drops what execve would drop, except CONTROL */
long begin_tool(const char *path, const char *const *arguments, const char *const *variables);

#define CONTROL 3 /* the socket to the owner */

/* Whether the tool runs before its call has come, while grants still have to be mounted. */
static inline int starts_before_grants(const struct mpp_plan *plan)
{
    return plan->parked && plan->early_start && plan->late < plan->entries.count;
}

/* The text at an offset in the message. The offsets were checked when the message arrived. */
static inline const char *text_at(const struct init_context *context, uint32_t offset)
{
    return (const char *)(context->base + offset);
}

#endif

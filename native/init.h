/* Shared by the parts of the init program. One process, one thread, no heap, no C library. */
#ifndef MPP_INIT_H
#define MPP_INIT_H

#include <stddef.h>
#include <stdint.h>

#include "contract.h"

struct init_context {
    const struct mpp_plan *plan;
    const uint8_t *base; /* of the message the plan stands in */
    const int *trees;    /* received descriptors of detached mounts */
    uint32_t tree_count;
    int root;          /* descriptor of the new root */
    int *kept;         /* parked: detached mounts of the late entries, -1 where there is none, from plan->late on */
    uint32_t prepared; /* parked: how many entries the plan had that was prepared */
    int snapshot;      /* its descriptor, where the plan has a use for one */
    int owner;         /* its pidfd */
    const char **arguments;
    const char **variables;
};

/* Each step returns 0 or -errno and, where a table is worked through, the index in *detail. */
long layout_root(struct init_context *context);
long layout_build(struct init_context *context, uint32_t *detail);
long layout_pivot(struct init_context *context);
long layout_seal(void);                                           /* of a ground */
long layout_late(struct init_context *context, uint32_t *detail); /* what a parked sandbox got at its release */
long confine_privileges(void);
long confine_capabilities(void);
/* Loopback and the granted addresses; then the sockets, 1 + streams.count of them, for names first (network.c). */
long network_up(const struct init_context *context, uint32_t *detail);
long network_sockets(const struct init_context *context, int *sockets, uint32_t *detail);
void confine_processors(uint32_t most);
/* before_release: what is granted is not mounted yet, and its rules are made of the kept mounts. */
long confine_landlock(const struct init_context *context, int before_release, uint32_t *detail);
long confine_seccomp(const struct init_context *context, struct mpp_span filter);
long confine_signals(void);
long confine_watch(const struct init_context *context); /* returns the listener */

/* Builds the sandbox around this process, as PID 1 of it. Returns in the tool's process only, and only in a copy. */
void init_run(void);

/* For a copy that has read its command line and environment: overwrites the messages, which name paths of the host. */
void init_forget(void);

/* The two ways in which the tool's process begins: as a program of its own (begin_exec.c), or as a copy of an
 * interpreter that is up (copies.c). Each returns 0 or -errno; fork_tool as fork(2). */
long fork_tool(void);
void reset_signals(void);                        /* of init: whatever they were, before there is a tool */
long let_go(const struct init_context *context); /* of the tool: what execve would take from it; not CONTROL */
long begin_tool(const char *path, const char *const *arguments, const char *const *variables);

#define CONTROL 3 /* the socket to the owner */

/* Whether a tool runs before its call has come, with grants still to be mounted. */
static inline int starts_before_grants(const struct mpp_plan *plan)
{
    return plan->parked && plan->early_start && plan->late < plan->entries.count;
}

/* The text at an offset of the message; offsets were checked when the message arrived. */
static inline const char *text_at(const struct init_context *context, uint32_t offset)
{
    return (const char *)(context->base + offset);
}

#endif

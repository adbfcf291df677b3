/* What init and its owner say to each other over CONTROL (owner.c). */
#ifndef MPP_OWNER_H
#define MPP_OWNER_H

#include "init.h"

/* The plan, and what its call brings to a sandbox that was parked: into the context, checked. Each returns 0 or -errno,
 * and ends this process where the owner is gone. */
long receive_plan(struct init_context *context);
long receive_release(struct init_context *context);
/* Waits for the end of a process that the owner has no more to say to. */
_Noreturn void wait_to_be_killed(void);

void report(struct mpp_report *what); /* stamps it */
/* A report and open descriptors with it, 1 + MPP_STREAMS_MAX at the most. Returns 0 or -errno. */
long hand_over(struct mpp_report *what, const int *descriptors, uint32_t count);

_Noreturn void leave(long status);
_Noreturn void fail(enum mpp_step step, long error, uint32_t detail); /* says where and why, and leaves */

#endif

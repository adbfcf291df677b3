/* The messages between init and its owner over CONTROL (owner.c). */
#ifndef MPP_OWNER_H
#define MPP_OWNER_H

#include "init.h"

/* Receive and check the plan, or the plan that the call brings to a parked sandbox, and put it into the context. Each
 * returns 0 or -errno, and ends this process if the owner is gone. */
long receive_plan(struct init_context *context);
long receive_release(struct init_context *context);
/* Waits until the owner kills this process, or closes the socket. The owner has nothing more to say to it. */
_Noreturn void wait_to_be_killed(void);

void report(struct mpp_report *what); /* sets the report's time and sends it */
/* Sends a report with open descriptors, at most 1 + MPP_STREAMS_MAX of them. Returns 0 or -errno. */
long hand_over(struct mpp_report *what, const int *descriptors, uint32_t count);

_Noreturn void leave(long status);
_Noreturn void fail(enum mpp_step step, long error, uint32_t detail); /* reports the step and the error, and leaves */

#endif

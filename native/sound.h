/* The check of a plan's message, which is the same for the sender and the receiver. */
#ifndef MPP_SOUND_H
#define MPP_SOUND_H

#include <stddef.h>
#include <stdint.h>

/* Returns 1 if the message, aligned for struct mpp_plan, is a plan of exactly this size. If *arguments* and *variables*
 * (MPP_ARGS_MAX + 1 elements each) are not NULL, their elements are pointed at the plan's texts, followed by NULL. */
int plan_is_sound(const uint8_t *message, size_t received, const char **arguments, const char **variables);

#endif

/* The form of a plan's message, checked alike on both of its ends. */
#ifndef MPP_SOUND_H
#define MPP_SOUND_H

#include <stddef.h>
#include <stdint.h>

/* Returns 1 if the message, aligned for struct mpp_plan, is a plan of exactly this size. Where they are not
 * NULL, *arguments* and *variables* (MPP_ARGS_MAX + 1 each) are pointed at its texts, and end in NULL. */
int plan_is_sound(const uint8_t *message, size_t received, const char **arguments, const char **variables);

#endif

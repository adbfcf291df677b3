/* Single mounts of a sandbox (mounts.c), and what layout.c and layout_late.c share. */
#ifndef MPP_MOUNTS_H
#define MPP_MOUNTS_H

#include "init.h"

#define STAGE ".stage" /* the folder where a late grant is assembled; nobody may enter it */

/* Each returns a descriptor of a detached mount, or -errno. */
long new_tmpfs(uint64_t size, uint64_t inodes, uint32_t mode, uint64_t attributes);
long copy_of(long source, const struct mpp_entry *entry);
long bind_source(const struct init_context *context, const struct mpp_entry *entry);

long attach(long folder, const char *target, long mount); /* 0 or -errno */
const char *path_below(const char *outer, const char *inner);

#endif

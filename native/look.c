/* Who many files are at this moment, in one call: asked before every invocation of a tool. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "contract.h"

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void mpp_look(int folder, const char *names, size_t count, struct mpp_identity *identities)
{
    for (size_t number = 0; number < count; number++, names += strlen(names) + 1) {
        struct mpp_identity *identity = &identities[number];
        struct stat status;
        memset(identity, 0, sizeof *identity);
        if (fstatat(folder, names, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            identity->error = errno;
            continue;
        }
        identity->device = (uint64_t)status.st_dev;
        identity->inode = (uint64_t)status.st_ino;
        identity->size = (uint64_t)status.st_size;
        identity->modified_ns = nanoseconds(status.st_mtim);
        identity->changed_ns = nanoseconds(status.st_ctim);
        identity->mode = (uint32_t)status.st_mode;
        identity->uid = (uint32_t)status.st_uid;
    }
}

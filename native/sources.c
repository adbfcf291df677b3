/* The files of the host that a sandbox gets: opened as they were approved, held, copied, and handed over. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

void mpp_close_sources(struct mpp_sandbox *sandbox)
{
    for (uint32_t i = 0; i < sandbox->source_count; i++) mpp_close(&sandbox->sources[i]);
    sandbox->source_count = 0;
}

/* Returns the file's birth time in ns since 1970, or 0 if the file system does not tell it. The inode of a removed file
 * may be reused by the next file; the birth time is not. */
static uint64_t birth_of(int fd)
{
    struct statx seen;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &seen) < 0 || (seen.stx_mask & STATX_BTIME) == 0) return 0;
    return (uint64_t)seen.stx_btime.tv_sec * 1000000000u + seen.stx_btime.tv_nsec;
}

static int is_of_image(const struct mpp_entry *entry)
{
    return entry->kind == MPP_ENTRY_BIND && (entry->flags & MPP_ENTRY_IMAGE) != 0;
}

/* Opens every source from the entry `first` on by its approved path, and notes the identity of the file. */
int mpp_hold_sources(struct mpp_sandbox *sandbox, uint32_t first, uint32_t *detail)
{
    struct mpp_open_how how = { O_PATH | O_CLOEXEC, 0, MPP_RESOLVE_NO_SYMLINKS | MPP_RESOLVE_NO_MAGICLINKS };
    struct mpp_entry *entries = mpp_entries_of(sandbox);
    uint32_t count = mpp_plan_of(sandbox)->entries.count;

    sandbox->sources = calloc(count > 0 ? count : 1, sizeof *sandbox->sources);
    if (sandbox->sources == NULL) return ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        struct stat seen;
        long fd = -1;

        *detail = i;
        entries[i].tree = -1;
        sandbox->sources[i] = -1;
        sandbox->source_count = i + 1;
        if (i < first) continue;
        if (is_of_image(&entries[i])) {
            entries[i].is_dir = 1;
            continue;
        }
        if (entries[i].kind != MPP_ENTRY_BIND && entries[i].kind != MPP_ENTRY_HOLD) continue;
        fd = sys4(SYS_openat2, AT_FDCWD, sandbox->plan + entries[i].source, &how, sizeof how);
        if (fd < 0) return (int)-fd;
        sandbox->sources[i] = (int)fd;
        if (fstat((int)fd, &seen) < 0) return errno;
        /* The approval is bound to the file's identity, since another user could put another file at the path. */
        if (entries[i].inode != 0 && (entries[i].inode != seen.st_ino || entries[i].device != seen.st_dev))
            return ESTALE;
        if (entries[i].birth != 0 && entries[i].birth != birth_of((int)fd)) return ESTALE;
        entries[i].device = seen.st_dev;
        entries[i].inode = seen.st_ino;
        entries[i].is_dir = S_ISDIR(seen.st_mode) ? 1 : 0;
    }
    return 0;
}

/* A host that is root copies each source itself: it can enter folders that the sandbox's id cannot enter, and only it
 * can map ids on a mount. Returns 0, or an errno with *step and *detail set. */
int mpp_copy_trees(struct mpp_sandbox *sandbox, uint32_t first, int *trees, uint32_t *tree_count, uint32_t *step,
                   uint32_t *detail)
{
    struct mpp_entry *entries = mpp_entries_of(sandbox);
    int namespace_fd = -1;
    int error = 0;

    for (uint32_t i = first; error == 0 && i < sandbox->source_count; i++) {
        /* MS_PRIVATE: a copy of a shared mount would be a peer of that mount. Mounts that the sandbox makes inside the
         * copy (covers, protected files) would appear on the host, and stay there. */
        struct mpp_mount_attr attr = { entries[i].attributes, 0, MS_PRIVATE, 0 };
        long tree;
        long set;

        if (entries[i].kind != MPP_ENTRY_BIND || is_of_image(&entries[i])) continue;
        *detail = i;
        *step = MPP_STEP_TREE;
        if (*tree_count == MPP_TREES_MAX) {
            error = E2BIG;
            break;
        }
        tree = sys3(SYS_open_tree, sandbox->sources[i], "",
                    MPP_OPEN_TREE_CLONE | O_CLOEXEC | MPP_AT_EMPTY_PATH | MPP_AT_RECURSIVE);
        if (tree < 0) {
            error = (int)-tree;
            break;
        }
        trees[*tree_count] = (int)tree;
        entries[i].tree = (int32_t)(*tree_count)++;
        set = sys5(SYS_mount_setattr, tree, "", MPP_AT_EMPTY_PATH | MPP_AT_RECURSIVE, &attr, sizeof attr);
        if (set < 0) error = (int)-set;
        if (error != 0 || (entries[i].flags & MPP_ENTRY_IDMAP) == 0) continue;

        *step = MPP_STEP_IDMAP_MOUNT;
        if (namespace_fd < 0) error = mpp_idmap_namespace(geteuid(), getegid(), mpp_outer_of(sandbox), &namespace_fd);
        if (error != 0) break;
        attr = (struct mpp_mount_attr){ MPP_MOUNT_ATTR_IDMAP, 0, 0, (uint64_t)namespace_fd };
        set = sys5(SYS_mount_setattr, tree, "", MPP_AT_EMPTY_PATH, &attr, sizeof attr);
        /* EINVAL: the file system does not support idmapped mounts. Then the tool can read only what others may read,
         * which is less than was granted, never more. Writing would fail, or leave files with a wrong owner. */
        if (set < 0 && (set != -EINVAL || (entries[i].flags & MPP_ENTRY_WRITABLE) != 0)) error = (int)-set;
    }
    mpp_close(&namespace_fd);
    return error;
}

/* Makes the mounts that come from the image of the package, whatever user the host runs as: no path of the host leads
 * to the image. */
int mpp_copy_image(struct mpp_sandbox *sandbox, int *trees, uint32_t *tree_count, uint32_t *detail)
{
    struct mpp_entry *entries = mpp_entries_of(sandbox);
    int error = 0;

    for (uint32_t i = 0; error == 0 && i < sandbox->source_count; i++) {
        if (!is_of_image(&entries[i])) continue;
        *detail = i;
        if (sandbox->launch.image == NULL) return EINVAL;
        if (*tree_count == MPP_TREES_MAX) return E2BIG;
        error = mpp_image_tree(sandbox->launch.image, entries[i].attributes, &trees[*tree_count]);
        if (error == 0) entries[i].tree = (int32_t)(*tree_count)++;
    }
    return error;
}

/* Without namespaces nothing is mounted. Init gets the source descriptors that the parent holds, and makes Landlock
 * rules from them. */
int mpp_hand_over(struct mpp_sandbox *sandbox, int *trees, uint32_t *tree_count, uint32_t owner, uint32_t *detail)
{
    struct mpp_entry *entries = mpp_entries_of(sandbox);

    for (uint32_t i = 0; i < sandbox->source_count; i++) {
        *detail = i;
        if (entries[i].kind != MPP_ENTRY_HOLD) return EINVAL;
        if (*tree_count == MPP_TREES_MAX) return E2BIG;
        if ((entries[i].flags & MPP_ENTRY_OWNED) != 0 && sandbox->launch.outer_uid_base != 0 &&
            fchownat(sandbox->sources[i], "", owner, owner, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
            return errno;
        trees[*tree_count] = fcntl(sandbox->sources[i], F_DUPFD_CLOEXEC, 3);
        if (trees[*tree_count] < 0) return errno;
        entries[i].tree = (int32_t)(*tree_count)++;
    }
    return 0;
}

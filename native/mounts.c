/* Makes single mounts of a sandbox and attaches them. layout.c decides about their order. Runs in init, before
 * capabilities are dropped. */
#include "mounts.h"

#include <asm/stat.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>

#include "kernel.h"
#include "sys.h"

/* Returns the rest of *inner* behind *outer* if *outer* is the same path ("." then) or a path above it, else NULL. */
const char *path_below(const char *outer, const char *inner)
{
    while (*outer != '\0' && *outer == *inner) {
        outer++;
        inner++;
    }
    if (*outer != '\0') return 0;
    if (*inner == '\0') return ".";
    return *inner == '/' ? inner + 1 : 0;
}

static long set_number(long fs, const char *key, uint64_t value)
{
    char text[24];
    char *at = text + sizeof text;

    *--at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return sys5(SYS_fsconfig, fs, MPP_FSCONFIG_SET_STRING, key, at, 0);
}

/* Makes a detached tmpfs. The plan bounds its size; without nr_inodes a tmpfs would not be bounded. */
long new_tmpfs(uint64_t size, uint64_t inodes, uint32_t mode, uint64_t attributes)
{
    long fs = sys2(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */);
    char octal[8];
    long error;
    long mount;

    if (fs < 0) return fs;
    octal[0] = '0';
    for (int i = 0; i < 4; i++) octal[1 + i] = (char)('0' + ((mode >> (9 - 3 * i)) & 7));
    octal[5] = '\0';
    error = set_number(fs, "size", size);
    if (error == 0) error = set_number(fs, "nr_inodes", inodes);
    if (error == 0) error = sys5(SYS_fsconfig, fs, MPP_FSCONFIG_SET_STRING, "mode", octal, 0);
    if (error == 0) error = sys5(SYS_fsconfig, fs, MPP_FSCONFIG_CMD_CREATE, 0, 0, 0);
    mount = error == 0 ? sys3(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, attributes) : error;
    sys1(SYS_close, fs);
    return mount;
}

/* Makes a detached copy of an open source with the entry's attributes, if the source is the file that the entry means.
 * Closes the source. */
long copy_of(long source, const struct mpp_entry *entry)
{
    struct mpp_mount_attr attr = { entry->attributes, 0, 0, 0 };
    struct stat seen;
    long tree;
    long error;

    error = sys2(SYS_fstat, source, &seen);
    if (error == 0 && (seen.st_dev != entry->device || seen.st_ino != entry->inode)) error = -ESTALE;
    tree = error == 0
               ? sys3(SYS_open_tree, source, "", MPP_OPEN_TREE_CLONE | O_CLOEXEC | MPP_AT_EMPTY_PATH | MPP_AT_RECURSIVE)
               : error;
    sys1(SYS_close, source);
    if (tree < 0) return tree;
    error = sys5(SYS_mount_setattr, tree, "", MPP_AT_EMPTY_PATH | MPP_AT_RECURSIVE, &attr, sizeof attr);
    if (error == 0) return tree;
    sys1(SYS_close, tree);
    return error;
}

/* Makes a copy of the approved source, and of nothing else. An O_PATH descriptor of the parent cannot be bound in this
 * namespace. So the path is opened again, and must still refer to the file that the parent held. */
long bind_source(const struct init_context *context, const struct mpp_entry *entry)
{
    struct mpp_open_how how = { O_PATH | O_CLOEXEC, 0, MPP_RESOLVE_NO_SYMLINKS | MPP_RESOLVE_NO_MAGICLINKS };
    long source;

    if (entry->tree >= 0) { /* the parent copied it, with its attributes set */
        if ((uint32_t)entry->tree >= context->tree_count) return -EIO;
        return context->trees[entry->tree];
    }
    source = sys4(SYS_openat2, AT_FDCWD, text_at(context, entry->source), &how, sizeof how);
    if (source < 0) return source;
    return copy_of(source, entry);
}

/* Attaches a mount at a path below a folder. The lookup of the mount point follows no links and never leaves the
 * folder: the mount point may lie in a granted folder that somebody else is changing at this moment. */
long attach(long folder, const char *target, long mount)
{
    struct mpp_open_how how = { O_PATH | O_CLOEXEC, 0, MPP_RESOLVE_BENEATH | MPP_RESOLVE_NO_SYMLINKS };
    long point = sys4(SYS_openat2, folder, target, &how, sizeof how);
    long error;

    if (point < 0) return point;
    error = sys5(SYS_move_mount, mount, "", point, "", MPP_MOVE_MOUNT_F_EMPTY_PATH | MPP_MOVE_MOUNT_T_EMPTY_PATH);
    sys1(SYS_close, point);
    return error;
}

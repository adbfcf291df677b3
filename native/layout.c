/* Builds the sandbox's file system in a mount namespace of its own: a tmpfs root, and on it only what the
 * plan lists. Runs in init, before capabilities are dropped. */
#include <asm/stat.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>

#include "init.h"
#include "kernel.h"
#include "sys.h"

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

/* A detached tmpfs. Sizes are bounded by the plan; a tmpfs without nr_inodes is not. */
static long new_tmpfs(uint64_t size, uint64_t inodes, uint32_t mode, uint64_t attributes)
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

long layout_root(struct init_context *context)
{
    long error;
    long root;

    /* Nothing mounted here may appear on the host, and nothing the host unmounts may stay pinned. */
    error = sys5(SYS_mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0);
    if (error < 0) return error;
    root = new_tmpfs(4 << 20, 4096, 0755, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0) return root;
    /* Attached before it is filled: some kernels refuse mounts on a detached tree. Absolute paths of this
     * process still mean the host's tree, since its root directory lies below the new mount. */
    error = sys5(SYS_move_mount, root, "", AT_FDCWD, "/", MPP_MOVE_MOUNT_F_EMPTY_PATH);
    if (error < 0) return error;
    context->root = (int)root;
    return 0;
}

/* A copy of the approved source, and of nothing else. An O_PATH descriptor of the parent cannot be bound in
 * this namespace, so the path is opened again and must still be the same file as the parent held. */
static long bind_source(struct init_context *context, const struct mpp_entry *entry)
{
    struct mpp_open_how how = { O_PATH | O_CLOEXEC, 0, MPP_RESOLVE_NO_SYMLINKS | MPP_RESOLVE_NO_MAGICLINKS };
    struct mpp_mount_attr attr = { entry->attributes, 0, 0, 0 };
    struct stat seen;
    long source;
    long tree;
    long error;

    if (entry->tree >= 0) { /* a root parent copied it, with its attributes set */
        if ((uint32_t)entry->tree >= context->tree_count) return -EIO;
        return context->trees[entry->tree];
    }
    source = sys4(SYS_openat2, AT_FDCWD, text_at(context, entry->source), &how, sizeof how);
    if (source < 0) return source;
    error = sys2(SYS_fstat, source, &seen);
    if (error == 0 && (seen.st_dev != entry->device || seen.st_ino != entry->inode)) error = -ESTALE;
    tree = error == 0
               ? sys3(SYS_open_tree, source, "", MPP_OPEN_TREE_CLONE | O_CLOEXEC | MPP_AT_EMPTY_PATH | MPP_AT_RECURSIVE)
               : error;
    sys1(SYS_close, source);
    if (tree < 0) return tree;
    error = sys5(SYS_mount_setattr, tree, "", MPP_AT_EMPTY_PATH | MPP_AT_RECURSIVE, &attr, sizeof attr);
    if (error < 0) {
        sys1(SYS_close, tree);
        return error;
    }
    return tree;
}

/* Attaches a detached mount. The mount point is looked up without links and never outside the new root: it
 * may lie in a granted folder that somebody else is changing at this moment. */
static long attach(struct init_context *context, const struct mpp_entry *entry, long mount)
{
    struct mpp_open_how how = { O_PATH | O_CLOEXEC, 0, MPP_RESOLVE_BENEATH | MPP_RESOLVE_NO_SYMLINKS };
    long point = sys4(SYS_openat2, context->root, text_at(context, entry->target), &how, sizeof how);
    long error;

    if (point < 0) return point;
    error = sys5(SYS_move_mount, mount, "", point, "", MPP_MOVE_MOUNT_F_EMPTY_PATH | MPP_MOVE_MOUNT_T_EMPTY_PATH);
    sys1(SYS_close, point);
    return error;
}

static long make_file(struct init_context *context, const struct mpp_entry *entry)
{
    long file = sys4(SYS_openat, context->root, text_at(context, entry->target),
                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, entry->mode);
    const uint8_t *data = context->base + entry->data;
    uint32_t left = entry->data_size;

    if (file < 0) return file;
    while (left > 0) {
        long written = sys3(SYS_write, file, data, left);
        if (written <= 0) {
            sys1(SYS_close, file);
            return written < 0 ? written : -EIO;
        }
        data += written;
        left -= (uint32_t)written;
    }
    return sys1(SYS_close, file);
}

static long mount_point(struct init_context *context, const struct mpp_entry *entry, int is_dir)
{
    if (entry->flags & MPP_ENTRY_EXISTS) return 0;
    if (is_dir) return sys3(SYS_mkdirat, context->root, text_at(context, entry->target), 0755);
    return make_file(context, entry);
}

static long build_entry(struct init_context *context, const struct mpp_entry *entry)
{
    const char *target = text_at(context, entry->target);
    long mount;
    long error;

    switch (entry->kind) {
    case MPP_ENTRY_DIR:
        return sys3(SYS_mkdirat, context->root, target, entry->mode);
    case MPP_ENTRY_FILE:
        return make_file(context, entry);
    case MPP_ENTRY_LINK:
        return sys3(SYS_symlinkat, text_at(context, entry->source), context->root, target);
    case MPP_ENTRY_BIND:
        mount = bind_source(context, entry);
        error = mount < 0 ? mount : mount_point(context, entry, (int)entry->is_dir);
        break;
    case MPP_ENTRY_TMPFS:
        mount = new_tmpfs(entry->size, entry->inodes, entry->mode, entry->attributes);
        error = mount < 0 ? mount : mount_point(context, entry, 1);
        break;
    default:
        return -EIO;
    }
    if (error == 0) error = attach(context, entry, mount);
    if (mount >= 0) sys1(SYS_close, mount);
    return error;
}

long layout_build(struct init_context *context, uint32_t *detail)
{
    const struct mpp_entry *entries = (const void *)(context->base + context->plan->entries.offset);
    struct mpp_mount_attr attr = { context->plan->root_attributes, 0, 0, 0 };

    for (uint32_t i = 0; i < context->plan->entries.count; i++) {
        long error = build_entry(context, &entries[i]);
        *detail = i;
        if (error < 0) return error;
    }
    *detail = context->plan->entries.count;
    return sys5(SYS_mount_setattr, context->root, "", MPP_AT_EMPTY_PATH, &attr, sizeof attr);
}

long layout_pivot(struct init_context *context)
{
    long error = sys1(SYS_fchdir, context->root);

    if (error == 0) error = sys2(SYS_pivot_root, ".", ".");
    /* The host's tree now lies on top of the new root; detached, no path leads to it. */
    if (error == 0) error = sys2(SYS_umount2, ".", MPP_MNT_DETACH);
    if (error == 0) error = sys1(SYS_chdir, text_at(context, context->plan->working_directory));
    sys1(SYS_close, context->root);
    context->root = -1;
    return error;
}

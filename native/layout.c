/* Builds the sandbox's file system in a mount namespace of its own: a tmpfs root, and on it only what the
 * plan lists. Runs in init, before capabilities are dropped. */
#include <asm/stat.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>

#include "init.h"
#include "kernel.h"
#include "mounts.h"
#include "sys.h"

long layout_root(struct init_context *context)
{
    long error;
    long root;

    if (context->plan->ground == MPP_GROUND_THERE) { /* this process is on it; its mounts are private copies already */
        root = sys4(SYS_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (root >= 0) context->root = (int)root;
        return root < 0 ? root : 0;
    }
    /* Nothing that is mounted here may appear on the host, and nothing that the host unmounts may stay pinned here. */
    error = sys5(SYS_mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0);
    if (error < 0) return error;
    root = new_tmpfs(4 << 20, 4096, 0755, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0) return root;
    /* The tmpfs is attached before it is filled, since some kernels refuse mounts on a detached tree. Absolute paths of
     * this process still refer to the host's tree, since the process's root directory lies below the new mount. */
    error = sys5(SYS_move_mount, root, "", AT_FDCWD, "/", MPP_MOVE_MOUNT_F_EMPTY_PATH);
    if (error < 0) return error;
    context->root = (int)root;
    return 0;
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

/* exists: the mount point exists already, whatever the entry says. */
static long build_entry(struct init_context *context, const struct mpp_entry *entry, int exists)
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
        error = mount < 0 ? mount : exists ? 0 : mount_point(context, entry, (int)entry->is_dir);
        break;
    case MPP_ENTRY_TMPFS:
        mount = new_tmpfs(entry->size, entry->inodes, entry->mode, entry->attributes);
        error = mount < 0 ? mount : exists ? 0 : mount_point(context, entry, 1);
        break;
    default:
        return -EIO;
    }
    if (error == 0) error = attach(context->root, target, mount);
    if (mount >= 0) sys1(SYS_close, mount);
    return error;
}

/* Prepares an entry that a parked sandbox gets at its release. The mount is made now, while the host's tree is still
 * visible, and is kept. Its mount point is made now, too, before the root becomes read-only. */
static long prepare_late(struct init_context *context, const struct mpp_entry *entry, int *kept, int exists)
{
    long mount;

    *kept = -1;
    if (exists && entry->kind != MPP_ENTRY_BIND) return 0;
    if (entry->kind == MPP_ENTRY_TMPFS) return mount_point(context, entry, 1);
    if (entry->kind != MPP_ENTRY_BIND) return build_entry(context, entry, 0);
    mount = bind_source(context, entry);
    if (mount < 0) return mount;
    *kept = (int)mount;
    return exists ? 0 : mount_point(context, entry, (int)entry->is_dir);
}

/* Whether the entry is a file system that the tool may write to: such a file system is made anew for each call. */
static int is_fresh(const struct mpp_entry *entry)
{
    return entry->kind == MPP_ENTRY_TMPFS && (entry->attributes & MOUNT_ATTR_RDONLY) == 0;
}

static int lies_in_fresh(const struct init_context *context, uint32_t index)
{
    const struct mpp_entry *entries = (const void *)(context->base + context->plan->entries.offset);
    const char *target = text_at(context, entries[index].target);

    for (uint32_t i = 0; i < index; i++)
        if (is_fresh(&entries[i]) && path_below(text_at(context, entries[i].target), target)) return 1;
    return 0;
}

/* For the ground: builds every entry before the grants that no tool can write to, and mount points for the others. */
static long lay_entry(struct init_context *context, const struct mpp_entry *entry, uint32_t index)
{
    int granted = index >= context->plan->late;

    if (lies_in_fresh(context, index)) return 0;
    if (granted && entry->kind == MPP_ENTRY_BIND) return mount_point(context, entry, (int)entry->is_dir);
    if (is_fresh(entry) || (granted && entry->kind == MPP_ENTRY_TMPFS)) return mount_point(context, entry, 1);
    return build_entry(context, entry, 0);
}

/* For a sandbox on the ground: builds the entries that the ground does not have. */
static long add_entry(struct init_context *context, const struct mpp_entry *entry, uint32_t index)
{
    if (lies_in_fresh(context, index)) return build_entry(context, entry, 0);
    if (is_fresh(entry)) return build_entry(context, entry, 1);
    if (index < context->plan->late || (entry->kind != MPP_ENTRY_BIND && entry->kind != MPP_ENTRY_TMPFS)) return 0;
    return build_entry(context, entry, 1);
}

long layout_build(struct init_context *context, uint32_t *detail)
{
    const struct mpp_entry *entries = (const void *)(context->base + context->plan->entries.offset);
    struct mpp_mount_attr attr = { context->plan->root_attributes, 0, 0, 0 };
    uint32_t late = context->plan->parked ? context->plan->late : context->plan->entries.count;
    uint32_t ground = context->plan->ground;
    long error;

    if (context->plan->entries.count - late > MPP_TREES_MAX) return -E2BIG;
    for (uint32_t i = 0; i < context->plan->entries.count; i++) {
        *detail = i;
        if (ground == MPP_GROUND_MADE)
            error = lay_entry(context, &entries[i], i);
        else if (i >= late)
            error = prepare_late(context, &entries[i], &context->kept[i - late],
                                 ground == MPP_GROUND_THERE && !lies_in_fresh(context, i));
        else if (ground == MPP_GROUND_THERE)
            error = add_entry(context, &entries[i], i);
        else
            error = build_entry(context, &entries[i], 0);
        if (error < 0) return error;
    }
    context->prepared = context->plan->entries.count;
    *detail = context->plan->entries.count;
    if (ground == MPP_GROUND_THERE) return 0; /* the ground has the rest, and its mounts are locked */
    if (ground == MPP_GROUND_MADE) late = context->plan->late;
    if (late < context->prepared && (error = sys3(SYS_mkdirat, context->root, STAGE, 0)) < 0) return error;
    return sys5(SYS_mount_setattr, context->root, "", MPP_AT_EMPTY_PATH, &attr, sizeof attr);
}

long layout_pivot(struct init_context *context)
{
    int there = context->plan->ground == MPP_GROUND_THERE; /* nothing of the host's tree is here */
    long error = there ? 0 : sys1(SYS_fchdir, context->root);

    if (error == 0 && !there) error = sys2(SYS_pivot_root, ".", ".");
    /* The host's tree now lies on top of the new root. Once it is detached, no path leads to it. */
    if (error == 0 && !there) error = sys2(SYS_umount2, ".", MPP_MNT_DETACH);
    if (error == 0) error = sys1(SYS_chdir, text_at(context, context->plan->working_directory));
    if (context->plan->parked) return error; /* layout_late closes the root's descriptor */
    sys1(SYS_close, context->root);
    context->root = -1;
    return error;
}

/* Makes the whole file system read-only, not only this mount of it: no call can leave anything there for another
 * call. */
long layout_seal(void)
{
    return sys5(SYS_mount, 0, "/", 0, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
}

/* Attaches the grants of a parked sandbox at its release. The tool may be running already, so a grant is assembled on a
 * staging folder that the tool cannot enter. Runs in init, which has no other use for its capabilities by then. */
#include <asm/stat.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#include "init.h"
#include "kernel.h"
#include "mounts.h"
#include "sys.h"

static int is_mount(const struct mpp_entry *entry)
{
    return entry->kind == MPP_ENTRY_BIND || entry->kind == MPP_ENTRY_TMPFS;
}

/* Returns the kept mount of a late entry, if the source on the host is still the file that was kept. */
static long still_kept(const struct init_context *context, const struct mpp_entry *entry, uint32_t index)
{
    uint32_t slot = index - context->plan->late;
    long mount = slot < MPP_TREES_MAX ? context->kept[slot] : -1;
    struct stat seen;
    long error;

    if (mount < 0) return -EIO;
    error = sys2(SYS_fstat, mount, &seen);
    if (error < 0) return error;
    return seen.st_dev == entry->device && seen.st_ino == entry->inode ? mount : -ESTALE;
}

/* Returns a copy of a file or folder below a grant that is being assembled, since the host's tree is not visible any
 * more. */
static long bind_below(struct init_context *context, const struct mpp_entry *entry, const char *outer, long folder)
{
    struct mpp_open_how how = { O_PATH | O_CLOEXEC, 0, MPP_RESOLVE_BENEATH | MPP_RESOLVE_NO_SYMLINKS };
    const char *path = text_at(context, entry->source);
    const char *below = *path == '/' ? path_below(outer, path + 1) : 0;
    long source;

    if (entry->tree >= 0) return bind_source(context, entry); /* copied by a root parent */
    if (below != 0)
        source = sys4(SYS_openat2, folder, below, &how, sizeof how);
    else
        source = sys4(SYS_openat2, context->root, *path == '/' ? path + 1 : path, &how, sizeof how);
    if (source < 0) return source;
    return copy_of(source, entry);
}

static long late_mount(struct init_context *context, const struct mpp_entry *entry, uint32_t index, const char *outer,
                       long folder)
{
    if (entry->kind == MPP_ENTRY_TMPFS) return new_tmpfs(entry->size, entry->inodes, entry->mode, entry->attributes);
    if (index < context->prepared) return still_kept(context, entry, index);
    return bind_below(context, entry, outer, folder);
}

/* Whether the target of another entry is the target of the entry at the index, or lies below it. */
static int has_inside(const struct init_context *context, uint32_t index)
{
    const struct mpp_entry *entries = (const void *)(context->base + context->plan->entries.offset);
    const char *outer = text_at(context, entries[index].target);

    for (uint32_t i = context->plan->late; i < context->plan->entries.count; i++)
        if (i != index && is_mount(&entries[i]) && path_below(outer, text_at(context, entries[i].target)) != 0)
            return 1;
    return 0;
}

/* Attaches the grant at the index, and everything inside it, where the tool cannot go. Then moves the whole to its
 * place. So a tool that is running already never sees a grant without the mounts that make parts of it read-only or
 * hide them. */
static long attach_grant(struct init_context *context, uint32_t index, uint32_t *detail)
{
    const struct mpp_entry *entries = (const void *)(context->base + context->plan->entries.offset);
    const char *outer = text_at(context, entries[index].target);
    long folder = late_mount(context, &entries[index], index, "", context->root);
    struct stat seen;
    long error;

    *detail = index;
    if (folder < 0) return folder;
    error = sys2(SYS_fstat, folder, &seen);
    /* A file has nothing inside it, and cannot be mounted on the staging folder. */
    if (error == 0 && (S_ISDIR(seen.st_mode) || has_inside(context, index)))
        error = attach(context->root, STAGE, folder);
    for (uint32_t i = context->plan->late; i < context->plan->entries.count && error == 0; i++) {
        const char *below = is_mount(&entries[i]) ? path_below(outer, text_at(context, entries[i].target)) : 0;
        long mount;

        if (i == index || below == 0) continue;
        *detail = i;
        mount = late_mount(context, &entries[i], i, outer, folder);
        error = mount < 0 ? mount : attach(folder, below, mount);
        if (mount >= 0) sys1(SYS_close, mount);
    }
    if (error == 0) error = attach(context->root, outer, folder);
    sys1(SYS_close, folder);
    return error;
}

static int is_outermost(const struct init_context *context, uint32_t index)
{
    const struct mpp_entry *entries = (const void *)(context->base + context->plan->entries.offset);
    const char *target = text_at(context, entries[index].target);

    for (uint32_t i = context->plan->late; i < context->plan->entries.count; i++) {
        const char *below = is_mount(&entries[i]) ? path_below(text_at(context, entries[i].target), target) : 0;
        if (i == index || below == 0) continue;
        if (*below != '.' || below[1] != '\0' || i < index)
            return 0; /* of two with one target, the later lies inside */
    }
    return 1;
}

long layout_late(struct init_context *context, uint32_t *detail)
{
    const struct mpp_entry *entries = (const void *)(context->base + context->plan->entries.offset);
    long error = 0;

    for (uint32_t i = context->plan->late; i < context->plan->entries.count && error == 0; i++) {
        *detail = i;
        if (!is_mount(&entries[i]))
            error = i < context->prepared ? 0 : -EIO;
        else if (is_outermost(context, i))
            error = attach_grant(context, i, detail);
    }
    sys1(SYS_close, context->root);
    context->root = -1;
    return error;
}

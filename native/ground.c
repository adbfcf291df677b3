/* The ground of a plan: the mounts that are the same for each of its calls, so that no call has to make them.
 *
 * A ground is in a mount namespace of its own, owned by a user namespace of its own, and neither of them contains a
 * process (as in image.c). Init builds it like a sandbox: a root with the entries that the plan lists before its
 * grants, and nothing of the host's tree. The file system itself is read-only, so nobody without rights over its user
 * namespace can change it. A sandbox on the ground is cloned by a child that has entered the ground. The kernel copies
 * the ground's mounts and locks them, so only the mounts that come with the call remain to be made. There is no host's
 * tree to detach, which would wait for all processors. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

#define MAKING_NS 2000000000ull

struct held {
    int fd;
    dev_t device; /* identity of the file: if the host closes all descriptors, the number may refer to another file */
    ino_t inode;
};

struct mpp_ground {
    struct held user;
    struct held mounts;
    uint8_t *plan; /* the plan that the ground was built from, with the identities of the sources at that time */
};

static int hold(pid_t pid, const char *name, struct held *held)
{
    char path[40];
    struct stat seen;

    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
    held->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (held->fd < 0 || fstat(held->fd, &seen) < 0) return errno;
    held->device = seen.st_dev;
    held->inode = seen.st_ino;
    return 0;
}

static int is_held(const struct held *held)
{
    struct stat seen;

    return fstat(held->fd, &seen) == 0 && seen.st_dev == held->device && seen.st_ino == held->inode;
}

/* Waits until init reports that it is done, and takes over its namespaces. */
static int take_over(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome, struct mpp_ground *ground)
{
    struct mpp_report said = { 0 };
    int error = mpp_await_input(sandbox->control, mpp_now_ns() + MAKING_NS);

    outcome->step = MPP_STEP_RECEIVE;
    if (error != 0) return error;
    if (mpp_receive_report(sandbox, &said) != (ssize_t)sizeof said) return EPROTO;
    if (said.kind == MPP_REPORT_FAILED) {
        outcome->step = said.step;
        outcome->detail = said.detail;
        return said.error;
    }
    if (said.kind != MPP_REPORT_PARKED) return EPROTO;
    error = hold(sandbox->pid, "user", &ground->user);
    if (error == 0) error = hold(sandbox->pid, "mnt", &ground->mounts);
    ground->plan = sandbox->plan;
    sandbox->plan = NULL;
    return error;
}

int mpp_ground_make(const struct mpp_launch *launch, struct mpp_outcome *outcome, struct mpp_ground **slot)
{
    struct mpp_launch own = *launch;
    struct mpp_sandbox *sandbox = NULL;
    struct mpp_ground *ground = calloc(1, sizeof *ground);
    int error = ground == NULL ? ENOMEM : 0;

    *slot = NULL;
    if (ground != NULL) ground->user.fd = ground->mounts.fd = -1;
    own.grounds = 1;
    own.namespaces = CLONE_NEWUSER | CLONE_NEWNS;
    own.request_size = own.dialogue = own.parked = own.watched_count = 0;
    own.cancel_fd = own.cgroup_fd = -1;
    own.template = NULL;
    own.image = NULL;
    own.ground = NULL;
    if (error == 0 && mpp_spawn(&own, outcome, &sandbox) != 0) error = outcome->error;
    if (error == 0) error = take_over(sandbox, outcome, ground);
    mpp_release(&sandbox); /* only the held namespaces of it are left */
    if (error != 0) mpp_ground_close(&ground);
    outcome->error = error;
    if (error == 0) outcome->step = MPP_STEP_NONE;
    *slot = ground;
    return error != 0;
}

void mpp_ground_close(struct mpp_ground **slot)
{
    struct mpp_ground *ground = *slot;

    *slot = NULL;
    if (ground == NULL) return;
    mpp_close(&ground->user.fd);
    mpp_close(&ground->mounts.fd);
    free(ground->plan);
    free(ground);
}

static int same_text(const uint8_t *one, uint32_t at, const uint8_t *other, uint32_t there)
{
    return strcmp((const char *)one + at, (const char *)other + there) == 0;
}

/* Whether the ground contains anything of an entry. Of a granted mount it contains only the mount point, unless that
 * exists already. */
static int is_laid(const struct mpp_entry *entry, int granted)
{
    int mounted = entry->kind == MPP_ENTRY_BIND || entry->kind == MPP_ENTRY_TMPFS;

    return !granted || !mounted || (entry->flags & MPP_ENTRY_EXISTS) == 0;
}

/* Whether an entry is the same as an entry of the ground, in everything that the ground contains of it. */
static int is_same(const uint8_t *laid, const struct mpp_entry *one, const uint8_t *wanted,
                   const struct mpp_entry *other, int granted)
{
    if (one->kind != other->kind || one->flags != other->flags || one->is_dir != other->is_dir) return 0;
    if (!same_text(laid, one->target, wanted, other->target)) return 0;
    if (granted && (one->kind == MPP_ENTRY_BIND || one->kind == MPP_ENTRY_TMPFS)) return 1;
    return same_text(laid, one->source, wanted, other->source) && one->mode == other->mode &&
           one->inodes == other->inodes && one->size == other->size && one->attributes == other->attributes &&
           one->device == other->device && one->inode == other->inode && one->data_size == other->data_size &&
           memcmp(laid + one->data, wanted + other->data, one->data_size) == 0;
}

int mpp_ground_fits(const struct mpp_ground *ground, struct mpp_sandbox *sandbox)
{
    const struct mpp_launch *launch = &sandbox->launch;
    const struct mpp_plan *laid = ground == NULL ? NULL : (const void *)ground->plan;
    const struct mpp_plan *plan = mpp_plan_of(sandbox);
    const struct mpp_entry *other = mpp_entries_of(sandbox);
    const struct mpp_entry *one;

    if (ground == NULL || launch->grounds || launch->namespaces == 0) return 0;
    if (launch->template != NULL || launch->image != NULL || launch->watched_count > 0) return 0;
    if (plan->streams.count > 0) return 0; /* the ground lacks the host's /proc, through which the network is bounded */
    if (laid->late != plan->late || laid->root_attributes != plan->root_attributes) return 0;
    one = (const void *)(ground->plan + laid->entries.offset);
    for (uint32_t i = 0; i < laid->entries.count || i < plan->entries.count; i++) {
        int granted = i >= plan->late;
        int there = i < laid->entries.count && is_laid(&one[i], granted);
        int wanted = i < plan->entries.count && is_laid(&other[i], granted);

        if (there != wanted) return 0;
        if (there && !is_same(ground->plan, &one[i], sandbox->plan, &other[i], granted)) return 0;
        if (i >= plan->entries.count) continue;
        /* No path leads from the ground to the host's tree. Only a host that is root hands over copies of the
         * grants. */
        if (granted && other[i].kind == MPP_ENTRY_BIND && launch->outer_uid_base == 0) return 0;
        if (!granted && (other[i].flags & (MPP_ENTRY_IDMAP | MPP_ENTRY_IMAGE)) != 0) return 0;
    }
    return is_held(&ground->user) && is_held(&ground->mounts);
}

/* The way of a child to the ground. The child ends once the process that it has cloned is the init program. */
struct way {
    struct mpp_visit *visit;
    int proc;
    pid_t *pid;
    int *pidfd;
    volatile int error;
};

MPP_NEVER_RETURNS static int go(void *shared)
{
    struct way *way = shared;
    const struct mpp_visit *visit = way->visit;
    int error = (int)-sys2(SYS_setns, visit->ground->user.fd, CLONE_NEWUSER);

    if (error == 0) error = (int)-sys2(SYS_setns, visit->ground->mounts.fd, CLONE_NEWNS);
    if (error == 0) {
        /* The clone is a child of the host. The C library stores errno in the memory of the host's thread, which is
         * suspended. */
        *way->pid = mpp_clone(CLONE_VM | CLONE_VFORK | CLONE_PARENT | visit->flags, visit->cgroup, visit->stack,
                              visit->size, visit->child, visit->argument, way->pidfd);
        error = *way->pid < 0 ? errno : (int)-*visit->failed;
    }
    if (error == 0) {
        /* The outer id as seen from the ground. The id of a host that is not root is the one that is mapped there
         * already. */
        uint32_t outer = visit->outer_base == 0 ? visit->inside : visit->outer_base + (uint32_t)*way->pid;
        const struct mpp_ids ids = { visit->inside, outer, outer, 1, 0, 0 };

        error = mpp_map_ids(way->proc, *way->pid, *way->pidfd, &ids);
    }
    way->error = error;
    for (;;) sys1(SYS_exit_group, 0);
    return 0;
}

int mpp_ground_clone(struct mpp_visit *visit, pid_t *pid, int *pidfd)
{
    alignas(16) char stack[16384];
    /* EIO: the error if the child is killed on its way. */
    struct way way = { visit, open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), pid, pidfd, EIO };
    int gone = -1;

    *pid = *pidfd = -1;
    if (way.proc < 0) return errno;
    if (mpp_clone(CLONE_VM | CLONE_VFORK | CLONE_FILES, -1, stack, sizeof stack, go, &way, &gone) < 0)
        way.error = errno;
    else
        mpp_await_child(&gone);
    close(way.proc);
    if (way.error != 0 && *pid > 0) mpp_end_child(pidfd);
    if (way.error != 0) *pid = *pidfd = -1;
    return way.error;
}

/* Starts a sandbox without forking the host: one clone that shares memory only until the child has become the init
 * program, a few writes into /proc, and one message.
 *
 * Everything that the child needs is converted and opened before the clone. Between clone and execve the child runs on
 * the parent's memory. So it makes raw system calls, allocates nothing, takes no lock, and does not touch errno. The
 * calling thread is suspended until the child has called execve or is gone (CLONE_VFORK). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sound.h"
#include "sys.h"

enum { READ_END, WRITE_END };
enum { PEER_REQUEST, PEER_OUTPUT, PEER_ERRORS, PEER_OWNER, PEER_COUNT };

static int open_control(struct mpp_sandbox *sandbox, int *child_control)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return errno;
    sandbox->control = pair[0];
    *child_control = pair[1];
    return fcntl(sandbox->control, F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
}

static int open_channels(struct mpp_sandbox *sandbox, int *child_control)
{
    int in[2];
    int out[2];
    int err[2];
    int error = open_control(sandbox, child_control);

    if (error != 0) return error;
    if (pipe2(in, O_CLOEXEC | O_NONBLOCK) < 0) return errno;
    sandbox->request = in[WRITE_END];
    sandbox->peers[PEER_REQUEST] = in[READ_END];
    /* Most requests fit into the pipe, so its write end can be closed at once. Otherwise a child that another thread of
     * the host forks meanwhile could keep it open, and the tool would wait for that child. */
    if (!sandbox->held) mpp_feed(sandbox);
    if (fcntl(in[READ_END], F_SETFL, 0) < 0) return errno;
    if (pipe2(out, O_CLOEXEC) < 0) return errno;
    sandbox->output = out[READ_END];
    sandbox->peers[PEER_OUTPUT] = out[WRITE_END];
    if (pipe2(err, O_CLOEXEC) < 0) return errno;
    sandbox->errors = err[READ_END];
    sandbox->peers[PEER_ERRORS] = err[WRITE_END];
    /* Readable when this process is dead, even if other processes have inherited its descriptors. */
    sandbox->peers[PEER_OWNER] = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (sandbox->peers[PEER_OWNER] < 0) return errno;
    if (fcntl(sandbox->output, F_SETFL, O_NONBLOCK) < 0 || fcntl(sandbox->errors, F_SETFL, O_NONBLOCK) < 0)
        return errno;
    return 0;
}

struct child {
    int control;
    int init_fd;
    int namespaces;
    int network;
    volatile long error; /* written by the child in the shared memory, read once the child is gone or has execed */
};

/* execve drops the capabilities of a process whose id inside is not 0, and no id is mapped yet. Ambient capabilities
 * stay. */
MPP_NEVER_RETURNS static long keep_capabilities(int network)
{
    static const unsigned int kept[] = { CAP_SYS_ADMIN, CAP_SETUID,    CAP_SETGID,
                                         CAP_SETPCAP,   CAP_NET_ADMIN, CAP_NET_BIND_SERVICE };
    size_t count = sizeof kept / sizeof kept[0] - (network ? 0 : 2);
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2];
    long error = sys2(SYS_capget, &header, sets);

    for (size_t i = 0; i < count; i++) sets[kept[i] / 32].inheritable |= 1u << (kept[i] % 32);
    if (error == 0) error = sys2(SYS_capset, &header, sets);
    for (size_t i = 0; error == 0 && i < count; i++)
        error = sys5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0);
    return error;
}

/* The child. It shares the parent's memory: see the top of this file. */
MPP_NEVER_RETURNS static int become_init(void *shared)
{
    struct child *child = shared;
    const char *argv[2] = { "mpp-init", NULL };
    const char *envp[1] = { NULL };
    long init_fd = child->init_fd;
    long error = child->namespaces ? keep_capabilities(child->network) : 0;

    if (error == 0 && init_fd <= 3) {
        init_fd = sys3(SYS_fcntl, init_fd, F_DUPFD_CLOEXEC, 4);
        if (init_fd < 0) error = init_fd;
    }
    /* Only descriptor 3 survives execve. */
    if (error == 0 && child->control != 3) {
        error = sys3(SYS_dup3, child->control, 3, 0);
        if (error > 0) error = 0;
    } else if (error == 0) {
        error = sys3(SYS_fcntl, 3, F_SETFD, 0);
    }
    if (error == 0) error = sys3(SYS_close_range, 0, 2, MPP_CLOSE_RANGE_CLOEXEC);
    if (error == 0) error = sys3(SYS_close_range, 4, ~0U, MPP_CLOSE_RANGE_CLOEXEC);
    if (error == 0) error = sys5(SYS_execveat, init_fd, "", argv, envp, MPP_AT_EMPTY_PATH);
    child->error = error;
    for (;;) sys1(SYS_exit_group, 127);
    return 0;
}

/* The ids of a sandbox as seen from the host; or the ids of a ground, whose range has room for the ids of the sandboxes
 * on it. */
static struct mpp_ids ids_of(struct mpp_sandbox *sandbox)
{
    uint32_t inside = mpp_plan_of(sandbox)->uid;
    uint32_t base = sandbox->launch.outer_uid_base;
    uint32_t outer = base + (uint32_t)sandbox->pid;

    if (base == 0) return (struct mpp_ids){ inside, geteuid(), getegid(), 1, 1, 0 };
    if (sandbox->launch.grounds) return (struct mpp_ids){ base, base, base, MPP_PROCESSES_MAX + 1, 0, 1 };
    return (struct mpp_ids){ inside, outer, outer, 1, 0, 0 };
}

/* Has a child of the host enter the ground and clone init there. */
static int clone_on_ground(struct mpp_sandbox *sandbox, int child_control)
{
    alignas(16) char stack[16384];
    struct child child = { child_control, sandbox->launch.init_fd, 1, mpp_plan_of(sandbox)->streams.count > 0, 0 };
    struct mpp_visit visit = {
        .ground = sandbox->launch.ground,
        .child = become_init,
        .argument = &child,
        .failed = &child.error,
        .flags = (uint64_t)sandbox->launch.namespaces,
        .cgroup = sandbox->launch.cgroup_fd,
        .stack = stack,
        .size = sizeof stack,
        .inside = mpp_plan_of(sandbox)->uid,
        .outer_base = sandbox->launch.outer_uid_base,
    };
    int error = mpp_ground_clone(&visit, &sandbox->pid, &sandbox->pidfd);

    if (error == 0) sandbox->reaped = 0;
    return error;
}

/* Returns 0 with pid and pidfd set, or an errno with *step set. */
static int clone_init(struct mpp_sandbox *sandbox, int child_control, uint32_t *step)
{
    alignas(16) char stack[16384];
    struct child child = { child_control, sandbox->launch.init_fd, sandbox->launch.namespaces != 0,
                           mpp_plan_of(sandbox)->streams.count > 0, 0 };
    int error = 0;

    sandbox->pid = mpp_clone(CLONE_VM | CLONE_VFORK | (uint64_t)sandbox->launch.namespaces, sandbox->launch.cgroup_fd,
                             stack, sizeof stack, become_init, &child, &sandbox->pidfd);
    if (sandbox->pid < 0) {
        error = errno;
        *step = MPP_STEP_CLONE;
        sandbox->pidfd = -1;
    }
    if (error == 0) sandbox->reaped = 0;
    if (error == 0 && child.error != 0) {
        error = (int)-child.error;
        *step = MPP_STEP_EXEC_INIT;
    }
    return error;
}

/* Does what clone_init does, but on the ground if there is one that fits, or by the template if there is one that
 * serves. The template's copy is init, and also becomes the tool. */
static int copy_init(struct mpp_sandbox *sandbox, int *child_control, struct mpp_outcome *outcome)
{
    const struct mpp_launch *launch = &sandbox->launch;
    int refused = 0;
    int error;

    if (mpp_ground_fits(launch->ground, sandbox)) {
        error = clone_on_ground(sandbox, *child_control);
        outcome->grounded = error == 0;
        if (error == 0) return 0;
        mpp_close(&sandbox->control); /* for the same reason as below */
        mpp_close(child_control);
        error = open_control(sandbox, child_control);
        if (error != 0) return error;
    }
    if (launch->template == NULL) return clone_init(sandbox, *child_control, &outcome->step);
    error = mpp_template_copy(launch->template, launch->namespaces, *child_control, launch->cgroup_fd, &sandbox->pid,
                              &sandbox->pidfd, &refused);
    if (error != 0 && !refused) {
        /* Use another socket: the template may have made a copy nevertheless, which would hold the first socket and
         * take the plan of the sandbox that is made now. */
        mpp_close(&sandbox->control);
        mpp_close(child_control);
        error = open_control(sandbox, child_control);
        return error != 0 ? error : clone_init(sandbox, *child_control, &outcome->step);
    }
    if (error != 0) outcome->step = MPP_STEP_CLONE;
    if (error == 0) sandbox->reaped = 0;
    if (error == 0) outcome->copied = 1;
    return error;
}

int mpp_send_plan(struct mpp_sandbox *sandbox, const int *descriptors, uint32_t count)
{
    return mpp_send(sandbox->control, sandbox->plan, sandbox->launch.plan_size, descriptors, count);
}

/* Fills in the fields that only the parent knows. */
void mpp_fill_plan(struct mpp_sandbox *sandbox)
{
    struct mpp_plan *plan = mpp_plan_of(sandbox);

    plan->empty_groups = sandbox->launch.outer_uid_base != 0;
    plan->namespaces = sandbox->launch.namespaces != 0;
    plan->parked = sandbox->launch.parked;
    if (sandbox->launch.grounds) plan->uid = plan->gid = ids_of(sandbox).inside;
}

static int start(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome)
{
    int handed[PEER_COUNT + MPP_TREES_MAX + 1]; /* the tool's ends and the owner's pidfd, then the trees, a snapshot */
    int *trees = handed + PEER_COUNT;
    uint32_t tree_count = 0;
    uint32_t outer_uid = geteuid();
    uint32_t outer_gid = getegid();
    int root = sandbox->launch.outer_uid_base != 0;
    int child_control = -1;
    int error;

    outcome->step = MPP_STEP_SOURCE;
    error = mpp_hold_sources(sandbox, 0, &outcome->detail);
    if (error != 0) return error;
    outcome->step = MPP_STEP_PIPES;
    error = open_channels(sandbox, &child_control);
    if (error == 0) error = mpp_watcher_open(sandbox);
    if (error == 0) error = copy_init(sandbox, &child_control, outcome);
    mpp_close(&child_control);
    if (error != 0) return error;
    outcome->cloned_ns = mpp_now_ns();

    if (root) outer_uid = outer_gid = mpp_outer_of(sandbox);
    mpp_fill_plan(sandbox);
    mpp_plan_of(sandbox)->ground = sandbox->launch.grounds ? MPP_GROUND_MADE
                                   : outcome->grounded     ? MPP_GROUND_THERE
                                                           : MPP_GROUND_NONE;
    if (sandbox->launch.namespaces == 0) {
        mpp_plan_of(sandbox)->uid = outer_uid;
        mpp_plan_of(sandbox)->gid = outer_gid;
        outcome->step = MPP_STEP_HAND_OVER;
        error = mpp_hand_over(sandbox, trees, &tree_count, outer_uid, &outcome->detail);
    } else if (!outcome->grounded) {
        const struct mpp_ids ids = ids_of(sandbox);

        outcome->step = MPP_STEP_ID_MAP;
        error = mpp_map_ids(-1, sandbox->pid, sandbox->pidfd, &ids);
    }
    if (error == 0 && root && sandbox->launch.namespaces != 0)
        error = mpp_copy_trees(sandbox, outcome->grounded ? mpp_plan_of(sandbox)->late : 0, trees, &tree_count,
                               &outcome->step, &outcome->detail);
    if (error == 0 && sandbox->launch.namespaces != 0) {
        outcome->step = MPP_STEP_IMAGE;
        error = mpp_copy_image(sandbox, trees, &tree_count, &outcome->detail);
    }
    if (error == 0) {
        outcome->step = MPP_STEP_SEND;
        memcpy(handed, sandbox->peers, sizeof sandbox->peers);
        trees[tree_count] = sandbox->launch.snapshot_fd;
        error = mpp_send_plan(sandbox, handed, PEER_COUNT + tree_count + (mpp_plan_of(sandbox)->snapshot != 0));
    }
    for (uint32_t i = 0; i < tree_count; i++) close(trees[i]);
    for (int i = 0; i < PEER_COUNT; i++) mpp_close(&sandbox->peers[i]);
    return error;
}

/* A snapshot's descriptor is passed only with a plan that uses it, and only to a tool that begins by execve. */
static int snapshot_fits(const struct mpp_launch *launch)
{
    const struct mpp_plan *plan = (const void *)launch->plan;

    if (plan->snapshot == 0) return launch->snapshot_fd < 0;
    return launch->snapshot_fd >= 0 && launch->parked && plan->early_start && launch->template == NULL &&
           launch->alone && !launch->dialogue;
}

int mpp_spawn(const struct mpp_launch *launch, struct mpp_outcome *outcome, struct mpp_sandbox **slot)
{
    const struct mpp_plan *plan = (const void *)launch->plan;
    struct mpp_sandbox *sandbox;
    int error = 0;

    mpp_bury();
    *slot = NULL;
    memset(outcome, 0, sizeof *outcome);
    outcome->status = -1;
    outcome->started_ns = mpp_now_ns();
    outcome->step = MPP_STEP_SOURCE;
    sandbox = calloc(1, sizeof *sandbox);
    if (sandbox == NULL) {
        outcome->error = ENOMEM;
        return 1;
    }
    sandbox->launch = *launch;
    sandbox->owner = getpid();
    sandbox->pid = -1;
    sandbox->pidfd = sandbox->control = sandbox->request = sandbox->output = sandbox->errors = sandbox->tool = -1;
    for (int i = 0; i < PEER_COUNT; i++) sandbox->peers[i] = -1;
    sandbox->reaped = 1; /* nothing to reap yet */
    sandbox->deadline_ns = outcome->started_ns + launch->wall_ns;
    sandbox->held = launch->parked && !launch->dialogue; /* with a dialogue the tool is spoken to before the call */
    if (!plan_is_sound(launch->plan, launch->plan_size, NULL, NULL)) error = EINVAL;
    /* The next three checks. A parked sandbox needs a mount namespace to separate what was prepared from what
     * the call brings. A tool that starts before its call cannot be traced, since nobody would wait for the watcher. A
     * sandbox with streams must be parked, since it may be released only when its network is served. */
    if (launch->parked && launch->namespaces == 0) error = EINVAL;
    if (error == 0 && launch->parked && launch->watched_count > 0 && plan->early_start) error = EINVAL;
    if (error == 0 && !launch->parked && !launch->grounds && plan->streams.count > 0) error = EINVAL;
    if (launch->template != NULL && (launch->namespaces == 0 || launch->watched_count > 0)) error = EINVAL;
    if (error == 0 && !snapshot_fits(launch)) error = EINVAL;
    if (error == 0) {
        sandbox->plan = malloc(launch->plan_size);
        if (sandbox->plan == NULL) error = ENOMEM;
    }
    if (error == 0) {
        memcpy(sandbox->plan, launch->plan, launch->plan_size);
        if (launch->grounds) mpp_plan_of(sandbox)->streams.count = 0; /* a ground consists of mounts only */
        error = start(sandbox, outcome);
        sandbox->launch.image = NULL; /* both are used up, and need not live as long as the sandbox */
        sandbox->launch.ground = NULL;
    }
    if (error != 0) {
        outcome->error = error;
        mpp_release(&sandbox);
        return 1;
    }
    outcome->step = MPP_STEP_NONE;
    outcome->detail = 0;
    outcome->sent_ns = mpp_now_ns();
    *slot = sandbox;
    return 0;
}

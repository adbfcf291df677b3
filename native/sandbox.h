/* The parent's side of one sandbox, shared by the files that start it, supervise it and end it. */
#ifndef MPP_SANDBOX_H
#define MPP_SANDBOX_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "contract.h"
#include "descriptors.h"

/* For functions that run on a stack in the parent's memory and never return: execve or a signal ends them.
 * AddressSanitizer would poison the memory around the function's variables on that stack, and the parent would never
 * unpoison it. The parent's own data that later comes to lie there would then raise errors. */
#define MPP_NEVER_RETURNS __attribute__((no_sanitize("address")))

struct mpp_buffer {
    uint8_t *data;
    size_t size;
    size_t room;
};

struct mpp_sandbox {
    struct mpp_launch launch; /* the caller keeps its pointers valid until the release */
    uint8_t *plan;            /* a private copy, filled in for this invocation */
    int *sources;             /* O_PATH descriptors of the sources, held until init has mounted or named them */
    uint32_t source_count;
    pid_t owner; /* the process that made the sandbox; a forked child of that process must not act on it */
    pid_t pid;
    int pidfd;
    int control;
    int request; /* write end of the tool's descriptor 0 */
    int output;  /* read ends of its descriptors 1 and 2 */
    int errors;
    struct mpp_watcher *watcher; /* of a traced call, else NULL */
    struct mpp_guard *guard;     /* of a dialogue that has been worked on, else NULL */
    int scored;                  /* the tool's oom_score tells whether the tool is alive */
    int tool;                    /* the tool's folder in /proc, -1 if its death cannot be seen before it is reaped */
    int *sockets;                /* the sockets that init has made for a plan with streams, until the release */
    size_t socket_count;
    int peers[4]; /* the child's ends and this process's pidfd, until they are sent */
    size_t request_sent;
    uint64_t deadline_ns;
    uint64_t tick_ns;
    uint64_t before_user_us; /* CPU time that the cgroup had counted when the tool began: the building of the sandbox */
    uint64_t before_system_us;
    int reaped;
    int killed;             /* the sandbox was told to end */
    int gone;               /* init has reaped every process of the tool */
    int given_up;           /* the sandbox was killed, but did not die in the time there is for that */
    unsigned int looks;     /* number of measurements of its resource usage */
    int blind;              /* number of measurements that failed in a row */
    int held;               /* the request must not be written yet: parked, or the grants are not mounted */
    int parked;             /* init has reported that the sandbox is parked */
    int called;             /* parked: it has its call, or cannot be used any more */
    int told;               /* parked: it was told something that is not a call */
    int greeted;            /* in a dialogue: nothing is left to say before the call */
    uint64_t parked_cpu_us; /* CPU time that it had used when it became ready, and the time when it became ready */
    uint64_t parked_ns;
    uint64_t park_tick_ns; /* time of the next measurement while it gets ready */
    struct mpp_buffer out;
    struct mpp_buffer err;
    struct mpp_buffer said; /* what the dialogue says to the tool, in addition to the request */
    size_t said_sent;
    size_t heard; /* number of bytes of out that the dialogue has seen */
    int answered;
};

/* The sandbox's own copy of the plan, and the entries of that copy. */
static inline struct mpp_plan *mpp_plan_of(struct mpp_sandbox *sandbox)
{
    return (void *)sandbox->plan;
}

static inline struct mpp_entry *mpp_entries_of(struct mpp_sandbox *sandbox)
{
    return (void *)(sandbox->plan + mpp_plan_of(sandbox)->entries.offset);
}

/* The host pids of living processes are unique, so the outer ids of living sandboxes are unique, too. */
static inline uint32_t mpp_outer_of(const struct mpp_sandbox *sandbox)
{
    return sandbox->launch.outer_uid_base + (uint32_t)sandbox->pid;
}

/* The current resource usage of all processes of a sandbox, read from its cgroup or /proc. */
struct mpp_usage {
    uint64_t resident; /* bytes */
    uint64_t cpu_us;
    uint32_t tasks;
};

/* Has the template make a copy, which is init of a new sandbox and has control as its socket. Returns 0 with *pid and
 * *pidfd set, or an errno. After an errno, *refused is 1 if clone(2) failed in the template; if *refused is 0, the
 * template cannot be used any more. */
int mpp_template_copy(struct mpp_template *template, uint64_t namespaces, int control, int cgroup, pid_t *pid,
                      int *pidfd, int *refused);

uint64_t mpp_now_ns(void);
int mpp_await_input(int fd, uint64_t limit_ns);   /* 0: there is input, or the process has ended; else an errno */
void mpp_hold_tool(struct mpp_sandbox *sandbox);  /* called once the sandbox is parked */
int mpp_leave(const struct mpp_sandbox *sandbox); /* 1: killed, and mpp_left tells when it is dead; 0: reap it */
void mpp_fill_plan(struct mpp_sandbox *sandbox);
int mpp_hold_sources(struct mpp_sandbox *sandbox, uint32_t first, uint32_t *detail);
int mpp_copy_trees(struct mpp_sandbox *sandbox, uint32_t first, int *trees, uint32_t *tree_count, uint32_t *step,
                   uint32_t *detail);
int mpp_copy_image(struct mpp_sandbox *sandbox, int *trees, uint32_t *tree_count, uint32_t *detail);
int mpp_hand_over(struct mpp_sandbox *sandbox, int *trees, uint32_t *tree_count, uint32_t owner, uint32_t *detail);
int mpp_send_plan(struct mpp_sandbox *sandbox, const int *descriptors, uint32_t count);
int mpp_drain(struct mpp_sandbox *sandbox, int *fd, struct mpp_buffer *buffer); /* 1 open, 0 ended, -1 over a bound */
int mpp_listen(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome); /* 1: init said how it ended, or is gone */
void mpp_stop(struct mpp_outcome *outcome, enum mpp_stop why);
void mpp_sample(struct mpp_sandbox *sandbox,
                struct mpp_outcome *outcome); /* stops a sandbox over a limit of its call */
int mpp_measure(const struct mpp_sandbox *sandbox, struct mpp_usage *usage); /* 0, or an errno */
void mpp_kill_all(struct mpp_sandbox *sandbox); /* asks every process of the sandbox to end, and waits for none */
void mpp_bury_later(int *pidfd);                /* takes over the pidfd of a sandbox that was killed and is not dead */
void mpp_bury(void);                            /* reaps those of them that have died by now */
void mpp_park_measure(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome); /* mpp_sample for a parked sandbox */
void mpp_guard_end(struct mpp_sandbox *sandbox); /* ends the guard if there is one; after it the guard reads nothing */
void mpp_close_sources(struct mpp_sandbox *sandbox);
void mpp_feed(struct mpp_sandbox *sandbox); /* writes as much of the request as the pipe takes; closes it at the end */
int mpp_unsent(const struct mpp_sandbox *sandbox);  /* whether something is left to write */
int mpp_unheard(const struct mpp_sandbox *sandbox); /* whether the dialogue has something to hear */
/* The watcher of a traced call (notify.c). Every function except mpp_watcher_close accepts NULL, for a call that is not
 * traced. */
int mpp_watcher_open(struct mpp_sandbox *sandbox);         /* 0 or an errno */
int mpp_watcher_fd(const struct mpp_watcher *watcher);     /* readable when the watcher cannot go on */
int mpp_watcher_wants(const struct mpp_watcher *watcher);  /* whether its listener has not come yet */
int mpp_watcher_take(struct mpp_watcher *watcher, int fd); /* 0: the watcher owns the listener; or an errno */
void mpp_watcher_tell(struct mpp_watcher *watcher, struct mpp_outcome *outcome); /* called once its tool is dead */
void mpp_watcher_close(struct mpp_watcher **watcher);
/* Starts a thread that has all signals blocked. Returns 0 or an errno. */
int mpp_thread(pthread_t *thread, void *(*run)(void *), void *argument);
/* The sockets of a plan with streams (sockets.c). mpp_take_sockets returns 0, and then the sandbox owns them; or an
 * errno. */
int mpp_take_sockets(struct mpp_sandbox *sandbox, const int *sockets, size_t count);
void mpp_close_sockets(struct mpp_sandbox *sandbox);
/* Receives one report of init, and the descriptors that may come with it. Returns as recv(2) does. */
ssize_t mpp_receive_report(struct mpp_sandbox *sandbox, struct mpp_report *report);

/* Returns 0, or an errno if it could not read everything. If there are more tasks than most, it stops there: usage then
 * says that there are too many tasks, and its other numbers are too low. */
int mpp_watch(pid_t init, uint32_t most, struct mpp_usage *usage);

/* For a tool without namespaces. Returns 1 if the tool keeps so many deleted files by mapping them that they cannot be
 * temporary files, or if it has more mappings than can be read. Returns 0 if it does not, or if this process may not
 * read the tool's mappings. */
int mpp_hides(pid_t init);
/* clone(2) with a pidfd and SIGCHLD, into a cgroup if that is not -1. The child begins with all signals blocked.
 * Returns -1 with errno set on failure. */
int mpp_clone(uint64_t flags, int cgroup, char *stack, size_t size, int (*child)(void *), void *argument, int *pidfd);
int mpp_wait_to_be_killed(void *owner); /* a function for a child to run; *owner is the host's pid */
void mpp_await_child(int *pidfd);       /* waits for the child's end, and closes the descriptor */
void mpp_end_child(int *pidfd);         /* kills the child first */
int mpp_cgroup_usage(const struct mpp_sandbox *sandbox, struct mpp_usage *usage); /* -1 if it cannot be read */
void mpp_cgroup_times(int cgroup, uint64_t *user_us, uint64_t *system_us); /* sets neither if they cannot be read */
void mpp_cgroup_account(const struct mpp_sandbox *sandbox, struct mpp_outcome *outcome);
void mpp_cgroup_kill(int cgroup);

#define MPP_PROCESSES_MAX (4u << 20) /* the highest pid that a process can have (PID_MAX_LIMIT) */

/* The id maps of a process that was just cloned. */
struct mpp_ids {
    uint32_t inside;
    uint32_t outer_uid;
    uint32_t outer_gid;
    uint32_t count; /* number of consecutive ids */
    int self_map;   /* the host is not root: it maps itself, and gives up setgroups first */
    int with_host;  /* the host's own id is mapped, too, before the others: without a mapped id it cannot clone there */
};

/* proc is a descriptor of /proc for a caller that cannot see /proc; else -1. Returns 0 or an errno. */
int mpp_map_ids(int proc, pid_t pid, int pidfd, const struct mpp_ids *ids);

/* A child that is cloned by another process than the host's thread (ground.c), and what that child runs. */
struct mpp_visit {
    const struct mpp_ground *ground;
    int (*child)(void *);
    void *argument;
    const volatile long *failed; /* the child's error, valid once the child has called execve or is gone */
    uint64_t flags;
    int cgroup;
    char *stack;
    size_t size;
    uint32_t inside;     /* the child's id inside the sandbox */
    uint32_t outer_base; /* outer_uid_base of the launch */
};

/* Clones a child of the host that begins on a ground, with its ids mapped. Returns 0 with *pid and *pidfd set. On
 * failure it returns an errno and nothing is left behind; the caller then makes the child in the ordinary way. */
int mpp_ground_clone(struct mpp_visit *visit, pid_t *pid, int *pidfd);
int mpp_ground_fits(const struct mpp_ground *ground, struct mpp_sandbox *sandbox); /* after its sources are held */
int mpp_idmap_namespace(uint32_t inside_uid, uint32_t inside_gid, uint32_t outer, int *namespace_fd);

#endif

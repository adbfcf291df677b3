/* The parent's side of one sandbox, shared by the files that start it, supervise it and end it. */
#ifndef MPP_SANDBOX_H
#define MPP_SANDBOX_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "contract.h"
#include "descriptors.h"

/* For what runs on a stack in the parent's memory and never returns from there: execve or a signal ends it.
 * AddressSanitizer would mark the surroundings of its variables on that stack and, in the parent, never take
 * the marks off: they would be found by whatever of the parent comes to lie there. */
#define MPP_NEVER_RETURNS __attribute__((no_sanitize("address")))

struct mpp_buffer {
    uint8_t *data;
    size_t size;
    size_t room;
};

struct mpp_sandbox {
    struct mpp_launch launch; /* its pointers stay valid until the release: the caller keeps them */
    uint8_t *plan;            /* a private copy, filled in for this invocation */
    int *sources;             /* O_PATH descriptors of the sources, held until init has mounted or named them */
    uint32_t source_count;
    pid_t owner; /* the process that made it: a fork of that has no say in it */
    pid_t pid;
    int pidfd;
    int control;
    int request; /* write end of descriptor 0 of the tool */
    int output;  /* read ends of 1 and 2 */
    int errors;
    struct mpp_watcher *watcher; /* of a traced call, else NULL */
    struct mpp_guard *guard;     /* of a dialogue that has been worked on, else NULL */
    int scored;                  /* its oom_score tells whether it lives */
    int tool;                    /* its folder in /proc, -1 where its death is not to be seen before it is reaped */
    int *sockets;                /* what init has made for a plan with streams, until the release */
    size_t socket_count;
    int peers[4]; /* the child's ends and this process's pidfd, until they are sent */
    size_t request_sent;
    uint64_t deadline_ns;
    uint64_t tick_ns;
    uint64_t before_user_us; /* what its cgroup had counted when the tool began: the building of the sandbox */
    uint64_t before_system_us;
    int reaped;
    int killed;             /* it was told to end */
    int gone;               /* init has reaped all that there was of the tool */
    int given_up;           /* it was killed, and is not dead after all the time there is for that */
    unsigned int looks;     /* at what it uses */
    int blind;              /* looks in a row at what it uses that failed */
    int held;               /* the request is not to be written yet: parked, or its grants are not mounted */
    int parked;             /* init has said that it is */
    int called;             /* parked: it has its call, or is of no use any more */
    int told;               /* parked: it was told what is no call */
    int greeted;            /* in a dialogue: nothing is left to say before the call */
    uint64_t parked_cpu_us; /* what it had used when it became ready, and when that was */
    uint64_t parked_ns;
    uint64_t park_tick_ns; /* when it is measured next while it gets ready */
    struct mpp_buffer out;
    struct mpp_buffer err;
    struct mpp_buffer said; /* a dialogue's words to the tool, beside the request */
    size_t said_sent;
    size_t heard; /* bytes of out that the dialogue has seen */
    int answered;
};

/* The plan that a sandbox has of its own, and its table. */
static inline struct mpp_plan *mpp_plan_of(struct mpp_sandbox *sandbox)
{
    return (void *)sandbox->plan;
}

static inline struct mpp_entry *mpp_entries_of(struct mpp_sandbox *sandbox)
{
    return (void *)(sandbox->plan + mpp_plan_of(sandbox)->entries.offset);
}

/* Host process ids are unique among the living, so the outer ids of living sandboxes are, too. */
static inline uint32_t mpp_outer_of(const struct mpp_sandbox *sandbox)
{
    return sandbox->launch.outer_uid_base + (uint32_t)sandbox->pid;
}

/* What all processes of a sandbox use at this moment, as its cgroup or /proc tells. */
struct mpp_usage {
    uint64_t resident; /* bytes */
    uint64_t cpu_us;
    uint32_t tasks;
};

/* Has the template make a copy, as init of a new sandbox, with control as its socket: 0 with *pid and *pidfd set, or an
 * errno. What clone(2) said is in *refused; where that is 0, it is of no use any more. */
int mpp_template_copy(struct mpp_template *template, uint64_t namespaces, int control, int cgroup, pid_t *pid,
                      int *pidfd, int *refused);

uint64_t mpp_now_ns(void);
int mpp_await_input(int fd, uint64_t limit_ns);   /* 0: there is some, or a process has ended; else an errno */
void mpp_hold_tool(struct mpp_sandbox *sandbox);  /* once it is parked */
int mpp_leave(const struct mpp_sandbox *sandbox); /* 1: killed, and mpp_left tells when it is dead; 0: to be reaped */
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
void mpp_sample(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome); /* stops what is over a limit of its call */
int mpp_measure(const struct mpp_sandbox *sandbox, struct mpp_usage *usage); /* 0, or an errno */
void mpp_kill_all(struct mpp_sandbox *sandbox); /* asks for the end of every process of it, and waits for none */
void mpp_bury_later(int *pidfd);                /* takes the descriptor of one that was killed and is not dead */
void mpp_bury(void);                            /* reaps those of them that are by now */
void mpp_park_measure(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome); /* as mpp_sample, of a parked one */
void mpp_guard_end(struct mpp_sandbox *sandbox); /* where there is one; it looks at nothing any more on return */
void mpp_close_sources(struct mpp_sandbox *sandbox);
void mpp_feed(struct mpp_sandbox *sandbox); /* writes what the pipe takes of the request, and closes it at the end */
int mpp_unsent(const struct mpp_sandbox *sandbox);  /* whether there is something left to write */
int mpp_unheard(const struct mpp_sandbox *sandbox); /* whether a dialogue has something to hear */
/* The watcher of a traced call (notify.c). All but mpp_watcher_close may be given NULL, for a call that is not traced. */
int mpp_watcher_open(struct mpp_sandbox *sandbox);         /* 0 or an errno */
int mpp_watcher_fd(const struct mpp_watcher *watcher);     /* readable where it cannot go on */
int mpp_watcher_wants(const struct mpp_watcher *watcher);  /* whether its listener is still to come */
int mpp_watcher_take(struct mpp_watcher *watcher, int fd); /* 0, and the listener is the watcher's; or an errno */
void mpp_watcher_tell(struct mpp_watcher *watcher, struct mpp_outcome *outcome); /* once its tool is dead */
void mpp_watcher_close(struct mpp_watcher **watcher);
/* Starts a thread that takes no signal. Returns 0 or an errno. */
int mpp_thread(pthread_t *thread, void *(*run)(void *), void *argument);
/* The sockets of a plan with streams (sockets.c). Taken: 0, and they are the sandbox's; or an errno. */
int mpp_take_sockets(struct mpp_sandbox *sandbox, const int *sockets, size_t count);
void mpp_close_sockets(struct mpp_sandbox *sandbox);
/* One report of init, and the descriptors that may come with it. As recv(2). */
ssize_t mpp_receive_report(struct mpp_sandbox *sandbox, struct mpp_report *report);

/* 0, or an errno where it could not look at everything. Where there are more tasks than most it looks no further: what
 * it says of the rest is too little, and of the tasks that they are too many. */
int mpp_watch(pid_t init, uint32_t most, struct mpp_usage *usage);

/* Of a tool without namespaces: 1 where it keeps so many deleted files by mapping them that they are no temporary files, or
 * has more mappings than can be looked at; 0 where it does not, or this process may not see. */
int mpp_hides(pid_t init);
/* clone(2) with a pidfd and SIGCHLD, into a cgroup where that is not -1; the child begins with all signals blocked. Returns
 * -1 with errno set on failure. */
int mpp_clone(uint64_t flags, int cgroup, char *stack, size_t size, int (*child)(void *), void *argument, int *pidfd);
int mpp_wait_to_be_killed(void *owner); /* what a child may do; *owner is the process number of the host */
void mpp_await_child(int *pidfd);       /* waits for its end, and closes the descriptor */
void mpp_end_child(int *pidfd);         /* kills it first */
int mpp_cgroup_usage(const struct mpp_sandbox *sandbox, struct mpp_usage *usage); /* -1 where it cannot be read */
void mpp_cgroup_times(int cgroup, uint64_t *user_us, uint64_t *system_us); /* left alone where they cannot be read */
void mpp_cgroup_account(const struct mpp_sandbox *sandbox, struct mpp_outcome *outcome);
void mpp_cgroup_kill(int cgroup);

#define MPP_PROCESSES_MAX (4u << 20) /* the highest number that a process can have (PID_MAX_LIMIT) */

/* The maps of a process that was just cloned. */
struct mpp_ids {
    uint32_t inside;
    uint32_t outer_uid;
    uint32_t outer_gid;
    uint32_t count; /* of ids that follow one another */
    int self_map;   /* the host is no root: it maps itself, and gives up setgroups first */
    int with_host;  /* the host's own id is mapped besides, before the others: who has none can clone nothing there */
};

/* proc is /proc, for who cannot see it; else -1. Returns 0 or an errno. */
int mpp_map_ids(int proc, pid_t pid, int pidfd, const struct mpp_ids *ids);

/* What a child does that is to be cloned by somebody else than the host's thread (ground.c). */
struct mpp_visit {
    const struct mpp_ground *ground;
    int (*child)(void *);
    void *argument;
    const volatile long *failed; /* the child's, once it has execed or is gone */
    uint64_t flags;
    int cgroup;
    char *stack;
    size_t size;
    uint32_t inside;     /* its id */
    uint32_t outer_base; /* as of the launch */
};

/* Clones a child of the host's that begins on a ground, with its ids mapped. 0 with *pid and *pidfd set, or an errno and
 * nothing is left: then it is to be made in the ordinary way. */
int mpp_ground_clone(struct mpp_visit *visit, pid_t *pid, int *pidfd);
int mpp_ground_fits(const struct mpp_ground *ground, struct mpp_sandbox *sandbox); /* once its sources are held */
int mpp_idmap_namespace(uint32_t inside_uid, uint32_t inside_gid, uint32_t outer, int *namespace_fd);

#endif

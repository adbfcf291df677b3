/* The contract between Python, the parent side (spawn.c, supervise.c) and PID 1 of a sandbox (init.c).
 *
 * This file is C header and cffi cdef in one, so it has no directives but integer #defines.
 * Every offset is in bytes from the start of struct mpp_plan; text is NUL-terminated. */

/* Where a spawn can fail, in the order of the steps. */
enum mpp_step {
    MPP_STEP_NONE = 0,
    MPP_STEP_SOURCE,      /* parent: open a mount source without following links */
    MPP_STEP_PIPES,       /* parent: socket pair and pipes */
    MPP_STEP_CLONE,       /* parent: clone into new namespaces */
    MPP_STEP_EXEC_INIT,   /* child: become the init program */
    MPP_STEP_ID_MAP,      /* parent: uid_map, gid_map, setgroups */
    MPP_STEP_TREE,        /* parent, root: detached copy of a mount source */
    MPP_STEP_IDMAP_MOUNT, /* parent, root: map the host's ids on a grant */
    MPP_STEP_IMAGE,       /* parent: a mount of the package's image */
    MPP_STEP_HAND_OVER,   /* parent, without namespaces: what is held, and to whom it belongs; detail is its index */
    MPP_STEP_SEND,        /* parent: hand over plan and descriptors */
    MPP_STEP_RECEIVE,     /* init: plan received and well-formed */
    MPP_STEP_OWNER,       /* init: die with the owner */
    MPP_STEP_IDS,         /* init: setgroups, setresgid, setresuid */
    MPP_STEP_SESSION,     /* init: new session, host name */
    MPP_STEP_NETWORK, /* init: loopback up, addresses, sockets; detail counts them: addresses, names, streams, bounds */
    MPP_STEP_ROOT,    /* init: private propagation, root tmpfs */
    MPP_STEP_LAYOUT,  /* init: one layout entry; detail is its index */
    MPP_STEP_PIVOT,   /* init: pivot_root and detach of the host's tree; or only the working directory */
    MPP_STEP_CAPABILITIES, /* init: drop every capability */
    MPP_STEP_LANDLOCK,     /* init: ruleset; detail is the rule's index */
    MPP_STEP_RELEASE,      /* init, parked: the release received and fit for what was prepared */
    MPP_STEP_FORK,         /* init: fork the tool */
    MPP_STEP_LIMITS,       /* tool: one rlimit; detail is its index, or their number: init's own */
    MPP_STEP_STDIO,        /* tool: descriptors 0, 1, 2 */
    MPP_STEP_WATCH,        /* tool, traced: install the watching program, send its listener */
    MPP_STEP_SECCOMP,      /* tool: install the program */
    MPP_STEP_EXEC,         /* tool: execve of the entry */
    MPP_STEP_COUNT
};

/* Whether a sandbox is built on a ground (ground.c), or is to become one. */
enum mpp_on_ground {
    MPP_GROUND_NONE = 0,
    MPP_GROUND_THERE, /* what is the same for each call is there already, and nothing of the host's tree */
    MPP_GROUND_MADE   /* init: lay that, let nobody change it, report MPP_REPORT_PARKED, and wait to be killed */
};

/* A snapshot of a Python tool's process: where its descriptor is in the tool's process, and what one mapping is made of. */
#define MPP_SNAPSHOT_FD 4
#define MPP_SNAPSHOT_RESTORED 1 /* the tool's process becomes what is in it */
#define MPP_SNAPSHOT_SAVED 2    /* it writes itself there, and ends */
#define MPP_SNAPSHOT_REGIONS 4096

enum mpp_region_kind {
    MPP_REGION_ZERO = 1, /* nothing yet */
    MPP_REGION_SAVED,    /* what it was */
    MPP_REGION_FILE,     /* a file, as it is there */
    MPP_REGION_VDSO,     /* the kernel's own code, and what that reads */
    MPP_REGION_VVAR
};

struct mpp_region {
    uint64_t start;
    uint64_t end;
    uint64_t offset; /* in its file, or in the snapshot */
    uint32_t kind;
    uint32_t protection;
    uint32_t file; /* offset of a path in the texts; in a snapshot the index of the file */
    uint32_t unused;
};

enum mpp_entry_kind {
    MPP_ENTRY_DIR = 1, /* mkdir target, mode */
    MPP_ENTRY_FILE,    /* create target with data */
    MPP_ENTRY_LINK,    /* symlink at target to source */
    MPP_ENTRY_BIND,    /* bind source onto target */
    MPP_ENTRY_TMPFS,   /* fresh tmpfs at target */
    MPP_ENTRY_HOLD     /* without namespaces: nothing is mounted; the rule of the same index is for this source */
};

#define MPP_ENTRY_EXISTS 1   /* the mount point is there already, inside an earlier mount */
#define MPP_ENTRY_IDMAP 2    /* bind: a host that is root maps exactly its own ids */
#define MPP_ENTRY_WRITABLE 4 /* bind: the host's ids may be mapped for writing */
#define MPP_ENTRY_OWNED 8    /* hold: a host that is root gives it to the sandbox's id */
#define MPP_ENTRY_IMAGE 16 /* bind: the files of the launch's image, and nothing of the host's: source is not opened */

struct mpp_entry {
    uint32_t kind;
    uint32_t flags;
    uint32_t source; /* offset of text; bind: absolute path free of symbolic links */
    uint32_t target; /* offset of text, relative to the new root, no leading slash */
    uint32_t data;   /* file: offset of contents */
    uint32_t data_size;
    uint32_t mode;
    uint32_t inodes;     /* tmpfs */
    uint64_t size;       /* tmpfs: bytes */
    uint64_t attributes; /* MOUNT_ATTR_* */
    uint64_t device;     /* bind: what the source must be; where inode is 0, filled in by the parent */
    uint64_t inode;      /* both are compared again by init */
    uint64_t birth;      /* bind: ns since 1970, where an inode could have been used again; 0: not compared */
    int32_t tree;        /* filled in by the parent: index of the descriptor of a copy or a held source, else -1 */
    uint32_t is_dir;     /* bind: filled in by the parent */
};

struct mpp_rule {
    uint64_t access;
    uint32_t path; /* offset of text, absolute inside the sandbox */
    uint32_t is_dir;
};

struct mpp_rlimit {
    uint64_t soft;
    uint64_t hard;
    uint32_t resource;
    uint32_t reserved;
};

/* A granted port, and the family whose addresses may be dialled on it. */
struct mpp_stream {
    uint32_t family; /* AF_INET, AF_INET6 */
    uint32_t port;
};

/* An address that was granted as such: the sandbox has it for its own, so that who dials it stays inside. */
struct mpp_address {
    uint32_t family;
    uint8_t bytes[16]; /* AF_INET: the first four */
};

struct mpp_span {
    uint32_t offset;
    uint32_t count;
};

struct mpp_plan {
    uint64_t magic;
    uint64_t landlock_fs;
    uint64_t landlock_net;
    uint64_t landlock_scoped;
    uint64_t root_attributes; /* MOUNT_ATTR_* set on the root once it is complete */
    uint32_t size;            /* of the whole message */
    uint32_t uid;             /* inside; without namespaces filled in by the parent */
    uint32_t gid;
    uint32_t empty_groups; /* filled in by the parent: 1 where setgroups is allowed */
    uint32_t landlock;     /* 0: this plan was degraded to do without */
    uint32_t namespaces;   /* filled in by the parent: 0 where the sandbox has none of its own */
    uint32_t own_signals;  /* 1: a seccomp program lets the tool signal itself only */
    uint32_t parked;       /* filled in by the parent: 1 where the sandbox is prepared ahead of its call */
    uint32_t late;         /* index of the first entry that a parked sandbox gets only at its release */
    uint32_t ground;       /* filled in by the parent: enum mpp_on_ground */
    uint32_t early_start;  /* 1: parked, the tool is started before the release; 0: at it */
    uint32_t processors;   /* the most that the tool may run on */
    uint32_t snapshot;     /* MPP_SNAPSHOT_*, early start: what its last descriptor is for; 0: it has none */
    uint32_t few_buffers;  /* 1: nothing counts what its connections hold, so that the kernel has to bound it */
    uint32_t exec_path;
    uint32_t working_directory;
    uint32_t host_name;
    struct mpp_span entries; /* struct mpp_entry */
    struct mpp_span rules;   /* struct mpp_rule */
    struct mpp_span limits;  /* struct mpp_rlimit */
    struct mpp_span filter;  /* struct sock_filter of the tool, 8 bytes each */
    struct mpp_span guard;   /* struct sock_filter of init itself */
    struct mpp_span watch;   /* struct sock_filter of a traced call, beside filter; empty for any other */
    struct mpp_span argv;    /* uint32_t offsets of text */
    struct mpp_span envp;
    struct mpp_span streams;   /* struct mpp_stream; empty: no network, not even loopback */
    struct mpp_span addresses; /* struct mpp_address */
};

#define MPP_PLAN_MAGIC 0x316e616c702d706d
#define MPP_PLAN_MAX 131072
#define MPP_ARGS_MAX 512
#define MPP_TREES_MAX 240
#define MPP_STREAMS_MAX 64
#define MPP_ADDRESSES_MAX 64

/* What init and the tool's last steps report to the owner: one datagram each. */
enum mpp_report_kind {
    MPP_REPORT_NONE,
    MPP_REPORT_FAILED,
    MPP_REPORT_READY,
    MPP_REPORT_EXITED,
    MPP_REPORT_WATCHED, /* carries the listener of a traced tool */
    MPP_REPORT_PARKED,  /* all is prepared that can be before the release */
    MPP_REPORT_NETWORK  /* carries the sockets of a plan with streams, before MPP_REPORT_PARKED */
};

struct mpp_report {
    uint32_t kind;
    uint32_t step;
    int32_t error;
    uint32_t detail;
    int32_t status; /* as wait(2) has it */
    uint32_t reserved;
    uint64_t user_us;
    uint64_t system_us;
    uint64_t resident_kib; /* peak */
    uint64_t at_ns;        /* CLOCK_MONOTONIC */
};

/* Why the supervisor ended an invocation. */
enum mpp_stop {
    MPP_STOP_NONE = 0, /* the tool ended by itself */
    MPP_STOP_WALL,
    MPP_STOP_CPU,
    MPP_STOP_MEMORY,
    MPP_STOP_OUTPUT,
    MPP_STOP_PROCESSES,
    MPP_STOP_CANCELLED,
    MPP_STOP_BLIND,   /* what it uses cannot be read */
    MPP_STOP_LOST,    /* init vanished without a report */
    MPP_STOP_WATCH,   /* the watcher of a traced call failed */
    MPP_STOP_HIDDEN,  /* without namespaces: it keeps deleted files, which nothing counts, by mapping them */
    MPP_STOP_ANSWERED /* the call has its answer: a dialogue says so, or a line end of a tool that answers so */
};

/* One way to read a system call that a traced tool makes. A number may stand in several rows (rename). */
struct mpp_watched {
    uint32_t number;
    int8_t path;    /* argument that points to a path, -1 for none */
    int8_t folder;  /* argument that is the descriptor a relative path starts from, -1: the working directory */
    int8_t word;    /* argument to note as a number, -1 for none */
    uint8_t refuse; /* 1: answered ENOSYS, always; 0: let on, to what the ordinary program has allowed already */
};

#define MPP_NOTES_MAX 4096     /* distinct accesses kept of one call; the others are counted */
#define MPP_NOTES_SIZE 1048576 /* bytes of them */
#define MPP_NOTE_NO_FOLDER 1   /* a relative path whose start could not be told */

/* One access, followed by the folder that a relative path starts from and the path, without NULs, padded to 8. */
struct mpp_note {
    uint32_t row; /* index of struct mpp_watched */
    uint32_t flags;
    uint64_t word;
    uint32_t folder_size;
    uint32_t path_size;
};

/* An interpreter that is up before there is a call, and that sandboxes are copied from (template.c). Not for two threads
 * at once. */
struct mpp_template;

/* The mounts that are the same for each call of a plan, in namespaces of their own (ground.c). For any thread. */
struct mpp_ground;

/* The files of a package in memory, in namespaces of their own (image.c). Once sealed, for any thread. */
struct mpp_image;

struct mpp_launch {
    const uint8_t *plan; /* struct mpp_plan with everything behind it */
    size_t plan_size;
    const uint8_t *request; /* what the tool reads from descriptor 0 */
    size_t request_size;
    int init_fd;             /* the init program, opened for reading */
    int cancel_fd;           /* readable: stop; -1 for none */
    int cgroup_fd;           /* folder of the cgroup that everything runs in; -1 for none */
    uint32_t outer_uid_base; /* root: the outer id is this plus the host pid of init; 0: self-map */
    uint32_t namespaces;     /* CLONE_NEW*; all of them, or 0 for the profile without namespaces */
    uint32_t dialogue;       /* 1: what the tool says is answered while it runs, and descriptor 0 stays open */
    uint64_t wall_ns;
    uint64_t cpu_us;
    uint64_t memory;        /* bytes over all processes, beside rlimit and cgroup */
    uint64_t output;        /* bytes of stdout + stderr */
    uint32_t processes;     /* beside RLIMIT_NPROC, which counts all of a user's where there is no user namespace */
    uint32_t watched_count; /* 0: the call is not traced */
    uint32_t parked;        /* 1: prepare only; plan, request and limits of the call come with mpp_unpark */
    uint32_t answers;       /* parked: 1: the call is over with a line end that the tool writes to descriptor 1 last */
    uint32_t alone;         /* 1: the tool can start no process, so nothing of it runs on once it is dead */
    const struct mpp_watched *watched;
    struct mpp_template *template;   /* NULL: init is a program of its own, and starts the tool by execve */
    const struct mpp_image *image;   /* where entries with MPP_ENTRY_IMAGE come from; NULL: there are none */
    const struct mpp_ground *ground; /* what it is built on where that fits; NULL, or what does not fit: on nothing */
    uint32_t grounds;                /* 1: no tool is started, see mpp_ground_make */
    int snapshot_fd;                 /* of a plan with a snapshot: its file; else -1 */
};

struct mpp_outcome {
    uint32_t step; /* MPP_STEP_NONE, or where the spawn failed */
    int32_t error; /* errno of that step */
    uint32_t detail;
    uint32_t stop;
    int32_t status;          /* wait(2) status of the tool, -1 where it never ran or was lost */
    uint32_t processes_peak; /* processes and threads seen at once; sampled */
    uint64_t user_us;
    uint64_t system_us;
    uint64_t resident_peak;    /* bytes */
    uint64_t memory_peak;      /* bytes, as its cgroup counts; this and the next two are 0 without one */
    uint32_t memory_kills;     /* processes that the kernel killed at the cgroup's bound of memory */
    uint32_t processes_denied; /* forks and threads refused at the cgroup's bound */
    uint64_t started_ns;       /* CLOCK_MONOTONIC stamps of the stages */
    uint64_t cloned_ns;
    uint64_t sent_ns;
    uint64_t ready_ns;
    uint64_t exited_ns;
    uint64_t stopped_ns; /* 0 where the supervisor stopped nothing */
    uint64_t reaped_ns;
    uint8_t *output; /* stdout, owned by the sandbox handle */
    size_t output_size;
    uint8_t *errors; /* stderr */
    size_t errors_size;
    uint8_t *notes; /* struct mpp_note, each once; owned by the sandbox handle */
    size_t notes_size;
    uint64_t notes_lost; /* accesses beyond what is kept */
    uint32_t
        leaving;     /* 1: its call is over and it is killed, but not reaped: mpp_left waits until no code of it runs */
    uint32_t copied; /* 1: it is a copy of its template */
    uint32_t grounded; /* 1: it was built on the ground of its launch */
    uint32_t undead;   /* 1: it was killed, and something in the kernel held it longer than anybody waits */
};

struct mpp_sandbox;

/* Starts one invocation. Puts a handle into *slot and returns 0, or returns 1 with NULL there, step and error
 * filled in and nothing left behind. The slot is the caller's before the call: no signal can lose the handle. */
int mpp_spawn(const struct mpp_launch *launch, struct mpp_outcome *outcome, struct mpp_sandbox **slot);

/* Runs it to its end. Returns 0 when everything is dead, reaped and read (or leaving, where outcome says so: it is
 * reaped by mpp_release), or EINTR when a signal arrived or may have, and after back_ms (1 to 100) at the latest: the
 * caller lets its handlers run and calls again, or kills. In a dialogue it returns MPP_HEARD, too, when the tool has written to descriptor 1; limits are kept in the next call. */
#define MPP_HEARD 4096
int mpp_supervise(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome, uint32_t back_ms);

/* The dialogue of a sandbox that was launched with one (dialogue.c). What was heard since the last time, or the next
 * part of it, stays valid until mpp_supervise is called; what is said is copied, and 0 returned, or an errno. */
#define MPP_HEARD_MOST 65536
size_t mpp_heard(struct mpp_sandbox *sandbox, const uint8_t **data);
int mpp_say(struct mpp_sandbox *sandbox, const uint8_t *data, size_t size);

/* While the caller works on what it heard, a thread keeps limits, deadline and cancel_fd (guard.c): it kills the sandbox,
 * and outcome says why. Until mpp_unguard, which may be repeated, the caller uses neither of them, but may release the
 * sandbox. Returns 0, or an errno: then nothing is kept. */
int mpp_guard(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome);
void mpp_unguard(struct mpp_sandbox *sandbox);

/* Waits until none of the tool's code can run any more, of a sandbox whose outcome says leaving: 1. Returns 0 where that
 * takes too long: then only mpp_release is sure of it. NULL has left. */
int mpp_left(struct mpp_sandbox *sandbox);

/* The dialogue is over: the next mpp_supervise ends the sandbox. */
void mpp_answered(struct mpp_sandbox *sandbox);

/* How a parked sandbox is. */
enum mpp_parked {
    MPP_PARKED_PREPARING = 0,
    MPP_PARKED_READY,
    MPP_PARKED_ENDED, /* it failed, died or used too much: outcome says what is known; only to be released */
    MPP_PARKED_HEARD  /* in a dialogue: it has written to descriptor 1, see mpp_heard */
};

/* Looks after a sandbox that was spawned parked: hears init, takes what the tool writes, measures what it uses.
 * Waits up to wait_ms for it to be ready; 0 only looks. May return early with MPP_PARKED_PREPARING. */
enum mpp_parked mpp_park_look(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome, int wait_ms);

/* One that was parked with a dialogue, and has said all that it had to say before its call: it is ready. */
void mpp_greeted(struct mpp_sandbox *sandbox);

/* The sockets that a sandbox with streams has made in its namespace, once it is ready: one for names, not bound, then one for each
 * stream, bound and not listening. Puts them into *sockets and returns how many they are. They are the sandbox's, and closed by
 * mpp_unpark: whoever is to serve them has copies by then. */
size_t mpp_sockets(const struct mpp_sandbox *sandbox, const int **sockets);

/* The folder in /proc of the tool of a sandbox that is ready, if it has but one process; else -1. It is the sandbox's. */
int mpp_tool_folder(const struct mpp_sandbox *sandbox);

/* Writes to descriptor 0 of one that is ready what is no call, while it is looked after; data stays the caller's, and is kept
 * until that ends. It is of no use for a call then. Returns 0, or EINVAL for one that was told something already. */
int mpp_park_tell(struct mpp_sandbox *sandbox, const uint8_t *data, size_t size);

/* Gives a parked sandbox that is ready its call: from here on it is one that was just spawned. Takes of launch what
 * a call brings: plan (as it was parked with, and entries behind), request, cancel_fd, wall_ns, dialogue. Returns 0;
 * or 1 with step and error filled in: nothing of the call has reached the tool, and the sandbox is to be released. One
 * that was released already (NULL) takes no call. */
int mpp_unpark(struct mpp_sandbox *sandbox, const struct mpp_launch *launch, struct mpp_outcome *outcome);

/* Kills every process of the sandbox and waits for none of them: taking down what they wrote takes its time. Returns 1
 * once all of them are dead, else 0. NULL is dead. */
int mpp_kill(struct mpp_sandbox *sandbox);

/* Kills every process of the sandbox, reaps it, frees the handle with its buffers, and empties the slot: in one, so
 * that no signal can come between. An empty slot is left alone. */
void mpp_release(struct mpp_sandbox **slot);

/* Starts path, a program without confinement, in the root folder, with its three standard descriptors pipes that nobody is at the
 * other end of, the template's socket as descriptor 3, what is held from there on, and then a file of four bytes in which the
 * kernel is to note each copy. It ends with the thread that calls this. Puts a handle into *slot and returns 0, or returns an errno with NULL there. */
#define MPP_TEMPLATE_HELD 4
#define MPP_TEMPLATE_PROGRAM 6
#define MPP_TEMPLATE_NOTED 8
int mpp_template_start(const char *path, const char *const *argv, const char *const *envp, const int *held,
                       struct mpp_template **slot);

/* Whether copies can still be made of it, and of how many bytes it is. */
uint64_t mpp_template_size(const struct mpp_template *template);
int mpp_template_serves(const struct mpp_template *template);

/* Ends and reaps it, and empties the slot; its copies are none of its business. An empty slot is left alone. */
void mpp_template_close(struct mpp_template **slot);

/* Lays the ground of a launch's plan. Returns 0 with it in *slot, or 1 with NULL there, step and error filled in and nothing
 * left behind. It has no process, and ends with mpp_ground_close or with the host. */
int mpp_ground_make(const struct mpp_launch *launch, struct mpp_outcome *outcome, struct mpp_ground **slot);

/* Lets it go, and empties the slot; what was built on it stays. An empty slot is left alone. */
void mpp_ground_close(struct mpp_ground **slot);

/* Makes an empty image of at most size bytes and inodes. Puts a handle into *slot and returns 0, or returns an errno with
 * NULL there. It has no process, and ends with its descriptors. */
int mpp_image_make(uint64_t size, uint64_t inodes, struct mpp_image **slot);

/* Copies count files and folders below an open folder, as they are named one after another, each ended by NUL: what they
 * hold is not looked at. Follows no link. Returns 0 or an errno: then the image is only to be closed. */
int mpp_image_fill(struct mpp_image *image, int folder, const char *names, size_t count);

/* Makes all of it read-only, for everybody and for good. What is found in it from then on stays as it is. 0 or an errno. */
int mpp_image_seal(struct mpp_image *image);

/* Its root folder, to be read; it belongs to the image. */
int mpp_image_folder(const struct mpp_image *image);

/* A detached mount, with MOUNT_ATTR_* beside those of any, of the folder "files" of a sealed image, in *tree: 0 or an errno. */
int mpp_image_tree(const struct mpp_image *image, uint64_t attributes, int *tree);

/* Lets it go, and empties the slot; its mounts in sandboxes stay. An empty slot is left alone. */
void mpp_image_close(struct mpp_image **slot);

/* Clones a process that ends at once into the given namespaces and cgroup (-1: none): 0, or the errno of clone(2). */
int mpp_try_clone(uint32_t namespaces, int cgroup);

/* Landlock: ABI version (0 where there is none) and errata bits; -errno on a failure other than absence. */
int mpp_landlock_abi(void);
int mpp_landlock_errata(void);

/* Whether the kernel has seccomp filters with the given action: 1, 0, or -errno. */
int mpp_seccomp_action(uint32_t action);

/* What tells a file from what it was: its own status, links not followed. error is 0, or an errno beside zeroes. */
struct mpp_identity {
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    int64_t modified_ns; /* since 1970 */
    int64_t changed_ns;
    uint32_t mode;
    uint32_t uid;
    int32_t error;
    uint32_t padding;
};

/* Looks at count files, one name after another, each ended by NUL; relative ones are looked for in folder. */
void mpp_look(int folder, const char *names, size_t count, struct mpp_identity *identities);

/* An alarm: a descriptor that becomes readable (8 bytes) when its time has come, or -errno; and to set it, which wakes
 * nobody before that: 0, or -errno. */
int mpp_alarm_open(void);
int mpp_alarm_set(int fd, uint64_t in_ns);

/* The structure sizes as compiled, for the test that the cdef agrees. */
size_t mpp_sizeof_plan(void);

/* The contract between Python, the parent side (spawn.c, supervise.c) and PID 1 of a sandbox (init.c).
 *
 * This file is both a C header and a cffi cdef, so it contains no directives except integer #defines.
 * Every offset is in bytes from the start of struct mpp_plan. Every text is NUL-terminated. */

/* Where a spawn can fail, in the order of the steps. */
enum mpp_step {
    MPP_STEP_NONE = 0,
    MPP_STEP_SOURCE,      /* parent: open a mount source without following links */
    MPP_STEP_PIPES,       /* parent: socket pair and pipes */
    MPP_STEP_CLONE,       /* parent: clone into new namespaces */
    MPP_STEP_EXEC_INIT,   /* child: become the init program */
    MPP_STEP_ID_MAP,      /* parent: uid_map, gid_map, setgroups */
    MPP_STEP_TREE,        /* parent, root: make a detached copy of a mount source */
    MPP_STEP_IDMAP_MOUNT, /* parent, root: map the host's ids on a grant */
    MPP_STEP_IMAGE,       /* parent: make a mount of the package's image */
    MPP_STEP_HAND_OVER,   /* parent, without namespaces: set the owner of a held source, hand it over; detail: index */
    MPP_STEP_SEND,        /* parent: hand over plan and descriptors */
    MPP_STEP_RECEIVE,     /* init: plan received and well-formed */
    MPP_STEP_OWNER,       /* init: die with the owner */
    MPP_STEP_IDS,         /* init: setgroups, setresgid, setresuid */
    MPP_STEP_SESSION,     /* init: new session, host name */
    MPP_STEP_NETWORK, /* init: loopback, addresses, sockets; detail counts through addresses, names, streams, bounds */
    MPP_STEP_ROOT,    /* init: private propagation, root tmpfs */
    MPP_STEP_LAYOUT,  /* init: one layout entry; detail is its index */
    MPP_STEP_PIVOT,   /* init: pivot_root and detach the host's tree; or only change the working directory */
    MPP_STEP_CAPABILITIES, /* init: drop every capability */
    MPP_STEP_LANDLOCK,     /* init: ruleset; detail is the rule's index */
    MPP_STEP_RELEASE,      /* init, parked: release received, and it fits the prepared sandbox */
    MPP_STEP_FORK,         /* init: fork the tool */
    MPP_STEP_LIMITS,       /* tool: one rlimit; detail is its index; or limits.count for init's own rlimit */
    MPP_STEP_STDIO,        /* tool: descriptors 0, 1, 2 */
    MPP_STEP_WATCH,        /* tool, traced: install the watching program, send its listener */
    MPP_STEP_SECCOMP,      /* tool: install the program */
    MPP_STEP_EXEC,         /* tool: execve of the entry */
    MPP_STEP_COUNT
};

/* Whether a sandbox is built on a ground (ground.c), or becomes one. */
enum mpp_on_ground {
    MPP_GROUND_NONE = 0,
    MPP_GROUND_THERE, /* the mounts that are the same for each call exist already; nothing of the host's tree does */
    MPP_GROUND_MADE   /* init builds those mounts, makes them unchangeable, reports MPP_REPORT_PARKED, and waits to be
                         killed */
};

/* A snapshot of a Python tool's process: its descriptor in the tool's process, and the description of one mapping. */
#define MPP_SNAPSHOT_FD 4
#define MPP_SNAPSHOT_RESTORED 1 /* the tool's process is restored from the snapshot */
#define MPP_SNAPSHOT_SAVED 2    /* the tool's process writes itself to the snapshot, and ends */
#define MPP_SNAPSHOT_REGIONS 4096

enum mpp_region_kind {
    MPP_REGION_ZERO = 1, /* nothing but zeros */
    MPP_REGION_SAVED,    /* contents from the snapshot */
    MPP_REGION_FILE,     /* contents of a file in the sandbox */
    MPP_REGION_VDSO,     /* the kernel's own code */
    MPP_REGION_VVAR      /* the data that the kernel's own code reads */
};

struct mpp_region {
    uint64_t start;
    uint64_t end;
    uint64_t offset; /* in the file, or in the snapshot */
    uint32_t kind;
    uint32_t protection;
    uint32_t file; /* offset of the file's path in the texts; in a snapshot, the index of the file */
    uint32_t unused;
};

enum mpp_entry_kind {
    MPP_ENTRY_DIR = 1, /* create the folder target with mode */
    MPP_ENTRY_FILE,    /* create target with data */
    MPP_ENTRY_LINK,    /* create a symbolic link at target to source */
    MPP_ENTRY_BIND,    /* bind source onto target */
    MPP_ENTRY_TMPFS,   /* mount a fresh tmpfs at target */
    MPP_ENTRY_HOLD     /* without namespaces: nothing is mounted; the rule of the same index is for this source */
};

#define MPP_ENTRY_EXISTS 1   /* the mount point exists already, inside an earlier mount */
#define MPP_ENTRY_IDMAP 2    /* bind: a host that is root maps exactly its own ids */
#define MPP_ENTRY_WRITABLE 4 /* bind: the host's ids may be mapped for writing */
#define MPP_ENTRY_OWNED 8    /* hold: a host that is root changes the owner of the source to the sandbox's id */
#define MPP_ENTRY_IMAGE 16   /* bind: the files of the launch's image, and nothing of the host; source is not opened */

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
    uint64_t device; /* bind: the device and inode that the source must have; the parent fills in both if inode is 0 */
    uint64_t inode;  /* init compares both again */
    uint64_t birth;  /* bind: birth time, ns since 1970, if the inode could have been reused; 0: not compared */
    int32_t tree;    /* filled in by the parent: index of the descriptor of a copy or a held source, else -1 */
    uint32_t is_dir; /* bind: filled in by the parent */
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

/* A granted port, and the address family that may be dialled on it. */
struct mpp_stream {
    uint32_t family; /* AF_INET, AF_INET6 */
    uint32_t port;
};

/* An address that was granted as an address. The sandbox assigns it to its own loopback interface, so a connection to
 * it stays inside. */
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
    uint32_t uid;             /* id inside the sandbox; without namespaces, filled in by the parent */
    uint32_t gid;
    uint32_t empty_groups; /* filled in by the parent: 1 if setgroups is allowed */
    uint32_t landlock;     /* 0: this plan was degraded to run without Landlock */
    uint32_t namespaces;   /* filled in by the parent: 0 if the sandbox has no namespaces of its own */
    uint32_t own_signals;  /* 1: a seccomp program lets the tool signal only itself */
    uint32_t parked;       /* filled in by the parent: 1 if the sandbox is prepared ahead of its call */
    uint32_t late;         /* index of the first entry that a parked sandbox gets only at its release */
    uint32_t ground;       /* filled in by the parent: enum mpp_on_ground */
    uint32_t early_start;  /* parked: 1: the tool is started before the release; 0: at the release */
    uint32_t processors;   /* the most processors that the tool may run on */
    uint32_t snapshot;     /* MPP_SNAPSHOT_*, with early_start: the use of the last descriptor; 0: no snapshot */
    uint32_t few_buffers;  /* 1: nothing counts the memory that connections hold, so the kernel has to bound it */
    uint32_t exec_path;
    uint32_t working_directory;
    uint32_t host_name;
    struct mpp_span entries; /* struct mpp_entry */
    struct mpp_span rules;   /* struct mpp_rule */
    struct mpp_span limits;  /* struct mpp_rlimit */
    struct mpp_span filter;  /* struct sock_filter of the tool, 8 bytes each */
    struct mpp_span guard;   /* struct sock_filter of init itself */
    struct mpp_span watch;   /* struct sock_filter of a traced call, in addition to filter; empty for any other call */
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

/* The reports of init, and of the tool's last steps, to the owner: one datagram each. */
enum mpp_report_kind {
    MPP_REPORT_NONE,
    MPP_REPORT_FAILED,
    MPP_REPORT_READY,
    MPP_REPORT_EXITED,
    MPP_REPORT_WATCHED, /* carries the seccomp listener of a traced tool */
    MPP_REPORT_PARKED,  /* everything that can be prepared before the release is prepared */
    MPP_REPORT_NETWORK  /* carries the sockets of a plan with streams; comes before MPP_REPORT_PARKED */
};

struct mpp_report {
    uint32_t kind;
    uint32_t step;
    int32_t error;
    uint32_t detail;
    int32_t status; /* as in wait(2) */
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
    MPP_STOP_BLIND,   /* the resource usage of the sandbox cannot be read */
    MPP_STOP_LOST,    /* init vanished without a report */
    MPP_STOP_WATCH,   /* the watcher of a traced call failed */
    MPP_STOP_HIDDEN,  /* without namespaces: the tool keeps deleted files, which nothing counts, by mapping them */
    MPP_STOP_ANSWERED /* the call has its answer: the dialogue says so, or a tool with `answers` wrote a line end */
};

/* One way to read a system call that a traced tool makes. A number may be in several rows (rename). */
struct mpp_watched {
    uint32_t number;
    int8_t path;   /* index of the argument that points to a path, -1 for none */
    int8_t folder; /* index of the argument that is the descriptor a relative path starts from, -1: working directory */
    int8_t word;   /* index of the argument to note as a number, -1 for none */
    uint8_t refuse; /* 1: always answered ENOSYS; 0: continues, since the ordinary program has already allowed it */
};

#define MPP_NOTES_MAX 4096     /* distinct accesses that are kept of one call; further ones are only counted */
#define MPP_NOTES_SIZE 1048576 /* bytes that the kept accesses may take */
#define MPP_NOTE_NO_FOLDER 1   /* a relative path whose folder could not be determined */

/* One access. It is followed by the folder that a relative path starts from and by the path, without NULs and padded to
 * 8 bytes. */
struct mpp_note {
    uint32_t row; /* index of struct mpp_watched */
    uint32_t flags;
    uint64_t word;
    uint32_t folder_size;
    uint32_t path_size;
};

/* An interpreter that is started before there is a call, and that sandboxes are copied from (template.c). Two threads
 * must not use it at the same time. */
struct mpp_template;

/* The mounts that are the same for each call of a plan, in namespaces of their own (ground.c). Any thread may use
 * it. */
struct mpp_ground;

/* The files of a package in memory, in namespaces of their own (image.c). Any thread may use it once it is sealed. */
struct mpp_image;

struct mpp_launch {
    const uint8_t *plan; /* struct mpp_plan with everything behind it */
    size_t plan_size;
    const uint8_t *request; /* the bytes that the tool reads from descriptor 0 */
    size_t request_size;
    int init_fd;             /* the init program, opened for reading */
    int cancel_fd;           /* stop the call when it is readable; -1 for none */
    int cgroup_fd;           /* folder of the cgroup that everything runs in; -1 for none */
    uint32_t outer_uid_base; /* root: the outer id is this plus the host pid of init; 0: self-map */
    uint32_t namespaces;     /* CLONE_NEW*: all of them, or 0 for the profile without namespaces */
    uint32_t dialogue;       /* 1: the host answers the tool's output while the tool runs; descriptor 0 stays open */
    uint64_t wall_ns;
    uint64_t cpu_us;
    uint64_t memory;        /* bytes over all processes, in addition to rlimit and cgroup */
    uint64_t output;        /* bytes of stdout + stderr */
    uint32_t processes;     /* besides RLIMIT_NPROC, which counts all of a user's processes without a user namespace */
    uint32_t watched_count; /* 0: the call is not traced */
    uint32_t parked;        /* 1: prepare only; plan, request and limits of the call come with mpp_unpark */
    uint32_t answers;       /* parked: 1: the call is over when the last byte on descriptor 1 is a line end */
    uint32_t alone;         /* 1: the tool cannot start a process, so nothing of it runs on once it is dead */
    const struct mpp_watched *watched;
    struct mpp_template *template;   /* NULL: init is a program of its own, and starts the tool by execve */
    const struct mpp_image *image;   /* source of the entries with MPP_ENTRY_IMAGE; NULL: there are no such entries */
    const struct mpp_ground *ground; /* the sandbox is built on it if it fits; NULL, or no fit: built from scratch */
    uint32_t grounds;                /* 1: no tool is started, see mpp_ground_make */
    int snapshot_fd;                 /* the file of the snapshot, for a plan with a snapshot; else -1 */
};

struct mpp_outcome {
    uint32_t step; /* MPP_STEP_NONE, or the step where the spawn failed */
    int32_t error; /* errno of that step */
    uint32_t detail;
    uint32_t stop;
    int32_t status;          /* wait(2) status of the tool, -1 if it never ran or was lost */
    uint32_t processes_peak; /* processes and threads seen at once; sampled */
    uint64_t user_us;
    uint64_t system_us;
    uint64_t resident_peak;    /* bytes */
    uint64_t memory_peak;      /* bytes, as the cgroup counts them; this and the next two are 0 without a cgroup */
    uint32_t memory_kills;     /* processes that the kernel killed at the cgroup's memory bound */
    uint32_t processes_denied; /* forks and threads refused at the cgroup's bound */
    uint64_t started_ns;       /* CLOCK_MONOTONIC stamps of the stages */
    uint64_t cloned_ns;
    uint64_t sent_ns;
    uint64_t ready_ns;
    uint64_t exited_ns;
    uint64_t stopped_ns; /* 0 if the supervisor stopped nothing */
    uint64_t reaped_ns;
    uint8_t *output; /* stdout, owned by the sandbox handle */
    size_t output_size;
    uint8_t *errors; /* stderr */
    size_t errors_size;
    uint8_t *notes; /* struct mpp_note, each once; owned by the sandbox handle */
    size_t notes_size;
    uint64_t notes_lost; /* number of accesses that were not kept */
    /* 1: the call is over, and the sandbox is killed but not reaped: mpp_left waits until none of its code runs. */
    uint32_t leaving;
    uint32_t copied;   /* 1: the sandbox is a copy of its template */
    uint32_t grounded; /* 1: the sandbox was built on the ground of its launch */
    uint32_t undead;   /* 1: the sandbox was killed, but the kernel held it longer than anybody waits */
};

struct mpp_sandbox;

/* Starts one invocation. Puts a handle into *slot and returns 0. On failure it returns 1: *slot is NULL, step and error
 * are filled in, and nothing is left behind. The caller owns the slot before the call, so no signal can lose the
 * handle. */
int mpp_spawn(const struct mpp_launch *launch, struct mpp_outcome *outcome, struct mpp_sandbox **slot);

/* Runs the sandbox to its end. Returns 0 when every process is dead and reaped and all output is read. If outcome says
 * leaving, the sandbox is not reaped yet; mpp_release reaps it. Returns EINTR when a signal arrived or may have
 * arrived, and after back_ms (1 to 100) at the latest: the caller lets its signal handlers run and then calls again, or
 * kills the sandbox. In a dialogue it also returns MPP_HEARD when the tool has written to descriptor 1; the next call
 * enforces the limits. */
#define MPP_HEARD 4096
int mpp_supervise(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome, uint32_t back_ms);

/* The dialogue of a sandbox that was launched with one (dialogue.c). mpp_heard returns the output since the last time,
 * or the next part of it; the data stays valid until mpp_supervise is called. mpp_say copies its data, and returns 0 or
 * an errno. */
#define MPP_HEARD_MOST 65536
size_t mpp_heard(struct mpp_sandbox *sandbox, const uint8_t **data);
int mpp_say(struct mpp_sandbox *sandbox, const uint8_t *data, size_t size);

/* While the caller works on what it heard, a thread enforces the limits, the deadline and cancel_fd (guard.c). The
 * thread kills the sandbox, and outcome says why. Until mpp_unguard, which may be called repeatedly, the caller must
 * not use the sandbox or the outcome, but it may release the sandbox. Returns 0, or an errno; after an errno nothing is
 * enforced. */
int mpp_guard(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome);
void mpp_unguard(struct mpp_sandbox *sandbox);

/* For a sandbox whose outcome says leaving: waits until none of the tool's code can run any more, and returns 1.
 * Returns 0 if that takes too long; then only mpp_release makes sure of it. Returns 1 for NULL. */
int mpp_left(struct mpp_sandbox *sandbox);

/* The dialogue is over: the next mpp_supervise ends the sandbox. */
void mpp_answered(struct mpp_sandbox *sandbox);

/* The state of a parked sandbox. */
enum mpp_parked {
    MPP_PARKED_PREPARING = 0,
    MPP_PARKED_READY,
    MPP_PARKED_ENDED, /* the sandbox failed, died or used too much; outcome says what is known; only release it */
    MPP_PARKED_HEARD  /* in a dialogue: the tool has written to descriptor 1, see mpp_heard */
};

/* Looks after a sandbox that was spawned parked: receives init's reports, reads the tool's output, and measures
 * resource usage. Waits up to wait_ms for the sandbox to be ready; 0 does not wait. May return early with
 * MPP_PARKED_PREPARING. */
enum mpp_parked mpp_park_look(struct mpp_sandbox *sandbox, struct mpp_outcome *outcome, int wait_ms);

/* For a sandbox that was parked with a dialogue: everything that had to be said before its call has been said, so the
 * sandbox is ready. */
void mpp_greeted(struct mpp_sandbox *sandbox);

/* The sockets that a sandbox with streams has made in its namespace, once it is ready: first one for names, which is
 * not bound, then one for each stream, which is bound but not listening. Puts them into *sockets and returns their
 * number. The sandbox owns them, and mpp_unpark closes them: whoever serves them must have copies by then. */
size_t mpp_sockets(const struct mpp_sandbox *sandbox, const int **sockets);

/* Returns the descriptor of the tool's folder in /proc, for a ready sandbox whose tool has only one process; else -1.
 * The sandbox owns the descriptor. */
int mpp_tool_folder(const struct mpp_sandbox *sandbox);

/* Writes data that is not a call to descriptor 0 of a ready sandbox, while the sandbox is looked after. The caller owns
 * the data, and keeps it until the sandbox ends. After this the sandbox can take no call. Returns 0, or EINVAL for a
 * sandbox that was told something already. */
int mpp_park_tell(struct mpp_sandbox *sandbox, const uint8_t *data, size_t size);

/* Gives a ready parked sandbox its call: from here on it is like a sandbox that was just spawned. Takes from launch
 * what a call brings: plan (the one it was parked with, with further entries at its end), request, cancel_fd, wall_ns,
 * dialogue. Returns 0; or 1 with step and error filled in: nothing of the call has reached the tool, and the caller
 * must release the sandbox. A sandbox that was released already (NULL) takes no call. */
int mpp_unpark(struct mpp_sandbox *sandbox, const struct mpp_launch *launch, struct mpp_outcome *outcome);

/* Kills every process of the sandbox and waits for none of them, since taking down what they wrote takes time. Returns
 * 1 once all of them are dead, else 0. Returns 1 for NULL. */
int mpp_kill(struct mpp_sandbox *sandbox);

/* Kills every process of the sandbox, reaps it, frees the handle with its buffers, and empties the slot. One call does
 * all of this, so that no signal can come in between. An empty slot is left alone. */
void mpp_release(struct mpp_sandbox **slot);

/* Starts the program at path without confinement, in the root folder. Its three standard descriptors are pipes with
 * nobody at the other end. Descriptor 3 is the template's socket. The held descriptors follow, and then a file of four
 * bytes in which the kernel notes each copy. The program ends with the thread that calls this. Puts a handle into *slot
 * and returns 0, or sets *slot to NULL and returns an errno. */
#define MPP_TEMPLATE_HELD 4
#define MPP_TEMPLATE_PROGRAM 6
#define MPP_TEMPLATE_NOTED 8
int mpp_template_start(const char *path, const char *const *argv, const char *const *envp, const int *held,
                       struct mpp_template **slot);

/* The template's size in bytes, and whether it can still make copies. */
uint64_t mpp_template_size(const struct mpp_template *template);
int mpp_template_serves(const struct mpp_template *template);

/* Ends and reaps the template, and empties the slot. The template's copies are not affected. An empty slot is left
 * alone. */
void mpp_template_close(struct mpp_template **slot);

/* Builds the ground of a launch's plan. Puts a handle into *slot and returns 0. On failure it returns 1: *slot is NULL,
 * step and error are filled in, and nothing is left behind. A ground has no process. It ends with mpp_ground_close or
 * with the host. */
int mpp_ground_make(const struct mpp_launch *launch, struct mpp_outcome *outcome, struct mpp_ground **slot);

/* Closes the ground, and empties the slot. Sandboxes that were built on it stay. An empty slot is left alone. */
void mpp_ground_close(struct mpp_ground **slot);

/* Makes an empty image of at most size bytes and inodes. Puts a handle into *slot and returns 0, or sets *slot to NULL
 * and returns an errno. An image has no process. It ends with its descriptors. */
int mpp_image_make(uint64_t size, uint64_t inodes, struct mpp_image **slot);

/* Copies count files and folders below an open folder. Their names follow one another, each ended by NUL. The contents
 * of a folder are copied only as far as they are named; the contents of a file are not examined. Follows no link.
 * Returns 0 or an errno; after an errno the image can only be closed. */
int mpp_image_fill(struct mpp_image *image, int folder, const char *names, size_t count);

/* Makes the whole image read-only, for everybody and for good. From then on its contents do not change. Returns 0 or an
 * errno. */
int mpp_image_seal(struct mpp_image *image);

/* The image's root folder, for reading. The image owns the descriptor. */
int mpp_image_folder(const struct mpp_image *image);

/* Puts a detached mount of the folder "files" of a sealed image into *tree. The mount has the given MOUNT_ATTR_* in
 * addition to those of every such mount. Returns 0 or an errno. */
int mpp_image_tree(const struct mpp_image *image, uint64_t attributes, int *tree);

/* Closes the image, and empties the slot. The image's mounts in sandboxes stay. An empty slot is left alone. */
void mpp_image_close(struct mpp_image **slot);

/* Clones a process that ends at once into the given namespaces and cgroup (-1: none). Returns 0, or the errno of
 * clone(2). */
int mpp_try_clone(uint32_t namespaces, int cgroup);

/* Landlock's ABI version (0 without Landlock) and its errata bits; -errno on a failure other than absence. */
int mpp_landlock_abi(void);
int mpp_landlock_errata(void);

/* Whether the kernel has seccomp filters with the given action: 1, 0, or -errno. */
int mpp_seccomp_action(uint32_t action);

/* What shows whether a file has changed: the status of the file itself, with links not followed. error is 0, or an
 * errno, and then the other fields are zero. */
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

/* Reads the identities of count files. Their names follow one another, each ended by NUL. A relative name is looked up
 * in folder. */
void mpp_look(int folder, const char *names, size_t count, struct mpp_identity *identities);

/* An alarm. mpp_alarm_open returns a descriptor that becomes readable (8 bytes) when its time has come, or -errno.
 * mpp_alarm_set sets the time, which wakes nobody before that time; it returns 0 or -errno. */
int mpp_alarm_open(void);
int mpp_alarm_set(int fd, uint64_t in_ns);

/* The size of the structure as compiled, for the test that the cdef agrees. */
size_t mpp_sizeof_plan(void);

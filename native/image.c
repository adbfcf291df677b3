/* The image of a package: its files in a tmpfs that nobody else can reach, and that nobody can write to once it is
 * sealed.
 *
 * The tmpfs is in a mount namespace of its own, owned by a user namespace of its own. Neither contains a process. The
 * descriptors that the host holds keep both alive, so they end with the host, however the host ends. Work inside them
 * is done by a child that enters them for a few system calls. The child runs on the host's memory (spawn.c says what
 * that forbids) and shares the host's descriptors, so the host has what the child opens. Each sandbox gets its own
 * mount of the files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

#define FILES "files" /* below the root of an image, as in an installed package (package/extract.py) */
#define ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define BLOCK 65536

struct mpp_image {
    int user;   /* the image's two namespaces */
    int mounts; /* nobody else may have these descriptors: who enters the namespaces could write to the sealed files */
    int root;   /* the root folder, as seen by the host */
    int sealed;
    dev_t device; /* of FILES, once the image is sealed */
    ino_t inode;
};

/* The visit of a child to the namespaces of an image. */
struct visit {
    const struct mpp_image *image;
    long (*work)(struct visit *);
    char size[24];
    char inodes[24];
    uint64_t attributes;
    volatile long opened; /* descriptor for the host, -1 for none */
    volatile long error;  /* 0, or -errno */
};

MPP_NEVER_RETURNS static int visit(void *shared)
{
    struct visit *visit = shared;
    long error = sys2(SYS_setns, visit->image->user, CLONE_NEWUSER);

    if (error == 0) error = sys2(SYS_setns, visit->image->mounts, CLONE_NEWNS);
    if (error == 0) error = visit->work(visit);
    visit->error = error;
    for (;;) sys1(SYS_exit_group, 0);
    return 0;
}

/* Returns 0, or an errno. */
static int send_in(struct visit *with)
{
    alignas(16) char stack[16384];
    int pidfd = -1;

    with->opened = -1;
    with->error = -EIO; /* the error if the child is killed on its way */
    if (mpp_clone(CLONE_VM | CLONE_VFORK | CLONE_FILES, -1, stack, sizeof stack, visit, with, &pidfd) < 0) return errno;
    mpp_await_child(&pidfd);
    if (with->error == 0) return 0;
    if (with->opened >= 0) close((int)with->opened);
    return (int)-with->error;
}

static long new_tmpfs(const struct visit *visit)
{
    const char *const options[][2] = { { "size", visit->size }, { "nr_inodes", visit->inodes }, { "mode", "0755" } };
    long fs = sys2(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */);
    long error = 0;
    long mount;

    if (fs < 0) return fs;
    for (size_t i = 0; i < sizeof options / sizeof options[0] && error == 0; i++)
        error = sys5(SYS_fsconfig, fs, MPP_FSCONFIG_SET_STRING, options[i][0], options[i][1], 0);
    if (error == 0) error = sys5(SYS_fsconfig, fs, MPP_FSCONFIG_CMD_CREATE, 0, 0, 0);
    mount = error == 0 ? sys3(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, ATTRIBUTES) : error;
    sys1(SYS_close, fs);
    return mount;
}

/* Replaces everything that was mounted in the copied namespace with an empty tmpfs: the namespace keeps no mount of the
 * host. */
MPP_NEVER_RETURNS static long build(struct visit *visit)
{
    long error = sys5(SYS_mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0);
    long mount = error < 0 ? error : new_tmpfs(visit);

    if (mount < 0) return mount;
    error = sys5(SYS_move_mount, mount, "", AT_FDCWD, "/", MPP_MOVE_MOUNT_F_EMPTY_PATH);
    if (error == 0) error = sys1(SYS_fchdir, mount);
    if (error == 0) error = sys2(SYS_pivot_root, ".", ".");
    if (error == 0) error = sys2(SYS_umount2, ".", MPP_MNT_DETACH); /* the host's tree, which lies on top */
    if (error == 0) {
        visit->opened = sys4(SYS_openat, mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (visit->opened < 0) error = visit->opened;
    }
    sys1(SYS_close, mount);
    return error;
}

/* Makes the whole file system read-only, not only this mount of it. EBUSY if somebody could still write. */
MPP_NEVER_RETURNS static long seal(struct visit *visit)
{
    (void)visit;
    return sys5(SYS_mount, 0, "/", 0, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, 0);
}

MPP_NEVER_RETURNS static long copy_tree(struct visit *visit)
{
    struct mpp_mount_attr attr = { visit->attributes | MOUNT_ATTR_RDONLY | ATTRIBUTES, 0, MS_PRIVATE, 0 };
    long tree = sys3(SYS_open_tree, AT_FDCWD, "/" FILES, MPP_OPEN_TREE_CLONE | O_CLOEXEC | AT_SYMLINK_NOFOLLOW);

    if (tree < 0) return tree;
    visit->opened = tree;
    return sys5(SYS_mount_setattr, tree, "", MPP_AT_EMPTY_PATH, &attr, sizeof attr);
}

static int open_namespace(pid_t pid, const char *name, int *fd)
{
    char path[40];

    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? errno : 0;
}

/* Makes the two namespaces. A process is in them just long enough for them to be opened. */
static int new_namespaces(struct mpp_image *image)
{
    alignas(16) char stack[4096];
    const struct mpp_ids ids = { 0, geteuid(), getegid(), 1, geteuid() != 0, 0 };
    pid_t owner = getpid();
    int pidfd = -1;
    int error;
    pid_t pid;

    pid = mpp_clone(CLONE_VM | CLONE_NEWUSER | CLONE_NEWNS, -1, stack, sizeof stack, mpp_wait_to_be_killed, &owner,
                    &pidfd);
    if (pid < 0) return errno;
    error = mpp_map_ids(-1, pid, pidfd, &ids);
    if (error == 0) error = open_namespace(pid, "user", &image->user);
    if (error == 0) error = open_namespace(pid, "mnt", &image->mounts);
    mpp_end_child(&pidfd);
    return error;
}

int mpp_image_make(uint64_t size, uint64_t inodes, struct mpp_image **slot)
{
    struct mpp_image *image = calloc(1, sizeof *image);
    struct visit with = { .image = image, .work = build };
    int error;

    *slot = NULL;
    if (image == NULL) return ENOMEM;
    image->user = image->mounts = image->root = -1;
    *slot = image;
    snprintf(with.size, sizeof with.size, "%llu", (unsigned long long)size);
    snprintf(with.inodes, sizeof with.inodes, "%llu", (unsigned long long)inodes);
    error = new_namespaces(image);
    if (error == 0) error = send_in(&with);
    if (error == 0) image->root = (int)with.opened;
    if (error != 0) mpp_image_close(slot);
    return error;
}

static int copy_contents(int from, int into, uint8_t *block)
{
    ssize_t got;

    while ((got = read(from, block, BLOCK)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        for (ssize_t done = 0; done < got;) {
            ssize_t written = write(into, block + done, (size_t)(got - done));

            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return errno;
            done += written;
        }
    }
    return 0;
}

static int copy_file(int from, int root, const char *name, const struct stat *seen, uint8_t *block)
{
    struct timespec times[2] = { seen->st_mtim, seen->st_mtim };
    int into = openat(root, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int error;

    if (into < 0) return errno;
    error = copy_contents(from, into, block);
    if (error == 0 && fchmod(into, seen->st_mode & 0777) < 0) error = errno;
    if (error == 0 && futimens(into, times) < 0) error = errno;
    if (close(into) < 0 && error == 0) error = errno;
    return error;
}

static int copy_one(int folder, int root, const char *name, uint8_t *block)
{
    struct mpp_open_how how = { O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0,
                                MPP_RESOLVE_BENEATH | MPP_RESOLVE_NO_SYMLINKS | MPP_RESOLVE_NO_MAGICLINKS };
    long from = sys4(SYS_openat2, folder, name, &how, sizeof how);
    struct stat seen;
    int error = 0;

    if (from < 0) return (int)-from;
    if (fstat((int)from, &seen) < 0)
        error = errno;
    else if (S_ISREG(seen.st_mode))
        error = copy_file((int)from, root, name, &seen, block);
    else if (!S_ISDIR(seen.st_mode))
        error = EINVAL;
    else if (mkdirat(root, name, 0700) < 0 || fchmodat(root, name, seen.st_mode & 0777, 0) < 0)
        error = errno;
    close((int)from);
    return error;
}

int mpp_image_fill(struct mpp_image *image, int folder, const char *names, size_t count)
{
    uint8_t *block = malloc(BLOCK);
    int error = block == NULL ? ENOMEM : 0;

    if (image->sealed) error = EROFS;
    for (size_t i = 0; i < count && error == 0; i++, names += strlen(names) + 1)
        error = copy_one(folder, image->root, names, block);
    free(block);
    return error;
}

int mpp_image_seal(struct mpp_image *image)
{
    struct visit with = { .image = image, .work = seal };
    int error = send_in(&with);
    struct stat seen;

    if (error != 0) return error;
    if (fstatat(image->root, FILES, &seen, AT_SYMLINK_NOFOLLOW) < 0) return errno;
    if (!S_ISDIR(seen.st_mode)) return ENOTDIR;
    image->device = seen.st_dev;
    image->inode = seen.st_ino;
    image->sealed = 1;
    return 0;
}

int mpp_image_folder(const struct mpp_image *image)
{
    return image->root;
}

int mpp_image_tree(const struct mpp_image *image, uint64_t attributes, int *tree)
{
    struct visit with = { .image = image, .work = copy_tree, .attributes = attributes };
    int error = image->sealed ? send_in(&with) : EINVAL;
    struct stat seen;

    *tree = -1;
    if (error != 0) return error;
    /* If the host has closed all descriptors, these numbers refer to other files. */
    if (fstat((int)with.opened, &seen) < 0) error = errno;
    if (error == 0 && (seen.st_dev != image->device || seen.st_ino != image->inode)) error = ESTALE;
    if (error != 0)
        close((int)with.opened);
    else
        *tree = (int)with.opened;
    return error;
}

void mpp_image_close(struct mpp_image **slot)
{
    struct mpp_image *image = *slot;

    *slot = NULL;
    if (image == NULL) return;
    mpp_close(&image->root);
    mpp_close(&image->mounts);
    mpp_close(&image->user);
    free(image);
}

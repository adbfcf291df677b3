/* Id maps: of a sandbox, and of the mounts that a host running as root gives to a sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.h"
#include "sys.h"

static int write_file(int directory, const char *name, const char *text)
{
    int fd = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t size = strlen(text);
    ssize_t written;
    int error = 0;

    if (fd < 0) return errno;
    written = write(fd, text, size); /* the kernel accepts a map only in one write */
    if (written < 0)
        error = errno;
    else if ((size_t)written != size)
        error = EIO;
    close(fd);
    return error;
}

/* user_namespaces(7): a host that is not root maps exactly its own id, and must give up setgroups first. */
int mpp_map_ids(int proc, pid_t pid, int pidfd, const struct mpp_ids *ids)
{
    struct pollfd alive = { .fd = pidfd, .events = POLLIN, .revents = 0 };
    char path[32];
    char host[2][32] = { "", "" }; /* two numbers of ten digits, and more */
    char line[72];
    int directory;
    int ready;
    int error = 0;

    if (ids->with_host) snprintf(host[0], sizeof host[0], "%u %u 1\n", ids->inside - 1, getegid());
    if (ids->with_host) snprintf(host[1], sizeof host[1], "%u %u 1\n", ids->inside - 1, geteuid());
    snprintf(path, sizeof path, "%s%d", proc < 0 ? "/proc/" : "", (int)pid);
    directory = openat(proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return errno;
    /* If the process is alive after the folder was opened, the folder belongs to it, and not to a later process that
     * reuses its pid. */
    while ((ready = poll(&alive, 1, 0)) < 0 && errno == EINTR) continue; /* by a signal, even without a wait */
    if (ready != 0) error = ESRCH;
    if (error == 0 && ids->self_map) error = write_file(directory, "setgroups", "deny");
    snprintf(line, sizeof line, "%s%u %u %u\n", host[0], ids->inside, ids->outer_gid, ids->count);
    if (error == 0) error = write_file(directory, "gid_map", line);
    snprintf(line, sizeof line, "%s%u %u %u\n", host[1], ids->inside, ids->outer_uid, ids->count);
    if (error == 0) error = write_file(directory, "uid_map", line);
    close(directory);
    return error;
}

/* Makes a user namespace that exists only to define how ids on disk appear through a mount (mount_setattr(2),
 * MOUNT_ATTR_IDMAP). The host's own id appears as the sandbox's outer id, and every other id as nobody. */
int mpp_idmap_namespace(uint32_t inside_uid, uint32_t inside_gid, uint32_t outer, int *namespace_fd)
{
    alignas(16) static _Thread_local char stack[4096];
    char path[40];
    char line[48];
    int pidfd = -1;
    int directory;
    int error = 0;
    pid_t owner = getpid();
    pid_t pid;

    *namespace_fd = -1;
    pid = mpp_clone(CLONE_VM | CLONE_NEWUSER, -1, stack, sizeof stack, mpp_wait_to_be_killed, &owner, &pidfd);
    if (pid < 0) return errno;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) error = errno;
    snprintf(line, sizeof line, "%u %u 1\n", inside_gid, outer);
    if (error == 0) error = write_file(directory, "gid_map", line);
    snprintf(line, sizeof line, "%u %u 1\n", inside_uid, outer);
    if (error == 0) error = write_file(directory, "uid_map", line);
    if (error == 0) {
        *namespace_fd = openat(directory, "ns/user", O_RDONLY | O_CLOEXEC);
        if (*namespace_fd < 0) error = errno;
    }
    if (directory >= 0) close(directory);
    mpp_end_child(&pidfd);
    return error;
}

/* The watcher of a traced call: reads the system calls that the tool makes, and notes them.
 *
 * The watcher grants nothing. The kernel asks it only about system calls that every other seccomp program of the tool
 * has let through. A system call that the watcher lets continue is still subject to the mounts, Landlock and limits
 * that apply without tracing. A path in the tool's memory may change right after it is read (TOCTOU), so a note is a
 * hint for people, and no decision depends on it. The few marked system call numbers are refused whatever their
 * arguments are, and so is a number that is in no row. If nobody listens any more, the kernel refuses all of them
 * (seccomp_unotify(2)).
 *
 * The tool chooses the number of its system calls, the number of its threads, and its pointers. A pointer may point
 * into a granted file on a file system that does not answer, and whoever reads there waits as long as the file system
 * does. So the amount that is kept is bounded, and the work is done by a thread that nothing waits for: neither the
 * deadline nor the end of the call. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "sandbox.h"
#include "sys.h"

#define PLACES (2 * MPP_NOTES_MAX)
#define PATIENCE_NS 200000000l /* for the thread once the tool is dead; a thread that waits for memory is left alone */
#define SECOND_NS 1000000000l
#define PAGE 4096u /* no architecture has smaller pages, so a read within one page faults as a whole or not at all */

/* The kernel copies structures of its own size, which may have grown since this code was compiled. */
union request {
    struct seccomp_notif notif;
    uint8_t room[512];
};

union answer {
    struct seccomp_notif_resp resp;
    uint8_t room[512];
};

struct mpp_watcher {
    struct mpp_watched *rows; /* the watcher's own copy: the thread may live longer than the call */
    uint32_t row_count;
    pid_t owner;
    pthread_t thread;
    int runs;    /* the thread was started */
    int failure; /* eventfd: the watcher cannot go on */
    int wake;    /* eventfd that tells the thread that the call is over */
    int listener;
    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t turn;
    int ended;     /* the thread has ended */
    int closed;    /* nothing is noted any more */
    int abandoned; /* the thread frees the watcher */
    struct mpp_buffer notes;
    uint32_t count;
    uint64_t lost;
    uint32_t places[PLACES]; /* offset of a note plus 1; open addressing */
};

static void destroy(struct mpp_watcher *watcher)
{
    mpp_close(&watcher->listener);
    mpp_close(&watcher->failure);
    mpp_close(&watcher->wake);
    pthread_cond_destroy(&watcher->turn);
    pthread_mutex_destroy(&watcher->lock);
    free(watcher->notes.data);
    free(watcher->rows);
    free(watcher);
}

static void tell(int event)
{
    while (eventfd_write(event, 1) < 0 && errno == EINTR) continue;
}

int mpp_watcher_open(struct mpp_sandbox *sandbox)
{
    uint32_t count = sandbox->launch.watched_count;
    struct seccomp_notif_sizes sizes;
    struct mpp_watcher *watcher;
    pthread_condattr_t clock;
    long error;

    if (count == 0) return 0;
    error = sys3(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
    if (error < 0) return (int)-error;
    if (sizes.seccomp_notif > sizeof(union request) || sizes.seccomp_notif_resp > sizeof(union answer))
        return EOVERFLOW;
    watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL) return ENOMEM;
    pthread_mutex_init(&watcher->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&watcher->turn, &clock);
    pthread_condattr_destroy(&clock);
    watcher->owner = getpid();
    watcher->listener = -1;
    watcher->failure = eventfd(0, EFD_CLOEXEC);
    watcher->wake = eventfd(0, EFD_CLOEXEC);
    sandbox->watcher = watcher; /* it is closed with the sandbox, even if a part of it is missing */
    if (watcher->failure < 0 || watcher->wake < 0) return errno;
    watcher->rows = malloc(count * sizeof *watcher->rows);
    if (watcher->rows == NULL) return ENOMEM;
    memcpy(watcher->rows, sandbox->launch.watched, count * sizeof *watcher->rows);
    watcher->row_count = count;
    return 0;
}

int mpp_watcher_fd(const struct mpp_watcher *watcher)
{
    return watcher != NULL ? watcher->failure : -1;
}

int mpp_watcher_wants(const struct mpp_watcher *watcher)
{
    return watcher != NULL && !watcher->runs;
}

/* Waits a short time for the thread to end. Its tool is dead. */
static void settle(struct mpp_watcher *watcher)
{
    struct timespec until;

    if (!watcher->runs || watcher->closed) return;
    tell(watcher->wake);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_NS;
    if (until.tv_nsec >= SECOND_NS) {
        until.tv_nsec -= SECOND_NS;
        until.tv_sec++;
    }
    pthread_mutex_lock(&watcher->lock);
    while (!watcher->ended && pthread_cond_timedwait(&watcher->turn, &watcher->lock, &until) == 0) continue;
    watcher->closed = 1;
    pthread_mutex_unlock(&watcher->lock);
}

void mpp_watcher_tell(struct mpp_watcher *watcher, struct mpp_outcome *outcome)
{
    if (watcher == NULL) return;
    settle(watcher);
    outcome->notes = watcher->notes.data;
    outcome->notes_size = watcher->notes.size;
    outcome->notes_lost = watcher->lost;
}

void mpp_watcher_close(struct mpp_watcher **slot)
{
    struct mpp_watcher *watcher = *slot;
    int abandoned = 0;

    *slot = NULL;
    if (watcher == NULL) return;
    /* A child of the host does not have the thread, and the lock may be held for ever there. */
    if (watcher->runs && watcher->owner != getpid()) {
        mpp_close(&watcher->listener);
        mpp_close(&watcher->failure);
        mpp_close(&watcher->wake);
        return;
    }
    settle(watcher);
    if (watcher->runs) {
        pthread_mutex_lock(&watcher->lock);
        abandoned = watcher->abandoned = !watcher->ended;
        if (abandoned) pthread_detach(watcher->thread);
        pthread_mutex_unlock(&watcher->lock);
        if (abandoned) return;
        pthread_join(watcher->thread, NULL);
    }
    destroy(watcher);
}

static uint64_t hash_of(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static size_t note_size(const struct mpp_note *note)
{
    return sizeof *note + padded((size_t)note->folder_size + note->path_size);
}

/* Keeps a finished note unless it is known already or there is no room. Returns 0, or -1 if there is no memory. */
static int keep_made(struct mpp_watcher *watcher, const uint8_t *made, size_t size)
{
    uint32_t place = (uint32_t)(hash_of(made, size) % PLACES);

    /* There are twice as many places as notes, so the search ends. */
    for (; watcher->places[place] != 0; place = (place + 1) % PLACES) {
        const uint8_t *known = watcher->notes.data + watcher->places[place] - 1;
        if (note_size((const void *)known) == size && memcmp(known, made, size) == 0) return 0;
    }
    if (watcher->count == MPP_NOTES_MAX || watcher->notes.size + size > MPP_NOTES_SIZE) {
        watcher->lost++;
        return 0;
    }
    if (watcher->notes.room - watcher->notes.size < size) {
        size_t room = watcher->notes.room > 0 ? watcher->notes.room * 2 : 65536;
        uint8_t *data = realloc(watcher->notes.data, room);
        if (data == NULL) return -1;
        watcher->notes.data = data;
        watcher->notes.room = room;
    }
    memcpy(watcher->notes.data + watcher->notes.size, made, size);
    watcher->places[place] = (uint32_t)watcher->notes.size + 1;
    watcher->notes.size += size;
    watcher->count++;
    return 0;
}

static int keep(struct mpp_watcher *watcher, const struct mpp_note *note, const char *folder, const char *path)
{
    uint8_t made[sizeof *note + 2 * PATH_MAX + 8] = { 0 };
    int kept;

    memcpy(made, note, sizeof *note);
    memcpy(made + sizeof *note, folder, note->folder_size);
    memcpy(made + sizeof *note + note->folder_size, path, note->path_size);
    pthread_mutex_lock(&watcher->lock);
    kept = watcher->closed ? 0 : keep_made(watcher, made, note_size(note));
    pthread_mutex_unlock(&watcher->lock);
    return kept;
}

/* Reads a path from the tool's memory, up to its NUL. Returns its length, or -EFAULT where the tool's pointer is
 * bad or the path too long (the kernel will say so), -ESRCH where the thread is gone, another -errno on a
 * failure that is ours. */
static int read_path(pid_t thread, uint64_t address, char *path)
{
    size_t size = 0;

    while (size < PATH_MAX) {
        size_t wanted = PAGE - (size_t)((address + size) % PAGE);
        struct iovec to = { path + size, 0 };
        struct iovec from = { (void *)(uintptr_t)(address + size), 0 }; // NOLINT(performance-no-int-to-ptr)
        const char *end;
        ssize_t got;

        if (wanted > PATH_MAX - size) wanted = PATH_MAX - size;
        to.iov_len = from.iov_len = wanted;
        got = process_vm_readv(thread, &to, 1, &from, 1, 0);
        if (got < 0) return -errno;
        if (got == 0) return -EFAULT;
        end = memchr(path + size, 0, (size_t)got);
        if (end != NULL) return (int)(end - path);
        size += (size_t)got;
    }
    return -EFAULT;
}

/* Reads the folder that a relative path of the thread starts from, as the thread would name it: the path is relative to
 * the thread's own root, since none of its mounts lies below a mount of this process. Returns the path's length, or 0
 * if it cannot be determined. */
static uint32_t folder_of(pid_t thread, int descriptor, char *folder)
{
    char link[64];
    ssize_t size;

    if (descriptor == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/%d/cwd", (int)thread);
    else
        snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)thread, descriptor);
    size = readlink(link, folder, PATH_MAX);
    return size > 0 && size < PATH_MAX && folder[0] == '/' ? (uint32_t)size : 0;
}

/* Makes the note that one row asks for. Returns 0, or -1 if the watcher cannot go on. */
static int note_row(struct mpp_watcher *watcher, const struct seccomp_notif *call, uint32_t row)
{
    const struct mpp_watched *how = &watcher->rows[row];
    struct mpp_note note = { .row = row };
    char folder[PATH_MAX];
    char path[PATH_MAX];

    if (how->word >= 0) note.word = call->data.args[how->word];
    if (how->path >= 0) {
        pid_t thread = (pid_t)call->pid;
        int size = read_path(thread, call->data.args[how->path], path);

        if (size == -EFAULT || size == -ESRCH || size == 0) return 0; /* no path that the kernel would look up */
        if (size < 0) return -1;
        note.path_size = (uint32_t)size;
        if (path[0] != '/') {
            int descriptor = how->folder >= 0 ? (int)(uint32_t)call->data.args[how->folder] : AT_FDCWD;
            note.folder_size = folder_of(thread, descriptor, folder);
            if (note.folder_size == 0) note.flags |= MPP_NOTE_NO_FOLDER;
        }
        /* The thread may be gone and its id reused. The path was read from the right thread only if that thread still
         * waits for the answer. */
        if (ioctl(watcher->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) < 0) return errno == ENOENT ? 0 : -1;
    }
    return keep(watcher, &note, folder, path);
}

/* Handles one system call. Returns 1, or 0 if there is none to handle, or -1 if the watcher cannot go on. */
static int attend_one(struct mpp_watcher *watcher)
{
    union request request;
    union answer answer;
    int known = 0;
    int refuse = 0;

    memset(&request, 0, sizeof request);
    if (ioctl(watcher->listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
        return errno == ENOENT || errno == EINTR || errno == EAGAIN ? 0 : -1;
    for (uint32_t row = 0; row < watcher->row_count; row++) {
        if (watcher->rows[row].number != (uint32_t)request.notif.data.nr) continue;
        known = 1;
        if (watcher->rows[row].refuse) refuse = 1;
        if (note_row(watcher, &request.notif, row) < 0) return -1;
    }
    memset(&answer, 0, sizeof answer);
    answer.resp.id = request.notif.id;
    answer.resp.error = -ENOSYS;
    if (known && !refuse) {
        answer.resp.error = 0;
        answer.resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    }
    if (ioctl(watcher->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 && errno != ENOENT) return -1;
    return known ? 1 : -1; /* -1: nobody asked for notifications of this call, so the program and the rows disagree */
}

/* Returns 1 while there may be more to do, 0 if no process is left that could ask or the call is over, and -1 if the
 * watcher cannot go on. */
static int attend(struct mpp_watcher *watcher)
{
    struct pollfd waited[] = { { .fd = watcher->listener, .events = POLLIN },
                               { .fd = watcher->wake, .events = POLLIN } };

    if (poll(waited, sizeof waited / sizeof waited[0], -1) < 0) return errno == EINTR ? 1 : -1;
    if (waited[1].revents != 0) return 0;
    if ((waited[0].revents & (POLLERR | POLLNVAL)) != 0) return -1;
    if ((waited[0].revents & POLLIN) == 0) return 0; /* every process that could have asked is dead */
    return attend_one(watcher) < 0 ? -1 : 1;
}

static void *watch(void *given)
{
    struct mpp_watcher *watcher = given;
    int abandoned;
    int state;

    do state = attend(watcher);
    while (state > 0);
    /* If the watcher cannot go on, a tool thread that has asked waits for the answer, and is killed. */
    if (state < 0)
        tell(watcher->failure);
    else
        mpp_close(&watcher->listener);
    pthread_mutex_lock(&watcher->lock);
    watcher->ended = 1;
    abandoned = watcher->abandoned;
    pthread_cond_signal(&watcher->turn);
    pthread_mutex_unlock(&watcher->lock);
    if (abandoned) destroy(watcher);
    return NULL;
}

int mpp_watcher_take(struct mpp_watcher *watcher, int fd)
{
    int error;

    watcher->listener = fd;
    error = mpp_thread(&watcher->thread, watch, watcher);
    if (error != 0) watcher->listener = -1;
    watcher->runs = error == 0;
    return error;
}

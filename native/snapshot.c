/* _snapshot: with it a Python tool's process writes a snapshot of itself when it has imported the tool (restore.c
 * restores the process).
 *
 * It runs inside the sandbox, confined like any tool, and has no right that a tool does not have. The list of the
 * process's mappings comes from the host, since there is no /proc inside. Uses CPython's limited API (3.11): one build
 * serves every interpreter. */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot.h"
#include "sys.h"

#define MARK "\n"
#define HOLE 16 /* number of consecutive zero pages that are worth a mapping of their own */

extern const uint32_t _thread_db_pthread_tid[3] __attribute__((weak)); /* bits, count, offset in struct pthread */

struct request {
    uint32_t region_count;
    uint32_t text_size;
    struct mpp_region regions[MPP_SNAPSHOT_REGIONS];
    char text[MPP_SNAPSHOT_TEXT];
};

struct room {
    struct request request;
    struct mpp_snapshot saved;
};

/* Like setjmp(3), but without hidden contents. Returns 0, and returns 1 in the restored process. */
__attribute__((returns_twice, visibility("hidden"))) long save_registers(struct mpp_registers *registers);
__asm__(".text\n.globl save_registers\n.hidden save_registers\n.type save_registers,@function\nsave_registers:\n"
        "\tmov %rbx,0(%rdi)\n\tmov %rbp,8(%rdi)\n\tmov %r12,16(%rdi)\n\tmov %r13,24(%rdi)\n\tmov %r14,32(%rdi)\n"
        "\tmov %r15,40(%rdi)\n\tlea 8(%rsp),%rdx\n\tmov %rdx,48(%rdi)\n\tmov (%rsp),%rdx\n\tmov %rdx,56(%rdi)\n"
        "\tstmxcsr 64(%rdi)\n\tfnstcw 68(%rdi)\n\txor %eax,%eax\n\tret\n");

static long receive(void *into, size_t size)
{
    uint8_t *at = into;

    while (size > 0) {
        long got = sys3(SYS_read, 0, at, size);

        if (got <= 0) return got == 0 ? -EPIPE : got;
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

/* Asks the host for the list of mappings. The mark says that this process maps nothing from here on. */
static long ask(int result, struct request *request)
{
    long error = sys3(SYS_write, result, MARK, 1) == 1 ? 0 : -EIO;

    if (error == 0) error = receive(request, 2 * sizeof(uint32_t));
    if (error != 0) return error;
    if (request->region_count > MPP_SNAPSHOT_REGIONS || request->text_size == 0 ||
        request->text_size > MPP_SNAPSHOT_TEXT)
        return -EPROTO;
    error = receive(request->regions, request->region_count * sizeof request->regions[0]);
    if (error == 0) error = receive(request->text, request->text_size);
    if (error == 0 && request->text[request->text_size - 1] != '\0') error = -EPROTO;
    return error;
}

static long save_thread(struct mpp_snapshot *saved)
{
    long error = sys2(SYS_arch_prctl, ARCH_GET_FS, &saved->thread_pointer);

    if (_thread_db_pthread_tid == NULL || _thread_db_pthread_tid[0] != 32) return -ENOTSUP;
    saved->tid = saved->thread_pointer + _thread_db_pthread_tid[2];
    if (error == 0 && *(int32_t *)(uintptr_t)saved->tid != sys0(SYS_gettid)) error = -ENOTSUP;
    /* The C library's layout: the head of the robust list is behind the thread id and the pointer to the previous
     * entry. */
    saved->robust_list = saved->tid + 16;
    if (*(uint64_t *)(uintptr_t)saved->robust_list != saved->robust_list) error = -ENOTSUP;
    saved->rseq = __rseq_size == 0 ? 0 : saved->thread_pointer + (uint64_t)__rseq_offset;
    saved->rseq_size = 32;
    saved->random = getauxval(AT_RANDOM);
    for (int number = 1; error == 0 && number <= MPP_SNAPSHOT_SIGNALS; number++)
        error = sys4(SYS_rt_sigaction, number, 0, &saved->actions[number], 8);
    if (error == 0) error = sys4(SYS_rt_sigprocmask, 0, 0, &saved->blocked, 8);
    if (error == 0) error = sys5(SYS_prctl, PR_GET_NAME, saved->name, 0, 0, 0);
    return error;
}

/* Returns the index of the file at a path of the request, or -errno. The paths are those of saved->text. */
static long file_at(struct mpp_snapshot *saved, uint32_t path)
{
    struct mpp_saved_file *file = &saved->files[saved->file_count];
    struct stat found;

    for (uint32_t i = 0; i < saved->file_count; i++)
        if (saved->files[i].path == path) return (long)i;
    if (saved->file_count == MPP_SNAPSHOT_FILES || path >= saved->text_size) return -E2BIG;
    if (stat(saved->text + path, &found) != 0) return -errno;
    file->device = found.st_dev;
    file->inode = found.st_ino;
    file->size = (uint64_t)found.st_size;
    file->modified_s = (uint64_t)found.st_mtim.tv_sec;
    file->modified_ns = (uint64_t)found.st_mtim.tv_nsec;
    file->path = path;
    return (long)saved->file_count++;
}

static long add(struct mpp_snapshot *saved, const struct mpp_region *region)
{
    if (saved->region_count == MPP_SNAPSHOT_REGIONS) return -E2BIG;
    saved->regions[saved->region_count++] = *region;
    return 0;
}

static int is_zero(uint64_t page)
{
    const uint64_t *word = (const void *)(uintptr_t)page;

    for (size_t i = 0; i < MPP_SNAPSHOT_PAGE / sizeof *word; i++)
        if (word[i] != 0) return 0;
    return 1;
}

static long write_pages(uint64_t start, uint64_t end, uint64_t at)
{
    while (start < end) {
        long wrote = sys4(SYS_pwrite64, MPP_SNAPSHOT_FD, start, end - start, at);

        if (wrote <= 0) return wrote == 0 ? -EIO : wrote;
        start += (uint64_t)wrote;
        at += (uint64_t)wrote;
    }
    return 0;
}

/* Writes a region in pieces. Long runs of zero pages are not written. */
static long save_region(struct mpp_snapshot *saved, const struct mpp_region *region, uint64_t *end_of_file)
{
    uint64_t piece = region->start;
    uint64_t at = region->start;
    long error = 0;

    while (error == 0 && piece < region->end) {
        uint64_t zeros = at;
        struct mpp_region part = *region;

        while (zeros < region->end && is_zero(zeros)) zeros += MPP_SNAPSHOT_PAGE;
        if (zeros < region->end && zeros - at < HOLE * MPP_SNAPSHOT_PAGE) {
            at = zeros + MPP_SNAPSHOT_PAGE; /* too few zero pages, followed by a page that is not zero */
            if (at < region->end) continue;
            zeros = at;
        }
        part.start = piece;
        part.end = at;
        part.kind = MPP_REGION_SAVED;
        part.offset = *end_of_file;
        if (part.start < part.end) {
            error = write_pages(part.start, part.end, part.offset);
            *end_of_file += part.end - part.start;
            if (error == 0) error = add(saved, &part);
        }
        part.start = at;
        part.end = zeros;
        part.kind = MPP_REGION_ZERO;
        part.offset = 0;
        if (error == 0 && part.start < part.end) error = add(saved, &part);
        piece = at = zeros;
    }
    return error;
}

static long save_all(struct room *room)
{
    struct mpp_snapshot *saved = &room->saved;
    uint64_t end_of_file = (sizeof *saved + MPP_SNAPSHOT_PAGE - 1) & ~(MPP_SNAPSHOT_PAGE - 1);
    long error = save_thread(saved);

    saved->magic = MPP_SNAPSHOT_MAGIC;
    saved->text_size = room->request.text_size;
    memcpy(saved->text, room->request.text, saved->text_size);
    for (uint32_t i = 0; error == 0 && i < room->request.region_count; i++) {
        struct mpp_region region = room->request.regions[i];

        if (region.start == (uint64_t)(uintptr_t)room) continue; /* exists only for saving */
        if (region.kind == MPP_REGION_SAVED) {
            error = save_region(saved, &region, &end_of_file);
            continue;
        }
        if (region.kind == MPP_REGION_FILE) {
            long file = file_at(saved, region.file);

            if (file < 0) error = file;
            region.file = (uint32_t)file;
        }
        if (error == 0) error = add(saved, &region);
    }
    if (error == 0) error = write_pages((uint64_t)(uintptr_t)saved, (uint64_t)(uintptr_t)(saved + 1), 0);
    return error;
}

/* Ends the threads of libraries. A library that keeps threads ends them before a process is forked, and starts them
 * again when it needs them. It does not matter to the library whether the fork succeeds, and it fails: no profile
 * allows it. */
static void end_threads(void)
{
    if (fork() == 0) _exit(1);
}

static PyObject *save(PyObject *module, PyObject *argument)
{
    int result = (int)PyLong_AsLong(argument);
    struct room *room;
    long error;

    (void)module;
    if (PyErr_Occurred() != NULL) return NULL;
    PyOS_BeforeFork();
    end_threads();
    /* An inaccessible page on both sides keeps it a separate mapping. */
    room = mmap(NULL, sizeof *room + 2 * MPP_SNAPSHOT_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
    if (room != MAP_FAILED) room = (void *)((uint8_t *)room + MPP_SNAPSHOT_PAGE);
    if (room == MAP_FAILED || mprotect(room, sizeof *room, PROT_READ | PROT_WRITE) != 0) _exit(1);
    if (ask(result, &room->request) != 0) _exit(1);
    if (save_registers(&room->saved.registers) == 0) {
        error = save_all(room);
        _exit(error == 0 ? 0 : 2);
    }
    /* From here on this is another process, at another time. The kernel has its own end of the heap for it. */
    brk(NULL);
    PyOS_AfterFork_Child();
    if (PyErr_Occurred() != NULL) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    { "save", save, METH_O,
      "save(result: int) -> None: write this process to descriptor 4, and end. Returns in what becomes of that." },
    { NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "_snapshot", NULL, 0, methods, NULL, NULL, NULL, NULL };

PyMODINIT_FUNC PyInit__snapshot(void);

PyMODINIT_FUNC PyInit__snapshot(void)
{
    return PyModuleDef_Init(&definition);
}

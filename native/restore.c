/* Restores a saved process (snapshot.h). It is a program of its own, without a C library. It is executed instead of an
 * interpreter, when the sandbox around it is complete and confined.
 *
 * A tool wrote the snapshot, so this program does not trust it. Every mapping is made where nothing is mapped yet, and
 * of something that this process may map anyway. Anything that does not fit ends the process. Before it reads the first
 * byte of the snapshot, the program takes away from itself the rights that the launcher takes away before it loads a
 * tool. */
#include <asm/prctl.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <linux/auxvec.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "kernel.h"
#include "snapshot.h"
#include "sys.h"

#define PROGRAM 0x600000000000ull /* address of this program (setup.py) */
#define HEADER 0x600100000000ull  /* address of the header: beside the program, where nothing else is mapped */
#define SEAL "/mpp/seal.bpf"
#define SEAL_SIZE 32768
#define STACK_SIZE 16384
#define STACK_UNMAPPED (1ull << 20)
#define RSEQ_SIGNATURE 0x53053053

enum failure { NO_SEAL = 101, NO_HEADER, NOT_SOUND, NOT_MOVED, NO_FILE, OTHER_FILE, NOT_MAPPED, NOT_SET };

__attribute__((used, visibility("hidden"), aligned(16))) uint8_t restore_stack[STACK_SIZE];
static uint8_t seal_program[SEAL_SIZE] __attribute__((aligned(8)));

static _Noreturn void leave(enum failure why)
{
    for (;;) sys1(SYS_exit_group, why);
}

static void seal(void)
{
    struct sock_fprog program;
    long file = sys4(SYS_openat, AT_FDCWD, SEAL, O_RDONLY | O_CLOEXEC, 0);
    long size = file < 0 ? file : sys3(SYS_read, file, seal_program, sizeof seal_program);

    if (size <= 0 || size % 8 != 0 || size == SEAL_SIZE) leave(NO_SEAL);
    program.len = (unsigned short)(size / 8);
    program.filter = (void *)seal_program;
    if (sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) leave(NO_SEAL);
    sys1(SYS_close, file);
}

static long map(uint64_t start, uint64_t end, uint32_t protection, long flags, long file, uint64_t offset)
{
    long address = sys6(SYS_mmap, (long)start, (long)(end - start), protection,
                        MAP_PRIVATE | MAP_FIXED_NOREPLACE | flags, file, (long)offset);

    return address == (long)start ? 0 : -1;
}

static const struct mpp_snapshot *read_header(void)
{
    const struct mpp_snapshot *saved = (const void *)HEADER;

    if (map(HEADER, HEADER + sizeof *saved, PROT_READ, 0, MPP_SNAPSHOT_FD, 0) != 0) leave(NO_HEADER);
    if (saved->magic != MPP_SNAPSHOT_MAGIC || saved->region_count > MPP_SNAPSHOT_REGIONS ||
        saved->file_count > MPP_SNAPSHOT_FILES || saved->text_size == 0 || saved->text_size > MPP_SNAPSHOT_TEXT ||
        saved->text[saved->text_size - 1] != '\0')
        leave(NOT_SOUND);
    return saved;
}

/* Moves the vDSO and vvar pages, which tell the time without a system call, to their saved addresses, so that pointers
 * into them stay valid. */
static void move_kernel_pages(const struct mpp_snapshot *saved, uint64_t vdso)
{
    uint64_t was = 0;

    for (uint32_t i = 0; i < saved->region_count; i++)
        if (saved->regions[i].kind == MPP_REGION_VDSO) was = saved->regions[i].start;
    for (uint32_t i = 0; i < saved->region_count; i++) {
        const struct mpp_region *region = &saved->regions[i];

        if (region->kind != MPP_REGION_VDSO && region->kind != MPP_REGION_VVAR) continue;
        if (was == 0 || vdso == 0) leave(NOT_MOVED);
        /* Moving pages there would unmap this program, which has a descriptor that no tool may have. */
        if (region->start >= region->end || (region->start < HEADER + sizeof *saved && region->end > PROGRAM))
            leave(NOT_SOUND);
        if (sys5(SYS_mremap, vdso + region->start - was, region->end - region->start, region->end - region->start,
                 MREMAP_MAYMOVE | MREMAP_FIXED, region->start) != (long)region->start)
            leave(NOT_MOVED);
    }
}

static long open_file(const struct mpp_snapshot *saved, uint32_t index)
{
    const struct mpp_saved_file *file;
    struct stat found;
    long descriptor;

    if (index >= saved->file_count || saved->files[index].path >= saved->text_size) leave(NOT_SOUND);
    file = &saved->files[index];
    descriptor = sys4(SYS_openat, AT_FDCWD, saved->text + file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (descriptor < 0 || sys2(SYS_fstat, descriptor, &found) != 0) leave(NO_FILE);
    if (found.st_dev != file->device || found.st_ino != file->inode || (uint64_t)found.st_size != file->size ||
        found.st_mtime != file->modified_s || found.st_mtime_nsec != file->modified_ns)
        leave(OTHER_FILE);
    return descriptor;
}

static void map_regions(const struct mpp_snapshot *saved)
{
    uint32_t opened = UINT32_MAX;
    long file = -1;

    for (uint32_t i = 0; i < saved->region_count; i++) {
        const struct mpp_region *region = &saved->regions[i];
        long error = 0;

        if (region->start >= region->end) leave(NOT_SOUND);
        if (region->kind == MPP_REGION_FILE && region->file != opened) {
            if (file >= 0) sys1(SYS_close, file);
            file = open_file(saved, region->file);
            opened = region->file;
        }
        if (region->kind == MPP_REGION_FILE)
            error = map(region->start, region->end, region->protection, 0, file, region->offset);
        else if (region->kind == MPP_REGION_SAVED)
            error = map(region->start, region->end, region->protection, 0, MPP_SNAPSHOT_FD, region->offset);
        else if (region->kind == MPP_REGION_ZERO)
            error = map(region->start, region->end, region->protection, MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (error != 0) leave(NOT_MAPPED);
    }
    if (file >= 0) sys1(SYS_close, file);
}

static void set_thread(const struct mpp_snapshot *saved)
{
    long error = sys2(SYS_arch_prctl, ARCH_SET_FS, saved->thread_pointer);
    long tid = sys1(SYS_set_tid_address, saved->tid);

    *(volatile int32_t *)(uintptr_t)saved->tid = (int32_t)tid;
    if (error == 0 && saved->robust_list != 0) error = sys2(SYS_set_robust_list, saved->robust_list, 24);
    if (error == 0 && saved->rseq != 0) error = sys4(SYS_rseq, saved->rseq, saved->rseq_size, 0, RSEQ_SIGNATURE);
    if (error == 0) error = sys5(SYS_prctl, PR_SET_NAME, saved->name, 0, 0, 0);
    /* Libraries may take their random seed from here later. */
    if (error == 0 && saved->random != 0 && sys3(SYS_getrandom, saved->random, 16, 0) != 16) error = -1;
    for (int number = 1; number <= MPP_SNAPSHOT_SIGNALS; number++)
        sys4(SYS_rt_sigaction, number, &saved->actions[number], 0, 8); /* EINVAL for SIGKILL and SIGSTOP */
    if (error == 0) error = sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &saved->blocked, 0, 8);
    if (error != 0) leave(NOT_SET);
}

__attribute__((used, visibility("hidden"))) void restore_enter(const uint64_t *entry)
{
    const uint64_t *at = entry + 1 + entry[0] + 1; /* the environment, behind the arguments */
    struct mpp_registers registers;
    const struct mpp_snapshot *saved;
    uint64_t vdso = 0;
    uint64_t top = 0;

    while (*at != 0) at++;
    for (at++; at[0] != AT_NULL; at += 2) {
        if (at[0] == AT_SYSINFO_EHDR) vdso = at[1];
        if (at[0] == AT_EXECFN) top = at[1];
    }
    seal();
    saved = read_header();
    move_kernel_pages(saved, vdso);
    /* The stack that the kernel has made may lie where the stack of the saved process lay. */
    top = (top + 4095) & ~4095ull;
    if (top > STACK_UNMAPPED) sys2(SYS_munmap, top - STACK_UNMAPPED, STACK_UNMAPPED);
    map_regions(saved);
    sys1(SYS_close, MPP_SNAPSHOT_FD);
    set_thread(saved);
    registers = saved->registers;
    sys2(SYS_munmap, HEADER, sizeof *saved);
    __asm__ volatile("ldmxcsr 64(%0)\n\t"
                     "fldcw 68(%0)\n\t"
                     "mov 0(%0),%%rbx\n\t"
                     "mov 8(%0),%%rbp\n\t"
                     "mov 16(%0),%%r12\n\t"
                     "mov 24(%0),%%r13\n\t"
                     "mov 32(%0),%%r14\n\t"
                     "mov 40(%0),%%r15\n\t"
                     "mov 48(%0),%%rsp\n\t"
                     "mov $1,%%eax\n\t"
                     "jmp *56(%0)\n\t"
                     :
                     : "d"(&registers)
                     : "memory", "rax");
    __builtin_unreachable();
}

__asm__(".globl _start\n.type _start,@function\n_start:\n"
        "\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tlea restore_stack+16384(%rip),%rsp\n\tcall restore_enter\n\thlt\n");

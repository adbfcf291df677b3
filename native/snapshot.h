/* The snapshot that a Python tool's process writes of itself when it has imported the tool (snapshot.c), and from which
 * another process restores that process (restore.c). Both run inside the sandbox. The host bounds the snapshot's size,
 * and reads nothing of it. */
#ifndef MPP_SNAPSHOT_H
#define MPP_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "contract.h"

#define MPP_SNAPSHOT_MAGIC 0x31534d50 /* "PMS1" */
#define MPP_SNAPSHOT_FILES 1024
#define MPP_SNAPSHOT_TEXT (128 << 10)
#define MPP_SNAPSHOT_SIGNALS 64
#define MPP_SNAPSHOT_PAGE 4096ull

/* The registers that restore sets. The assembly of both programs depends on this layout. */
struct mpp_registers {
    uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
    uint32_t mxcsr;
    uint32_t x87;
};

struct mpp_saved_action {
    uint64_t handler, flags, restorer, mask;
};

/* A file that was mapped. It is mapped again if it still is the same file. */
struct mpp_saved_file {
    uint64_t device, inode, size, modified_s, modified_ns;
    uint32_t path; /* offset in the texts */
    uint32_t unused;
};

struct mpp_snapshot {
    uint32_t magic;
    uint32_t region_count;
    uint32_t file_count;
    uint32_t text_size;
    struct mpp_registers registers;
    uint64_t thread_pointer;
    uint64_t tid;         /* address where the C library keeps its thread's id */
    uint64_t robust_list; /* 0: none was set */
    uint64_t rseq;        /* 0: none was registered */
    uint64_t rseq_size;
    uint64_t random; /* AT_RANDOM */
    uint64_t blocked;
    char name[16];
    struct mpp_saved_action actions[MPP_SNAPSHOT_SIGNALS + 1];
    struct mpp_region regions[MPP_SNAPSHOT_REGIONS];
    struct mpp_saved_file files[MPP_SNAPSHOT_FILES];
    char text[MPP_SNAPSHOT_TEXT];
};

#endif

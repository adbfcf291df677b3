/* In place of native/sys.h: the same names, and a sys6() that is not the kernel's. */
#ifndef MPP_SYS_H
#define MPP_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

/* The kernel's header leaves these to the C library where there is one, and the C library's does not go together
 * with the kernel's struct stat. */
#ifndef S_ISDIR
#define S_IFMT 00170000
#define S_IFDIR 0040000
#define S_ISDIR(mode) (((mode)&S_IFMT) == S_IFDIR)
#endif

long sys6(long number, long a, long b, long c, long d, long e, long f);

#define sys0(n) sys6((n), 0, 0, 0, 0, 0, 0)
#define sys1(n, a) sys6((n), (long)(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) sys6((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) sys6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(n, a, b, c, d) sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys5(n, a, b, c, d, e) sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif

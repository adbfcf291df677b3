/* _copies: makes sandboxes from a template, an interpreter that is started before there is a package.
 *
 * The host starts the template. The template runs nothing but the interpreter and the launcher, and has one thread.
 * When it is asked for a copy, it clones itself into new namespaces, as a child of the host. That copy is init: it
 * receives its plan, builds the sandbox around itself and confines itself, all by the code of the init program
 * (init.c). `serve` returns in init's child, which is confined like any other tool. No line of Python runs before that.
 *
 * All copies share the template's address-space layout and hash secret. The host keeps one template for a tool, and
 * replaces it now and then. Uses CPython's limited API (3.11): one build serves every interpreter. */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "descriptors.h"
#include "init.h"
#include "kernel.h"
#include "sys.h"

#define SIGNALS 64
#define NAME_SIZE 16
#define RANDOM_SIZE 16   /* getauxval(3) */
#define STACK_USED 24576 /* the stack that init uses, and more */

extern char **environ;

static struct kernel_sigaction template_signals[SIGNALS + 1]; /* as the interpreter has set them */
static char template_name[NAME_SIZE];
static ElfW(auxv_t) * auxiliary; /* the vector that getauxval(3) reads, NULL if it was not found */
static const char *const *tool_arguments;
static const char *const *tool_variables;

/* Finds the auxiliary vector behind the environment that the process was started with, if the environment still is
 * where the kernel has put it. */
static ElfW(auxv_t) * find_auxiliary(void)
{
    char **at = environ;
    ElfW(auxv_t) * found;
    int seen = 0;

    if (at == NULL) return NULL;
    while (*at != NULL) at++;
    found = (void *)(at + 1);
    /* It is recognised by entries that only the kernel could have put there. */
    for (size_t i = 0; i < 64 && found[i].a_type != AT_NULL; i++) {
        if (found[i].a_type == AT_RANDOM && found[i].a_un.a_val == getauxval(AT_RANDOM)) seen |= 1;
        if (found[i].a_type == AT_PHDR && found[i].a_un.a_val == getauxval(AT_PHDR)) seen |= 2;
    }
    return seen == 3 ? found : NULL;
}

long fork_tool(void)
{
    pid_t pid = fork(); /* the C library's fork: the library has to know that it is in another process */

    return pid < 0 ? -errno : pid;
}

void reset_signals(void)
{
    struct kernel_sigaction standard = { 0, 0, 0, 0 };

    for (int number = 1; number <= SIGNALS; number++)
        sys4(SYS_rt_sigaction, number, &standard, 0, 8); /* EINVAL for SIGKILL and SIGSTOP */
}

long let_go(const struct init_context *context)
{
    long error = sys3(SYS_close_range, CONTROL + 1, ~0U, 0);

    if (context->plan->watch.count > 0 || context->plan->snapshot || !context->plan->namespaces)
        return -EINVAL; /* these work only with execve */
    if (error < 0) return error;
    for (int number = 1; number <= SIGNALS; number++) sys4(SYS_rt_sigaction, number, &template_signals[number], 0, 8);
    for (ElfW(auxv_t) *at = auxiliary; at != NULL && at->a_type != AT_NULL; at++) {
        if (at->a_type == AT_UID || at->a_type == AT_EUID) at->a_un.a_val = context->plan->uid;
        if (at->a_type == AT_GID || at->a_type == AT_EGID) at->a_un.a_val = context->plan->gid;
        /* A library may take its random seed from here (Go's runtime does). The C library took its own long ago. */
        if (at->a_type == AT_RANDOM && sys3(SYS_getrandom, at->a_un.a_val, RANDOM_SIZE, 0) != RANDOM_SIZE) return -EIO;
    }
    error = sys5(SYS_prctl, PR_SET_NAME, template_name, 0, 0, 0);
    /* execve makes the process dumpable, and init is not dumpable. */
    return error < 0 ? error : sys5(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

long begin_tool(const char *path, const char *const *arguments, const char *const *variables)
{
    (void)path;
    tool_arguments = arguments;
    tool_variables = variables;
    return sys1(SYS_close, CONTROL);
}

/* The beginning of a copy, up to the arrival of its plan. It keeps nothing of the template except the memory. */
static void become_init(int control)
{
    long error = sys3(SYS_dup3, control, CONTROL, 0); /* it replaces the template's own socket */

    if (error >= 0) error = sys3(SYS_close_range, 0, 2, 0);
    if (error >= 0) error = sys3(SYS_close_range, CONTROL + 1, ~0U, 0);
    if (error >= 0) error = sys5(SYS_prctl, PR_SET_NAME, "mpp-init", 0, 0, 0);
    if (error < 0) _exit(127); /* the owner sees the end of the socket */
    init_run();
}

/* Overwrites everything that init has left on the stack below this frame. */
__attribute__((noinline)) static void wipe_stack(void)
{
    volatile uint8_t room[STACK_USED];

    for (size_t i = 0; i < sizeof room; i++) room[i] = 0;
}

/* Returns the texts of *all*, which ends in NULL, as a list of bytes. */
static PyObject *list_of(const char *const *all)
{
    PyObject *list = PyList_New(0);

    for (; list != NULL && *all != NULL; all++) {
        PyObject *text = PyBytes_FromString(*all);

        if (text == NULL || PyList_Append(list, text) < 0) Py_CLEAR(list);
        Py_XDECREF(text);
    }
    return list;
}

/* Receives one request: the descriptor of the copy's socket, and the descriptor of its cgroup if it gets one. Returns
 * the requested namespaces, or 0 if nobody makes requests any more. */
static uint64_t receive(int socket, int *control, int *cgroup)
{
    uint64_t flags = 0;
    int carried[] = { -1, -1 };
    size_t count;

    if (mpp_receive(socket, &flags, sizeof flags, carried, 2, &count) != (ssize_t)sizeof flags) return 0;
    *control = carried[0];
    *cgroup = carried[1];
    return *control > CONTROL ? flags : 0;
}

/* Tells the host which process the copy is, or why there is none. Returns 0, or -1 if nobody listens. */
static int reply(int socket, long pid, int pidfd)
{
    int64_t said = pid;

    return mpp_send(socket, &said, sizeof said, &pidfd, pid > 0 ? 1 : 0) == 0 ? 0 : -1;
}

/* Maps the memory in which the kernel notes each copy for the host, before the copy runs. If this process is killed
 * before it can report a copy, the host has to reap that copy. No copy inherits the mapping: a tool that could write
 * there could make the host kill any of the host's children. */
static int32_t *map_noted(void)
{
    int32_t *noted = mmap(NULL, sizeof *noted, PROT_READ | PROT_WRITE, MAP_SHARED, MPP_TEMPLATE_NOTED, 0);

    if (noted == MAP_FAILED || madvise(noted, sizeof *noted, MADV_DONTFORK) < 0) return NULL;
    *noted = 0; /* the page exists from now on, so the kernel does not have to wait when it writes */
    close(MPP_TEMPLATE_NOTED);
    return noted;
}

static PyObject *serve(PyObject *module, PyObject *unused)
{
    int32_t *noted = map_noted();

    (void)unused;
    (void)module;
    auxiliary = find_auxiliary();
    for (int number = 1; number <= SIGNALS; number++) sys4(SYS_rt_sigaction, number, 0, &template_signals[number], 8);
    if (auxiliary == NULL || noted == NULL || sys5(SYS_prctl, PR_GET_NAME, template_name, 0, 0, 0) < 0) _exit(1);
    for (;;) {
        int control = -1;
        int cgroup = -1;
        int pidfd = -1;
        uint64_t namespaces = receive(CONTROL, &control, &cgroup);
        struct mpp_clone_args args = { .flags = namespaces | CLONE_PARENT | CLONE_PIDFD | CLONE_PARENT_SETTID };
        PyObject *words;
        long pid;

        if (namespaces == 0) _exit(0);
        args.pidfd = (uint64_t)(uintptr_t)&pidfd;
        args.parent_tid = (uint64_t)(uintptr_t)noted;
        if (cgroup >= 0) args.flags |= MPP_CLONE_INTO_CGROUP;
        if (cgroup >= 0) args.cgroup = (uint64_t)cgroup;
        PyOS_BeforeFork();
        pid = sys2(SYS_clone3, &args, sizeof args);
        if (pid == 0) {
            become_init(control);
            wipe_stack();
            PyOS_AfterFork_Child();
            words = Py_BuildValue("(NN)", list_of(tool_arguments), list_of(tool_variables));
            init_forget();
            return words;
        }
        PyOS_AfterFork_Parent();
        close(control);
        if (cgroup >= 0) close(cgroup);
        if (reply(CONTROL, pid, pidfd) < 0) _exit(0);
        if (pidfd >= 0) close(pidfd);
    }
}

static PyMethodDef methods[] = {
    { "serve", serve, METH_NOARGS,
      "serve() -> (arguments, variables): make copies of this process for whoever asks on descriptor 3. Returns in\n"
      "each copy, complete and confined, with its command line and environment as lists of bytes; never here." },
    { NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "_copies", NULL, 0, methods, NULL, NULL, NULL, NULL };

PyMODINIT_FUNC PyInit__copies(void);

PyMODINIT_FUNC PyInit__copies(void)
{
    return PyModuleDef_Init(&definition);
}

/* _seal: the one native call that runs inside a Python sandbox, before any code of the tool. It adds a seccomp program
 * to the one that the process already has. The launcher's own execve has been made by then, so the added program can
 * take execve away.
 *
 * Uses CPython's limited API (3.11): one build serves every interpreter that a package may ask for. */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

static PyObject *seal(PyObject *module, PyObject *argument)
{
    struct sock_fprog program;
    char *code;
    Py_ssize_t size;

    (void)module;
    if (PyBytes_AsStringAndSize(argument, &code, &size) < 0) return NULL;
    if (size == 0 || size % 8 != 0 || size / 8 > BPF_MAXINSNS) {
        PyErr_SetString(PyExc_ValueError, "no seccomp program");
        return NULL;
    }
    program.len = (unsigned short)(size / 8);
    program.filter = (struct sock_filter *)(void *)code;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return PyErr_SetFromErrno(PyExc_OSError);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyMethodDef methods[] = {
    { "seal", seal, METH_O, "seal(program: bytes) -> None: add a seccomp program to this thread, for good." },
    { NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "_seal", NULL, 0, methods, NULL, NULL, NULL, NULL };

PyMODINIT_FUNC PyInit__seal(void);

PyMODINIT_FUNC PyInit__seal(void)
{
    return PyModuleDef_Init(&definition);
}

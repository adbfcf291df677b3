"""A tool that reports everything about its interpreter by which two interpreters could be distinguished."""

# What an interpreter says about itself, except for the addresses of its objects.
SELF = """
import ctypes, locale, os, re, signal, sys

def plain(value):
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))

def module(each):
    names = ("__file__", "__cached__", "__path__", "__spec__", "__loader__", "__package__", "__doc__")
    loader = getattr(each, "__loader__", None)
    return [plain(getattr(each, name, None)) for name in names] + [plain(getattr(loader, "path", None))]

def run():
    left_out = ("modules", "stdlib_module_names", "path_importer_cache")
    said = {name: plain(value) for name, value in vars(sys).items()
            if name not in left_out and name[0] != "_"}
    said |= {name: plain(getattr(sys, name)) for name in ("_base_executable", "_stdlib_dir", "_xoptions")}
    said["modules"] = {name: module(each) for name, each in sys.modules.items()}
    said["names"] = sorted(sys.stdlib_module_names)
    said["environment"] = {name: value for name, value in os.environ.items() if name != "MPP_INVOCATION"}
    said["bytes"] = sorted(os.fsdecode(name) for name in os.environb)
    said["folder"] = os.getcwd()
    said["process"] = [os.getpid(), os.getppid(), os.getpgid(0), os.getsid(0), os.getresuid(), os.getresgid()]
    said["auxiliary"] = [ctypes.CDLL(None).getauxval(kind) for kind in (6, 11, 12, 13, 14, 17, 23)]
    said["signals"] = {str(number): plain(signal.getsignal(number)) for number in range(1, 32)}
    said["streams"] = [[each.encoding, each.errors, each.line_buffering, each.seekable(), each.fileno()]
                       for each in (sys.stdin, sys.stdout, sys.stderr)]
    said["descriptors"] = [fd for fd in range(64) if exists(fd)]
    said["locale"] = [locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False)]
    said["main"] = sorted(vars(sys.modules["__main__"]))
    return said

def exists(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False
"""

"""The template of a Python tool's sandboxes: an interpreter that is up, with the launcher loaded, and copied.

It runs on the host, outside of any sandbox, so it runs nothing but the interpreter, the launcher and this;
the package comes in when a copy of it is complete and confined. Each copy is to be what an interpreter is
that was started in the sandbox: what tells the one from the other is put right here.

``template.py INSIDE PREFIX``: what is below PREFIX on the host is below INSIDE in a copy. Descriptor 3 is
where copies are asked for, 4 and 5 are the extensions that make and seal them, 6 is this file, and 7 the
compiled launcher.
"""

import gc
import marshal
import os
import posix
import sys

COPIES, SEAL, SOURCE, LAUNCHER = 4, 5, 6, 7
HEADER = 16  # bytes of a compiled file before its code
PLACE = "/mpp/launch.pyc"
PREFIXES = ("prefix", "base_prefix", "exec_prefix", "base_exec_prefix")

machinery = sys.modules["_frozen_importlib_external"]


def loaded(name: str, descriptor: int):  # type: ignore[no-untyped-def]  # noqa: ANN201 - typing costs an import
    """Return the extension module *name* in the file behind *descriptor*, which is in no table of modules.

    No path of the host is said to the loader: what it was told stays in the memory of every copy.
    """
    imp = sys.modules["_imp"]
    path = f"/proc/self/fd/{descriptor}"
    loader = machinery.ExtensionFileLoader(name, path)
    module = imp.create_dynamic(sys.modules["_frozen_importlib"].ModuleSpec(name, loader, origin=path))
    imp.exec_dynamic(module)
    return module


def load_seal() -> None:
    """Load what the launcher seals its process with, as if from where the copies have it."""
    path = f"{PLACE.rpartition('/')[0]}/_seal.abi3.so"
    module = loaded("_seal", SEAL)
    loader = machinery.ExtensionFileLoader("_seal", path)
    spec = sys.modules["_frozen_importlib"].ModuleSpec("_seal", loader, origin=path)
    spec.has_location = True
    module.__file__, module.__loader__, module.__spec__, module.__package__ = path, loader, spec, ""
    sys.modules["_seal"] = module


def read(descriptor: int) -> bytes:
    """Return what is in the file behind *descriptor*, from its beginning."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def moved(path: object, prefix: str, inside: str) -> object:
    """Return *path*, or its place *inside* where it is below *prefix*."""
    if isinstance(path, str) and (path == prefix or path.startswith(f"{prefix}/")):
        return inside + path[len(prefix) :]
    return path


def move(prefix: str, inside: str) -> None:
    """Say of everything that was loaded that it is where the copies find it."""
    if sys.base_prefix != prefix or any(not path.startswith(f"{prefix}/") for path in sys.path):
        os._exit(1)  # an installation of parts that lie in several places
    for name in PREFIXES:
        setattr(sys, name, inside)
    sys.path[:] = [moved(path, prefix, inside) for path in sys.path]  # type: ignore[misc]
    sys._stdlib_dir = moved(sys._stdlib_dir, prefix, inside)  # type: ignore[attr-defined] # noqa: SLF001 - as getpath
    sys.path_importer_cache.clear()
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        loader = getattr(module, "__loader__", None)
        places = ((module, ("__file__", "__cached__")), (spec, ("origin", "cached")), (loader, ("path",)))
        for thing, names in places:
            for name in names:
                value = getattr(thing, name, None)
                if isinstance(value, str):
                    setattr(thing, name, moved(value, prefix, inside))
        for folders in (getattr(module, "__path__", None), getattr(spec, "submodule_search_locations", None)):
            if isinstance(folders, list):
                folders[:] = [moved(path, prefix, inside) for path in folders]


def become(arguments: list[bytes], variables: list[bytes]) -> None:
    """Be the process that was started with *arguments* and *variables*."""
    wanted = dict(pair.split(b"=", 1) for pair in variables)
    for name in set(posix.environ) - set(wanted):
        os.unsetenv(name)
        del posix.environ[name]
    for name, value in wanted.items():
        if posix.environ.get(name) != value:
            os.putenv(name, value)
            posix.environ[name] = value
    if b"TZ" in wanted and "time" in sys.modules:
        sys.modules["time"].tzset()
    words = [os.fsdecode(word) for word in arguments]
    sys.orig_argv = words
    sys.argv = words[words.index(PLACE) :]
    sys.executable = sys._base_executable = words[0]  # type: ignore[attr-defined] # noqa: SLF001 - as getpath


def main() -> None:
    """Load the launcher, make copies, and in each of them run the one call."""
    inside, prefix = sys.argv[1:]
    copies = loaded("_copies", COPIES)
    load_seal()
    code = marshal.loads(read(LAUNCHER)[HEADER:])  # noqa: S302 - the host's own
    for descriptor in (COPIES, SEAL, SOURCE, LAUNCHER):
        try:  # noqa: SIM105 - contextlib costs an import
            os.close(descriptor)
        except OSError:
            pass
    launcher = type(sys)("__template__")  # so that it does not run
    launcher.__dict__.update(__file__=PLACE, __cached__=None, __builtins__=__builtins__, __annotations__={})
    launcher.__loader__ = machinery.SourcelessFileLoader("__main__", PLACE)
    exec(code, launcher.__dict__)  # noqa: S102 - defines what the copies run
    launcher.__name__ = "__main__"
    move(prefix, inside)
    gc.collect()
    gc.freeze()
    arguments, variables = copies.serve()
    become(arguments, variables)
    sys.modules["__main__"] = launcher
    launcher.main()


main()

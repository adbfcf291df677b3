"""What pyproject.toml cannot express: cffi modules, init, the client, and extensions used in a sandbox."""

import functools
import hashlib
import os
import platform
import shlex
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

from distutils.command.build_scripts import build_scripts  # isort: skip -- setuptools brings it

INIT_PARTS = [
    f"native/{part}.c"
    for part in ("init", "owner", "sound", "layout", "layout_late", "mounts", "confine", "network")
]
INIT_SOURCES = ["native/begin_exec.c", *INIT_PARTS]
# Freestanding: init runs where nothing is mounted, and every page that it does not touch makes a spawn
# cheaper.
INIT_FLAGS = [
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-ffreestanding", "-fPIE"),
    *(
        "-fno-stack-protector",
        "-fno-asynchronous-unwind-tables",
        "-fvisibility=hidden",
        "-fcf-protection=none",
    ),
    *(
        "-static-pie",
        "-nostdlib",
        "-nostartfiles",
        "-Wl,-z,noexecstack,-z,relro,-z,now,--build-id=none",
        "-s",
    ),
]
# A snapshot saves and sets registers in assembly, which exists only for this architecture.
SAVES = platform.machine() == "x86_64"
# The program that restores a saved process is linked at an address where an interpreter has nothing: far
# above its heap, far below its libraries.
RESTORE_FLAGS = [
    *(
        flag
        for flag in INIT_FLAGS
        if flag not in ("-static-pie", "-Wl,-z,noexecstack,-z,relro,-z,now,--build-id=none")
    ),
    *("-mgeneral-regs-only", "-static", "-no-pie"),
    "-Wl,-z,noexecstack,-z,norelro,--build-id=none,-Ttext-segment=0x600000000000",
]
# A file that a tool can read must not reveal where it was built.
UNNAMED = ("-g0",)
# The runtime of a sanitizer is not available inside a sandbox: undefined behaviour ends such code by a trap.
TRAP = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"] if "MPP_SANITIZE" in os.environ else []
CLIENT_SOURCES = [
    f"native/client{part}.c" for part in ("", "_buffer", "_words", "_signals", "_home", "_talk", "_relay")
]
CLIENT_FLAGS = [
    *("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-fPIE"),
    *("-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-fvisibility=hidden"),
    *("-pie", "-Wl,-z,noexecstack,-z,relro,-z,now,--as-needed", "-s"),
]


@functools.cache
def build_id() -> str:
    """Return an id of this source: client and resident runtime must be built from the same source."""
    digest = hashlib.sha256()
    files = [*Path("runtime/mpp_exec").rglob("*.py"), *Path("native").iterdir(), Path("setup.py")]
    for file in sorted(file for file in files if file.suffix in (".py", ".c", ".h")):
        digest.update(f"{file.as_posix()}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:32]


class BuildClient(build_scripts):
    """Builds the command, a program that needs no interpreter, where pip puts scripts."""

    def run(self) -> None:
        target = Path(self.build_dir) / "mpp-exec"
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        made = target.with_name(f".{target.name}.{os.getpid()}")  # a running program cannot be written to
        definition = f'-DMPP_BUILD="{build_id()}"'
        self.spawn([*compiler, *CLIENT_FLAGS, *TRAP, definition, *CLIENT_SOURCES, "-o", str(made)])
        made.chmod(0o755)
        made.replace(target)

    def get_outputs(self) -> list[str]:
        return [str(Path(self.build_dir) / "mpp-exec")]


class BuildNative(build_ext):
    """Builds the init program beside the extension modules, and records there the id of the source."""

    def run(self) -> None:
        super().run()
        root = Path("runtime") if self.inplace else Path(self.build_lib)
        target = root / "mpp_exec" / "sandbox" / "mpp-init"
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        self.spawn([*compiler, *INIT_FLAGS, *TRAP, *INIT_SOURCES, "-o", str(target)])
        target.chmod(0o755)
        if SAVES:
            restore = root / "mpp_exec" / "sandbox" / "inside" / "mpp-restore"
            self.spawn([*compiler, *RESTORE_FLAGS, *TRAP, "native/restore.c", "-o", str(restore)])
            restore.chmod(0o755)
        (root / "mpp_exec" / "serving").mkdir(parents=True, exist_ok=True)
        (root / "mpp_exec" / "serving" / "build-id").write_text(f"{build_id()}\n", encoding="ascii")

    def get_outputs(self) -> list[str]:
        package = (Path("runtime") if self.inplace else Path(self.build_lib)) / "mpp_exec"
        made = [package / "sandbox" / "mpp-init", package / "serving" / "build-id"]
        made += [package / "sandbox" / "inside" / "mpp-restore"] if SAVES else []
        return [*super().get_outputs(), *map(str, made)]


SNAPSHOT = Extension(
    "mpp_exec.sandbox.inside._snapshot",
    ["native/snapshot.c"],
    depends=["setup.py"],
    py_limited_api=True,
    extra_compile_args=[
        *("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-fvisibility=hidden"),
        *("-D_GNU_SOURCE", *UNNAMED, *TRAP),
    ],
)

setup(
    cffi_modules=["native/build_ffi.py:ffi", "native/build_anchors.py:ffi"],
    ext_modules=[
        Extension(
            "mpp_exec.sandbox.inside._seal",
            ["native/seal.c"],
            depends=["setup.py"],
            py_limited_api=True,
            extra_compile_args=[
                *("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-fvisibility=hidden"),
                *(*UNNAMED, *TRAP),
            ],
        ),
        Extension(
            "mpp_exec.sandbox.inside._copies",
            ["native/copies.c", "native/descriptors.c", *INIT_PARTS],
            depends=["setup.py"],
            py_limited_api=True,
            extra_compile_args=[
                *("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-fvisibility=hidden"),
                *("-D_GNU_SOURCE", *UNNAMED, *TRAP),
            ],
        ),
        *([SNAPSHOT] if SAVES else []),
    ],
    scripts=["native/client.c"],  # stands for the client, which is built from it and others
    cmdclass={"build_ext": BuildNative, "build_scripts": BuildClient},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

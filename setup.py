"""What pyproject.toml cannot say: the cffi module, the init program, the extension used inside."""

import os
import shlex
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

INIT_SOURCES = ["native/init.c", "native/sound.c", "native/layout.c", "native/confine.c"]
# Freestanding: init runs where nothing is mounted, and every page it does not touch makes a spawn cheaper.
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
# What runs inside a sandbox has no runtime of a sanitizer there: undefined behaviour ends it by a trap.
TRAP = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"] if "MPP_SANITIZE" in os.environ else []


class BuildNative(build_ext):
    """Builds the init program beside the extension modules."""

    def run(self) -> None:
        super().run()
        root = Path("runtime") if self.inplace else Path(self.build_lib)
        target = root / "mpp_exec" / "sandbox" / "mpp-init"
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        self.spawn([*compiler, *INIT_FLAGS, *TRAP, *INIT_SOURCES, "-o", str(target)])
        target.chmod(0o755)

    def get_outputs(self) -> list[str]:
        root = Path("runtime") if self.inplace else Path(self.build_lib)
        return [*super().get_outputs(), str(root / "mpp_exec" / "sandbox" / "mpp-init")]


setup(
    cffi_modules=["native/build_ffi.py:ffi", "native/build_anchors.py:ffi"],
    ext_modules=[
        Extension(
            "mpp_exec.sandbox.inside._seal",
            ["native/seal.c"],
            py_limited_api=True,
            extra_compile_args=[
                *("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-fvisibility=hidden"),
                *TRAP,
            ],
        )
    ],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

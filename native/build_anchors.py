"""cffi builder (API mode) of ``mpp_exec.privacy._anchors``: anchors.h is header and cdef in one."""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
# `make test-sanitized`: touching memory that is not C's, or what the language does not define, ends the test.
SANITIZE = (
    ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if "MPP_SANITIZE" in os.environ else []
)
DEBUG = ["-g", "-O1", "-fno-omit-frame-pointer"] if SANITIZE else []
PARTS = ("automaton", "bytes", "numbers", "readings", "runs", "words")

ffi = FFI()
ffi.cdef((HERE / "anchors.h").read_text(encoding="utf-8"))
ffi.set_source(
    "mpp_exec.privacy._anchors",
    '#include <stdint.h>\n#include "anchors.h"\n',
    sources=["native/anchors.c", *(f"native/anchor_{part}.c" for part in PARTS)],
    depends=["native/anchors.h", "native/anchor_bytes.h", "native/anchor_parts.h"],
    include_dirs=["native"],
    extra_compile_args=[
        *("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-fvisibility=hidden"),
        *(*DEBUG, *SANITIZE),
    ],
    extra_link_args=["-Wl,-z,relro,-z,now", *SANITIZE],
    py_limited_api=True,
)

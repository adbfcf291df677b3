"""A temporary home with an installed and approved package: every benchmark of calls needs one."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

STATIC_C = """
#include <unistd.h>
int main(void)
{
    char rest[4096];
    while (read(0, rest, sizeof rest) > 0) continue;
    return write(1, "{\\"ok\\":true}", 11) == 11 ? 0 : 1;
}
"""

MPP_TOML = """
[package]
name = "bench/answer"
version = "1.0.0"

[runtime]
kind = "exec"
command = ["bin/answer"]

[[tools]]
name = "answer"
description = "Answers."
inputSchema = { type = "object" }
"""


PYTHON_TOML = """
[package]
name = "bench/python"
version = "1.0.0"

[runtime]
kind = "python"
requires = ["python>=3.11"]

[[tools]]
name = "answer"
description = "Answers."
entry = "tool:answer"
inputSchema = { type = "object", properties = { text = { type = "string" } } }
"""

PYTHON_TOOL = """
def answer(text=""):
    return {"ok": True}
"""


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder (in *parent*) that an unprivileged id can enter; it is removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="mpp-bench-", dir=parent))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def build_static(target: Path) -> Path:
    """Compile the static program that every cold contestant runs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = target.with_suffix(".c")
    source.write_text(STATIC_C, encoding="ascii")
    subprocess.run(["cc", "-O2", "-static", str(source), "-o", str(target)], check=True)
    source.unlink()
    return target


def mpp_exec(home: Path, *arguments: str) -> None:
    """Run the real command against *home*."""
    import sys  # noqa: PLC0415

    subprocess.run(
        [sys.executable, "-m", "mpp_exec", "--home", str(home), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def install_answer(where: Path) -> tuple[Path, Path]:
    """Build, install and approve the package ``bench/answer``; return home and the program's path."""
    source, home = where / "source", where / "home"
    program = build_static(source / "bin" / "answer")
    (source / "mpp.toml").write_text(MPP_TOML, encoding="utf-8")
    mpp_exec(home, "keygen", "bench")
    package = where / "answer.mpp"
    mpp_exec(home, "build", str(source), "-o", str(package))
    mpp_exec(home, "install", str(package), "--approve")
    return home, program


def install_python(where: Path, *, files: Iterable[tuple[str, bytes]] = (), runtime: str = "") -> Path:
    """Build, install and approve the package ``bench/python``; return the home.

    *files* are added to the package's own files, or replace them. *runtime* is added to its ``[runtime]``.
    """
    source, home, package = where / "python", where / "home", where / "python.mpp"
    source.mkdir()
    toml = PYTHON_TOML.replace("[runtime]\n", f"[runtime]\n{runtime}")
    (source / "mpp.toml").write_text(toml, encoding="utf-8")
    (source / "tool.py").write_text(PYTHON_TOOL, encoding="utf-8")
    for name, content in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    if not (home / "keys" / "bench.key").exists():
        mpp_exec(home, "keygen", "bench")
    mpp_exec(home, "build", str(source), "-o", str(package))
    mpp_exec(home, "install", str(package), "--approve")
    return home

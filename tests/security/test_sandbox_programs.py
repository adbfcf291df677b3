"""Attacks that want to run something else: another program, another process, code of its own making.

A Python tool is sealed: execve is gone before its module is loaded. A program of the package keeps it,
and Landlock's execute right names what it may become; every place it can write to is noexec.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from errno import EACCES, ENOENT, ENOSYS, EPERM
from pathlib import Path

import pytest

from mpp_exec.sandbox import bpf, layout
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import (
    ATTEMPTS,
    Lab,
    answer,
    attempt,
    bounded,
    call,
    run,
    sweep,
    without_entry,
    without_landlock,
    without_seccomp,
)

CHANGES = """
import os
def run(path):
    try:
        os.execv(path, [path, "-c", "print('became another program')"])
    except OSError as error:
        return error.errno
"""


class TestPythonBecomesAnotherProgram:
    def test_interpreter_again(self, lab: Lab) -> None:
        """Sealed: even what Landlock lets it execute."""
        assert call(lab.python(CHANGES), path="/python/bin/python3") == EPERM
        assert call(without_landlock(lab.python(CHANGES)), path="/python/bin/python3") == EPERM

    @pytest.mark.parametrize(
        "name", ["_seal", "seal", "contextlib", "json", "os", "sitecustomize", "usercustomize"]
    )
    @pytest.mark.parametrize("kind", ["module", "package"])
    def test_by_bringing_a_module_that_the_launcher_imports(self, lab: Lab, name: str, kind: str) -> None:
        """A `_seal.py` of the package, imported in place of the launcher's, would seal nothing."""
        path = f"{name}.py" if kind == "module" else f"{name}/__init__.py"
        impostor = "import builtins\nbuiltins.deceived = True\ndef seal(program):\n    pass\n"
        code = CHANGES.replace(
            "    try:", "    import builtins\n    if hasattr(builtins, 'deceived'): return -1\n    try:"
        )
        compiled = lab.python(code, files={path: impostor}, path=(".",))
        assert call(compiled, path="/python/bin/python3") == EPERM

    def test_at_import(self, lab: Lab) -> None:
        """The module of the tool is loaded after the seal."""
        code = "import os\nos.execv('/python/bin/python3', ['python3', '-c', 'print(5)'])\ndef run(): pass\n"
        assert answer(run(lab.python(code), b'{"arguments":{}}'))["error"]["errno"] == EPERM

    def test_seal_that_is_missing_stops_the_launcher(self, lab: Lab) -> None:
        compiled = lab.python("def run():\n    return 5\n")
        assert run(replace(compiled, kind="exec"), b'{"arguments":{}}').outcome == "tool_error"
        assert run(without_entry(compiled, "/mpp/_seal.abi3.so"), b'{"arguments":{}}').outcome == "tool_error"

    def test_file_of_the_package_or_of_scratch_with_landlock_alone(self, lab: Lab, probe: Path) -> None:
        """Landlock's execute right names neither."""
        code = (
            "import os, shutil\n"
            "def run(path):\n"
            "    if path.startswith('/tmp'):\n"
            "        shutil.copy('/app/helper', path)\n"
            "        os.chmod(path, 0o755)\n"
            "    try:\n"
            "        os.execv(path, [path, 'status', '77'])\n"
            "    except OSError as error:\n"
            "        return error.errno\n"
        )
        for library in ({}, {"library.so": b""}):
            unsealed = without_seal(lab.python(code, files={"helper": probe.read_bytes(), **library}))
            app = next(entry.source for entry in unsealed.entries if entry.target == "/app")
            Path(app, "helper").chmod(0o755)
            assert call(unsealed, path="/app/helper") == EACCES
            assert call(unsealed, path="/tmp/helper") == EACCES
            alone = without_landlock(unsealed)
            assert call(alone, path="/tmp/helper") == EACCES, "scratch is noexec besides"
            if not library:
                assert call(alone, path="/app/helper") == EACCES, "and so is a package without native code"
        request = b'{"arguments":{"path":"/app/helper"}}'
        assert run(alone, request).reason == "ended with status 77", "the attack is real"


def without_seal(compiled: SandboxPlan) -> SandboxPlan:
    """Return a Python plan whose launcher adds a program that allows everything."""
    nothing = bpf.encode((bpf.Instruction(bpf.RET_K, 0, 0, bpf.RET_ALLOW),))
    entries = tuple(
        replace(entry, data=nothing) if entry.target == "/mpp/seal.bpf" else entry
        for entry in compiled.entries
    )
    return replace(compiled, kind="exec", entries=entries)


class TestProgramBecomesAnotherProgram:
    def test_file_of_the_package_that_is_not_the_entry(self, lab: Lab, probe: Path) -> None:
        files: dict[str, str | bytes] = {"other": probe.read_bytes(), "script": "#!/app/other\n"}
        compiled = lab.program(probe, "sweep", files=files, executable=("other", "script"))
        calls = [("execve", f"s:/app/{name}", 0, 0) for name in ("other", "script", "bin/../other")]
        assert sweep(compiled, calls) == [EACCES] * 3

    def test_attack_is_real_without_landlock(self, lab: Lab, probe: Path) -> None:
        files = {"other": probe.read_bytes()}
        compiled = lab.program(probe, "run", "/app/other", files=files, executable=("other",))
        assert run(compiled).output == b"13"
        assert run(without_landlock(compiled)).reason == "ended with status 99", "the other program ran"

    @pytest.mark.parametrize("landlock", [True, False])
    def test_file_it_wrote_itself(self, lab: Lab, probe: Path, ground: Path, landlock: bool) -> None:
        """Scratch and grants are noexec, and Landlock names neither: each alone refuses."""
        ground.chmod(0o755)
        (ground / "program").write_bytes(probe.read_bytes())
        (ground / "program").chmod(0o755)
        for target in (f"{ground}/program", "/tmp/x"):
            compiled = lab.program(probe, "run", target, write=[ground])
            if not landlock:
                compiled = without_landlock(compiled)
            expected = {"/tmp/x": b"2"}.get(target, b"13")
            assert run(compiled).output == expected

    def test_program_in_a_grant_with_landlock_alone(self, lab: Lab, probe: Path, ground: Path) -> None:
        ground.chmod(0o755)
        (ground / "program").write_bytes(probe.read_bytes())
        (ground / "program").chmod(0o755)
        compiled = lab.program(probe, "run", f"{ground}/program", write=[ground])
        entries = tuple(
            replace(entry, attributes=layout.CODE) if entry.target == str(ground) else entry
            for entry in compiled.entries
        )
        shown = replace(compiled, entries=entries)
        assert run(shown).output == b"13"
        assert run(without_landlock(shown)).reason == "ended with status 99", "the attack is real"

    def test_loader_given_a_program_of_its_own(self, lab: Lab, probe: Path) -> None:
        """ld.so may be executed, and loads what it is told: but nothing from a noexec place."""
        script = (
            'cd /tmp; while IFS= read -r line; do echo "$line"; done < /app/other > copy 2>/dev/null\n'
            "exec /lib64/ld-linux-x86-64.so.2 /tmp/copy status 0\n"
        )
        compiled = lab.program(
            None, "sh", "/app/run.sh", files={"run.sh": script, "other": probe.read_bytes()}, requires=("sh",)
        )
        done = run(compiled)
        assert done.outcome == "tool_error"
        assert b"copy" in done.errors

    def test_memory_file(self, lab: Lab, probe: Path) -> None:
        """It would run without any Landlock right: that it cannot be made is what stops it."""
        compiled = lab.program(probe, "sweep")
        calls: list[tuple[object, ...]] = [("memfd_create", "s:x", flags) for flags in (0, 1, 2, 3, 4, 8, 16)]
        calls += [("execveat", 0, "s:", 0, 0, 0x1000), ("execveat", -100, "s:/app/bin/tool", 0, 0, 0)]
        calls += [("memfd_secret", 0), ("fsopen", "s:tmpfs", 0), ("uselib", "s:/app/bin/tool")]
        assert set(sweep(compiled, calls)) == {ENOSYS}
        assert set(sweep(without_landlock(compiled), calls)) == {ENOSYS}
        assert sweep(without_seccomp(compiled, "memfd_create"), calls[:1]) == [0], "the attack is real"

    def test_entry_again_is_itself(self, lab: Lab, probe: Path) -> None:
        compiled = lab.program(probe, "run", "/app/bin/tool", "arguments", "again")
        assert run(compiled).output == b"[again]", "started as itself, with what it gave itself"


class TestAnotherProcess:
    def test_by_every_call_that_makes_one(self, lab: Lab, probe: Path) -> None:
        compiled = lab.program(probe, "sweep")
        calls: list[tuple[object, ...]] = [("fork",), ("vfork",), ("clone3", "b", 88), ("clone3", "b", 64)]
        assert set(sweep(compiled, calls)) == {ENOSYS}
        assert sweep(without_seccomp(compiled, "fork"), [("fork",)]) == [0], "the attack is real"

    def test_by_clone_with_any_flags(self, lab: Lab, probe: Path) -> None:
        """All single flags, all pairs, and what glibc, musl, Go and vfork pass; but for those of a thread."""
        thread = 0x10000
        bits = [1 << bit for bit in range(32) if 1 << bit != thread]
        flags = [0, 17, 0x4111, 0x01200011, 0x3D0F00 & ~thread, *bits]
        flags += [one | other for one, other in itertools.combinations(bits, 2)]
        flags += [flag | 1 << 32 for flag in (0, 17)]
        calls = [("clone", flag, 0, 0, 0, 0) for flag in flags]
        assert set(sweep(lab.program(probe, "sweep", limits=bounded(output=1 << 20)), calls)) == {ENOSYS}

    def test_by_clone_of_a_thread_with_namespaces(self, lab: Lab, probe: Path) -> None:
        """CLONE_THREAD does not carry a new namespace or a tracer past the filter."""
        thread = 0x10000 | 0x100 | 0x800
        new = (0x80, 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
        calls = [("clone", thread | flag, 0, 0, 0, 0) for flag in (*new, 0x2000, 0x800000)]
        assert set(sweep(lab.program(probe, "sweep"), calls)) == {ENOSYS}

    @pytest.mark.parametrize("how", ["os.fork()", "os.forkpty()", "os.posix_spawn('/bin/sh', ['sh'], {})"])
    def test_from_python(self, lab: Lab, how: str) -> None:
        code = (
            f"import os\ndef run():\n    try: return {how}\n    except OSError as error: return error.errno\n"
        )
        assert call(lab.python(code)) in (ENOSYS, ENOENT)

    def test_shell_cannot_fork_either(self, lab: Lab) -> None:
        done = run(lab.program(None, "sh", "-c", "(echo sub); echo $?", requires=("sh",)))
        assert b"sub\n" not in done.output


class TestCodeOfItsOwnMaking:
    def test_writable_and_executable_at_once(self, lab: Lab) -> None:
        """Python has no use for it; a compiled program may bring a compiler."""
        code = (
            "import mmap\n"
            "def run():\n"
            "    seen = []\n"
            "    for protection in (7, 6, 5, 3):\n"
            "        try: mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE, prot=protection); seen.append(0)\n"
            "        except OSError as error: seen.append(error.errno)\n"
            "    return seen\n"
        )
        assert call(lab.python(code)) == [ENOSYS, ENOSYS, 0, 0]
        assert call(without_seccomp(lab.python(code), "mmap")) == [0, 0, 0, 0], "the attack is real"

    def test_mapping_a_file_of_scratch_for_execution(self, lab: Lab) -> None:
        code = (
            "import mmap\n"
            "def run():\n"
            "    with open('/tmp/code', 'w+b') as file:\n"
            "        file.write(bytes(4096))\n"
            "        file.flush()\n"
            "        try: mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE, prot=5)\n"
            "        except OSError as error: return error.errno\n"
        )
        assert call(lab.python(code)) == EPERM

    def test_library_from_scratch_is_not_loaded(self, lab: Lab) -> None:
        code = (
            "import ctypes, glob, shutil\n"
            "def run():\n"
            "    shutil.copy(glob.glob('/mpp/_seal*.so')[0], '/tmp/lib.so')\n"
            "    try: ctypes.CDLL('/tmp/lib.so')\n"
            "    except OSError as error: return str(error)\n"
        )
        assert "failed to map" in call(lab.python(code))


class TestSetIdAndSpecialFiles:
    def test_set_id_bits(self, lab: Lab, probe: Path, ground: Path) -> None:
        """In a write grant the file would outlive the sandbox, with the host user's id."""
        compiled = lab.program(probe, "sweep", write=[ground])
        calls = [
            *(("chmod", f"s:{ground}/f", mode) for mode in (0o4755, 0o2755, 0o6777, 0o4000)),
            *(("fchmod", 0, mode) for mode in (0o4755, 0o2755)),
            *(("fchmodat", -100, f"s:{ground}/f", mode) for mode in (0o4755, 0o2755)),
            ("fchmodat2", -100, f"s:{ground}/f", 0o4755, 0),
            *(("open", f"s:{ground}/f", 0o101, mode) for mode in (0o4755, 0o2755)),
            ("openat", -100, f"s:{ground}/f", 0o101, 0o4755),
            ("openat2", -100, f"s:{ground}/f", "b", 24),
            ("creat", f"s:{ground}/f", 0o4755),
            ("mkdir", f"s:{ground}/d", 0o2755),
            ("mkdirat", -100, f"s:{ground}/d", 0o2755),
        ]
        assert set(sweep(compiled, calls)) == {ENOSYS}
        assert list(ground.iterdir()) == []

    def test_special_files(self, lab: Lab, probe: Path, ground: Path) -> None:
        compiled = lab.program(probe, "sweep", write=[ground])
        kinds = (0o010666, 0o020666, 0o060666, 0o140666, 0o100666)
        calls: list[tuple[object, ...]] = [("mknod", f"s:{ground}/n", kind, 0x103) for kind in kinds]
        calls += [("mknodat", -100, f"s:{ground}/n", kind, 0x103) for kind in kinds]
        assert set(sweep(compiled, calls)) == {ENOSYS}
        alone = sweep(without_seccomp(compiled, "mknod", "mknodat"), calls[:4])
        assert set(alone) <= {EACCES, EPERM}, "Landlock alone"
        assert list(ground.iterdir()) == []

    def test_ownership_and_attributes(self, lab: Lab, probe: Path, ground: Path) -> None:
        (ground / "f").write_text("x")
        compiled = lab.program(probe, "sweep", write=[ground])
        calls = [
            ("chown", f"s:{ground}/f", 0, 0),
            ("lchown", f"s:{ground}/f", 1000, 1000),
            ("fchownat", -100, f"s:{ground}/f", 0, 0, 0),
            ("setxattr", f"s:{ground}/f", "s:security.capability", "b", 20, 0),
            ("setxattr", f"s:{ground}/f", "s:user.x", "b", 1, 0),
            ("removexattr", f"s:{ground}/f", "s:user.x"),
        ]
        assert set(sweep(compiled, calls)) == {ENOSYS}


def test_tool_that_only_reads_leaves_no_program_behind(lab: Lab, ground: Path) -> None:
    compiled = lab.python(ATTEMPTS, write=[ground], operation="read")
    assert attempt(compiled, ("write", ground / "program")) == ["Read-only file system"]

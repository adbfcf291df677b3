"""From grant, manifest and kernel facts to a plan: a value, never wider than the grant."""

from __future__ import annotations

import dataclasses
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import pytest

import sandbox_lab
from mpp_exec.consent.present import stays_read_only
from mpp_exec.errors import ConsentError, HostError
from mpp_exec.package.manifest import RuntimeSpec
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import explain, landlock, launcher, layout, native, plan, seccomp
from mpp_exec.sandbox.allow import decide
from mpp_exec.sandbox.interpreter import HostFile, Program
from mpp_exec.sandbox.kernel import KernelFacts
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.planning import compile_plan
from mpp_exec.sandbox.special import special_entries
from mpp_exec.vocabulary import HostPort

FACTS = KernelFacts(
    machine="x86_64", release="6.12", landlock_abi=6, landlock_errata=7, seccomp=True, root=False
)
PYTHON = RuntimeSpec(kind="python")
EXEC = RuntimeSpec(kind="exec", command=("bin/tool", "--fast"))


def find(requirement: Requirement) -> Program:
    """A host whose every program is one file and one library."""
    name = requirement.name
    path = "/python/bin/python3.11" if name == "python" else f"/bin/{name}"
    program = HostFile(f"/usr/bin/{name}", path, executable=True)
    files = (program, HostFile("/usr/lib/libc.so.6", "/lib/libc.so.6"))
    return Program(name, "3.11.2", path, files, (), ())


def compiled(
    runtime: RuntimeSpec = PYTHON, facts: KernelFacts = FACTS, storage: str | None = None, **granted: Any
) -> SandboxPlan:
    made = sandbox_lab.manifest(runtime, granted.get("operation", "write"))
    return compile_plan(
        made,
        made.tools[0],
        sandbox_lab.grant(**granted),
        facts,
        app="/srv/home/packages/0/files",
        storage=storage,
        find_program=find,
        compile_launcher=lambda python: b"the launcher of " + python.version.encode(),
    )


def binds(made: SandboxPlan) -> dict[str, Entry]:
    return {entry.target: entry for entry in made.entries if entry.kind == "bind"}


def writable(made: SandboxPlan) -> set[str]:
    """Where anything on the host could be changed."""
    return {
        target
        for target, entry in binds(made).items()
        if not entry.attributes & native.MOUNT_RDONLY and not target.startswith("/dev/")
    }


@pytest.fixture
def folder(ground: Path) -> Path:
    for name in ("in/deep", "other"):
        (ground / name).mkdir(parents=True)
    (ground / "file").write_text("x")
    return ground


def test_same_inputs_give_the_same_plan(folder: Path) -> None:
    for runtime in (PYTHON, EXEC):
        first, second = (compiled(runtime, read=[folder], write=[folder / "in"]) for _ in range(2))
        assert first == second
        assert first.fingerprint() == second.fingerprint()
        assert first.fingerprint().startswith("sha256:")


def test_every_input_shows_in_the_fingerprint(folder: Path) -> None:
    plans = [
        compiled(),
        compiled(EXEC),
        compiled(operation="read", write=[folder]),
        compiled(read=[folder], storage="/srv/storage"),
        compiled(write=[folder]),
        compiled(read=[folder], covers=[folder / "in"]),
        compiled(limits=Limits(wall_ms=9_999)),
        compiled(facts=dataclasses.replace(FACTS, landlock_abi=5)),
        compiled(facts=dataclasses.replace(FACTS, root=True)),
        compiled(storage="/srv/storage"),
        compiled(dataclasses.replace(PYTHON, path=("vendor",))),
    ]
    assert len({made.fingerprint() for made in plans}) == len(plans)


def boundaries(plan: SandboxPlan, name: str) -> list[tuple[int, ...]]:
    return [
        arguments
        for allow in plan.tool_profile
        if allow.name == name
        for arguments in seccomp._boundaries(allow)
    ]


def test_narrower_grant_gives_no_wider_plan(folder: Path) -> None:
    wide = compiled(read=[folder / "other"], write=[folder / "in"])
    for narrow in (
        compiled(),
        compiled(read=[folder / "other"]),
        compiled(write=[folder / "in"]),
        compiled(read=[folder / "other", folder / "in"]),
    ):
        assert set(binds(narrow)) <= set(binds(wide))
        assert writable(narrow) <= writable(wide)
        allowed = dict(wide.rules)
        assert all(allowed[path] | access == allowed[path] for path, access in narrow.rules)
        for name in {allow.name for allow in narrow.tool_profile}:
            for arguments in boundaries(narrow, name):
                assert decide(wide.tool_profile, name, arguments) or not decide(
                    narrow.tool_profile, name, arguments
                )
        assert narrow.landlock == wide.landlock


def test_nothing_is_writable_that_was_not_granted_for_writing(folder: Path) -> None:
    assert writable(compiled(read=[folder])) == set()
    assert writable(compiled(read=[folder], write=[folder / "in"])) == {str(folder / "in")}


def test_tool_that_reads_has_its_write_grants_and_its_storage_read_only(folder: Path) -> None:
    made = compiled(operation="read", write=[folder], storage="/srv/storage")
    assert writable(made) == set()
    assert dict(made.rules)[str(folder)] & landlock.WRITE_FILE == 0
    assert dict(made.rules)["/storage"] & landlock.WRITE_FILE == 0
    assert made.touches == ()
    assert made.write_roots == ()


def test_what_it_may_touch_is_named(folder: Path) -> None:
    assert compiled().touches == ()
    assert compiled(read=[folder]).touches == ()
    assert compiled(write=[folder]).touches == ("write",)
    assert compiled(storage="/srv/storage").touches == ("storage",)


@pytest.mark.parametrize("runtime", [PYTHON, EXEC, dataclasses.replace(EXEC, requires=(Requirement("sh"),))])
def test_every_rule_names_something_that_is_mounted(runtime: RuntimeSpec, folder: Path) -> None:
    """A rule for a path that is not there would stop the sandbox; one too many would be a right too many."""
    made = compiled(runtime, read=[folder / "other"], write=[folder / "in"], storage="/srv/storage")
    targets = {entry.target for entry in made.entries}
    for path, access in made.rules:
        assert path in targets or path == "/app/bin/tool"
        assert access & ~landlock.handled(6)[0] == 0


@pytest.mark.parametrize("runtime", [PYTHON, EXEC])
def test_execute_right_names_the_entry_and_interpreters_only(runtime: RuntimeSpec, folder: Path) -> None:
    made = compiled(runtime, read=[folder], write=[folder / "in"])
    executable = {path for path, access in made.rules if access & landlock.EXECUTE}
    assert executable == ({"/python/bin/python3.11"} if runtime.kind == "python" else {"/app/bin/tool"})


def test_every_writable_place_is_noexec(folder: Path) -> None:
    made = compiled(write=[folder], storage="/srv/storage")
    for entry in made.entries:
        if entry.kind in ("bind", "tmpfs") and not entry.attributes & native.MOUNT_RDONLY:
            assert entry.attributes & native.MOUNT_NOEXEC, entry
        if entry.kind in ("bind", "tmpfs"):
            assert entry.attributes & native.MOUNT_NOSUID, entry
        if entry.kind in ("bind", "tmpfs") and not entry.target.startswith("/dev/"):
            assert entry.attributes & native.MOUNT_NODEV, entry


def test_sources_are_the_granted_paths_and_the_systems_own(folder: Path) -> None:
    made = compiled(read=[folder], storage="/srv/storage")
    expected = {"/srv/home/packages/0/files", "/srv/storage", str(folder)}
    expected |= {"/usr/bin/python", "/usr/lib/libc.so.6", os.path.realpath("/etc/localtime")}
    expected |= {f"{launcher.FOLDER}/_seal.abi3.so"}
    expected |= {f"/dev/{name}" for name in ("null", "random", "urandom")}
    assert {entry.source for entry in binds(made).values()} <= expected
    assert str(folder) in {entry.source for entry in binds(made).values()}


def test_environment_is_exactly_the_contracts() -> None:
    assert dict(compiled(storage="/srv/storage").environment) == {
        "PATH": "/bin:/python/bin",
        "HOME": "/tmp/home",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "MPP_PACKAGE": "acme/lab@1.0.0",
        "MPP_TOOL": "tool",
        "MPP_STORAGE": "/storage",
    }
    assert "MPP_STORAGE" not in dict(compiled().environment)


def test_python_starts_isolated_without_site_packages() -> None:
    made = compiled(dataclasses.replace(PYTHON, path=("vendor", ".")))
    assert made.argv == (
        *("/python/bin/python3.11", "-I", "-S", "-B", "/mpp/launch.pyc", "tool:run"),
        *("/app/vendor", "/app", "/app"),
    )
    assert made.exec_path == "/python/bin/python3.11"


def test_program_of_the_package_is_its_own_entry() -> None:
    made = compiled(EXEC)
    assert made.argv == ("/app/bin/tool", "--fast")
    assert made.exec_path == "/app/bin/tool"
    assert not any(entry.target.startswith("/mpp/launch") for entry in made.entries)


@pytest.mark.parametrize("below", [True, False])
def test_scratch_leaves_tmp_where_a_grant_lies_there(below: bool) -> None:
    """Landlock's rights go down the tree: a read grant below a writable /tmp could be written to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        granted = folder if below else "/tmp"
        made = compiled(read=[granted])
    assert made.scratch == "/scratch"
    assert dict(made.environment)["HOME"] == "/scratch/home"
    assert dict(made.environment)["TMPDIR"] == "/scratch"
    for path, access in made.rules:
        assert not (granted.startswith(path) and access & landlock.WRITE_FILE), path


def test_scratch_stays_in_tmp_beside_any_other_grant(folder: Path) -> None:
    assert compiled(read=[folder]).scratch == "/tmp"
    with tempfile.TemporaryDirectory(dir="/tmp") as inside:
        assert compiled(write=[inside]).scratch == "/tmp"
    assert compiled(write=["/tmp"]).scratch == "/scratch", "it would lie over the private one"


def test_cgroup_is_the_first_to_refuse_a_process_since_it_counts_that() -> None:
    facts = dataclasses.replace(FACTS, cgroup=("memory", "pids"), processors=2)
    made = compiled(facts=facts, limits=Limits(processes=4))
    rows = {number: soft for number, soft, _ in made.rlimits}
    assert int(dict(made.cgroup)["pids.max"]) == 5 < rows[resource.RLIMIT_NPROC]
    assert compiled(limits=Limits(processes=4)).cgroup == ()


@pytest.mark.parametrize("cpu_ms", [1, 500, 1000, 5000, 60_000, 3_600_000])
def test_kernel_ends_no_tool_before_its_processor_time_is_used(cpu_ms: int) -> None:
    """Its clock for that runs fast; and it is the second to end it, not much later."""
    rows = {number: soft for number, soft, _ in compiled(limits=Limits(cpu_ms=cpu_ms)).rlimits}
    assert 1.2 * cpu_ms <= rows[resource.RLIMIT_CPU] * 1000 <= 1.3 * cpu_ms + 1000


def test_limits_of_the_process_follow_the_grant() -> None:
    limits = Limits(cpu_ms=1_200, memory=64 << 20, processes=4, open_files=32, scratch=1 << 20)
    made = compiled(limits=limits)
    rows = {number: (soft, hard) for number, soft, hard in made.rlimits}
    assert rows[resource.RLIMIT_CPU] == (2, 3)
    assert rows[resource.RLIMIT_AS] == rows[resource.RLIMIT_DATA] == (64 << 20, 64 << 20)
    assert rows[resource.RLIMIT_NPROC] == (5, 5), "init is one of them"
    assert rows[resource.RLIMIT_NOFILE] == (32, 32)
    assert rows[resource.RLIMIT_FSIZE] == ((1 << 20) + 4096,) * 2
    assert rows[resource.RLIMIT_CORE] == (1, 1), "0 would start the helper of a piped core_pattern"
    assert rows[resource.RLIMIT_MSGQUEUE] == (0, 0)


def test_runtime_that_reserves_addresses_may_reserve_some() -> None:
    node = RuntimeSpec(kind="exec", command=("node", "/app/x.js"), requires=(Requirement("node"),))
    rows = {number: soft for number, soft, _ in compiled(node).rlimits}
    assert rows[resource.RLIMIT_AS] == Limits().memory + (128 << 30)
    assert rows[resource.RLIMIT_DATA] == Limits().memory


@pytest.mark.parametrize(
    ("code", "runtime", "granted"),
    [
        (
            "host.network_too_wide",
            PYTHON,
            {"network": tuple(HostPort("example.com", port) for port in range(1, 66))},
        ),
        (
            "host.network_too_wide",
            PYTHON,
            {"network": tuple(HostPort(f"10.0.0.{last}", 443) for last in range(1, 66))},
        ),
        ("host.grant_missing", PYTHON, {"read": ["/nowhere/at/all"]}),
        ("host.grant_changed", PYTHON, {"read": ["/var/../dev/null"]}),
    ],
)
def test_what_cannot_be_enforced_is_refused(code: str, runtime: RuntimeSpec, granted: dict[str, Any]) -> None:
    with pytest.raises(HostError) as caught:
        compiled(runtime, **granted)
    assert caught.value.code == code


def test_reserved_path_is_refused() -> None:
    with pytest.raises(ConsentError):
        compiled(read=["/python/lib"])


def test_kernel_without_seccomp_is_refused_whatever_was_degraded() -> None:
    with pytest.raises(HostError) as caught:
        compiled(facts=dataclasses.replace(FACTS, seccomp=False), degradations=("landlock", "seccomp"))
    assert caught.value.code == "host.no_seccomp"


def test_kernel_without_landlock_needs_the_degradation_by_name() -> None:
    bare = dataclasses.replace(FACTS, landlock_abi=0)
    with pytest.raises(HostError) as caught:
        compiled(facts=bare, degradations=("seccomp",))
    assert caught.value.code == "host.no_landlock"
    made = compiled(facts=bare, degradations=("landlock",))
    assert made.landlock is None
    assert made.degraded == ("landlock",)


def test_degradation_that_is_not_needed_takes_no_effect() -> None:
    made = compiled(degradations=("landlock",))
    assert made.landlock == landlock.handled(6)
    assert made.degraded == ()


def order(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.target for entry in entries]


def test_inner_mount_comes_after_the_outer_one(folder: Path) -> None:
    made = compiled(read=[folder / "in/deep"], write=[folder], covers=[folder / "in/deep/secret"])
    targets = [target for target in order(made.entries) if target.startswith(str(folder))]
    assert targets == [str(folder), str(folder / "in"), str(folder / "in/deep")]
    assert binds(made)[str(folder / "in")].flags & native.ENTRY_EXISTS
    assert str(folder / "in/deep") not in writable(made), "no pin lies over what was granted for reading"


def test_cover_lies_over_grants_and_pins(folder: Path) -> None:
    made = compiled(write=[folder], covers=[folder / "in/deep"])
    assert order(made.entries)[-3:] == [str(folder), str(folder / "in"), str(folder / "in/deep")]
    assert made.entries[-1].kind == "tmpfs"


def protections(folder: Path, **granted: Any) -> list[tuple[str, str]]:
    """Return the mounts made at a call: where, and ``rw``, ``ro`` or ``empty``."""
    shown = []
    for entry in special_entries(compiled(**granted)):
        state = "ro" if entry.attributes & native.MOUNT_RDONLY else "rw"
        state = "empty" if entry.kind == "tmpfs" or entry.source == "/dev/null" else state
        assert entry.flags & native.ENTRY_EXISTS
        shown.append((os.path.relpath(entry.target, folder), state))
    return shown


def test_protected_files_are_looked_up_at_each_call(folder: Path) -> None:
    assert protections(folder, write=[folder]) == []
    (folder / ".bashrc").write_text("x")
    (folder / ".git/hooks").mkdir(parents=True)
    assert protections(folder, write=[folder]) == [(".bashrc", "ro"), (".git", "ro")]
    assert protections(folder, read=[folder]) == []
    assert protections(folder, write=[folder], operation="read") == []


def test_git_for_a_tool_that_was_granted_it(folder: Path) -> None:
    """A mount of its own, so that it cannot be renamed away, with hooks and configuration read-only."""
    (folder / ".git/hooks").mkdir(parents=True)
    (folder / ".git/config").write_text("x")
    made = compiled(write=[folder])
    git = dataclasses.replace(made.programs[0], name="git")
    targets = {
        os.path.relpath(entry.target, folder): not entry.attributes & native.MOUNT_RDONLY
        for entry in special_entries(dataclasses.replace(made, started=(git,)))
    }
    assert targets == {".git": True, ".git/config": False, ".git/hooks": False}
    assert protections(folder, write=[folder]) == [(".git", "ro")]


def test_git_of_a_worktree_is_a_read_only_file(folder: Path) -> None:
    """The file names the repository: changed, it would name another one, with hooks."""
    (folder / ".git").write_text("gitdir: elsewhere")
    assert protections(folder, write=[folder]) == [(".git", "ro")]


def test_folder_on_the_way_to_where_a_special_link_leads_is_a_mount(folder: Path) -> None:
    """Renamed away, it would take the protected file with it."""
    (folder / "dot/shell").mkdir(parents=True)
    (folder / "dot/shell/bashrc").write_text("x")
    (folder / ".bashrc").symlink_to("dot/shell/bashrc")
    (folder / ".here").symlink_to(".")
    (folder / ".in").symlink_to("in")
    assert protections(folder, write=[folder, folder / "in"]) == [
        ("dot", "rw"),
        ("dot/shell", "rw"),
        ("dot/shell/bashrc", "ro"),
    ]


def test_protected_file_that_the_grant_names_is_left_to_it(folder: Path) -> None:
    (folder / ".vscode").mkdir()
    (folder / ".envrc").write_text("x")
    assert protections(folder, write=[folder, folder / ".vscode"]) == [(".envrc", "ro")]


def test_cover_lies_over_the_mount_that_protects_its_folder(folder: Path) -> None:
    """That mount is a fresh copy of the host's tree: without this, what is covered would be seen again."""
    (folder / ".claude/home").mkdir(parents=True)
    (folder / ".local/bin").mkdir(parents=True)
    (folder / ".local/share/home").mkdir(parents=True)
    seen = protections(folder, write=[folder], covers=[folder / ".claude/home", folder / ".local/share/home"])
    assert seen == [
        (".claude", "ro"),
        (".local", "ro"),
        (".local/share", "ro"),
        (".claude/home", "empty"),
        (".local/share/home", "empty"),
    ]


def test_pin_does_not_open_a_protected_folder(folder: Path) -> None:
    (folder / ".claude/a/home").mkdir(parents=True)
    seen = protections(folder, write=[folder], covers=[folder / ".claude/a/home"])
    assert seen == [(".claude", "ro"), (".claude/a", "ro"), (".claude/a/home", "empty")]


def test_named_folder_inside_a_protected_one_stays_writable_and_protected(folder: Path) -> None:
    (folder / ".claude/skills/.vscode").mkdir(parents=True)
    seen = protections(folder, write=[folder, folder / ".claude/skills"])
    assert seen == [(".claude", "ro"), (".claude/skills", "rw"), (".claude/skills/.vscode", "ro")]


def test_plan_explains_itself(folder: Path) -> None:
    made = compiled(read=[folder / "other"], write=[folder / "in"], covers=[folder / "in/deep"])
    document = explain.explain(made, FACTS)
    reach = {row["path"]: row["access"] for row in document["filesystem"]}
    granted = {str(folder / "in"): "read, write", str(folder / "other"): "read"}
    assert reach == {"/app": "read (the package)", **granted}
    assert document["hidden"] == [str(folder / "in/deep")]
    assert document["plan"] == made.fingerprint()
    assert document["mechanisms"]["files"] == ["mount namespace", "Landlock ABI 6"]
    text = "\n".join(explain.explain_lines(document))
    wall = f"{made.limits.wall_ms // 1000} s"
    for part in (str(folder / "in"), "read, write", "Landlock ABI 6", wall, "256 MiB"):
        assert part in text


def test_explanation_names_what_holds_a_tool_to_its_grant(folder: Path) -> None:
    """And what stays read-only in what it may change; without namespaces nothing claims a mount."""
    wide = sandbox_lab.grant(read=[folder / "other"], write=[folder / "in"], degradations=("namespaces",))
    here: dict[str, Any] = {
        "read": [folder / "other"],
        "write": [folder / "in"],
        "degradations": ("namespaces",),
    }
    told = explain.granted(compiled(**here), wide)
    held = {row["entry"]: row["held_by"] for row in told["granted"]}
    assert held[str(folder / "other")] == ["read-only bind mount", "Landlock"]
    assert held[str(folder / "in")] == ["bind mount", "Landlock"]
    assert told["stays_read_only"] == stays_read_only(wide.permissions)
    lines = explain.granted_lines(told)
    assert all(any(part.strip()[1:] in line for line in lines) for part in told["stays_read_only"])
    assert explain.granted(compiled(operation="read", **here), wide)["stays_read_only"] == []
    told = explain.granted(compiled(facts=dataclasses.replace(FACTS, namespaces=False), **here), wide)
    assert not any("mount" in word for row in told["granted"] for word in row["held_by"])
    assert told["stays_read_only"] == []


def test_degraded_plan_says_so() -> None:
    bare = dataclasses.replace(FACTS, landlock_abi=0)
    document = explain.explain(compiled(facts=bare, degradations=("landlock",)), bare)
    assert document["degraded"] == ["landlock"]
    assert not any("Landlock" in word for means in document["mechanisms"].values() for word in means)
    assert any("Degraded" in line for line in explain.explain_lines(document))


def test_seal_is_put_where_the_launcher_reads_it() -> None:
    sealed = {entry.target: entry for entry in plan.with_seal(compiled(), b"program")}
    assert sealed["/mpp/seal.bpf"].data == b"program"
    assert sealed["/mpp/_seal.abi3.so"].attributes == layout.CODE
    assert sealed["/mpp/launch.pyc"].data == b"the launcher of 3.11.2"

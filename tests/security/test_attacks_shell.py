"""The same from a shell that was granted programs: what it may not do, they may not do for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mpp_exec.sandbox import native
from mpp_exec.sandbox.layout import READ_ONLY, Entry
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.spawn import Completed
from sandbox_lab import Lab, run, without_landlock, without_seccomp

PROGRAMS = (
    *("cat", "chmod", "chroot", "cp", "dd", "env", "ln", "ls", "mkfifo", "mknod", "mount", "mv", "nice"),
    *("nsenter", "readlink", "rm", "setpriv", "setsid", "stat", "tail", "touch", "umount", "unshare"),
)
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)), reason="this host lacks a program of coreutils or util-linux"
)


@dataclass(frozen=True)
class ShellAttack:
    """A line of shell; ``$G`` is a writable grant, ``$S`` a file beside it that everybody may write.

    It prints ``done`` or what it stole if it succeeds. ``real``: the defence that, taken away, lets it; or,
    after a colon, what the next one then says.
    """

    name: str
    line: str
    real: str = ""


_A = ShellAttack
PRELOAD = (
    "cp /lib/x86_64-linux-gnu/libselinux.so.1 /tmp/l.so; "
    "LD_PRELOAD=/tmp/l.so cat /etc/passwd 2>&1 | { read -r line; "
    'case "$line" in *"cannot be preloaded"*) ;; *) echo done;; esac; }'
)
ATTACKS = (
    _A("read by cat", 'cat "$S"', "files"),
    _A("read by redirection", 'read -r line < "$S"; echo "$line"', "files"),
    _A("read by tail, from the end", 'tail -c 6 "$S"', "files"),
    _A("read by dd", 'dd if="$S" 2>/dev/null', "files"),
    _A("read through a link of its own", 'ln -sf "$S" "$G/l" && cat "$G/l"', "files"),
    _A("read by going up", 'cd "$G" && cat ../secret', "files"),
    _A("copy into the grant", 'cp "$S" "$G/copy" && cat "$G/copy"', "files"),
    _A("overwrite by redirection", 'echo x > "$S" && echo done', "files"),
    _A("append", 'echo x >> "$S" && echo done', "files"),
    _A("remove", 'rm "$S" && echo done', "files"),
    _A("make beside", 'touch "${S%/*}/new" && echo done', "files"),
    _A("move a file onto it", 'touch "$G/f" && mv -T "$G/f" "$S" && echo done', "files"),
    _A("look at its facts", 'stat "$S" >/dev/null && echo done', "files"),
    _A("list the folder", 'ls "${S%/*}" | { read -r a; read -r b; echo "$b"; }', "files"),
    _A("the environment of init", "cat /proc/1/environ >/dev/null && echo done", "proc: Permission denied"),
    _A("its own program by proc", "cp /bin/cat /proc/self/exe && echo done", "proc: Read-only file system"),
    _A("a connection by bash's device", "echo x > /dev/tcp/127.0.0.1/9 && echo done"),
    _A("a set-user-id copy", 'cp /bin/cat "$G/c" && chmod u+s "$G/c" && echo done', "calls"),
    _A("run a copy in the grant", 'cp /bin/cat "$G/c" && "$G/c" /app/run.sh >/tmp/n && echo done', "noexec"),
    _A("run a copy in scratch", "cp /bin/cat /tmp/c && /tmp/c /etc/passwd >/dev/null && echo done", "noexec"),
    _A("run a script in the grant", 'echo echo done > "$G/s"; chmod +x "$G/s"; "$G/s"', "noexec"),
    _A("preload a library", PRELOAD, "noexec"),
    _A("a program that was not granted", "env id && echo done", "programs"),
    _A("a program by its full path", "/usr/bin/id && echo done", "programs"),
    _A("mount", "mount -t tmpfs none /tmp && echo done", "calls: must be superuser"),
    _A("mount a proc", "mount -t proc none /tmp && echo done", "calls: must be superuser"),
    _A("unmount", "umount /app && echo done", "calls: umount failed"),
    _A("new namespaces", "unshare --user cat /etc/hosts >/dev/null && echo done", "calls+"),
    _A("enter init's namespaces", "nsenter -t 1 -m cat /etc/hosts && echo done", "proc: Permission denied"),
    _A("another root", "chroot / cat /etc/hosts && echo done", "calls: Operation not permitted"),
    _A("another id", "setpriv --reuid 0 cat /etc/hosts && echo done", "calls: Operation not permitted"),
    _A("a device node", 'mknod "$G/n" c 1 3 && echo done', "calls: Permission denied"),
    _A("a FIFO for the host", 'mkfifo "$G/p" && echo done', "calls+"),
    _A("a higher priority", "nice -n -5 cat /etc/hosts 2>&1 >/dev/null | { read -r a || echo done; }"),
    _A("more descriptors", "ulimit -n 4096 && echo done", "limits"),
    _A("more memory", "ulimit -v unlimited && echo done", "limits"),
    _A("larger files", "ulimit -f unlimited && echo done", "limits"),
    _A("kill init", "kill -9 1; kill -TERM 1; kill -STOP 1; kill -0 1 || echo done"),
    _A("kill everything", "kill -9 -- -1 2>/dev/null && [ ! -e /app ] && echo done"),
)  # fmt: skip


@pytest.fixture
def world(ground: Path) -> Path:
    ground.chmod(0o777)
    (ground / "granted").mkdir()
    (ground / "secret").write_text("secret")
    (ground / "secret").chmod(0o666)
    return ground


def shell(
    lab: Lab, world: Path, line: str, *wider: Path, programs: tuple[str, ...] = PROGRAMS
) -> SandboxPlan:
    script = f"G={world}/granted S={world}/secret\n{line}\n"
    return lab.program(
        None,
        *("sh", "/app/run.sh"),
        files={"run.sh": script},
        requires=("sh",),
        subprocess=programs,
        write=[*wider, world / "granted"],
    )


def succeeded(done: Completed) -> bool:
    return any(word in done.output for word in (b"done", b"secret"))


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_shell(lab: Lab, world: Path, attack: ShellAttack) -> None:
    compiled = shell(lab, world, attack.line)
    for variant in (compiled, without_landlock(compiled)):
        done = run(variant)
        assert not succeeded(done), done
        assert (world / "secret").read_text() == "secret"
        assert [path.name for path in world.iterdir() if path.name not in ("granted", "secret")] == []
    if attack.real == "files":
        shown = without_landlock(shell(lab, world, attack.line, world))
        alone = replace(shell(lab, world, attack.line, world))
        alone = replace(alone, rules=tuple(rule for rule in alone.rules if rule[0] != str(world)))
        assert not succeeded(run(alone)) or attack.name == "look at its facts", "Landlock alone"
        done = run(shown)
        assert succeeded(done) or b"busy" in done.errors or b"cross-device" in done.errors, done
    elif attack.real:
        defence, _, next_one = attack.real.partition(": ")
        done = run(without(defence, lab, world, attack.line))
        if next_one:
            assert next_one.encode() in done.errors, done
        assert succeeded(done) == (not next_one), done


def without(defence: str, lab: Lab, world: Path, line: str) -> SandboxPlan:
    """Return the plan of *line* with one defence taken away, and Landlock where it would be the next one."""
    compiled = shell(lab, world, line)
    if defence == "calls":
        return without_seccomp(compiled)
    if defence == "calls+":
        return without_landlock(without_seccomp(compiled))
    if defence == "limits":
        return replace(compiled, rlimits=())
    if defence == "programs":
        return shell(lab, world, line, programs=(*PROGRAMS, "id"))
    open_ = without_landlock(compiled)
    if defence == "proc":  # what is in the place of none: the host's, read-only
        return replace(open_, entries=(*open_.entries, Entry("bind", "/proc", "/proc", attributes=READ_ONLY)))
    assert defence == "noexec"
    entries = (replace(each, attributes=each.attributes & ~native.MOUNT_NOEXEC) for each in open_.entries)
    return replace(open_, entries=tuple(entries))


def test_shell_can_do_what_was_granted(lab: Lab, world: Path) -> None:
    """The programs work: what fails above fails for its target."""
    line = (
        'echo granted > "$G/f"; cp "$G/f" "$G/g"; ln -s g "$G/h"; cat "$G/h"; mv "$G/h" "$G/i"; ls "$G" | cat'
    )
    done = run(shell(lab, world, line))
    assert (done.outcome, done.output) == ("ok", b"granted\nf\ng\ni\n"), done.errors

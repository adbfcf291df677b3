"""``trace``: what it proposes works when it is pasted in, and with one permission less it does not."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from command import Done, Shell, error_lines
from egress_room import Server, echo
from mpp_exec.errors import HostError
from mpp_exec.sandbox import kernel
from needs import missing
from sandbox_lab import build_program

PYTHON = """
import os
import subprocess

def call(text):
    who = os.environ["WHO"]
    names = sorted(os.listdir(text))
    with open(os.path.join(text, "notes.txt")) as file:
        notes = file.read()
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    return [names, notes, who, said.split()[0]]
"""
SHELL = """set -e
head=$(cat "$FOLDER/notes.txt")
echo "$head" > "$FOLDER/out.txt"
rm "$FOLDER/out.txt"
echo "{\\"head\\": \\"$head\\"}"
"""
CAREFUL = """
def call(text):
    try:
        return open(text).read()
    except OSError:
        return ""
"""
LOOKING = """
def call(text):
    for name in NAMES:
        try:
            open(text + "/" + name)
        except OSError:
            pass
    raise ValueError("over")
"""
EXEC = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    char text[64] = "";
    int fd = open("FOLDER/notes.txt", O_RDONLY);

    if (fd < 0 || read(fd, text, 5) != 5) return 3;
    printf("\\"%s\\"\\n", text);
    return 0;
}
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A home on a host that can confine."""
    try:
        kernel.probe()
    except HostError as error:
        missing(f"this host cannot confine: {error}")
    return Shell(tmp_path, {"WHO": "me"})


@pytest.fixture
def data(ground: Path) -> Path:
    """A folder of the user's with one file in it."""
    ground.chmod(0o755)
    (ground / "notes.txt").write_text("hello")
    (ground / "notes.txt").chmod(0o644)
    return ground


def write_exec(shell: Shell, command: str, files: dict[str, bytes], requires: str = "") -> Path:
    """Write the source of an exec tool ``acme/program`` with one tool, ``call``; return its folder."""
    folder = shell.root / "source" / "program"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
    (folder / "mpp.toml").write_text(
        f"""\
[package]
name = "acme/program"
version = "1.0.0"
description = "A program for tests."

[runtime]
kind = "exec"
command = {command}
requires = [{requires}]

[[tools]]
name = "call"
description = "Answers."
operation = "write"
inputSchema = {{ type = "object" }}
"""
    )
    return folder


def built(shell: Shell, folder: Path, version: str = "1.0.0") -> Path:
    """Sign *folder* as *version* and return the package."""
    if not (shell.home / "keys" / "acme.key").exists():
        shell.ok("keygen", "acme")
    manifest = folder / "mpp.toml"
    manifest.write_text(manifest.read_text().replace('version = "1.0.0"', f'version = "{version}"'))
    return shell.cwd / shell.ok("build", str(folder)).out.strip()


def pasted(shell: Shell, folder: Path, permissions: str, version: str) -> None:
    """Put *permissions* into the package of *folder*, build it anew, install and approve it."""
    manifest = folder / "mpp.toml"
    text = manifest.read_text().partition("[permissions]")[0]
    was = tomllib.loads(text)["package"]["version"]
    manifest.write_text(f"{text.replace(was, '1.0.0', 1)}\n{permissions}")
    shell.ok("install", str(built(shell, folder, version)), "--approve")


def less(permissions: str) -> list[str]:
    """Return *permissions* with each single entry taken out."""
    flat = flattened(permissions)
    found = []
    for key, entries in flat.items():
        for entry in entries:
            lines = {"": ["[permissions]"], "filesystem": ["[permissions.filesystem]"]}
            for name, others in (flat | {key: [each for each in entries if each != entry]}).items():
                where = "filesystem" if name in ("read", "write") else ""
                lines[where].append(f"{name} = {json.dumps(others)}")
            found.append("\n".join((*lines[""], *lines["filesystem"])))
    return found


def flattened(permissions: str) -> dict[str, Any]:
    """Return the entries of a proposal by their key."""
    table = tomllib.loads(permissions)["permissions"]
    return {**{k: v for k, v in table.items() if k != "filesystem"}, **table.get("filesystem", {})}


def until_it_works(shell: Shell, name: str, words: list[str], limit: int = 8) -> Done:
    """Trace, and again with what was denied, as the hints say, until the tool comes to its end."""
    options: list[str] = []
    for _ in range(limit):
        done = shell.run("trace", name, "call", *words, *options, *(["--yes"] if options else []))
        if done.code == 0:
            return done
        hint = error_lines(done)[2]
        if "trace it again with " not in hint:
            raise AssertionError(done)
        options += hint.partition("trace it again with ")[2].split()
    raise AssertionError(done)


def test_the_permissions_of_a_python_tool_are_found_and_suffice(shell: Shell, data: Path) -> None:
    """Traced until it works, built with what was printed, it works; with any one of it less, it fails."""
    shell.install(code=PYTHON)
    done = until_it_works(shell, "acme/echo", [f"text={data}"])
    assert flattened(done.out) == {"environment": ["WHO"], "subprocess": ["git"], "read": [str(data)]}
    folder = shell.root / "source" / "acme-echo"
    pasted(shell, folder, done.out, "1.1.0")
    assert shell.ok("run", "acme/echo", f"text={data}", "--json").json["structuredContent"]["result"] == [
        ["notes.txt"],
        "hello",
        "me",
        "git",
    ]
    for number, permissions in enumerate(less(done.out), 2):
        pasted(shell, folder, permissions, f"1.{number}.0")
        assert shell.run("run", "acme/echo", f"text={data}").code == 1, permissions


@pytest.mark.parametrize("way", ["/{}", "//{}", "/./{}", "/../{}", "/tmp/../{}"])
def test_a_path_is_traced_however_it_is_spelt(shell: Shell, data: Path, way: str) -> None:
    """Two slashes in front are one to the kernel; a tool that writes them hides nothing by that."""
    shell.install("acme/echo", code=CAREFUL)
    notes = way.format(f"/{data}/notes.txt")
    done = shell.ok("trace", "acme/echo", "--yes", "--read", str(data), f"text={notes}", "--json")
    assert done.json["denied"] == []
    assert done.json["permissions"]["read"] == [f"{data}/notes.txt"]


def test_the_permissions_of_a_shell_tool_are_found_and_suffice(shell: Shell, data: Path) -> None:
    """Programs by name, a file that it makes by its folder; nothing of the shell's own."""
    script = SHELL.replace("$FOLDER", str(data)).encode()
    folder = write_exec(shell, '["sh", "${app}/run.sh"]', {"run.sh": script}, requires='"sh"')
    shell.ok("install", str(built(shell, folder)), "--approve")
    wider = ["--subprocess", "cat", "--subprocess", "rm", "--subprocess", "git", "--write", str(data)]
    done = shell.ok("trace", "acme/program", "call", "--yes", *wider)
    assert flattened(done.out) == {"subprocess": ["cat", "rm"], "write": [str(data)]}
    assert "inside of that, these stay read-only" in done.err
    pasted(shell, folder, done.out, "1.1.0")
    assert shell.ok("run", "acme/program", "--json").json["structuredContent"] == {"head": "hello"}
    for number, permissions in enumerate(less(done.out), 2):
        pasted(shell, folder, permissions, f"1.{number}.0")
        assert shell.run("run", "acme/program").code == 1, permissions


def test_the_permissions_of_a_static_program_are_found_and_suffice(
    shell: Shell, data: Path, tmp_path: Path
) -> None:
    """A program that says nothing but its exit status: the file it opened is all it needs."""
    source = tmp_path / "tool.c"
    source.write_text(EXEC.replace("FOLDER", str(data)))
    binary = build_program(source, tmp_path / "binary").read_bytes()
    folder = write_exec(shell, '["tool"]', {"tool": binary})
    shell.ok("install", str(built(shell, folder)), "--approve")
    failed = shell.run("run", "acme/program")
    assert (failed.code, "mpp-exec trace acme/program" in error_lines(failed)[2]) == (1, True)
    done = until_it_works(shell, "acme/program", [])
    assert flattened(done.out) == {"read": [str(data / "notes.txt")]}
    pasted(shell, folder, done.out, "1.1.0")
    assert shell.ok("run", "acme/program").out == "hello\n"


def test_a_package_that_is_not_approved_is_traced_under_an_empty_grant(shell: Shell, data: Path) -> None:
    """What its manifest asks for gives it nothing before a person agreed."""
    toml = f'[permissions.filesystem]\nread = ["{data}"]\n'
    package = shell.package(code="def call(text):\n    return open(text).read()\n", toml=toml)
    shell.ok("install", str(package), "--no-approve")
    # Nor does it run at all unasked.
    words = ("trace", "acme/echo", f"text={data}/notes.txt")
    recorded = shell.ok("audit", "list", "--json").json
    refused = shell.run(*words)
    assert (refused.code, error_lines(refused)[1]) == (4, "consent.approval_needed")
    assert "nobody has agreed that it runs here" in refused.err
    assert shell.ok("audit", "list", "--json").json == recorded
    done = shell.run(*words, "--yes")
    assert done.code == 1
    assert f"denied: filesystem.read={data}/notes.txt" in done.err
    # And tracing approved nothing.
    assert error_lines(shell.run("run", "acme/echo", "text=x"))[1] == "grant.none"


def test_more_for_one_run_is_asked_about_and_remembered_nowhere(shell: Shell, data: Path) -> None:
    """Nobody to ask is a no; a yes holds for that run, is on the ledger, and is no grant."""
    shell.install(code="def call(text):\n    return open(text).read()\n")
    words = ["trace", "acme/echo", f"text={data}/notes.txt", "--read", str(data)]
    refused = shell.run(*words)
    assert (refused.code, error_lines(refused)[1]) == (4, "consent.approval_needed")
    with shell.at_terminal(*words) as terminal:
        terminal.expect("read " + str(data))
        terminal.expect("[y/N]")
        terminal.type("n\n")
        assert terminal.end()[0] == 4
    with shell.at_terminal(*words) as terminal:
        terminal.expect("[y/N]")
        terminal.type("y\n")
        assert terminal.end()[0] == 0
    assert shell.run("run", "acme/echo", f"text={data}/notes.txt").code == 1
    entries = shell.ok("audit", "list", "--json").json
    shown = json.dumps([each for each in entries if "trace" in str(each.get("caller"))])
    assert str(data) in shown
    assert "traced: seccomp user notification" in shown


@pytest.mark.parametrize(
    ("option", "path", "code"),
    [
        ("--read", "/proc", "grant.kernel_file_system"),
        ("--write", "/sys", "grant.kernel_file_system"),
        ("--read", "HOME", "grant.protected"),
        ("--read", "/nowhere/at/all", "path.missing"),
        ("--env", "LD_PRELOAD", "trace.word"),
        ("--subprocess", "/bin/sh", "trace.word"),
        ("--network", "*", "trace.word"),
    ],
)
def test_what_no_approval_would_give_no_trace_gives(shell: Shell, option: str, path: str, code: str) -> None:
    """The home, the kernel's file systems and the loader's variables are refused as at an approval."""
    shell.install()
    given = str(shell.home) if path == "HOME" else path
    done = shell.run("trace", "acme/echo", "text=x", option, given, "--yes")
    assert done.code in (2, 4)
    assert error_lines(done)[1] == code


def test_policy_bounds_a_traced_run(shell: Shell, data: Path) -> None:
    """What the organisation does not allow is not had for one run either."""
    shell.install()
    policy = shell.root / "policy.toml"
    policy.write_text("[permissions.filesystem]\nread = []\n")
    done = shell.run("trace", "acme/echo", "text=x", "--read", str(data), "--yes", MPP_POLICY=str(policy))
    assert (done.code, error_lines(done)[1]) == (4, "policy.permission")


def test_paths_below_a_setting_are_proposed_by_its_name(shell: Shell, data: Path) -> None:
    """The proposal is the publisher's, for every user: it names the setting, not this user's folder."""
    toml = (
        '[permissions.filesystem]\nread = ["${user_config.folder}"]\n'
        '[user_config.folder]\ntype = "directory"\nrequired = true\n'
    )
    shell.install(
        "acme/echo",
        "--set",
        f"folder={data}",
        code="def call(text):\n    return open(text).read()\n",
        toml=toml,
    )
    done = shell.ok("trace", "acme/echo", f"text={data}/notes.txt")
    assert flattened(done.out) == {"read": ["${user_config.folder}/notes.txt"]}


def test_storage_that_was_looked_for_is_proposed(shell: Shell) -> None:
    """A tool that asks for its private folder is told of by the variable it looked up."""
    shell.install(code="import os\ndef call(text):\n    return os.environ['MPP_STORAGE']\n")
    done = shell.run("trace", "acme/echo", "text=x")
    assert done.code == 1
    assert flattened(done.out) == {"storage": "16MiB"}


def test_what_a_tool_could_do_without_is_a_comment(shell: Shell, data: Path) -> None:
    """Refused, handled, and a good end: nothing of it is needed, and a person sees it all the same."""
    shell.install(code=CAREFUL)
    done = shell.ok("trace", "acme/echo", f"text={data}/notes.txt")
    assert flattened(done.out) == {}
    assert f'# read = ["{data}/notes.txt"]' in done.out
    assert f"denied: filesystem.read={data}/notes.txt" in done.err


def test_control_characters_and_secrets_of_paths_are_not_printed(shell: Shell, data: Path) -> None:
    """A path is the tool's to choose: it reaches the terminal escaped, and nobody with a secret in it."""
    names = ["x\x1b]0;owned\x07\nread = ['_']", "4111111111111111"]
    for name in names:
        (data / name).write_text("")
    shell.install(code=f"NAMES = {names!r}\n{LOOKING}")
    done = shell.run("trace", "acme/echo", f"text={data}")
    assert done.code == 1
    assert "\x1b" not in done.err + done.out
    assert "owned\n" not in done.out
    assert "4111111111111111" not in done.err + done.out
    assert flattened(done.out) == {}
    document = shell.run("trace", "acme/echo", f"text={data}", "--json")
    assert "4111111111111111" not in document.out


def test_a_tool_that_must_be_confirmed_is_confirmed_each_time_it_is_traced(shell: Shell) -> None:
    """--yes agrees to permissions; the call itself is a person's to confirm."""
    shell.install(extra='confirm = "always"')
    done = shell.run("trace", "acme/echo", "text=x", "--yes")
    assert (done.code, error_lines(done)[1]) == (4, "confirm.no_terminal")


def test_a_denied_host_is_proposed_and_a_socket_is_told(shell: Shell) -> None:
    """A Python tool names the host; what a socket without one meant is asked of the person."""
    shell.install(code="import socket\ndef call(text):\n    socket.create_connection((text, 443))\n")
    done = shell.run("trace", "acme/echo", "text=example.com")
    assert flattened(done.out) == {"network": ["example.com:443"]}
    shell.install(version="1.1.0", code="import socket\ndef call(text):\n    socket.socket()\n")
    done = shell.run("trace", "acme/echo", "text=x")
    assert "network socket" in done.err


CONNECTING = """
import socket

def call(text):
    host, _, port = text.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        return client.makefile().read()
"""


def test_hosts_are_found_and_suffice(shell: Shell) -> None:
    """Traced until it works, as the hints say; built with what was printed, it works."""
    server = Server(echo)
    try:
        where = f"127.0.0.1:{server.port}"
        shell.install(code=CONNECTING)
        done = until_it_works(shell, "acme/echo", [f"text={where}"])
        assert flattened(done.out) == {"network": [where]}
        pasted(shell, shell.root / "source" / "acme-echo", done.out, "1.1.0")
        made = shell.ok("run", "acme/echo", f"text={where}", "--json").json
        assert made["structuredContent"] == {"result": "hello"}
    finally:
        server.close()


def test_no_host_path_is_learnt_by_a_result(shell: Shell, data: Path) -> None:
    """Denials of a path that is there and of one that is not read the same: a result reaches the model."""
    shell.install(code="def call(text):\n    return open(text).read()\n")
    seen = []
    for name in ("notes.txt", "other.txt"):
        result = shell.run("run", "acme/echo", f"text={data}/{name}", "--json").json
        told = json.dumps([result["_meta"]["mpp-exec/denials"], result["content"]])
        seen.append(told.replace("other", "notes"))
    assert seen[0] == seen[1]
    assert os.path.exists(data / "notes.txt")  # noqa: PTH110 - what the two differ in

"""Where a person agreed to it by name, a tool runs on a host that lacks something, and everything says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from command import Shell, error_lines
from mpp_exec.registry.places import SHELF

CODE = """\
import os
def call(text):
    with open("note", "w") as file:
        file.write(text)
    return [open("note").read(), os.getuid(), os.getcwd() == os.environ["TMPDIR"]]
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with a package that is approved for hosts that lack any one thing."""
    made = Shell(tmp_path_factory.mktemp("degraded"))
    made.install("acme/echo", "--degrade", "namespaces", "--degrade", "landlock", code=CODE)
    # Asked for its interpreters here: in a user namespace of a user's own, root's files look like nobody's.
    made.ok("run", "acme/echo", "text=x")
    return made


def left_behind(shell: Shell) -> list[Path]:
    return [*(shell.home / "tmp").iterdir(), *(SHELF.iterdir() if os.geteuid() == 0 else ())]


HOSTS = (
    ("docker", "namespaces"),
    ("ubuntu", "namespaces"),
    ("no-user-namespaces", "namespaces"),
    ("no-landlock", "landlock"),
    ("landlock-disabled", "landlock"),
)


@pytest.mark.parametrize(("host", "degraded"), HOSTS)
def test_call_works_and_says_what_it_did_without(shell: Shell, host: str, degraded: str) -> None:
    done = shell.on(host, "run", "acme/echo", "text=x", "--json")
    assert done.code == 0, done
    said, uid, in_scratch = done.json["structuredContent"]["result"]
    assert (said, in_scratch) == ("x", True)
    assert uid != 0
    assert done.json["_meta"]["mpp-exec/degraded"] == [degraded]
    assert f"degraded, as you agreed: {degraded}" in done.err
    recorded = shell.ok("audit", "show", done.json["_meta"]["mpp-exec/invocation"], "--json").out
    assert f'"degradations":["{degraded}"]' in recorded.replace(" ", "").replace("\n", "")
    assert left_behind(shell) == []


@pytest.mark.parametrize(("host", "degraded"), HOSTS)
def test_explain_says_what_is_left(shell: Shell, host: str, degraded: str) -> None:
    document = shell.on(host, "explain", "acme/echo", "--json").json["tools"][0]
    text = shell.on(host, "explain", "acme/echo").out
    files = document["mechanisms"]["files"]
    assert document["degraded"] == [degraded]
    if degraded == "namespaces":
        assert len(files) == 1
        assert files[0].startswith("Landlock ABI ")
        assert "that files outside of the grant cannot be read" in document["single"]
        for line in ("it sees which files exist", "it sees which processes exist"):
            assert line in text
    else:
        assert files == ["mount namespace"]
        assert document["exposed"] == []
    assert f"Degraded, as you agreed: {degraded}" in text


def test_degradation_that_is_not_needed_takes_no_effect(shell: Shell) -> None:
    done = shell.ok("run", "acme/echo", "text=x", "--json")
    assert "mpp-exec/degraded" not in done.json["_meta"]
    assert "degraded" not in done.err
    document = shell.ok("explain", "acme/echo", "--json").json["tools"][0]
    assert (document["degraded"], document["single"], document["exposed"]) == ([], {}, [])


def test_approval_says_what_it_means(shell: Shell) -> None:
    shown = shell.ok("approve", "acme/echo", "--degrade", "namespaces", "--degrade", "landlock", "--yes").err
    for line in (
        "you agree to do without",
        "- namespaces, where",
        "it sees which files exist",
        "- landlock, where",
    ):
        assert line in shown


def test_exec_tool_runs_without_namespaces(shell: Shell) -> None:
    folder = shell.root / "exec"
    (folder / "bin").mkdir(parents=True)
    (folder / "mpp.toml").write_text(
        """\
[package]
name = "acme/shell"
version = "1.0.0"
description = "A script."

[runtime]
kind = "exec"
command = ["bin/tool", "${app}", "${storage}"]
requires = ["sh"]
env = { WHERE = "${app}/bin" }

[[tools]]
name = "call"
description = "Answers."
inputSchema = { type = "object" }

[permissions]
storage = "1MiB"
"""
    )
    script = folder / "bin/tool"
    script.write_text('#!/bin/sh\nread -r line\n[ "$1/bin" = "$WHERE" ] && cd "$WHERE" && echo "\\"$2\\""\n')
    script.chmod(0o755)
    shell.ok("build", str(folder), "-o", "shell.mpp")
    shell.ok("install", "shell.mpp", "--approve", "--degrade", "namespaces")
    done = shell.on("docker", "run", "acme/shell", "--json")
    if os.geteuid() == 0:
        assert (done.code, error_lines(done)[1]) == (5, "host.needs_namespaces")
        assert "--without storage" in error_lines(done)[2]
        return
    assert done.code == 0, done
    assert done.json["structuredContent"]["result"] == str(shell.home / "storage/acme/shell")

"""Manifests for the tests of the package room: one that contains everything, and its ``mpp.toml``."""

from __future__ import annotations

from typing import Any

from mpp_exec.package.manifest import (
    ConfigField,
    FileEntry,
    Manifest,
    Requirement,
    RuntimeSpec,
    Tool,
)
from mpp_exec.permissions import HostPort, Limits, Permissions, Privacy

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "pattern": "^[a-z/.]+$"},
        "limit": {"type": "number", "minimum": 0.5, "maximum": 1e300},
    },
    "required": ["path"],
    "additionalProperties": False,
}

FULL = Manifest(
    name="acme/csv",
    version="1.4.0-rc.1+build.5",
    description="Query CSV files, also with ümlauts",
    license="MIT OR (Apache-2.0 WITH LLVM-exception)",
    homepage="https://example.org/csv?x=1",
    expires="2027-06-30",
    publisher_key=bytes(range(32)),
    runtime=RuntimeSpec(
        kind="exec",
        command=("bin/csv", "--dir", "${user_config.data_dir}", "--state", "${storage}/s", "${app}/data"),
        env=(("CSV_HOME", "${app}/data"), ("PYTHONPATH", "${app}/vendor")),
        requires=(Requirement("node", "<23,>=20"), Requirement("python", ">=3.11")),
        platforms=("linux-aarch64", "linux-x86_64"),
    ),
    tools=(
        Tool(
            name="query",
            title="Query a CSV file",
            description="Runs a filter over a CSV file.",
            input_schema=SCHEMA,
            output_schema={"type": "object", "properties": {"rows": {"type": "array"}}},
        ),
        Tool(
            name="drop-rows.v2_x",
            description="Deletes rows.",
            input_schema={"type": "object"},
            operation="destructive",
            confirm="always",
            result="mcp",
        ),
    ),
    permissions=Permissions(
        network=(HostPort("*.cdn.example.com", 443), HostPort("::1", 80), HostPort("api.example.com", 443)),
        environment=("TZ",),
        subprocess=("git", "rg"),
        storage=16 * 1024 * 1024,
        read=("${user_config.data_dir}/in", "/usr/share/dict"),
        write=("${user_config.data_dir}/out",),
    ),
    user_config=(
        ConfigField("api_key", "string", title="API key", required=True, sensitive=True, env="API_KEY"),
        ConfigField("data_dir", "directory", title="Folder with CSV files", required=True),
        ConfigField("ratio", "number", description="How much of it", default=0.5, min=0, max=1.5),
        ConfigField("tags", "string", default=("new", "old"), multiple=True),
        ConfigField("verbose", "boolean", default=False, env="VERBOSE"),
    ),
    limits=Limits(wall_ms=250, memory=64 * 1024 * 1024),
    privacy=Privacy(allow=("email",), receive=("credit_card", "iban")),
    files=(
        FileEntry("bin/csv", 1234, b"\x11" * 32, executable=True),
        FileEntry("data.txt", 1, b"\x33" * 32),
        FileEntry("data/größe.csv", 0, b"\x22" * 32),
    ),
)

PYTHON = Manifest(
    name="acme/echo",
    version="1.0.0",
    publisher_key=b"\x01" * 32,
    runtime=RuntimeSpec(kind="python", requires=(Requirement("python"),), path=("vendor",)),
    tools=(
        Tool(name="echo", description="Says it again.", input_schema={"type": "object"}, entry="echo:echo"),
    ),
    files=(FileEntry("echo.py", 1, b"\x11" * 32), FileEntry("vendor/lib/__init__.py", 1, b"\x22" * 32)),
)

# The example of the contract, word for word, except for what the contract has as a comment.
TOML = """\
[package]
name = "acme/csv"                    # publisher/name, each [a-z0-9][a-z0-9-]{0,62}
version = "1.4.0"                    # SemVer 2.0.0
description = "Query CSV files"
license = "Apache-2.0"               # SPDX
homepage = "https://example.org/csv"
expires = 2027-06-30                 # after this day it is refused

[runtime]
kind = "python"                      # python | exec | mcp
path = ["vendor"]                    # python: folders of the package that go on sys.path
requires = ["python>=3.11"]          # interpreters taken from the host: python, node, sh, …
platforms = ["linux-x86_64"]         # absent = any

[[tools]]
name = "query"                       # MCP tool name: 1-128 of [A-Za-z0-9_.-]
title = "Query a CSV file"
description = "Runs a filter over a CSV file and returns the rows."
entry = "csvtool:query"              # python: module:function in the package
operation = "read"                   # read | write | destructive; MCP annotations are derived from it
confirm = "never"                    # never | once | always
inputSchema = { type = "object", properties = { path = { type = "string" } }, required = ["path"] }

[permissions]
network = ["api.example.com:443", "*.cdn.example.com:443"]
environment = ["TZ"]                 # host variables the tool may see
subprocess = ["git"]                 # host programs it may start; default none
storage = "16MiB"                    # a private folder that outlives the call

[permissions.filesystem]
read  = ["${user_config.data_dir}"]
write = []

[user_config.data_dir]
type = "directory"                   # string | number | boolean | file | directory
title = "Folder with CSV files"
required = true

[limits]                             # every one has a safe default
wall = "10s"
cpu = "5s"
memory = "256MiB"
processes = 16
open_files = 64
output = "1MiB"                      # result + stderr
scratch = "64MiB"                    # private /tmp

[privacy]
allow = []
receive = []
"""

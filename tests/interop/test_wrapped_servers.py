"""Servers that nobody here wrote, from their registries: wrapped, installed, approved, every tool called.

Each result is that of the same server, started afresh for each call and called by the official SDK without
any sandbox; and each server is denied what it was not granted.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from mpp_exec import Runtime
from mpp_exec.calls.result import ToolResult
from needs import missing

pytestmark = pytest.mark.timeout(1200)  # registries, and the first run makes the environment of the SDK

BASE = getattr(sys, "_base_executable", sys.executable)


def nothing(_: Path) -> None:
    """Prepare nothing."""


def repository(data: Path) -> None:
    def git(*words: str) -> None:
        fixed = {f"GIT_{who}_DATE": "2026-01-02T03:04:05Z" for who in ("AUTHOR", "COMMITTER")}
        subprocess.run(
            ["git", *words], cwd=data, check=True, capture_output=True, env={**os.environ, **fixed}
        )

    git("init", "--quiet", "--initial-branch=main")
    git("config", "user.name", "T")
    git("config", "user.email", "nowhere")  # an address would be redacted
    (data / "a.txt").write_text("one\n")
    git("add", "a.txt")
    git("commit", "--quiet", "--message=first")
    (data / "a.txt").write_text("one\ntwo\n")
    (data / "b.txt").write_text("new\n")


def documents(data: Path) -> None:
    (data / "notes.txt").write_text("alpha\nbeta\n")
    (data / "sub").mkdir()
    (data / "sub" / "deep.md").write_text("# deep\n")
    (data / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\x00")


@dataclass(frozen=True)
class Case:
    """One server: how it is wrapped, what is called, and what of a result differs from one run to the next.

    In ``calls`` and ``settings`` ``DATA`` stands for a folder that ``prepare`` fills.
    """

    source: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    words: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] = nothing
    changing: str = "(?!)"
    env: Mapping[str, str] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()


D = "DATA"
CASES = {
    "time": Case(
        "pypi:mcp-server-time==2025.9.25",
        (
            ("get_current_time", {"timezone": "Europe/Berlin"}),
            ("convert_time", {"source_timezone": "UTC", "time": "16:30", "target_timezone": "Asia/Tokyo"}),
            ("get_current_time", {"timezone": "Nowhere/AtAll"}),
        ),
        changing=r"T\d\d:\d\d:\d\d",
    ),
    "git": Case(
        "pypi:mcp-server-git==2026.8.18",
        (
            ("git_status", {"repo_path": D}),
            ("git_diff_unstaged", {"repo_path": D}),
            ("git_diff_staged", {"repo_path": D}),
            ("git_diff", {"repo_path": D, "target": "HEAD"}),
            ("git_add", {"repo_path": D, "files": ["b.txt"]}),
            ("git_reset", {"repo_path": D}),
            ("git_add", {"repo_path": D, "files": ["a.txt", "b.txt"]}),
            ("git_commit", {"repo_path": D, "message": "second"}),
            ("git_log", {"repo_path": D, "max_count": 5}),
            ("git_create_branch", {"repo_path": D, "branch_name": "side"}),
            ("git_checkout", {"repo_path": D, "branch_name": "side"}),
            ("git_show", {"repo_path": D, "revision": "main~1"}),
            ("git_branch", {"repo_path": D, "branch_type": "local"}),
            ("git_status", {"repo_path": "/etc"}),
        ),
        words=(
            *("--subprocess", "git", "--setting", "repository=directory"),
            *("--write", "${user_config.repository}", "--try", f"repository={D}"),
            *("--", "--repository", "${user_config.repository}"),
        ),
        settings={"repository": D},
        withheld=("subprocess", "filesystem.write"),
        prepare=repository,
        changing=r"0x[0-9a-f]+|[0-9a-f]{40}|\b[0-9a-f]{7}\b|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S*",
    ),
    "sqlite": Case(
        "pypi:mcp-server-sqlite==2025.4.25",
        (
            ("create_table", {"query": "CREATE TABLE t (n INTEGER, word TEXT)"}),
            ("write_query", {"query": "INSERT INTO t VALUES (1, 'one'), (2, 'two')"}),
            ("list_tables", {}),
            ("describe_table", {"table_name": "t"}),
            ("read_query", {"query": "SELECT word FROM t ORDER BY n"}),
            ("read_query", {"query": "DELETE FROM t"}),
            ("append_insight", {"insight": "two words"}),
        ),
        words=("--operation", "write", "--", "--db-path", "${storage}/data.db"),
        withheld=("storage",),
    ),
    "calculator": Case(
        "pypi:mcp-server-calculator==0.2.1",
        (("calculate", {"expression": "2 * (3 + 4)"}), ("calculate", {"expression": "import os"})),
        words=("--constraint", "mcp<2"),
    ),
    "filesystem": Case(
        "npm:@modelcontextprotocol/server-filesystem@2026.8.31",
        (
            ("list_allowed_directories", {}),
            ("read_file", {"path": f"{D}/notes.txt"}),
            ("read_text_file", {"path": f"{D}/notes.txt", "head": 1}),
            ("read_media_file", {"path": f"{D}/dot.png"}),
            ("read_multiple_files", {"paths": [f"{D}/notes.txt", f"{D}/sub/deep.md"]}),
            ("write_file", {"path": f"{D}/made.txt", "content": "made\n"}),
            ("edit_file", {"path": f"{D}/notes.txt", "edits": [{"oldText": "beta", "newText": "gamma"}]}),
            ("create_directory", {"path": f"{D}/other/inner"}),
            ("list_directory", {"path": D}),
            ("list_directory_with_sizes", {"path": D}),
            ("directory_tree", {"path": D}),
            ("move_file", {"source": f"{D}/made.txt", "destination": f"{D}/other/moved.txt"}),
            ("search_files", {"path": D, "pattern": "**/*.txt"}),
            ("get_file_info", {"path": f"{D}/other/moved.txt"}),
            ("read_text_file", {"path": "/etc/passwd"}),
        ),
        words=(
            *("--setting", "folder=directory", "--write", "${user_config.folder}"),
            *("--", "${user_config.folder}"),
        ),
        settings={"folder": D},
        withheld=("filesystem.write",),
        prepare=documents,
        changing=r"(?:created|modified|accessed): [^\n\"]*",
    ),
    "memory": Case(
        "npm:@modelcontextprotocol/server-memory@2026.8.31",
        (
            (
                "create_entities",
                {
                    "entities": [
                        {"name": name, "entityType": "thing", "observations": [f"is {name}"]}
                        for name in "abc"
                    ]
                },
            ),
            ("create_relations", {"relations": [{"from": "a", "to": "b", "relationType": "knows"}]}),
            ("add_observations", {"observations": [{"entityName": "a", "contents": ["is first"]}]}),
            ("read_graph", {}),
            ("search_nodes", {"query": "first"}),
            ("open_nodes", {"names": ["b"]}),
            ("delete_observations", {"deletions": [{"entityName": "a", "observations": ["is first"]}]}),
            ("delete_relations", {"relations": [{"from": "a", "to": "b", "relationType": "knows"}]}),
            ("delete_entities", {"entityNames": ["c"]}),
            ("read_graph", {}),
        ),
        words=("--operation", "write", "--env", "MEMORY_FILE_PATH=${storage}/memory.json"),
        env={"MEMORY_FILE_PATH": f"{D}/memory.json"},
        withheld=("storage",),
    ),
    "sequential-thinking": Case(
        "npm:@modelcontextprotocol/server-sequential-thinking@2026.8.31",
        (
            (
                "sequentialthinking",
                {"thought": "first", "nextThoughtNeeded": True, "thoughtNumber": 1, "totalThoughts": 2},
            ),
        ),
    ),
    "everything": Case(
        "npm:@modelcontextprotocol/server-everything@2026.8.31",
        (
            ("echo", {"message": "grüße"}),
            ("get-annotated-message", {"messageType": "success", "includeImage": True}),
            ("get-resource-links", {"count": 3}),
            ("get-resource-reference", {"resourceType": "Text", "resourceId": 1}),
            ("get-resource-reference", {"resourceType": "Blob", "resourceId": 2}),
            ("get-structured-content", {"location": "Chicago"}),
            ("get-sum", {"a": 2, "b": 3}),
            ("get-tiny-image", {}),
            (
                "gzip-file-as-resource",
                {"name": "a.gz", "data": "data:text/plain,hello", "outputType": "resource"},
            ),
            ("toggle-simulated-logging", {}),
            ("toggle-subscriber-updates", {}),
            ("trigger-long-running-operation", {"duration": 1, "steps": 2}),
            ("simulate-research-query", {"topic": "rain"}),
        ),
        changing=r"\d{1,2}:\d\d:\d\d [AP]M|session(?:Id)? [\w-]+|\d{4}-\d\d-\d\dT[\d:.]+Z",
    ),
}
UNTOLD = {"everything": {"get-env"}}  # prints the environment, which is another one by design


@dataclass
class Wrapped:
    """A wrapped server: its source folder, and a home in which it is installed and approved."""

    case: Case
    shell: Shell
    folder: Path
    direct: Path
    ours: Path
    package: str
    tools: set[str]

    def runtime(self) -> Runtime:
        return Runtime(self.shell.home, confirm=lambda _: True)


def replaced(value: Any, old: str, new: str) -> Any:
    return json.loads(json.dumps(value).replace(old, new))


def run(shell: Shell, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mpp_exec", *words],
        cwd=shell.cwd,
        env={**os.environ, **shell.environment()},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def wrap(case: Case, root: Path) -> Wrapped:
    root.chmod(0o755)
    shell = Shell(root)
    run(shell, "keygen", "acme")
    places = [root / "direct-data", root / "granted-data"]
    for each in places:
        each.mkdir()
        case.prepare(each)
    direct, ours = places
    folder = root / "wrapped"
    words = [word.replace(D, str(ours)) for word in case.words]
    run(shell, "wrap", case.source, "-o", str(folder), *words)
    run(shell, "build", str(folder), "-o", str(root / "it.mpp"))
    settings = [f"--set={key}={text.replace(D, str(ours))}" for key, text in case.settings.items()]
    run(shell, "install", str(root / "it.mpp"), "--approve", *settings)
    declared = tomllib.loads((folder / "mpp.toml").read_text())
    tools = {tool["name"] for tool in declared["tools"]}
    return Wrapped(case, shell, folder, direct, ours, declared["package"]["name"], tools)


class Ahead:
    """Wraps the next server while one is tested: most of the time of either is waiting."""

    def __init__(self, names: list[str], make: Callable[[str], Path], worker: Executor) -> None:
        self._names = names
        self._make = make
        self._worker = worker
        self._begun: dict[str, Future[Wrapped]] = {}

    def take(self, name: str) -> Wrapped:
        here = self._begin(name)
        for following in self._names[self._names.index(name) + 1 :][:1]:
            self._begin(following)
        return here.result()

    def _begin(self, name: str) -> Future[Wrapped]:
        if name not in self._begun:
            self._begun[name] = self._worker.submit(wrap, CASES[name], self._make(name))
        return self._begun[name]


@pytest.fixture(scope="module")
def ahead(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ahead]:
    chosen = [
        item.callspec.params.get("wrapped")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    with ThreadPoolExecutor(1) as worker:
        yield Ahead([name for name in CASES if name in chosen], tmp_path_factory.mktemp, worker)


@pytest.fixture(scope="module", params=CASES)
def wrapped(request: pytest.FixtureRequest, ahead: Ahead) -> Iterator[Wrapped]:
    if CASES[request.param].source.startswith("npm:") and shutil.which("npm") is None:
        missing("this host has no npm")
    it = ahead.take(request.param)
    yield it
    shutil.rmtree(it.folder.parent, ignore_errors=True)


def plain(result: ToolResult) -> dict[str, Any]:
    document = result.to_call_tool_result()
    del document["_meta"]
    return document


def called_directly(wrapped: Wrapped, python: Path) -> list[dict[str, Any]]:
    runtime = tomllib.loads((wrapped.folder / "mpp.toml").read_text())["runtime"]
    command = [BASE, "-S"] if runtime["command"][0] == "python" else [runtime["command"][0]]
    scratch = wrapped.direct.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    values = {"app": wrapped.folder, "storage": scratch} | {
        f"user_config.{key}": text.replace(D, str(wrapped.direct))
        for key, text in wrapped.case.settings.items()
    }
    words = [
        re.sub(r"\$\{([^}]+)\}", lambda match: str(values[match[1]]), word) for word in runtime["command"][1:]
    ]
    env = {name: text.replace(D, str(wrapped.direct)) for name, text in wrapped.case.env.items()}
    request = {
        "command": command[0],
        "args": [*command[1:], *words],
        "env": {"PATH": os.environ["PATH"], "HOME": str(scratch), "LANG": "C.UTF-8", **env},
        "cwd": str(scratch),
        "calls": replaced(wrapped.case.calls, D, str(wrapped.direct)),
    }
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("direct_client.py"))],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def _readable(blob: str) -> str:
    """Return a blob as its text, in which a time may stand."""
    try:
        return json.dumps(base64.b64decode(blob).decode())[1:-1]
    except UnicodeDecodeError:
        return blob


def comparable(wrapped: Wrapped, result: dict[str, Any]) -> Any:
    """Return a result without what differs by design: the folder it is about, times, and null members."""
    text = json.dumps({"isError": False, **result}, sort_keys=True, ensure_ascii=False)
    text = re.sub(r'(?<="blob": ")([^"]*)', lambda match: _readable(match[1]), text)
    for place in (wrapped.direct, wrapped.ours):
        text = text.replace(str(place), D).replace(place.name, D)
    value = json.loads(re.sub(wrapped.case.changing, "…", text))
    for block in value.get("content", []):
        block.pop("_meta", None)
    value.pop("_meta", None)
    value.pop("resultType", None)
    return value


def test_every_tool_gives_what_the_server_gives_directly(wrapped: Wrapped, interop_python: Path) -> None:
    assert {name for name, _ in wrapped.case.calls} >= wrapped.tools - {"get-env"}
    with ThreadPoolExecutor(1) as beside, wrapped.runtime() as runtime:
        direct = beside.submit(called_directly, wrapped, interop_python)
        results = [
            runtime.call(wrapped.package, name, replaced(arguments, D, str(wrapped.ours)))
            for name, arguments in wrapped.case.calls
        ]
        expectations = direct.result()
    for (name, _), result, expected in zip(wrapped.case.calls, results, expectations, strict=True):
        assert result.outcome in ("ok", "tool_error"), (name, result.reason, result.stderr)
        if "error" in expected:
            assert result.is_error
            assert expected["error"] in result.content[0]["text"]
            continue
        assert comparable(wrapped, plain(result)) == comparable(wrapped, expected), name


def approve(wrapped: Wrapped, *words: str) -> int:
    settings = [
        f"--set={key}={text.replace(D, str(wrapped.ours))}" for key, text in wrapped.case.settings.items()
    ]
    return wrapped.shell.run("approve", wrapped.package, "--yes", *settings, *words).code


def test_it_is_denied_what_it_was_not_granted(wrapped: Wrapped) -> None:
    """The same calls, less one permission: refused, or answered by a server that reaches nothing."""
    if not wrapped.case.withheld:
        pytest.skip("it is granted nothing that could be withheld")
    (name, arguments), *_ = wrapped.case.calls
    arguments = replaced(arguments, D, str(wrapped.ours))
    with wrapped.runtime() as runtime:
        for permission in wrapped.case.withheld:
            if approve(wrapped, f"--without={permission}") != 0:
                continue  # nothing runs: its command cannot be completed without
            try:
                result = runtime.call(wrapped.package, name, arguments)
                assert result.outcome in ("protocol", "tool_error")
            finally:
                assert approve(wrapped) == 0
        assert runtime.call(wrapped.package, name, arguments).outcome == "ok"


@pytest.mark.parametrize("wrapped", ["everything"], indirect=True)
def test_environment_and_network_of_the_host_are_not_there(
    wrapped: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "needle")
    with socket.create_server(("127.0.0.1", 0)) as listener, wrapped.runtime() as runtime:
        seen = runtime.call(wrapped.package, "get-env")
        assert seen.outcome == "ok"
        assert "needle" not in str(seen)
        assert "MPP_PACKAGE" in str(seen)
        listener.settimeout(0)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        result = runtime.call(
            wrapped.package,
            "gzip-file-as-resource",
            {"name": "a.gz", "data": address, "outputType": "resource"},
        )
        assert result.is_error
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_compiled_wheels_are_taken_for_the_platforms_asked_for(tmp_path: Path) -> None:
    """Each machine finds its own: this one runs the package, and the other's libraries are the other's."""
    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    shell.ok("keygen", "acme")
    machine = os.uname().machine
    other, number = ("aarch64", 183) if machine == "x86_64" else ("x86_64", 62)  # <elf.h>, e_machine
    source = CASES["time"].source
    run(shell, "wrap", source, "-o", str(tmp_path / "out"), "--platform", f"linux-{other}")
    declared = tomllib.loads((tmp_path / "out" / "mpp.toml").read_text())
    assert declared["runtime"]["platforms"] == ["linux-aarch64", "linux-x86_64"]
    libraries = list((tmp_path / "out" / f"vendor-{other}").rglob("*.so"))
    assert libraries
    assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries} == {number}
    lock = (tmp_path / "out" / f"requirements-{other}.lock").read_text()
    assert lock.count("--hash=sha256:") == len(lock.splitlines())
    run(shell, "build", str(tmp_path / "out"), "-o", str(tmp_path / "it.mpp"))
    run(shell, "install", str(tmp_path / "it.mpp"), "--approve")
    with Runtime(shell.home) as runtime:
        result = runtime.call(declared["package"]["name"], "get_current_time", {"timezone": "UTC"})
    assert result.outcome == "ok", result.stderr


@pytest.fixture
def page() -> Iterator[str]:
    """Serve a page on a port of this host's loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/page"
        server.shutdown()
        thread.join()


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/page"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"a page, of a few words" if found else b"")


def test_a_server_that_fetches_reaches_granted_hosts_alone(
    tmp_path: Path, interop_python: Path, page: str
) -> None:
    """The usual one; what it says of granted hosts is what it says without a sandbox."""
    host = page.removeprefix("http://").partition("/")[0]
    calls = tuple(("fetch", {"url": page, "raw": True, **more}) for more in ({}, {"start_index": 7}))
    missing_page = ("fetch", {"url": page + "s", "raw": True})
    case = Case("pypi:mcp-server-fetch==2025.4.7", (*calls, missing_page), words=("--network", host))
    wrapped = wrap(case, tmp_path)
    test_every_tool_gives_what_the_server_gives_directly(wrapped, interop_python)
    with wrapped.runtime() as runtime:
        result = runtime.call(wrapped.package, "fetch", {"url": page, "raw": True})
        assert "a page, of a few words" in result.content[0]["text"]
        for elsewhere in ("http://example.com/", "http://127.0.0.1:1/", "http://[::1]/"):
            refused = runtime.call(wrapped.package, "fetch", {"url": elsewhere, "raw": True})
            assert refused.is_error, elsewhere
            assert refused.meta["mpp-exec/network"]["connections"] == 0
    assert approve(wrapped, "--without", "network") == 0
    with wrapped.runtime() as runtime:
        assert runtime.call(wrapped.package, "fetch", {"url": page, "raw": True}).is_error

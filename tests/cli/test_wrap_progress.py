"""``wrap`` says what takes so long, ends when it is told to, and leaves nothing of what it began."""

from __future__ import annotations

import importlib.metadata
import io
import re
import shutil
import signal
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from command import DEADLINE, Shell, error_lines
from eventually import until
from mpp_exec.cli import console as printing
from mpp_exec.cli.console import Console
from mpp_exec.errors import HostError
from mpp_exec.wrap import pypi, wrapping
from mpp_exec.wrap.heard import MANY, Heard, Watch
from mpp_exec.wrap.origin import Origin
from processes_below import alive, descendants

HOSTILE = "a\x1b[2J\x07b\u202edcba"


class Index:
    """An index for pip on loopback: *wheels* by project, and the projects in *silent* never answered for."""

    def __init__(self, wheels: dict[str, dict[str, bytes]], silent: tuple[str, ...] = ()) -> None:
        self._wheels = wheels
        self._silent = silent
        self.asked = threading.Event()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = index.answer(self.path)
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header(
                    "Content-Type", "text/html" if self.path.endswith("/") else "application/zip"
                )
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> bytes | None:
        """Return what lies at *path*, None where nothing does."""
        _, first, name, *_ = (*path.split("/"), "", "")
        if first == "simple" and name in self._silent:
            self.asked.set()
            self._over.wait()
            return None
        if first == "simple" and name in self._wheels:
            files = self._wheels[name]
            return "".join(f'<a href="/files/{file}">{file}</a>\n' for file in files).encode()
        return next((files[name] for files in self._wheels.values() if name in files), None)

    @property
    def variables(self) -> dict[str, str]:
        """What has pip use this index alone."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/simple"
        return {"PIP_INDEX_URL": url, "PIP_CONFIG_FILE": "/dev/null", "no_proxy": "127.0.0.1"}


def wheel(name: str, version: str, *needs: str) -> tuple[str, bytes]:
    """Return the name and the bytes of a wheel with nothing in it."""
    data = io.BytesIO()
    about = f"{name}-{version}.dist-info"
    lines = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{about}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"{name}-{version}-py3-none-any.whl", data.getvalue()


VERSIONS = MANY + 3
# Every version of `choosy` wants something that `fixed` does not go with.
ENDLESS = {
    "server": dict([wheel("server", "1.0", "fixed==1.0", "choosy")]),
    "fixed": dict([wheel("fixed", "1.0"), wheel("fixed", "2.0")]),
    "choosy": dict(wheel("choosy", f"{number}.0", "fixed==2.0") for number in range(1, VERSIONS + 1)),
}
WORDS = ("wrap", "pypi:server==1.0", "--latest", "-o", "deep/out")


@contextmanager
def shell_with(tmp_path: Path, index: Index) -> Iterator[Shell]:
    with index:
        yield Shell(tmp_path, index.variables)


def test_at_a_terminal_a_line_says_what_it_waits_for_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    index = Index({}, silent=("server",))
    with shell_with(tmp_path, index) as shell, shell.at_terminal(*WORDS, columns=70) as terminal:
        terminal.expect("fetching pypi:server==1.0")
        assert index.asked.wait(DEADLINE)
        drawn = terminal.expect(" 3 s\x1b[K")
        assert re.search(r"\r  choosing versions(: [^\r]*)?, \d s\x1b\[K", drawn)
        assert all(len(row.partition("\x1b")[0]) < 70 for row in re.split(r"[\r\n]+", drawn))
        started = descendants(terminal.pid)
        assert started
        terminal.type("\x03")
        code, screen = terminal.end()
    assert code == 130
    assert screen.endswith("\r\x1b[Kinterrupted\n")
    assert not any(alive(each) for each in started)
    assert list(shell.cwd.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_alone_ends_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    """pip is no part of the group that the signal is sent to, and would go on for a quarter of an hour."""
    index = Index({}, silent=("server",))
    with shell_with(tmp_path, index) as shell, shell.start(*WORDS) as process:
        assert index.asked.wait(DEADLINE)
        started = descendants(process.pid)
        assert started
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (128 + number, b"")
    assert err.decode().splitlines() == ["fetching pypi:server==1.0", "interrupted"]
    assert not any(alive(each) for each in started)
    assert list(shell.cwd.iterdir()) == []


def test_an_installer_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    index = Index(ENDLESS, silent=("choosy",))
    with index:
        shell = Shell(tmp_path, index.variables)
        process = shell.start(*WORDS)
        assert index.asked.wait(DEADLINE)
        started = descendants(process.pid)
        process.kill()
        process.communicate(timeout=DEADLINE)
    # What it waited for is answered now; and nobody hears what it says next.
    assert until(lambda: not any(alive(each) for each in started))


def test_who_is_impatient_and_interrupts_the_tidying_leaves_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "server.py").touch()
    remove = shutil.rmtree
    calls: list[object] = []

    def interrupted(folder: Path, **options: Any) -> None:
        calls.append(folder)
        if len(calls) < 3:
            raise KeyboardInterrupt
        remove(folder, **options)

    def ask(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(wrapping, "ask", ask)
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    wishes = wrapping.Wishes(name="acme/x", arguments=("python", "server.py"))
    with pytest.raises(KeyboardInterrupt):
        wrapping.wrap(Origin("dir", str(source)), tmp_path / "deep" / "out", wishes)
    assert len(calls) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    done = shell.run("wrap", "dir:.", "-o", "/proc/nowhere/out", "--", "python", "x.py")
    assert error_lines(done)[1] == "wrap.io"


def test_what_takes_too_long_ends_with_a_hint(tmp_path: Path) -> None:
    with shell_with(tmp_path, Index({}, silent=("server",))) as shell:
        done = shell.run(*WORDS, "--timeout", "3")
    message, code, hint = error_lines(done)
    assert (done.code, code) == (7, "wrap.installer_timeout")
    assert message == "pip was not done after 3 s"
    assert hint.startswith("is the registry reachable?")
    assert "--timeout" in hint
    assert list(shell.cwd.iterdir()) == []
    for text in ("0", "-1", "nan", "inf", "x"):
        assert shell.run(*WORDS, f"--timeout={text}").code == 2


def test_who_tries_version_after_version_is_told_which_project_to_bound(tmp_path: Path) -> None:
    with shell_with(tmp_path, Index(ENDLESS)) as shell:
        done = shell.run(*WORDS)
    assert done.code != 0
    said = [line for line in done.err.splitlines() if line.startswith("no version of choosy fits so far")]
    assert len(said) == 1
    assert "--constraint 'choosy==VERSION'" in said[0]


def test_a_pip_that_is_missing_or_too_old_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 brings one that is; environments of some tools have none."""

    def fetch(**more: Any) -> HostError:
        given = {"constraints": (), "as_of": None, "latest": False, "script": "", **more}
        with pytest.raises(HostError) as failed:
            pypi.fetch(Origin("pypi", "server", "1.0"), tmp_path, **given)
        assert list(tmp_path.iterdir()) == []
        return failed.value

    monkeypatch.setattr(importlib.metadata, "version", lambda _: "23.0.1")
    monkeypatch.setattr(pypi, "uploaded", lambda _: datetime.now(UTC))
    old = fetch()
    assert "pip 23.0.1 cannot choose versions as of a day" in old.message
    assert f"{sys.executable} -m pip install --upgrade pip" in old.hint
    assert "--latest" in old.hint

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    for more in ({}, {"latest": True}):
        missing = fetch(**more)
        assert (missing.code, missing.exit_code) == ("wrap.installer", 5)
        assert missing.hint == f"{sys.executable} -m ensurepip --upgrade"


class Told:
    """Keeps what a watch is told."""

    def __init__(self) -> None:
        self.at: list[str] = []
        self.kept: list[str] = []
        self.heard = Heard("choosing", Watch(self.at.append, self.kept.append))


LINES = {
    "Collecting mcp>=1.0.0 (from x==1)": "looking at mcp",
    "  Downloading mcp-2.3.0-py3-none-any.whl (494 kB)": "downloading mcp-2.3.0-py3-none-any.whl",
    "  Downloading https://me:secret@x.example/mcp-2.3.tar.gz?key=secret": "downloading mcp-2.3.tar.gz",
    "Processing /opt/files/mcp-2.3.0.zip (from x)": "downloading mcp-2.3.0.zip",
    "Installing collected packages: a, b": "unpacking",
    "WARNING: Retrying (Retry(total=4))": "the registry does not answer, trying again",
    "npm http fetch GET 200 https://me:secret@r.example/@a%2fname 131ms (cache miss)": "fetched @a/name",
    "npm http fetch GET 200 https://r.example/p/is-odd 131ms": "fetched is-odd",
    "npm http fetch GET 200 https://r.example/@a/b/-/b-1.0.tgz 63ms": "fetched b-1.0.tgz",
    "npm http cache b@https://r.example/b/-/b-1.0.tgz 0ms": "fetched b-1.0.tgz",
    "npm http fetch GET https://r.example/b attempt 1 failed with ECONNREFUSED": (
        "the registry does not answer, trying again"
    ),
    "npm http fetch GET 503 https://r.example/b attempt 1": "the registry answers 503 for b",
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_an_installer_in_a_few_words(line: str) -> None:
    """No address is among them: one may hold a password."""
    here = Told()
    here.heard.take(line)
    assert here.at == ["choosing", f"choosing: {LINES[line]}"]


@pytest.mark.parametrize(
    "line",
    [
        *("", "x", "Collectings", "Looking in indexes: https://me:secret@x"),
        *("added 2 packages", "npm warn x", "\x00" * 10_000),
    ],
)
def test_other_lines_say_nothing(line: str) -> None:
    here = Told()
    here.heard.take(line)
    assert here.at == ["choosing"]


@pytest.mark.parametrize(
    "line", ["Collecting {}", "  Downloading {}", "npm http fetch GET 200 https://x/{} 1ms"]
)
def test_nothing_but_names_is_taken_from_a_line(line: str) -> None:
    here = Told()
    for text in (
        HOSTILE,
        f"{HOSTILE}-1.0-py3-none-any.whl",
        "x" * 5000,
        "../../x",
        "%1b[2J",
        "' --index-url=x",
    ):
        here.heard.take(line.format(text))
    assert all(re.fullmatch(r"[A-Za-z0-9 :@/._-]{1,200}", each) for each in here.at)
    assert here.heard.most_tried() == ("", 0)


def test_what_is_tried_most_is_named_once() -> None:
    here = Told()
    for number in range(MANY):
        assert here.kept == []
        for _ in range(2):  # its metadata, and itself
            here.heard.take(f"  Downloading Choosy_It-{number}.0-py3-none-any.whl (1 kB)")
        here.heard.take("  Downloading other-1.0.tar.gz (1 kB)")
    here.heard.take("  Downloading choosy.it-99-py3-none-any.whl.metadata (1 kB)")
    assert here.heard.most_tried() == ("choosy-it", MANY + 1)
    (line,) = here.kept
    assert "--constraint 'choosy-it==VERSION'" in line
    assert here.at[-1].startswith(
        f"choosing: {MANY + 1} versions of choosy-it tried, downloading choosy.it-99"
    )


def test_how_much_of_a_file_has_come_is_told() -> None:
    here = Told()
    here.heard.take("Progress 1 of 2")
    for line in (
        "  Downloading big-1.0-py3-none-any.whl (800 MB)",
        "Progress 0 of 800",
        "Progress 336 of 800",
    ):
        here.heard.take(line)
    for line in ("Progress 5 of 0", "Progress 900 of 800", "Progress -1 of 5", f"Progress 1 of {'9' * 5000}"):
        here.heard.take(line)
    file = "choosing: downloading big-1.0-py3-none-any.whl"
    assert here.at == ["choosing", file, f"{file}, 42 %"]


class Screen(io.StringIO):
    """A terminal of some width."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def isatty(self) -> bool:
        return True


def wait_for(stream: io.StringIO, text: str) -> str:
    assert until(lambda: text in stream.getvalue())
    return stream.getvalue()


def test_without_a_terminal_a_plain_line_comes_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "_SELDOM", 0.01)
    for variables, stream in (
        ({}, io.StringIO()),
        ({"NO_COLOR": "1"}, Screen(80)),
        ({"TERM": "dumb"}, Screen(80)),
    ):
        console = Console(out=io.StringIO(), err=stream, environ=variables)
        with console.status() as tell:
            tell(f"looking at {HOSTILE}")
            wait_for(stream, "looking at")
        assert stream.getvalue().splitlines()[-1] == r"looking at a\x1b[2J\x07b\u202edcba, 0 s"
        console.note("done")
        assert stream.getvalue().endswith("\ndone\n"), "nothing comes behind the end"


@pytest.mark.parametrize("text", ["x" * 500, "漢" * 500, HOSTILE * 50, ""])
def test_the_line_at_a_terminal_is_never_wider_than_it(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A terminal would wrap it, and what is drawn over it next would leave the rest standing."""
    monkeypatch.setattr(printing, "_SECOND", 0.01)
    stream = Screen(40)
    console = Console(out=io.StringIO(), err=stream, environ={})
    with console.status() as tell:
        tell(text)
        wait_for(stream, "0 s\x1b[K")
        console.note("a note")
    *drawn, last = stream.getvalue().split("\r")
    assert last == "\x1b[K" or last.endswith("a note\n")
    shown = [each.removesuffix("\x1b[K") for each in drawn if each.endswith("s\x1b[K")]
    assert shown
    for each in shown:
        assert each.replace("…", "").isprintable()
        assert sum(1 if character.isascii() else 2 for character in each) < 40
    assert "\x1b[Ka note\n" in stream.getvalue(), "the line goes before another one comes"


def test_the_line_goes_however_the_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "_SECOND", 0.01)
    stream = Screen(40)
    console = Console(out=io.StringIO(), err=stream, environ={})

    def work() -> Any:
        with console.status() as tell:
            tell("at it")
            wait_for(stream, "at it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_the_line_about_long_work_is_over_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has begun and is through: one that begins while the interpreter ends crashes it."""
    seen: list[str] = []
    draw_on = printing._Status._draw_on

    def drawn(status: printing._Status) -> None:
        seen.append("begun")
        draw_on(status)

    monkeypatch.setattr(printing._Status, "_draw_on", drawn)
    quiet = Console(out=io.StringIO(), err=io.StringIO(), environ={})
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # no thread begins but while this one waits
    try:
        with quiet.status():
            pass
        assert seen == ["begun"]
    finally:
        sys.setswitchinterval(interval)

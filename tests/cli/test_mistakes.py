"""A user's mistake gets a code, a sentence and a way out; never a traceback, and nothing changes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from command import Shell, error_lines
from mpp_exec.lifecycle.session import Session

SETTINGS = """
[permissions.filesystem]
read = ["${user_config.folder}"]

[user_config.folder]
type = "directory"
required = true

[user_config.depth]
type = "number"

[user_config.token]
type = "string"
sensitive = true
env = "TOKEN"
"""
TYPED = """{ type = "object", additionalProperties = false, properties = { text = { type = "string" }, \
count = { type = "integer" }, ratio = { type = "number" }, deep = { type = "boolean" }, \
names = { type = "array" } }, required = ["text"] }"""
NETWORK = '[permissions]\nnetwork = ["example.com:443"]\n'


@dataclass(frozen=True)
class Mistake:
    """What was typed, and what must come back. *message* and *hint* are parts of what is said."""

    words: tuple[str, ...]
    exit_code: int
    code: str
    message: str
    hint: str
    stdin: bytes = b""
    variables: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code} {' '.join(self.words)}"[:60]


MISTAKES = [
    # the command line itself
    Mistake((), 2, "usage.no_verb", "nothing to do", "--help"),
    Mistake(("instal", "x.mpp"), 2, "usage.unknown_verb", "no verb 'instal'", "mpp-exec install"),
    Mistake(("lsit",), 2, "usage.unknown_verb", "no verb 'lsit'", "mpp-exec list"),
    Mistake(("publisher",), 2, "usage.no_verb", "one more word", "list, add, show, rotate, revoke, remove"),
    Mistake(("publisher", "ad", "x"), 2, "usage.unknown_verb", "publisher ad", "mpp-exec publisher add"),
    Mistake(("--hom", "x", "list"), 2, "usage.unknown_option", "--hom", "--help"),
    Mistake(("mcp", "--config", "clade", "--"), 2, "usage.arguments", "'clade'", "mcp --config claude"),
    Mistake(("wrap", "mcp-server-time", "-o", "x"), 2, "wrap.source", "names no source", "pypi:NAME=="),
    Mistake(("wrap", "pypi:time==1"), 2, "usage.missing", "-o DIR", "pypi:time==1 -o DIR"),
    Mistake(("wrap", "pypi:time==1", "-o", "x", "--storage", "lots"), 2, "toml.bad_value", "'lots'", "16MiB"),
    Mistake(("list", "--jsno"), 2, "usage.unknown_option", "no option --jsno", "--json"),
    Mistake(("install",), 2, "usage.missing", "FILE|REF is missing", "mpp-exec install"),
    Mistake(("push", "x.mpp"), 2, "usage.missing", "REF is missing", "mpp-exec push"),
    Mistake(("push", "x.mpp", "oci://host/a"), 2, "registry.reference", "says no version", "oci://host"),
    Mistake(("pull", "https://host/a:1"), 2, "registry.reference", "names nothing in a registry", "oci://"),
    Mistake(("push", "missing.mpp", "oci://localhost/a:1"), 2, "package.not_found", "missing.mpp", "build"),
    Mistake(("publisher", "rotate", "nobody"), 2, "publisher.unknown", "nobody", "acme"),
    Mistake(("publisher", "rotate", "other"), 2, "key.not_found", "no private key", "rotation statement"),
    Mistake(("publisher", "rotate", "no.rotation"), 2, "rotation.not_found", "no.rotation", "gives out"),
    Mistake(("publisher", "rotate", "n" * 300 + "."), 2, "rotation.not_found", "neither", "gives out"),
    Mistake(("publisher", "rotate", "text.mpp"), 3, "rotation.malformed", "not a rotation statement", "NAME"),
    Mistake(("publisher", "rotate", "full"), 2, "publisher.unknown", "full", "acme"),
    Mistake(("publisher", "rotate", "./full"), 2, "input.unreadable", "cannot be read", "check the path"),
    Mistake(("publisher", "rotate", "acme", "--yes"), 2, "usage.arguments", "--yes", "./acme --yes"),
    Mistake(("publisher", "rotate", "x.y", "-o", "z"), 2, "usage.arguments", "--output", "rotate NAME"),
    Mistake(("publisher", "revoke", "nobody"), 2, "publisher.unknown", "nobody", "acme"),
    Mistake(("publisher", "revoke", "sha256:12"), 2, "trust.bad_key_id", "sha256:12", "64 hex digits"),
    Mistake(("publisher", "revoke", "--package", "a/b"), 2, "store.not_installed", "a/b", ""),
    Mistake(("verify", "a", "b"), 2, "usage.unexpected", "'b' is one argument too many", "as in"),
    Mistake(("completion", "powershell"), 2, "usage.arguments", "'powershell'", "as in"),
    Mistake(("run", "acme/echo", "--timeout", "soon"), 2, "usage.arguments", "'soon'", "as in"),
    Mistake(("audit", "list", "--limit", "-1"), 2, "usage.arguments", "--limit", "as in"),
    Mistake(("install", "x.mpp", "--approve", "--no-approve"), 2, "usage.arguments", "exclude", "choose"),
    # making packages
    Mistake(("init", "full"), 2, "init.not_empty", "not empty", "does not exist"),
    Mistake(("init", "new", "--kind", "java"), 2, "usage.arguments", "'java'", "as in"),
    Mistake(("keygen", "Acme"), 2, "key.bad_publisher", "'Acme'", "a-z"),
    Mistake(("keygen", "-x"), 2, "usage.unknown_option", "-x", "--help"),
    Mistake(("keygen", "--", "-x"), 2, "key.bad_publisher", "'-x'", "beginning with a letter"),
    Mistake(("keygen", "acme"), 2, "key.exists", "already", "never overwritten"),
    Mistake(("keygen", "other"), 4, "publisher.key_changed", "other is known", "another name"),
    Mistake(("keygen", "new", "--passphrase"), 4, "key.no_terminal", "no terminal", "at a terminal"),
    Mistake(("build", "good", "-o", "n" * 300), 2, "build.bad_output", "too long", "shorter"),
    Mistake(("build", "nowhere"), 2, "build.no_folder", "nowhere", "mpp.toml"),
    Mistake(("build", "full"), 2, "build.no_manifest", "no mpp.toml", "init"),
    Mistake(("build", "broken"), 2, "toml.syntax", "not TOML", "toml.io"),
    Mistake(("build", "misspelt"), 2, "toml.unknown_key", "permisions", "permissions"),
    Mistake(("build", "foreign"), 2, "key.not_found", "no private key of publisher nobody", "keygen nobody"),
    Mistake(("build", "foreign", "--key", "acme"), 2, "build.wrong_publisher", "nobody", "--key nobody"),
    Mistake(("build", "good", "-o", "missing/x.mpp"), 2, "build.bad_output", "missing", "-o"),
    # files that are no packages, or not to be had
    Mistake(("verify", "absent.mpp"), 2, "package.not_found", "absent.mpp", "mpp-exec build"),
    Mistake(("verify", "-x.mpp"), 2, "usage.unknown_option", "-x.mpp", "--help"),
    Mistake(("verify", "--", "-x.mpp"), 2, "package.not_found", "-x.mpp", "check the path"),
    Mistake(("verify", "full"), 3, "package.not_a_package", "full", "mpp-exec build"),
    Mistake(("verify", "text.mpp"), 3, "package.not_a_package", "text.mpp", "mpp-exec build"),
    Mistake(("verify", "cut.mpp"), 3, "package.truncated", "ends in the middle", "again"),
    Mistake(("verify", "flipped.mpp"), 3, "package.bad_signature", "signature", "do not use it"),
    Mistake(("verify", "stranger.mpp"), 4, "trust.unknown_publisher", "not known here", "publisher add"),
    Mistake(("inspect", "acme/absent"), 2, "package.not_found", "neither", "mpp-exec list"),
    Mistake(("install", "stranger.mpp"), 4, "trust.unknown_publisher", "not known", "--approve"),
    Mistake(("install", "stranger.mpp", "--trust=abc"), 2, "trust.bad_key_id", "'abc'", "64 hex"),
    Mistake(
        ("install", "stranger.mpp", f"--trust=sha256:{'0' * 64}", "--approve"),
        3,
        "trust.key_mismatch",
        "was to be trusted",
        "mistyped",
    ),
    Mistake(("install", "impostor.mpp", "--trust"), 3, "trust.key_mismatch", "is known here with", "new"),
    Mistake(("install", "old.mpp", "--approve"), 3, "trust.rollback", "older than 2.0.0", "--downgrade"),
    Mistake(("install", "conflict.mpp"), 3, "trust.version_conflict", "acme/echo 2.0.0", "never published"),
    # agreeing
    Mistake(("install", "settings.mpp"), 4, "consent.approval_needed", "no terminal", "--approve --set"),
    Mistake(("install", "settings.mpp", "--approve"), 2, "config.missing", "folder", "--set folder="),
    Mistake(
        ("install", "settings.mpp", "--approve", "--set", "foldr=/tmp"),
        2,
        "config.unknown",
        "'foldr'",
        "'folder'",
    ),
    Mistake(("install", "settings.mpp", "--set", "folder"), 2, "config.malformed", "'folder'", "NAME=VALUE"),
    Mistake(
        ("install", "settings.mpp", "--set", "token=hunter2"),
        2,
        "config.sensitive_inline",
        "token is a secret",
        "@FILE",
    ),
    Mistake(
        ("install", "settings.mpp", "--set", "token=@absent"),
        2,
        "input.unreadable",
        "token",
        "check the path",
    ),
    Mistake(
        ("install", "settings.mpp", "--approve", "--set", "folder=/absent/folder"),
        2,
        "path.missing",
        "/absent/folder",
        "create it",
    ),
    Mistake(
        ("install", "settings.mpp", "--approve", "--set", "folder=/proc/self"),
        4,
        "grant.kernel_file_system",
        "/proc",
        "ordinary files",
    ),
    Mistake(
        ("install", "settings.mpp", "--approve", "--set", "folder=.", "--set", "depth=deep"),
        2,
        "config.type",
        "'deep' of depth",
        "a number",
    ),
    Mistake(
        ("install", "settings.mpp", "--approve", "--set", "folder=.", "--set", "folder=.."),
        2,
        "config.twice",
        "folder is set twice",
        "leave one",
    ),
    Mistake(
        ("approve", "acme/echo", "--yes", "--without", "netwrk"), 2, "permission.unknown", "'netwrk'", ""
    ),
    Mistake(
        ("approve", "acme/echo", "--yes", "--degrade", "landlok"),
        2,
        "grant.unknown_degradation",
        "'landlok'",
        "landlock",
    ),
    Mistake(("approve", "acme/echo"), 4, "consent.approval_needed", "no terminal", "--yes"),
    Mistake(("approve", "acme/ecko"), 2, "store.not_installed", "acme/ecko", "acme/echo"),
    Mistake(("revoke", "acme/absent"), 2, "store.not_installed", "acme/absent", "acme/net"),
    Mistake(("uninstall", "acme/absent"), 2, "store.not_installed", "acme/absent", "acme/net"),
    # publishers
    Mistake(("publisher", "add", "new", "ed25519:abc"), 2, "trust.bad_key", "not a public key", "ed25519:"),
    Mistake(
        ("publisher", "add", "acme", "ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"),
        4,
        "publisher.key_changed",
        "acme is known",
        "publisher remove",
    ),
    Mistake(("publisher", "show", "acne"), 2, "publisher.unknown", "'acne'", "'acme'"),
    Mistake(("publisher", "remove", "nobody"), 2, "publisher.unknown", "'nobody'", "known here"),
    # calls
    Mistake(("run", "acme/ecko"), 2, "store.not_installed", "acme/ecko", "acme/echo"),
    Mistake(("run", "acme/waiting", "text=x"), 4, "grant.none", "not approved", "mpp-exec approve"),
    Mistake(("trace", "acme/ecko"), 2, "store.not_installed", "acme/ecko", "acme/echo"),
    Mistake(("trace", "acme/echo", "text=x", "--env", "LD_PRELOAD"), 2, "trace.word", "LD_PRELOAD", ""),
    Mistake(("trace", "acme/echo", "text=x", "--read", "/absent/x"), 2, "path.missing", "/absent/x", ""),
    Mistake(
        ("trace", "acme/echo", "text=x", "--read", "/proc", "--yes"),
        4,
        "grant.kernel_file_system",
        "/proc",
        "",
    ),
    Mistake(
        ("trace", "acme/echo", "text=x", "--env", "TZ"), 4, "consent.approval_needed", "no terminal", "--yes"
    ),
    Mistake(("trace", "acme/echo", "--set", "a=b"), 2, "trace.settings", "is approved", "mpp-exec approve"),
    Mistake(("explain", "acme/waiting"), 4, "grant.none", "not approved", "mpp-exec approve"),
    Mistake(("run", "acme/echo", "cal", "text=x"), 2, "tool.unknown", "no tool cal", "'call'"),
    Mistake(("run", "acme/echo", "text=x", "call"), 2, "arguments.word", "'call'", "KEY=VALUE"),
    Mistake(("run", "acme/echo", "--args", "{"), 2, "arguments.not_json", "not JSON", "--args"),
    Mistake(("run", "acme/echo", "--args", "[1]"), 2, "arguments.not_object", "not a JSON object", "--args"),
    Mistake(("run", "acme/echo", "--args", "@absent"), 2, "input.unreadable", "absent", "check"),
    Mistake(("run", "acme/echo", "--args", "-"), 2, "arguments.not_json", "not JSON", "--args"),
    Mistake(("run", "acme/echo", "--args", '{"a":1,"a":2}'), 2, "arguments.not_json", "not JSON", ""),
    Mistake(("run", "acme/echo"), 2, "arguments.schema", "required", "mpp-exec inspect"),
    Mistake(("run", "acme/echo", "text=a", "text=b"), 2, "arguments.twice", "text is given twice", "leave"),
    Mistake(("run", "acme/echo", "txt=a"), 2, "arguments.unknown", "no argument txt", "'text'"),
    Mistake(
        ("run", "acme/echo", "count=1.5"), 2, "arguments.type", "'1.5' is not of type integer", "whole number"
    ),
    Mistake(("run", "acme/echo", "ratio=NaN"), 2, "arguments.type", "'NaN' is not of type number", "0.5"),
    Mistake(
        ("run", "acme/echo", "deep=yes"), 2, "arguments.type", "'yes' is not of type boolean", "true or false"
    ),
    Mistake(("run", "acme/echo", "names=a,b"), 2, "arguments.type", "'a,b' is not of type array", "[1, 2]"),
    Mistake(("run", "acme/echo", "text=x", "--timeout", "0"), 2, "call.timeout", "no time", "above zero"),
    # looking back
    Mistake(("audit", "show", "9999"), 2, "ledger.unknown_entry", "9999", ""),
    Mistake(("audit", "list", "--since", "yesterday"), 2, "audit.bad_time", "'yesterday'", "2h"),
    Mistake(("audit", "list", "--outcome", "fine"), 2, "audit.unknown_word", "'fine'", ""),
    Mistake(("audit", "list", "--kind", "instal"), 2, "audit.unknown_word", "'instal'", "install"),
    Mistake(("audit", "show", "1", "--args", "{", "--result", "{"), 2, "usage.arguments", "exclude", "one"),
    # the home
    Mistake(("list", "--home", "text.mpp"), 2, "home.not_a_folder", "text.mpp", "--home"),
    Mistake(("list", "--home", "full"), 2, "home.not_a_home", "full", "--home"),
    Mistake(("list",), 2, "home.link", "symbolic link", "--home", variables={"MPP_HOME": "link"}),
    Mistake(("list",), 4, "home.writable", "written by others", "chmod", variables={"MPP_HOME": "open"}),
    Mistake(
        ("run", "acme/echo", "text=x"),
        4,
        "policy.missing",
        "policy",
        "MPP_POLICY",
        variables={"MPP_POLICY": "absent.toml"},
    ),
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a home in which everything is there to be mistaken about."""
    root = tmp_path_factory.mktemp("mistakes")
    shell = Shell(root)
    work = shell.cwd
    (work / "full").mkdir()
    (work / "full" / "file").write_text("x")
    for name, text in (("broken", "[package\n"), ("misspelt", '[permisions]\n[package]\nname = "acme/x"\n')):
        (work / name).mkdir()
        (work / name / "mpp.toml").write_text(text)
    shell.tool("nobody/tool").rename(work / "foreign")
    shell.tool("acme/good").rename(work / "good")
    (work / "text.mpp").write_text("hello\n")
    (work / "empty").mkdir()
    (work / "link").symlink_to("empty")
    (work / "open").mkdir()
    (work / "open").chmod(0o777)

    old = shell.package(version="1.0.0", schema=TYPED).rename(work / "old.mpp")
    data = old.read_bytes()
    (work / "flipped.mpp").write_bytes(data.replace(b"Answers.", b"answers."))
    (work / "cut.mpp").write_bytes(shell.package(version="3.0.0").read_bytes()[:-100])
    (work / "acme-echo-3.0.0.mpp").unlink()
    conflict = shell.package(version="2.0.0", description="Another one.").rename(work / "conflict.mpp")
    assert conflict.exists()
    shell.install(version="2.0.0", schema=TYPED)
    shell.package("acme/settings", toml=SETTINGS).rename(work / "settings.mpp")
    shell.ok("install", str(shell.package("acme/waiting")), "--no-approve")
    shell.ok("install", str(shell.package("acme/net", toml=NETWORK)), "--approve")

    def elsewhere(name: str, package: str) -> Path:
        (root / name).mkdir()
        return Shell(root / name).package(package)

    elsewhere("theirs", "stranger/tool").rename(work / "stranger.mpp")
    elsewhere("false", "acme/echo").rename(work / "impostor.mpp")
    shell.ok("publisher", "add", "other", "ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik")
    return shell


def state(shell: Shell) -> tuple[object, ...]:
    """Return what a mistake must not change: the store, and every file of home and working folder."""
    with Session(shell.home) as session:
        generation = session.store.generation()
    kept = [
        str(path.relative_to(shell.root))
        for folder in (*(shell.home / name for name in ("packages", "keys", "storage", "tmp")), shell.cwd)
        for path in sorted(folder.rglob("*"))
    ]
    return generation, tuple(kept)


def on_record(shell: Shell) -> list[str]:
    """Return the kinds of all entries but those of refused calls."""
    with Session(shell.home) as session:
        return [entry.kind for entry in session.ledger.list() if entry.kind != "refused"]


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistake(shell: Shell, mistake: Mistake) -> None:
    """Exit code, error code, message and hint; the same as a document; and nothing has changed."""
    before = state(shell), on_record(shell)
    words = list(mistake.words)
    takes_json = words and words[0] not in ("completion", "lsit", "instal") and "--" not in words
    done = shell.run(*words, *(["--json"] if takes_json else []), stdin=mistake.stdin, **mistake.variables)
    assert "Traceback" not in done.err
    message, code, hint = error_lines(done)
    assert (done.code, code) == (mistake.exit_code, mistake.code), done
    assert mistake.message in message, done
    assert mistake.hint in hint, done
    assert hint, "every mistake has a way out"
    assert message[:1] == message[:1].lower() or message.split()[0].isupper(), "messages are lower case"
    assert not message.endswith("."), "messages have no full stop"
    if takes_json:
        assert done.json == {
            "error": {"code": code, "message": json.loads(done.out)["error"]["message"], "hint": hint}
        }
    else:
        assert not done.out
    assert (state(shell), on_record(shell)) == before


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) >= 40
    assert len({(each.words, str(each.variables)) for each in MISTAKES}) == len(MISTAKES)


def test_an_unexpected_fault_is_one_line_with_a_code(shell: Shell) -> None:
    """Not the user's mistake: exit 7, one line and a way to say more; the traceback only when asked for."""
    broken = shell.root / "broken-install"
    broken.mkdir(exist_ok=True)
    (broken / "sitecustomize.py").write_text(
        "import mpp_exec.cli.packages as packages\n"
        "from mpp_exec.cli.parser import Verb\n"
        "def fail(given, console):\n    raise ValueError('a \\x1b[31m fault')\n"
        "packages.VERBS['list'] = Verb(packages.VERBS['list'].configure, fail)\n"
    )
    done = shell.run("list", "--json", PYTHONPATH=str(broken))
    assert done.code == 7
    assert done.json["error"]["code"] == "internal.unexpected"
    assert "Traceback" not in done.err
    assert error_lines(done)[0].startswith("ValueError at sitecustomize.py:4: a \\x1b[31m fault")
    assert "Traceback" in shell.run("list", PYTHONPATH=str(broken), MPP_DEBUG="1").err

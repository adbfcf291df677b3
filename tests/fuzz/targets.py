"""What is fuzzed: one function a reader, from any bytes to nothing, or to an exception that is a finding.

A target lets pass only the errors that its reader documents. Everything else is a finding: another
exception, a value that does not survive being written and read again, a reader that disagrees with an
independent one, anything written to disk or started meanwhile. Time and memory are bounded by whoever
runs it (``__main__`` by libFuzzer, ``test_fuzz_corpus`` by pytest's timeout). No atheris here.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import cbor2

import forge
from fuzz import egress
from mpp_exec.audit import entry as ledger_entry
from mpp_exec.calls.result import read_result
from mpp_exec.consent.grant import Grant
from mpp_exec.consent.policy_file import parse_layer
from mpp_exec.dialogue.protocol import is_id
from mpp_exec.dialogue.session import Asked, Reading, Session
from mpp_exec.encoding import JsonError, dumps, json_dumps, json_loads, loads
from mpp_exec.errors import ConsentError, PackageError, UsageError
from mpp_exec.mcp import messages
from mpp_exec.package import canonical
from mpp_exec.package.archive import open_package
from mpp_exec.package.authoring import parse_toml
from mpp_exec.package.manifest import KINDS, MANIFEST_DEPTH, RESULT_FORMS, Tool
from mpp_exec.package.requirement import parse_requirement
from mpp_exec.package.schema import compile_schema
from mpp_exec.package.semver import Version
from mpp_exec.permissions import HostPort, Permissions
from mpp_exec.privacy.redact import Redactor
from mpp_exec.sandbox.outcome import Outcome
from mpp_exec.sandbox.spawn import Completed
from mpp_exec.serving import wire
from mpp_exec.trust import cose, rotation
from mpp_exec.trust.verify import verify
from mpp_exec.vocabulary import (
    VocabularyError,
    format_duration,
    format_size,
    parse_duration,
    parse_env_name,
    parse_host_port,
    parse_kind,
    parse_path,
    parse_program,
    parse_size,
)
from mpp_exec.wrap.heard import Heard, Watch

SECRET: Final = "horse battery-staple 1234"
_MAX_SIZE: Final = 1 << 20
_OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "tool_error", "timeout", "memory", "killed", "protocol")

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES: Final = frozenset(
    {
        *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
        *("os.chmod", "os.chown", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"),
        *("subprocess.Popen", "socket.connect", "socket.bind", "sqlite3.connect"),
    }
)
_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
        raise AssertionError(f"a reader did {event} {arguments!r}")


sys.addaudithook(_watch)


@contextmanager
def changes_nothing() -> Iterator[None]:
    """Make it a finding when Python code writes, starts or connects to anything (PEP 578)."""
    global _watching  # noqa: PLW0603 -- an audit hook cannot be taken away again
    _watching = True
    try:
        yield
    finally:
        _watching = False


def read_archive(data: bytes) -> None:
    """Whatever is accepted is, byte for byte, what an independent writer makes of manifest and contents."""
    descriptor = os.memfd_create("package", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        with suppress(PackageError, ConsentError), open_package(f"/proc/self/fd/{descriptor}") as package:
            verified = verify(package, forge.view(), now=forge.NOW, platform=forge.PLATFORM)
            files, offset = {}, 30 + len(b"manifest.cose") + len(package.signed)
            for each in verified.manifest.files:
                offset += 30 + len(each.path.encode())
                files[each.path] = data[offset : offset + each.size]
                offset += each.size
            executable = [each.path for each in verified.manifest.files if each.executable]
            again = forge.sign(verified.manifest)
            assert forge.pack(forge.raw_members(again, files, executable)) == data
    finally:
        os.close(descriptor)


def read_signed(data: bytes) -> None:
    """The same behind a right signature: the publisher writes any manifest, and is refused or right."""
    read_archive(forge.pack(forge.raw_members(forge.sign_bytes(data), forge.PYTHON_FILES)))


def read_cbor(data: bytes) -> None:
    """The strict door takes only what it would write, and reads it as cbor2's loose decoder does."""
    try:
        value = loads(data, max_size=_MAX_SIZE)
    except PackageError:
        return
    assert dumps(value) == data
    loose = cbor2.loads(data)
    assert _same(loose, value), (loose, value)


def _same(one: Any, other: Any) -> bool:
    """Compare with types: 1, 1.0 and True are equal in Python and three values in CBOR and JSON."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def read_cose(data: bytes) -> None:
    """An envelope is taken apart into what gives the same bytes again; nobody else can have signed it."""
    try:
        envelope = cose.decode(data)
    except PackageError:
        return
    protected = loads(data[1:], max_size=len(data), max_depth=2)[0]
    assert dumps([protected, {}, envelope.payload, envelope.signature], tag=18) == data
    assert protected.endswith(envelope.kid)
    if envelope.is_signed_by(forge.KEY.public_key):
        assert forge.sign_bytes(envelope.payload) == data


def read_rotation(data: bytes) -> None:
    """A statement that is accepted is the one that its two keys make, and nobody else has made it."""
    try:
        what = rotation.read(data)
    except PackageError as error:
        assert error.code in ("rotation.malformed", "rotation.bad_signature")
        return
    ours = {key.public_key: key for key in (forge.KEY, forge.OTHER_KEY)}
    day = date.fromisoformat(what.issued)
    assert rotation.sign(what.publisher, ours[what.old_key], ours[what.new_key], day) == data


def read_rotated(data: bytes) -> None:
    """The same behind right signatures: a publisher states anything, and is refused or right."""
    stated = cose.sign(data, forge.KEY, rotation.STATEMENT_TYPE)
    read_rotation(cose.sign(stated, forge.OTHER_KEY, rotation.AGREED_TYPE))


def read_manifest(data: bytes) -> None:
    """A manifest that is accepted says exactly what its bytes say."""
    try:
        value = loads(data, max_size=_MAX_SIZE, max_depth=MANIFEST_DEPTH)
        manifest = canonical.from_value(value)
    except PackageError:
        return
    assert dumps(canonical.to_value(manifest)) == data
    manifest.permissions.describe()


def read_toml(data: bytes) -> None:
    """An ``mpp.toml`` that is accepted becomes a manifest that its reader accepts, but for the files."""
    try:
        draft = parse_toml(data.decode("utf-8", "replace"))
    except UsageError as error:
        assert error.code.startswith(("toml.", "schema."))
        return
    manifest = draft.seal(forge.KEY.public_key, forge.files_table(forge.PYTHON_FILES))
    encoded = dumps(canonical.to_value(manifest))
    with suppress(PackageError):
        assert (
            canonical.from_value(loads(encoded, max_size=len(encoded), max_depth=MANIFEST_DEPTH)) == manifest
        )


def read_json(data: bytes) -> None:
    """The strict door reads as the standard library does, and what it writes it reads again."""
    try:
        value = json_loads(data, max_size=_MAX_SIZE)
    except JsonError:
        return
    assert _same(json.loads(data), value)
    text = json_dumps(value)
    assert text == json_dumps(json_loads(text, max_size=8 * _MAX_SIZE))


ASKED: Final = Permissions(
    network=(HostPort("*.example.com", 443), HostPort("127.0.0.1", 80), HostPort("a.example.com", 443)),
    environment=("A", "TZ"),
    subprocess=("git", "rg"),
    storage=1 << 24,
    read=("/", "/data", "/home/u/.ssh"),
    write=("/data/out",),
)


def read_policy(data: bytes) -> None:
    """A policy that is accepted takes away and never adds; a user's never leaves anything unredacted."""
    text = data.decode("utf-8", "replace")
    for narrowing in (True, False):
        try:
            layer = parse_layer(text, "fuzz", narrowing=narrowing)
        except ConsentError as error:
            assert error.code.startswith("policy.")
            continue
        json.dumps(layer.to_json(), allow_nan=False)
        allowed, _ = layer.ceiling(ASKED)
        assert ASKED.covers(allowed)
        assert not (narrowing and "allow" in layer.redaction.values())


def read_grant(data: bytes) -> None:
    """A stored grant is read as what it was written from, or not at all."""
    try:
        grant = Grant.decode(data)
    except ConsentError as error:
        assert error.code == "grant.unreadable"
        return
    assert Grant.decode(grant.encode()) == grant
    assert grant.operations.keys() == grant.confirm.keys()


def read_schema(data: bytes) -> None:
    """A schema is refused, or validates any value within its budget, and never quotes the value."""
    try:
        pair = json_loads(data, max_size=_MAX_SIZE)
    except JsonError:
        return
    schema, value = pair if isinstance(pair, list) and len(pair) == 2 else (pair, {"a": SECRET})
    if not isinstance(schema, dict):
        return
    try:
        validator = compile_schema(schema)
    except PackageError as error:
        assert error.code.startswith("schema.")
        return
    violations = validator.validate(value)
    assert len(violations) <= 20
    assert all(SECRET not in f"{each}{each.schema_pointer}" for each in violations) or SECRET in str(schema)


def read_tool_result(data: bytes) -> None:
    """Whatever a tool prints becomes a JSON result without the secret; nothing is ever raised."""
    chosen, output = data[:1] or b"\0", data[1:]
    kind = KINDS[chosen[0] % 2]
    form = RESULT_FORMS[chosen[0] // 2 % len(RESULT_FORMS)]
    outcome = _OUTCOMES[chosen[0] // 8 % len(_OUTCOMES)]
    stdout, _, stderr = output.partition(b"\0\0")
    tool = Tool(name="t", description="", input_schema={"type": "object"}, result=form)
    result = read_result(
        kind,
        tool,
        Completed(outcome, "", stdout, stderr, {}, 0, 0, 0),
        Redactor(secrets=[SECRET]),
        violations=None,
        explain=lambda path, number, _: f"grant {path}, {number}",
        max_size=_MAX_SIZE,
        invocation="0",
    )
    text = json_dumps(result.to_call_tool_result()) + json_dumps(
        [result.reason, result.stderr, result.denied]
    )
    assert SECRET not in text
    assert result.content
    assert result.is_error == (result.outcome != "ok")


def redact_value(data: bytes) -> None:
    """Redacting never fails on JSON, keeps it JSON, takes the secret, and done twice changes nothing."""
    try:
        value = json_loads(data, max_size=_MAX_SIZE)
    except JsonError:
        value = data.decode("utf-8", "replace")
    once = Redactor(secrets=[SECRET]).redact(value)
    text = json_dumps(once.to_json())
    assert SECRET not in json_dumps(once.value)
    assert once.value == Redactor(secrets=[SECRET]).redact(once.value).value, text


def read_words(data: bytes) -> None:
    """Each word has one canonical spelling, and reading that is the identity."""
    text = data.decode("utf-8", "replace")
    for parse, spell in _WORDS:
        try:
            value = parse(text)
        except VocabularyError as error:
            assert error.message
            continue
        assert parse(spell(value)) == value
    with suppress(ValueError):
        assert Version(text) == Version(text)


_WORDS: Final[tuple[tuple[Callable[[str], Any], Callable[[Any], str]], ...]] = (
    (parse_host_port, str),
    (parse_path, str),
    (lambda text: parse_path(text, placeholder=True), str),
    (parse_size, format_size),
    (parse_duration, format_duration),
    (parse_env_name, str),
    (parse_program, str),
    (parse_kind, str),
    (parse_requirement, str),
)


def read_ledger_entry(data: bytes) -> None:
    """A ledger's entry can be shown whatever an attacker wrote there, or is refused."""
    try:
        body = ledger_entry.decode(data)
    except (PackageError, ValueError):
        return
    assert isinstance(body, dict)
    shown = ledger_entry.Entry(1, bytes(32), data, bytes(32))
    assert not shown.intact
    json.dumps(shown.to_json(), allow_nan=False)
    assert isinstance(shown.package, str)
    assert isinstance(shown.tool, str)
    assert isinstance(shown.outcome, str)


def read_frames(data: bytes) -> None:
    """What a client sends is frames that have a place, each within its bound, or the connection ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.close()
        frames = wire.Frames(ours)
        with suppress(wire.WireError):
            while True:
                letter, payload = frames.receive(wire.HELLO + wire.INPUT + wire.GO + wire.STATUS, 5)
                assert letter in (wire.HELLO, wire.INPUT, wire.GO, wire.STATUS)
                assert len(payload) <= wire.MAX_INPUT
                if letter == wire.HELLO:
                    _read_hello(payload)


def _read_hello(payload: bytes) -> None:
    hello = wire.read_hello(payload)
    assert b"\0" not in os.fsencode("".join((hello.build, hello.folder, *hello.words, *hello.environ)))
    assert payload.startswith(wire.PROTOCOL + b"\0" + os.fsencode(hello.build) + b"\0")
    assert len(hello.words) + len(hello.environ) < payload.count(b"\0")


def hear_server(data: bytes) -> None:
    """Whatever a server says, in pieces, the session ends or waits; what it answers is lines of JSON."""
    chosen, said = data[:1] or b"\0", data[1:]
    seen: list[float] = []
    session = Session(
        Asked("tools/call", '{"name":"t","arguments":{}}') if chosen[0] % 2 else None,
        Reading(_MAX_SIZE, 16, 1000),
        progress=lambda told: seen.append(told.progress),
    )
    json.loads(session.opening())
    step = chosen[0] // 2 + 1
    for start in range(0, len(said), step):
        answered = session.hear(said[start : start + step])
        for line in (answered or b"").splitlines():
            assert json.loads(line)["jsonrpc"] == "2.0"
        if answered is None:
            break
    assert session.end.kind in ("open", "result", "error", "fault")
    assert (session.end.kind == "open") or session.hear(b"{}\n") is None
    assert seen == sorted(seen)
    assert session.end.kind != "fault" or session.end.message


def hear_client(data: bytes) -> None:
    """Whatever line a client sends is a message with an era, or is refused with a code of JSON-RPC."""
    for line in data.split(b"\n"):
        try:
            message = messages.classify(messages.parse(line))
            if isinstance(message, messages.Response):
                assert message.id is None or is_id(message.id)
                continue
            for era in (messages.modern_era, lambda request: messages.legacy_era(request.params)):
                with suppress(messages.RpcError):
                    found = era(message)
                    assert isinstance(found.can_ask(), bool)
                    assert len(found.client) <= 200
        except messages.RpcError as error:
            assert -32768 <= error.code <= -32000
            json.dumps(error.answer(None), allow_nan=False)


def hear_installer(data: bytes) -> None:
    """Whatever pip and npm print, a person is told names of plain characters, and few of them."""
    told: list[str] = []
    heard = Heard("fetching", Watch(told.append, told.append))
    for line in data.decode("utf-8", "replace").split("\n"):
        heard.take(line)
    name, versions = heard.most_tried()
    assert bool(name) == bool(versions)
    for text in (*told, name):
        assert text.isascii(), text
        assert text.isprintable(), text
        assert len(text) < 500, text
        assert "//" not in text, text  # no address, which may hold a password


@dataclass(frozen=True)
class Target:
    """One reader under attack.

    Attributes:
        run: takes any bytes; an exception is a finding.
        form: what mutations keep: ``bytes``, ``cbor`` (value by value), ``json`` or ``text``.
        max_size: bytes of an input that the fuzzer makes.
        skip: bytes in front that stand outside the form.
    """

    run: Callable[[bytes], object]
    form: str = "bytes"
    max_size: int = 4096
    skip: int = 0

    def __call__(self, data: bytes) -> None:
        """Run it, with every change of the machine a finding."""
        with changes_nothing():
            self.run(data)


TARGETS: Final[dict[str, Target]] = {
    "archive": Target(read_archive),
    "signed": Target(read_signed, "cbor"),
    "cbor": Target(read_cbor, "cbor"),
    "cose": Target(read_cose, "cbor", skip=1),
    "rotation": Target(read_rotation, "cbor", 2048, skip=1),
    "rotated": Target(read_rotated, "cbor", 1024),
    "manifest": Target(read_manifest, "cbor", 8192),
    "toml": Target(read_toml, "text", 8192),
    "json": Target(read_json, "json"),
    "policy": Target(read_policy, "text", 8192),
    "grant": Target(read_grant, "cbor", 8192),
    "schema": Target(read_schema, "json"),
    "result": Target(read_tool_result, "json", skip=1),
    "redact": Target(redact_value, "json"),
    "words": Target(read_words, "text", 300),
    "ledger": Target(read_ledger_entry, "cbor"),
    "frames": Target(read_frames),
    "server": Target(hear_server, "json", skip=1),
    "client": Target(hear_client, "json"),
    "installer": Target(hear_installer, "text"),
    "hello": Target(egress.hear_hello),
    "question": Target(egress.answer_question, max_size=600),
    "broker": Target(egress.hear_broker, "json"),
}

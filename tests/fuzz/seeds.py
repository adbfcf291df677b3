"""The corpora from which fuzzing begins, made by the forge: ``python tests/fuzz/seeds.py`` writes them anew.

They are kept in the tree, small and readable where the form is, so that every test run replays the
same inputs; a test holds them against this script. What fuzzing found is kept beside them, in ``found``.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import consent_samples  # noqa: E402 -- run as a script, the samples are not on the path before
import egress_room  # noqa: E402
import forge  # noqa: E402
import hellos  # noqa: E402
import manifest_samples  # noqa: E402
from fuzz.targets import SECRET  # noqa: E402
from mpp_exec.audit.entry import Kind, encode  # noqa: E402
from mpp_exec.consent.policy import Withheld  # noqa: E402
from mpp_exec.egress import wire  # noqa: E402
from mpp_exec.egress.traffic import Connected, Denied, Traffic  # noqa: E402
from mpp_exec.encoding import dumps  # noqa: E402
from mpp_exec.package import canonical  # noqa: E402
from mpp_exec.permissions import HostPort  # noqa: E402
from mpp_exec.trust import cose, rotation  # noqa: E402

CORPUS: Final = HERE / "corpus"
"""One folder a target: what :func:`seeds` makes."""
FOUND: Final = HERE / "found"
"""One folder a target: minimised inputs that were findings once."""


def seeds() -> dict[str, list[bytes]]:
    """Return the inputs of each target."""
    full, python = manifest_samples.FULL, manifest_samples.PYTHON
    small = forge.package_of({"echo.py": b""})
    return {
        "archive": [
            small,
            forge.package("exec"),
            small[:-1],
            small + b"\0",
            forge.pack(forge.raw_members(forge.sign(python), {})),
            forge.pack([forge.RawMember(b"manifest.cose", b"\xd2", method=8)], comment=b"x"),
            b"PK\x05\x06" + bytes(18),
        ],
        "signed": [
            dumps(canonical.to_value(forge.manifest("python"))),
            dumps(canonical.to_value(python)),
            b"\xa0",
        ],
        "cbor": [dumps(value) for value in _values()]
        + [b"\x9f\xff", b"\xc1\x00", b"\xf9\x7e\x00", b"\x18\x17"],
        "cose": [
            forge.sign({"a": 1}),
            forge.sign_bytes(b""),
            forge.sign({}, forge.OTHER_KEY),
            dumps([b"", {}, b"", b""], tag=18),
        ],
        "rotation": [
            _rotation(),
            rotation.sign("a", forge.OTHER_KEY, forge.KEY, forge.NOW.date()),
            cose.sign(forge.sign({"a": 1}), forge.OTHER_KEY, rotation.AGREED_TYPE),
        ],
        "rotated": [
            cose.decode(
                cose.decode(_rotation(), rotation.AGREED_TYPE).payload, rotation.STATEMENT_TYPE
            ).payload,
            b"\xa0",
        ],
        "manifest": [dumps(canonical.to_value(each)) for each in (full, python, forge.manifest("exec"))],
        "toml": [
            manifest_samples.TOML.encode(),
            forge.Tree(HERE).toml.encode(),
            _lines("package.name = 'a/b'", "tools = [{ name = 'x', inputSchema = { type = 'object' } }]"),
        ],
        "json": [json.dumps(value).encode() for value in _values(binary=False)]
        + [
            b'"\\ud800"',
            b"[1e999]",
            b'{"a":1,"a":2}',
            b"\xef\xbb\xbf1",
            b"[" * 70,
            b"-0.0",
            b"1E400",
            b"NaN",
        ],
        "policy": [_lines(*_POLICY), _lines("publishers.deny = ['acme']"), b"redaction.email = 'allow'"],
        "grant": [consent_samples.grant().encode(), _full_grant()],
        "schema": [json.dumps(pair).encode() for pair in _schemas()],
        "result": _results(),
        "redact": [json.dumps(value).encode() for value in _sensitive()],
        "words": [text.encode() for text in _WORDS],
        "ledger": [
            encode(Kind.GENESIS, 0, {"random": b"\1" * 32}),
            encode(Kind.START, 1, {"call": "1", "caller": dumps({"uid": 1}), "terms": dumps(_TERMS)}),
            encode(Kind.OUTCOME, 2, {"call": "1", "outcome": "ok", "redactions": {"email": 1}}),
            dumps({"kind": "unknown", "at": 1 << 63, "call": 5}),
        ],
        "frames": [
            b"H" + len(_HELLO).to_bytes(4) + _HELLO + b"I\0\0\0\2{}G\0\0\0\0",
            b"S\0\0\0\0G\0\0\0\0",
            b"H\xff\xff\xff\xff" + _HELLO,
            b"H\0\0\0\1\0",
        ],
        "server": [chosen + _said(*lines) for chosen in (b"\1", b"\0", b"\7") for lines in _SERVERS],
        "installer": ["\n".join(lines).encode() for lines in _INSTALLERS],
        "client": [_said(line) for line in _CLIENTS],
        "hello": [
            hellos.hello_for("api.example.com"),
            hellos.hello_for("API.example.com.", 7),
            hellos.records(hellos.hello(hellos.server_name(b"a.example", b"b.example"))),
            hellos.records(hellos.hello()),
            b"GET / HTTP/1.1",
            b"\x80\x2e\x01\x03\x01",
        ],
        "question": [
            egress_room.query("api.Example.com"),
            egress_room.query("api.example.com", 28, rest=b"\0\0\x29\x04\xd0\0\0\0\0\0\0"),
            egress_room.query(b"\xc0\x0c"),
        ],
        "broker": [
            b'["ready"]',
            b'["failed","host.broker_root","no","hint"]',
            b'["opened",3]',
            wire.opening(3, "one", (HostPort("*.example.com", 443),), names=True),
            wire.encoded(wire.ENDED, 3, _TRAFFIC.to_json()),
        ],
    }


def _said(*lines: Any) -> bytes:
    return b"".join(json.dumps({"jsonrpc": "2.0", **line}).encode() + b"\n" for line in lines)


_WELCOME: Final = {"id": 1, "result": {"protocolVersion": "2025-11-25", "capabilities": {}}}
_DONE: Final = {"id": 2, "result": {"content": []}}
_SERVERS: Final[tuple[tuple[dict[str, Any], ...], ...]] = (
    (_WELCOME, {"id": "p", "method": "ping"}, _DONE),
    (_WELCOME, {"id": 2, "error": {"code": -32603, "message": "no"}}),
    (
        _WELCOME,
        {"method": "notifications/message", "params": {"level": "info", "data": [1]}},
        {"method": "notifications/progress", "params": {"progressToken": 2, "progress": 1.5, "total": 3}},
        _DONE,
    ),
    (
        {"id": 1, "error": {"code": -32022, "message": "modern"}},
        {"id": 2, "result": {"supportedVersions": ["2026-07-28"]}},
        {"id": 3, "result": {"content": [], "resultType": "complete"}},
    ),
)
_MODERN: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
}
_CLIENTS: Final[tuple[dict[str, Any], ...]] = (
    {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}}},
    {"id": "a", "method": "tools/call", "params": {"name": "t", "arguments": {}, "_meta": _MODERN}},
    {"id": 2, "method": "tools/list", "params": {"cursor": "after:t", "_meta": _MODERN}},
    {"id": "mpp-exec-1", "result": {"action": "accept", "content": {"confirm": True}}},
    {"method": "notifications/cancelled", "params": {"requestId": 1}},
)
_INSTALLERS: Final = (
    (
        "Looking in indexes: https://user:secret@index.example/simple",
        "Collecting a>=1 (from b==2)",
        *(f"  Downloading https://user:secret@index.example/A_b-{n}.0-py3-none-any.whl" for n in range(14)),
        "Progress 262144 of 16336222",
        "Processing /files/c-1.0.tar.gz (from b==2)",
        "WARNING: Retrying (Retry(total=4)) after connection broken",
        "Installing collected packages: a, b",
    ),
    (
        "npm http fetch GET 200 https://user:secret@registry.example/@scope%2fname 131ms (cache miss)",
        "npm http cache b@https://registry.example/b/-/b-1.0.0.tgz 0ms (cache hit)",
        "npm http fetch GET 503 https://registry.example/b?x=%1b attempt 2",
        "npm error code E404",
    ),
    ("Collecting \x1b[2J\u202e", "  Downloading \u200b-1.0.whl", "npm http fetch GET 200 %0a//\x07"),
)
_HELLO: Final = (
    b"mpp-exec serve 4\0" + b"0" * 32 + b"\0/usr/bin\0/home/jane\x001:2\0o80e80\0-\x004\0"
    b"run\0acme/echo\0--args\0-\0PATH=/usr/bin\0HOME\0PATH=\0"
)
_TRAFFIC: Final = Traffic(
    (Connected("a.example", 443, "93.184.216.34", 1, 2, 3),), (Denied("", 0, "name"),), 2, 3, 1, 1, lost=True
)
_TERMS: Final = {"package": {"name": "acme/echo"}, "tool": "echo"}


def _values(*, binary: bool = True) -> Iterable[Any]:
    yield from ([], {}, None, True, 0, -1, 23, 24, 256, 65_536, (1 << 63), 1.5, 1e300, 1.1, "", "é\U0001f600")
    yield {"": [], "a": {"b": [1, [2, [3]]]}, "aa": None, "b": "x" * 24}
    if binary:
        yield [b"", b"\xff" * 24, {"k": b"\0"}]


_POLICY: Final = (
    "carry_over = false",
    "publishers.allow = ['acme', 'sha256:" + "1" * 64 + "']",
    "[permissions]",
    "network = ['*.example.com:443', '*:80', '127.0.0.1:*']",
    "environment = ['TZ']",
    "subprocess = []",
    "storage = '1MiB'",
    "filesystem = { read = ['/data'], write = ['/data/out'] }",
    "[limits]",
    "wall = '5s'",
    "processes = 4",
    "[degradations]",
    "allow = ['landlock-net']",
    "[confirm]",
    "write = 'once'",
    "[redaction]",
    "email = 'hash'",
)


def _rotation() -> bytes:
    return rotation.sign("acme", forge.KEY, forge.OTHER_KEY, forge.NOW.date())


def _lines(*lines: str) -> bytes:
    return "\n".join(lines).encode() + b"\n"


def _full_grant() -> bytes:
    full = replace(
        consent_samples.grant(),
        permissions=manifest_samples.FULL.permissions,
        covers=("/data/.git",),
        identities={"/data": (1, 2, 3)},
        config={"dir": "/data", "ratio": 0.5, "on": True},
        secrets=("key",),
        withheld=(Withheld("network", "withheld by you"),),
        degradations=("landlock-net",),
    )
    return full.encode()


def _schemas() -> Iterable[list[Any]]:
    yield [forge.SCHEMA, {"text": SECRET}]
    yield [manifest_samples.SCHEMA, {"path": SECRET, "limit": 0}]
    node = {"$ref": "#/$defs/n"}
    yield [
        {"type": "object", "properties": {"a": node}, "$defs": {"n": {"items": node, "type": "array"}}},
        {"a": [[], [[]]]},
    ]
    yield [
        {
            "type": "object",
            "patternProperties": {"^a{1,9}$": {"enum": [1, "x", None]}},
            "additionalProperties": {"anyOf": [{"minimum": 1}, {"maxLength": 2}, {"contains": {"const": 0}}]},
            "dependentSchemas": {"b": {"required": ["c"], "not": {"required": ["d"]}}},
            "unevaluatedProperties": False,
            "if": {"minProperties": 2},
            "then": {"propertyNames": {"pattern": "^[a-z]+$"}},
        },
        {"aa": 1, "b": "abc", "c": [1, 0]},
    ]


def _results() -> list[bytes]:
    """Return results; the first byte chooses kind, form and outcome, stderr stands behind two NUL."""
    blocks = [
        {"type": "text", "text": f"mail jane@example.com {SECRET}"},
        {"type": "image", "data": "/9j/4A==", "mimeType": "image/jpeg"},
        {"type": "resource", "resource": {"uri": "file:///x", "blob": "/w=="}},
        {"type": "resource_link", "uri": "file:///x", "name": "x", "size": 4111111111111111},
    ]
    said = {"content": blocks, "structuredContent": {"a": 1}, "isError": False, "_meta": {"x": 1}}
    failed = {"type": "OSError", "message": SECRET, "path": "/data", "errno": 13, "limit": "memory"}
    return [
        b"\0" + json.dumps({"value": {"card": "4111 1111 1111 1111", SECRET: [1, None]}}).encode(),
        b"\0" + json.dumps({"error": failed}).encode() + b"\0\0trace " + SECRET.encode(),
        b"\1" + json.dumps([SECRET, 1.5]).encode(),
        b"\2" + json.dumps({"value": said}).encode(),
        b"\3" + json.dumps(said).encode() + b"\0\0\xff",
        b"\x09" + json.dumps({"why": SECRET}).encode(),
        b"\x10\0\0killed",
    ]


def _sensitive() -> Iterable[Any]:
    yield f"jane@example.com, DE89370400440532013000 and {SECRET}"
    yield {"card": 4111111111111111, "ip": ["203.0.113.9", "::ffff:192.0.2.1"], SECRET: {"k": SECRET}}
    yield ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "-----END PRIVATE KEY-----"]
    yield {"aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "id": "AKIAIOSFODNN7EXAMPLE"}
    yield "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl 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"


_WORDS: Final = (
    *("api.example.com:443", "*.EXAMPLE.com.:443", "[2001:db8::1]:443", "127.0.0.1:80", "bücher.example:1"),
    *("[::ffff:1.2.3.4]:1", "0x7f.1:80", "xn--bcher-kva.example:80"),
    *("/data//a/./b/", "${user_config.dir}/x", "/a/../b", "~/x"),
    *("16MiB", "0 B", "250ms", "1h", "TZ", "LD_PRELOAD", "git", "email", "python>=3.11,<4", "node==20.*"),
    *("1.4.0-rc.1+build.5", "999999999999999TiB"),
)


def write(folder: Path) -> None:
    """Write the corpora into *folder*, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, inputs in seeds().items():
        (folder / name).mkdir(parents=True)
        for number, data in enumerate(inputs):
            (folder / name / f"{number:02}").write_bytes(data)


if __name__ == "__main__":
    write(CORPUS)

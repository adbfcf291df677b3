"""A registry that lies, or somebody on the way to it: nothing is kept, sent elsewhere, or waited for."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from command import Done, Shell
from mpp_exec.distribution import transport, wire
from mpp_exec.distribution.credentials import Credentials
from mpp_exec.distribution.oci import ARTIFACT, LAYER, MANIFEST
from mpp_exec.distribution.reference import parse
from mpp_exec.distribution.transport import Transport
from mpp_exec.distribution.wire import Answer
from mpp_exec.errors import InternalError, UsageError
from oci_registry import Lying, lying

PACKAGE = b"PK, or so it says"
SECRET = base64.b64encode(b"jane:s3cret").decode()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def manifest(**changes: Any) -> bytes:
    layer = {"mediaType": LAYER, "digest": sha256(PACKAGE), "size": len(PACKAGE), **changes.pop("layer", {})}
    whole = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "layers": [layer],
        **changes,
    }
    return json.dumps(whole).encode()


def serving(document: bytes, blob: bytes = PACKAGE, **headers: str) -> Callable[[str, str], Any]:
    def answer(_: str, path: str) -> tuple[int, dict[str, str], bytes]:
        return 200, headers, document if "/manifests/" in path else blob

    return answer


def asked(host: str, credentials: Credentials | None = None) -> Answer:
    with closing(Transport(host, credentials)) as made:
        return made.ask("GET", "x/manifests/1", scope="s")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})


def refused(shell: Shell, word: str) -> Done:
    """Pull *word*, which must fail and leave nothing."""
    done = shell.run("pull", word)
    assert done.code != 0
    assert "Traceback" not in done.err
    assert not list(shell.cwd.iterdir())
    assert not list((shell.home / "tmp").iterdir())
    return done


# ``127.1`` is this machine and is not written as that: so nothing leaves it where the defence is missing.
LIES: dict[str, tuple[Callable[[str, str], Any], str]] = {
    "another file under the digest": (serving(manifest(), PACKAGE[::-1]), "registry.digest"),
    "a longer file": (serving(manifest(), PACKAGE + b"!"), "registry.digest"),
    "a shorter file": (serving(manifest(), PACKAGE[:-1]), "registry.digest"),
    "a file that is no package": (serving(manifest()), "package.not_a_package"),
    "a size below zero": (serving(manifest(layer={"size": -1})), "package.too_large"),
    "a size beyond all": (serving(manifest(layer={"size": 1 << 62})), "package.too_large"),
    "a size that is a text": (serving(manifest(layer={"size": "17"})), "registry.not_a_package"),
    "a size that is a truth": (serving(manifest(layer={"size": True})), "registry.not_a_package"),
    "a digest that is a path": (
        serving(manifest(layer={"digest": "../../../../etc/passwd"})),
        "registry.not_a_package",
    ),
    "a digest of another kind": (serving(manifest(layer={"digest": "sha512:00"})), "registry.not_a_package"),
    "two files": (serving(manifest(layers=[{}, {}])), "registry.not_a_package"),
    "no file": (serving(manifest(layers=[])), "registry.not_a_package"),
    "an image": (serving(manifest(artifactType="application/vnd.oci.image")), "registry.not_a_package"),
    "a manifest that is a list": (serving(b"[]"), "registry.not_a_package"),
    "a manifest that is no JSON": (serving(b"<html>"), "registry.not_a_package"),
    "a manifest that is nothing but depth": (serving(b"[" * 100_000), "registry.not_a_package"),
    "a manifest of 5 MiB": (serving(b" " * (5 << 20)), "registry.answer"),
    "an error that is nothing but depth": (lambda *_: (500, {}, b"[" * 100_000), "registry.refused"),
    "an error of another form": (lambda *_: (400, {}, b'{"errors": [7, null]}'), "registry.refused"),
    "a redirection to itself": (lambda _, path: (307, {"Location": path}, b""), "registry.answer"),
    "a redirection to nowhere": (lambda *_: (302, {}, b""), "registry.answer"),
    "a redirection to no host": (lambda *_: (302, {"Location": "http://[::"}, b""), "registry.answer"),
    "a redirection to a file": (lambda *_: (302, {"Location": "file:///etc/passwd"}, b""), "registry.answer"),
    "a redirection to another machine, without TLS": (
        lambda *_: (302, {"Location": "http://127.1:1/x"}, b""),
        "registry.answer",
    ),
    "a proof of a kind that nobody knows": (
        lambda *_: (401, {"WWW-Authenticate": "Negotiate"}, b""),
        "registry.answer",
    ),
    "no word of how to prove it": (lambda *_: (401, {}, b""), "registry.answer"),
    "a token service on another machine, without TLS": (
        lambda *_: (401, {"WWW-Authenticate": 'Bearer realm="http://127.1:1/token"'}, b""),
        "registry.answer",
    ),
    "a token service at no host": (
        lambda *_: (401, {"WWW-Authenticate": 'Bearer realm="https://[::"'}, b""),
        "registry.answer",
    ),
    "a token service that is given a name": (
        lambda *_: (401, {"WWW-Authenticate": 'Bearer realm="http://me@127.0.0.1:1/token"'}, b""),
        "registry.answer",
    ),
    "a token service that is a file": (
        lambda *_: (401, {"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'}, b""),
        "registry.answer",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_registry_lies(shell: Shell, lie: str) -> None:
    answer, code = LIES[lie]
    with lying(answer) as registry:
        done = refused(shell, f"oci://{registry.host}/acme/echo:1.0.0")
    assert f"[{code}]" in done.err, done


def test_a_registry_has_something_else_under_a_digest(shell: Shell) -> None:
    with lying(serving(manifest())) as registry:
        done = refused(shell, f"oci://{registry.host}/acme/echo@{sha256(b'another')}")
    assert (done.code, "[registry.digest]" in done.err) == (3, True)


def test_an_error_of_a_registry_writes_to_the_terminal(shell: Shell) -> None:
    text = json.dumps(
        {"errors": [{"code": "X", "message": "\x1b]0;owned\x07\u202e\nhint: rm -rf /"}]}
    ).encode()
    with lying(lambda *_: (404 if _[0] == "HEAD" else 400, {}, text)) as registry:
        done = refused(shell, f"oci://{registry.host}/acme/echo:1.0.0")
    assert "\x1b" not in done.err
    assert "\u202e" not in done.err
    assert not any(line.startswith("hint: rm") for line in done.err.splitlines())


def challenged(
    then: Callable[[str, str], Any], challenge: str
) -> tuple[Callable[[str, str], Any], list[str]]:
    """Ask once for a proof, then answer *then*."""
    left = [challenge]

    def answer(method: str, path: str) -> Any:
        if "/v2/" in path and left:
            return 401, {"WWW-Authenticate": left.pop()}, b""
        return then(method, path)

    return answer, left


def logged_in(shell: Shell, registry: Lying) -> None:
    auths = {registry.host: {"auth": SECRET}}
    Path(shell.variables["REGISTRY_AUTH_FILE"]).write_text(json.dumps({"auths": auths}))


def test_a_redirection_takes_the_proof_with_it(shell: Shell) -> None:
    """From the registry to a store of another name, as large ones have them."""
    with lying(serving(manifest())) as elsewhere:

        def leads(_: str, path: str) -> tuple[int, dict[str, str], bytes]:
            return 307, {"Location": f"http://{elsewhere.host}{path}"}, b""

        answer, _ = challenged(leads, "Basic realm=here")
        with lying(answer) as registry:
            logged_in(shell, registry)
            shell.run("pull", f"oci://{registry.host}/acme/echo:1.0.0")
        proofs = [headers.get("Authorization", "") for _, _, headers in registry.asked]
        assert f"Basic {SECRET}" in proofs
    assert elsewhere.asked
    assert not any("Authorization" in headers for _, _, headers in elsewhere.asked)


def test_a_redirection_leads_to_a_token_service_of_its_own(shell: Shell) -> None:
    """The store that a registry redirects to asks for a proof, and names who is to be given the password."""
    with lying(lambda *_: (200, {}, b'{"token": "t0ken"}')) as thief:
        asks = 401, {"WWW-Authenticate": f'Bearer realm="http://{thief.host}/t"'}, b""
        with lying(lambda *_: asks) as elsewhere:
            leads = 307, {"Location": f"http://{elsewhere.host}/blob"}, b""
            with lying(lambda *_: leads) as registry:
                logged_in(shell, registry)
                done = refused(shell, f"oci://{registry.host}/acme/echo:1.0.0")
    assert "[registry.answer]" in done.err, done
    assert elsewhere.asked
    assert not thief.asked


def test_a_challenge_that_takes_long_to_read() -> None:
    """Each letter of a word was tried as its beginning: minutes for 64 KiB, and no clock is looked at."""
    word = "a" * 1000
    assert transport._CHALLENGE.findall(f'{word} {word}="b"') == [(word, "b", "")]
    assert not any(transport._CHALLENGE.match(f'{word}="b"', at) for at in range(1, len(word)))


def test_a_package_is_sent_to_another_machine(shell: Shell) -> None:
    """A registry that answers the beginning of an upload with a place elsewhere."""
    package = shell.package()
    with lying(lambda *_: (201, {}, b"")) as elsewhere:

        def leads(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
            if method == "POST":
                return 202, {"Location": f"http://{elsewhere.host}{path}take"}, b""
            return 404, {}, b""

        with lying(leads) as registry:
            done = shell.run("push", str(package), f"oci://{registry.host}/acme/echo:1.0.0")
    assert (done.code, "[registry.answer]" in done.err) == (7, True), done
    assert not elsewhere.asked


def test_a_package_is_sent_to_no_host(shell: Shell) -> None:
    package = shell.package()
    with lying(
        lambda method, _: (202 if method == "POST" else 404, {"Location": "http://[::"}, b"")
    ) as registry:
        done = shell.run("push", str(package), f"oci://{registry.host}/acme/echo:1.0.0")
    assert (done.code, "[registry.answer]" in done.err) == (7, True), done


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_upload_is_redirected(shell: Shell, method: str) -> None:
    package = shell.package()
    with lying(lambda *_: (201, {}, b"")) as elsewhere:

        def leads(asked: str, path: str) -> tuple[int, dict[str, str], bytes]:
            if asked == method:
                return 307, {"Location": f"http://{elsewhere.host}{path}"}, b""
            return (202, {"Location": path}, b"") if asked == "POST" else (404, {}, b"")

        with lying(leads) as registry:
            done = shell.run("push", str(package), f"oci://{registry.host}/acme/echo:1.0.0")
    assert "[registry.answer]" in done.err, done
    assert not elsewhere.asked


def test_a_token_service_is_given_a_password_and_the_registry_only_its_token(shell: Shell) -> None:
    with lying(lambda *_: (200, {}, b'{"token": "t0ken"}')) as service:
        answer, _ = challenged(
            serving(manifest()), f'Bearer realm="http://{service.host}/t?a=b",service="here"'
        )
        with lying(answer) as registry:
            logged_in(shell, registry)
            shell.run("pull", f"oci://{registry.host}/acme/echo:1.0.0")
    ((_, path, headers),) = service.asked
    assert path.startswith("/t?a=b&service=here&scope=repository%3Aacme%2Fecho%3Apull")
    assert headers["Authorization"] == f"Basic {SECRET}"
    assert {headers.get("Authorization", "Bearer t0ken") for _, _, headers in registry.asked} == {
        "Bearer t0ken"
    }


@pytest.mark.parametrize("token", ["a\r\nX-Injected: 1", "\u00e9", "", 7, None])
def test_a_token_becomes_a_header(token: object) -> None:
    with lying(lambda *_: (200, {}, json.dumps({"token": token}).encode())) as service:
        answer, _ = challenged(serving(manifest()), f'Bearer realm="http://{service.host}/t"')
        with lying(answer) as registry, pytest.raises(InternalError) as refusal:
            asked(registry.host, Credentials("jane", "s3cret"))
    assert refusal.value.code == "registry.answer"


def test_a_repository_becomes_another_path() -> None:
    """What stands in a reference is no path, query or other host of the registry's interface."""
    for word in (
        "oci://host/../x:1",
        "oci://host/a/../b:1",
        "oci://host/a?x=1:1",
        "oci://host/a#b:1",
        "oci://user@host/a:1",
        "oci://user:password@host/a:1",
        "oci://host/a%2fb:1",
        "oci://host/a:1/../../x",
        "oci://host/a:1?x",
        "oci://host/a:1\n",
        "oci://host\n/a:1",
        "oci://host/a@sha256:" + "0" * 63,
        "oci://host/a@sha256:" + "0" * 64 + "/..",
        "oci://host:0/a:1",
        "oci://host:65536/a:1",
        "oci://host:1:2/a:1",
        "oci://ho_st/a:1",
        "oci://[::1/a:1",
        "oci:///a:1",
        "oci://host:1",
        "oci://host/A:1",
        "oci://host/" + "a" * 256 + ":1",
        "https://host/a:1",
    ):
        with pytest.raises(UsageError) as refusal:
            parse(word)
        assert refusal.value.code == "registry.reference", word


def test_a_password_in_a_reference_is_not_repeated() -> None:
    for word in (
        "jane:s3cret@host/a:1",
        "s3cret@host:5000/a:1",
        "a@b:s3cret@host",
        "jane:s3cret/x@host/a:1",
        f"jane:/s3cret@host/a@sha256:{'0' * 64}",
    ):
        with pytest.raises(UsageError) as refusal:
            parse(f"oci://{word}")
        assert refusal.value.code == "registry.reference"
        assert "s3cret" not in f"{refusal.value.message} {refusal.value.hint}"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patience that a test can wait for."""
    monkeypatch.setattr(wire, "SILENCE_S", 0.3)
    monkeypatch.setattr(wire, "WHOLE_S", 1.0)
    monkeypatch.setattr(wire, "SLOWEST", 1 << 40)


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What keeps an answer back until the end of the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.usefixtures("hurried")
def test_a_registry_never_answers(held: threading.Event) -> None:
    def never(*_: str) -> tuple[int, dict[str, str], bytes]:
        held.wait(30)
        return 200, {}, b""

    with lying(never) as registry:
        try:
            with pytest.raises(InternalError, match="does not answer in time"):
                asked(registry.host)
        finally:
            held.set()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
DRIPS = {
    "nothing": (b"", b"x"),
    "a handshake": (b"\x16\x03\x03\x40\x00", b"x"),
    "a status that goes on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "what it announced": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "what a chunk is called": (CHUNKED + b"\r\n5;", b"x"),
    "what comes behind the last chunk": (CHUNKED + b"\r\n0\r\n", b"X: y\r\n"),
    "that, and closes then": (CHUNKED + b"Connection: close\r\n\r\n0\r\n", b"X: y\r\n"),
    "what comes to nothing": (
        CHUNKED + b"Content-Encoding: gzip\r\n\r\n",
        b"14\r\n" + gzip.compress(b"") + b"\r\n",
    ),
}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("what", DRIPS)
def test_a_registry_answers_a_little_at_a_time(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in time, and all of it never."""
    begin, little = DRIPS[what]
    if what == "a handshake":
        monkeypatch.setattr(transport, "is_loopback", lambda _: False)  # it is to speak TLS

    class Drips(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            beat = threading.Event()
            try:
                self.request.sendall(begin)
                for _ in range(200):  # for ten seconds, should nobody leave
                    if beat.wait(0.05):
                        break
                    self.request.sendall(little)
            except OSError:
                left.set()

    left = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drips) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with pytest.raises(InternalError, match="too slow"):
                asked(f"127.0.0.1:{server.server_address[1]}")
            assert left.wait(30)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"credHelpers": {"HOST": "../../bin/sh"}}', "not the name of a credential helper"),
        ('{"credHelpers": {"HOST": "x;id"}}', "not the name of a credential helper"),
        ('{"auths": {"HOST": {"auth": "%%%"}}}', "cannot be used"),
        ('{"auths": {"HOST": {"auth": "amFuZQ=="}}}', "not a user and password"),
        ('{"auths": {"HOST": []}}', "not a table"),
        ('{"auths": []}', "not a table"),
        ("[" * 100_000, "cannot be used"),
        ("s3cret", "cannot be used"),
    ],
)
def test_a_file_of_credentials_is_no_such_file(shell: Shell, text: str, shown: str) -> None:
    Path(shell.variables["REGISTRY_AUTH_FILE"]).write_text(text.replace("HOST", "127.0.0.1:1"))
    done = shell.run("pull", "oci://127.0.0.1:1/acme/echo:1.0.0")
    assert (done.code, "[registry.credentials]" in done.err, shown in done.err) == (2, True, True), done
    assert "s3cret" not in done.err


def test_a_proxy_is_asked_by_the_name_and_password_that_stand_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "is_loopback", lambda _: False)
    for given in ("http://us%65r:s3%63ret@HOST", "us%65r:s3%63ret@HOST"):
        with lying(lambda *_: (407, {}, b"")) as proxy:
            monkeypatch.setenv("https_proxy", given.replace("HOST", proxy.host))
            with pytest.raises(InternalError) as refused:
                asked("registry.example")
        assert refused.value.code == "registry.unreachable"
        assert "s3cret" not in str(refused.value)
        ((method, _, headers),) = proxy.asked
        assert method == "CONNECT"
        assert headers["Proxy-Authorization"] == f"Basic {base64.b64encode(b'user:s3cret').decode()}"
        assert "Authorization" not in headers
    monkeypatch.setenv("https_proxy", "socks5://user:s3cret@127.0.0.1:1")
    with pytest.raises(UsageError) as unusable:
        asked("registry.example")
    assert unusable.value.code == "registry.proxy"
    assert "s3cret" not in str(unusable.value)


def test_an_identity_token_is_shown_by_its_object() -> None:
    assert "s3cret" not in repr(Credentials("jane", "s3cret", "s3cret"))
    assert "s3cret" not in repr(Transport("host", Credentials("jane", "s3cret")))

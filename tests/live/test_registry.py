"""Packages to and from a real registry, by the real command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oci_registry
from command import Shell, error_lines
from mpp_exec.distribution import transport
from mpp_exec.distribution.oci import ARTIFACT, LAYER, Registry
from mpp_exec.distribution.reference import parse
from mpp_exec.errors import InternalError
from oci_registry import HTPASSWD, Real

PASSWORD = {"auth": "amFuZTpzM2NyZXQ="}  # jane:s3cret


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with oci_registry.running(tmp_path_factory.mktemp("registry") / "open") as real:
        yield real


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """One that asks for a name and a password."""
    root = tmp_path_factory.mktemp("guarded")
    (root / "htpasswd").write_text(HTPASSWD + "\n")
    auth = {"htpasswd": {"realm": "here", "path": str(root / "htpasswd")}}
    with oci_registry.running(root / "guarded", auth=auth) as real:
        yield real


def named(registry: Real, request: pytest.FixtureRequest, tag: str = "1.0.0") -> str:
    """Return a name of this test's own."""
    repository = request.node.name.partition("[")[0].replace("_", "-")
    return f"oci://{registry.host}/{repository}:{tag}"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def name(registry: Real, request: pytest.FixtureRequest) -> str:
    return named(registry, request)


def manifest(registry: Real, reference: str) -> dict[str, Any]:
    document = json.loads(registry.blob(reference.rpartition("@")[2]).read_text())
    assert isinstance(document, dict)
    return document


def test_a_package_goes_to_a_registry_and_comes_back_as_it_was(
    shell: Shell, registry: Real, name: str
) -> None:
    package = shell.package()
    pushed = shell.ok("push", str(package), name, "--json").json
    assert (pushed["name"], pushed["version"]) == ("acme/echo", "1.0.0")
    assert pushed["again"] is False
    (shell.cwd / "here").mkdir()
    pulled = shell.ok("pull", name, "-o", "here", "--json").json
    assert pulled["reference"] == pushed["reference"]
    assert pulled["digest"] == pushed["digest"] == shell.ok("verify", str(package), "--json").json["digest"]
    assert (shell.cwd / pulled["file"]).name == "acme-echo-1.0.0.mpp"
    assert (shell.cwd / pulled["file"]).read_bytes() == package.read_bytes()
    by_digest = shell.ok("pull", pushed["reference"], "-o", "again.mpp")
    assert by_digest.out == "again.mpp\n"
    assert (shell.cwd / "again.mpp").read_bytes() == package.read_bytes()
    stored = manifest(registry, pushed["reference"])
    assert (stored["artifactType"], [layer["mediaType"] for layer in stored["layers"]]) == (ARTIFACT, [LAYER])
    assert not list((shell.home / "tmp").iterdir())


def test_what_the_readme_shows_works(shell: Shell, registry: Real) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^mpp-exec ((?:push|install) .*registry\.example.*)$", readme, re.MULTILINE)
    shell.ok("keygen", "acme")
    shell.ok("init", "word-count")
    shell.ok("build", "word-count")
    for line in lines:
        shell.ok(
            *line.replace("registry.example", registry.host).split(), *(["--approve"] * ("install" in line))
        )
    assert len(lines) == 2
    assert shell.ok("run", "acme/word-count", "text=two words").json["words"] == 2


def test_what_is_pushed_again_changes_nothing(shell: Shell, name: str) -> None:
    package = str(shell.package())
    first = shell.ok("push", package, name, "--json").json
    second = shell.ok("push", package, name, "--json").json
    assert second == {**first, "again": True}


def test_a_tag_that_is_another_package_is_moved_only_where_that_is_asked_for(shell: Shell, name: str) -> None:
    before = shell.ok("push", str(shell.package()), name, "--json").json
    other = str(shell.package(code="def call(text):\n    return text * 2\n"))
    refused = shell.run("push", other, name)
    assert refused.code == 4
    assert "[registry.tag_taken]" in refused.err
    assert shell.ok("pull", name, "-o", "x.mpp", "--json").json["digest"] == before["digest"]
    moved = shell.ok("push", other, name, "--replace", "--json").json
    assert (
        shell.ok("pull", name, "-o", "x.mpp", "--json").json["digest"] == moved["digest"] != before["digest"]
    )
    assert shell.ok("pull", before["reference"], "-o", "y.mpp", "--json").json["digest"] == before["digest"]


def test_it_is_installed_from_there_and_the_ledger_says_so(shell: Shell, name: str, tmp_path: Path) -> None:
    pushed = shell.ok("push", str(shell.package()), name, "--json").json
    user = Shell(tmp_path / "another")
    user.root.mkdir()
    _, code, hint = error_lines(user.run("install", name, "--approve"))
    assert code == "trust.unknown_publisher"
    assert pushed["reference"] in hint, "what is to be typed again names the very package that was looked at"
    installed = user.ok("install", name, f"--trust={pushed['key_id']}", "--approve", "--json").json
    assert installed["digest"] == pushed["digest"]
    assert user.ok("run", "acme/echo", "text=here").out == "here\n"
    (entry,) = [each for each in user.ok("audit", "list", "--json").json if each["kind"] == "install"]
    assert entry["detail"]["from"] == pushed["reference"]
    assert not list((user.home / "tmp").iterdir())


def test_a_package_is_looked_at_where_it_is(shell: Shell, name: str) -> None:
    package = str(shell.package())
    shell.ok("push", package, name)
    assert shell.ok("verify", name).out == shell.ok("verify", package).out
    assert shell.ok("inspect", name, "--json").json == shell.ok("inspect", package, "--json").json


def test_a_package_for_another_platform_is_passed_on_and_not_installed(shell: Shell, name: str) -> None:
    shell.ok("keygen", "acme")
    folder = shell.tool()
    toml = folder / "mpp.toml"
    toml.write_text(toml.read_text().replace("[runtime]", '[runtime]\nplatforms = ["linux-aarch64"]'))
    shell.ok("build", str(folder), "-o", "far.mpp")
    shell.ok("push", "far.mpp", name)
    shell.ok("pull", name, "-o", "back.mpp")
    refused = shell.run("install", name, "--approve")
    assert (refused.code, "[package.wrong_platform]" in refused.err) == (3, True)


def test_what_is_no_package_is_not_pushed(shell: Shell, name: str) -> None:
    package = shell.package()
    changed = bytearray(package.read_bytes())
    changed[-100] ^= 1
    (shell.cwd / "changed.mpp").write_bytes(changed)
    refused = shell.run("push", "changed.mpp", name)
    assert refused.code == 3
    assert shell.run("pull", name).code == 2, "nothing is there"


def test_a_package_that_was_changed_in_the_registry_is_refused_and_leaves_nothing(
    shell: Shell, registry: Real, name: str
) -> None:
    pushed = shell.ok("push", str(shell.package()), name, "--json").json
    (layer,) = manifest(registry, pushed["reference"])["layers"]
    blob = registry.blob(layer["digest"])
    changed = bytearray(blob.read_bytes())
    changed[-100] ^= 1
    blob.write_bytes(changed)
    before = sorted(shell.cwd.iterdir())
    for words in (("pull", name), ("install", name, "--approve"), ("verify", name)):
        refused = shell.run(*words)
        assert (refused.code, "[registry.digest]" in refused.err) == (3, True), refused
    assert sorted(shell.cwd.iterdir()) == before
    assert not list((shell.home / "tmp").iterdir())
    assert shell.ok("list", "--json").json == []


def test_one_has_to_be_logged_in_where_a_registry_asks_for_that(
    shell: Shell, guarded: Real, request: pytest.FixtureRequest
) -> None:
    name, package = named(guarded, request), str(shell.package())
    nobody = shell.run("push", package, name)
    assert (nobody.code, "[registry.denied]" in nobody.err) == (2, True), nobody
    assert "login" in nobody.err
    auth = shell.root / "auth.json"
    auth.write_text(json.dumps({"auths": {guarded.host: {"auth": "amFuZTp3cm9uZw=="}}}))
    wrong = shell.run("push", package, name, REGISTRY_AUTH_FILE=str(auth))
    assert (wrong.code, "[registry.denied]" in wrong.err) == (2, True), wrong
    auth.write_text(json.dumps({"auths": {guarded.host: PASSWORD}}))
    shell.ok("push", package, name, REGISTRY_AUTH_FILE=str(auth))
    config = Path(shell.environment()["HOME"], ".docker", "config.json")
    config.parent.mkdir()
    config.write_text(json.dumps({"auths": {f"https://{guarded.host}": PASSWORD}}))
    shell.ok("pull", name, "-o", "x.mpp")


def test_a_helper_keeps_the_password(shell: Shell, guarded: Real, request: pytest.FixtureRequest) -> None:
    name, package = named(guarded, request), str(shell.package())
    tools = shell.root / "tools"
    tools.mkdir()
    helper = tools / "docker-credential-drawer"
    secret = json.dumps({"ServerURL": guarded.host, "Username": "jane", "Secret": "s3cret"})
    helper.write_text(
        f"#!/bin/sh\nhost=$(cat) && [ $1 = get ] && [ $host = {guarded.host} ] && echo '{secret}'\n"
    )
    helper.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    (shell.root / "config.json").write_text(json.dumps({"credHelpers": {guarded.host: "drawer"}}))
    shell.ok("push", package, name, DOCKER_CONFIG=str(shell.root), PATH=path)
    (shell.root / "config.json").write_text(json.dumps({"credsStore": "drawer"}))
    shell.ok("pull", name, "-o", "x.mpp", DOCKER_CONFIG=str(shell.root), PATH=path)
    helper.write_text("#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n")
    assert shell.run("pull", name, DOCKER_CONFIG=str(shell.root), PATH=path).code == 2
    helper.write_text("#!/bin/sh\nexit 3\n")
    broken = shell.run("pull", name, DOCKER_CONFIG=str(shell.root), PATH=path)
    assert "[registry.credentials]" in broken.err


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a key and a certificate of its own for *name*."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed here; CI installs it")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}"),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


def test_a_registry_that_is_not_this_machine_has_to_prove_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``localhost``, taken for any other name."""
    monkeypatch.setattr(transport, "is_loopback", lambda _: False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    key, trusted = certificate(tmp_path, "localhost")
    http = {"tls": {"certificate": str(trusted), "key": str(key)}}
    with oci_registry.running(tmp_path / "tls", name="localhost", http=http) as real:
        reference = parse(f"oci://{real.host}/acme/echo:1.0.0")
        with (tmp_path / "file").open("w+b") as file:
            file.write(b"any file, at this depth")
            with (
                pytest.raises(InternalError, match="certificate is not to be trusted"),
                Registry(real.host, {}) as nobody,
            ):
                nobody.push(file, reference, title="echo", version="1.0.0")
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
            with Registry(real.host, {}) as registry:
                registry.push(file, reference, title="echo", version="1.0.0")
                registry.fetch(registry.find(reference), file)

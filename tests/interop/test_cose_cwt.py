"""COSE against an independent implementation: what is signed here verifies there, and the reverse."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import forge
from mpp_exec.encoding import dumps
from mpp_exec.errors import PackageError
from mpp_exec.package import canonical
from mpp_exec.package.archive import open_package
from mpp_exec.package.build import build
from mpp_exec.trust import rotation
from mpp_exec.trust.cose import CONTENT_TYPE, ManifestSigner, decode
from mpp_exec.trust.verify import verify

ORACLE = Path(__file__).with_name("cwt_oracle.py")
PUBLIC = forge.KEY.public_key.hex()
KID = forge.KEY.key_id.removeprefix("sha256:")

pytestmark = pytest.mark.timeout(600)  # the first run makes the environment


def ask(python: Path, **request: Any) -> dict[str, Any]:
    base = {"alg": -19, "public": PUBLIC, "kid": KID}
    done = subprocess.run(
        [str(python), str(ORACLE)],
        input=json.dumps(base | request),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_built_package_verifies_there(interop_python: Path, tmp_path: Path) -> None:
    """From mpp.toml to manifest.cose, then through somebody else's COSE and CBOR."""
    built = build(
        forge.Tree(tmp_path / "source").write(), ManifestSigner("acme", forge.KEY), tmp_path / "package.mpp"
    )
    with open_package(built.path) as package:
        answer = ask(interop_python, do="verify", message=package.signed.hex())
    payload = dumps(canonical.to_value(built.manifest)).hex()
    assert answer == {
        "alg": -19,
        "content_type": CONTENT_TYPE,
        "kid": KID,
        "headers": 3,
        "unprotected": 0,
        "payload": payload,
        "canonical": payload,
    }


@pytest.mark.parametrize("index", [5, 60, 200, -1])
def test_a_changed_one_does_not(interop_python: Path, index: int) -> None:
    """The oracle is one: it refuses what is not signed."""
    signed = bytearray(forge.sign(forge.manifest()))
    signed[index] ^= 1
    assert "error" in ask(interop_python, do="verify", message=signed.hex())


def test_what_was_signed_there_verifies_here(interop_python: Path, tmp_path: Path) -> None:
    payload = dumps(canonical.to_value(forge.manifest()))
    answer = ask(
        interop_python,
        do="sign",
        seed=forge.KEY.secret_seed().hex(),
        content_type=CONTENT_TYPE,
        payload=payload.hex(),
    )
    signed = bytes.fromhex(answer["message"])
    assert decode(signed).is_signed_by(forge.KEY.public_key)
    assert signed == forge.sign(forge.manifest())  # one message for one manifest and one key
    path = tmp_path / "package.mpp"
    path.write_bytes(forge.pack(forge.raw_members(signed, forge.PYTHON_FILES)))
    with open_package(path) as package:
        assert verify(package, forge.view(), now=forge.NOW, platform=forge.PLATFORM)


def test_a_rotation_statement_is_two_of_them(interop_python: Path) -> None:
    """Each layer verifies there under its own key, and the layers made there are the statement made here."""
    statement = rotation.sign("acme", forge.KEY, forge.OTHER_KEY, date(2026, 6, 1))
    new = {"public": forge.OTHER_KEY.public_key.hex(), "kid": forge.OTHER_KEY.key_id.removeprefix("sha256:")}
    agreed = ask(interop_python, do="verify", message=statement.hex(), **new)
    assert (agreed["content_type"], agreed["kid"]) == (rotation.AGREED_TYPE, new["kid"])
    stated = ask(interop_python, do="verify", message=agreed["payload"])
    assert (stated["content_type"], stated["kid"]) == (rotation.STATEMENT_TYPE, KID)
    assert stated["canonical"] == stated["payload"]
    assert "error" in ask(interop_python, do="verify", message=statement.hex())
    inner = ask(
        interop_python,
        do="sign",
        seed=forge.KEY.secret_seed().hex(),
        content_type=rotation.STATEMENT_TYPE,
        payload=stated["payload"],
    )
    outer = ask(
        interop_python,
        do="sign",
        seed=forge.OTHER_KEY.secret_seed().hex(),
        content_type=rotation.AGREED_TYPE,
        payload=inner["message"],
        **new,
    )
    assert bytes.fromhex(outer["message"]) == statement


def test_the_older_algorithm_is_not_accepted_from_there(interop_python: Path) -> None:
    """-8 says EdDSA and leaves the curve open (RFC 9864 §2.2); here the key decides, and it is -19."""
    answer = ask(
        interop_python,
        do="sign",
        alg=-8,
        seed=forge.KEY.secret_seed().hex(),
        content_type=CONTENT_TYPE,
        payload=dumps(canonical.to_value(forge.manifest())).hex(),
    )
    with pytest.raises(PackageError) as error:
        decode(bytes.fromhex(answer["message"]))
    assert error.value.code == "package.bad_envelope"

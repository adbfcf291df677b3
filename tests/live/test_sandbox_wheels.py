"""Compiled wheels in a package: what they expect of every host is there, under the default limits."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

import pytest

from mpp_exec.sandbox import launcher
from sandbox_lab import Lab, answer, bounded, call, install, restored, run, saved

WHEELS = """
def try_jsonschema_rs():
    import jsonschema_rs
    return jsonschema_rs.validator_for({"type": "integer"}).is_valid(5)

def try_nacl():
    import nacl.secret, nacl.utils
    box = nacl.secret.SecretBox(nacl.utils.random(32))
    return box.decrypt(box.encrypt(b"hello")).decode()

def try_cbor2():
    import cbor2
    return cbor2.loads(cbor2.dumps({"a": [1]}))

def run(name):
    return globals()["try_" + name]()
"""
# What a PEP 600 wheel may be linked to beside the C library.
LIBRARIES = ("libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0")


def vendor(app: Path, *distributions: str) -> None:
    """Copy the files of installed *distributions* into the package's folder ``vendor``."""
    for name in distributions:
        for file in importlib.metadata.files(name) or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            target = app / "vendor" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)
            target.chmod(0o755 if target.suffix == ".so" else 0o644)
    for folder in (app / "vendor").rglob("*"):
        if folder.is_dir():
            folder.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "distributions", "result"),
    [
        ("jsonschema_rs", ("jsonschema-rs",), True),  # Rust: libgcc_s
        ("nacl", ("PyNaCl", "cffi"), "hello"),
        ("cbor2", ("cbor2",), {"a": [1]}),
    ],
)
def test_compiled_wheel_in_a_package(
    lab: Lab, tmp_path: Path, name: str, distributions: tuple[str, ...], result: object
) -> None:
    app = install(tmp_path / "app", {"tool.py": WHEELS})
    vendor(app, *distributions)
    assert call(lab.installed(app, path=("vendor",)), name=name) == result


def test_libraries_that_a_wheel_may_expect(lab: Lab) -> None:
    """Those of them that this host has; the interpreter itself loads few."""
    code = (
        "import ctypes\n"
        "def run(names):\n"
        "    seen = []\n"
        "    for name in names:\n"
        "        try: ctypes.CDLL(name)\n"
        "        except OSError as error: seen.append(str(error))\n"
        "    return seen\n"
    )
    folder = Path("/lib/x86_64-linux-gnu")
    here = [name for name in LIBRARIES if (folder / name).exists()]
    assert call(lab.python(code), names=here) == []


NUMPY = """
import ssl
import numpy
from numpy.random import rand
numpy.random.seed(1)
first = rand()
def run(name):
    square = numpy.ones((300, 300)) @ numpy.ones((300, 300))
    return [float(square.sum()), rand(), numpy.random.default_rng().random(), ssl.RAND_bytes(8).hex()]
"""


@pytest.mark.skipif(not launcher.saves(), reason="this architecture saves no process")
@pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="numpy is not installed")
def test_numpy_is_imported_once_and_has_other_random_numbers_in_each_copy(lab: Lab, tmp_path: Path) -> None:
    """Its linear algebra ends its threads as for fork(2), and starts them again when it needs them."""
    app = install(tmp_path / "app", {"tool.py": NUMPY})
    vendor(app, "numpy")
    compiled = lab.installed(app, path=("vendor",), import_once=True, limits=bounded(memory=1 << 30))
    seen = []
    with saved(compiled) as source:
        assert source.serves
        for _ in range(3):
            made = restored(compiled, source)
            seen.append(answer(run(compiled, b'{"arguments":{"name":""}}', parked=made))["value"])
            made.close()
    sums, *others = zip(*seen, strict=True)
    assert set(sums) == {27_000_000.0}
    for column in others:
        assert len(set(column)) == len(seen), column

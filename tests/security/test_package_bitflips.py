"""No single bit of a package can be changed, no byte cut off or added: the file says one thing or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forge
from mpp_exec.errors import InternalError, MppError
from mpp_exec.package.archive import open_package
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import verify

GOOD = forge.package("exec")


def accepted(descriptor: int, view: TrustView) -> bool:
    """Say whether the open file verifies; anything but a clean refusal fails the test."""
    try:
        with open_package(f"/proc/self/fd/{descriptor}") as package:
            verify(package, view, now=forge.NOW, platform=forge.PLATFORM)
    except InternalError:
        raise
    except MppError:
        return False
    return True


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "package.mpp", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, GOOD)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("view", [forge.view(), TrustView(trust_first_use=True)], ids=["known", "first use"])
def test_every_flipped_bit_is_refused(file: int, view: TrustView) -> None:
    """All bits: of the signed manifest, of the archive's own records, and of the contents."""
    assert accepted(file, view)
    survivors = []
    for index, byte in enumerate(GOOD):
        for bit in range(8):
            os.pwrite(file, bytes([byte ^ 1 << bit]), index)
            if accepted(file, view):
                survivors.append((index, bit))
        os.pwrite(file, bytes([byte]), index)
    assert survivors == []
    assert accepted(file, view)


def test_every_truncation_is_refused(file: int) -> None:
    for length in reversed(range(len(GOOD))):
        os.ftruncate(file, length)
        assert not accepted(file, forge.view()), length


def test_every_inserted_and_every_removed_byte_is_refused(file: int) -> None:
    for index in range(len(GOOD) + 1):
        for made in (GOOD[:index] + b"\0" + GOOD[index:], GOOD[:index] + GOOD[index + 1 :]):
            if made != GOOD:
                os.ftruncate(file, 0)
                os.pwrite(file, made, 0)
                assert not accepted(file, forge.view()), index


@settings(max_examples=400, deadline=None, database=None)
@given(data=st.data())
def test_no_random_damage_is_accepted(data: st.DataObject) -> None:
    """Runs of bytes overwritten, moved and repeated, as disks, proxies and fuzzers do."""
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 64)))
    patch = data.draw(st.one_of(st.binary(max_size=64), st.just(GOOD[start:end] * 2), st.just(b"")))
    made = GOOD[:start] + patch + GOOD[end:]
    descriptor = os.memfd_create("package")
    try:
        os.write(descriptor, made)
        assert accepted(descriptor, forge.view()) == (made == GOOD)
    finally:
        os.close(descriptor)

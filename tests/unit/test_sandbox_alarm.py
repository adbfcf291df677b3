"""The alarm of the pool's thread goes off when it was set to, whoever sets it and however often."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec.errors import InternalError
from mpp_exec.sandbox.alarm import Alarm


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    made = Alarm()
    yield made
    made.close()


def test_nobody_has_set_it(alarm: Alarm) -> None:
    assert not alarm.wait(0)


def test_it_goes_off_once(alarm: Alarm) -> None:
    alarm.now()
    assert alarm.wait(5)
    assert not alarm.wait(0)


def test_whoever_comes_often_does_not_put_it_off(alarm: Alarm) -> None:
    begun = time.monotonic()
    alarm.soon(0.02)
    while not alarm.wait(0):
        alarm.soon(3600)
        assert time.monotonic() - begun < 5
    assert time.monotonic() - begun >= 0.02


def test_one_that_cannot_wait_is_before_one_that_can(alarm: Alarm) -> None:
    alarm.soon(3600)
    alarm.now()
    assert alarm.wait(5)


def test_after_it_was_closed_nothing_goes_off_and_nothing_is_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    alarm = Alarm()
    alarm.close()
    alarm.close()
    alarm.now()
    alarm.soon(0)
    assert not alarm.wait(0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_a_descriptor_there_is_none() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.open("/", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))
    try:
        with pytest.raises(InternalError) as refused:
            Alarm()
        assert refused.value.code == "host.exhausted"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken)

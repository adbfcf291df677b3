"""Which Landlock rights are handled and granted, by the ABI of the kernel."""

from __future__ import annotations

import pytest

from mpp_exec.sandbox import landlock
from mpp_exec.sandbox.landlock import access, handled

ABIS = range(1, 8)
# linux/landlock.h: how many file system rights each ABI knows, in the order of their bits.
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16}


@pytest.mark.parametrize("abi", ABIS)
def test_everything_that_the_kernel_knows_is_handled(abi: int) -> None:
    """What is not handled is allowed everywhere, so each right of the ABI must be."""
    fs, net, scoped = handled(abi)
    assert fs == (1 << RIGHTS[abi]) - 1
    assert net == (0b11 if abi >= 4 else 0)
    assert scoped == (0b11 if abi >= 6 else 0)


@pytest.mark.parametrize("abi", ABIS)
def test_rule_never_names_a_right_that_is_not_handled(abi: int) -> None:
    """The kernel refuses such a rule, and with it the sandbox."""
    for wanted in (landlock.READ, landlock.WRITE, landlock.READ | landlock.EXECUTE, (1 << 16) - 1):
        for is_dir in (True, False):
            assert access(wanted, abi, is_dir=is_dir) & ~handled(abi)[0] == 0
            assert access(wanted, abi, is_dir=is_dir) & ~wanted == 0


@pytest.mark.parametrize("abi", ABIS)
def test_rule_on_a_file_names_file_rights_only(abi: int) -> None:
    folder_rights = (
        landlock.READ_DIR | landlock.REMOVE_DIR | landlock.MAKE_REG | landlock.MAKE_SYM | landlock.REFER
    )
    assert access(landlock.WRITE, abi, is_dir=False) & folder_rights == 0
    assert access(landlock.WRITE, abi, is_dir=False) & landlock.WRITE_FILE


def test_reading_is_not_writing_nor_executing() -> None:
    writing = landlock.WRITE & ~landlock.READ
    assert landlock.READ & writing == 0
    assert (landlock.READ | landlock.WRITE) & landlock.EXECUTE == 0


def test_nobody_makes_devices_sockets_or_pipes() -> None:
    """Each is a way to talk to something outside."""
    talk = (
        landlock.MAKE_CHAR
        | landlock.MAKE_BLOCK
        | landlock.MAKE_SOCK
        | landlock.MAKE_FIFO
        | landlock.IOCTL_DEV
    )
    assert (landlock.READ | landlock.WRITE) & talk == 0


def test_truncating_needs_the_right_where_there_is_one() -> None:
    assert access(landlock.WRITE, 2, is_dir=False) & landlock.TRUNCATE == 0
    assert access(landlock.WRITE, 3, is_dir=False) & landlock.TRUNCATE
    assert access(landlock.READ, 7, is_dir=False) & landlock.TRUNCATE == 0

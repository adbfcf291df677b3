"""The BPF simulator: each comparison at its boundary, and nothing guessed."""

from __future__ import annotations

import struct

import pytest

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import bpf
from mpp_exec.sandbox.bpf import Instruction

MATCHED, PASSED = 0x11, 0x22
AT = 0x8000_0000  # beyond INT_MAX: every comparison is unsigned


def verdict(code: int, constant: int, loaded: int) -> int:
    """Run ``load; compare; return`` with *loaded* as the system call's number."""
    program = (
        Instruction(bpf.LD_W_ABS, 0, 0, 0),
        Instruction(code, 0, 1, constant),
        Instruction(bpf.RET_K, 0, 0, MATCHED),
        Instruction(bpf.RET_K, 0, 0, PASSED),
    )
    return bpf.simulate(program, bpf.call_data(loaded, (), 0))


@pytest.mark.parametrize(
    ("code", "below", "at", "above"),
    [
        (bpf.JMP_JEQ_K, PASSED, MATCHED, PASSED),
        (bpf.JMP_JGT_K, PASSED, PASSED, MATCHED),
        (bpf.JMP_JGE_K, PASSED, MATCHED, MATCHED),
    ],
)
@pytest.mark.parametrize("constant", [1, 59, AT])
def test_comparison_at_its_boundary(code: int, below: int, at: int, above: int, constant: int) -> None:
    assert verdict(code, constant, constant - 1) == below
    assert verdict(code, constant, constant) == at
    assert verdict(code, constant, constant + 1) == above


def test_jset_asks_for_any_common_bit() -> None:
    assert verdict(bpf.JMP_JSET_K, 0b0110, 0b1001) == PASSED
    assert verdict(bpf.JMP_JSET_K, 0b0110, 0b0100) == MATCHED
    assert verdict(bpf.JMP_JSET_K, 0b0110, 0b0110) == MATCHED
    assert verdict(bpf.JMP_JSET_K, 0, 0xFFFFFFFF) == PASSED


def test_jump_counts_from_the_next_instruction() -> None:
    for distance in range(3):
        program = (
            Instruction(bpf.JMP_JA, 0, 0, distance),
            *(Instruction(bpf.RET_K, 0, 0, number) for number in range(3)),
        )
        assert bpf.simulate(program, bpf.call_data(0, (), 0)) == distance


def test_and_masks_what_was_loaded() -> None:
    program = (
        Instruction(bpf.LD_W_ABS, 0, 0, 4),
        Instruction(bpf.ALU_AND_K, 0, 0, 0xF0),
        Instruction(bpf.JMP_JEQ_K, 0, 1, 0x30),
        Instruction(bpf.RET_K, 0, 0, MATCHED),
        Instruction(bpf.RET_K, 0, 0, PASSED),
    )
    assert bpf.simulate(program, bpf.call_data(0, (), 0x3F)) == MATCHED
    assert bpf.simulate(program, bpf.call_data(0, (), 0x4F)) == PASSED


def test_data_is_laid_out_as_the_kernel_does() -> None:
    """struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits."""
    arguments = tuple(0x1111_1111_2222_2220 + index for index in range(6))
    words = bpf.call_data(57, arguments, 0xC000003E)
    assert words[:4] == (57, 0xC000003E, 0, 0)
    assert words[4:] == struct.unpack("=12I", struct.pack("=6Q", *arguments))


def test_number_is_signed_in_the_kernel_and_unsigned_to_bpf() -> None:
    assert bpf.call_data(0xFFFFFFFF, (), 0)[0] == 0xFFFFFFFF
    assert bpf.call_data(0x7FFFFFFF, (), 0)[0] == 0x7FFFFFFF


@pytest.mark.parametrize(
    "program",
    [
        (Instruction(bpf.LD_W_ABS, 0, 0, 1), Instruction(bpf.RET_K, 0, 0, 0)),  # misaligned
        (Instruction(bpf.LD_W_ABS, 0, 0, 64), Instruction(bpf.RET_K, 0, 0, 0)),  # behind the data
        (Instruction(0x00, 0, 0, 0), Instruction(bpf.RET_K, 0, 0, 0)),  # an instruction seccomp does not have
        (Instruction(0x16, 0, 0, 0),),  # RET A: a verdict that was computed
        (Instruction(bpf.LD_W_ABS, 0, 0, 0),),  # no return
        (Instruction(bpf.JMP_JA, 0, 0, 1), Instruction(bpf.RET_K, 0, 0, 0)),  # a jump behind the end
    ],
)
def test_what_it_does_not_know_is_an_error(program: tuple[Instruction, ...]) -> None:
    with pytest.raises(InternalError) as caught:
        bpf.simulate(program, bpf.call_data(0, (), 0))
    assert caught.value.code == "seccomp.program"


@pytest.mark.parametrize("size", [0, 7, 9, 8 * 4097])
def test_bytes_that_are_no_program_are_refused(size: int) -> None:
    with pytest.raises(InternalError) as caught:
        bpf.decode(bytes(size))
    assert caught.value.code == "seccomp.program"


def test_decode_and_encode_are_inverse() -> None:
    program = (
        Instruction(0x20, 0, 0, 4),
        Instruction(0x15, 3, 255, 0xC000003E),
        Instruction(6, 0, 0, 0x7FFF0000),
    )
    assert bpf.decode(bpf.encode(program)) == program
    assert len(bpf.encode(program)) == 24

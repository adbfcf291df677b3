"""Classic BPF as seccomp runs it: decode a program, simulate it.

This file knows instructions and no policy. It exists so that no compiled program has to be trusted:
``seccomp.prove`` runs every program through :func:`simulate` before it may be used.

Sources: Linux ``include/uapi/linux/bpf_common.h``, ``linux/filter.h``, ``linux/seccomp.h``,
``kernel/seccomp.c`` (``seccomp_check_filter`` lists the instructions that exist there).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mpp_exec.errors import InternalError

# Instruction codes (bpf_common.h) that a comparison program needs, of those that seccomp_check_filter admits.
LD_W_ABS = 0x20
JMP_JA = 0x05
JMP_JEQ_K = 0x15
JMP_JGT_K = 0x25
JMP_JGE_K = 0x35
JMP_JSET_K = 0x45
RET_K = 0x06
ALU_AND_K = 0x54

INSTRUCTION = struct.Struct("=HBBI")
"""struct sock_filter: code, jump-if-true, jump-if-false, constant."""

DATA = struct.Struct("=iIQ6Q")
"""struct seccomp_data: system call number, architecture, instruction pointer, six arguments."""

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

RET_KILL_PROCESS = 0x80000000
RET_ERRNO = 0x00050000
RET_USER_NOTIF = 0x7FC00000
RET_ALLOW = 0x7FFF0000


@dataclass(frozen=True, slots=True)
class Instruction:
    """One ``struct sock_filter``."""

    code: int
    jump_true: int
    jump_false: int
    constant: int


def decode(program: bytes) -> tuple[Instruction, ...]:
    """Return the instructions of *program* (8 bytes each, host byte order).

    Raises:
        InternalError: its size is no multiple of 8, or zero, or above BPF_MAXINSNS.
    """
    if (
        len(program) == 0
        or len(program) % INSTRUCTION.size
        or len(program) // INSTRUCTION.size > MAX_INSTRUCTIONS
    ):
        raise InternalError("seccomp.program", f"a program of {len(program)} bytes is not a BPF program")
    return tuple(Instruction(*fields) for fields in INSTRUCTION.iter_unpack(program))


def encode(instructions: tuple[Instruction, ...]) -> bytes:
    """Return the bytes of *instructions*, the inverse of :func:`decode`."""
    return b"".join(
        INSTRUCTION.pack(each.code, each.jump_true, each.jump_false, each.constant) for each in instructions
    )


def call_data(number: int, arguments: tuple[int, ...], arch: int) -> tuple[int, ...]:
    """Return the 16 words of ``struct seccomp_data`` that a program can load for one system call."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    signed = number if number < 1 << 31 else number - (1 << 32)
    return struct.unpack("=16I", DATA.pack(signed, arch, 0, *padded))


def simulate(program: tuple[Instruction, ...], words: tuple[int, ...]) -> int:
    """Run *program* on the *words* of :func:`call_data` and return its 32-bit verdict.

    Written from the instruction set, independently of any compiler. Only instructions that a
    comparison program needs are run; another one is an error, never a guess.

    Raises:
        InternalError: an instruction this simulator does not know, a load that is misaligned or
            out of range, or a jump behind the end.
    """
    accumulator = 0
    counter = 0
    size = len(program)
    while counter < size:
        step = program[counter]
        code = step.code
        counter += 1
        if code == LD_W_ABS:
            if step.constant % 4 or step.constant // 4 >= len(words):
                raise InternalError(
                    "seccomp.program", f"load at offset {step.constant} outside of the call's data"
                )
            accumulator = words[step.constant // 4]
        elif code == JMP_JEQ_K:
            counter += step.jump_true if accumulator == step.constant else step.jump_false
        elif code == JMP_JGT_K:
            counter += step.jump_true if accumulator > step.constant else step.jump_false
        elif code == JMP_JGE_K:
            counter += step.jump_true if accumulator >= step.constant else step.jump_false
        elif code == JMP_JSET_K:
            counter += step.jump_true if accumulator & step.constant else step.jump_false
        elif code == ALU_AND_K:
            accumulator &= step.constant
        elif code == JMP_JA:
            counter += step.constant
        elif code == RET_K:
            return step.constant
        else:
            raise InternalError(
                "seccomp.program", f"instruction {code:#x} has no place in a comparison program"
            )
    raise InternalError("seccomp.program", "the program runs past its end")

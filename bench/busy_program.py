# SPDX-License-Identifier: GPL-2.0-or-later
"""An EFI program that does nothing but call services, one right after the other."""

from __future__ import annotations

from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, SystemTable, TableHeader
from tests.build.pe import PeSection, build_pe

__all__ = ["CALLS", "build_busy_program"]

CALLS = 2000
_LOADER_DATA = 2  # UEFI 2.10 §7.2.1
_SIZE = 100
_SECTION = 0x200


def _slot(name: str) -> bytes:
    offset = TableHeader.SIZE + 8 * BOOT_SERVICES_SLOTS.index(name)
    return offset.to_bytes(1, "little")


def build_busy_program() -> bytes:
    """Return a program that makes CALLS calls, AllocatePool and FreePool in turn, and ends with success."""
    code = (
        bytes.fromhex("53 56 57 4883ec30")  # push %rbx, %rsi, %rdi; sub $0x30, %rsp
        + b"\x48\x8b\x5a" + bytes([SystemTable.offset_of("boot_services")])  # mov boot_services(%rdx), %rbx
        + b"\xbe" + (CALLS // 2).to_bytes(4, "little")  # mov $n, %esi
    )  # fmt: skip
    body = (
        b"\xb9" + _LOADER_DATA.to_bytes(4, "little")  # mov $EfiLoaderData, %ecx
        + b"\xba" + _SIZE.to_bytes(4, "little")  # mov $size, %edx
        + bytes.fromhex("4c8d442428")  # lea 0x28(%rsp), %r8
        + b"\xff\x53" + _slot("AllocatePool")  # call *AllocatePool(%rbx)
        + bytes.fromhex("488b4c2428")  # mov 0x28(%rsp), %rcx
        + b"\xff\x53" + _slot("FreePool")  # call *FreePool(%rbx)
        + bytes.fromhex("ffce")  # dec %esi
    )  # fmt: skip
    again = b"\x75" + (-(len(body) + 2) & 0xFF).to_bytes(1, "little")  # jnz to the body's start
    end = bytes.fromhex("31c0 4883c430 5f 5e 5b c3")  # xor %eax, %eax; add $0x30, %rsp; pops; ret
    return build_pe([PeSection(data=(code + body + again + end).ljust(_SECTION, b"\0"))])

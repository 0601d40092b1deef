# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI programs that count their own instructions, for machines whose time-stamp counter counts them.

What they have counted is the status with which they end.
"""

from __future__ import annotations

from pvefi.guest.mailbox import MailboxLayout
from pvefi.guest.trampoline import load_trampoline
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, SystemTable, TableHeader
from tests.build.pe import PeSection, build_pe

__all__ = ["BEFORE_THE_COUNTER", "build_gate_counter", "build_start_counter"]

BEFORE_THE_COUNTER = 2
"""The trampoline's instructions before it reads the counter: cli and cld."""

_SECTION = 0x200
_TPL_APPLICATION = 4  # UEFI 2.10 §7.1
_COUNTER = bytes.fromhex("0f31 48c1e220 4809d0")  # rdtsc; shl $32, %rdx; or %rdx, %rax


def _program(code: bytes) -> bytes:
    return build_pe([PeSection(data=code.ljust(_SECTION, b"\0"))])


def build_start_counter() -> bytes:
    """Return a program that ends with the instructions from the trampoline's rdtsc to its own first one."""
    start = load_trampoline().mailbox[0] + MailboxLayout.offset_of("tsc_start")
    return _program(
        _COUNTER
        + b"\x48\xb9" + start.to_bytes(8, "little")  # mov $tsc_start, %rcx
        + bytes.fromhex("482b01 c3")  # sub (%rcx), %rax; ret
    )  # fmt: skip


def build_gate_counter() -> bytes:
    """Return a program that ends with the instructions that a gate takes, its ret the last of them.

    RaiseTPL() is called between two readings of the counter, and then a function that only returns.
    """
    raise_tpl = TableHeader.SIZE + 8 * BOOT_SERVICES_SLOTS.index("RaiseTPL")
    before = _COUNTER + bytes.fromhex("4989c4")  # mov %rax, %r12
    after = _COUNTER + bytes.fromhex("4c29e0")  # sub %r12, %rax
    end = bytes.fromhex(
        "4929c5"  # sub %rax, %r13
        "498d4501"  # lea 1(%r13), %rax: the function's own ret
        "4883c420 415d 415c 5b"  # add $0x20, %rsp; pop %r13, %r12, %rbx
        "c3"  # ret
    )
    plain = before + bytes.fromhex("41ffd2") + after  # call *%r10
    return _program(
        bytes.fromhex("53 4154 4155 4883ec20")  # push %rbx, %r12, %r13; sub $0x20, %rsp
        + b"\x48\x8b\x5a" + bytes([SystemTable.offset_of("boot_services")])  # mov boot_services(%rdx), %rbx
        + b"\xb9" + _TPL_APPLICATION.to_bytes(4, "little")  # mov $TPL_APPLICATION, %ecx
        + before + b"\xff\x53" + bytes([raise_tpl]) + after  # call *RaiseTPL(%rbx)
        + bytes.fromhex("4989c5")  # mov %rax, %r13
        + b"\x4c\x8d\x15" + (len(plain) + len(end) - 1).to_bytes(4, "little")  # lea the last ret, %r10
        + plain + end
    )  # fmt: skip

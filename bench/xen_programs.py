# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests whose doorbells are measured on Xen: one by a port alone, one by way of a gate and by a port."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, SystemTable, TableHeader
from tests.build.pe import PeSection, build_pe

__all__ = ["BARE_PORT", "BLOCK", "build_bare", "build_ringer"]

BARE_PORT = 0x530
"""What the EFI program writes to by itself: an I/O port of nobody's, near the doorbell."""
BLOCK = 50
"""How often it rings by a gate, and then writes to its port, before it begins anew."""

_SOURCE = Path(__file__).resolve().parent / "xen_bare.S"
_LOAD_ADDRESS = 0x100000
_LINK = ("ld", "-m", "elf_x86_64", "--build-id=none", f"-Ttext={_LOAD_ADDRESS:#x}")
_SECTION = 0x200
_TPL_APPLICATION = 4  # UEFI 2.10 §7.1


def build_bare() -> bytes:
    """Return xen_bare.S as an ELF file; CalledProcessError when as or ld refuse."""
    with tempfile.TemporaryDirectory() as scratch:
        made, linked = Path(scratch) / "bare.o", Path(scratch) / "bare.elf"
        subprocess.run(["as", "--64", "-o", made, _SOURCE], check=True)
        subprocess.run([*_LINK, "-o", linked, made], check=True)
        return linked.read_bytes()


def build_ringer() -> bytes:
    """Return an EFI program that calls RaiseTPL and writes to BARE_PORT in turn, without end."""
    raise_tpl = TableHeader.SIZE + 8 * BOOT_SERVICES_SLOTS.index("RaiseTPL")
    again = b"\xbe" + BLOCK.to_bytes(4, "little")  # mov $BLOCK, %esi
    call = (
        b"\xb9" + _TPL_APPLICATION.to_bytes(4, "little")  # mov $TPL_APPLICATION, %ecx
        + b"\xff\x53" + bytes([raise_tpl])  # call *RaiseTPL(%rbx)
    )  # fmt: skip
    port = b"\xba" + BARE_PORT.to_bytes(4, "little")  # mov $BARE_PORT, %edx
    body = again + _counted(call) + again + port + _counted(b"\xee")  # out %al, %dx
    code = (
        bytes.fromhex("53 56 4883ec28")  # push %rbx; push %rsi; sub $0x28, %rsp
        + b"\x48\x8b\x5a" + bytes([SystemTable.offset_of("boot_services")])  # mov boot_services(%rdx), %rbx
        + body
        + b"\xeb" + _back(len(body) + 2)  # jmp to the body's start
    )  # fmt: skip
    return build_pe([PeSection(data=code.ljust(_SECTION, b"\0"))])


def _counted(code: bytes) -> bytes:
    return code + b"\xff\xce\x75" + _back(len(code) + 4)  # dec %esi; jnz to its start


def _back(distance: int) -> bytes:
    return (-distance & 0xFF).to_bytes(1, "little")

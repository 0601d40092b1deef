# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests whose doorbells are measured on Xen: one by the port alone, one by way of a gate."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, SystemTable, TableHeader
from tests.build.pe import PeSection, build_pe

__all__ = ["build_bare", "build_ringer"]

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
    """Return an EFI program that calls RaiseTPL(TPL_APPLICATION) without end."""
    raise_tpl = TableHeader.SIZE + 8 * BOOT_SERVICES_SLOTS.index("RaiseTPL")
    body = (
        b"\xb9" + _TPL_APPLICATION.to_bytes(4, "little")  # mov $TPL_APPLICATION, %ecx
        + b"\xff\x53" + bytes([raise_tpl])  # call *RaiseTPL(%rbx)
    )  # fmt: skip
    code = (
        bytes.fromhex("53 4883ec20")  # push %rbx; sub $0x20, %rsp
        + b"\x48\x8b\x5a" + bytes([SystemTable.offset_of("boot_services")])  # mov boot_services(%rdx), %rbx
        + body
        + b"\xeb" + (-(len(body) + 2) & 0xFF).to_bytes(1, "little")  # jmp to the body's start
    )  # fmt: skip
    return build_pe([PeSection(data=code.ljust(_SECTION, b"\0"))])

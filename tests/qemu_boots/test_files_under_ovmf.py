# SPDX-License-Identifier: GPL-2.0-or-later
"""The file protocol answers as edk2's FAT driver does: one program asks both, on the same files.

Under OVMF the files are on a FAT volume that cannot be written, which QEMU makes of the folder.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from pvefi.spec.uefi import files, guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, TableHeader
from pvefi.verdict import Outcome
from tests.conftest import RealFiles, Tool
from tests.machines.made import Assembler
from tests.machines.own_mapping import BEGIN, bytes_at, symbols
from tests.ovmf import SECONDS, ovmf_flash
from tests.qemu_boots.conftest import Boots
from tests.test_boot import program

ALL_ONES = (1 << 64) - 1
CONTENT = b"0123456789"


@dataclass(frozen=True)
class Case:
    """A file that is opened, and then asked all else, `size` bytes from `position` on among it."""

    name: str
    mode: int = files.READING
    attributes: int = 0
    position: int = 0
    size: int = 4
    delete: bool = False

    def pack(self, name_at: int) -> bytes:
        words = (name_at, self.mode, self.attributes, self.position, self.size, self.delete)
        return b"".join(int(word).to_bytes(8, "little") for word in words)


FILE = "\\EFI\\Xen\\long name.cfg"
KNOWN = {"none\\"}
"""A directory that is not there: edk2 takes its name for that of a file to be made, and refuses the name."""
CASES = (
    *map(Case, (FILE, "EFI\\Xen\\LONG NAME.CFG", "\\efi\\xen", "\\", ".", "EFI\\", "\\\\EFI\\\\Xen", "")),
    *map(Case, ("..", "EFI\\..", "EFI\\..\\..", "EFI\\.\\Xen\\..\\..\\efi", "none", "none\\none", "none\\")),
    *map(Case, (f"{FILE}\\", f"{FILE}\\more", f"{FILE}\\..", f"{FILE}\\.", "EFI/Xen", "x" * 300)),
    *(Case(FILE, position=position) for position in (3, 10, 11, ALL_ONES - 1, ALL_ONES)),
    *(Case("\\EFI", position=position) for position in (1, ALL_ONES)),
    *(Case(FILE, size=size) for size in (0, 10, 4000)),
    *(Case("\\EFI\\Xen", size=size) for size in (0, 81)),
    *(
        Case(name, mode, attributes)
        for name in (FILE, "new", "\\EFI")
        for mode in (2, 3, files.CREATING, 0, 5, int(files.FileMode.CREATE | files.FileMode.READ))
        for attributes in (0, 1, 0x10, 0x40)
    ),
    Case(FILE, delete=True),
    Case("\\EFI", delete=True),
)
TOLD = (
    *("Open", "GetPosition", "", "SetPosition", "Read", "", "GetInfo", "", "Write"),
    *("Flush", "SetInfo", "Close"),
)
"""What the program writes of a case: statuses, and without a name what came with the one before."""
SOURCE = f"""
        {BEGIN}
        .macro  show value
        movq    \\value, %rax
        callq   hex
        .endm
        .macro  ask slot
        movq    file(%rip), %rcx
        callq   *\\slot(%rcx)
        callq   hex
        .endm

        leaq    loaded_image(%rip), %rdx
        movq    %rsi, %rcx
        leaq    interface(%rip), %r8
        service 0x60, handle_protocol
        movq    interface(%rip), %rax
        movq    24(%rax), %rcx          # its DeviceHandle
        leaq    file_system(%rip), %rdx
        leaq    interface(%rip), %r8
        service 0x60, handle_protocol
        movq    interface(%rip), %rcx
        leaq    root(%rip), %rdx
        callq   *8(%rcx)
        leaq    cases(%rip), %r12
next:
        movb    $'@', %al
        callq   put
        movb    $' ', %al
        callq   put
        leaq    cases(%rip), %r8
        addq    (%r12), %r8
        movq    root(%rip), %rcx
        leaq    file(%rip), %rdx
        movq    8(%r12), %r9
        movq    16(%r12), %rax
        movq    %rax, 0x20(%rsp)
        callq   *8(%rcx)
        movq    %rax, %r13
        callq   hex
        testq   %r13, %r13
        jnz     done
        leaq    value(%rip), %rdx
        ask     48
        show    value(%rip)
        movq    24(%r12), %rdx
        ask     56
        movq    32(%r12), %rax
        movq    %rax, value(%rip)
        leaq    value(%rip), %rdx
        leaq    buffer(%rip), %r8
        ask     32
        show    value(%rip)
        movq    $0, value(%rip)
        leaq    file_info(%rip), %rdx
        leaq    value(%rip), %r8
        xorl    %r9d, %r9d
        ask     64
        show    value(%rip)
        movq    $4, value(%rip)
        leaq    value(%rip), %rdx
        leaq    buffer(%rip), %r8
        ask     40
        ask     80
        leaq    file_info(%rip), %rdx
        movl    $4, %r8d
        leaq    buffer(%rip), %r9
        ask     72
        cmpq    $0, 40(%r12)
        jne     delete
        ask     16
        jmp     done
delete:
        ask     24
done:
        movb    $'\\n', %al
        callq   put
        addq    $48, %r12
        leaq    cases_end(%rip), %rax
        cmpq    %rax, %r12
        jb      next
        movl    $2, %ecx
        xorl    %edx, %edx
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        service 0x58, reset_system
        hlt

hex:                                    # %rax, 16 digits
        movq    %rax, %r8
        movl    $16, %ecx
1:      rolq    $4, %r8
        movl    %r8d, %eax
        andl    $15, %eax
        addl    $'0', %eax
        cmpl    $'9', %eax
        jbe     2f
        addl    $'a' - '9' - 1, %eax
2:      callq   put
        decl    %ecx
        jnz     1b
        movb    $' ', %al
put:    movw    $0x3f8, %dx
        outb    %al, %dx
        retq

        .balign 8
interface: .quad 0
root:   .quad   0
file:   .quad   0
value:  .quad   0
buffer: .skip   4096
"""


def image(assemble: Assembler) -> bytes:
    """Return the program."""
    packed, names = b"", b""
    start = len(CASES) * len(CASES[0].pack(0))
    for case in CASES:
        packed += case.pack(start + len(names))
        names += f"{case.name}\0".encode("utf-16-le")
    places = {
        "loaded_image": guids.LOADED_IMAGE_PROTOCOL.wire,
        "file_system": guids.SIMPLE_FILE_SYSTEM_PROTOCOL.wire,
        "file_info": guids.FILE_INFO_ID.wire,
        "cases": packed,
        "names": names,
    }
    code = SOURCE + "".join(bytes_at(label, data) for label, data in places.items())
    slot = TableHeader.SIZE + 8 * BOOT_SERVICES_SLOTS.index("HandleProtocol")
    return program(assemble(code, {**symbols(), "handle_protocol": slot}, at=0))


def told(console: bytes) -> list[list[int]]:
    """Return the numbers that the program wrote for each case."""
    lines = re.findall(rb"@ ((?:[0-9a-f]{16} )+)\r?\n", console)
    return [[int(word, 16) for word in line.split()] for line in lines]


def readable(numbers: list[int]) -> list[str]:
    """Return what is compared of a case: of a directory's entries only that there are some."""
    shown = []
    is_file = len(numbers) > 1 and numbers[1] == EfiStatus.SUCCESS
    for name, number in zip(TOLD, numbers, strict=False):
        if name:
            shown.append(f"{name} {EfiStatus(number).efi_name}")
        elif is_file:
            shown.append(f"{number:#x}")
    return shown


@pytest.fixture
def volume(tmp_path: Path, tool: Tool) -> Path:
    """Return a folder with a few files and the program, where firmware looks for one."""
    top = tmp_path / "esp"
    (top / "EFI" / "Xen").mkdir(parents=True)
    (top / "EFI" / "Xen" / "long name.cfg").write_bytes(CONTENT)
    (top / "EFI" / "BOOT").mkdir()
    (top / "EFI" / "BOOT" / "BOOTX64.EFI").write_bytes(image(Assembler(tool("as"), tool("ld"))))
    return top


def under_ovmf(corpus: RealFiles, tool: Tool, volume: Path, store: Path) -> bytes:
    command = [
        *(tool("qemu-system-x86_64"), "-machine", "q35,accel=tcg,smm=off", "-m", "256", "-display", "none"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio", "-monitor", "none"),
        *ovmf_flash(corpus, store),
        *("-drive", f"if=none,id=esp,format=raw,readonly=on,file=fat:{volume}"),
        *("-device", "virtio-blk-pci,drive=esp,bootindex=0"),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_files_are_answered_as_by_edk2s_fat_driver(
    corpus: RealFiles, tool: Tool, boots: Boots, volume: Path, tmp_path: Path
) -> None:
    theirs = told(under_ovmf(corpus, tool, volume, tmp_path / "store.fd"))
    booted = boots("", "", image=volume / "EFI" / "BOOT" / "BOOTX64.EFI", esp=volume)
    assert booted.result.verdict.outcome is Outcome.POWERED_OFF
    ours = told(booted.console)
    assert len(ours) == len(theirs) == len(CASES)
    differ = [
        f"{case}\n  pvefi {readable(a)}\n  edk2  {readable(b)}"
        for case, a, b in zip(CASES, ours, theirs, strict=True)
        if case.name not in KNOWN and readable(a) != readable(b)
    ]
    assert not differ, "\n".join(differ)

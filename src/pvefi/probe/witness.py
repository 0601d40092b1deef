# SPDX-License-Identifier: GPL-2.0-or-later
"""The witness: an initrd of a few kilobytes for any x86-64 kernel, which tells what that kernel was given.

It needs no other program: `witness.S` is its first process, and its only one. What that says on the console
are lines as the probe's (`pvefi.probe.lines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files

from pvefi.image.elf import Elf64Header, Elf64ProgramHeader, SegmentType
from pvefi.probe.cpio import archive, character_device, directory, regular_file
from pvefi.probe.lines import probe_boots

__all__ = ["KERNEL_LOG", "KernelText", "Witness", "kernel_text", "read_witness", "witness_initrd"]

KERNEL_LOG = "/proc/kmsg"
"""The file that has the kernel's log, as `pvefi.probe.messages.kernel_messages` reads it."""
_KERNEL_CORE = "/proc/kcore"
"""Its first headers alone are told."""
_KERNEL_MAP = 0xFFFFFFFF80000000
"""__START_KERNEL_map: Linux Documentation/arch/x86/x86_64/mm.rst, "kernel text mapping"."""
_NOT_PHYSICAL = 0xFFFFFFFFFFFFFFFF
"""What stands for the physical address of memory that is not mapped in one piece (Linux fs/proc/kcore.c)."""
_MOUNT_POINTS = ("proc", "sys")
_CONSOLE = (5, 1)
"""Linux Documentation/admin-guide/devices.txt."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What the witness said of the last boot on a console.

    `counter` is the CPU's time-stamp counter at the first instruction of user space, `clock` the seconds
    since the kernel started when that was told. `files` are the guest's files by path, each whole as far as
    it is told; a path with a slash at its end is a folder, told as its names, one a line. `broken` are files
    that were told and did not come whole, `damaged` is the number of lines whose sum did not fit. `end` is
    the word for what the guest did then, None when its telling broke off.
    """

    counter: int | None
    clock: float | None
    files: Mapping[str, bytes]
    broken: tuple[str, ...]
    end: str | None
    damaged: int


@dataclass(frozen=True, slots=True)
class KernelText:
    """Where the kernel's `_text` stands: KASLR chooses each of the two addresses by itself."""

    virtual_address: int
    physical_address: int


def witness_initrd() -> bytes:
    """Return the initrd, not compressed: any kernel that can have one unpacks it."""
    program = package_files("pvefi.probe").joinpath("witness.elf").read_bytes()
    return archive(
        [
            *(directory(name) for name in ("dev", *_MOUNT_POINTS)),
            character_device("dev/console", *_CONSOLE),
            regular_file("init", program, executable=True),
        ]
    )


def read_witness(console: bytes) -> Witness | None:
    """Return what the witness said of the last boot on this console; None when it never came up."""
    boots = probe_boots(console)
    if not boots:
        return None
    last = boots[-1]
    return Witness(last.counter, last.clock, last.files, last.broken, last.end, last.damaged)


def kernel_text(files: Mapping[str, bytes]) -> KernelText | None:
    """Return where the kernel says that it stands, by what the witness told of /proc/kcore.

    None when it told nothing of that: a kernel can be without it, or be locked down.
    """
    core = files.get(_KERNEL_CORE, b"")
    if len(core) < Elf64Header.SIZE:
        return None
    header = Elf64Header.unpack(core)
    for number in range(header.program_count):
        at = header.program_offset + number * Elf64ProgramHeader.SIZE
        if at + Elf64ProgramHeader.SIZE > len(core):
            break
        part = Elf64ProgramHeader.unpack(core, at)
        in_kernel_map = part.type == SegmentType.LOAD and part.virtual_address >= _KERNEL_MAP
        if in_kernel_map and part.physical_address != _NOT_PHYSICAL:
            return KernelText(part.virtual_address, part.physical_address)
    return None

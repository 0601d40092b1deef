# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from pvefi.errors import ImageError
from pvefi.image.elf import ElfMachine, ElfType
from pvefi.image.payload import PlainStream
from pvefi.image.vmlinux import CODE_SIZE, Vmlinux, read_vmlinux
from pvefi.spec.xen.elfnote import XenElfNote
from tests.build.elf import CODE, PHYSICAL, VIRTUAL, Load, build_elf


def read(data: bytes) -> Vmlinux:
    return read_vmlinux("vmlinux", PlainStream(data))


def test_a_kernel_of_64_bits_is_read() -> None:
    kernel = read(build_elf())
    assert kernel.is_64bit
    assert (kernel.machine, kernel.type) == (ElfMachine.X86_64, ElfType.EXEC)
    assert kernel.e_entry == PHYSICAL
    (load,) = kernel.load_segments
    assert (load.physical_address, load.virtual_address) == (PHYSICAL, VIRTUAL)
    assert (load.file_size, load.memory_size, load.permissions) == (len(CODE), len(CODE), "r-x")


def test_a_kernel_of_32_bits_is_read() -> None:
    kernel = read(build_elf(bits=32))
    assert not kernel.is_64bit
    assert kernel.machine is ElfMachine.I386
    assert kernel.xen_number(XenElfNote.PHYS32_ENTRY) == PHYSICAL + 0x50
    assert kernel.code_at_entry(8) == CODE[:8]


def test_the_code_at_the_entry_is_kept_with_its_place_in_its_segment() -> None:
    """On Debian's 6.12 e_entry is 0xb53 into the first segment, not at its start."""
    kernel = read(build_elf([Load(), Load(CODE[::-1], PHYSICAL + 0x200000)], entry=PHYSICAL + 0x20003))
    assert kernel.entry_code is None
    kernel = read(build_elf([Load(), Load(CODE[::-1], PHYSICAL + 0x200000)], entry=PHYSICAL + 0x200003))
    assert kernel.entry_code is not None
    assert (kernel.entry_code.segment_index, kernel.entry_code.segment_offset) == (1, 3)
    assert kernel.entry_code.physical_address == PHYSICAL + 0x200003
    assert kernel.code_at_entry(64) == CODE[::-1][3:67]
    assert kernel.code_at_entry() == CODE[::-1][3 : 3 + CODE_SIZE]


def test_a_virtual_entry_is_found_too() -> None:
    kernel = read(build_elf(entry=VIRTUAL + 16))
    assert kernel.entry_code is not None
    assert kernel.entry_code.physical_address == PHYSICAL + 16


def test_code_near_the_end_of_its_segment_is_short() -> None:
    assert read(build_elf(entry=PHYSICAL + len(CODE) - 5)).code_at_entry() == CODE[-5:]


def test_notes_are_found_by_owner_and_type() -> None:
    kernel = read(build_elf())
    assert kernel.xen_number(XenElfNote.PHYS32_ENTRY) == PHYSICAL + 0x50
    assert kernel.xen_number(XenElfNote.PHYS32_RELOC) is None
    assert kernel.xen_number(XenElfNote.GUEST_OS) is None  # it is a text
    salt = kernel.note("Linux", 0x100)
    assert salt is not None
    assert salt.value == "6.1.0-test"


def test_notes_may_stand_before_the_code() -> None:
    far = build_elf([Load()], filler=100_000)
    assert len(read(far).notes) == 5


def test_the_end_in_physical_memory_counts_zero_fill() -> None:
    assert read(build_elf([Load(memory_size=0x100000)])).physical_end == PHYSICAL + 0x100000


HEADERS_THAT_LIE: list[tuple[dict[str, Any], str]] = [
    ({"ident": b"\x7fELF" + bytes([3, 1, 1]) + bytes(9)}, "class 3"),
    ({"ident": b"\x7fELF" + bytes([2, 2, 1]) + bytes(9)}, "a big-endian one"),
    ({"ident": bytes(16)}, "an ELF kernel"),
    ({"program_offset": 0xFFFFFFFFFFFFFFFF}, "program headers within the first"),
    ({"program_offset": 0x100000}, "program headers within the first"),
    ({"program_count": 0xFFFF}, "program headers within the first"),
    ({"program_header_size": 0}, "e_phentsize 0"),
    ({"program": {"file_size": 1 << 40}}, "load segments within the kernel"),
    ({"program": {"offset": 0xFFFFFFFFFFFFF000}}, "load segments within the kernel"),
    ({"program": {"memory_size": 1}}, "no larger in the file than in memory"),
    ({"interpreter": True}, "program for user space"),
]


@pytest.mark.parametrize(("fields", "message"), HEADERS_THAT_LIE)
def test_a_header_that_lies_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read(build_elf(**fields))


@pytest.mark.parametrize("length", [4, 16, 63, 64, 100, 200, 500])
def test_a_truncated_kernel_is_refused(length: int) -> None:
    with pytest.raises(ImageError):
        read(build_elf()[:length])


def test_notes_cut_off_are_refused() -> None:
    with pytest.raises(ImageError, match="notes within the kernel's"):
        read(build_elf()[:-20])


def test_a_note_segment_of_gigabytes_is_refused() -> None:
    with pytest.raises(ImageError, match="a note segment"):
        read(build_elf([], notes=b"x" * 12, program={"file_size": 1 << 31, "type": 4}))

# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pvefi.image import AddressKind, Decompressor, EntryKind, Image, inspect
from tests.build.bzimage import HANDOVER_OFFSET, SETUP_SIZE, build_bzimage
from tests.build.elf import PHYSICAL, VIRTUAL, build_elf, linux_notes, note
from tests.build.pe import PAGE, build_pe


@pytest.fixture
def kernel(tmp_path: Path) -> Image:
    path = tmp_path / "vmlinuz"
    path.write_bytes(build_bzimage())
    return inspect(path)


def inspected(tmp_path: Path, data: bytes) -> Image:
    path = tmp_path / "file"
    path.write_bytes(data)
    return inspect(path)


def test_a_kernel_has_all_entries_in_order(kernel: Image) -> None:
    assert [(entry.kind, entry.bits) for entry in kernel.entries] == [
        ("efi", 64),
        ("efi32", 32),
        ("efi-handover", 32),
        ("efi-handover", 64),
        ("linux16", 16),
        ("linux32", 32),
        ("linux64", 64),
        ("kexec", 64),
        ("pvh", 32),
        ("xen-pv", 64),
    ]


PLACES = [
    (EntryKind.EFI, 64, PAGE, AddressKind.RVA, SETUP_SIZE),
    (EntryKind.EFI_HANDOVER, 32, HANDOVER_OFFSET, AddressKind.LOAD_OFFSET, SETUP_SIZE + HANDOVER_OFFSET),
    (
        EntryKind.EFI_HANDOVER,
        64,
        HANDOVER_OFFSET + 0x200,
        AddressKind.LOAD_OFFSET,
        SETUP_SIZE + HANDOVER_OFFSET + 0x200,
    ),
    (EntryKind.LINUX16, 16, 0x200, AddressKind.SETUP_OFFSET, 0x200),
    (EntryKind.LINUX32, 32, 0, AddressKind.LOAD_OFFSET, SETUP_SIZE),
    (EntryKind.LINUX64, 64, 0x200, AddressKind.LOAD_OFFSET, SETUP_SIZE + 0x200),
    (EntryKind.KEXEC, 64, 0x200, AddressKind.LOAD_OFFSET, SETUP_SIZE + 0x200),
    (EntryKind.PVH, 32, PHYSICAL + 0x50, AddressKind.PHYSICAL, None),
    (EntryKind.XEN_PV, 64, VIRTUAL + 0x1C0, AddressKind.VIRTUAL, None),
]


@pytest.mark.parametrize(("kind", "bits", "address", "address_kind", "offset"), PLACES)
def test_an_entry_says_where_it_is(
    kernel: Image,
    kind: EntryKind,
    bits: int,
    address: int,
    address_kind: AddressKind,
    offset: int | None,
) -> None:
    entry = kernel.entry(kind, bits)
    assert entry is not None
    assert (entry.address, entry.address_kind, entry.file_offset) == (address, address_kind, offset)


PATHS = [
    (EntryKind.EFI, Decompressor.UNTOLD, "startup_64"),
    (EntryKind.EFI_HANDOVER, Decompressor.UNTOLD, "startup_64"),
    (EntryKind.LINUX16, Decompressor.ENTERED, "startup_64"),
    (EntryKind.LINUX32, Decompressor.ENTERED, "startup_64"),
    (EntryKind.LINUX64, Decompressor.ENTERED, "startup_64"),
    (EntryKind.PVH, Decompressor.BYPASSED, "pvh_start_xen, then startup_64"),
    (EntryKind.XEN_PV, Decompressor.BYPASSED, "startup_xen"),
]


@pytest.mark.parametrize(("kind", "decompressor", "kernel_entry"), PATHS)
def test_an_entry_says_its_path(
    kernel: Image, kind: EntryKind, decompressor: Decompressor, kernel_entry: str
) -> None:
    entry = kernel.entry(kind)
    assert entry is not None
    assert (entry.decompressor, entry.kernel_entry) == (decompressor, kernel_entry)


def test_every_entry_says_what_it_demands_and_who_says_so(kernel: Image) -> None:
    assert all(entry.demands and entry.source for entry in kernel.entries)


def test_flags_that_are_not_set_give_no_entry(tmp_path: Path) -> None:
    kinds = {entry.kind for entry in inspected(tmp_path, build_bzimage(xloadflags=0, loadflags=0)).entries}
    assert not kinds & {EntryKind.EFI_HANDOVER, EntryKind.LINUX64, EntryKind.LINUX32}


def test_a_kernel_without_pe_header_has_no_efi_entries(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_bzimage(with_pe=False))
    assert [str(e.kind) for e in image.entries] == ["linux16", "linux32", "linux64", "pvh", "xen-pv"]


def test_notes_that_are_absent_give_no_entry(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_bzimage(build_elf(notes=linux_notes(pvh=None, xen_pv=None))))
    assert image.entry(EntryKind.PVH) is None
    assert image.entry(EntryKind.XEN_PV) is None


def test_a_note_that_points_nowhere_is_told_with_its_entry(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_bzimage(build_elf(notes=linux_notes(pvh=0x10))))
    entry = image.entry(EntryKind.PVH)
    assert entry is not None
    assert entry.remark == "the note points outside the load segments"


def test_a_kernel_that_is_not_linux_is_not_said_to_have_its_entries(tmp_path: Path) -> None:
    notes = note("Xen", 18, PHYSICAL.to_bytes(4, "little")) + note("Xen", 6, b"NetBSD\0")
    (entry,) = inspected(tmp_path, build_elf(notes=notes)).entries
    assert (entry.kernel_entry, entry.decompressor) == ("the note's address", Decompressor.NONE)


def test_an_efi_program_has_one_entry_and_no_decompressor(tmp_path: Path) -> None:
    (entry,) = inspected(tmp_path, build_pe()).entries
    assert (entry.kind, entry.decompressor, entry.kernel_entry) == (EntryKind.EFI, Decompressor.NONE, "")


def test_a_bzimage_without_payload_has_no_decompressor(tmp_path: Path) -> None:
    """memtest86+ is both a PE image and a bzImage, and unpacks nothing."""
    image = inspected(tmp_path, build_bzimage(payload_length=0, payload_offset=0))
    assert {entry.decompressor for entry in image.entries} == {Decompressor.NONE}


def test_an_efi_program_for_arm64_has_the_entry_of_its_machine(tmp_path: Path) -> None:
    (entry,) = inspected(tmp_path, build_pe(machine=0xAA64)).entries
    assert (entry.kind, entry.bits, entry.source) == (EntryKind.EFI_ARM64, 64, "UEFI 2.10 §2.3.6")


def test_a_machine_of_another_kind_has_no_entry_that_pvefi_knows(tmp_path: Path) -> None:
    assert inspected(tmp_path, build_pe(machine=0x5064)).entries == ()


PVH_V1 = "writable_descriptor_tables|auto_translated_physmap|supervisor_mode_kernel|hvm_callback_vector"
PVH_V1_BITS = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 8


@pytest.mark.parametrize(
    ("features", "has_v1"),
    [
        (note("Xen", 10, f"!writable_page_tables|{PVH_V1}\0".encode()), True),
        (note("Xen", 17, PVH_V1_BITS.to_bytes(4, "little")), True),
        (note("Xen", 10, b"hvm_callback_vector\0") + note("Xen", 17, b"\x0e\0\0\0"), True),
        (note("Xen", 10, b"!writable_page_tables|pae_pgdir_above_4gb\0"), False),
        (note("Xen", 17, b"\x0e\0\0\0"), False),
        (b"", False),
    ],
)
def test_a_pv_kernel_with_the_features_of_pvh_v1_says_so(
    tmp_path: Path, features: bytes, has_v1: bool
) -> None:
    """As Linux 3.14 to 4.10 had them, in the string and in the bits."""
    entry = inspected(tmp_path, build_elf(notes=linux_notes() + features)).entry(EntryKind.XEN_PV)
    assert entry is not None
    assert ("PVH v1 entry" in entry.remark) is has_v1


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        ((0x1000, 0x2000, 0x3FFF), "may be moved to 0x2000 to 0x3fff, aligned to 0x1000"),
        ((0x1000, 0x2000), "may be moved to 0x2000 to 0xffffffff, aligned to 0x1000"),
        ((), "may be moved to 0x0 to 0xffffffff, aligned to 0x200000"),
        ((1, 2, 3, 4), "may be moved to 0x2 to 0x3, aligned to 0x1"),
    ],
)
def test_what_a_relocation_note_leaves_out_has_its_defaults(
    tmp_path: Path, values: tuple[int, ...], remark: str
) -> None:
    reloc = note("Xen", 19, b"".join(value.to_bytes(4, "little") for value in values))
    entry = inspected(tmp_path, build_elf(notes=linux_notes() + reloc)).entry(EntryKind.PVH)
    assert entry is not None
    assert entry.remark == remark


def test_the_alignment_of_the_segments_counts_where_the_note_says_none(tmp_path: Path) -> None:
    data = build_elf(notes=linux_notes() + note("Xen", 19, b""), program={"alignment": 0x100000})
    entry = inspected(tmp_path, data).entry(EntryKind.PVH)
    assert entry is not None
    assert entry.remark.endswith("aligned to 0x100000")


def test_a_kernel_compressed_as_a_whole_has_its_entries_with_a_remark(tmp_path: Path) -> None:
    plain = inspected(tmp_path, build_bzimage()).entries
    packed = inspected(tmp_path, gzip.compress(build_bzimage())).entries
    assert [entry.kind for entry in packed] == [entry.kind for entry in plain]
    assert {entry.file_offset for entry in packed} == {None}
    assert all(entry.remark.startswith("the loader decompresses the file (gzip)") for entry in packed)

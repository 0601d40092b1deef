# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pvefi.errors import ImageError
from pvefi.image import EntryKind, Image, inspect
from pvefi.image.uki import UnifiedKind
from tests.build.arm64 import build_zboot
from tests.build.bzimage import build_bzimage, compress
from tests.build.cpio import archive
from tests.build.elf import build_elf
from tests.build.pe import PeSection, build_pe

READ_ONLY = 0x40000040
KERNEL = build_bzimage()
PARTS = {
    b".osrel": b"ID=debian\n",
    b".cmdline": b"quiet",
    b".initrd": compress(archive("init"), "zstd"),
    b".uname": b"6.1.0-test",
    b".linux": KERNEL,
}


def resource(name: bytes, data: bytes, **fields: Any) -> PeSection:
    return PeSection(name, data, READ_ONLY, **fields)


def build_uki(parts: dict[bytes, bytes] | None = None, *more: PeSection) -> bytes:
    sections = [resource(name, data) for name, data in (PARTS if parts is None else parts).items()]
    return build_pe([PeSection(), *sections, *more], header_size=0x600)


def inspected(tmp_path: Path, data: bytes) -> Image:
    path = tmp_path / "linux.efi"
    path.write_bytes(data)
    return inspect(path)


def test_a_uki_is_told_by_what_it_carries(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_uki())
    assert image.kind == "unified kernel image; EFI application for x86-64"
    assert image.unified is not None
    assert image.unified.kind is UnifiedKind.UKI
    assert [(r.name, r.text) for r in image.unified.resources] == [
        (".osrel", "ID=debian"),
        (".cmdline", "quiet"),
        (".initrd", "cpio archive, zstd"),
        (".uname", "6.1.0-test"),
        (".linux", ""),
    ]


def test_the_kernel_in_it_is_an_image_of_its_own(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_uki())
    (kernel,) = image.embedded
    assert (kernel.inside, kernel.size) == (".linux", len(KERNEL))
    assert kernel.sha256 == hashlib.sha256(KERNEL).hexdigest()
    assert kernel.kind == "Linux bzImage, boot protocol 2.15; EFI application for x86-64"
    assert kernel.entry(EntryKind.PVH) is not None
    assert [e.kind for e in image.entries] == [EntryKind.EFI]
    assert image.entries[0].kernel_entry == "that of .linux"


def test_a_resource_says_where_it_is_and_which_bytes_it_has(tmp_path: Path) -> None:
    data = build_uki()
    unified = inspected(tmp_path, data).unified
    assert unified is not None
    found = unified.resource(".cmdline")
    assert found is not None
    assert data[found.offset : found.offset + found.size] == b"quiet"
    assert found.sha256 == hashlib.sha256(b"quiet").hexdigest()


def test_profiles_are_counted_from_zero(tmp_path: Path) -> None:
    more = [
        resource(b".profile", b"ID=main"),
        resource(b".profile", b"ID=reset"),
        resource(b".cmdline", b"reset"),
    ]
    unified = inspected(tmp_path, build_uki(None, *more)).unified
    assert unified is not None
    assert [(r.name, r.profile) for r in unified.resources[-3:]] == [
        (".profile", 0),
        (".profile", 1),
        (".cmdline", 1),
    ]
    assert [unified.resource(".cmdline", profile) is not None for profile in (None, 0, 1)] == [
        True,
        False,
        True,
    ]


def test_a_kernel_in_a_profile_says_so(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_uki(None, resource(b".profile", b"ID=x"), resource(b".linux", KERNEL)))
    assert [inner.inside for inner in image.embedded] == [".linux", ".linux @0"]


def test_an_addon_has_no_kernel(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_uki({b".cmdline": b"debug"}))
    assert image.kind == "addon for unified kernel images; EFI application for x86-64"
    assert image.embedded == ()


def test_xen_can_carry_its_kernel_too(tmp_path: Path) -> None:
    parts = {
        b".config": b"[global]\ndefault=xen\n",
        b".ramdisk": archive("init"),
        b".kernel": KERNEL,
        b".xsm": b"p",
    }
    image = inspected(tmp_path, build_uki(parts))
    assert image.kind == "unified Xen image; EFI application for x86-64"
    assert [inner.inside for inner in image.embedded] == [".kernel"]
    assert image.unified is not None
    assert image.unified.resources[0].text == "[global]\ndefault=xen"


def test_a_program_with_a_section_named_by_chance_is_none(tmp_path: Path) -> None:
    assert inspected(tmp_path, build_uki({b".config": b"x", b".osrel": b"y"})).unified is None


def test_the_kernel_may_be_a_zboot_image(tmp_path: Path) -> None:
    (kernel,) = inspected(tmp_path, build_uki({b".linux": build_zboot()})).embedded
    assert [inner.inside for inner in kernel.embedded] == ["gzip payload"]


def test_an_empty_kernel_is_passed_over(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_uki({b".linux": b"", b".cmdline": b"x"}))
    assert image.embedded == ()


def test_a_kernel_that_is_none_is_refused_by_its_section(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"linux\.efi: \.linux: expected .*, found a text file"):
        inspected(tmp_path, build_uki({b".linux": b"Hello, world\n"}))


def test_a_defect_of_the_kernel_counts_from_the_kernel_s_start(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\.linux: offset 0x0: expected program headers") as caught:
        inspected(tmp_path, build_uki({b".linux": build_elf(program_offset=1 << 40)}))
    assert caught.value.offset == 0


def test_sections_that_share_bytes_of_the_file_are_refused(tmp_path: Path) -> None:
    sections = [PeSection(), resource(b".linux", KERNEL), resource(b".initrd", b"x", raw_offset=0x800)]
    with pytest.raises(ImageError, match=r"sections that share no bytes \(\.linux ends at"):
        inspected(tmp_path, build_pe(sections, header_size=0x600))


def test_sections_that_overlap_in_memory_are_refused(tmp_path: Path) -> None:
    """What objcopy makes when a kernel has outgrown the address that a recipe gives to the initrd."""
    sections = [
        PeSection(),
        resource(b".linux", KERNEL, virtual_address=0x10000),
        resource(b".initrd", b"x", virtual_address=0x10800),
    ]
    with pytest.raises(ImageError, match=r"sections that do not overlap \(\.linux ends at RVA"):
        inspected(tmp_path, build_pe(sections, header_size=0x600, size_of_image=0x20000))


def test_a_kernel_section_that_is_the_image_itself_is_refused(tmp_path: Path) -> None:
    data = bytearray(build_pe([PeSection(), resource(b".linux", bytes(0x600))], header_size=0x600))
    at = data.index(b".linux") + 16
    data[at : at + 8] = len(data).to_bytes(4, "little") + bytes(4)
    with pytest.raises(ImageError):
        inspected(tmp_path, bytes(data))


def test_sections_without_end_are_refused(tmp_path: Path) -> None:
    sections = [PeSection(), *[resource(b".cmdline", b"") for _ in range(600)]]
    with pytest.raises(ImageError, match="at most 512 resources, found 600 sections"):
        inspected(tmp_path, build_pe(sections, header_size=0x8000))

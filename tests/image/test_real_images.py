# SPDX-License-Identifier: GPL-2.0-or-later
"""Real kernels and EFI programs, judged against readelf, objdump and pefile's own loader."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pvefi.errors import ImageError
from pvefi.image import Decompressor, EntryKind, Image, inspect
from pvefi.image.payload import PayloadStream
from pvefi.image.pe_load import check_loadable, mapped_segments
from pvefi.image.relocations import relocations
from pvefi.spec.linux.setup_header import LoadFlag, XLoadFlag
from pvefi.spec.pe import Machine
from pvefi.spec.xen.elfnote import XenElfNote

if TYPE_CHECKING:
    from tests.conftest import RealFiles, Tool

KERNEL_PATTERN = "boot/vmlinuz-*"
KERNELS = {"cloud": "lz4", "amd64": "xz", "cloud-6.12": "zstd"}
PROGRAMS = ["efitools", "grub", "systemd-boot", "shim", "refind"]
BASE = 0x4000000


@pytest.fixture(scope="module", params=KERNELS)
def kernel(request: pytest.FixtureRequest, corpus: RealFiles) -> Image:
    return inspect(corpus.file(request.param, KERNEL_PATTERN))


def output(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize(("item", "compression"), KERNELS.items())
def test_a_debian_kernel_has_all_its_entries(corpus: RealFiles, item: str, compression: str) -> None:
    image = inspect(corpus.file(item, KERNEL_PATTERN))
    assert image.payload is not None
    assert image.payload.compression == compression
    assert [str(entry.kind) for entry in image.entries] == [
        "efi",
        "efi32",
        "efi-handover",
        "efi-handover",
        "linux16",
        "linux32",
        "linux64",
        "kexec",
        "pvh",
        "xen-pv",
    ]
    pvh = image.entry(EntryKind.PVH)
    assert pvh is not None
    assert (pvh.decompressor, pvh.kernel_entry) == (
        Decompressor.BYPASSED,
        "pvh_start_xen, then startup_64",
    )


def test_the_setup_header_of_a_debian_kernel(kernel: Image) -> None:
    assert kernel.bzimage is not None
    assert kernel.bzimage.protocol_name == "2.15"
    assert kernel.bzimage.load_flags is LoadFlag.LOADED_HIGH
    assert XLoadFlag.XLF_KERNEL_64 | XLoadFlag.XLF_EFI_HANDOVER_32 in kernel.bzimage.xload_flags
    release = kernel.path.name.removeprefix("vmlinuz-")
    assert kernel.bzimage.kernel_version.startswith(f"{release} (")
    assert kernel.bzimage.header.pref_address == 0x1000000


def test_the_kernel_proper_says_the_release_and_where_it_begins(kernel: Image) -> None:
    assert kernel.vmlinux is not None
    salt = kernel.vmlinux.note("Linux", 0x100)
    assert salt is not None
    assert salt.value == kernel.path.name.removeprefix("vmlinuz-")
    code = kernel.vmlinux.entry_code
    assert code is not None
    assert code.segment_index == 0
    assert code.physical_address == kernel.vmlinux.e_entry
    assert len(kernel.vmlinux.code_at_entry(64)) == 64
    assert kernel.vmlinux.physical_end <= 0x1000000 + _init_size(kernel)


def _init_size(kernel: Image) -> int:
    assert kernel.bzimage is not None
    return kernel.bzimage.header.init_size


def test_linux_6_12_relocates_under_pvh(corpus: RealFiles) -> None:
    """XEN_ELFNOTE_PHYS32_RELOC came with Linux 6.12; 6.1 has no such note."""
    new = inspect(corpus.file("cloud-6.12", KERNEL_PATTERN)).vmlinux
    old = inspect(corpus.file("cloud", KERNEL_PATTERN)).vmlinux
    assert new is not None
    assert old is not None
    note = new.xen_note(XenElfNote.PHYS32_RELOC)
    assert note is not None
    assert isinstance(note.value, tuple)
    assert note.value[0] == 0x200000
    assert old.xen_note(XenElfNote.PHYS32_RELOC) is None


@pytest.fixture(scope="module")
def unpacked(corpus: RealFiles, tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Path]:
    """Return an inspected kernel and the file of the vmlinux inside it."""
    image = inspect(corpus.file("cloud", KERNEL_PATTERN))
    assert image.payload is not None
    source = PayloadStream(str(image.path), image.read(), image.payload)
    path = tmp_path_factory.mktemp("kernel") / "vmlinux"
    path.write_bytes(source.read(0, source.size))
    return image, path


def test_readelf_finds_the_same_segments_and_entry(unpacked: tuple[Image, Path], tool: Tool) -> None:
    image, path = unpacked
    assert image.vmlinux is not None
    text = output(tool("readelf"), "-hlW", path)
    entry = re.search(r"Entry point address:\s+(0x[0-9a-f]+)", text)
    assert entry is not None
    assert int(entry[1], 16) == image.vmlinux.e_entry
    loads = [
        tuple(int(word, 16) for word in line.split()[1:6]) for line in text.splitlines() if "LOAD" in line
    ]
    assert loads == [
        (s.file_offset, s.virtual_address, s.physical_address, s.file_size, s.memory_size)
        for s in image.vmlinux.load_segments
    ]


def test_readelf_finds_the_same_notes(unpacked: tuple[Image, Path], tool: Tool) -> None:
    image, path = unpacked
    assert image.vmlinux is not None
    text = output(tool("readelf"), "-nW", path)
    found = re.findall(r"^  (\w+)\s+0x([0-9a-f]{8})\s", text, re.MULTILINE)
    assert [(note.owner, len(note.description)) for note in image.vmlinux.notes] == [
        (owner, int(size, 16)) for owner, size in found
    ]
    build_id = next(note for note in image.vmlinux.notes if note.name == "NT_GNU_BUILD_ID")
    assert isinstance(build_id.value, bytes)
    assert f"Build ID: {build_id.value.hex()}" in text
    unnamed = re.findall(r"Unknown note type: \(0x([0-9a-f]{8})\)\s+description data: ([0-9a-f ]+)", text)
    ours = {(note.type, note.description) for note in image.vmlinux.notes if note.owner == "Xen"}
    assert {(int(kind, 16), bytes.fromhex(data)) for kind, data in unnamed} <= ours


def test_the_kernel_proper_in_a_file_of_its_own_is_inspected(unpacked: tuple[Image, Path]) -> None:
    image, path = unpacked
    raw = inspect(path)
    assert raw.vmlinux == image.vmlinux
    assert [str(entry.kind) for entry in raw.entries] == ["pvh", "xen-pv"]


def number(text: str, field: str) -> int:
    match = re.search(rf"^{field}\s+(?:0x)?([0-9a-f]+)", text, re.MULTILINE)
    assert match is not None, field
    return int(match[1], 16)


def agrees_with_objdump(path: Path, objdump: str) -> None:
    image = inspect(path)
    assert image.pe is not None
    text = output(objdump, "-p", "-h", path)
    for field, value in {
        "AddressOfEntryPoint": image.pe.entry_rva,
        "ImageBase": image.pe.image_base,
        "SectionAlignment": image.pe.section_alignment,
        "FileAlignment": image.pe.file_alignment,
        "SizeOfImage": image.pe.size_of_image,
        "SizeOfHeaders": image.pe.size_of_headers,
        "Subsystem": image.pe.subsystem,
        "DllCharacteristics": image.pe.dll_characteristics,
    }.items():
        assert number(text, field) == int(value), field
    sections = re.findall(
        r"^ +\d+ (\S+) +[0-9a-f]{8,16} +([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]{8})", text, re.MULTILINE
    )
    base = image.pe.image_base
    ours = [(s.name, s.virtual_address, s.raw_offset if s.raw_size else 0) for s in image.pe.sections]
    assert [(name, int(vma, 16) - base, int(offset, 16)) for name, vma, offset in sections] == ours
    fixups = fixups_in(text)
    assert [(place.rva, place.width) for place in relocations(image.pe, image.read())] == fixups
    assert image.relocation_count == len(fixups)


def fixups_in(text: str) -> list[tuple[int, int]]:
    """Return address and width of each relocation that objdump -p lists."""
    found = re.findall(r"reloc +\d+ offset +[0-9a-f]+ \[([0-9a-f]+)\] (HIGHLOW|DIR64)", text)
    return [(int(rva, 16), 8 if kind == "DIR64" else 4) for rva, kind in found]


@pytest.mark.parametrize("item", KERNELS)
def test_objdump_reads_the_same_of_a_kernel(corpus: RealFiles, tool: Tool, item: str) -> None:
    agrees_with_objdump(corpus.file(item, KERNEL_PATTERN), tool("objdump"))


@pytest.mark.parametrize("item", ["efitools", "grub", "xen", "ipxe", "memtest", "shim", "refind"])
def test_objdump_reads_the_same_of_efi_programs(corpus: RealFiles, tool: Tool, item: str) -> None:
    for path in efi_programs(corpus, item):
        agrees_with_objdump(path, tool("objdump"))


def efi_programs(corpus: RealFiles, item: str) -> list[Path]:
    return [path for path in corpus.files(item) if ".efi" in path.name and path.read_bytes()[:2] == b"MZ"]


@pytest.mark.parametrize("item", ["xen", "ipxe", "grub"])
def test_every_fixup_that_objdump_lists_is_applied(corpus: RealFiles, tool: Tool, item: str) -> None:
    path = efi_programs(corpus, item)[0]
    image = inspect(path)
    assert image.pe is not None
    data = image.read()
    fixups = fixups_in(output(tool("objdump"), "-p", path))
    assert fixups
    changed = dict(fixups)
    for segment in mapped_segments(image.pe, data, BASE)[1:]:
        section = image.pe.section(segment.name)
        assert section is not None
        expected = bytearray(data[section.raw_offset : section.raw_offset + section.file_size])
        for at in range(segment.rva, segment.rva + len(expected)):
            if (width := changed.pop(at, 0)) == 0:
                continue
            into = slice(at - segment.rva, at - segment.rva + width)
            word = int.from_bytes(expected[into], "little") + BASE - image.pe.image_base
            expected[into] = (word & (1 << 8 * width) - 1).to_bytes(width, "little")
        assert segment.data == expected
    assert not changed


@pytest.mark.parametrize("item", ["ipxe", "grub", "cloud"])  # of xen.efi pefile misplaces sections
def test_pefile_maps_the_same_bytes(corpus: RealFiles, item: str) -> None:
    import pefile

    path = corpus.file(item, KERNEL_PATTERN) if item == "cloud" else efi_programs(corpus, item)[0]
    image = inspect(path)
    assert image.pe is not None
    data = image.read()
    ours = bytearray(image.pe.size_of_image)
    for segment in mapped_segments(image.pe, data, BASE):
        ours[segment.rva : segment.rva + len(segment.data)] = segment.data
    theirs = pefile.PE(data=data, fast_load=True)
    theirs.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_BASERELOC"]])
    theirs.relocate_image(BASE)
    mapped = theirs.get_memory_mapped_image()
    for section in image.pe.sections:
        at, end = section.virtual_address, section.virtual_address + section.file_size
        assert ours[at:end] == mapped[at:end], section.name


@pytest.mark.parametrize("item", PROGRAMS)
def test_efi_programs_can_be_loaded(corpus: RealFiles, item: str) -> None:
    programs = [path for path in efi_programs(corpus, item) if "ia32" not in path.name]
    assert programs
    for path in programs:
        image = inspect(path)
        assert image.pe is not None
        check_loadable(image.pe)
        assert [entry.kind for entry in image.entries] == [EntryKind.EFI]
        assert mapped_segments(image.pe, image.read(), BASE)


def test_xen_is_linked_high_and_relocates_down(corpus: RealFiles) -> None:
    (path,) = efi_programs(corpus, "xen")
    image = inspect(path)
    assert image.pe is not None
    assert image.pe.image_base == 0xFFFF82D040000000
    assert image.pe.section_alignment == 0x200000
    assert sum(1 for _ in relocations(image.pe, image.read())) > 1000


def test_memtest_is_a_pe_image_and_a_bzimage_in_one(corpus: RealFiles) -> None:
    for path in corpus.files("memtest"):
        if path.name == "memtest86+x64.efi":
            kinds = [str(entry.kind) for entry in inspect(path).entries]
            assert kinds == ["efi", "efi-handover", "linux16", "linux32", "linux64"]


def test_ipxe_as_a_kernel_has_only_the_old_entries(corpus: RealFiles) -> None:
    image = inspect(corpus.file("ipxe", "boot/ipxe.lkrn"))
    assert image.bzimage is not None
    assert image.bzimage.protocol < 0x208
    assert "payload_offset" not in image.bzimage.fields()
    assert [str(entry.kind) for entry in image.entries] == ["linux16", "linux32"]


NO_IMAGES = [
    ("opensbi", "*/fw_jump.elf", "an ELF file for RISCV"),
    ("uml", "*/linux.uml", "an ELF program for user space"),
    ("win32-loader", "*/win32-loader.exe", "a PE program for i386 with subsystem WINDOWS_GUI"),
    ("ovmf", "*/OVMF_CODE_4M.fd", "a firmware volume"),
    ("ovmf", "*/OVMF_VARS_4M.fd", "a firmware volume"),
    ("netboot", "*/initrd.gz", r"an initrd \(cpio archive, gzip\)"),
]


@pytest.mark.parametrize(("item", "pattern", "found"), NO_IMAGES)
def test_real_files_that_are_no_images_are_named(
    corpus: RealFiles, item: str, pattern: str, found: str
) -> None:
    with pytest.raises(ImageError, match=found):
        inspect(corpus.file(item, pattern))


def test_a_32_bit_program_is_inspected_but_not_loaded(corpus: RealFiles) -> None:
    image = inspect(corpus.file("memtest", "boot/memtest86+ia32.efi"))
    assert image.pe is not None
    assert image.pe.machine is Machine.I386
    with pytest.raises(ImageError, match="give an image built for x86-64"):
        check_loadable(image.pe)


@pytest.mark.parametrize("length", [0x40, 0x200, 0x1000, 0x6000, 5 << 20])
def test_a_kernel_cut_short_is_refused(corpus: RealFiles, tmp_path: Path, length: int) -> None:
    with corpus.file("cloud", KERNEL_PATTERN).open("rb") as file:
        start = file.read(length)
    (tmp_path / "vmlinuz").write_bytes(start)
    with pytest.raises(ImageError):
        inspect(tmp_path / "vmlinuz")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Unified images, signatures, Xen and arm64 kernels as they are made, judged by the tools that made them."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pvefi.errors import ImageError
from pvefi.image import Decompressor, EntryKind, Image, inspect
from pvefi.image.signatures import Signature
from pvefi.image.uki import UnifiedKind
from pvefi.spec.multiboot import MultibootFlag
from pvefi.spec.multiboot2 import HeaderTag, InformationTag
from pvefi.spec.pe import Machine
from tests.build.bzimage import compress
from tests.build.cpio import MICROCODE, archive

if TYPE_CHECKING:
    from tests.conftest import RealFiles, Tool

KERNEL = "boot/vmlinuz-*"
INSTALLER = "usr/lib/debian-installer/images/12"


def output(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout


# -- a unified kernel image, made by objcopy from systemd's stub


RESOURCES = {
    ".osrel": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    ".cmdline": b"root=/dev/vda1 ro quiet",
    ".uname": b"6.1.0-cloud",
    ".ucode": archive("kernel/x86", MICROCODE, data=bytes(2048)),
    ".initrd": archive(MICROCODE) + compress(archive("init", "bin/sh"), "zstd"),
}
ALIGNMENT = 0x1000


@pytest.fixture(scope="module")
def uki(corpus: RealFiles, tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a unified kernel image and the kernel that went into it."""
    folder = tmp_path_factory.mktemp("uki")
    kernel = corpus.file("cloud", KERNEL)
    stub = corpus.file("systemd-boot", "*/linuxx64.efi.stub")
    parsed = inspect(stub).pe
    assert parsed is not None
    address = -(-max(section.end for section in parsed.sections) // ALIGNMENT) * ALIGNMENT
    words: list[str | Path] = []
    for name, data in {**RESOURCES, ".linux": kernel.read_bytes()}.items():
        part = folder / name[1:]
        part.write_bytes(data)
        words += ["--add-section", f"{name}={part}", "--change-section-vma"]
        words += [f"{name}={parsed.image_base + address:#x}"]
        address += -(-len(data) // ALIGNMENT) * ALIGNMENT
    made = folder / "linux.efi"
    output(tool("objcopy"), *words, stub, made)
    return made, kernel


def test_a_uki_from_systemds_stub_is_inspected_in_full(uki: tuple[Path, Path]) -> None:
    path, kernel = uki
    image = inspect(path)
    assert image.kind == "unified kernel image; EFI application for x86-64"
    assert image.unified is not None
    assert image.unified.kind is UnifiedKind.UKI
    told = {resource.name: resource.text for resource in image.unified.resources}
    assert told == {
        ".sbat": "",
        ".osrel": "PRETTY_NAME=Debian GNU/Linux 12 (bookworm), ID=debian, VERSION_ID=12",
        ".cmdline": "root=/dev/vda1 ro quiet",
        ".uname": "6.1.0-cloud",
        ".ucode": "cpio archive with microcode",
        ".initrd": "cpio archive with microcode, then cpio archive, zstd",
        ".linux": "",
    }
    assert [entry.component_name for entry in image.sbat] == ["sbat", "systemd", "systemd.debian"]
    alone = inspect(kernel)
    (inner,) = image.embedded
    assert (inner.sha256, inner.size, inner.vmlinux) == (alone.sha256, alone.size, alone.vmlinux)
    assert inner.entries == alone.entries
    assert inner.signatures == alone.signatures


def test_objdump_sees_the_same_sections_in_a_uki(uki: tuple[Path, Path], tool: Tool) -> None:
    image = inspect(uki[0])
    assert image.unified is not None
    text = output(tool("objdump"), "-h", uki[0])
    found = re.findall(
        r"^ +\d+ (\S+) +([0-9a-f]{8}) +[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]{8})", text, re.MULTILINE
    )
    theirs = {name: (int(size, 16), int(offset, 16)) for name, size, offset in found}
    for resource in image.unified.resources:
        assert theirs[resource.name] == (resource.size, resource.offset), resource.name


def test_a_uki_whose_sections_objcopy_has_put_on_top_of_each_other_is_refused(
    corpus: RealFiles, tool: Tool, tmp_path: Path
) -> None:
    words: list[str | Path] = []
    for name, address in ((".linux", 0x200000), (".initrd", 0x210000)):
        (tmp_path / name).write_bytes(corpus.file("memtest", "boot/memtest86+x64.efi").read_bytes())
        words += ["--add-section", f"{name}={tmp_path / name}"]
        words += ["--change-section-vma", f"{name}={address:#x}"]
    output(tool("objcopy"), *words, corpus.file("systemd-boot", "*/linuxx64.efi.stub"), tmp_path / "bad.efi")
    with pytest.raises(ImageError, match=r"sections that do not overlap \(\.linux ends at RVA"):
        inspect(tmp_path / "bad.efi")


# -- signatures, judged by sbverify


def sbverify_lists(path: Path, sbverify: str) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """Return for each signature the issuers of its signers, and subject and issuer of its certificates."""
    done = subprocess.run([sbverify, "--list", str(path)], check=False, capture_output=True, text=True)
    lists = []
    for part in re.split(r"^signature \d+$", done.stdout, flags=re.MULTILINE)[1:]:
        head, _, certificates = part.partition("image signature certificates:")
        issuers = re.findall(r"^ - (/.*)$", head, re.MULTILINE)
        pairs = re.findall(r"^ - subject: (.*)\n   issuer:  (.*)$", certificates, re.MULTILINE)
        lists.append((issuers, pairs))
    return lists


def one_line(name: str) -> str:
    return "".join(f"/{part}" for part in name.split(", "))


def our_lists(signatures: tuple[Signature, ...]) -> list[tuple[list[str], list[tuple[str, str]]]]:
    return [
        (
            [one_line(signer.issuer) for signer in signature.signers],
            [(one_line(one.subject), one_line(one.issuer)) for one in signature.certificates],
        )
        for signature in signatures
    ]


SIGNED = [
    ("cloud", KERNEL, 1),
    ("amd64", KERNEL, 1),
    ("cloud-6.12", KERNEL, 1),
    ("netboot", "*/linux", 1),
    ("grub", "*/grubx64.efi.signed", 1),
    ("shim", "*/shimx64.efi.signed", 2),
    ("xen", "boot/xen-*.efi", 0),
    ("efitools", "*/HelloWorld.efi", 0),
]


@pytest.mark.parametrize(("item", "pattern", "count"), SIGNED, ids=[item for item, _, _ in SIGNED])
def test_sbverify_lists_the_same_signers(
    corpus: RealFiles, tool: Tool, item: str, pattern: str, count: int
) -> None:
    path = corpus.file(item, pattern)
    image = inspect(path)
    assert len(image.signatures) == count
    assert our_lists(image.signatures) == sbverify_lists(path, tool("sbverify"))
    assert all(signature.digest_matches for signature in image.signatures)


def test_a_signature_of_our_own_is_found_and_its_damage_noticed(
    corpus: RealFiles, tool: Tool, tmp_path: Path
) -> None:
    key, certificate, signed = tmp_path / "key", tmp_path / "certificate", tmp_path / "signed.efi"
    subject = "/C=XX/O=Tests/CN=A test's key"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", subject]
    output(tool("openssl"), *words, "-keyout", key, "-out", certificate)
    program = corpus.file("efitools", "*/HelloWorld.efi")
    for _ in range(2):  # the second run adds a second signature
        source = signed if signed.exists() else program
        output(tool("sbsign"), "--key", key, "--cert", certificate, "--output", signed, source)
    found = inspect(signed).signatures
    assert [one.digest_matches for one in found] == [True, True]
    assert [signer.subject for one in found for signer in one.signers] == [
        "C=XX, O=Tests, CN=A test's key"
    ] * 2
    data = bytearray(signed.read_bytes())
    data[0x1000] ^= 1
    signed.write_bytes(data)
    assert [one.digest_matches for one in inspect(signed).signatures] == [False, False]


def test_the_generation_that_shim_claims_is_read(corpus: RealFiles) -> None:
    generations = {
        entry.component_name: entry.component_generation
        for entry in inspect(corpus.file("shim", "*/shimx64.efi.signed")).sbat
    }
    assert generations["sbat"] == 1
    assert (generations["shim"] or 0) >= 4


# -- Xen's own binaries


@pytest.fixture(scope="module")
def xen(corpus: RealFiles, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return Xen for multiboot loaders, as it is packaged and decompressed."""
    packed = corpus.file("xen", "boot/xen-*.gz")
    path = tmp_path_factory.mktemp("xen") / "xen"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return packed, path


def test_xen_is_a_multiboot_kernel_compressed_or_not(xen: tuple[Path, Path]) -> None:
    packed, plain = map(inspect, xen)
    assert packed.kind == "gzip-compressed ELF kernel, 32-bit, I386; kernel for multiboot and multiboot2"
    assert packed.wrapper is not None
    assert packed.wrapper.uncompressed_size == plain.size
    assert (packed.vmlinux, packed.multiboot, packed.multiboot2) == (
        plain.vmlinux,
        plain.multiboot,
        plain.multiboot2,
    )
    assert packed.read() == xen[1].read_bytes()
    for image in (packed, plain):
        assert [(entry.kind, entry.bits) for entry in image.entries] == [
            (EntryKind.MULTIBOOT, 32),
            (EntryKind.MULTIBOOT2, 32),
            (EntryKind.MULTIBOOT2, 64),
        ]


def test_xen_for_efi_says_why_it_has_no_multiboot_entry(corpus: RealFiles) -> None:
    image = inspect(corpus.file("xen", "boot/xen-*.efi"))
    assert image.multiboot is not None
    assert image.multiboot2 is not None
    assert [entry.kind for entry in image.entries] == [EntryKind.EFI]
    assert image.entries[0].remark.startswith("Multiboot and Multiboot2 headers present, but a PE without")


def test_xens_multiboot_headers_say_what_its_source_says(xen: tuple[Path, Path]) -> None:
    """xen/arch/x86/boot/head.S of 4.17."""
    image = inspect(xen[1])
    assert image.multiboot is not None
    assert image.multiboot.flags == MultibootFlag.PAGE_ALIGN | MultibootFlag.MEMORY_INFO
    header = image.multiboot2
    assert header is not None
    assert [tag.type for tag in header.tags] == [
        HeaderTag.INFORMATION_REQUEST,
        HeaderTag.MODULE_ALIGN,
        HeaderTag.RELOCATABLE,
        HeaderTag.CONSOLE_FLAGS,
        HeaderTag.FRAMEBUFFER,
        HeaderTag.EFI_BOOT_SERVICES,
        HeaderTag.ENTRY_ADDRESS_EFI64,
    ]
    assert header.words(HeaderTag.INFORMATION_REQUEST) == (InformationTag.BASIC_MEMINFO, InformationTag.MMAP)


def test_readelf_and_file_see_the_same_xen(xen: tuple[Path, Path], tool: Tool) -> None:
    image = inspect(xen[1])
    text = output(tool("readelf"), "-hnlW", xen[1])
    entry = re.search(r"Entry point address:\s+(0x[0-9a-f]+)", text)
    assert entry is not None
    assert int(entry[1], 16) == image.entries[0].address
    assert image.vmlinux is not None
    (note,) = image.vmlinux.notes
    assert f"Build ID: {note.description.hex()}" in text
    assert "ELF 32-bit LSB executable, Intel 80386" in output(tool("file"), "-b", xen[1])
    assert output(tool("file"), "-b", xen[0]).startswith("gzip compressed data")


def test_xen_as_an_efi_program_has_no_multiboot_entry(corpus: RealFiles) -> None:
    image = inspect(corpus.file("xen", "boot/xen-*.efi"))
    assert image.multiboot is not None
    assert image.multiboot2 is not None
    assert [entry.kind for entry in image.entries] == [EntryKind.EFI]


# -- what `file` says of them all


SAID = {
    "Linux kernel x86 boot executable bzImage": "bzImage",
    "PE32+ executable (EFI application) x86-64": "EFI application for x86-64",
    "PE32+ executable (EFI boot service driver) x86-64": "EFI boot service driver for x86-64",
    "PE32 executable (EFI application) Intel 80386": "EFI application for i386",
}
EVERYTHING = [
    "cloud",
    "amd64",
    "cloud-6.12",
    "netboot",
    "xen",
    "efitools",
    "grub",
    "shim",
    "refind",
    "memtest",
]


@pytest.mark.parametrize("item", EVERYTHING)
def test_file_says_the_same(corpus: RealFiles, tool: Tool, item: str) -> None:
    judged = 0
    for path in corpus.files(item):
        said = output(tool("file"), "-b", path)
        ours = next((ours for theirs, ours in SAID.items() if said.startswith(theirs)), None)
        if ours is not None:
            assert ours in inspect(path).kind, path.name
            judged += 1
    assert judged


def test_a_pe_image_of_32_bits_is_named(corpus: RealFiles) -> None:
    image = inspect(corpus.file("memtest", "boot/memtest86+ia32.efi"))
    assert image.pe is not None
    assert image.pe.bits == 32
    assert image.entry(EntryKind.EFI32) is not None
    assert image.entry(EntryKind.EFI) is None


def test_a_file_of_grub_for_bioses_is_a_multiboot_kernel_too(corpus: RealFiles) -> None:
    """GRUB's own image has a header with addresses: another GRUB can start it."""
    image = inspect(corpus.file("win32-loader", "*/win32-loader/g2ldr"))
    assert [(entry.kind, entry.address) for entry in image.entries] == [(EntryKind.MULTIBOOT, 0x100980)]


# -- kernels for other machines (large packages: `make test-all`)


@pytest.fixture(scope="module")
def arm64(corpus: RealFiles) -> Image:
    return inspect(corpus.file("netboot-arm64", "*/arm64/linux"))


@pytest.mark.full
def test_debians_arm64_kernel_is_an_image_and_an_efi_program(arm64: Image, tool: Tool) -> None:
    assert arm64.kind == "Linux arm64 Image; EFI application for arm64"
    assert [entry.kind for entry in arm64.entries] == [EntryKind.EFI_ARM64, EntryKind.ARM64]
    assert arm64.arm64 is not None
    assert (arm64.arm64.page_size, arm64.arm64.placed_anywhere) == (4096, True)
    assert arm64.pe is not None
    assert arm64.pe.nx_compatible
    assert arm64.arm64.image_size == arm64.pe.size_of_image
    said = output(tool("file"), "-b", arm64.path)
    assert "Linux kernel ARM64 boot executable Image, little-endian, 4K pages" in said
    assert our_lists(arm64.signatures) == sbverify_lists(arm64.path, tool("sbverify"))
    assert all(signature.digest_matches for signature in arm64.signatures)


@pytest.mark.full
def test_debians_arm64_kernel_compressed_is_the_same(arm64: Image, tmp_path: Path) -> None:
    path = tmp_path / "Image.gz"
    path.write_bytes(gzip.compress(arm64.read(), 1))
    image = inspect(path)
    assert (image.arm64, image.sbat, image.signatures) == (arm64.arm64, arm64.sbat, arm64.signatures)
    assert image.read() == arm64.read()


@pytest.mark.full
def test_loaders_for_arm64_are_efi_programs(corpus: RealFiles, tool: Tool) -> None:
    for name in ("bootnetaa64.efi", "grubaa64.efi"):
        path = corpus.file("netboot-arm64", f"*/arm64/{name}")
        image = inspect(path)
        assert image.pe is not None
        assert image.pe.machine is Machine.ARM64
        assert [entry.kind for entry in image.entries] == [EntryKind.EFI_ARM64]
        assert our_lists(image.signatures) == sbverify_lists(path, tool("sbverify"))
        assert image.sbat


@pytest.mark.full
def test_debians_32_bit_kernel_has_the_entries_of_32_bits(corpus: RealFiles, tool: Tool) -> None:
    path = corpus.file("netboot-i386", "*/i386/linux")
    image = inspect(path)
    assert [(entry.kind, entry.bits) for entry in image.entries] == [
        (EntryKind.EFI32, 32),
        (EntryKind.EFI_HANDOVER, 32),
        (EntryKind.LINUX16, 16),
        (EntryKind.LINUX32, 32),
    ]
    assert {entry.kernel_entry for entry in image.entries} == {"startup_32"}
    assert image.entries[-1].decompressor is Decompressor.ENTERED
    assert image.pe is not None
    text = output(tool("objdump"), "-p", path)
    size = re.search(r"^SizeOfImage\s+([0-9a-f]+)", text, re.MULTILINE)
    assert size is not None
    assert int(size[1], 16) == image.pe.size_of_image


def test_no_kernel_is_left_open(corpus: RealFiles) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # iterdir() opens one itself
    inspect(corpus.file("cloud", KERNEL))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # likewise

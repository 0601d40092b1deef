# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import socket
import struct
from pathlib import Path

import pytest

from pvefi.errors import ImageError, PvefiError, UsageError
from pvefi.image import inspect
from pvefi.image.inspection import MAX_FILE_SIZE
from pvefi.layout import Guid
from tests.build.bzimage import build_bzimage
from tests.build.cpio import MICROCODE, archive
from tests.build.elf import build_elf, linux_notes
from tests.build.pe import build_pe


def refused(path: Path | str) -> str:
    with pytest.raises(PvefiError) as caught:
        inspect(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_an_image_carries_its_size_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    data = build_bzimage()
    path.write_bytes(data)
    image = inspect(str(path))
    assert (image.path, image.size) == (path, len(data))
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert image.kind == "Linux bzImage, boot protocol 2.15; EFI application for x86-64"
    assert image.read() == data


def test_a_file_that_changed_since_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file.efi"
    path.write_bytes(build_pe())
    image = inspect(path)
    path.write_bytes(build_pe(subsystem=11))
    with pytest.raises(UsageError, match="changed since it was inspected"):
        image.read()
    path.unlink()
    with pytest.raises(UsageError, match="cannot be read any more"):
        image.read()


KINDS = [
    (build_pe(subsystem=11), "EFI boot service driver for x86-64"),
    (build_pe(subsystem=12, machine=0x14C), "EFI runtime driver for i386"),
    (build_pe(machine=0xAA64), "EFI application for arm64"),
    (bytes(0x38) + b"ARM\x64" + bytes(100), "Linux arm64 Image"),
    (build_elf(), "ELF kernel, 64-bit, X86_64"),
    (build_elf(bits=32), "ELF kernel, 32-bit, I386"),
    (build_bzimage(with_pe=False), "Linux bzImage, boot protocol 2.15"),
    (
        build_bzimage(with_pe=False, payload_length=0),
        "program in the form of a bzImage, boot protocol 2.15",
    ),
]


@pytest.mark.parametrize(("data", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_an_image_is_said_to_be_what_it_is(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert inspect(path).kind == kind


NO_IMAGES = [
    (b"", "an empty file"),
    (b"Hello,\nworld\n", "a text file"),
    ("Grüße\n".encode("latin-1"), "a text file"),
    (b"#!/bin/sh\n", "a script"),
    (b"070701" + bytes(100), "an initrd (cpio archive)"),
    (gzip.compress(b"070701" + bytes(100)), "an initrd (cpio archive, gzip)"),
    (gzip.compress(build_elf(machine=243)), "an ELF file for RISCV"),
    (gzip.compress(b"other"), "a gzip file that holds a text file"),
    (b"\x1f\x8b" + bytes(10), "a damaged or empty gzip file"),
    (b"\xfd7zXZ\0" + bytes(20), "a damaged or empty xz file"),
    (b"\x28\xb5\x2f\xfd" + bytes(20), "a damaged or empty zstd file"),
    (bytes(0x28) + b"_FVH" + bytes(100), "a firmware volume (OVMF and the like)"),
    (bytes(0x1028) + b"_FVH" + bytes(100), "a firmware volume (OVMF and the like)"),
    (
        bytes(0x10) + Guid.parse("fff12b8d-7696-4c8b-a985-2747075b4f50").wire + bytes(8) + b"_FVH",
        "a firmware volume with EFI variables (OVMF_VARS and the like)",
    ),
    (
        archive(MICROCODE, zeros=64) + gzip.compress(archive("init")),
        "an initrd (cpio archive with microcode, then cpio archive, gzip)",
    ),
    (gzip.compress(gzip.compress(b"x")), "a gzip file that holds a compressed file"),
    (gzip.compress(b""), "a damaged or empty gzip file"),
    (lzma.compress(bytes(300)), "an xz file that holds a file that begins with the bytes 00 00"),
    (b"MZ" + bytes(100), "a DOS program, or a PE file whose header is damaged"),
    (bytes(0x1FE) + b"\x55\xaa", "a boot sector or disk image"),
    (bytes(0x1FE) + b"\x55\xaaEFI PART", "a disk image with a GPT"),
    (b"!<arch>\ndebian-binary", "a Debian package or ar archive"),
    (bytes(64), "a file that begins with the bytes 00 00 00 00 00 00 00 00"),
    (build_elf(machine=243), "an ELF file for RISCV"),
    (build_elf(machine=183), "an ELF file for AARCH64"),
    (
        b"\x7fELF\x02\x02" + bytes(10) + struct.pack(">HH", 2, 22) + bytes(44),
        "an ELF file for S390",
    ),
    (build_elf(machine=0x1234), "an ELF file for ElfMachine(0x1234)"),
    (build_elf(type=1), "an ELF file of type REL"),
    (build_elf(interpreter=True), "an ELF program for user space (it has an interpreter)"),
    (build_elf(notes=b""), "an ELF file for X86_64 without a kernel's notes"),
    (b"\x7fELF\x02\x01", "6 bytes"),
    (build_pe(subsystem=2, machine=0x14C), "a PE program for i386 with subsystem WINDOWS_GUI"),
    (build_pe(subsystem=99), "a PE program for x86-64 with subsystem Subsystem(0x63)"),
]


@pytest.mark.parametrize(("data", "found"), NO_IMAGES, ids=[found for _, found in NO_IMAGES])
def test_a_file_that_is_no_image_is_called_what_it_is(tmp_path: Path, data: bytes, found: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert f"found {found}" in refused(path)


def test_a_directory_is_no_image(tmp_path: Path) -> None:
    assert "found a directory" in refused(tmp_path)


def test_devices_pipes_and_sockets_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert "No such device or address" in refused(tmp_path / "socket")
    assert "found a device, pipe or socket" in refused(tmp_path / "fifo")
    assert "found a device, pipe or socket" in refused("/dev/zero")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in refused(tmp_path / "none")


def test_a_path_with_a_null_byte_is_told() -> None:
    with pytest.raises(UsageError):
        inspect("a\0b")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_SIZE + 1)
    assert "at most 1024 MiB, found 1024 MiB" in refused(path)


def test_a_payload_past_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(build_bzimage(payload_length=0x10000000))
    assert "a payload within the file" in refused(path)


def test_a_bomb_in_a_kernel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    bomb = gzip.compress(build_elf(filler=32 << 20))[:-4] + struct.pack("<I", 0x10000)
    path.write_bytes(build_bzimage(payload=bomb))
    with pytest.raises(ImageError):
        inspect(path)


def test_a_kernel_in_a_raw_elf_is_read_without_its_section_headers(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(build_elf(notes=linux_notes(), section_offset=1 << 40, section_count=99))
    assert inspect(path).vmlinux is not None

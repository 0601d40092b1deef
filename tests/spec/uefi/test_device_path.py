# SPDX-License-Identifier: GPL-2.0-or-later
"""Device paths: built, read back, compared, spelled; and bytes that only look like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.layout import Guid
from pvefi.spec.uefi.device_path import (
    END,
    END_INSTANCE,
    PATH_LIMIT,
    DevicePathError,
    DevicePathType,
    Node,
    file_path,
    memory_mapped,
    nodes,
    prefix_size,
    read_device_path,
    text,
    vendor_media,
)
from pvefi.spec.uefi.guids import LINUX_INITRD_MEDIA

INITRD = vendor_media(LINUX_INITRD_MEDIA)
MEMORY = memory_mapped(1, 0x100000, 0x1FFFFF)
INSTANCE = Node(DevicePathType.END, END_INSTANCE).pack()


def test_the_initrd_node_has_the_bytes_that_linux_has() -> None:
    # Linux v6.1 drivers/firmware/efi/libstub/efi-stub-helper.c: a vendor node, then the end node
    assert (INITRD + END).hex() == "04031400" + LINUX_INITRD_MEDIA.wire.hex() + "7fff0400"


def test_nodes_come_back_as_they_were_packed() -> None:
    path = MEMORY + INITRD + file_path("\\EFI\\a.efi") + END
    assert b"".join(node.pack() for node in nodes(path + b"more")) == path


@pytest.mark.parametrize(
    ("path", "spelling"),
    [
        (END, ""),
        (INITRD + END, "VenMedia(5568e427-68fc-4f3d-ac74-ca555231cc68)"),
        (vendor_media(LINUX_INITRD_MEDIA, b"\x01\xab") + END, f"VenMedia({LINUX_INITRD_MEDIA},01ab)"),
        (
            MEMORY + file_path("\\EFI\\BOOT\\x.efi") + END,
            "MemoryMapped(0x1,0x100000,0x1fffff)/\\EFI\\BOOT\\x.efi",
        ),
        (Node(DevicePathType.ACPI, 1, bytes.fromhex("d041030a00000000")).pack() + END, "PciRoot(0x0)"),
        (Node(DevicePathType.ACPI, 1, bytes.fromhex("d041010501000000")).pack() + END, "Acpi(PNP0501,0x1)"),
        (
            Node(DevicePathType.ACPI, 1, bytes.fromhex("0102030405000000")).pack() + END,
            "Acpi(0x04030201,0x5)",
        ),
        (Node(DevicePathType.HARDWARE, 1, b"\x02\x1f").pack() + END, "Pci(0x1f,0x2)"),
        (Node(DevicePathType.HARDWARE, 4, bytes(16)).pack() + END, f"VenHw({Guid(bytes(16))})"),
        (Node(DevicePathType.MESSAGING, 9, b"\x07").pack() + END, "Msg(9,07)"),
        (Node(DevicePathType(0x20), 1).pack() + END, "Path(32,1)"),
        (MEMORY + INSTANCE + MEMORY + END, ",".join(["MemoryMapped(0x1,0x100000,0x1fffff)"] * 2)),
        (
            Node(
                DevicePathType.MEDIA,
                1,
                bytes.fromhex("01000000" + "0008000000000000" + "0000100000000000") + bytes(16) + b"\2\2",
            ).pack()
            + END,
            f"HD(1,GPT,{Guid(bytes(16))},0x800,0x100000)",
        ),
    ],
)
def test_text_is_what_the_specification_spells(path: bytes, spelling: str) -> None:
    assert text(path) == spelling


def test_a_node_too_short_for_its_kind_is_spelled_as_bytes() -> None:
    assert text(Node(DevicePathType.HARDWARE, 3, b"\x01").pack() + END) == "HardwarePath(3,01)"
    assert text(Node(DevicePathType.MEDIA, 3, b"\x01").pack() + END) == "MediaPath(3,01)"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no end within 0x0"),
        (INITRD, "no end within 0x14"),
        (INITRD + END[:3], "no end within 0x17"),
        (b"\x04\x03\x00\x00" + END, "claims 0 bytes"),
        (b"\x04\x03\x03\x00" + END, "claims 3 bytes"),
        (b"\x04\x03\xff\xff" + END, "runs to 0xffff, 0x8 are there"),
        (b"\x7f\xff\x05\x00", "runs to 0x5, 0x4 are there"),
    ],
)
def test_what_is_no_device_path_is_refused_with_what_was_found(data: bytes, complaint: str) -> None:
    with pytest.raises(DevicePathError, match=complaint):
        list(nodes(data))
    with pytest.raises(DevicePathError, match=complaint):
        text(data)


def test_reading_stops_at_the_end_node() -> None:
    path = MEMORY + INSTANCE + INITRD + END
    asked: list[int] = []

    def read(address: int, size: int) -> bytes:
        asked.append(address + size)
        return (path + b"\xff" * 8)[address - 0x1000 : address - 0x1000 + size]

    assert read_device_path(read, 0x1000) == path
    assert max(asked) == 0x1000 + len(path)


def test_reading_a_path_without_end_stops_soon() -> None:
    calls = 0

    def read(_address: int, size: int) -> bytes:
        nonlocal calls
        calls += 1
        return (b"\x04\x03\x04\x00" * (size // 4 + 1))[:size]

    with pytest.raises(DevicePathError, match="no end within 0x10000"):
        read_device_path(read, 0)
    assert calls <= PATH_LIMIT


def test_reading_a_node_shorter_than_its_header_is_refused() -> None:
    with pytest.raises(DevicePathError, match="claims 0 bytes"):
        read_device_path(lambda _address, size: bytes(size), 0x1000)


@pytest.mark.parametrize(
    ("path", "wanted", "size"),
    [
        (INITRD + END, INITRD + END, 20),
        (MEMORY + END, MEMORY + INITRD + END, 24),
        (END, MEMORY + END, 0),
        (MEMORY + INITRD + END, MEMORY + END, None),
        (INITRD + END, MEMORY + END, None),
        (MEMORY + END, MEMORY + INSTANCE + INITRD + END, 24),
        (MEMORY + INSTANCE + INITRD + END, MEMORY + INSTANCE + INITRD + END, None),
    ],
)
def test_a_path_matches_where_it_is_the_beginning_of_the_wanted_one(
    path: bytes, wanted: bytes, size: int | None
) -> None:
    assert prefix_size(path, wanted) == size


@given(st.binary(max_size=200))
def test_any_bytes_are_a_path_or_are_refused(data: bytes) -> None:
    try:
        spelled = text(data)
    except DevicePathError:
        return
    assert isinstance(spelled, str)
    assert data.startswith(b"".join(node.pack() for node in nodes(data)))

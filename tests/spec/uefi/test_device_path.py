# SPDX-License-Identifier: GPL-2.0-or-later
"""Device paths: built, read back, compared, spelled; and bytes that only look like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import GuestFault
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.uefi.device_path import (
    END,
    END_INSTANCE,
    PATH_LIMIT,
    Beginnings,
    DevicePathError,
    DevicePathType,
    Node,
    file_path,
    memory_mapped,
    nodes,
    read_device_path,
    vendor_media,
)
from pvefi.spec.uefi.device_path_text import text
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


def memory_of(data: bytes) -> GuestMemory:
    return GuestMemory([RamBlock(0x1000, memoryview(bytearray(data)))])


def test_reading_stops_at_the_end_node() -> None:
    path = MEMORY + INSTANCE + INITRD + END
    for behind in (b"", b"\xff", b"\xff" * 2 * PATH_LIMIT):
        assert read_device_path(memory_of(path + behind), 0x1000) == path


def test_reading_a_path_without_end_stops_soon() -> None:
    with pytest.raises(DevicePathError, match=f"no end within {PATH_LIMIT:#x}"):
        read_device_path(memory_of(b"\x04\x03\x04\x00" * PATH_LIMIT), 0x1000)
    with pytest.raises(DevicePathError, match="a node runs to 0xffff"):
        read_device_path(memory_of(b"\x04\x03\xff\xff" + bytes(1 << 16) + END), 0x1000)


@pytest.mark.parametrize("cut", [len(INITRD + END) - 1, len(INITRD), len(INITRD) - 1, 3, 0])
def test_reading_a_path_beyond_memory_is_the_guests_fault(cut: int) -> None:
    with pytest.raises(GuestFault):
        read_device_path(memory_of((INITRD + END)[:cut]), 0x1000)


def test_reading_a_node_shorter_than_its_header_is_refused() -> None:
    with pytest.raises(DevicePathError, match="claims 0 bytes"):
        read_device_path(memory_of(bytes(64)), 0x1000)


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
        (MEMORY[:8] + END, MEMORY + END, None),
        (MEMORY + b"\x7f\xff\x03\x00", MEMORY + END, None),
        (MEMORY[:-1] + b"\xff" + END, MEMORY + END, None),
        (b"", MEMORY + END, None),
    ],
)
def test_a_path_matches_where_it_is_the_beginning_of_the_wanted_one(
    path: bytes, wanted: bytes, size: int | None
) -> None:
    beginnings = Beginnings(wanted)
    assert beginnings.size(path[:-1]) is None
    for behind in (b"", b"\0", b"\xff" * 100):
        assert beginnings.size(path + behind) == size
        assert beginnings.size((path + behind)[: beginnings.read_size]) == size


SOME_NODES = st.lists(st.sampled_from([MEMORY, INITRD, INSTANCE, MEMORY[:-1] + b"\x01"]), max_size=4)


@given(SOME_NODES, SOME_NODES)
def test_a_match_is_one_node_for_node(path_nodes: list[bytes], wanted_nodes: list[bytes]) -> None:
    instance = wanted_nodes[: wanted_nodes.index(INSTANCE)] if INSTANCE in wanted_nodes else wanted_nodes
    matches = INSTANCE not in path_nodes and path_nodes == instance[: len(path_nodes)]
    expected = sum(map(len, path_nodes)) if matches else None
    found = Beginnings(b"".join(wanted_nodes) + END).size(b"".join(path_nodes) + END)
    assert found == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_a_path_or_are_refused(data: bytes) -> None:
    try:
        spelled = text(data)
    except DevicePathError:
        return
    assert isinstance(spelled, str)
    assert data.startswith(b"".join(node.pack() for node in nodes(data)))

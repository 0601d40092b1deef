# SPDX-License-Identifier: GPL-2.0-or-later
"""Device paths: nodes of checked length — UEFI 2.10 §10.

A device path comes from a guest or a file: no length in it is believed before it is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pvefi.layout import U8, U16, Guid, OpenEnum, Structure, layout
from pvefi.spec.uefi.device_nodes.hardware import HardwareSubtype, MemoryMappedNode
from pvefi.spec.uefi.device_nodes.media import MediaSubtype

__all__ = [
    "END",
    "END_ENTIRE",
    "END_INSTANCE",
    "PATH_LIMIT",
    "Beginnings",
    "DevicePathError",
    "DevicePathHeader",
    "DevicePathType",
    "Node",
    "ReadableMemory",
    "file_path",
    "memory_mapped",
    "nodes",
    "read_at_most",
    "read_device_path",
    "vendor_media",
]

PATH_LIMIT = 1 << 12
"""The longest device path that is read, in bytes.

UEFI 2.10 §10 sets no limit, nor does EDK2 unless built with one; the paths of real machines take a few
hundred bytes.
"""

END_ENTIRE = 0xFF  # UEFI 2.10 §10.3.1: subtype of the node that ends the whole device path
END_INSTANCE = 0x01  # UEFI 2.10 §10.3.1: subtype of the node that ends one instance of several


class DevicePathType(OpenEnum):
    """A node's type — UEFI 2.10 §10.3.1."""

    HARDWARE = 0x01
    ACPI = 0x02
    MESSAGING = 0x03
    MEDIA = 0x04
    BBS = 0x05
    END = 0x7F


@layout(size=4)
class DevicePathHeader(Structure):
    """EFI_DEVICE_PATH_PROTOCOL, the first four bytes of every node — UEFI 2.10 §10.2."""

    type: U8
    subtype: U8
    length: U16


_HEADER = struct.Struct("<BBH")  # the same, for walks along a path


class DevicePathError(ValueError):
    """Bytes that are no device path, with what was found instead."""


class _CutShortError(DevicePathError):
    """A device path that goes on where the bytes end."""


class ReadableMemory(Protocol):
    """The part of guest memory that reading a device path takes."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`."""
        ...

    def contiguous(self, address: int) -> int:
        """Return how many bytes from `address` on can be read at once; 0 for none."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a device path; `data` is what follows its header."""

    type: DevicePathType
    subtype: int
    data: bytes = b""

    @property
    def is_end(self) -> bool:
        """Whether the device path ends here."""
        return self.type == DevicePathType.END and self.subtype == END_ENTIRE

    def pack(self) -> bytes:
        """Return the node's bytes, header and all."""
        return DevicePathHeader(self.type, self.subtype, DevicePathHeader.SIZE + len(self.data)).pack() + (
            self.data
        )


END = Node(DevicePathType.END, END_ENTIRE).pack()
"""The node that ends a device path."""


def vendor_media(guid: Guid, data: bytes = b"") -> bytes:
    """Return a vendor-defined media node — UEFI 2.10 §10.3.5.3."""
    return Node(DevicePathType.MEDIA, MediaSubtype.VENDOR, guid.wire + data).pack()


def memory_mapped(memory_type: int, start_address: int, end_address: int) -> bytes:
    """Return a memory mapped node; `end_address` is that of the last byte — UEFI 2.10 §10.3.2.3."""
    data = MemoryMappedNode(memory_type, start_address, end_address).pack()
    return Node(DevicePathType.HARDWARE, HardwareSubtype.MEMORY_MAPPED, data).pack()


def file_path(path: str) -> bytes:
    """Return a media file path node with `path`, NUL terminated — UEFI 2.10 §10.3.5.4."""
    data = f"{path}\0".encode("utf-16-le", "surrogatepass")
    return Node(DevicePathType.MEDIA, MediaSubtype.FILE_PATH, data).pack()


def _header(data: bytes | bytearray, offset: int) -> tuple[int, int, int]:
    """Return type, subtype and length of the node at `offset`; DevicePathError for an impossible length."""
    node_type, subtype, length = _HEADER.unpack_from(data, offset)
    if length < DevicePathHeader.SIZE:
        raise DevicePathError(
            f"offset {offset:#x}: a node of type {node_type} claims {length} bytes, fewer than 4"
        )
    return node_type, subtype, length


def read_device_path(memory: ReadableMemory, address: int) -> bytes:
    """Return the device path at `address` of `memory` with its end node.

    DevicePathError when a node is shorter than its header or no end comes within PATH_LIMIT bytes; what
    `memory` raises when it ends before the path does.
    """
    data = read_at_most(memory, address, PATH_LIMIT)
    try:
        *_, (_, _, _, end) = _spans(data)
    except _CutShortError:
        if len(data) < PATH_LIMIT:
            memory.read(address + len(data), 1)
        raise
    return data[:end]


def read_at_most(memory: ReadableMemory, address: int, size: int) -> bytes:
    """Return `size` bytes at `address` of `memory`, or as many as there are before it ends."""
    data = b""
    while len(data) < size:
        count = min(memory.contiguous(address + len(data)), size - len(data))
        if count <= 0:
            break
        data += memory.read(address + len(data), count)
    return data


def _spans(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, subtype, start and end of every node up to the one that ends the path, that included."""
    offset = 0
    while offset + DevicePathHeader.SIZE <= len(data):
        node_type, subtype, length = _header(data, offset)
        end = offset + length
        if end > len(data):
            raise _CutShortError(f"offset {offset:#x}: a node runs to {end:#x}, {len(data):#x} are there")
        yield node_type, subtype, offset, end
        if node_type == DevicePathType.END and subtype == END_ENTIRE:
            return
        offset = end
    raise _CutShortError(f"no end within {len(data):#x} bytes")


def nodes(data: bytes) -> Iterator[Node]:
    """Yield the nodes of the device path that `data` begins with, the one that ends it included.

    DevicePathError when a node is shorter than its header, runs past `data`, or none ends the path.
    """
    for node_type, subtype, start, end in _spans(data):
        yield Node(DevicePathType(node_type), subtype, data[start + DevicePathHeader.SIZE : end])


class Beginnings:
    """Tells how far along `wanted` other device paths lead, without a look at their nodes.

    Of several instances in `wanted`, the first counts. DevicePathError when `wanted` is no device path.
    """

    def __init__(self, wanted: bytes) -> None:
        starts = []
        for node_type, _, start, _ in _spans(wanted):
            starts.append(start)
            if node_type == DevicePathType.END:
                break
        self._starts = frozenset(starts)
        self._instance = wanted[: starts[-1]]
        self.read_size = len(self._instance) + DevicePathHeader.SIZE
        """How many bytes of another device path `size` needs to see."""

    def size(self, data: bytes) -> int | None:
        """Return how many bytes of the wanted path the whole of another one matches; None where it does not.

        `data` begins with the other path; its end node is left out. LocateDevicePath takes the handle with
        the longest such match — UEFI 2.10 §7.3.8.
        """
        # A node of the instance is none that ends it: the other path ends where the two first differ.
        size = _common_size(self._instance, data)
        if size not in self._starts or size + DevicePathHeader.SIZE > len(data):
            return None
        node_type, subtype, length = _HEADER.unpack_from(data, size)
        is_end = node_type == DevicePathType.END and subtype == END_ENTIRE and length >= DevicePathHeader.SIZE
        return size if is_end else None


def _common_size(one: bytes, other: bytes) -> int:
    """Return how many bytes `one` and `other` begin with alike."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

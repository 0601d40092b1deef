# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the bytes of an edk2 variable store, and makes those of a variable; nothing is written here.

What counts as there is as edk2 has it — VariableParsing.c in MdeModulePkg/Universal/Variable/RuntimeDxe: the
first variable of a name that is ADDED; without one, the last that is IN_DELETED_TRANSITION.
"""

from __future__ import annotations

import struct
from codecs import utf_16_le_decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pvefi.efi.varstore.store import NO_TIME, Variable
from pvefi.errors import ImageError
from pvefi.layout import Guid
from pvefi.spec.edk2.firmware_volume import (
    FVH_REVISION,
    FVH_SIGNATURE,
    SYSTEM_NV_DATA_FV,
    FirmwareVolumeHeader,
)
from pvefi.spec.edk2.ovmf import StoreLayout
from pvefi.spec.edk2.variable_store import (
    ADDED,
    AUTHENTICATED_VARIABLE_STORE,
    ERASED,
    HEADER_ALIGNMENT,
    IN_DELETED_TRANSITION,
    STORE_FORMATTED,
    STORE_HEALTHY,
    UNWRITTEN,
    UNWRITTEN_WORD,
    VARIABLE_DATA,
    VARIABLE_STORE,
    AuthenticatedVariableHeader,
    VariableHeader,
    VariableStoreHeader,
)
from pvefi.spec.uefi.variables import VariableAttribute

__all__ = [
    "FIRST",
    "START",
    "Entry",
    "Key",
    "Listing",
    "aligned",
    "check_headers",
    "encoded",
    "read_variables",
]

Key = tuple[str, Guid]

FIRST = -(-(FirmwareVolumeHeader.SIZE + VariableStoreHeader.SIZE) // HEADER_ALIGNMENT) * HEADER_ALIGNMENT
"""The offset of the first variable."""
START = struct.pack("<H", VARIABLE_DATA)
"""What every variable's header begins with."""
_IN_TRANSITION = ADDED & IN_DELETED_TRANSITION
_STATE = VariableHeader.offset_of("state")


def aligned(offset: int) -> int:
    """Return the first offset from `offset` on at which a variable's header may stand."""
    return -(-offset // HEADER_ALIGNMENT) * HEADER_ALIGNMENT


@dataclass(frozen=True, slots=True)
class Entry:
    """A variable and the bytes that it takes in the store; `state_offset` is where its state stands."""

    variable: Variable
    start: int
    end: int

    @property
    def state_offset(self) -> int:
        """Where its state stands."""
        return self.start + _STATE


@dataclass
class Listing:
    """What a store holds.

    `live` are the variables by name and vendor. `stale` are offsets of states: of variables that would count
    if others of their names did not. From `end` on there is room, and `clean` is whether all of it is erased.
    """

    authenticated: bool
    live: dict[Key, Entry]
    stale: list[int]
    end: int
    clean: bool

    @property
    def header_size(self) -> int:
        """The size of a variable's header in this store."""
        return AuthenticatedVariableHeader.SIZE if self.authenticated else VariableHeader.SIZE


def check_headers(name: str, image: bytes | bytearray, layouts: Sequence[StoreLayout]) -> None:
    """Refuse what has not the volume header of a store of one of `layouts`; ImageError says what is wrong."""
    if len(image) < FIRST:
        raise ImageError(name, None, "a variable store", f"{len(image)} bytes")
    volume = FirmwareVolumeHeader.unpack(image)
    if volume.signature != FVH_SIGNATURE:
        at = FirmwareVolumeHeader.offset_of("signature")
        raise ImageError(name, at, "a firmware volume, _FVH", f"{bytes(image[at : at + 4])!r}")
    if volume.file_system_guid != SYSTEM_NV_DATA_FV:
        at = FirmwareVolumeHeader.offset_of("file_system_guid")
        raise ImageError(
            name, at, f"a volume of variables, {SYSTEM_NV_DATA_FV}", str(volume.file_system_guid)
        )
    if volume.header_length != volume.SIZE or volume.revision != FVH_REVISION:
        at = FirmwareVolumeHeader.offset_of("header_length")
        found = f"{volume.header_length} bytes, revision {volume.revision}"
        raise ImageError(name, at, f"a volume header of {volume.SIZE} bytes, revision {FVH_REVISION}", found)
    if total := sum(struct.unpack_from(f"<{volume.SIZE // 2}H", image)) & 0xFFFF:
        at = FirmwareVolumeHeader.offset_of("checksum")
        good = (volume.checksum - total) & 0xFFFF
        raise ImageError(name, at, f"checksum {good:#06x}", f"{volume.checksum:#06x}")
    fitting = [layout for layout in layouts if volume.volume_length == layout.size]
    if not fitting:
        at = FirmwareVolumeHeader.offset_of("volume_length")
        sizes = " or ".join(str(layout.size) for layout in layouts)
        raise ImageError(name, at, f"a volume of {sizes} bytes", f"{volume.volume_length}")
    blocks, last = volume.block_map
    size, count = fitting[0].block_size, fitting[0].size // fitting[0].block_size
    if (blocks.blocks, blocks.length) != (count, size) or last.blocks or last.length:
        at = FirmwareVolumeHeader.offset_of("block_map")
        found = f"{blocks.blocks} blocks of {blocks.length} bytes"
        if last.blocks or last.length:
            found += f", and {last.blocks} of {last.length}"
        raise ImageError(name, at, f"{count} blocks of {size} bytes", found)


def read_variables(name: str, image: bytes | bytearray, layout: StoreLayout) -> Listing:
    """Return what the store holds; ImageError when it is not sound."""
    base = FirmwareVolumeHeader.SIZE
    store = VariableStoreHeader.unpack(image, base)
    if store.signature not in (AUTHENTICATED_VARIABLE_STORE, VARIABLE_STORE):
        raise ImageError(
            name, base, f"a variable store, {AUTHENTICATED_VARIABLE_STORE}", f"{store.signature}"
        )
    if store.size != layout.store_size - base:
        at = base + VariableStoreHeader.offset_of("size")
        raise ImageError(name, at, f"a store of {layout.store_size - base} bytes", f"{store.size}")
    if (store.format, store.state) != (STORE_FORMATTED, STORE_HEALTHY):
        at = base + VariableStoreHeader.offset_of("format")
        expected = f"a formatted, healthy store, {STORE_FORMATTED:#04x} {STORE_HEALTHY:#04x}"
        raise ImageError(name, at, expected, f"{store.format:#04x} {store.state:#04x}")
    reading = _Reading(name, image, layout.store_size, store.signature == AUTHENTICATED_VARIABLE_STORE)
    return reading.listing()


class _Header(NamedTuple):
    """What counts of a variable's header, of either kind."""

    state: int
    attributes: int
    name_size: int
    data_size: int
    vendor: bytes
    timestamp: bytes = NO_TIME


class _Reading:
    """One walk along the variables of a store."""

    def __init__(self, name: str, image: bytes | bytearray, limit: int, authenticated: bool) -> None:
        self._name = name
        self._image = bytes(image)
        self._limit = limit
        self._authenticated = authenticated
        self._size = AuthenticatedVariableHeader.SIZE if authenticated else VariableHeader.SIZE
        names = _Header._fields if authenticated else _Header._fields[:-1]
        self._pick = (AuthenticatedVariableHeader if authenticated else VariableHeader).picker(*names)
        self._vendors: dict[bytes, Guid] = {}
        self._attributes: dict[int, VariableAttribute] = {}

    def listing(self) -> Listing:
        live: dict[Key, Entry] = {}
        transitional: dict[Key, Entry] = {}
        stale: list[int] = []
        at = torn = FIRST
        while at + 2 <= self._limit and self._image.startswith(START, at):
            if at + self._size > self._limit:
                raise ImageError(self._name, at, "a variable within the store", "one that runs past its end")
            header = _Header(*self._pick(self._image, at))
            end, torn = self._ends(at, header)
            if header.state in (ADDED, _IN_TRANSITION):
                entry = self._entry(at, end, header)
                key = entry.variable.name, entry.variable.vendor
                if header.state == ADDED:
                    if live.setdefault(key, entry) is not entry:
                        stale.append(entry.state_offset)
                else:
                    if key in transitional:
                        stale.append(transitional[key].state_offset)
                    transitional[key] = entry
            at = aligned(end)
        for key, entry in transitional.items():
            if live.setdefault(key, entry) is not entry:
                stale.append(entry.state_offset)
        return Listing(self._authenticated, live, stale, at, self._is_clean(at, max(at, torn)))

    def _ends(self, at: int, header: _Header) -> tuple[int, int]:
        """Return where the variable at `at` ends, and how far one without a state may have been written."""
        # As edk2 has it: of a header that nobody finished to write, there is the header and nothing else.
        end = at + self._size
        if UNWRITTEN_WORD in (header.name_size, header.data_size, header.attributes):
            return end, end
        whole = end + header.name_size + header.data_size
        if header.state == UNWRITTEN:
            return end, whole if whole <= self._limit else end
        if whole > self._limit:
            found = f"{header.name_size} bytes of name, {header.data_size} of data, past its end"
            raise ImageError(self._name, at, "a variable within the store", found)
        return whole, whole

    def _entry(self, at: int, end: int, header: _Header) -> Entry:
        start = at + self._size
        raw = self._image[start : min(start + header.name_size, end)]  # none where the header is unfinished
        name = utf_16_le_decode(raw, "surrogatepass", True)[0] if len(raw) % 2 == 0 else ""
        if name.find("\0") != len(name) - 1 or len(name) < 2:
            raise ImageError(self._name, start, "a variable's name that ends in NUL", f"{raw[:32].hex(' ')}")
        # A store has many variables of few vendors: each is made once.
        vendor = self._vendors.get(header.vendor)
        if vendor is None:
            vendor = self._vendors[header.vendor] = Guid(header.vendor)
        attributes = self._attributes.get(header.attributes)
        if attributes is None:
            attributes = self._attributes[header.attributes] = VariableAttribute(header.attributes)
        variable = Variable(
            name[:-1],
            vendor,
            attributes,
            self._image[start + header.name_size : end],
            header.timestamp,
        )
        return Entry(variable, at, end)

    def _is_clean(self, end: int, torn: int) -> bool:
        """Whether nothing stands from `end` on; ImageError when whole variables do, out of reach.

        What stands before `torn` may be the data of a variable that a crash kept from getting its state.
        """
        left = self._image[end : self._limit]
        if left.count(ERASED) == len(left):
            return True
        left = left[aligned(torn) - end :]
        at = left.find(START)
        while at >= 0:
            if at % HEADER_ALIGNMENT == 0 and at + self._size <= len(left):
                header = _Header(*self._pick(left, at))
                size = self._size + header.name_size + header.data_size
                if header.state == ADDED and at + size <= len(left) and header.name_size > 2:
                    start = self._image[end : end + 4].hex(" ")
                    found = f"{start}, and a variable at {aligned(torn) + at:#x}"
                    raise ImageError(self._name, end, "a variable, or the end of all", found)
            at = left.find(START, at + 1)
        return False


def encoded(variable: Variable, *, authenticated: bool) -> bytes:
    """Return header, name and data of `variable` as they are written, its state UNWRITTEN still."""
    name = f"{variable.name}\0".encode("utf-16-le", "surrogatepass")
    attributes = int(variable.attributes)
    header: VariableHeader | AuthenticatedVariableHeader
    if authenticated:
        header = AuthenticatedVariableHeader(
            start_id=VARIABLE_DATA,
            state=UNWRITTEN,
            reserved=0,
            attributes=attributes,
            monotonic_count=0,
            timestamp=variable.timestamp,
            public_key_index=0,
            name_size=len(name),
            data_size=len(variable.data),
            vendor=variable.vendor.wire,
        )
    else:
        header = VariableHeader(
            VARIABLE_DATA, UNWRITTEN, 0, attributes, len(name), len(variable.data), variable.vendor.wire
        )
    return header.pack() + name + variable.data

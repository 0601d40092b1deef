# SPDX-License-Identifier: GPL-2.0-or-later
"""A store of variables in edk2's format, on a file or a block device: OVMF takes it, and pvefi takes OVMF's.

A change lasts before it is answered, and after a crash at any point the store holds the old value or the new
one. docs/variable-store.md says how.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from pvefi.efi.varstore.edk2_blocks import (
    complete_writes,
    empty_working_block,
    has_pending_write,
    write_store,
)
from pvefi.efi.varstore.edk2_format import (
    FIRST,
    START,
    Entry,
    Key,
    Listing,
    aligned,
    check_headers,
    encoded,
    read_variables,
)
from pvefi.efi.varstore.medium import FileMedium, Medium
from pvefi.efi.varstore.plan import Plan, Writer, erased
from pvefi.efi.varstore.store import Capacity, StoreError, StoreFault, Variable
from pvefi.errors import ImageError, PvefiError
from pvefi.layout import Guid
from pvefi.spec.edk2.firmware_volume import (
    FVH_REVISION,
    FVH_SIGNATURE,
    SYSTEM_NV_DATA_FV,
    BlockMapEntry,
    FirmwareVolumeHeader,
)
from pvefi.spec.edk2.ovmf import FLASH_ATTRIBUTES, OVMF_LAYOUTS, StoreLayout
from pvefi.spec.edk2.variable_store import (
    ADDED,
    AUTHENTICATED_VARIABLE_STORE,
    DELETED,
    HEADER_ALIGNMENT,
    HEADER_VALID_ONLY,
    IN_DELETED_TRANSITION,
    STORE_FORMATTED,
    STORE_HEALTHY,
    UNWRITTEN_WORD,
    VariableHeader,
    VariableStoreHeader,
)

__all__ = ["Edk2Store", "empty_store"]

_STATE = VariableHeader.offset_of("state")  # in every kind of header


def empty_store(layout: StoreLayout) -> bytes:
    """Return a store without variables, byte for byte as OVMF's build makes it."""
    blocks = BlockMapEntry(layout.size // layout.block_size, layout.block_size)

    def volume(checksum: int) -> bytes:
        return FirmwareVolumeHeader(
            zero_vector=bytes(16),
            file_system_guid=SYSTEM_NV_DATA_FV,
            volume_length=layout.size,
            signature=FVH_SIGNATURE,
            attributes=FLASH_ATTRIBUTES,
            header_length=FirmwareVolumeHeader.SIZE,
            checksum=checksum,
            extended_header_offset=0,
            reserved=0,
            revision=FVH_REVISION,
            block_map=(blocks, BlockMapEntry(0, 0)),
        ).pack()

    words = memoryview(volume(0)).cast("H")
    store = VariableStoreHeader(
        AUTHENTICATED_VARIABLE_STORE,
        layout.store_size - FirmwareVolumeHeader.SIZE,
        STORE_FORMATTED,
        STORE_HEALTHY,
        0,
        0,
    )
    image = bytearray(erased(layout.size))
    image[:FIRST] = volume(-sum(words) & 0xFFFF) + store.pack()
    block = empty_working_block(layout)
    image[layout.working_offset : layout.working_offset + len(block)] = block
    return bytes(image)


class Edk2Store:
    """A VariableStore on a medium, in the order in which it was found there; new variables come last.

    A variable that is changed keeps its place until the store is opened again: then it stands where it was
    written last.
    Opening completes what a crash interrupted; on a medium that is only read, it is as if that had been done.
    ImageError says why the medium holds no sound store; nothing has been written then.
    """

    def __init__(self, medium: Medium, layouts: Sequence[StoreLayout] = OVMF_LAYOUTS) -> None:
        self._medium = medium
        self._writer = Writer(medium)
        self._layouts = layouts
        self._doubtful = False
        self._image = bytearray()
        self._layout: StoreLayout
        self._listing: Listing
        self._taken = 0
        self._load()

    @classmethod
    def open(cls, path: Path, *, writable: bool = True) -> Edk2Store:
        """Open the store in the file or on the block device `path`.

        UsageError when that cannot be, as when another pvefi has it; a ReadOnlyError of those when it can
        only be read; ImageError when it is no sound store.
        """
        medium = FileMedium(path, writable=writable)
        try:
            return cls(medium)
        except BaseException:
            medium.close()
            raise

    @property
    def writable(self) -> bool:
        """Whether the medium can be written."""
        return self._medium.writable

    def _load(self) -> None:
        most = max(layout.size for layout in self._layouts)
        image = bytearray(self._medium.read(most + self._medium.fixed_size))
        layout = self._layout_of(image)
        plan = Plan(image)
        complete_writes(self._medium.name, plan, layout)
        check_headers(self._medium.name, image, [layout])
        listing = read_variables(self._medium.name, image, layout)
        for offset in listing.stale:
            plan.mask(offset, DELETED)
        if plan.steps:
            plan.sync()
        if self._medium.writable:
            self._writer.carry_out(plan)
        self._image, self._layout, self._listing = image, layout, listing
        self._count()
        self._doubtful = False

    @property
    def keeps_timestamps(self) -> bool:
        """Whether the store's headers have a place for them."""
        return self._listing.authenticated

    def _layout_of(self, image: bytearray) -> StoreLayout:
        """Return the layout that the medium's size and its blocks are of; ImageError when it is none."""
        name, fixed, size = self._medium.name, self._medium.fixed_size, len(image)
        fitting = [one for one in self._layouts if (size == one.size if fixed else size >= one.size)]
        try:
            check_headers(name, image, self._layouts)
        except ImageError:
            for layout in fitting:
                # A crash of edk2 may have left the blocks erased that begin with the volume's header.
                if has_pending_write(image, layout):
                    return layout
            raise
        length = FirmwareVolumeHeader.unpack(image).volume_length
        for layout in fitting:
            if layout.size == length:
                return layout
        found = f"{size}" if size < max(one.size for one in self._layouts) else f"{size} or more"
        raise ImageError(name, None, f"a variable store of {length} bytes", found)

    def _count(self) -> None:
        self._taken = sum(aligned(entry.end) - entry.start for entry in self._listing.live.values())

    def get(self, name: str, vendor: Guid) -> Variable | None:
        """Return the variable, None when there is none."""
        entry = self._listing.live.get((name, vendor))
        return None if entry is None else entry.variable

    def put(self, variable: Variable) -> None:
        """Store `variable`, in place of one of the same name and vendor; it lasts when this returns.

        StoreError when there is no room, writing fails, or a store cannot hold such a variable.
        """
        self._check(variable)
        self._prepare_to_write()
        key = variable.name, variable.vendor
        old = self._listing.live.get(key)
        if old is not None and old.variable == variable:
            return
        record = encoded(variable, authenticated=self._listing.authenticated)
        plan = Plan(self._image)
        if self._listing.clean and self._listing.end + len(record) <= self._layout.store_size:
            self._append(plan, variable, record, old)
        else:
            contents = self._compacted(without=key, new=record)
            self._begin()
            write_store(plan, self._layout, contents)
            self._writer.carry_out(plan)
            self._relist([*self._listing.live, key])
        self._doubtful = False

    def _check(self, variable: Variable) -> None:
        """Refuse what would not be found again; StoreError."""
        if not variable.name or "\0" in variable.name:
            raise StoreError(
                StoreFault.DEVICE, f"{self._medium.name}: expected a name, found {variable.name!r}"
            )
        if not 0 <= variable.attributes < UNWRITTEN_WORD:
            expected = f"attributes below {UNWRITTEN_WORD:#x}, which is what unwritten ones are"
            found = f"{int(variable.attributes):#x}"
            raise StoreError(
                StoreFault.DEVICE,
                f"{self._medium.name}: {variable.name!r}: expected {expected}, found {found}",
            )

    def _append(self, plan: Plan, variable: Variable, record: bytes, old: Entry | None) -> None:
        self._begin()
        at, end = self._listing.end, self._listing.end + len(record)
        header_size = self._listing.header_size
        if old is not None:
            plan.mask(old.state_offset, IN_DELETED_TRANSITION)
        done = 0
        # What looks like a variable in there must never be found without this one around it: not where the
        # sector with the end of the header has been written, and that with its start has not.
        if START in record[len(START) : header_size]:
            done = HEADER_ALIGNMENT  # which no sector's end comes between
            plan.write(at, record[:done])
            plan.sync()
        if START in record[header_size:]:
            plan.write(at + done, record[done:header_size])
            plan.mask(at + _STATE, HEADER_VALID_ONLY)
            plan.sync()
            done = header_size
        plan.write(at + done, record[done:])
        plan.sync()
        plan.mask(at + _STATE, ADDED)
        plan.sync()
        if old is not None:  # when this is lost, the new one counts all the same
            plan.mask(old.state_offset, DELETED)
            self._taken -= aligned(old.end) - old.start
        self._writer.carry_out(plan)
        self._listing.live[variable.name, variable.vendor] = Entry(variable, at, end)
        self._listing.end = aligned(end)
        self._taken += aligned(end) - at

    def _compacted(self, *, without: Key, new: bytes) -> bytes:
        """Return the store with only what counts, and `new` after it; StoreError when there is no room."""
        kept = sorted(
            (entry for key, entry in self._listing.live.items() if key != without),
            key=lambda entry: entry.start,
        )
        contents = bytearray(self._image[:FIRST])
        for record in [bytes(self._image[entry.start : entry.end]) for entry in kept] + [new]:
            contents += erased(aligned(len(contents)) - len(contents))
            at = len(contents)
            contents += record
            contents[at + _STATE] = ADDED
        lacking = len(contents) - self._layout.store_size
        if lacking > 0:
            raise StoreError(
                StoreFault.FULL, f"{self._medium.name}: {lacking} bytes more than the store has room for"
            )
        return bytes(contents + erased(-lacking))

    def _relist(self, order: list[Key]) -> None:
        """Read again what is in the store, and keep the order that it had; StoreError when it is unsound."""
        try:
            self._listing = read_variables(self._medium.name, self._image, self._layout)
        except ImageError as error:
            raise StoreError(StoreFault.DEVICE, str(error)) from error
        found = self._listing.live
        self._listing.live = {key: found[key] for key in order}
        self._count()

    def remove(self, name: str, vendor: Guid) -> None:
        """Forget the variable; it is gone when this returns.

        KeyError when there is none, StoreError when writing fails.
        """
        if (name, vendor) not in self._listing.live:
            raise KeyError(name)
        self._prepare_to_write()
        entry = self._listing.live.get((name, vendor))
        if entry is None:
            return  # an attempt that failed has come as far
        plan = Plan(self._image)
        self._begin()
        if not self._writer.all_lasts:
            plan.sync()  # an older value that is still to be marked deleted must not outlive this one
        plan.mask(entry.state_offset, DELETED)
        plan.sync()
        self._writer.carry_out(plan)
        del self._listing.live[name, vendor]
        self._taken -= aligned(entry.end) - entry.start
        self._doubtful = False

    def _prepare_to_write(self) -> None:
        """Be sure of what the medium holds; StoreError when it cannot be written."""
        if not self._medium.writable:
            raise StoreError(StoreFault.READ_ONLY, f"{self._medium.name}: the variable store is only read")
        if not self._doubtful:
            return
        try:
            self._writer.settle()
            self._load()
        except StoreError:
            raise
        except PvefiError as error:
            raise StoreError(StoreFault.DEVICE, str(error)) from error

    def _begin(self) -> None:
        """Take what is known of the medium as doubtful, until what is now written has been."""
        self._doubtful = True

    @property
    def size(self) -> int:
        """How many bytes of the medium the store takes; a device may have more."""
        return self._layout.size

    def capacity(self) -> Capacity:
        """Return what there is room for, once what no longer counts has been cleared away."""
        size = self._layout.store_size - FIRST
        header = self._listing.header_size
        return Capacity(
            size,
            size - self._taken,
            header,
            self._layout.largest_variable - header,
            self._layout.largest_authenticated - header,
            HEADER_ALIGNMENT,
        )

    def __iter__(self) -> Iterator[Variable]:
        """Yield every variable in the store's order."""
        return iter([entry.variable for entry in self._listing.live.values()])

    def close(self) -> None:
        """Let go of the medium."""
        self._medium.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

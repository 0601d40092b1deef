# SPDX-License-Identifier: GPL-2.0-or-later
"""Pool memory: pieces of pages, by memory type and size — UEFI 2.10 §7.2.4, §7.2.5.

Small pieces of all sizes share runs of pages, one run after the other for each memory type, so that a guest
with hundreds of allocations still sees a memory map of some twenty descriptors. All bookkeeping is on the
host: nothing that the guest writes into its pool can mislead it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pvefi.efi.errors import EfiError
from pvefi.efi.pages import PageMap, is_allocatable
from pvefi.spec.uefi.memory import PAGE_SIZE, AllocateType, MemoryType
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["POOL", "Pools"]

POOL = "pool"
"""The name under which the page map knows these pages."""

# UEFI 2.10 §7.2.4: "All allocations are eight-byte aligned"; sizes that are powers of two give more.
_SIZES = (32, 64, 128, 256, 512, 1024, 2048)
_RUN_PAGES = 16
_TAKEN_BACK = frozenset(
    {
        MemoryType.LOADER_CODE,
        MemoryType.LOADER_DATA,
        MemoryType.BOOT_SERVICES_CODE,
        MemoryType.BOOT_SERVICES_DATA,
    }
)
"""What an operating system uses as its own after ExitBootServices; of all else every page is lost to it."""


@dataclass(slots=True)
class _Run:
    """Pages of one memory type, those in use divided into pieces."""

    address: int
    pages: int
    memory_type: MemoryType
    free_pages: list[int]


@dataclass(slots=True)
class _Divided:
    """A page cut into pieces of one size."""

    address: int
    run: _Run
    size: int
    free: list[int] = field(default_factory=list)


class Pools:
    """The pool of every memory type, on pages of `pages`."""

    def __init__(self, pages: PageMap) -> None:
        self._pages = pages
        self._held: dict[int, _Divided | int] = {}
        self._divided: dict[tuple[int, int], list[_Divided]] = {}
        self._runs: dict[int, list[_Run]] = {}

    def allocate(self, memory_type: MemoryType, size: int) -> int:
        """Return the address of `size` bytes of `memory_type`, aligned to 16 bytes or more.

        EfiError: INVALID_PARAMETER (type), OUT_OF_RESOURCES.
        """
        if not is_allocatable(memory_type):
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{memory_type.name} memory cannot be allocated")
        if size > _SIZES[-1]:
            pages = -(-size // PAGE_SIZE)
            address = self._pages.allocate(AllocateType.ANY_PAGES, memory_type, pages, 0, name=POOL)
            self._held[address] = pages
            return address
        # EDK2 answers a request for no bytes with a piece of its own, and programs count on an address.
        size = next(fit for fit in _SIZES if size <= fit)
        open_pages = self._divided.setdefault((memory_type, size), [])
        if not open_pages:
            open_pages.append(self._divide(memory_type, size))
        page = open_pages[-1]
        address = page.free.pop()
        if not page.free:
            open_pages.pop()
        self._held[address] = page
        return address

    def drain(self) -> None:
        """Use up every free piece of the pages that are held already; what is given back can be had again."""
        for open_pages in self._divided.values():
            for page in open_pages:
                page.free.clear()
            open_pages.clear()
        for runs in self._runs.values():
            for run in runs:
                run.free_pages.clear()

    def free(self, address: int) -> None:
        """Give back what `allocate` returned; EfiError INVALID_PARAMETER for any other address."""
        held = self._held.pop(address, None)
        if held is None:
            raise EfiError(
                EfiStatus.INVALID_PARAMETER, f"{address:#x} is not, or no longer, the address of pool memory"
            )
        if isinstance(held, int):
            self._pages.free(address, held, name=POOL)
            return
        open_pages = self._divided[held.run.memory_type, held.size]
        if not held.free:
            open_pages.append(held)
        held.free.append(address)
        if len(held.free) == PAGE_SIZE // held.size:
            open_pages.remove(held)
            self._give_back(held)

    def _divide(self, memory_type: MemoryType, size: int) -> _Divided:
        """Return a page of `memory_type` cut into free pieces of `size` bytes."""
        runs = self._runs.setdefault(memory_type, [])
        run = next((run for run in runs if run.free_pages), None)
        if run is None:
            pages = _RUN_PAGES
            if memory_type not in _TAKEN_BACK:
                # Twice as much each time: few runs, and at most half of it unused.
                pages = min(_RUN_PAGES, max(1, sum(run.pages for run in runs)))
            run = self._new_run(memory_type, pages)
            runs.append(run)
        address = run.free_pages.pop()
        # The lowest piece is the last of the list, and is given out first.
        return _Divided(address, run, size, list(range(address + PAGE_SIZE - size, address - 1, -size)))

    def _new_run(self, memory_type: MemoryType, pages: int) -> _Run:
        any_pages = AllocateType.ANY_PAGES
        try:
            address = self._pages.allocate(any_pages, memory_type, pages, 0, name=POOL)
        except EfiError:
            # Memory is short or in pieces: one page will do.
            pages = 1
            address = self._pages.allocate(any_pages, memory_type, pages, 0, name=POOL)
        free_pages = [address + at * PAGE_SIZE for at in reversed(range(pages))]
        return _Run(address, pages, memory_type, free_pages)

    def _give_back(self, page: _Divided) -> None:
        """Return a page without pieces in use to its run, and a run without such pages to the page map."""
        run = page.run
        run.free_pages.append(page.address)
        if len(run.free_pages) == run.pages:
            self._runs[run.memory_type].remove(run)
            self._pages.free(run.address, run.pages, name=POOL)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what the machine told the trampoline: hvm_start_info and everything it points to.

All of it is copied out at the first doorbell, so that the memory it lay in is free for the guest. It is the
guest that copies: on some machines all this lies in the firmware's memory, which the host does not see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pvefi.efi.service import Steps
from pvefi.errors import GuestFault
from pvefi.guest.mailbox import STAGING_SIZE, Copy
from pvefi.guest.trampoline import Trampoline
from pvefi.memory import Memory
from pvefi.spec.acpi import Rsdp
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, HvmModlistEntry, HvmStartInfo

__all__ = ["Fetch", "Start", "fetch_by_guest", "read_start"]

_TEXT_LIMIT = 1 << 16  # bytes of a command line; Linux x86 itself stops at 2048
_ENTRY_LIMIT = 4096  # memory map entries and modules; e820 has 128 slots
_PAGE = 4096

Fetch = Callable[[int, int], Steps[bytes]]
"""fetch(address, size): gets bytes of guest physical memory, wherever they lie; fewer where that ends."""


@dataclass(frozen=True)
class Start:
    """hvm_start_info and what it points to, copied; `modules` are ranges of guest physical memory.

    `rsdp` is ACPI's root pointer, None where the machine has none.
    """

    info: HvmStartInfo
    memory_map: tuple[HvmMemmapTableEntry, ...]
    modules: tuple[HvmModlistEntry, ...]
    command_line: str
    rsdp: Rsdp | None = None


def fetch_by_guest(memory: Memory, trampoline: Trampoline) -> Fetch:
    """Return a way to get bytes by way of the staging area, into which the guest copies them.

    Page 0, where SeaBIOS has hvm_start_info, is RAM on every machine, but not in the guest's page tables.
    """
    staging = trampoline.symbols["staging"]

    def fetch(address: int, size: int) -> Steps[bytes]:
        low = min(size, max(0, _PAGE - address))
        parts = [memory.read(address, low)] if low else []
        for at in range(low, size, STAGING_SIZE):
            count = min(STAGING_SIZE, size - at)
            yield Copy(staging, address + at, count)
            parts.append(memory.read(staging, count))
        return b"".join(parts)

    return fetch


def read_start(fetch: Fetch, address: int) -> Steps[Start]:
    """Return what stands at guest physical `address`; GuestFault unless it is hvm_start_info with a map."""
    try:
        info = HvmStartInfo.read((yield from fetch(address, HvmStartInfo.SIZE)))
    except ValueError as error:
        raise GuestFault(f"guest physical {address:#x}: {error}") from error
    if not info.memmap_entries:
        raise GuestFault(
            f"hvm_start_info version {info.version} at {address:#x} has no memory map",
            "the machine has to give version 1 with memmap entries",
        )
    for count, what in ((info.memmap_entries, "memory map entries"), (info.nr_modules, "modules")):
        if count > _ENTRY_LIMIT:
            raise GuestFault(f"hvm_start_info at {address:#x} claims {count} {what}")
    memmap_size, modlist_size = (
        info.memmap_entries * HvmMemmapTableEntry.SIZE,
        info.nr_modules * HvmModlistEntry.SIZE,
    )
    memmap = yield from _whole(fetch, info.memmap_paddr, memmap_size, "memory map")
    modlist = yield from _whole(fetch, info.modlist_paddr, modlist_size, "list of modules")
    return Start(
        info,
        tuple(
            HvmMemmapTableEntry.unpack(memmap, at) for at in range(0, memmap_size, HvmMemmapTableEntry.SIZE)
        ),
        tuple(HvmModlistEntry.unpack(modlist, at) for at in range(0, modlist_size, HvmModlistEntry.SIZE)),
        (yield from _text(fetch, info.cmdline_paddr)) if info.cmdline_paddr else "",
        (yield from _rsdp(fetch, info.rsdp_paddr)) if info.rsdp_paddr else None,
    )


def _whole(fetch: Fetch, address: int, size: int, what: str) -> Steps[bytes]:
    """Return all `size` bytes of `what`; GuestFault where there are fewer."""
    data = (yield from fetch(address, size)) if size else b""
    if len(data) < size:
        raise GuestFault(f"hvm_start_info's {what} at {address:#x} takes {size} bytes, {len(data)} are there")
    return data


def _text(fetch: Fetch, address: int) -> Steps[str]:
    data = b""
    while b"\0" not in data:
        if len(data) >= _TEXT_LIMIT:
            raise GuestFault(f"the command line at {address:#x} does not end within {len(data)} bytes")
        at = address + len(data)
        data += yield from fetch(at, _PAGE - at % _PAGE)
    return data[: data.index(b"\0")].decode("utf-8", "replace")


def _rsdp(fetch: Fetch, address: int) -> Steps[Rsdp]:
    try:
        return Rsdp.read((yield from fetch(address, Rsdp.SIZE)))
    except ValueError as error:
        raise GuestFault(f"hvm_start_info's RSDP at {address:#x}: {error}") from error

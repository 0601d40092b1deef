# SPDX-License-Identifier: GPL-2.0-or-later
"""Miscellaneous boot services — UEFI 2.10 §7.5."""

from __future__ import annotations

import zlib

from pvefi.efi.boot.events import idle
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.monotonic_count import next_count
from pvefi.efi.notify import notify_due
from pvefi.efi.service import UINT8, UINT32, UINT64, UINTN, Out, Pointer, Steps, service
from pvefi.errors import GuestFault
from pvefi.guest.mailbox import Copy, Fill
from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus

__all__ = [
    "calculate_crc32",
    "copy_mem",
    "get_next_monotonic_count",
    "install_configuration_table",
    "set_mem",
    "set_watchdog_timer",
    "stall",
]

_CHUNK = 1 << 20  # bytes that the host holds at a time
_STALL_STEP = 0.5  # seconds that pass at most before timers are looked at again


def _check_range(efi: Environment, what: str, address: int, size: int) -> None:
    """Refuse a buffer that cannot be, before anything is done with it; GuestFault."""
    ram_size = sum(len(block.view) for block in efi.physical.blocks)
    if size > ram_size:
        raise GuestFault(f"{what} of {size:#x} bytes at {address:#x}: the guest has {ram_size:#x}")
    end, at = address + size, address
    while at < end:
        reachable = efi.memory.contiguous(at)
        if reachable <= 0:
            raise GuestFault(f"{what} of {size:#x} bytes at {address:#x}: there is no memory at {at:#x}")
        at += reachable


@service("SetWatchdogTimer", "UEFI 2.10 §7.5.1")
def set_watchdog_timer(
    efi: Environment, timeout: UINTN, watchdog_code: UINT64, data_size: UINTN, watchdog_data: Pointer
) -> None:
    """Disarm the watchdog, which never was armed.

    UNSUPPORTED: `timeout` is not 0, and the environment has no watchdog that could bark then.
    """
    if timeout:
        raise EfiError(EfiStatus.UNSUPPORTED, f"a watchdog after {timeout} s: there is none")


@service("Stall", "UEFI 2.10 §7.5.2")
def stall(efi: Environment, microseconds: UINTN) -> Steps[None]:
    """Let time pass; timers run on, and notify."""
    clock = efi.surroundings.clock
    end = clock.monotonic() + microseconds / 1e6
    while (left := end - clock.monotonic()) > 0:
        timer = efi.events.seconds_to_timer()
        # A timer whose notification the task priority level holds back does not shorten the next step.
        idle(efi, min(left, _STALL_STEP, timer or _STALL_STEP))
        yield from notify_due(efi)


@service("CopyMem", "UEFI 2.10 §7.5.3", returns_status=False)
def copy_mem(efi: Environment, destination: Pointer, source: Pointer, length: UINTN) -> Steps[None]:
    """Copy memory; the two buffers may overlap."""
    if not length or destination == source:
        return
    _check_range(efi, "CopyMem's source", source, length)
    _check_range(efi, "CopyMem's destination", destination, length)
    efi.memory.storable(destination, length)
    # The guest copies by itself: what it overwrites may be code that a machine has translated.
    yield Copy(destination, source, length)


@service("SetMem", "UEFI 2.10 §7.5.4", returns_status=False)
def set_mem(efi: Environment, buffer: Pointer, size: UINTN, value: UINT8) -> Steps[None]:
    """Fill memory with one byte."""
    if not size:
        return
    _check_range(efi, "SetMem's buffer", buffer, size)
    efi.memory.storable(buffer, size)
    yield Fill(buffer, value, size)


@service("GetNextMonotonicCount", "UEFI 2.10 §7.5.5")
def get_next_monotonic_count(efi: Environment, count: Out[UINT64]) -> None:
    """Store a number larger than every one before, in this boot and in those before.

    INVALID_PARAMETER: `count` is NULL. DEVICE_ERROR: its high half cannot be kept.
    """
    count.set(next_count(efi))


@service("InstallConfigurationTable", "UEFI 2.10 §7.5.6")
def install_configuration_table(efi: Environment, guid: Guid, table: Pointer) -> None:
    """Add, replace or - with a NULL `table` - remove a configuration table, and signal its group.

    INVALID_PARAMETER: `guid` is NULL. NOT_FOUND: there is no such table to remove. OUT_OF_RESOURCES.
    """
    efi.tables.install_configuration_table(guid, table)
    # UEFI 2.10 §7.1.2: events in the group of the table's GUID are signalled when the table changes.
    efi.events.signal_group(guid)


@service("CalculateCrc32", "UEFI 2.10 §7.5.7")
def calculate_crc32(efi: Environment, data: Pointer, data_size: UINTN, crc32: Out[UINT32]) -> None:
    """Store the CRC-32 of a buffer.

    INVALID_PARAMETER: `data` or `crc32` is NULL, or `data_size` is 0.
    """
    if not data or not data_size:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "no data to take the CRC of")
    _check_range(efi, "CalculateCrc32's data", data, data_size)
    value = 0
    for at in range(0, data_size, _CHUNK):
        value = zlib.crc32(efi.memory.read(data + at, min(_CHUNK, data_size - at)), value)
    crc32.set(value)

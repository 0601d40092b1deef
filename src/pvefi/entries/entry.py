# SPDX-License-Identifier: GPL-2.0-or-later
"""What every entry is: a kind, and a way to bring an image to its first instruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pvefi.efi.environment import Environment
from pvefi.efi.service import Steps
from pvefi.image import EntryKind, Image
from pvefi.verdict import Verdict

__all__ = ["BootInfo", "Entry", "EntryRequest"]


class BootInfo(StrEnum):
    """How an image is told what hypervisor it runs on."""

    TABLE = "table"
    """By EFI's means: a configuration table, and a protocol on the image's handle."""
    SETUP_DATA = "setup-data"
    """By the Linux boot protocol's: a setup_data node with the same structure."""
    NONE = "none"
    """Not at all."""


@dataclass(frozen=True)
class EntryRequest:
    """What is to be entered: the image and the bytes of its file, with what the user gives it.

    `file_path` is where the file stands on the volume that is served, empty where it does not.
    """

    image: Image
    data: bytes
    command_line: str
    boot_info: BootInfo = BootInfo.TABLE
    file_path: str = ""


@dataclass(frozen=True)
class Entry:
    """A way into an image, in the CPU mode of `bits`.

    `enter(efi, request, information)` places the image in the guest and yields what makes the guest run it;
    `information` is the guest physical address of the hypervisor information. `wanted_memory(request)` is
    the size in bytes of a guest in which that has room. `kernel_entry(request)` is the guest physical address
    at which this entry enters the kernel proper directly, None where it gets control at its startup_64.
    `boot_info` are the ways in which it can tell of the hypervisor, its own first. `check(request)` raises
    UsageError for what can be told before anything runs. With `initrd_by_efi` the initial ramdisk is behind
    LoadFile2, and nowhere else. With `needs_runtime` the profile has to be one that stays.
    """

    kind: EntryKind
    bits: int
    enter: Callable[[Environment, EntryRequest, int], Steps[Verdict]]
    wanted_memory: Callable[[EntryRequest], int]
    boot_info: tuple[BootInfo, ...]
    check: Callable[[EntryRequest], None] = lambda _request: None
    initrd_by_efi: bool = False
    needs_runtime: bool = False
    kernel_entry: Callable[[EntryRequest], int | None] = lambda _request: None

# SPDX-License-Identifier: GPL-2.0-or-later
"""All host-side EFI state of one boot: what a service body may look at and change.

A body gets the Environment as its first parameter, the guest's arguments decoded, and answers by returning
(EFI_SUCCESS), by raising EfiError(status, why), or - when it needs the guest's CPU - by being a generator
that yields an Upcall or a Copy and is sent the result. It reaches the guest's memory through its Out and
InOut parameters, or through `efi.memory` for buffers; both raise GuestFault on a wild pointer, which ends
the boot with a verdict. It never sees registers, gates or machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from pvefi.efi.arena import Arena
from pvefi.efi.errors import EfiError
from pvefi.efi.events import Events
from pvefi.efi.gates import Gates
from pvefi.efi.handles import HandleDatabase
from pvefi.efi.host_directory import HostDirectory
from pvefi.efi.kept import Kept
from pvefi.efi.keys import Keys
from pvefi.efi.memory_attributes import MemoryAttributes
from pvefi.efi.pages import PageMap
from pvefi.efi.pools import Pools
from pvefi.efi.profiles import Profile
from pvefi.efi.start import Start
from pvefi.efi.tables import SystemTables
from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import VariableStore
from pvefi.efi.virtual_map import VirtualMap
from pvefi.efi.volume import Volume
from pvefi.guest.trampoline import Trampoline
from pvefi.layout import Guid
from pvefi.memory import GuestMemory, Memory, NamedRange
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.memory import MemoryDescriptor
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import OUTSIDE_PROFILE

__all__ = ["Clock", "Environment", "LoadedImage", "Phase", "Surroundings"]


class Phase(Enum):
    """Whether boot services last — UEFI 2.10 §2.2."""

    BOOT = "boot services"
    RUNTIME = "runtime"


@dataclass(frozen=True)
class Clock:
    """Time as the environment sees it: `monotonic` seconds, and `idle` that lets seconds pass.

    `wall` is the time of day in nanoseconds since 1970, UTC.
    """

    idle: Callable[[float], None]
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], int] = time.time_ns


@dataclass(frozen=True)
class Surroundings:
    """What the host side gives to an environment: where text goes, randomness, time, files.

    `random(count)` returns `count` bytes. `initrd` is the initial ramdisk, None for none; with
    `initrd_by_efi` it is offered behind LoadFile2.
    `image_starts` is called with the guest physical address of the image's first instruction just before it
    is executed; `boot_services_end` at ExitBootServices; `kernel_may_start` once the kernel proper may get
    control, with the guest physical addresses of what was loaded: after ExitBootServices, or when a kernel
    is entered without EFI.
    `typed()` takes what was typed since the last time, None when there will never be more.
    `kept` is what the guest keeps through its resets: whoever makes the guest makes it, once.
    `directory` is served as the volume that images come from, None for no volume.
    """

    console: Callable[[str], None]
    random: Callable[[int], bytes]
    clock: Clock
    initrd: memoryview | None
    initrd_by_efi: bool
    image_starts: Callable[[int], None]
    boot_services_end: Callable[[], None]
    kernel_may_start: Callable[[tuple[int, ...]], None]
    typed: Callable[[], bytes | None] = lambda: None
    kept: Kept = field(default_factory=Kept)
    directory: HostDirectory | None = None


@dataclass(frozen=True)
class LoadedImage:
    """An image in guest memory; addresses are guest physical, `size` is its SizeOfImage in bytes."""

    handle: int
    name: str
    base: int
    size: int
    entry_point: int


@dataclass
class Environment:
    """The EFI environment of one boot.

    `memory` is guest memory as the current caller sees it: physical while the trampoline's page tables are
    in force, through the caller's own afterwards. `physical` is always by guest physical address. `restarted`
    tells that the guest has
    been reset: anything in its memory may be code that ran before. `virtual_map` is there while
    SetVirtualAddressMap() is under way, `has_virtual_addresses` from then on. `monotonic_count` is the last
    count given out, None before the first. `variable_order` has for each variable which one follows, and for
    None the first, as far as that has been looked up. `memory_attributes` is None where nothing stays in the
    guest, `volume` where no directory is served. `said` is the end of what was written to the console by EFI.
    """

    physical: GuestMemory
    memory: Memory
    trampoline: Trampoline
    start: Start
    profile: Profile
    surroundings: Surroundings
    pages: PageMap
    pools: Pools
    handles: HandleDatabase
    events: Events
    keys: Keys
    gates: Gates
    tables: SystemTables
    boot_arena: Arena
    runtime_arena: Arena
    memory_attributes: MemoryAttributes | None = None
    phase: Phase = Phase.BOOT
    exit_announced: bool = False
    volatile_variables: VariableStore = field(default_factory=MemoryStore)
    has_virtual_addresses: bool = False
    virtual_map: VirtualMap | None = None
    event_names: dict[int, str] = field(default_factory=dict)
    images: dict[int, LoadedImage] = field(default_factory=dict)
    ranges: list[NamedRange] = field(default_factory=list)
    final_memory_map: tuple[MemoryDescriptor, ...] = ()
    restarted: bool = False
    volume: Volume | None = None
    said: str = ""
    monotonic_count: int | None = None
    variable_order: dict[tuple[str, Guid] | None, tuple[str, Guid]] = field(default_factory=dict)

    def absent(self, protocol: Guid, status: EfiStatus) -> EfiError:
        """Return the answer to a question for `protocol` which no handle has, or not the one that was asked.

        `status` is what the specification has for that; outside the profile it may be another.
        """
        if protocol in self.profile.protocols:
            return EfiError(status, f"no handle has {guid_name(protocol)}")
        why = f"{guid_name(protocol)} is {OUTSIDE_PROFILE} {self.profile.name}"
        return EfiError(self.profile.protocol_refusal(protocol, status), why)

    def offer(self, handle: int, *interfaces: tuple[Guid, int]) -> int:
        """Put protocols of the environment's own on `handle`, 0 for a new one, as far as the profile goes.

        Returns the handle, which is there even when it has none.
        """
        offered = [(guid, interface) for guid, interface in interfaces if guid in self.profile.protocols]
        return self.handles.install_all(handle, offered)

    @property
    def initrd(self) -> memoryview | None:
        """The user's initial ramdisk, or the machine's first module, looked at anew: not to be kept."""
        given, modules = self.surroundings.initrd, self.start.modules
        if given is not None or not modules or not modules[0].size:
            return given
        return self.physical.view(modules[0].paddr, modules[0].size)

    @property
    def last_line(self) -> str:
        """The last line with anything in it that was written to the console by EFI; empty for none."""
        lines = [line.strip() for line in self.said.splitlines()]
        return next((line for line in reversed(lines) if line), "")

    def named_ranges(self) -> tuple[NamedRange, ...]:
        """Return every range of guest physical memory that pvefi placed, by name."""
        return (
            *(NamedRange(part.name, part.address, part.size) for part in self.trampoline.segments),
            *self.boot_arena.ranges,
            *self.runtime_arena.ranges,
            *(NamedRange(image.name, image.base, image.size) for image in self.images.values()),
            *self.ranges,
        )

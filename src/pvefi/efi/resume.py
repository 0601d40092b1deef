# SPDX-License-Identifier: GPL-2.0-or-later
"""What of an environment outlives the process that serves it, and how another process goes on with it.

After ExitBootServices little is left: addresses in the guest, which service has which gate, and variables.
That is a SavedEfi, a value that goes into a file. While boot services last there is far more, with functions
of the guest under way at every moment: such an environment goes with its process, and of it is saved only
what a successor needs to let the guest's image end in an orderly way (`efi/heir.py`).

A SavedEfi holds from the answer to call `seq` on, and carries that answer. Where the process ends between
saving and answering, its successor gives the answer; where it ends before saving, the call was never made.

One gap is known: SetVirtualAddressMap() changes three places in the guest before that is saved. A process
that ends among these stores leaves a guest that hears EFI_DEVICE_ERROR, and for which EFI is then over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pvefi.efi.arena import Arena
from pvefi.efi.environment import Environment, Phase, Surroundings
from pvefi.efi.events import Events, Notification
from pvefi.efi.gates import Gates, unimplemented
from pvefi.efi.handles import HandleDatabase
from pvefi.efi.keys import Keys
from pvefi.efi.pages import PageMap
from pvefi.efi.pools import Pools
from pvefi.efi.profiles import Profile
from pvefi.efi.runtime import SERVICES
from pvefi.efi.service import Service
from pvefi.efi.start import Start
from pvefi.efi.tables import SystemTables, TableAddresses
from pvefi.efi.varstore.store import Variable
from pvefi.errors import UsageError
from pvefi.frozen_json import from_json, to_json
from pvefi.guest.mailbox import Answer, Commit, Return, Store
from pvefi.guest.trampoline import Trampoline
from pvefi.layout import Guid
from pvefi.memory import GuestMemory, NamedRange
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import MemoryDescriptor
from pvefi.spec.xen.start_info import XEN_HVM_START_MAGIC_VALUE, HvmMemmapTableEntry, HvmStartInfo

__all__ = [
    "SavedAnswer",
    "SavedEfi",
    "SavedGate",
    "SavedImage",
    "SavedRange",
    "build_of",
    "changing",
    "read_saved",
    "resumed",
    "saved_of",
]

FORMAT = 2
_WORD = range(1 << 64)
_LONGEST_NAME = 64


@dataclass(frozen=True)
class SavedGate:
    """The service behind one gate; the gates stand in the order of their indices."""

    service: str
    returns_status: bool


@dataclass(frozen=True)
class SavedRange:
    """A range of guest physical memory that pvefi placed, so that faults explain themselves."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class SavedImage:
    """The started image: its handle, and the guest's stack pointer at its upcall's frame.

    `frame` is None where it was entered by a jump.
    """

    name: str
    handle: int
    frame: int | None


@dataclass(frozen=True)
class SavedAnswer:
    """The answer that makes this state true for the guest: `value` in %rax, once it has stored `stores`."""

    value: int
    stores: tuple[Store, ...]

    def answer(self) -> Return | Commit:
        """Return it as a machine takes it."""
        return Commit(self.stores, self.value) if self.stores else Return(self.value)


@dataclass(frozen=True)
class SavedEfi:
    """One environment as its process leaves it; addresses are guest physical.

    `build` names the trampoline, and with it the layout of gates and mailbox. `seq` is the call with whose
    `answer` all this holds, `calls` the number of service calls by then; `answer` is None while boot services
    last. `memory_map` is the one that ExitBootServices left, `memmap` the machine's. `conversions` are the
    functions that SetVirtualAddressMap has still to call. `monotonic_count` is the last count given out.
    """

    format: int
    build: str
    profile: Profile
    runtime: bool
    seq: int
    calls: int
    answer: SavedAnswer | None
    image: SavedImage | None
    gates: tuple[SavedGate, ...]
    tables: TableAddresses
    configuration_tables: tuple[tuple[Guid, int], ...]
    memmap: tuple[HvmMemmapTableEntry, ...]
    memory_map: tuple[MemoryDescriptor, ...]
    ranges: tuple[SavedRange, ...]
    has_virtual_addresses: bool
    conversions: tuple[tuple[int, int, int, int], ...]
    volatile_variables: tuple[Variable, ...]
    monotonic_count: int | None


def build_of(trampoline: Trampoline) -> str:
    """Return what names a trampoline: the guest keeps one of the build that started it."""
    return hashlib.sha256(trampoline.elf).hexdigest()


def changing(efi: Environment) -> tuple[object, ...]:
    """Return what of a runtime environment can change, to be compared with what it was when saved."""
    relocated = efi.has_virtual_addresses and efi.virtual_map is None
    return efi.phase, relocated, efi.monotonic_count, tuple(efi.volatile_variables)


def saved_of(
    efi: Environment, seq: int, calls: int, answer: Answer | None, image: SavedImage | None
) -> SavedEfi:
    """Return what is to outlive this process, true with the `answer` to doorbell `seq`."""
    runtime = efi.phase is Phase.RUNTIME
    value = None
    if runtime and isinstance(answer, Return):
        value = SavedAnswer(answer.value, ())
    elif runtime and isinstance(answer, Commit) and answer.value is not None:
        value = SavedAnswer(answer.value, answer.stores)
    relocated = efi.has_virtual_addresses and efi.virtual_map is None
    waiting = () if relocated else efi.events.notifications(guids.EVENT_GROUP_VIRTUAL_ADDRESS_CHANGE)
    return SavedEfi(
        format=FORMAT,
        build=build_of(efi.trampoline),
        profile=efi.profile,
        runtime=runtime,
        seq=seq,
        calls=calls,
        answer=value,
        image=image,
        gates=tuple(SavedGate(one.name, one.returns_status) for one in efi.gates.services),
        tables=efi.tables.addresses,
        configuration_tables=efi.tables.configuration_tables,
        memmap=efi.start.memory_map,
        memory_map=efi.final_memory_map,
        ranges=tuple(SavedRange(one.name, one.address, one.size) for one in efi.named_ranges()),
        has_virtual_addresses=relocated,
        conversions=tuple((one.event, one.function, one.context, one.tpl) for one in waiting),
        volatile_variables=tuple(efi.volatile_variables) if runtime else (),
        monotonic_count=efi.monotonic_count,
    )


def read_saved(data: object, trampoline: Trampoline, where: str) -> SavedEfi:
    """Return the SavedEfi that the JSON value `data` tells; UsageError when it is none for this pvefi."""
    found = data.get("build") if isinstance(data, dict) else None
    if found != build_of(trampoline):
        raise UsageError(
            f"{where}: expected the state of a guest with this pvefi's trampoline "
            f"{build_of(trampoline)[:12]}, found {str(found)[:12]}",
            "serve it with the pvefi that started it, or start it anew",
        )
    try:
        saved = from_json(SavedEfi, data)
        _check(saved, trampoline)
    except ValueError as error:
        raise UsageError(f"{where}: expected the state of a guest's EFI, found: {error}") from error
    return saved


def _check(saved: SavedEfi, trampoline: Trampoline) -> None:
    """Refuse what no environment ever says of itself; ValueError."""
    if saved.format != FORMAT:
        raise ValueError(f"format {saved.format}, not {FORMAT}")
    if len(saved.gates) > trampoline.symbols["GATE_COUNT"]:
        raise ValueError(
            f"{len(saved.gates)} gates, more than the {trampoline.symbols['GATE_COUNT']} there are"
        )
    if long := next((one.service for one in saved.gates if len(one.service) > _LONGEST_NAME), None):
        raise ValueError(f"a service with the name {long[:_LONGEST_NAME]!r}...")
    stores = saved.answer.stores if saved.answer is not None else ()
    places = {
        **to_json(saved.tables),
        "seq": saved.seq,
        "calls": saved.calls,
        "answer": saved.answer.value if saved.answer is not None else 0,
        **{f"stores[{at}]": one.target for at, one in enumerate(stores)},
        **{f"ranges[{at}]": one.address + max(0, one.size) for at, one in enumerate(saved.ranges)},
    }
    for name, value in places.items():
        if value not in _WORD:
            raise ValueError(f"{name}: {value} is no 64-bit number")
    first, end = trampoline.runtime_arena
    for name in ("runtime_services", "vendor", "configuration", "system_table"):
        if not first <= places[name] < end:
            raise ValueError(
                f"{name}: {places[name]:#x} is outside {first:#x} to {end:#x}, where pvefi has it"
            )
    if saved.runtime and not saved.memory_map:
        raise ValueError("no memory map, though boot services have ended")


def resumed(
    saved: SavedEfi, memory: GuestMemory, trampoline: Trampoline, surroundings: Surroundings
) -> Environment:
    """Return the environment that `saved` is of, in this process; it is one after ExitBootServices.

    Nothing is written to the guest. What only boot services use of it is empty.
    """
    pages = PageMap()
    gates = Gates.given_out(trampoline, [_service(one) for one in saved.gates])
    events = Events(surroundings.clock.monotonic)
    for event, function, context, tpl in saved.conversions:
        events.take_over(
            Notification(event, function, context, tpl), guids.EVENT_GROUP_VIRTUAL_ADDRESS_CHANGE
        )
    efi = Environment(
        physical=memory,
        memory=memory,
        trampoline=trampoline,
        start=_start(saved.memmap),
        profile=saved.profile,
        surroundings=surroundings,
        pages=pages,
        pools=Pools(pages),
        handles=HandleDatabase(),
        events=events,
        keys=Keys(surroundings.typed),
        gates=gates,
        tables=SystemTables.taken_over(memory, saved.tables, saved.configuration_tables),
        boot_arena=Arena(memory, 0, 0),
        runtime_arena=Arena(memory, 0, 0),
        phase=Phase.RUNTIME,
        exit_announced=True,
        has_virtual_addresses=saved.has_virtual_addresses,
        ranges=[NamedRange(one.name, one.address, one.size) for one in saved.ranges],
        final_memory_map=saved.memory_map,
        monotonic_count=saved.monotonic_count,
    )
    for variable in saved.volatile_variables:
        efi.volatile_variables.put(variable)
    return efi


def _service(gate: SavedGate) -> Service[..., Any]:
    """Return the runtime service of a gate; the others do nothing any more, and need no body for that."""
    return SERVICES.get(gate.service) or unimplemented(gate.service, "", returns_status=gate.returns_status)


def _start(memmap: Sequence[HvmMemmapTableEntry]) -> Start:
    """Return what is left of what the machine told the trampoline: its memory map."""
    info = HvmStartInfo(XEN_HVM_START_MAGIC_VALUE, 1, 0, 0, 0, 0, 0, 0, len(memmap))
    return Start(info, tuple(memmap), (), "", None)

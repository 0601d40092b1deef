# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of 32 MiB that is all memory and no CPU: what services see of one, for tests of their bodies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from mmap import mmap
from types import GeneratorType
from typing import Any, cast

from pvefi.efi.environment import Clock, Environment, Surroundings
from pvefi.efi.host_directory import HostDirectory
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.efi.protocols.hypervisor_information import Hypervisor
from pvefi.efi.service import Arguments, EndRun, In, InOut, Out, Text, VarArgs
from pvefi.efi.start import Start, fetch_by_guest, read_start
from pvefi.efi.startup import make_environment
from pvefi.guest.mailbox import Copy, Fill, Upcall
from pvefi.guest.trampoline import load_trampoline
from pvefi.layout import Guid
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.xen.start_info import (
    XEN_HVM_START_MAGIC_VALUE,
    HvmMemmapTableEntry,
    HvmStartInfo,
    MemmapType,
)
from pvefi.trace.events import Address

SIZE = 32 << 20
SCRATCH = 0x100000
"""Guest memory that is free, where tests put what a program would have in its data."""

_START_INFO, _MEMMAP = 0x10000, 0x11000


trampoline = cache(load_trampoline)


def start_of(memory: GuestMemory, address: int) -> Start:
    """Return what hvm_start_info at `address` says, the guest's part of the reading done at once."""
    steps = read_start(fetch_by_guest(memory, trampoline()), address)
    answer = None
    while True:
        try:
            step = next(steps) if answer is None else steps.send(answer)
        except StopIteration as end:
            return cast(Start, end.value)
        assert isinstance(step, Copy)
        memory.write(step.target, memory.read(step.source, step.size))
        answer = 0


class Time:
    """A clock that only goes when somebody idles; `ending` makes every wait end at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1_700_000_000_250_000_000
        self.ending = False

    def idle(self, seconds: float) -> None:
        if not self.ending:
            self.now += seconds


class FakeGuest:
    """A fresh environment on memory, with a stand-in for the guest's CPU.

    `calls` are the upcalls made, function and arguments; `functions` may hold what a guest function does.
    `directory` is served as its volume.
    `typing` is what somebody types from look to look; then nobody will any more.
    """

    def __init__(self, profile: str | Profile = "linux", directory: HostDirectory | None = None) -> None:
        self.time = Time()
        self.memory = GuestMemory([RamBlock(0, memoryview(mmap(-1, SIZE)))])
        for part in trampoline().segments:
            self.memory.write(part.address, part.data)
        self.calls: list[tuple[int, tuple[int, ...]]] = []
        self.functions: dict[int, Callable[..., object]] = {}
        self.typing: list[bytes] = []
        self._next = SCRATCH
        entry = HvmMemmapTableEntry(0, SIZE, MemmapType.RAM)
        self.memory.write(_MEMMAP, entry.pack())
        start = HvmStartInfo(XEN_HVM_START_MAGIC_VALUE, 1, 0, 0, 0, 0, 0, _MEMMAP, 1)
        self.memory.write(_START_INFO, start.pack())
        clock = Clock(idle=self.time.idle, monotonic=lambda: self.time.now, wall=lambda: self.time.wall)
        self.surroundings = Surroundings(
            console=lambda _text: None,
            random=bytes,
            clock=clock,
            initrd=None,
            initrd_by_efi=True,
            image_starts=lambda _: None,
            boot_services_end=lambda: None,
            kernel_may_start=lambda _: None,
            typed=lambda: self.typing.pop(0) if self.typing else None,
            directory=directory,
        )
        self._profile = profile if isinstance(profile, Profile) else PROFILES[profile]
        self.efi: Environment
        self.reset()

    def reset(self) -> None:
        """Give the guest the fresh environment that it finds at its start, and after each reset."""
        nobody = Hypervisor(0, bytes(12))
        self.efi, _ = make_environment(
            self.memory,
            trampoline(),
            start_of(self.memory, _START_INFO),
            nobody,
            self._profile,
            self.surroundings,
        )

    def put(self, data: bytes) -> Address:
        """Return where in the guest's memory `data` now stands."""
        address, self._next = self._next, (self._next + len(data) + 15) & -16
        self.memory.write(address, data)
        return Address(address)

    def guid(self, guid: Guid) -> Address:
        return self.put(guid.wire)

    def named(self, guid: Guid) -> In[Guid]:
        """Return a pointer to a GUID that a body may look at."""
        return In(self.memory, self.guid(guid), Guid.SIZE, None)

    def text(self, text: str) -> Text:
        """Return a pointer to a string in a buffer."""
        return Text(self.memory, self.put(f"{text}\0".encode("utf-16-le", "surrogatepass")))

    def pointer(self, value: int = 0) -> InOut[Address]:
        """Return an InOut of a pointer or handle."""
        return InOut(self.memory, self.put(value.to_bytes(8, "little")), 8, Address)

    def number(self, value: int = 0, size: int = 8) -> InOut[int]:
        """Return an InOut of a number of `size` bytes."""
        return InOut(self.memory, self.put(value.to_bytes(size, "little")), size, int)

    def arguments(self, *words: int, declared: int = 1) -> VarArgs:
        """Return `words` as the further arguments of a function that declares so many."""
        registers = (0,) * declared + words[: 4 - declared]
        rest = b"".join(word.to_bytes(8, "little") for word in words[4 - declared :])
        stack_pointer = self.put(bytes(0x28) + rest + bytes(8)) if rest else 0
        a, b, c, d = (*registers, 0, 0, 0, 0)[:4]
        return VarArgs(Arguments(self.memory, (a, b, c, d), stack_pointer), declared)

    def words(self, address: int, count: int) -> list[int]:
        data = self.memory.read(address, 8 * count)
        return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]

    def run(self, result: Any) -> EndRun | None:
        """Return what a body's steps end with, having done what they ask of the guest's CPU."""
        if not isinstance(result, GeneratorType):
            return result if isinstance(result, EndRun) else None
        answer = None
        while True:
            try:
                step = next(result) if answer is None else result.send(answer)
            except StopIteration as end:
                return end.value if isinstance(end.value, EndRun) else None
            answer = 0
            if isinstance(step, Copy):
                self.memory.write(step.target, self.memory.read(step.source, step.size))
            elif isinstance(step, Fill):
                self.memory.fill(step.target, step.size, step.value)
            elif isinstance(step, Upcall):
                self.calls.append((step.function, step.arguments))
                if step.function in self.functions:
                    self.functions[step.function](*step.arguments)


def value_of(pointer: Out[Any]) -> int:
    """Return what stands in the guest behind `pointer`."""
    return int.from_bytes(pointer.memory.read(pointer.address, pointer.size), "little")

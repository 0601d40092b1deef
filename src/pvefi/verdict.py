# SPDX-License-Identifier: GPL-2.0-or-later
"""How a boot ended: the frozen values between the machine's last stop and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from pvefi.layout import Guid
from pvefi.spec.linux.setup_data import SetupDataType
from pvefi.spec.uefi.memory import MemoryDescriptor
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent

__all__ = [
    "BootResult",
    "ConfigurationTable",
    "Goal",
    "Handoff",
    "Milestone",
    "Outcome",
    "Proof",
    "SegmentMapping",
    "SetupDataNode",
    "Verdict",
    "succeeded",
]


class Goal(StrEnum):
    """Where a kernel's boot is to end."""

    HANDOFF = "handoff"
    """When the kernel proper gets control."""
    USERSPACE = "userspace"
    """When its first process runs."""
    EXIT = "exit"
    """When the guest ends by itself, or the user leaves it."""


class Outcome(Enum):
    """The ways in which a boot ends."""

    NOT_STARTED = "not started"
    """Nothing ran: the image could not be placed in this guest."""

    HANDOFF = "hand-off"
    """The kernel proper got control, proven by its own bytes."""
    EXITED = "exited"
    """The image returned, or called Exit()."""
    POWERED_OFF = "powered off"
    """The guest switched itself off."""
    REBOOTED = "rebooted"
    """The guest asked to be reset."""
    FAULTED = "faulted"
    """The guest's CPU raised an exception that nobody handles, or the guest crashed as Xen sees it."""
    HALTED = "halted"
    """The guest executed HLT with interrupts off: it stopped itself for good."""
    BLOCKED = "blocked"
    """The guest waits for an event that nothing can signal."""
    BAD_REQUEST = "bad request"
    """A doorbell whose mailbox makes no sense, or a service pointer that is no memory of the guest."""
    USER_SPACE = "user space"
    """The kernel runs its first process."""
    PANICKED = "panicked"
    """The kernel has given up, and has said so on its console."""
    LEFT = "left"
    """The user has left the guest's console."""
    DIED = "died"
    """The machine itself is gone, not by the guest's doing."""
    TIMED_OUT = "timed out"
    """The time given by --timeout passed first."""


@dataclass(frozen=True)
class Verdict:
    """How a boot ended, in the user's words; `status` is the image's own EFI status when it gave one."""

    outcome: Outcome
    message: str
    status: EfiStatus | None = None


class Milestone(StrEnum):
    """What every boot passes on its way; not every one passes all."""

    DOORBELL = "first doorbell"
    IMAGE = "image"
    EXIT_BOOT_SERVICES = "ExitBootServices"
    HANDOFF = "hand-off"
    USER_SPACE = "user space"


@dataclass(frozen=True)
class Proof:
    """The bytes that identify the code at the instruction pointer.

    `address` is guest physical; `file_offset` is the place of the same bytes in the vmlinux inside the image;
    `expected` is how it was linked; `found` may differ in fields relocated by `virtual_slide` bytes, which is
    None where no field was relocated among these bytes: they then tell nothing of virtual addresses.
    """

    address: int
    file_offset: int
    expected: bytes
    found: bytes
    linked_address: int
    virtual_slide: int | None

    @property
    def slide(self) -> int:
        """How far KASLR or relocation moved the kernel physically, in bytes."""
        return self.address - self.linked_address


@dataclass(frozen=True)
class ConfigurationTable:
    """One EFI_CONFIGURATION_TABLE entry; `address` is guest physical."""

    guid: Guid
    address: int


@dataclass(frozen=True)
class SetupDataNode:
    """One node of boot_params' setup_data list at `address` (guest physical), with the start of its data.

    `size` is that of all its data, in bytes.
    """

    address: int
    type: SetupDataType
    size: int
    data: bytes


@dataclass(frozen=True)
class SegmentMapping:
    """What the kernel may do with one segment of its vmlinux at the hand-off, by the page tables in force.

    `address` is where it stands, guest physical, `size` in bytes. `linked` are the permissions it was linked
    for, such as "r-x". The others count bytes: those mapped at their physical address, and those of them that
    can be written, executed, and both at once.
    """

    address: int
    size: int
    linked: str
    mapped: int
    writable: int
    executable: int
    both: int


@dataclass(frozen=True)
class Handoff:
    """The moment the kernel proper gets control, with what it was given.

    `kernel_start` names the place at which the kernel proper was entered, `kernel_entry` is its guest
    physical address; the hand-off is shown at startup_64 always, which `proof` proves. `registers` are the
    general registers, rip, rflags, cr0, cr3, cr4 and efer by lower-case name.
    `boot_params` are the 4096 bytes of the zero page at `boot_params_address` (guest physical).
    `memory_map` is the EFI memory map as it stood at ExitBootServices. `runtime_map` is the one that
    boot_params.efi_info leads to, where that has virtual addresses, as only a kexec leaves them.
    `mapping` is how the kernel's own segments are mapped; empty where paging is off.
    """

    decompressor: str
    kernel_start: str
    kernel_entry: int
    proof: Proof
    registers: Mapping[str, int]
    boot_params_address: int
    boot_params: bytes
    command_line: str
    initrd_address: int
    initrd_size: int
    initrd_sha256: str
    memory_map: tuple[MemoryDescriptor, ...]
    configuration_tables: tuple[ConfigurationTable, ...]
    setup_data: tuple[SetupDataNode, ...] = ()
    runtime_map: tuple[MemoryDescriptor, ...] = ()
    mapping: tuple[SegmentMapping, ...] = ()


@dataclass(frozen=True)
class BootResult:
    """Everything a report needs of one boot; times are in seconds of wall clock.

    `profile` is empty where it was not pvefi that entered the image. `machine_about` is what the machine is
    in detail. `seconds` runs from the machine's start to the guest's
    end, `milestones` are the times from the start at which the last boot passed them; `host_seconds` is the
    part of it all spent outside the machine's CPU, answering. `restarts` counts the guest's resets.
    `calls` are those that were kept, of the `calls_made` in all: one who makes very many loses some from the
    middle. Instruction counts are None when not counted: `instructions` from the first instruction to the
    end, `instructions_to_image` to the image's first. `faults` were injected into its calls.
    """

    image: str
    image_sha256: str
    machine: str
    machine_about: str
    entry: str
    profile: str
    memory_size: int
    cpus: int
    command_line: str
    initrd: str
    variables: str
    esp: str
    boot_info: str
    seed: int | None
    goal: Goal
    verdict: Verdict
    handoff: Handoff | None
    calls: tuple[CallEvent, ...]
    calls_made: int
    seconds: float
    milestones: Mapping[Milestone, float]
    restarts: int
    host_seconds: float
    instructions: int | None
    instructions_to_image: int | None
    faults: tuple[str, ...] = ()


def succeeded(result: BootResult) -> bool:
    """Whether the guest did what it was started for: reached the goal, or ended with EFI_SUCCESS before it.

    Where a first process is wanted, that is no success: Xen ends so when it cannot go on.
    """
    outcome = result.verdict.outcome
    if outcome is Outcome.EXITED:
        return result.verdict.status == EfiStatus.SUCCESS and result.goal is not Goal.USERSPACE
    if outcome in (Outcome.POWERED_OFF, Outcome.REBOOTED):
        return result.goal is Goal.EXIT
    return outcome in (Outcome.HANDOFF, Outcome.USER_SPACE, Outcome.LEFT)

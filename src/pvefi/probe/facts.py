# SPDX-License-Identifier: GPL-2.0-or-later
"""What a probe found out about its boot, as values: the typed form of the facts that `init` prints.

A fact that was not asked for is None. Sizes are in bytes. `reading` makes these values of console text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pvefi.probe.lines import ProbeBoot
from pvefi.probe.messages import KernelMessage

__all__ = [
    "BlockDevice",
    "ClockFacts",
    "CommandFacts",
    "CountFacts",
    "EfiFacts",
    "FirmwareRange",
    "ParallelFacts",
    "ProbeFacts",
    "RuntimeRange",
    "SetupData",
    "SystemFacts",
    "VariableFacts",
    "VariableStep",
]


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """/proc and /sys on the whole; what the kernel lacks is None."""

    version: str
    command_line: str
    uptime: float
    memory_size: int
    tainted: int
    cpus_online: str
    cpu: tuple[str, ...]
    clock_source: str | None
    hypervisor: str | None
    dmi: Mapping[str, str | None]
    acpi_tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuntimeRange:
    """One folder of /sys/firmware/efi/runtime-map."""

    type: int
    physical_address: int
    virtual_address: int
    pages: int
    attribute: int


@dataclass(frozen=True, slots=True)
class EfiFacts:
    """/sys/firmware/efi; addresses are physical."""

    present: bool
    entries: tuple[str, ...]
    platform_size: int | None
    vendor_address: int | None
    runtime_address: int | None
    config_table_address: int | None
    system_tables: Mapping[str, int]
    runtime_map: tuple[RuntimeRange, ...]


@dataclass(frozen=True, slots=True)
class SetupData:
    """One folder of /sys/kernel/boot_params/setup_data."""

    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FirmwareRange:
    """One folder of /sys/firmware/memmap; `end` is the last byte."""

    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """Seconds since 1970 by the kernel and by the real-time clock it chose, and the driver of that."""

    seconds: int
    rtc_name: str | None
    rtc_seconds: int | None
    rtcs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """One of /sys/block."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class VariableStep:
    """One thing done to a variable: whether it went well, and what was there then (None: no variable)."""

    name: str
    done: bool
    attributes: int | None
    value: bytes | None
    error: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VariableFacts:
    """efivarfs: the names there were before, the steps, and what of the probe's own was left."""

    mounted: bool
    names: tuple[str, ...]
    steps: tuple[VariableStep, ...]
    left: tuple[str, ...]
    problems: tuple[str, ...]

    def step(self, name: str) -> VariableStep:
        """Return the step of this name; KeyError when there was none."""
        return {step.name: step for step in self.steps}[name]


@dataclass(frozen=True, slots=True)
class ParallelFacts:
    """Two writers at once: how often each read back what it had not written (None: it never ran)."""

    mounted: bool
    rounds: int
    wrong: tuple[int | None, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CountFacts:
    """A non-volatile counter: what it was before this boot, and how counting it up went."""

    mounted: bool
    before: int
    steps: tuple[VariableStep, ...]


@dataclass(frozen=True, slots=True)
class CommandFacts:
    """What one command of a script came to."""

    status: int
    output: bytes
    error: bytes


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """All that one boot said; `script` has the commands that came to an end, by their names."""

    boot: ProbeBoot
    system: SystemFacts | None
    efi: EfiFacts | None
    zero_page: bytes | None
    setup_data: tuple[SetupData, ...] | None
    memory_map: tuple[FirmwareRange, ...] | None
    iomem: tuple[str, ...] | None
    messages: tuple[KernelMessage, ...] | None
    log: tuple[KernelMessage, ...] | None
    clock: ClockFacts | None
    blocks: tuple[BlockDevice, ...] | None
    variables: VariableFacts | None
    parallel: ParallelFacts | None
    count: CountFacts | None
    script: Mapping[str, CommandFacts]

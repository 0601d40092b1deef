# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes typed facts of the JSON that the probe printed.

The probe runs in the guest: a fact of another form than `init` gives it is ProbeError, never a wrong value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pvefi.probe.facts import (
    BlockDevice,
    ClockFacts,
    CommandFacts,
    CountFacts,
    EfiFacts,
    FirmwareRange,
    ParallelFacts,
    ProbeFacts,
    RuntimeRange,
    SetupData,
    SystemFacts,
    VariableFacts,
    VariableStep,
)
from pvefi.probe.fields import Fields, ProbeError
from pvefi.probe.lines import ProbeBoot, probe_boots
from pvefi.probe.messages import KernelMessage, kernel_messages

__all__ = ["probe_facts", "read_facts"]

_SECTOR_SIZE = 512
"""Linux Documentation/block/stat.rst: the size of a block device is told in these units."""
_KIB = 1024
_ATTRIBUTES_SIZE = 4
"""Linux Documentation/filesystems/efivarfs.rst: a file begins with the variable's attributes."""

_SCRIPT = "script "
"""What the names of a script's facts begin with; then comes the name of a file, NUMBER-NAME."""

T = TypeVar("T")


def probe_facts(console: bytes) -> ProbeFacts:
    """Return the facts of the last boot on this console; ProbeError when user space never came up."""
    boots = probe_boots(console)
    if not boots:
        raise ProbeError("expected the line `PVEFI-PROBE up` on the console, found none")
    return read_facts(boots[-1])


def read_facts(boot: ProbeBoot) -> ProbeFacts:
    """Return the facts of one boot; ProbeError when a line is damaged or of another form."""
    if boot.damaged:
        raise ProbeError(f"expected whole lines of the probe, found {boot.damaged} with a wrong sum")

    def fact(name: str, read: Callable[[Fields], T]) -> T | None:
        return read(Fields(name, boot.facts[name])) if name in boot.facts else None

    return ProbeFacts(
        boot=boot,
        system=fact("system", _system),
        efi=fact("efi", _efi),
        zero_page=fact("zeropage", lambda given: given.data("data")),
        setup_data=fact("zeropage", _setup_data),
        memory_map=fact("memmap", _memory_map),
        iomem=fact("iomem", lambda given: given.texts("lines")),
        messages=fact("messages", _messages),
        log=fact("log", _messages),
        clock=fact("clock", _clock),
        blocks=fact("devices", _blocks),
        variables=fact("efivars", _variables),
        parallel=fact("parallel", _parallel),
        count=fact("count", _count),
        script={
            name.partition("-")[2]: _command(Fields(name, given))
            for name, given in boot.facts.items()
            if name.startswith(_SCRIPT)
        },
    )


def _messages(given: Fields) -> tuple[KernelMessage, ...]:
    return kernel_messages(given.texts("lines"))


def _system(given: Fields) -> SystemFacts:
    dmi = given.inner("dmi")
    return SystemFacts(
        version=given.text("version"),
        command_line=given.text("cmdline"),
        uptime=given.decimal("uptime"),
        memory_size=given.number_in("memory", r"MemTotal: +(\d+) kB") * _KIB,
        tainted=given.integer("tainted"),
        cpus_online=given.inner("cpus").text("online"),
        cpu=given.texts("cpuinfo"),
        clock_source=given.optional_text("clocksource"),
        hypervisor=given.optional_text("hypervisor"),
        dmi={name: dmi.optional_text(name) for name in dmi.names()},
        acpi_tables=given.texts("acpi"),
    )


def _efi(given: Fields) -> EfiFacts:
    files = given.inner("files")
    return EfiFacts(
        present=given.flag("present"),
        entries=given.texts("entries"),
        platform_size=files.optional_integer("fw_platform_size"),
        vendor_address=files.optional_integer("fw_vendor"),
        runtime_address=files.optional_integer("runtime"),
        config_table_address=files.optional_integer("config_table"),
        system_tables=given.assignments("systab"),
        runtime_map=tuple(
            RuntimeRange(
                type=place.integer("type"),
                physical_address=place.integer("phys_addr"),
                virtual_address=place.integer("virt_addr"),
                pages=place.integer("num_pages"),
                attribute=place.integer("attribute"),
            )
            for place in given.list("runtime_map")
        ),
    )


def _setup_data(given: Fields) -> tuple[SetupData, ...]:
    return tuple(SetupData(data.integer("type"), data.data("data")) for data in given.list("setup_data"))


def _memory_map(given: Fields) -> tuple[FirmwareRange, ...]:
    return tuple(
        FirmwareRange(place.integer("start"), place.integer("end"), place.text("type"))
        for place in given.list("ranges")
    )


def _clock(given: Fields) -> ClockFacts:
    rtc = given.inner("rtc")
    return ClockFacts(
        seconds=given.integer("seconds"),
        rtc_name=rtc.optional_text("name"),
        rtc_seconds=rtc.optional_integer("since_epoch"),
        rtcs=given.texts("rtcs"),
    )


def _blocks(given: Fields) -> tuple[BlockDevice, ...]:
    return tuple(
        BlockDevice(block.text("name"), block.integer("sectors") * _SECTOR_SIZE)
        for block in given.list("blocks")
    )


def _steps(given: Fields) -> tuple[VariableStep, ...]:
    return tuple(_step(step) for step in given.list("steps"))


def _step(given: Fields) -> VariableStep:
    data = given.optional_data("value")
    return VariableStep(
        name=given.text("step"),
        done=given.integer("status") == 0,
        attributes=int.from_bytes(data[:_ATTRIBUTES_SIZE], "little") if data else None,
        value=data[_ATTRIBUTES_SIZE:] if data else None,
        error=given.texts("error"),
    )


def _variables(given: Fields) -> VariableFacts:
    return VariableFacts(
        mounted=given.flag("mounted"),
        names=given.texts("names"),
        steps=_steps(given),
        left=given.texts("left"),
        problems=given.texts("problems"),
    )


def _parallel(given: Fields) -> ParallelFacts:
    return ParallelFacts(
        given.flag("mounted"),
        given.integer("rounds"),
        given.optional_integers("wrong"),
        given.texts("problems"),
    )


def _count(given: Fields) -> CountFacts:
    return CountFacts(given.flag("mounted"), given.integer("before"), _steps(given))


def _command(given: Fields) -> CommandFacts:
    return CommandFacts(given.integer("status"), given.data("output"), given.data("error"))

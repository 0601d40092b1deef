# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures and tables of boots in QEMU, made of what the measurements gave: pure, as `figures` is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from bench.figures import Figure, Table
from bench.small_programs import BEFORE_THE_COUNTER

__all__ = ["HostSample", "QemuBoot", "QemuSamples", "qemu_figures_of", "qemu_tables_of"]

MACHINES = ("q35", "pc", "microvm")
WAYS = ("efi", "linux64", "pvh", "qemu-linux", "qemu-pvh", "ovmf")
DOORBELL, IMAGE, EXIT, USER_SPACE = "first doorbell", "image", "ExitBootServices", "user space"
_MILESTONES = (DOORBELL, IMAGE, EXIT, USER_SPACE)
_FIRMWARE = {"auto": "the quickest", "qboot": "qboot", "seabios": "SeaBIOS"}


@dataclass(frozen=True)
class QemuBoot:
    """One boot in a process of its own; `milestones` are seconds from QEMU's start, `round_trips` us.

    `status` is what a program ended with; `lasting_memory` is in bytes.
    """

    machine: str
    way: str
    firmware: str
    profile: str
    outcome: str
    milestones: Mapping[str, float]
    round_trips: Sequence[float]
    status: int | None
    lasting_memory: int | None


@dataclass(frozen=True)
class HostSample:
    """A process `pvefi boot` beside its guest.

    `seconds` is from exec to user space; `idle_share` is the part of a CPU that it takes later, in percent.
    """

    seconds: float
    anonymous_memory: int
    idle_share: float


@dataclass(frozen=True)
class QemuSamples:
    """Everything that one run of the bench measured in QEMU; each of `rounds` has a boot of several kinds."""

    rounds: tuple[tuple[QemuBoot, ...], ...] = ()
    busy: tuple[QemuBoot, ...] = ()
    start_counts: tuple[QemuBoot, ...] = ()
    gate_counts: tuple[QemuBoot, ...] = ()
    lasting: tuple[QemuBoot, ...] = ()
    hosts: tuple[HostSample, ...] = ()


def qemu_figures_of(samples: QemuSamples) -> list[Figure]:
    """Return the figures in the order of the documentation."""
    boots = [boot for found in samples.rounds for boot in found]
    efi = _of(boots, "q35", "efi")
    return [
        Figure(
            "efi-against-qemu-linux",
            "q35: efi to QEMU's bzImage loader",
            "x",
            0.95,
            _ratios(samples.rounds, "qemu-linux"),
            "time to user space, ratio of two runs of one round: the same kernel, initrd and command line",
            at_most=True,
        ),
        Figure(
            "efi-against-ovmf",
            "q35: efi to OVMF",
            "x",
            0.45,
            _ratios(samples.rounds, "ovmf"),
            "the same with OVMF",
            at_most=True,
        ),
        Figure(
            "first-doorbell",
            "microvm: start to first doorbell",
            "ms",
            35,
            tuple(1e3 * boot.milestones[DOORBELL] for boot in _of(boots, "microvm", "efi")),
            "from before the process is made until the host has seen the trampoline's call",
            at_most=True,
        ),
        *(
            Figure(
                f"instructions-to-image-{machine}",
                f"{machine}: instructions before the image's first",
                "",
                2000,
                tuple(
                    float(boot.status + BEFORE_THE_COUNTER)
                    for boot in samples.start_counts
                    if boot.machine == machine and boot.status
                ),
                "from the trampoline's first; exact, by an image that reads the counter of --deterministic",
                at_most=True,
            )
            for machine in ("q35", "microvm")
        ),
        Figure(
            "gate-instructions",
            "a gate's own instructions",
            "",
            60,
            tuple(float(boot.status) for boot in samples.gate_counts if boot.status),
            "RaiseTPL between two readings of that counter, less what reading takes; its ret is in it",
            at_most=True,
        ),
        *(
            Figure(
                f"round-trip-{machine}",
                f"{machine}: round trip for the guest",
                "us",
                60,
                tuple(median(boot.round_trips) for boot in samples.busy if boot.machine == machine),
                "doorbell to answer by the guest's counter; median of 2,000 calls of a program, AllocatePool "
                "and FreePool in turn",
                at_most=True,
            )
            for machine in ("q35", "microvm")
        ),
        Figure(
            "round-trip-boot",
            "the same in a kernel's boot",
            "us",
            None,
            tuple(median(boot.round_trips) for boot in efi if boot.round_trips),
            "no target: some fifty calls, most of them the first of their kind",
        ),
        Figure(
            "lasting-memory-linux",
            "EFI memory that stays, linux",
            "KiB",
            64,
            _lasting(samples.lasting, "linux"),
            "runtime services' memory in the last memory map, without what a kernel's stub takes for itself",
            at_most=True,
        ),
        Figure(
            "lasting-memory-minimal",
            "the same, minimal",
            "KiB",
            0,
            _lasting(samples.lasting, "minimal"),
            "Linux frees what was boot services' when it has its own page tables",
            at_most=True,
        ),
        Figure(
            "host-memory",
            "pvefi beside its guest, RssAnon",
            "MB",
            120,
            tuple(host.anonymous_memory / 1e6 for host in samples.hosts),
            "RssAnon of the process while the guest idles in user space",
            at_most=True,
        ),
        Figure(
            "host-idle",
            "the same, CPU when idle",
            "%",
            0.5,
            tuple(host.idle_share for host in samples.hosts),
            "of one CPU, over seconds in which the guest waits; met below half a percent",
        ),
    ]


def qemu_tables_of(samples: QemuSamples) -> list[Table]:
    """Return what has no target: how long each way takes on each machine, and where the time goes."""
    boots = [boot for found in samples.rounds for boot in found]
    tables = [
        Table(
            "Seconds to user space, median of interleaved runs (lowest to highest)",
            ("way", *MACHINES),
            tuple((way, *(_seconds(_of(boots, machine, way)) for machine in MACHINES)) for way in WAYS),
        ),
        Table(
            "Milestones of the entry efi, ms after QEMU's start",
            ("machine", "firmware", *_MILESTONES),
            tuple(
                (machine, _FIRMWARE[firmware], *(_milliseconds(found, name) for name in _MILESTONES))
                for machine in MACHINES
                for firmware in _FIRMWARE
                if (found := _of(boots, machine, "efi", firmware))
            ),
        ),
    ]
    trips = [trip for boot in _of(boots, "q35", "efi") for trip in boot.round_trips]
    if len(trips) > 1:
        tenths = quantiles(trips, n=10)
        calls = round(len(trips) / len(_of(boots, "q35", "efi")))
        tables.append(
            Table(
                "Round trips of a kernel's boot on q35 as the guest sees them, us",
                ("calls a boot", "10 %", "50 %", "90 %"),
                ((str(calls), *(f"{tenths[at]:,.0f}" for at in (0, 4, 8))),),
            )
        )
    if samples.hosts:
        tables.append(
            Table(
                "The whole process, pvefi boot on q35",
                ("exec to user space, s",),
                ((_spread([host.seconds for host in samples.hosts]),),),
            )
        )
    return tables


def _of(boots: Iterable[QemuBoot], machine: str, way: str, firmware: str = "auto") -> list[QemuBoot]:
    return [boot for boot in boots if (boot.machine, boot.way, boot.firmware) == (machine, way, firmware)]


def _ratios(rounds: Iterable[Iterable[QemuBoot]], other: str) -> tuple[float, ...]:
    """Return for each round that has both the time of efi on q35, as a multiple of `other`."""
    ratios = []
    for found in map(list, rounds):
        ours, theirs = _of(found, "q35", "efi"), _of(found, "q35", other)
        if ours and theirs:
            ratios.append(ours[0].milestones[USER_SPACE] / theirs[0].milestones[USER_SPACE])
    return tuple(ratios)


def _lasting(boots: Iterable[QemuBoot], profile: str) -> tuple[float, ...]:
    return tuple(
        boot.lasting_memory / 1024
        for boot in boots
        if boot.profile == profile and boot.lasting_memory is not None
    )


def _seconds(boots: Sequence[QemuBoot]) -> str:
    return _spread([boot.milestones[USER_SPACE] for boot in boots]) if boots else "-"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _milliseconds(boots: Sequence[QemuBoot], name: str) -> str:
    values = [boot.milestones[name] for boot in boots if name in boot.milestones]
    return f"{1e3 * median(values):,.0f}" if values else "-"

# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of domains on Xen, made of what the measurements gave: pure, as `figures` is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.figures import Figure, Table

__all__ = ["ProcessSample", "RingSample", "XenBoot", "XenSamples", "xen_figures_of", "xen_tables_of"]

USER_SPACE = "user space"
_MILESTONES = ("first doorbell", "image", "ExitBootServices", USER_SPACE)


@dataclass(frozen=True)
class XenBoot:
    """One boot of a domain in a process of its own; `milestones` are seconds from the start of xl."""

    entry: str
    milestones: dict[str, float]
    host_seconds: float


@dataclass(frozen=True)
class RingSample:
    """Microseconds from one request of a guest to the next, all taken in one process in dom0, in turn.

    `doorbell_us` is of a doorbell that asks for RaiseTPL, `no_service_us` of one whose answer is known
    beforehand; `firmware_us` is what pvefi's firmware takes of a doorbell. `bare_us` is of a write to a port
    by the same program, answered by the shortest loop over Xen's libraries that waits for each event, and
    `bare_looked_us` by one that looks for the next request before it waits, as pvefi does. `bare_flat_us` is
    of a guest without paging that only writes, the event waited for.
    """

    bare_flat_us: float
    bare_us: float
    bare_looked_us: float
    doorbell_us: float
    no_service_us: float
    firmware_us: float


@dataclass(frozen=True)
class ProcessSample:
    """The processes of `pvefi serve` beside `domains` guests in user space. Sizes are in bytes.

    `cpu_seconds` and `switches`, voluntary ones, are those of `watched_seconds` in which no guest called a
    runtime service; `call_switches` of the time in which each of the guests did.
    """

    domains: int
    resident: int
    anonymous: int
    cpu_seconds: float
    switches: int
    watched_seconds: float
    call_switches: int


@dataclass(frozen=True)
class XenSamples:
    """Everything that one run of the bench measured on Xen; each of `rounds` has a boot by each entry."""

    rounds: tuple[tuple[XenBoot, ...], ...] = ()
    rings: tuple[RingSample, ...] = ()
    alone: tuple[ProcessSample, ...] = ()
    together: tuple[ProcessSample, ...] = ()


def xen_figures_of(samples: XenSamples) -> list[Figure]:
    """Return the figures in the order of the documentation."""
    alone, together = samples.alone, samples.together
    return [
        Figure(
            "xen-user-space",
            "domU to user space, efi to its PVH note",
            "x",
            1.25,
            tuple(ratio for found in samples.rounds if (ratio := _ratio(found)) is not None),
            "from xl create to the first process, by both entries in turn in one dom0; Xen 4.17 in QEMU",
            at_most=True,
        ),
        Figure(
            "xen-doorbell",
            "a doorbell on Xen to a bare ioreq",
            "x",
            1.2,
            tuple(one.doorbell_us / one.bare_us for one in samples.rings),
            "RaiseTPL over and over, from one request to the next; in turn with it the same program writes "
            "to a port, answered by the shortest Python loop over Xen's libraries that waits for each event",
            at_most=True,
        ),
        Figure(
            "xen-doorbell-looked",
            "the same to a bare ioreq that is looked for",
            "x",
            None,
            tuple(one.doorbell_us / one.bare_looked_us for one in samples.rings),
            "no target: the bare loop, too, looks for the next request before it waits for its event",
        ),
        Figure(
            "xen-doorbell-no-service",
            "the same without a service",
            "x",
            None,
            tuple(one.no_service_us / one.bare_us for one in samples.rings),
            "no target: mailbox, poll and loop alone, the answer known beforehand",
        ),
        Figure(
            "xen-memory",
            "resident memory of the device model",
            "MB",
            60,
            tuple(one.resident / 1e6 for one in alone),
            "VmRSS of pvefi serve beside one guest in user space, supervisor and worker",
            at_most=True,
        ),
        Figure(
            "xen-memory-more",
            "the same, each further domain",
            "MB",
            20,
            tuple(
                (more.resident - one.resident) / 1e6 / (more.domains - one.domains)
                for one, more in zip(alone, together, strict=False)
            ),
            "one pvefi serve for two domains, less that for one",
            at_most=True,
        ),
        Figure(
            "xen-idle-switches",
            "wake-ups in dom0 after ExitBootServices",
            "",
            0,
            tuple(float(one.switches) for one in alone),
            "voluntary context switches of all threads of pvefi serve while its guest is in user space and "
            "calls no service; their CPU time is in the table",
            at_most=True,
        ),
    ]


def _ratio(found: Sequence[XenBoot]) -> float | None:
    """Return the time of efi as a multiple of that by the PVH note; None where one was not taken."""
    times = {boot.entry: boot.milestones[USER_SPACE] for boot in found}
    return times["efi"] / times["xen-pvh"] if {"efi", "xen-pvh"} <= times.keys() else None


def xen_tables_of(samples: XenSamples) -> list[Table]:
    """Return what has no target: what the ratios are of."""
    tables = []
    if boots := [boot for found in samples.rounds for boot in found]:
        entries = tuple(dict.fromkeys(boot.entry for boot in boots))
        tables.append(
            Table(
                "Boots of a domU, s after xl create",
                ("entry", *_MILESTONES, "of it on the host side"),
                tuple(_boot_row(entry, [boot for boot in boots if boot.entry == entry]) for entry in entries),
            )
        )
    if samples.rings:
        tables.append(
            Table(
                "Round trips on Xen, us in dom0",
                (
                    "bare ioreq, no paging",
                    "bare ioreq",
                    "bare ioreq, looked for",
                    "doorbell, no service",
                    "doorbell, RaiseTPL",
                    "of it in the firmware",
                    "of it in pvefi",
                ),
                (
                    (
                        _us(one.bare_flat_us for one in samples.rings),
                        _us(one.bare_us for one in samples.rings),
                        _us(one.bare_looked_us for one in samples.rings),
                        _us(one.no_service_us for one in samples.rings),
                        _us(one.doorbell_us for one in samples.rings),
                        _us(one.firmware_us for one in samples.rings),
                        f"{median(_share(one) for one in samples.rings):.0f} %",
                    ),
                ),
            )
        )
    if processes := (*samples.alone, *samples.together):
        tables.append(
            Table(
                "pvefi serve, its guests in user space",
                ("domains", "VmRSS, MB", "RssAnon, MB", "watched, s", "CPU, ms", "switches", "at a call"),
                tuple(_process_row(one) for one in processes),
            )
        )
    return tables


def _share(one: RingSample) -> float:
    """Return the part of a doorbell's time that a bare ioreq does not take, in percent."""
    return 100 * (one.doorbell_us - one.bare_us) / one.doorbell_us


def _us(values: Iterable[float]) -> str:
    return f"{median(values):,.0f}"


def _boot_row(entry: str, boots: Sequence[XenBoot]) -> tuple[str, ...]:
    found = ([boot.milestones[name] for boot in boots if name in boot.milestones] for name in _MILESTONES)
    times = (f"{median(one):.2f}" if one else "-" for one in found)
    return (entry, *times, f"{median(boot.host_seconds for boot in boots):.2f}")


def _process_row(one: ProcessSample) -> tuple[str, ...]:
    return (
        str(one.domains),
        f"{one.resident / 1e6:.1f}",
        f"{one.anonymous / 1e6:.1f}",
        f"{one.watched_seconds:.0f}",
        f"{1e3 * one.cpu_seconds:.0f}",
        str(one.switches),
        str(one.call_switches),
    )

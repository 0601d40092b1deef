# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether QEMU works here: its machine types and accelerators, each tried with a guest of 256 bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import MachineError
from pvefi.machines.qemu.accelerator import Accelerator, Trial, decide, try_kvm, try_tcg
from pvefi.machines.qemu.installation import Installation, accelerators, data_files, find_qemu, machine_types
from pvefi.machines.qemu.ovmf import Ovmf, find_ovmf
from pvefi.machines.qemu.speed import measure

__all__ = ["FIRMWARE", "MACHINE_TYPES", "QemuSurvey", "TypeTrial", "survey_qemu"]

MACHINE_TYPES = ("q35", "pc", "microvm")
FIRMWARE = ("bios-256k.bin", "bios-microvm.bin")
"""What QEMU starts on q35 and pc, and on microvm (SeaBIOS or qboot), before it enters what -kernel names."""

_SECONDS = 5.0


@dataclass(frozen=True)
class TypeTrial:
    """Whether a guest ran on a machine type, and if not, why."""

    name: str
    works: bool
    problem: str = ""


@dataclass(frozen=True)
class QemuSurvey:
    """What is known of QEMU here; all below `qemu` is about that one.

    `trials` are those of the accelerators, `choice` is what `--accel auto` takes.
    """

    works: bool
    problem: str = ""
    way_out: str = ""
    qemu: Installation | None = None
    built_in: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()
    choice: Accelerator | None = None
    machine_types: tuple[TypeTrial, ...] = ()
    firmware: tuple[tuple[str, Path | None], ...] = ()
    ovmf: Ovmf | None = None
    ovmf_problem: str = ""
    ovmf_way_out: str = ""


def survey_qemu(asked: str | None = None) -> QemuSurvey:
    """Try the QEMU of this host, or the one asked for; every failure is told, none is raised."""
    qemu: Installation | None = None
    try:
        qemu = find_qemu(asked)
        return _surveyed(qemu)
    except MachineError as error:
        return QemuSurvey(False, error.message, error.way_out, qemu)


def _surveyed(qemu: Installation) -> QemuSurvey:
    known = machine_types(qemu)
    present = [name for name in MACHINE_TYPES if name in known]
    if not present:
        raise MachineError(
            f"{qemu.program} has none of the machines {', '.join(MACHINE_TYPES)}: it is not for x86-64",
            "give another one by --qemu FILE",
        )
    built_in = accelerators(qemu)
    kvm, tcg = _trials(qemu, present[0], built_in)
    choice = decide(kvm, tcg) if kvm.runs or tcg.runs else None
    types = tuple(_types(qemu, present, choice))
    found = data_files(qemu, FIRMWARE)
    ovmf, problem, way_out = _ovmf()
    working = [trial.name for trial in types if trial.works]
    return QemuSurvey(
        works=bool(working),
        problem="" if working else f"no guest runs: {tcg.refusal or types[0].problem}",
        qemu=qemu,
        built_in=tuple(sorted(built_in)),
        trials=(kvm, tcg),
        choice=choice,
        machine_types=types,
        firmware=tuple((name, found.get(name)) for name in FIRMWARE),
        ovmf=ovmf,
        ovmf_problem=problem,
        ovmf_way_out=way_out,
    )


def _trials(qemu: Installation, machine_type: str, built_in: frozenset[str]) -> tuple[Trial, Trial]:
    """Return what came of KVM and of TCG; what is not built in is not run."""
    lacking = {
        name: Trial(name, refusal=f"this QEMU is built without {name.upper()}") for name in ("kvm", "tcg")
    }
    kvm = try_kvm(qemu, machine_type) if "kvm" in built_in else lacking["kvm"]
    tcg = try_tcg(qemu, machine_type) if "tcg" in built_in else lacking["tcg"]
    return kvm, tcg


def _types(qemu: Installation, present: list[str], choice: Accelerator | None) -> Iterator[TypeTrial]:
    for name in MACHINE_TYPES:
        if name not in present:
            yield TypeTrial(name, False, "this QEMU is built without it")
        elif choice is None:
            yield TypeTrial(name, False, "no accelerator runs")
        else:
            try:
                measure(qemu, name, ("-accel", choice.name, "-cpu", choice.cpu), _SECONDS)
            except MachineError as error:
                yield TypeTrial(name, False, error.message)
            else:
                yield TypeTrial(name, True)


def _ovmf() -> tuple[Ovmf | None, str, str]:
    try:
        return find_ovmf(), "", ""
    except MachineError as error:
        return None, error.message, error.way_out

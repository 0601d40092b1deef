# SPDX-License-Identifier: GPL-2.0-or-later
"""What an evaluation is to run: from images and wishes to tasks in order, and to what cannot be run and why.

Pure: nothing is read here, and nothing asked of the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pvefi.entries import ENTRIES
from pvefi.evaluate.run import Gap, ImageFacts
from pvefi.evaluate.task import FileRef, Problem, Task, TaskKind
from pvefi.image import EntryKind
from pvefi.machines import ForeignWay
from pvefi.profile_file import profile_from_text

__all__ = ["MACHINES", "WAYS", "Plan", "Wish", "make_plan"]

MACHINES = ("embedded", "qemu", "xen")
"""The machines of an evaluation, in the order of its reports."""

_OURS = tuple(ENTRIES)
_FOREIGN: Mapping[str, tuple[ForeignWay, ...]] = {
    "embedded": (),
    "qemu": (ForeignWay.LINUX, ForeignWay.PVH, ForeignWay.OVMF),
    "xen": (ForeignWay.XEN_PVH, ForeignWay.XEN_PV),
}
WAYS = (*_OURS, *(way.value for ways in _FOREIGN.values() for way in ways))
"""What `--entries` takes: pvefi's entries, and who else can boot an image, for comparison."""

_RANKS = (TaskKind.COUNT, TaskKind.FACTS, TaskKind.HANDOFF, TaskKind.USERSPACE)
"""What starts first within a round: what takes longest, so that nobody waits for it at the end."""


@dataclass(frozen=True)
class Wish:
    """What is asked of an evaluation; None for `entries` and `machines` is all that there are.

    Every timed boot runs `repeat` times. `timeout` is in seconds of wall clock, for each boot.
    """

    entries: tuple[str, ...] | None = None
    machines: tuple[str, ...] | None = None
    initrd: FileRef | None = None
    command_line: str | None = None
    repeat: int = 3
    memory_size: int = 512 << 20
    profile: str = "linux"
    seed: int | None = None
    timeout: float = 300.0
    machine_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The tasks in the order in which they start, and what is missing."""

    tasks: tuple[Task, ...]
    gaps: tuple[Gap, ...]


def make_plan(images: Sequence[ImageFacts], wish: Wish, lacking: Mapping[str, str]) -> Plan:
    """Return what is to run; `lacking` says why a machine, or one of ForeignWay, cannot be had.

    Repetitions are interleaved: every boot runs for the first time before one runs for the second.
    """
    gaps = list(_machine_gaps(wish, lacking))
    machines = [name for name in wish.machines or MACHINES if name not in lacking]
    tasks: list[Task] = []
    everywhere = frozenset(way for image in images for way in image.ways)
    for image in images:
        gaps += _image_gaps(image, wish, machines, everywhere)
        for machine in machines:
            for way in _ways(image, machine, wish):
                if why := _hindrance(way, wish, lacking):
                    gaps.append(_gap(f"{image.file.name}: {way} on {machine}", why, asked=_asked(way, wish)))
                    continue
                gaps += _kind_gaps(image, way, machine, wish)
                tasks += _boots(image, way, machine, wish)
    tasks.sort(key=lambda task: (task.repetition, _RANKS.index(task.kind)))
    return Plan(tuple(tasks), tuple(dict.fromkeys(gaps)))


def _asked(way: str, wish: Wish) -> bool:
    return wish.entries is not None and way in wish.entries


def _gap(what: str, why: str, *, asked: bool) -> Gap:
    """Return the gap, which is a failure only where somebody has asked for it by name."""
    if asked:
        return Gap(what, Problem.MACHINE, why)
    return Gap(what, Problem.NONE, f"left out, not asked for by name: {why}")


def _machine_gaps(wish: Wish, lacking: Mapping[str, str]) -> Iterator[Gap]:
    for name in wish.machines or MACHINES:
        if name in lacking:
            yield _gap(f"machine {name}", lacking[name], asked=wish.machines is not None)


def _image_gaps(
    image: ImageFacts, wish: Wish, machines: Sequence[str], everywhere: frozenset[str]
) -> Iterator[Gap]:
    """Say which entries an image lacks, or no machine takes.

    A lack is a failure where no image has that entry, `everywhere` being those that any has, or this one has
    none of those that were asked for.
    """
    name = image.file.name
    has = ", ".join(image.ways) or "none"
    if not image.ways:
        entries = ", ".join(image.entries) or "none"
        why = f"expected an image with one of the entries {', '.join(WAYS)}, found {image.kind}"
        yield Gap(name, Problem.INPUT, f"{why}, entries: {entries}")
        return
    wanted = wish.entries or ()
    absent = [way for way in wanted if way not in image.ways]
    if absent:
        nobody = any(way not in everywhere for way in absent)
        problem = Problem.INPUT if nobody or len(absent) == len(wanted) else Problem.NONE
        why = f"it can be booted by {has}"
        if ForeignWay.OVMF in absent and EntryKind.EFI in image.ways:
            why += "; pvefi has OVMF boot kernels only"
        yield Gap(f"{name}: {', '.join(absent)}", problem, why)
    for way in wanted:
        if way in absent:
            continue
        if machines and not any(way in _ways(image, machine, wish) for machine in machines):
            yield Gap(f"{name}: {way}", Problem.INPUT, f"none of {', '.join(machines)} boots this so")


def _ways(image: ImageFacts, machine: str, wish: Wish) -> list[str]:
    """Return the ways into an image on a machine, of those that are asked for."""
    foreign = [way.value for way in _FOREIGN[machine]]
    there = [way for way in (*_OURS, *foreign) if way in image.ways]
    if ForeignWay.XEN_PVH in there:  # Xen's own loader takes the entry of the PVH note there
        there.remove(EntryKind.PVH)
    if not image.is_kernel:
        ours = [way for way in there if way in _OURS]
        there = ours if wish.entries is not None else ours[:1]
    return [way for way in there if wish.entries is None or way in wish.entries]


def _hindrance(way: str, wish: Wish, lacking: Mapping[str, str]) -> str:
    """Say why a way cannot be taken, on whatever machine; empty where it can."""
    if way in lacking:
        return lacking[way]
    profile = profile_from_text(wish.profile)
    if way in ENTRIES and ENTRIES[way].needs_runtime and not profile.stays:
        return f"expected a profile whose runtime services stay, found {profile.name}"
    return ""


def _kinds(image: ImageFacts, way: str, machine: str, wish: Wish) -> list[TaskKind]:
    """Return the kinds of boots by which a way is evaluated."""
    if not image.is_kernel or machine == "embedded":
        return [TaskKind.HANDOFF]
    if image.unified:
        return [TaskKind.USERSPACE]
    kinds = [TaskKind.HANDOFF] if machine == "qemu" and way in _OURS else []
    if image.bits == 64 or wish.initrd is not None:
        kinds.append(TaskKind.USERSPACE)
    if image.bits == 64:
        kinds.append(TaskKind.FACTS)
        kinds += [TaskKind.COUNT] * (machine == "qemu")
    return kinds


def _kind_gaps(image: ImageFacts, way: str, machine: str, wish: Wish) -> Iterator[Gap]:
    """Say what a way is not asked, and why."""
    if machine == "embedded" or not image.is_kernel:
        return
    if image.unified:
        why = "the kernel in a unified image cannot be watched from outside, and has an initrd of its own"
        what = f"{image.file.name}: {way} on {machine}: its hand-off, facts and counts"
        yield Gap(what, Problem.NONE, why)
    if image.unified or image.bits == 64:
        return
    lost = "its facts and counts" if wish.initrd is not None else "user space, its facts and counts"
    why = "pvefi's own first process runs on 64-bit kernels only, this one is a 32-bit kernel"
    yield Gap(f"{image.file.name}: {way} on {machine}: {lost}", Problem.NONE, why)


def _boots(image: ImageFacts, way: str, machine: str, wish: Wish) -> Iterator[Task]:
    for kind in _kinds(image, way, machine, wish):
        for repetition in range(_repeats(image, machine, kind, wish)):
            exact = kind is TaskKind.COUNT or (machine == "embedded" and repetition == 0)
            own_initrd = kind in (TaskKind.FACTS, TaskKind.COUNT)
            yield Task(
                image=image.file,
                entry=way,
                machine=machine,
                kind=kind,
                repetition=repetition,
                initrd=None if own_initrd or image.unified or not image.is_kernel else wish.initrd,
                command_line=wish.command_line,
                memory_size=wish.memory_size,
                profile=wish.profile,
                seed=0 if exact and wish.seed is None else wish.seed,
                timeout=wish.timeout,
                machine_options=wish.machine_options if machine == "qemu" else {},
            )


def _repeats(image: ImageFacts, machine: str, kind: TaskKind, wish: Wish) -> int:
    timed = kind is TaskKind.USERSPACE or (machine == "embedded" and image.is_kernel and not image.unified)
    return wish.repeat if timed else 1

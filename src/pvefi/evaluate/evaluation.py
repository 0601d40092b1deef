# SPDX-License-Identifier: GPL-2.0-or-later
"""One evaluation, from image files to an `Evaluation`: the flow that the rest of this package is parts of."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pvefi import __version__
from pvefi.errors import ImageError, MachineError, UsageError
from pvefi.evaluate.engines.engine import Engine, Finished, Happening
from pvefi.evaluate.journal import Journal
from pvefi.evaluate.plan import MACHINES, Plan, Wish
from pvefi.evaluate.run import Evaluation, Gap, Host, ImageFacts
from pvefi.evaluate.task import FileRef, Problem, Task, TaskKind, TaskResult, failed_result
from pvefi.files import open_file
from pvefi.image import Image, inspect
from pvefi.image.entries.kernel import is_linux
from pvefi.machines import ForeignWay
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.command import MachineType
from pvefi.machines.qemu.ovmf import find_ovmf
from pvefi.machines.survey import survey_host
from pvefi.prepare import ways_into

__all__ = ["Looked", "Watcher", "evaluate", "lacking", "look"]

_PURPOSES = {
    TaskKind.HANDOFF: "hand-offs",
    TaskKind.USERSPACE: "timed boots",
    TaskKind.FACTS: "facts",
    TaskKind.COUNT: "counts",
}
_PART = 1 << 20
"""Bytes of an initrd that are read at a time."""


@dataclass(frozen=True)
class Looked:
    """What was found of the files: facts, a path for each SHA-256, and what cannot be read."""

    images: tuple[ImageFacts, ...]
    initrd: FileRef | None
    files: Mapping[str, Path]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class Watcher:
    """Who watches an evaluation.

    `planned` gets all tasks, and those of them whose results are there already; `happened` what happens to
    the others; `notice` what the user should know besides, a line each. `idle` is called once when fewer
    boots are left than can run at once: from then on there is a CPU for something else.
    """

    planned: Callable[[Sequence[Task], Mapping[str, TaskResult]], None]
    happened: Callable[[Happening], None]
    notice: Callable[[str], None]
    idle: Callable[[], None] = lambda: None


def look(paths: Iterable[Path], initrd: Path | None) -> Looked:
    """Look at the files; an image that cannot be read is a gap, an initrd that cannot UsageError."""
    images: list[ImageFacts] = []
    gaps: list[Gap] = []
    files: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        try:
            image = inspect(path)
        except (UsageError, ImageError) as error:
            gaps.append(Gap(str(path), Problem.INPUT, str(error)))
            continue
        if image.sha256 not in files:
            files[image.sha256] = path
            images.append(_facts(image))
    reference = None
    if initrd is not None:
        reference = _reference(initrd)
        files[reference.sha256] = initrd
    return Looked(_told_apart(images, files), reference, files, tuple(gaps))


def _facts(image: Image) -> ImageFacts:
    vmlinux, bzimage = image.vmlinux, image.bzimage
    packed = bzimage is not None and image.payload is not None
    unified = image.unified is not None and bool(image.unified.kernels)
    return ImageFacts(
        file=FileRef(image.path.name, image.sha256, image.size),
        kind=image.kind,
        release=bzimage.release if bzimage is not None and packed else "",
        entries=tuple(entry.kind.value for entry in image.entries),
        is_kernel=packed or unified or (vmlinux is not None and is_linux(vmlinux)),
        ways=ways_into(image),
        unified=unified,
        bits=32 if vmlinux is not None and not vmlinux.is_64bit else 64,
    )


def _told_apart(images: Sequence[ImageFacts], files: Mapping[str, Path]) -> tuple[ImageFacts, ...]:
    """Return the images, each named by so much of its path's end as no other has."""
    paths = [files[image.file.sha256].absolute() for image in images]
    named = []
    for image, path in zip(images, paths, strict=True):
        others = [other for other in paths if other is not path]
        many = next(n for n in range(1, len(path.parts) + 1) if not _end_alike(path, others, n))
        named.append(replace(image, file=replace(image.file, name=str(Path(*path.parts[-many:])))))
    return tuple(named)


def _end_alike(path: Path, others: Iterable[Path], many: int) -> bool:
    return any(other.parts[-many:] == path.parts[-many:] for other in others)


def _reference(path: Path) -> FileRef:
    with open_file(path, "an initial ramdisk") as file:
        digest, size = hashlib.sha256(), 0
        while part := file.read(_PART):
            digest.update(part)
            size += len(part)
    return FileRef(path.name, digest.hexdigest(), size)


def lacking(wish: Wish) -> dict[str, str]:
    """Return why machines, and ways of QEMU's, cannot be had on this host; each is looked for."""
    said = wish.machine_options
    found = {}
    for name in wish.machines or MACHINES:
        try:
            if name == "qemu":
                choose_machine("qemu", QemuWish(program=said.get("program"), watched=True))
            else:
                choose_machine(name)
        except MachineError as error:
            found[name] = str(error)
    try:
        find_ovmf(MachineType(said.get("machine_type", MachineType.Q35)))
    except MachineError as error:
        found[ForeignWay.OVMF.value] = str(error)
    return found


def evaluate(
    looked: Looked,
    plan: Plan,
    engine: Engine,
    journal: Journal,
    watcher: Watcher,
    *,
    command: str,
    repeat: int,
) -> Evaluation:
    """Run what of `plan` has no result yet and return all of it; each result is kept as it comes.

    Where the engine goes in the middle, what has not run is told as Problem.MACHINE; MachineError when it
    goes before anything has. KeyboardInterrupt passes through, and nothing runs on.
    """
    started, began = datetime.now(UTC), time.monotonic()
    results = journal.results(plan.tasks)
    reused = len(results)
    watcher.planned(plan.tasks, results)
    try:
        for result in _finished(plan, results, looked.files, engine, watcher):
            results[result.task.id] = result
            journal.keep(result)
    except MachineError as error:
        if not results:
            raise
        watcher.notice(f"{len(plan.tasks) - len(results)} boots do not run: {error}")
        for task in plan.tasks:
            results.setdefault(task.id, failed_result(task, Problem.MACHINE, str(error)))
    except BaseException as error:
        error.add_note(f"{len(results)} of {len(plan.tasks)} boots are done, --resume goes on with them")
        raise
    ordered = tuple(results[task.id] for task in plan.tasks)
    return Evaluation(
        command=command,
        started=f"{started:%Y-%m-%d %H:%M:%S} UTC",
        seconds=time.monotonic() - began,
        repeat=repeat,
        jobs=engine.jobs,
        host=_host(ordered),
        images=looked.images,
        machines=tuple(name for name in MACHINES if any(task.machine == name for task in plan.tasks)),
        results=ordered,
        gaps=(*looked.gaps, *plan.gaps),
        reused=reused,
    )


def _finished(
    plan: Plan, done: Mapping[str, TaskResult], files: Mapping[str, Path], engine: Engine, watcher: Watcher
) -> Iterator[TaskResult]:
    """Run what is not done and yield each result as it comes; closed or not, nothing runs on afterwards."""
    left = [task for task in plan.tasks if task.id not in done]
    if not left:
        return
    unfinished = len(left)
    with closing(engine.run(left, files)) as happenings:
        for happening in happenings:
            watcher.happened(happening)
            if isinstance(happening, Finished):
                unfinished -= 1
                if unfinished == engine.jobs - 1:
                    watcher.idle()
                yield happening.result


def _host(results: Sequence[TaskResult]) -> Host:
    host = survey_host()
    abouts: dict[str, dict[str, set[TaskKind]]] = {}
    for result in results:
        about = result.boot.get("machine_about")
        if isinstance(about, str):
            abouts.setdefault(result.task.machine, {}).setdefault(about, set()).add(result.task.kind)
    return Host(
        cpu=host.processor,
        cpus=host.cores,
        system=f"{host.system}, {host.kernel}, {host.architecture}",
        python=host.python,
        pvefi=__version__,
        name=platform.node(),
        machines=tuple((name, _about(told)) for name, told in abouts.items()),
    )


def _about(told: Mapping[str, set[TaskKind]]) -> str:
    """Return what a machine is; where it was several, what each was for."""
    if len(told) == 1:
        return next(iter(told))
    kinds = {
        about: ", ".join(_PURPOSES[kind] for kind in TaskKind if kind in used) for about, used in told.items()
    }
    return "; ".join(f"{about} (for {purpose})" for about, purpose in kinds.items())

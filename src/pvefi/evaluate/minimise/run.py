# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of `pvefi minimise` as a whole: from an image and the user's wishes to what was found."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pvefi.efi.profiles import Profile
from pvefi.errors import UsageError
from pvefi.evaluate.engines.local import LocalEngine
from pvefi.evaluate.minimise.confirm import Confirmation, confirm, unconfirmed
from pvefi.evaluate.minimise.document import Experiment
from pvefi.evaluate.minimise.experiments import Branches, Experiments, WholeBoots
from pvefi.evaluate.minimise.goal import Reach, Wanted
from pvefi.evaluate.minimise.search import Found, Search, Tell, smallest_profile
from pvefi.evaluate.task import FileRef, Task, TaskKind
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, PreparedBoot, prepare
from pvefi.probe.witness import witness_initrd
from pvefi.profile_file import profile_to_text
from pvefi.trace.values import Json

__all__ = ["Wish", "minimise"]

_NAME_AT_MOST = 50  # characters of an image's name in that of its profile
_OWN_INITRD = "pvefi's own first process"
_NO_REPETITION = 1
"""Boots that are timed count no instructions, which costs more; the first of a series would."""


@dataclass(frozen=True)
class Wish:
    """What the user asks for; `wanted` None is the hand-off of a kernel, and the end of a program.

    `initrd` None is pvefi's own for a kernel. With `whole_boots` nothing branches; `confirms` asks for QEMU
    at the end. `timeout` bounds each boot, in seconds.
    """

    image: Path
    profile: Profile
    wanted: Wanted | None = None
    entry: str = "efi"
    initrd: Path | None = None
    command_line: str | None = None
    memory_size: int = 512 << 20
    seed: int = 0
    jobs: int = 1
    timeout: float = 300.0
    strict: bool = False
    whole_boots: bool = False
    confirms: bool = True


def minimise(wish: Wish, tell: Tell) -> Experiment:
    """Find the smallest profile; `tell` hears of the progress.

    NotReached when the image does not reach the goal with everything, UsageError and ImageError when it
    cannot be booted, MachineError when a machine fails.
    """
    began = time.monotonic()
    with TemporaryDirectory(prefix="pvefi-minimise-") as folder:
        prepared = _prepared(wish, Path(folder))
        wanted = _wanted(wish, prepared)
        task, files = _task(wish, prepared)
        experiments = _experiments(wish, wanted, prepared, task, files)
        found = Search(experiments, wish.profile, strict=wish.strict, tell=tell).run()
        confirmation = _confirmation(wish, wanted, found, task, files, tell)
    profile = smallest_profile(
        wish.profile,
        found,
        f"{_printable(wish.image.name)[:_NAME_AT_MOST]}-minimal",
        f"what {_printable(wish.image.name)} was measured to need for the goal {wanted}, and nothing more",
    )
    setup = _setup(wish, wanted, prepared, task)
    return Experiment(setup, found, profile, confirmation, time.monotonic() - began)


def _prepared(wish: Wish, folder: Path) -> PreparedBoot:
    """Return the boot with everything; a kernel without an initrd of the user's has pvefi's own."""
    options = BootOptions(
        image=wish.image,
        machine=EmbeddedMachine(),
        entry=wish.entry,
        profile=wish.profile,
        initrd=wish.initrd,
        command_line=wish.command_line,
        memory_size=wish.memory_size,
        seed=wish.seed,
    )
    prepared = prepare(options)
    if wish.initrd is None and _is_kernel(prepared):
        path, data = folder / "initrd", witness_initrd()
        path.write_bytes(data)
        prepared = replace(prepared, options=replace(options, initrd=path), initrd=memoryview(data))
    return prepared


def _is_kernel(prepared: PreparedBoot) -> bool:
    return prepared.image.bzimage is not None or prepared.image.vmlinux is not None


def _wanted(wish: Wish, prepared: PreparedBoot) -> Wanted:
    kernel = _is_kernel(prepared)
    if wish.wanted is None:
        return Wanted(Reach.HANDOFF if kernel else Reach.EXIT)
    if wish.wanted.reach is not Reach.EXIT and not kernel:
        raise UsageError(
            f"{wish.image}: expected a kernel for the goal {wish.wanted}, found {prepared.image.kind}",
            "--goal exit=0",
        )
    return wish.wanted


def _task(wish: Wish, prepared: PreparedBoot) -> tuple[Task, dict[str, Path]]:
    """Return the boot with everything as a task, and its files."""
    image = prepared.image
    files = {image.sha256: wish.image}
    initrd = None
    if prepared.options.initrd is not None and prepared.initrd is not None:
        digest = hashlib.sha256(prepared.initrd).hexdigest()
        name = wish.initrd.name if wish.initrd is not None else _OWN_INITRD
        initrd = FileRef(name, digest, len(prepared.initrd))
        files[digest] = prepared.options.initrd
    task = Task(
        image=FileRef(wish.image.name, image.sha256, image.size),
        entry=wish.entry,
        machine="embedded",
        kind=TaskKind.HANDOFF,
        repetition=_NO_REPETITION,
        initrd=initrd,
        command_line=wish.command_line,
        memory_size=wish.memory_size,
        profile=profile_to_text(wish.profile),
        seed=wish.seed,
        timeout=wish.timeout,
    )
    return task, files


def _experiments(
    wish: Wish, wanted: Wanted, prepared: PreparedBoot, task: Task, files: Mapping[str, Path]
) -> Experiments:
    """Return how to boot: the embedded machine gets no kernel to user space, and only it can branch."""
    engine = LocalEngine(wish.jobs)
    if wanted.reach is Reach.USERSPACE:
        kind = TaskKind.FACTS if wish.initrd is None else TaskKind.USERSPACE
        initrd = None if wish.initrd is None else task.initrd
        on_qemu = replace(task, machine="qemu", kind=kind, initrd=initrd, repetition=0)
        return WholeBoots(on_qemu, files, wish.profile, wanted, engine)
    if wish.whole_boots:
        return WholeBoots(task, files, wish.profile, wanted, engine)
    return Branches(prepared, wanted, wish.jobs, wish.timeout)


def _confirmation(
    wish: Wish, wanted: Wanted, found: Found, task: Task, files: Mapping[str, Path], tell: Tell
) -> Confirmation:
    if wanted.reach is Reach.USERSPACE:
        return Confirmation(True, "every boot of this run was on QEMU", found.degraded)
    if not wish.confirms:
        return unconfirmed("it was not asked for")
    return confirm(found, task, files, wish.profile, wanted, LocalEngine(wish.jobs), tell)


def _setup(wish: Wish, wanted: Wanted, prepared: PreparedBoot, task: Task) -> dict[str, Json]:
    on_qemu = wanted.reach is Reach.USERSPACE
    return {
        "image": wish.image.name,
        "image_sha256": prepared.image.sha256,
        "entry": wish.entry,
        "machine": "qemu" if on_qemu else "embedded",
        "goal": str(wanted),
        "command_line": wish.command_line,
        "initrd": task.initrd.name if task.initrd is not None else None,
        "memory_size": wish.memory_size,
        "seed": wish.seed,
        "strict": wish.strict,
        "from_profile": wish.profile.name,
        "branches": not wish.whole_boots and not on_qemu,
    }


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)

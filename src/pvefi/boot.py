# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot, from what was prepared to a verdict: the flow that the rest of pvefi is parts of."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial

from pvefi.clocks import clock_of
from pvefi.efi.environment import Environment, Phase, Surroundings
from pvefi.efi.firmware import Firmware
from pvefi.efi.host_directory import HostDirectory
from pvefi.efi.intervention import Arriving, Interventions
from pvefi.efi.kept import Kept
from pvefi.efi.protocols.hypervisor_information import Hypervisor
from pvefi.efi.service import Steps
from pvefi.efi.start import fetch_by_guest, read_start
from pvefi.efi.startup import make_environment, read_declarations
from pvefi.errors import GuestFault
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Answer, Mailbox, Request
from pvefi.handoff import DECOMPRESSOR, KERNEL_PROPER, KernelWatch, collect
from pvefi.judge import MemoryWish, judge
from pvefi.legacy import Legacy, ending, take_over
from pvefi.machines import (
    Finished,
    ForeignBoot,
    GaveUp,
    Guest,
    Hardware,
    Keyboard,
    Reached,
    Stop,
    TimedOut,
    Watchpoint,
)
from pvefi.prepare import PreparedBoot, not_started
from pvefi.progress import Progress
from pvefi.serial import SerialDecoder, visible
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import INJECTED, CallEvent
from pvefi.trace.log import CallLog
from pvefi.trace.spelling import quoted
from pvefi.verdict import BootResult, ConfigurationTable, Goal, Handoff, Milestone, Outcome, Verdict

__all__ = ["Observer", "boot"]

_IMAGE = "image"
"""The label of the watchpoint at an image's first instruction."""
_LINE_SHOWN = 120  # characters


@dataclass(frozen=True)
class Observer:
    """Who watches a boot.

    `console` gets the guest's text, `call` each service call, `stage` its progress. `serial` gets the bytes
    of the guest's serial port; without it they go to `console`, made visible. `keyboard` is where the serial
    port's input comes from. `notice` gets what the user should know besides, a line each.
    """

    console: Callable[[str], None]
    call: Callable[[CallEvent], None]
    stage: Callable[[str], None]
    serial: Callable[[bytes], None] | None = None
    keyboard: Keyboard | None = None
    notice: Callable[[str], None] = lambda _text: None


def boot(
    prepared: PreparedBoot, observer: Observer, legacy: Legacy | None = None, arriving: Arriving | None = None
) -> BootResult:
    """Boot an image through one of its entries and return what happened.

    With a `legacy` another process can go on with the guest when this one dies, or this one does.
    UsageError when the guest lacks memory for the image, that or ImageError when its variables cannot be kept
    where they are to be, MachineError when the machine fails; a guest that fails is a result.
    KeyboardInterrupt passes through, the guest ended.
    """
    if prepared.foreign is not None:
        return _boot_foreign(prepared, prepared.foreign, observer)
    variables = prepared.options.variables or (legacy.variables if legacy is not None else None)
    with ExitStack() as stack:
        kept = stack.enter_context(closing(Kept.open(variables)))
        directory = None
        if prepared.options.esp is not None:
            directory = stack.enter_context(closing(HostDirectory(prepared.options.esp)))
        if kept.only_read:
            observer.notice(
                f"{variables}: cannot be written: what the guest changes of its variables is refused"
            )
        return _boot(prepared, observer, kept, directory, legacy, arriving)


def _boot(
    prepared: PreparedBoot,
    observer: Observer,
    kept: Kept,
    directory: HostDirectory | None,
    legacy: Legacy | None,
    arriving: Arriving | None,
) -> BootResult:
    options, watch, entry = prepared.options, prepared.watch, prepared.entry
    trampoline = load_trampoline()
    calls = CallLog()
    progress = Progress(options.goal)

    def mailbox() -> Mailbox:
        return Mailbox(guest.memory.view(*trampoline.mailbox))

    def environment(start_info: int) -> Steps[tuple[Environment, int]]:
        progress.boot()
        start = yield from read_start(fetch_by_guest(guest.memory, trampoline), start_info)
        efi, information = make_environment(
            guest.ram(start.memory_map),
            trampoline,
            start,
            Hypervisor(*mailbox().hypervisor(), extra=options.machine.extra_version),
            options.profile,
            surroundings,
        )
        efi.restarted = progress.boots > 1
        return efi, information

    def enter(efi: Environment, information: int) -> Steps[Verdict]:
        return entry.enter(efi, prepared.request, information)

    def image_starts(address: int) -> None:
        progress.reached(Milestone.IMAGE)
        observer.stage(f"{prepared.image.path.name} has control")
        if options.count:
            guest.watch([Watchpoint(address, 0, lambda _: True, _IMAGE)])

    def boot_services_end() -> None:
        progress.reached(Milestone.EXIT_BOOT_SERVICES)
        if directory is not None:
            directory.close_files()
        _listen(guest, observer)
        if not options.profile.stays:
            guest.detach()

    def kernel_may_start(places: tuple[int, ...]) -> None:
        _listen(guest, observer)
        if watch is not None and options.goal is Goal.HANDOFF:
            guest.watch(watch.watchpoints(guest.memory, places))

    observer.stage("starting the machine")
    guest = options.machine.start(
        trampoline,
        _hardware(prepared),
        partial(_serial, observer, progress, SerialDecoder()),
        observer.keyboard,
    )
    progress.steer(guest)
    with ending(guest, legacy):
        read_declarations()  # while the machine starts
        surroundings = Surroundings(
            console=partial(_written, observer, progress),
            random=_randomness(options.seed),
            clock=clock_of(guest, options.machine, options.seed),
            initrd=prepared.initrd,
            initrd_by_efi=entry.initrd_by_efi,
            image_starts=image_starts,
            boot_services_end=boot_services_end,
            kernel_may_start=kernel_may_start,
            typed=guest.typed,
            kept=kept,
            directory=directory,
        )
        keep = legacy.keep if legacy is not None else None
        faults = Interventions(options.faults, arriving)
        firmware = Firmware(environment, enter, _recorder(calls, observer), guest.instructions, keep, faults)
        if legacy is not None and legacy.taken_over:
            take_over(guest, firmware, mailbox(), trampoline, surroundings, legacy)
        stop, passed = _run(guest, firmware.answer, progress, options.timeout)
        seconds = progress.seconds()
        stop, handoff = _handoff(
            guest, firmware, watch, stop, DECOMPRESSOR in passed, entry.kernel_entry(prepared.request)
        )
        if handoff is not None:
            progress.reached(Milestone.HANDOFF)
        for fault in faults.unmet:
            observer.notice(f"--inject {fault}: the guest made no such call")
        verdict = judge(stop, handoff, calls.kept(), firmware.environment, _wish(prepared))
        return replace(
            not_started(prepared, ""),
            verdict=_told(
                _with_last_line(progress.amended(verdict), options.goal, firmware.environment),
                stop,
                guest,
                firmware.doorbells,
            ),
            handoff=handoff,
            calls=calls.kept(),
            calls_made=calls.made,
            seconds=seconds,
            milestones=progress.milestones,
            restarts=max(0, progress.boots - 1),
            host_seconds=guest.answering_seconds(),
            instructions=guest.instructions(),
            instructions_to_image=passed.get(_IMAGE),
        )


def _recorder(calls: CallLog, observer: Observer) -> Callable[[CallEvent], None]:
    """Return what takes each call: it is kept and passed on, and what the user should know is told once."""
    broken: list[str] = []

    def record(event: CallEvent) -> None:
        calls.append(event)
        observer.call(event)
        device_error = event.status == EfiStatus.DEVICE_ERROR and not event.why.startswith(INJECTED)
        if device_error and not broken:
            broken.append(event.why)
            observer.notice(
                f"the guest hears {EfiStatus.DEVICE_ERROR.efi_name} from {event.service}: {event.why}"
            )

    return record


def _with_last_line(verdict: Verdict, goal: Goal, efi: Environment | None) -> Verdict:
    """Return the verdict on an image that ended by itself with what it said last: often the only reason.

    Where more than its end was the goal, EFI_SUCCESS says little of what it did.
    """
    line = efi.last_line if efi is not None else ""
    early = goal is not Goal.EXIT or verdict.status != EfiStatus.SUCCESS
    if verdict.outcome is not Outcome.EXITED or not early or not line:
        return verdict
    return replace(verdict, message=f"{verdict.message}; the last that it said: {quoted(line, _LINE_SHOWN)}")


def _told(verdict: Verdict, stop: Stop, guest: Guest, doorbells: int) -> Verdict:
    """Return the verdict with what else is to be known: that the guest lacks EFI, or lives on.

    It gives up waiting for the last of its `doorbells`, or the one after; any other number in its mailbox
    is there because it uses that memory for something else.
    """
    message = verdict.message
    given_up = guest.given_up()
    if 0 < given_up <= doorbells + 1 and not isinstance(stop, GaveUp):
        message += f"; the guest goes without EFI since doorbell {given_up}, not having waited for its answer"
    if survivor := _survivor(guest):
        message += f"; {survivor}"
    return replace(verdict, message=message)


def _survivor(guest: Guest) -> str:
    """Say where the guest lives on once pvefi has left it; empty where it ends."""
    process = guest.survivor()
    return f"the guest lives on as process {process}" if process else ""


def _boot_foreign(prepared: PreparedBoot, foreign: ForeignBoot, observer: Observer) -> BootResult:
    """Let somebody else boot the image, and return what its console and its end tell."""
    options = prepared.options
    progress = Progress(options.goal)
    observer.stage(f"{foreign.way} boots {prepared.image.path.name}")
    guest = options.machine.start_foreign(
        foreign, _hardware(prepared), partial(_serial, observer, progress, SerialDecoder()), observer.keyboard
    )
    progress.steer(guest)
    _listen(guest, observer)
    with closing(guest):
        stop, _ = _run(guest, _nobody, progress, options.timeout)
        verdict = judge(stop, None, None, None, MemoryWish(given=1, wanted=0))
        return replace(
            not_started(prepared, ""),
            verdict=progress.amended(verdict),
            seconds=progress.seconds(),
            milestones=progress.milestones,
        )


def _listen(guest: Guest, observer: Observer) -> None:
    """Give the guest what somebody types; what a patient keyboard has waits for user space."""
    if observer.keyboard is not None and not observer.keyboard.patient:
        guest.listen()


def _nobody(request: Request) -> Answer:
    raise AssertionError(f"a doorbell that is not there rang: {request}")


def _written(observer: Observer, progress: Progress, text: str) -> None:
    """Pass on what was written to the firmware's console."""
    observer.console(text)
    progress.said(text)


def _serial(observer: Observer, progress: Progress, decoder: SerialDecoder, data: bytes) -> None:
    """Pass on what the guest writes to its serial port."""
    if observer.serial is not None:
        observer.serial(data)
    else:
        observer.console(visible(decoder.text(data)))
    progress.console(data)


def _hardware(prepared: PreparedBoot) -> Hardware:
    options = prepared.options
    return Hardware(
        memory_size=options.memory_size,
        # Where EFI's means carry the command line, the machine has no part in it.
        command_line="" if options.machine.runs_kernels else prepared.request.command_line,
        seed=options.seed,
        count=options.count,
        cpus=options.cpus,
        disks=options.disks,
        restarts=options.restarts,
        watched=options.goal is Goal.HANDOFF and prepared.watch is not None,
    )


def _wish(prepared: PreparedBoot) -> MemoryWish:
    """Return how much memory the guest has, and how much the image and all that comes with it want."""
    wants = prepared.entry.wanted_memory(prepared.request) + len(prepared.initrd or b"")
    return MemoryWish(given=prepared.options.memory_size, wanted=wants)


def _randomness(seed: int | None) -> Callable[[int], bytes]:
    # Not for secrets: a seeded boot is asked for by somebody who wants it to repeat.
    return os.urandom if seed is None else random.Random(seed).randbytes  # noqa: S311


def _run(
    guest: Guest, answer: Callable[[Request], Answer], progress: Progress, timeout: float | None
) -> tuple[Stop, dict[str, int | None]]:
    """Run to the guest's end or the kernel proper; return the stop, and what was passed on the way.

    That is the label of each watchpoint reached, with the guest's instruction count there.
    """
    passed: dict[str, int | None] = {}
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if end is None else max(0.0, end - time.monotonic())
        try:
            stop = guest.run(answer, left, progress.look)
        except BaseException as error:
            if survivor := _survivor(guest):
                error.add_note(survivor)
            raise
        if isinstance(stop, TimedOut):
            return replace(stop, seconds=timeout or 0.0), passed
        if not isinstance(stop, Reached) or stop.watchpoint.label == KERNEL_PROPER:
            return stop, passed
        passed.setdefault(stop.watchpoint.label, guest.instructions())


def _handoff(
    guest: Guest,
    firmware: Firmware,
    watch: KernelWatch | None,
    stop: Stop,
    decompressed: bool,
    direct_entry: int | None,
) -> tuple[Stop, Handoff | None]:
    """Return the stop, and what the kernel proper was given; another stop when that makes no sense."""
    if not isinstance(stop, Reached) or watch is None or firmware.environment is None:
        return stop, None
    efi = firmware.environment
    # A kernel that was entered without EFI has never seen the system table.
    given = efi.tables.configuration_tables if efi.phase is Phase.RUNTIME else ()
    tables = tuple(ConfigurationTable(*entry) for entry in given)
    try:
        return stop, collect(
            guest.memory,
            guest.registers(),
            watch,
            decompressor="entered" if decompressed else "bypassed",
            direct_entry=direct_entry,
            memory_map=efi.final_memory_map,
            configuration_tables=tables,
        )
    except GuestFault as fault:
        why = f"the kernel proper has control, but what it was given makes no sense: {fault}"
        return Finished(Verdict(Outcome.BAD_REQUEST, why)), None

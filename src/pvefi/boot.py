# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot, from a file to a verdict: the flow that the rest of pvefi is parts of."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pvefi.efi.environment import Clock, Environment, Phase, Surroundings
from pvefi.efi.firmware import Firmware
from pvefi.efi.profiles import PROFILES
from pvefi.efi.service import Steps
from pvefi.efi.start import fetch_by_guest, read_start
from pvefi.efi.startup import Hypervisor, make_environment
from pvefi.entries import ENTRIES, BootInfo, Entry, EntryRequest
from pvefi.errors import GuestFault, UsageError
from pvefi.files import read_file
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Mailbox
from pvefi.handoff import DECOMPRESSOR, KERNEL_PROPER, KernelWatch, collect, kernel_watch
from pvefi.image import EntryKind, Image, inspect
from pvefi.judge import MemoryWish, judge
from pvefi.machines import Finished, Guest, Hardware, Machine, Reached, Stop, TimedOut, Watchpoint
from pvefi.serial import visible
from pvefi.trace.events import CallEvent
from pvefi.trace.log import CallLog
from pvefi.verdict import BootResult, ConfigurationTable, Handoff, Outcome, Verdict

__all__ = ["BootOptions", "Observer", "PreparedBoot", "boot", "not_started", "prepare", "prepare_all"]

_IMAGE = "image"
"""The label of the watchpoint at an image's first instruction."""
_COMMAND_LINE_AT_MOST = 8191  # bytes that pvefi's own memory in the guest has room for; Linux x86 takes 2047


@dataclass(frozen=True)
class BootOptions:
    """What to boot, and how; `memory_size` is in bytes, `timeout` in seconds of wall clock, None for none.

    `entry` is one of ENTRIES; `boot_info` is how the image is told what hypervisor it runs on, None for the
    entry's own way.

    `seed` fixes all randomness that the guest gets; `count` asks for exact instruction counts.
    """

    image: Path
    machine: Machine
    entry: str = "efi"
    boot_info: BootInfo | None = None
    profile: str = "linux"
    initrd: Path | None = None
    command_line: str = ""
    memory_size: int = 512 << 20
    seed: int | None = None
    count: bool = False
    timeout: float | None = None


@dataclass(frozen=True)
class Observer:
    """Who watches a boot: `console` gets the guest's text, `call` each service call, `stage` its progress."""

    console: Callable[[str], None]
    call: Callable[[CallEvent], None]
    stage: Callable[[str], None]


@dataclass(frozen=True)
class PreparedBoot:
    """A boot whose input has been read and found good; nothing runs yet."""

    options: BootOptions
    image: Image
    request: EntryRequest
    watch: KernelWatch | None
    initrd: memoryview | None

    @property
    def entry(self) -> Entry:
        """The way in."""
        return ENTRIES[self.options.entry]


def prepare(options: BootOptions) -> PreparedBoot:
    """Read what is to be booted; ImageError and UsageError say what is wrong with it."""
    return _prepared(options, *_read(options))


def prepare_all(options: BootOptions) -> tuple[PreparedBoot, ...]:
    """Read what is to be booted once, for each entry that the image has; `options.entry` counts for nothing.

    An entry that cannot carry hypervisor information as asked carries it in its own way, if it has one.
    """
    read = _read(options)
    image = read[0]
    found = [
        entry for entry in ENTRIES.values() if image.entry(entry.kind, entry.bits) and _runs(image, entry)
    ]
    if not found:
        raise UsageError(
            f"{image.path}: expected an image with one of the entries {', '.join(ENTRIES)}, "
            f"found {image.kind}, entries: {_entries(image)}",
            "pvefi inspect tells more",
        )
    return tuple(
        _prepared(
            replace(
                options,
                entry=entry.kind.value,
                boot_info=options.boot_info if options.boot_info in entry.boot_info else None,
            ),
            *read,
        )
        for entry in found
    )


def _read(options: BootOptions) -> tuple[Image, bytes, memoryview | None]:
    _check_command_line(options.command_line)
    image = inspect(options.image)
    data = image.read()
    initrd = None
    if options.initrd is not None:
        initrd = read_file(
            options.initrd,
            "an initial ramdisk",
            less_than=options.memory_size,
            way_out="give a larger --memory",
        )
    return image, data, initrd


def _prepared(options: BootOptions, image: Image, data: bytes, initrd: memoryview | None) -> PreparedBoot:
    entry = ENTRIES[options.entry]
    if image.entry(entry.kind, entry.bits) is None:
        raise UsageError(
            f"{image.path}: expected an image with the {entry.bits}-bit entry {entry.kind.value}, "
            f"found {image.kind}, entries: {_entries(image)}",
            "pvefi inspect tells more",
        )
    if not _runs(image, entry):
        raise UsageError(
            f"{image.path}: expected a 64-bit kernel for the entry {entry.kind.value}, found a 32-bit one",
            "pvefi inspect tells more",
        )
    boot_info = options.boot_info or entry.boot_info[0]
    if boot_info not in entry.boot_info:
        raise UsageError(
            f"expected an entry that carries hypervisor information by {boot_info.value}, "
            f"found {entry.kind.value}",
            "leave --boot-info out",
        )
    request = EntryRequest(image, data, options.command_line, boot_info)
    entry.check(request)
    return PreparedBoot(options, image, request, kernel_watch(image, data), initrd)


def _runs(image: Image, entry: Entry) -> bool:
    """Whether the hand-off of what `entry` starts would be recognised: that of a 32-bit kernel is not."""
    return entry.kind is EntryKind.EFI or image.vmlinux is None or image.vmlinux.is_64bit


def _check_command_line(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UsageError(
            "expected a command line in UTF-8, found bytes that are none", "--cmdline"
        ) from error
    if "\0" in text:
        raise UsageError("expected a command line of text, found a NUL in it", "--cmdline")
    if size > _COMMAND_LINE_AT_MOST:
        raise UsageError(
            f"expected a command line of at most {_COMMAND_LINE_AT_MOST} bytes, found {size}", "--cmdline"
        )


def boot(prepared: PreparedBoot, observer: Observer) -> BootResult:
    """Boot an image through one of its entries and return what happened.

    UsageError when the guest lacks memory for the image, MachineError when the machine fails; a guest that
    fails is a result. KeyboardInterrupt passes through, the guest ended.
    """
    options, image, watch, entry = prepared.options, prepared.image, prepared.watch, prepared.entry
    trampoline = load_trampoline()
    hardware = Hardware(options.memory_size, options.command_line, options.seed, options.count)
    profile = PROFILES[options.profile]
    calls = CallLog()

    def record(event: CallEvent) -> None:
        calls.append(event)
        observer.call(event)

    boots = 0

    def mailbox() -> Mailbox:
        return Mailbox(guest.memory.view(*trampoline.mailbox))

    def boot_services_end() -> None:
        mailbox().outlive_boot_services()

    def started(address: int) -> None:
        observer.stage(f"{image.path.name} has control")
        if options.count:
            guest.watch([Watchpoint(address, 0, lambda _: True, _IMAGE)])

    observer.stage("starting the machine")
    guest = options.machine.start(trampoline, hardware, lambda data: observer.console(visible(data)))
    with closing(guest):
        surroundings = Surroundings(
            console=observer.console,
            random=_randomness(options.seed),
            clock=Clock(idle=guest.idle),
            initrd=prepared.initrd,
            initrd_by_efi=entry.initrd_by_efi,
            image_starts=started,
            boot_services_end=boot_services_end,
            kernel_may_start=lambda places: _watch(guest, watch, places),
        )

        def environment(start_info: int) -> Steps[tuple[Environment, int]]:
            nonlocal boots
            boots += 1
            start = yield from read_start(fetch_by_guest(guest.memory, trampoline), start_info)
            memory = guest.ram(start.memory_map)
            hypervisor = Hypervisor(*mailbox().hypervisor())
            efi, information = make_environment(memory, trampoline, start, hypervisor, profile, surroundings)
            efi.restarted = boots > 1
            return efi, information

        def enter(efi: Environment, information: int) -> Steps[Verdict]:
            return entry.enter(efi, prepared.request, information)

        firmware = Firmware(environment, enter, record, guest.instructions)
        began = time.monotonic()
        stop, passed = _run(guest, firmware, options.timeout)
        seconds = time.monotonic() - began
        stop, handoff = _handoff(
            guest, firmware, watch, stop, DECOMPRESSOR in passed, entry.kernel_entry(prepared.request)
        )
        verdict = judge(stop, handoff, calls.kept(), firmware.environment, _wish(prepared))
        return replace(
            not_started(prepared, ""),
            verdict=verdict,
            handoff=handoff,
            calls=calls.kept(),
            calls_made=calls.made,
            seconds=seconds,
            host_seconds=guest.answering_seconds(),
            instructions=guest.instructions(),
            instructions_to_image=passed.get(_IMAGE),
        )


def not_started(prepared: PreparedBoot, why: str) -> BootResult:
    """Return the result of a boot of which nothing ran, because of `why`."""
    options = prepared.options
    return BootResult(
        image=str(prepared.image.path),
        image_sha256=prepared.image.sha256,
        machine=options.machine.name,
        entry=options.entry,
        profile=options.profile,
        memory_size=options.memory_size,
        command_line=options.command_line,
        initrd=str(options.initrd or ""),
        boot_info=prepared.request.boot_info.value,
        seed=options.seed,
        verdict=Verdict(Outcome.NOT_STARTED, why),
        handoff=None,
        calls=(),
        calls_made=0,
        seconds=0.0,
        host_seconds=0.0,
        instructions=None,
        instructions_to_image=None,
    )


def _wish(prepared: PreparedBoot) -> MemoryWish:
    """Return how much memory the guest has, and how much the image and all that comes with it want."""
    wants = prepared.entry.wanted_memory(prepared.request) + len(prepared.initrd or b"")
    return MemoryWish(given=prepared.options.memory_size, wanted=wants)


def _entries(image: Image) -> str:
    return ", ".join(entry.kind.value for entry in image.entries) or "none"


def _randomness(seed: int | None) -> Callable[[int], bytes]:
    # Not for secrets: a seeded boot is asked for by somebody who wants it to repeat.
    return os.urandom if seed is None else random.Random(seed).randbytes  # noqa: S311


def _watch(guest: Guest, watch: KernelWatch | None, places: tuple[int, ...]) -> None:
    """Look out for the kernel proper; `places` are where the image was loaded (guest physical)."""
    if watch is not None:
        guest.watch(watch.watchpoints(guest.memory, places))


def _run(guest: Guest, firmware: Firmware, timeout: float | None) -> tuple[Stop, dict[str, int | None]]:
    """Run to the guest's end or the kernel proper; return the stop, and what was passed on the way.

    That is the label of each watchpoint reached, with the guest's instruction count there.
    """
    passed: dict[str, int | None] = {}
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if end is None else max(0.0, end - time.monotonic())
        stop = guest.run(firmware.answer, left)
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

# SPDX-License-Identifier: GPL-2.0-or-later
"""The first half of a boot: from a file and the user's wishes to a boot that can run; nothing runs yet."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pvefi.efi.intervention import Fault
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.entries import ENTRIES, BootInfo, Entry, EntryRequest
from pvefi.errors import UsageError
from pvefi.files import read_file
from pvefi.handoff import KernelWatch, kernel_watch
from pvefi.image import EntryKind, Image, inspect
from pvefi.image.payload import PayloadStream
from pvefi.machines import ForeignBoot, ForeignWay, Machine
from pvefi.spec.uefi import guids
from pvefi.verdict import BootResult, Goal, Outcome, Verdict

__all__ = [
    "BootOptions",
    "PreparedBoot",
    "not_started",
    "prepare",
    "prepare_all",
    "prepare_foreign",
    "ways_into",
]

_COMMAND_LINE_AT_MOST = 8191  # bytes that pvefi's own memory in the guest has room for; Linux x86 takes 2047


@dataclass(frozen=True)
class BootOptions:
    """What to boot, and how; `memory_size` is in bytes, `timeout` in seconds of wall clock, None for none.

    `entry` is one of ENTRIES; `boot_info` is how the image is told what hypervisor it runs on, None for the
    entry's own way.

    `command_line` None is a serial console for a kernel that runs on, and nothing for anything else.

    `seed` fixes all randomness that the guest gets; `count` asks for exact instruction counts. `goal` is
    where a kernel's boot is to end. `variables` is where non-volatile ones are kept, None for nowhere but in
    memory. A guest that resets starts anew where `restarts` is set. `esp` is a directory that is served as
    the volume that the image comes from. `faults` are injected into its service calls.
    """

    image: Path
    machine: Machine
    entry: str = "efi"
    boot_info: BootInfo | None = None
    profile: Profile = PROFILES["linux"]
    initrd: Path | None = None
    command_line: str | None = None
    memory_size: int = 512 << 20
    seed: int | None = None
    count: bool = False
    timeout: float | None = None
    goal: Goal = Goal.HANDOFF
    cpus: int = 1
    disks: tuple[Path, ...] = ()
    restarts: bool = True
    variables: Path | None = None
    esp: Path | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class PreparedBoot:
    """A boot whose input has been read and found good; nothing runs yet.

    With `foreign` it is not pvefi that enters the image.
    """

    options: BootOptions
    image: Image
    request: EntryRequest
    watch: KernelWatch | None
    initrd: memoryview | None
    foreign: ForeignBoot | None = None

    @property
    def entry(self) -> Entry:
        """The way in."""
        return ENTRIES[self.options.entry]


def prepare(options: BootOptions) -> PreparedBoot:
    """Read what is to be booted; ImageError and UsageError say what is wrong with it."""
    by_efi = BootInfo.TABLE in ENTRIES[options.entry].boot_info
    if options.variables is not None and not by_efi:
        raise _without_variables(options.entry)
    if options.faults and not by_efi:
        raise UsageError(f"{options.entry} boots without EFI's services: expected no --inject")
    if options.esp is not None:
        _check_volume(options, by_efi=by_efi)
    # Where nobody watches for the hand-off, the kernel proper is the EFI stub's business alone.
    deep = options.machine.watches or options.goal is Goal.HANDOFF or not by_efi
    return _prepared(options, *_read(options, deep=deep))


def prepare_foreign(options: BootOptions, way: ForeignWay) -> PreparedBoot:
    """Read what somebody else is to boot, for comparison; ImageError and UsageError as for `prepare`."""
    if options.esp is not None:
        raise UsageError(f"{way} boots without pvefi's file protocol: expected no --esp")
    if options.faults:
        raise UsageError(f"{way} boots without pvefi's services: expected no --inject")
    if options.variables is not None:
        if way is not ForeignWay.OVMF:
            raise _without_variables(way)
        if not os.access(options.variables, os.W_OK):
            raise UsageError(f"{options.variables}: OVMF expects a store that it can write to, found none")
    return _prepared_foreign(options, way, *_read(options))


def _entry_of(way: ForeignWay) -> EntryKind:
    """Return the entry that somebody else takes into an image."""
    match way:
        case ForeignWay.LINUX:
            return EntryKind.LINUX16
        case ForeignWay.PVH | ForeignWay.XEN_PVH:
            return EntryKind.PVH
        case ForeignWay.OVMF:
            return EntryKind.EFI
        case ForeignWay.XEN_PV:
            return EntryKind.XEN_PV


def _prepared_foreign(
    options: BootOptions, way: ForeignWay, image: Image, data: bytes, initrd: memoryview | None
) -> PreparedBoot:
    if not _boots(image, way):
        raise UsageError(
            f"{image.path}: expected a kernel with the entry {_entry_of(way).value} for {way}, "
            f"found {image.kind}, entries: {_entries(image)}",
            "pvefi inspect tells more",
        )
    kernel = _vmlinux(image, data) if way is ForeignWay.PVH else data
    request = EntryRequest(image, data, _command_line(options, image), BootInfo.NONE)
    foreign = ForeignBoot(
        way, kernel, options.initrd, request.command_line, options.variables, _store_size(options.variables)
    )
    return PreparedBoot(replace(options, entry=way.value), image, request, None, initrd, foreign)


def _check_volume(options: BootOptions, *, by_efi: bool) -> None:
    """Refuse a volume that nobody could see; UsageError."""
    if not by_efi:
        raise UsageError(f"{options.entry} boots without EFI's file protocol: expected no --esp")
    if guids.SIMPLE_FILE_SYSTEM_PROTOCOL not in options.profile.protocols:
        raise UsageError(
            f"--esp expects a profile with the file protocol, found {options.profile.name}", "--profile linux"
        )


def _place_on_volume(options: BootOptions) -> str:
    """Return where the image stands on the volume, as EFI spells it; empty where it stands elsewhere."""
    if options.esp is None:
        return ""
    image = Path(os.path.realpath(options.image.parent), options.image.name)
    top = Path(os.path.realpath(options.esp))
    return "\\" + "\\".join(image.relative_to(top).parts) if image.is_relative_to(top) else ""


def _without_variables(entry: str) -> UsageError:
    return UsageError(f"{entry} boots without EFI variables: expected no --vars")


def _store_size(variables: Path | None) -> int:
    """Return the bytes that a store takes, 0 without one; ImageError when it is not sound."""
    if variables is None:
        return 0
    with Edk2Store.open(variables, writable=False) as store:
        return store.size


def _vmlinux(image: Image, data: bytes) -> bytes:
    if image.payload is None:
        return data
    stream = PayloadStream(str(image.path), data, image.payload)
    return stream.read(0, stream.size)


def prepare_all(options: BootOptions) -> tuple[PreparedBoot, ...]:
    """Read what is to be booted once, for each entry that the image has; `options.entry` counts for nothing.

    An entry that cannot carry hypervisor information as asked carries it in its own way, if it has one. One
    that the profile cannot serve is left out. On Xen the entries of its own are taken by its own loader.
    """
    read = _read(options)
    image = read[0]
    ways = [
        way
        for way in (ForeignWay.XEN_PVH, ForeignWay.XEN_PV)
        if options.machine.name == "xen" and _boots(image, way)
    ]
    found = [
        entry
        for entry in ENTRIES.values()
        if _enters(image, entry) and _profile_does(options, entry)
        if not (ways and entry.kind is EntryKind.PVH)
    ]
    if not found and not ways:
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
    ) + tuple(_prepared_foreign(replace(options, variables=None), way, *read) for way in ways)


def _read(options: BootOptions, *, deep: bool = True) -> tuple[Image, bytes, memoryview | None]:
    _check_command_line(options.command_line or "")
    image = inspect(options.image, deep=deep)
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
    if not _profile_does(options, entry):
        raise UsageError(
            f"expected a profile whose runtime services stay for the entry {entry.kind.value}, "
            f"found {options.profile.name}",
            "--profile linux",
        )
    boot_info = options.boot_info or entry.boot_info[0]
    if boot_info not in entry.boot_info:
        raise UsageError(
            f"expected an entry that carries hypervisor information by {boot_info.value}, "
            f"found {entry.kind.value}",
            "leave --boot-info out",
        )
    request = EntryRequest(image, data, _command_line(options, image), boot_info, _place_on_volume(options))
    entry.check(request)
    return PreparedBoot(options, image, request, kernel_watch(image, data), initrd)


def ways_into(image: Image) -> tuple[str, ...]:
    """Return every way into `image`: pvefi's entries in the order of ENTRIES, then who else can boot it.

    Whether the machine and the profile are fit for a way is not asked here.
    """
    ours = [name for name, entry in ENTRIES.items() if _enters(image, entry)]
    return (*ours, *(way.value for way in ForeignWay if _boots(image, way)))


def _enters(image: Image, entry: Entry) -> bool:
    return image.entry(entry.kind, entry.bits) is not None and _runs(image, entry)


def _boots(image: Image, way: ForeignWay) -> bool:
    """Whether somebody else can boot the image; QEMU gives OVMF only what has Linux's setup header."""
    has_it = image.entry(_entry_of(way)) is not None
    return has_it and (way is not ForeignWay.OVMF or image.bzimage is not None)


def _profile_does(options: BootOptions, entry: Entry) -> bool:
    return options.profile.stays or not entry.needs_runtime


def _runs(image: Image, entry: Entry) -> bool:
    """Whether the hand-off of what `entry` starts would be recognised: that of a 32-bit kernel is not."""
    return entry.kind is EntryKind.EFI or image.vmlinux is None or image.vmlinux.is_64bit


def _command_line(options: BootOptions, image: Image) -> str:
    """Return what the image is given: the user's words, or a console, and what the machine has to say."""
    if image.bzimage is None and image.vmlinux is None:
        return options.command_line or ""
    line = options.command_line
    if line is None:
        line = f"console={options.machine.console}" if options.machine.runs_kernels else ""
    argument = options.machine.kernel_argument()
    if not argument or argument.partition("=")[0] in line:
        return line
    return f"{argument} {line}".rstrip()


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


def not_started(prepared: PreparedBoot, why: str) -> BootResult:
    """Return the result of a boot of which nothing ran, because of `why`."""
    options = prepared.options
    return BootResult(
        image=str(prepared.image.path),
        image_sha256=prepared.image.sha256,
        machine=options.machine.name,
        machine_about=options.machine.about,
        entry=options.entry,
        profile="" if prepared.foreign else options.profile.name,
        memory_size=options.memory_size,
        cpus=options.cpus,
        command_line=prepared.request.command_line,
        initrd=str(options.initrd or ""),
        variables=str(options.variables or ""),
        esp=str(options.esp or ""),
        boot_info=prepared.request.boot_info.value,
        seed=options.seed,
        goal=options.goal,
        verdict=Verdict(Outcome.NOT_STARTED, why),
        handoff=None,
        calls=(),
        calls_made=0,
        seconds=0.0,
        milestones={},
        restarts=0,
        host_seconds=0.0,
        instructions=None,
        instructions_to_image=None,
        faults=tuple(str(fault) for fault in options.faults),
    )


def _entries(image: Image) -> str:
    return ", ".join(entry.kind.value for entry in image.entries) or "none"

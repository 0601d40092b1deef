# SPDX-License-Identifier: GPL-2.0-or-later
"""What each path into a kernel gives, and what it loses: entries are columns, what a kernel lives by is rows.

A cell says what was seen and is marked as there or lacking. What nobody could see is not measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pvefi.entries import ENTRIES
from pvefi.evaluate.analysis.calls import Call
from pvefi.evaluate.analysis.results import not_measured, short_names, shown, times_text
from pvefi.evaluate.analysis.views import View, views
from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.layout import Guid
from pvefi.report.boot_params_meaning import meaning_of
from pvefi.report.mapping import rights_text
from pvefi.spec.linux.boot_params import EFI64_LOADER_SIGNATURE
from pvefi.spec.linux.screen_info import VideoType
from pvefi.spec.linux.setup_data import SetupDataType
from pvefi.spec.paging import CR0_WRITE_PROTECT, EFER_NO_EXECUTE
from pvefi.spec.uefi import guids
from pvefi.trace.spelling import spell

__all__ = ["paths_section"]

_MODES = {64: "64-bit, paging on", 32: "32-bit, paging off"}
_FOREIGN_MODES = {
    "qemu-linux": "16-bit, after a BIOS",
    "qemu-pvh": "32-bit, paging off",
    "ovmf": "64-bit, paging on",
    "xen-pvh": "32-bit, paging off",
    "xen-pv": "64-bit, under Xen's page tables",
}
_BY_START_INFO = ("pvh", "qemu-pvh", "xen-pvh")
"""Ways by which a kernel gets struct hvm_start_info, which has a field for ACPI's root pointer."""
_UNTOLD = "the hand-off was not recorded"
_RANDOM_READY = re.compile(r"\bcrng (?:init )?done\b")
"""Linux drivers/char/random.c: "crng init done"; before, "crng done (trusting CPU's manufacturer)", too."""
_UNASKED = "the kernel's own view was not asked for, or it could not tell it"
_PLACES_SHOWN = 4


def paths_section(evaluation: Evaluation) -> Section:
    """Return for every kernel what it gets by each entry and what it goes without."""
    tables = [_table(evaluation, image) for image in evaluation.images if image.is_kernel]
    text = (
        "What the kernel has by each entry, from the recorded hand-off and from what the booted kernel says "
        "of itself (/sys/kernel/boot_params, /proc/kcore, its log). Of other loaders only the latter "
        "is known.",
    )
    return Section(
        "paths",
        "What each path gives or loses",
        text,
        tuple(one for one in tables if one.rows),
        short="Gains and losses",
    )


def _table(evaluation: Evaluation, image: ImageFacts) -> Table:
    columns = [view for view in views(evaluation, image) if view.ran]
    rows = tuple(
        (cell(title), *(make(view) for view in columns), cell(meaning))
        for title, make, meaning in _ROWS
        if columns
    )
    machines = ", ".join(f"{view.entry} {view.machine}" for view in columns)
    return Table(
        short_names(evaluation)[image.file.sha256],
        ("what", *(view.entry for view in columns), "what it is for"),
        rows,
        f"Seen on: {machines}; places by KASLR over all boots on all machines.",
    )


def _there(text: str, note: str = "") -> Cell:
    return Cell(shown(text, 120), None, Mark.GOOD, shown(note))


def _lacking(text: str, note: str = "") -> Cell:
    return Cell(shown(text, 120), None, Mark.BAD, shown(note))


def _mode(view: View) -> Cell:
    entry = ENTRIES.get(view.entry)
    told = _MODES.get(entry.bits) if entry is not None else _FOREIGN_MODES.get(view.entry)
    return cell(told, note="by the entry's definition")


def _decompressor(view: View) -> Cell:
    if view.handoff is None:
        return not_measured("pvefi does not watch what another loader enters")
    return cell(shown(str(view.handoff.path.get("decompressor", "not told")), 40))


def _places(slides: Sequence[int], view: View) -> Cell:
    """Return the cell of the places at which the kernel stood, over all boots that tell one."""
    if not slides:
        return not_measured("neither the hand-off nor the kernel tells where it stands")
    different = sorted(set(slides))
    listed = ", ".join(f"{one:#x}" for one in different[:_PLACES_SHOWN])
    listed += ", …" if len(different) > _PLACES_SHOWN else ""
    boots = f"{len(slides)} boot{'s' if len(slides) > 1 else ''}"
    if len(different) > 1:
        return Cell(f"{len(different)} places in {boots}", len(different), Mark.GOOD, listed)
    seeded = sum(result.task.seed is not None for result in view.results)
    note = f"{seeded} of the boots had a fixed seed" if seeded else ""
    if different == [0]:
        return Cell(f"none: as linked in {boots}", 0, Mark.BAD, note)
    return Cell(f"{listed} in {boots}", different[0], Mark.NONE, note)


def _physical(view: View) -> Cell:
    return _places(view.slides, view)


def _virtual(view: View) -> Cell:
    return _places(view.virtual_slides, view)


def _seed(view: View) -> Cell:
    if view.handoff is None and not _has_log(view):
        return not_measured(_UNASKED)
    nodes = (
        *(view.handoff.setup_data if view.handoff else ()),
        *(view.facts.setup_data if view.facts else ()),
    )
    given = []
    if SetupDataType.RNG_SEED in nodes:
        given.append("setup_data RNG_SEED")
    by_log = view.facts is not None and view.facts.said(r"^efi:.*\bRNG=0x")
    if by_log or _has_table(view, guids.LINUX_RANDOM_SEED):
        given.append("LINUX_EFI_RANDOM_SEED table")
    asked = [call for call in view.calls if call.service == "EFI_RNG_PROTOCOL.GetRNG"]
    note = (
        f"GetRNG called {times_text(len(asked))}" if asked else "GetRNG was not called" if view.calls else ""
    )
    return _there(", ".join(given), note) if given else _lacking("none", note)


def _has_log(view: View) -> bool:
    """Whether the booted kernel has told its log."""
    return view.facts is not None and bool(view.facts.messages)


def _has_table(view: View, *wanted: Guid) -> bool:
    return view.handoff is not None and any(guid in wanted for guid, _ in view.handoff.tables)


def _random_ready(view: View) -> Cell:
    if view.facts is None or not view.facts.messages:
        return not_measured(_UNASKED)
    for message in view.facts.messages:
        if _RANDOM_READY.search(message.text) and message.seconds is not None:
            return Cell(f"at {message.seconds:.3f} s", message.seconds, note="of the kernel's own clock")
    return _lacking("not before its first process", "the log has no 'crng done' or 'crng init done'")


def _w_xor_x(view: View) -> Cell:
    if view.handoff is None:
        return not_measured(_UNTOLD)
    if not view.handoff.mapping:
        return not_measured("the record has no page tables of 64-bit mode")
    rights = [rights_text(one) for one in view.handoff.mapping]
    note = "; ".join(
        f"linked {one.linked}: {text}" for one, text in zip(view.handoff.mapping, rights, strict=True)
    )
    if view.handoff.path.get("kernel_start") != "startup_64":
        note += "; entered with paging off, these are the kernel's own first page tables"
    both = sum(one.both for one in view.handoff.mapping)
    whole = sum(one.size for one in view.handoff.mapping)
    seen = sum(one.mapped for one in view.handoff.mapping)
    if not seen:
        return not_measured(f"its page tables map nothing of the kernel one to one: {note}")
    if not both and seen < whole:
        return Cell(f"yes, of the {100 * seen // whole} % that were seen", None, Mark.NONE, note)
    if not both:
        return _there("yes", note)
    return _lacking(f"no: {100 * both // whole} % writable and executable", note)


def _means(view: View) -> Cell:
    if view.handoff is None:
        return not_measured(_UNTOLD)
    registers = view.handoff.registers
    if "cr0" not in registers or "efer" not in registers:
        return not_measured("the record lacks CR0 or EFER")
    protects = bool(registers["cr0"] & CR0_WRITE_PROTECT)
    forbids = bool(registers["efer"] & EFER_NO_EXECUTE)
    text = f"CR0.WP {'on' if protects else 'off'}, EFER.NXE {'on' if forbids else 'off'}"
    return Cell(text, None, Mark.GOOD if protects and forbids else Mark.BAD)


def _protected_later(view: View) -> Cell:
    if view.facts is None or not view.facts.messages:
        return not_measured(_UNASKED)
    checked = view.facts.said(r"Checked W\+X mappings")
    if checked:
        good = "passed" in checked
        return (_there if good else _lacking)("checked, none found" if good else "found some", checked)
    protected = view.facts.said(r"Write protecting the kernel")
    return _there("read-only data", protected) if protected else _lacking("not told", "its log says nothing")


def _asked(view: View, protocol: str) -> str:
    """Return what came of asking for a protocol, in a few words."""
    asked: list[Call] = [call for call in view.calls if call.guid == protocol]
    if not asked:
        return f"{protocol} was not asked for" if view.calls else ""
    statuses = ", ".join(sorted({call.status for call in asked}))
    return f"{protocol} was asked for {times_text(len(asked))}: {statuses}"


def _tpm_log(view: View) -> Cell:
    if view.handoff is None and not _has_log(view):
        return not_measured(_UNASKED)
    note = _asked(view, "TCG2_PROTOCOL")
    by_log = view.facts.said(r"TPM(?:Event|Final)Log=0x") if view.facts is not None else ""
    if by_log or _has_table(view, guids.LINUX_TPM_EVENT_LOG, guids.LINUX_TPM_FINAL_LOG):
        return _there("event log table", note)
    return _lacking("none", note)


def _acpi(view: View) -> Cell:
    params = view.boot_params
    if params is None:
        return not_measured(_UNASKED)
    found = view.facts.said(r"^ACPI: RSDP ") if view.facts is not None else ""
    if _has_table(view, guids.ACPI_20_TABLE, guids.ACPI_TABLE):
        return _there("EFI table", found)
    if params.acpi_rsdp_addr:
        return _there(f"boot_params, {params.acpi_rsdp_addr:#x}", found)
    if view.facts is not None and view.facts.said(r"^efi:.*\bACPI(?: 2\.0)?=0x"):
        return _there("EFI table", found)
    if found and view.entry in _BY_START_INFO:
        return Cell("hvm_start_info, or found", None, Mark.NONE, f"hvm_start_info is not recorded; {found}")
    if found:
        return Cell("no pointer: it searched for it", None, Mark.NONE, shown(found))
    return _lacking("none", "the machine has no ACPI, or nobody told where it is")


def _frame_buffer(view: View) -> Cell:
    params = view.boot_params
    if params is None:
        return not_measured(_UNASKED)
    screen, note = params.screen_info, _asked(view, "GRAPHICS_OUTPUT_PROTOCOL")
    kind = spell(screen.orig_video_is_vga)
    if screen.orig_video_is_vga in (VideoType.EFI, VideoType.VLFB) and screen.lfb_base:
        size = f"{screen.lfb_width}x{screen.lfb_height}x{screen.lfb_depth}"
        return _there(f"{kind}, {size} at {screen.lfb_base | screen.ext_lfb_base << 32:#x}", note)
    if screen.orig_video_is_vga != VideoType.NONE:
        return Cell(f"text mode ({kind})", None, Mark.NONE, note)
    return _lacking("none", note)


def _runtime(view: View) -> Cell:
    params = view.boot_params
    if params is None:
        return not_measured(_UNASKED)
    said = view.facts.said(r"^efi: EFI v") if view.facts is not None else ""
    if params.efi_info.efi_loader_signature == EFI64_LOADER_SIGNATURE:
        if view.facts is not None and not view.facts.has_efi:
            return _lacking("handed over, but the kernel shows none", said)
        return _there("yes", said)
    return _lacking("none", said)


def _secure_boot(view: View) -> Cell:
    params = view.boot_params
    if params is None:
        return not_measured(_UNASKED)
    told = meaning_of("secure_boot", params.secure_boot, params) or f"{int(params.secure_boot)}"
    note = view.facts.said(r"[Ss]ecure ?boot") if view.facts is not None else ""
    return cell(shown(told, 40).lower(), note=shown(note))


def _initrd(view: View) -> Cell:
    params = view.boot_params
    if params is None:
        return not_measured(_UNASKED)
    loads = sum(
        call.service == "EFI_LOAD_FILE2_PROTOCOL.LoadFile" and not call.refused for call in view.calls
    )
    if loads:
        return _there("EFI_LOAD_FILE2_PROTOCOL", f"{loads} calls that were answered")
    if params.ramdisk_size:
        told = f"{params.ramdisk_size:,} bytes at {params.ramdisk_address:#x}"
        by_stub = params.efi_info.efi_loader_signature == EFI64_LOADER_SIGNATURE
        if by_stub and view.handoff is None:  # the stub fills in boot_params itself, whatever it loads by
            return Cell(told, None, Mark.NONE, "by what means is not told: its calls are not seen")
        return _there("boot_params", told)
    return Cell("none given", None, Mark.MISSING, "these boots had none")


def _maps(view: View) -> Cell:
    params = view.boot_params
    if params is None:
        return not_measured(_UNASKED)
    e820 = f"e820 of {len(params.memory_map)} entries"
    size = params.efi_info.efi_memdesc_size
    if params.efi_info.efi_loader_signature == EFI64_LOADER_SIGNATURE and size:
        return cell(f"{e820}, EFI map of {params.efi_info.efi_memmap_size // size}")
    return cell(e820)


def _loader(view: View) -> Cell:
    params = view.boot_params
    if params is None:
        return not_measured(_UNASKED)
    return cell(shown(meaning_of("hdr.type_of_loader", params.hdr.type_of_loader, params), 60) or "none told")


def _services(view: View) -> Cell:
    if view.calls:
        return cell(len(view.calls), note=f"{len({call.service for call in view.calls})} different services")
    if view.entry in ENTRIES:
        return Cell("none", 0)
    return not_measured("it is not pvefi that answers there")


_ROWS: tuple[tuple[str, Callable[[View], Cell], str], ...] = (
    ("CPU at the entry", _mode, "what whoever enters the image has to set up"),
    ("decompressor", _decompressor, "the code in the image that unpacks the kernel proper and moves it"),
    ("KASLR, physical", _physical, "by how much the kernel stands elsewhere than it was linked to"),
    ("KASLR, virtual", _virtual, "by how much its virtual addresses were moved"),
    ("random seed", _seed, "entropy that the kernel is given, before it has any of its own"),
    ("random numbers ready", _random_ready, "when the kernel calls its generator seeded"),
    ("W^X at the hand-off", _w_xor_x, "no byte of the kernel is writable and executable at once"),
    ("what W^X needs of the CPU", _means, "without these bits page tables cannot forbid it"),
    ("W^X in the running kernel", _protected_later, "what the kernel says when it has set up its own"),
    ("TPM event log", _tpm_log, "measurements made before the kernel"),
    ("ACPI root pointer", _acpi, "by what means the kernel finds ACPI"),
    ("frame buffer", _frame_buffer, "screen_info, for a picture before drivers"),
    ("EFI runtime services", _runtime, "variables, time and reset by EFI"),
    ("Secure Boot state", _secure_boot, "boot_params.secure_boot"),
    ("initrd", _initrd, "by what means it came"),
    ("memory map", _maps, "what the kernel knows of memory"),
    ("boot loader", _loader, "type_of_loader: whom the kernel takes its loader for"),
    ("EFI services called", _services, "how many calls pvefi answered in a boot"),
)

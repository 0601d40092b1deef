# SPDX-License-Identifier: GPL-2.0-or-later
"""The points of the 2016 page on custom entries, and for EFI but its services, each held against this run.

Every finding follows from results: nothing here knows what a kernel does. Source of the headings:
https://kernelnewbies.org/KernelProjects/x86-xen-efi
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from pvefi.evaluate.analysis.argument_evidence import (
    Evidence,
    Finding,
    Kernel,
    Point,
    Speaks,
    counted,
    exact_instructions,
    listed,
    unmeasured,
)
from pvefi.evaluate.analysis.results import document_of
from pvefi.evaluate.analysis.views import View
from pvefi.report.boot_document import BootDocument
from pvefi.report.handoff_diff import diff_boots
from pvefi.spec.linux.boot_params import EFI64_LOADER_SIGNATURE
from pvefi.spec.pvefi.hypervisor_information import SETUP_DATA_TYPE
from pvefi.spec.uefi.guids import PVEFI_HYPERVISOR_INFORMATION
from pvefi.trace.spelling import spell

__all__ = ["FOR_EFI", "FOR_EFI_LAST", "ISSUES"]

_NATIVE = "startup_64"
_EFI = "efi"
_STUBS = ("linux64", "linux32", "efi-handover", "kexec")
"""Entries at which the loader has made a zero page."""
_PLACES: Mapping[str, Callable[[View], Sequence[int]]] = {
    "physically": lambda view: view.slides,
    "virtually": lambda view: view.virtual_slides,
}
_PVH = ("pvh", "qemu-pvh", "xen-pvh")


def _bypass(evidence: Evidence) -> Finding:
    around: list[tuple[Kernel, View]] = []
    through: list[tuple[Kernel, View]] = []
    for kernel in evidence.kernels:
        for view in kernel.ways:
            if view.handoff is not None:
                native = view.handoff.path.get("kernel_start") == _NATIVE
                (through if native else around).append((kernel, view))
    if not around:
        return unmeasured("no hand-off was recorded of an entry that goes round startup_64")
    starts = listed(
        f"{view.entry} at {view.handoff.path.get('kernel_start')}" for _, view in around if view.handoff
    )
    lost: list[str] = []
    kept: list[str] = []
    for kernel, view in around:
        others = [other for one, other in through if one is kernel]
        loses = [
            f"{how} (moved by {listed(moved)})"
            for how, slides in _PLACES.items()
            if (moved := [other.entry for other in others if any(slides(other))])
            and slides(view)
            and not any(slides(view))
        ]
        (lost if loses else kept).append(f"{kernel.name} by {view.entry} {' and '.join(loses)}".strip())
    if lost:
        shows = (
            f"Entered elsewhere than at {_NATIVE}: {starts}. Without KASLR, at the place it was linked for: "
        )
        return Finding(shows + f"{listed(lost, '; ')}.", Speaks.FOR)
    return Finding(
        f"Entered elsewhere than at {_NATIVE}: {starts}. No loss of KASLR is seen for {listed(kept)}.",
        Speaks.UNDECIDED,
    )


def _stubs(evidence: Evidence) -> Finding:
    through, apart = [], []
    for kernel in evidence.kernels:
        told = []
        for entry in _STUBS:
            view = kernel.way(entry)
            if view is None or view.handoff is None:
                continue
            through.append((entry, view.handoff.path.get("kernel_start") == _NATIVE, any(view.slides)))
            if (fields := _fields_apart(kernel.way(_EFI), view)) is not None:
                told.append(f"{entry} {fields}")
        apart += [f"{kernel.name}: {', '.join(told)}"] if told else []
    if not through:
        return unmeasured("no hand-off was recorded of an entry at which the loader makes the zero page")
    native = sorted({entry for entry, is_native, _ in through if is_native})
    moved = sorted({entry for entry, _, is_moved in through if is_moved})
    entries = max(len(kernel.image.ways) for kernel in evidence.kernels)
    shows = (
        f"By {listed(native) or 'none of them'} the kernel proper begins at {_NATIVE}; "
        f"KASLR moved it by {listed(moved) or 'none'}. "
        f"A loader has the choice of up to {entries} ways into one image."
    )
    if apart:
        shows += f" Fields handed over otherwise than by {_EFI}, without what only moved: "
        shows += f"{listed(apart, '; ')}."
    good = all(is_native for _, is_native, _ in through)
    return Finding(shows, Speaks.FOR if good else Speaks.AGAINST)


def _documents(view: View | None) -> dict[str, BootDocument]:
    """Return a recorded hand-off by machine."""
    found: dict[str, BootDocument] = {}
    for result in view.results if view is not None else ():
        document = document_of([result])
        if document is not None:
            found.setdefault(result.task.machine, document)
    return found


def _fields_apart(base: View | None, other: View) -> str | None:
    """Return in how many fields two hand-offs on one machine differ in more than an address."""
    theirs = _documents(other)
    for machine, document in _documents(base).items():
        if machine in theirs:
            rows = diff_boots(document, theirs[machine]).differences
            parts = Counter(row.section for row in rows if not row.moved and row.section != "registers")
            return f"{parts.total()} ({parts['boot_params']} of boot_params)"
    return None


def _conventions(evidence: Evidence) -> Finding:
    own = [kernel.name for kernel, _ in evidence.by(_EFI)]
    other = [kernel.name for kernel, _ in evidence.by("ovmf")]
    if not own and not other:
        return unmeasured("no kernel came to its kernel proper by the EFI entry")
    both = [name for name in own if name in other]
    if both:
        shows = f"pvefi and OVMF, which share no code, boot the same bytes by this entry: {listed(both)}."
        return Finding(shows, Speaks.FOR)
    who = "pvefi" if own else "OVMF"
    return Finding(
        f"{who} boots {listed(own or other)} by it; no other firmware did so in this run.", Speaks.UNDECIDED
    )


def _generalises(evidence: Evidence) -> Finding:
    shows, lacking = [], []
    for kernel in evidence.kernels:
        efi = kernel.way(_EFI)
        pvh = next((view for entry in _PVH if (view := kernel.way(entry)) and kernel.arrived(entry)), None)
        if efi is None or pvh is None or not kernel.arrived(_EFI):
            continue
        ours, theirs = _gifts(efi, pvh), _gifts(pvh, efi)
        lacking += [f"{one} ({kernel.name})" for one in sorted(theirs - ours)]
        more = sorted(ours - theirs)
        text = f"{kernel.name}: {pvh.entry} gives {listed(sorted(theirs)) or 'nothing that was seen'}"
        text += f"; {_EFI} also {listed(more)}" if more else f"; {_EFI} gives no more"
        one, two = exact_instructions(efi), exact_instructions(pvh)
        if one and two:
            text += f", for {one:,} instructions to the hand-off against {two:,}"
        shows.append(text)
    if not shows:
        return unmeasured("no kernel was booted by both the EFI and the PVH entry")
    if lacking:
        return Finding(f"{listed(shows, '; ')}. By {_EFI} it lacks {listed(lacking)}.", Speaks.AGAINST)
    note = "by pvh the host has unpacked the kernel, by efi the guest does; the matrix says what was entered"
    return Finding(f"{listed(shows, '; ')}.", Speaks.FOR, note)


def _gifts(view: View, other: View) -> set[str]:
    """Return what a kernel was seen to have been given by one entry, of what both could show."""
    found = set()
    params = view.boot_params
    if params is not None and other.boot_params is not None:
        found |= {"a memory map"} if params.memory_map else set()
        found |= {"an initrd"} if params.ramdisk_size else set()
        found |= (
            {"EFI runtime services"}
            if params.efi_info.efi_loader_signature == EFI64_LOADER_SIGNATURE
            else set()
        )
    if view.handoff is not None and other.handoff is not None:
        found |= {"a command line"} if view.handoff.command_line else set()
    if any(view.slides) and other.slides:
        found.add("KASLR")
    logs = all(one.facts is not None and one.facts.messages for one in (view, other))
    if logs and view.facts is not None and view.facts.said(r"^ACPI: RSDP "):
        found.add("ACPI")
    return found


def _semantics(evidence: Evidence) -> Finding:
    by_table, by_node, nothing, others = [], [], [], []
    for kernel in evidence.kernels:
        for view in kernel.ways:
            nodes = (
                *(view.handoff.setup_data if view.handoff else ()),
                *(view.facts.setup_data if view.facts else ()),
            )
            others += [f"{spell(one)} ({view.entry})" for one in nodes if one != SETUP_DATA_TYPE]
            if view.handoff is None:
                continue
            if any(guid == PVEFI_HYPERVISOR_INFORMATION for guid, _ in view.handoff.tables):
                by_table.append(view.entry)
            elif SETUP_DATA_TYPE in nodes:
                by_node.append(view.entry)
            else:
                nothing.append(view.entry)
    if not (by_table or by_node or nothing):
        return unmeasured("no hand-off was recorded")
    shows = (
        f"pvefi's hypervisor information reached the kernel proper as a configuration table by "
        f"{listed(by_table) or 'no entry'}, as a setup_data node by {listed(by_node) or 'no entry'}, "
        f"and not at all by {listed(nothing) or 'none'}."
    )
    shows += (
        f" Other setup_data nodes: {listed(others)}." if others else " There were no other setup_data nodes."
    )
    note = (
        ""
        if by_node
        else "evaluate takes each entry's own means; `pvefi boot --boot-info setup-data` takes the other"
    )
    return Finding(shows, Speaks.MEASURED, note)


def _kexec(evidence: Evidence) -> Finding:
    booted = evidence.by("kexec")
    if not booted:
        return unmeasured("no kernel was booted by the entry kexec")
    runtime = [
        kernel.name
        for kernel, view in booted
        if view.boot_params is not None
        and view.boot_params.efi_info.efi_loader_signature == EFI64_LOADER_SIGNATURE
    ]
    calls = max(len(view.calls) for _, view in booted)
    without = [kernel.name for kernel, _ in booted if kernel.name not in runtime]
    shows = (
        f"{counted(len(booted), 'kernel')} came up as kexec starts one: at startup_64 with a zero page, "
        f"without boot services. EFI's runtime services were handed over to {listed(runtime) or 'none'}"
        + (f", not to {listed(without)}" if without else "")
        + f"; {counted(calls, 'call')} of them at most."
    )
    return Finding(shows, Speaks.FOR, "so the EFI entry does not replace that path: it comes besides")


def _arm(_: Evidence) -> Finding:
    return unmeasured("every machine here is x86-64")


ISSUES = (
    Point(
        "Bypassing native startup_32() / startup_64()",
        "Entries that go round the kernel's own start, as Xen PV's does, miss what that start does.",
        _bypass,
    ),
    Point(
        "Small x86 zero page stubs",
        "Small entries that fill a zero page and go on natively are better; each is one more to choose from.",
        _stubs,
    ),
)
FOR_EFI = (
    Point(
        "EFI calling conventions are standardized",
        "How the EFI entry is called is written in a published standard that has many implementers.",
        _conventions,
    ),
    Point(
        "EFI entry generalizes what new HVMLite entry proposes",
        "All that the HVMLite (PVH) entry tells a kernel, the EFI entry can tell as well.",
        _generalises,
    ),
    Point(
        "Further semantics may be needed",
        "A kernel may need to know of its hypervisor early: by an EFI configuration table, or by setup_data.",
        _semantics,
    ),
    Point(
        "Match Xen ARM's clean solution",
        "Xen on ARM enters guests by one clean path; x86 could follow.",
        _arm,
    ),
)
FOR_EFI_LAST = (
    Point(
        "kexec needs a boot path as well",
        "Whatever entry is chosen, a kernel that another one starts by kexec needs a way in, too.",
        _kexec,
    ),
)

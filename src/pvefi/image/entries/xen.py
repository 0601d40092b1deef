# SPDX-License-Identifier: GPL-2.0-or-later
"""The entries that a kernel's ELF notes name to Xen: PVH and Xen PV (xen/include/public/elfnote.h)."""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.image.entries.kernel import is_linux, kernel_entry
from pvefi.image.model import AddressKind, Contents, Decompressor, Entry, EntryKind
from pvefi.image.vmlinux import Vmlinux
from pvefi.spec.xen.elfnote import (
    LEAST_RELOCATION_ALIGNMENT,
    PVH_V1_FEATURES,
    RELOCATION_FIELDS,
    XenElfNote,
    feature_names,
    feature_words,
)

__all__ = ["xen_entries"]

_PACKED_REMARK = "the loader decompresses the kernel; its KASLR is bypassed with the decompressor"
_PVH_STATE = (
    "the ELF's load segments at their physical addresses",
    "32-bit protected mode, cr0 only PE, cr4 0; flat cs, ds, es, ss; tr: a 32-bit TSS; IF, TF, VM 0",
    "ebx: hvm_start_info",
)
_XEN_PV_STATE = (
    "a Xen PV domain: page tables, physical-to-machine map and shared info built by the domain builder",
    "rsi: start_info; rsp: the stack that Xen gives; interrupts off",
)


def xen_entries(contents: Contents) -> Iterator[Entry]:
    """Yield the entries that the notes of the kernel proper name."""
    vmlinux = contents.vmlinux
    if vmlinux is None:
        return
    packed = contents.bzimage is not None
    decompressor = Decompressor.BYPASSED if packed else Decompressor.NONE
    linux = is_linux(vmlinux)
    pvh = vmlinux.xen_number(XenElfNote.PHYS32_ENTRY)
    if pvh is not None:
        yield Entry(
            kind=EntryKind.PVH,
            bits=32,
            address=pvh,
            address_kind=AddressKind.PHYSICAL,
            file_offset=None,
            demands=_PVH_STATE,
            source="xen/include/public/arch-x86/hvm/start_info.h",
            decompressor=decompressor,
            # arch/x86/platform/pvh/head.S: pvh_start_xen fills boot_params and jumps to the native entry
            kernel_entry=f"pvh_start_xen, then {kernel_entry(contents)}" if linux else "the note's address",
            remark=_remark(
                "; ".join(filter(None, (_PACKED_REMARK * packed, _relocation(vmlinux)))),
                points_nowhere=not any(s.spans_physical(pvh) for s in vmlinux.load_segments),
            ),
        )
    virtual = vmlinux.xen_number(XenElfNote.ENTRY)
    if virtual is not None:
        yield Entry(
            kind=EntryKind.XEN_PV,
            bits=64 if vmlinux.is_64bit else 32,
            address=virtual,
            address_kind=AddressKind.VIRTUAL,
            file_offset=None,
            demands=_XEN_PV_STATE,
            source="xen/include/public/xen.h",
            decompressor=decompressor,
            kernel_entry="startup_xen" if linux else "the note's address",
            remark=_remark(
                "; ".join(filter(None, ("the loader decompresses the kernel" * packed, _pvh_v1(vmlinux)))),
                points_nowhere=not any(s.spans_virtual(virtual) for s in vmlinux.load_segments),
            ),
        )


def _remark(remark: str, *, points_nowhere: bool) -> str:
    return "the note points outside the load segments" if points_nowhere else remark


def _relocation(vmlinux: Vmlinux) -> str:
    """Say where a kernel that can be moved may go, by its PHYS32_RELOC note and the defaults beside it."""
    note = vmlinux.xen_note(XenElfNote.PHYS32_RELOC)
    if note is None or not isinstance(note.value, tuple):
        return ""
    largest = max((load.alignment for load in vmlinux.load_segments), default=0)
    defaults = [value for _, value in RELOCATION_FIELDS]
    if largest >= LEAST_RELOCATION_ALIGNMENT:
        defaults[0] = largest
    alignment, lowest, highest = [*note.value, *defaults[len(note.value) :]][: len(defaults)]
    return f"may be moved to {lowest:#x} to {highest:#x}, aligned to {alignment:#x}"


def _pvh_v1(vmlinux: Vmlinux) -> str:
    """Say so when a kernel offers PVH as Xen 4.4 to 4.9 had it: the PV entry with these features."""
    supported = set(feature_names(vmlinux.xen_number(XenElfNote.SUPPORTED_FEATURES) or 0))
    note = vmlinux.xen_note(XenElfNote.FEATURES)
    if note is not None and isinstance(note.value, str):
        supported |= {name for name, _ in feature_words(note.value)}
    return (
        "with its features it is the PVH v1 entry too (Xen 4.4 to 4.9)"
        if supported >= PVH_V1_FEATURES
        else ""
    )

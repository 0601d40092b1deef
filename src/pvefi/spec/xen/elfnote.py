# SPDX-License-Identifier: GPL-2.0-or-later
"""The ELF notes by which a kernel tells Xen how it wants to be started.

Source: xen/include/public/elfnote.h; feature numbers: xen/include/public/features.h.
"""

from __future__ import annotations

from enum import StrEnum

from pvefi.layout import OpenEnum

__all__ = [
    "LEAST_RELOCATION_ALIGNMENT",
    "NOTE_NAME",
    "NoteForm",
    "PVH_V1_FEATURES",
    "RELOCATION_FIELDS",
    "XenElfNote",
    "feature_names",
    "feature_words",
    "note_form",
]

NOTE_NAME = "Xen"
"""elfnote.h: the notes have "Xen" in the name field."""


class XenElfNote(OpenEnum):
    """XEN_ELFNOTE_* (xen/include/public/elfnote.h)."""

    INFO = 0
    ENTRY = 1
    HYPERCALL_PAGE = 2
    VIRT_BASE = 3
    PADDR_OFFSET = 4
    XEN_VERSION = 5
    GUEST_OS = 6
    GUEST_VERSION = 7
    LOADER = 8
    PAE_MODE = 9
    FEATURES = 10
    BSD_SYMTAB = 11
    HV_START_LOW = 12
    L1_MFN_VALID = 13
    SUSPEND_CANCEL = 14
    INIT_P2M = 15
    MOD_START_PFN = 16
    SUPPORTED_FEATURES = 17
    PHYS32_ENTRY = 18
    PHYS32_RELOC = 19
    CRASH_INFO = 0x1000001
    CRASH_REGS = 0x1000002
    DUMPCORE_NONE = 0x2000000
    DUMPCORE_HEADER = 0x2000001
    DUMPCORE_XEN_VERSION = 0x2000002
    DUMPCORE_FORMAT_VERSION = 0x2000003


class NoteForm(StrEnum):
    """What a note's descriptor holds."""

    NUMBER = "number"  # 4 or 8 bytes, "depending on the content of the desc field"
    NUMBERS = "numbers"  # several of them
    TEXT = "text"
    BYTES = "bytes"


_FEATURES = (
    "writable_page_tables",
    "writable_descriptor_tables",
    "auto_translated_physmap",
    "supervisor_mode_kernel",
    "pae_pgdir_above_4gb",
    "mmu_pt_update_preserve_ad",
    "highmem_assist",
    "gnttab_map_avail_bits",
    "hvm_callback_vector",
    "hvm_safe_pvclock",
    "hvm_pirqs",
    "dom0",
    "grant_map_identity",
    "memory_op_vnode_supported",
    "ARM_SMCCC_supported",
    "linux_rsdp_unrestricted",
    "not_direct_mapped",
    "direct_mapped",
    "runstate_phys_area",
    "vcpu_time_phys_area",
    "dm_msix_all_writes",
)
"""XENFEAT_*, by bit (xen/include/public/features.h)."""


def feature_names(features: int) -> list[str]:
    """Return the names of the bits in a SUPPORTED_FEATURES note; unknown bits as "bit 31"."""
    bits = [bit for bit in range(features.bit_length()) if features >> bit & 1]
    return [_FEATURES[bit] if bit < len(_FEATURES) else f"bit {bit}" for bit in bits]


PVH_V1_FEATURES = frozenset(
    {
        "writable_descriptor_tables",
        "auto_translated_physmap",
        "supervisor_mode_kernel",
        "hvm_callback_vector",
    }
)
"""A Xen PV kernel that supports all of these can be started as a PVH v1 guest.

Xen 4.4 to 4.9 had PVH v1, Linux 3.14 to 4.10 (arch/x86/xen/xen-head.S PVH_FEATURES_STR); PVH of today has an
entry of its own, PHYS32_ENTRY, and asks for no feature.
"""


def feature_words(text: str) -> list[tuple[str, bool]]:
    """Return the features of a FEATURES note, "|" between them, each with whether it is required ("!")."""
    words = [word.strip() for word in text.split("|")]
    return [(word.removeprefix("!"), word.startswith("!")) for word in words if word]


RELOCATION_FIELDS = (("alignment", 0x200000), ("lowest_address", 0), ("highest_address", 0xFFFFFFFF))
"""The values of a PHYS32_RELOC note in order, each with what holds when it is absent (elfnote.h)."""
LEAST_RELOCATION_ALIGNMENT = 0x1000
"""Without an alignment in the note the largest p_align counts, if it is as large as this (elfnote.h)."""

_TEXT = frozenset(
    {
        XenElfNote.INFO,
        XenElfNote.XEN_VERSION,
        XenElfNote.GUEST_OS,
        XenElfNote.GUEST_VERSION,
        XenElfNote.LOADER,
        XenElfNote.PAE_MODE,
        XenElfNote.FEATURES,
        XenElfNote.BSD_SYMTAB,
    }
)
_NUMBERS = {
    XenElfNote.L1_MFN_VALID: 8,  # maddr_t-sized mask and value pairs
    XenElfNote.PHYS32_RELOC: 4,  # up to three: alignment, lowest and highest address
}


def note_form(note: XenElfNote) -> tuple[NoteForm, int]:
    """Return the form of a note's descriptor, and for a row of numbers the size of each in bytes."""
    if note in _TEXT:
        return NoteForm.TEXT, 0
    if note in _NUMBERS:
        return NoteForm.NUMBERS, _NUMBERS[note]
    if XenElfNote.INFO <= note <= XenElfNote.PHYS32_RELOC:
        return NoteForm.NUMBER, 0
    return NoteForm.BYTES, 0

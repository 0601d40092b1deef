# SPDX-License-Identifier: GPL-2.0-or-later
"""The sections by which a boot stub carries a kernel and what belongs to it in one PE image.

Sources: UAPI.5 "Unified Kernel Image" "UKI Components" and "Multi-Profile UKIs", systemd-stub(7),
and for Xen docs/misc/efi.pandoc "Unified Xen kernel image".
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ADDON_SECTIONS",
    "KERNEL",
    "PROFILE",
    "SECTIONS",
    "Resource",
    "XEN_CONFIG",
    "XEN_KERNEL",
    "XEN_SECTIONS",
]


class Resource(StrEnum):
    """What a section holds."""

    KERNEL = "kernel"
    TEXT = "text"
    OS_RELEASE = "os-release"
    INITRD = "initrd"
    SPLASH = "splash image"
    DEVICE_TREE = "device tree"
    SBAT = "SBAT metadata"
    PCR_SIGNATURES = "PCR signatures"
    PUBLIC_KEY = "public key"
    PROFILE = "profile"
    BLOB = "data"


KERNEL = ".linux"
PROFILE = ".profile"

SECTIONS: dict[str, Resource] = {
    KERNEL: Resource.KERNEL,
    ".osrel": Resource.OS_RELEASE,
    ".cmdline": Resource.TEXT,
    ".initrd": Resource.INITRD,
    ".ucode": Resource.INITRD,
    ".splash": Resource.SPLASH,
    ".dtb": Resource.DEVICE_TREE,
    ".dtbauto": Resource.DEVICE_TREE,
    ".efifw": Resource.BLOB,
    ".fwauto": Resource.BLOB,
    ".hwids": Resource.BLOB,
    ".uname": Resource.TEXT,
    ".sbat": Resource.SBAT,
    ".pcrsig": Resource.PCR_SIGNATURES,
    ".pcrpkey": Resource.PUBLIC_KEY,
    PROFILE: Resource.PROFILE,
}
"""The sections of a unified kernel image; only `.linux` has to be there."""

ADDON_SECTIONS = frozenset({".cmdline", ".dtb", ".ucode", ".initrd"})
"""UAPI.5 "PE Addons": without `.linux`, one of these makes a PE image an addon."""

XEN_CONFIG = ".config"
XEN_KERNEL = ".kernel"
XEN_SECTIONS: dict[str, Resource] = {
    XEN_CONFIG: Resource.TEXT,
    XEN_KERNEL: Resource.KERNEL,
    ".ramdisk": Resource.INITRD,
    ".ucode": Resource.INITRD,
    ".xsm": Resource.BLOB,
}
"""The sections that xen.efi looks for in itself; `.config` has to be there."""

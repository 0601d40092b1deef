# SPDX-License-Identifier: GPL-2.0-or-later
"""Which command installs what the machine `qemu` needs, by distribution."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["OVMF", "QEMU", "installing"]

QEMU = "QEMU"
OVMF = "OVMF"

_COMMANDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "debian": {QEMU: "apt-get install qemu-system-x86", OVMF: "apt-get install ovmf"},
        "fedora": {QEMU: "dnf install qemu-system-x86", OVMF: "dnf install edk2-ovmf"},
        "rhel": {QEMU: "dnf install qemu-kvm", OVMF: "dnf install edk2-ovmf"},
        "arch": {QEMU: "pacman -S qemu-system-x86", OVMF: "pacman -S edk2-ovmf"},
        "suse": {QEMU: "zypper install qemu-x86", OVMF: "zypper install qemu-ovmf-x86_64"},
        "opensuse": {QEMU: "zypper install qemu-x86", OVMF: "zypper install qemu-ovmf-x86_64"},
        "alpine": {QEMU: "apk add qemu-system-x86_64", OVMF: "apk add ovmf"},
    }
)
"""By an ID of os-release(5); derived distributions name theirs in ID_LIKE."""


def installing(what: str) -> str:
    """Return the command that installs QEMU or OVMF here, or "install QEMU" where it is not known."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    for name in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        if name in _COMMANDS:
            return _COMMANDS[name][what]
    return f"install {what}"

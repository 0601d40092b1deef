# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether pvefi may make domains here: what Linux tells of Xen in sysfs and in /proc/xen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import MachineError

__all__ = ["PRIVCMD", "XenVersion", "is_control_domain", "on_xen", "require_control_domain", "xen_version"]

PRIVCMD = "dev/xen/privcmd"
"""Through which every call to Xen goes, of xl and of pvefi."""

_CONTROL = "control_d"  # what /proc/xen/capabilities says in dom0
_NO_UUID = "00000000-0000-0000-0000-000000000000"  # that of dom0, where nobody has given it another


@dataclass(frozen=True)
class XenVersion:
    """Xen's version in its three parts, such as 4, 17 and .7."""

    major: str
    minor: str
    extra: str

    @property
    def text(self) -> str:
        """All of it, such as 4.17.7."""
        return f"{self.major}.{self.minor}{self.extra}" if self.major else ""


def on_xen(root: Path = Path("/")) -> bool:
    """Return whether this host runs on Xen."""
    return _read(root / "sys/hypervisor/type") == "xen"


def is_control_domain(root: Path = Path("/")) -> bool:
    """Return whether this host is the domain that controls the others."""
    if _CONTROL in _read(root / "proc/xen/capabilities").split():
        return True
    return on_xen(root) and _read(root / "sys/hypervisor/uuid") == _NO_UUID  # xenfs need not be mounted


def xen_version(root: Path = Path("/")) -> XenVersion:
    """Return Xen's version; all empty where this is not Xen."""
    version = root / "sys/hypervisor/version"
    return XenVersion(_read(version / "major"), _read(version / "minor"), _read(version / "extra"))


def require_control_domain(root: Path = Path("/")) -> None:
    """Refuse, with a MachineError, a host on which no domain can be made, and a user who may not."""
    if not on_xen(root):
        raise MachineError(
            "this host does not run on Xen", "boot it with Xen: apt-get install xen-system-amd64"
        )
    if not is_control_domain(root):
        raise MachineError(
            "this host is a guest of Xen, without control of it", "run pvefi in the control domain, dom0"
        )
    device = root / PRIVCMD
    if not device.exists():
        raise MachineError(f"{device} is not there", "modprobe xen-privcmd")
    if not os.access(device, os.R_OK | os.W_OK):
        raise MachineError(f"{device}: no permission to read and write it", "run pvefi as root in dom0")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""

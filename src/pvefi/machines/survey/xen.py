# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this host is one on which pvefi could be the device model of a Xen guest.

Detection only: pvefi has no machine for Xen.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

__all__ = ["XenSurvey", "survey_xen"]

LIBRARIES = ("libxendevicemodel.so.1", "libxenforeignmemory.so.1", "libxenevtchn.so.1")
"""What a device model outside QEMU needs, by the names of Xen's stable interfaces."""

_CONTROL = "control_d"  # what /proc/xen/capabilities says in dom0


@dataclass(frozen=True)
class XenSurvey:
    """What there is of Xen: whether this host runs on it and is its control domain; libraries that load."""

    works: bool
    problem: str
    way_out: str
    on_xen: bool
    control_domain: bool
    libraries: tuple[tuple[str, bool], ...]


def survey_xen(root: Path = Path("/")) -> XenSurvey:
    """Return what there is of Xen on this host."""
    return XenSurvey(
        works=False,
        problem="pvefi has no machine for Xen yet",
        way_out="",
        on_xen=_read(root / "sys/hypervisor/type") == "xen",
        control_domain=_CONTROL in _read(root / "proc/xen/capabilities").split(),
        libraries=tuple((name, _loads(name)) for name in LIBRARIES),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True

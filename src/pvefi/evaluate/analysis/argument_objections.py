# SPDX-License-Identifier: GPL-2.0-or-later
"""The points against EFI that the 2016 page has, each held against this run."""

from __future__ import annotations

from pvefi.entries import ENTRIES
from pvefi.evaluate.analysis.argument_evidence import (
    Evidence,
    Finding,
    Point,
    Speaks,
    listed,
    unmeasured,
)
from pvefi.evaluate.analysis.results import Stage, stage

__all__ = ["AGAINST_EFI"]

_EFI = "efi"
_PVH = ("qemu-pvh", "xen-pvh")
_OTHERS = {"qemu-linux": "QEMU", "qemu-pvh": "QEMU", "ovmf": "OVMF", "xen-pvh": "xl", "xen-pv": "xl"}
"""Who boots an image by a way that is not pvefi's."""


def _legacy(evidence: Evidence) -> Finding:
    if not evidence.kernels:
        return unmeasured("no kernel is among the images")
    have = [kernel.name for kernel in evidence.kernels if "xen-pv" in kernel.image.entries]
    booted = [kernel.name for kernel, _ in evidence.by("xen-pv")]
    shows = (
        f"Kernels that still have the Xen PV entry: {len(have)} of {len(evidence.kernels)}"
        + (f": {listed(have)}" if have else "")
        + f". Booted by it in this run: {listed(booted) or 'none'}."
    )
    return Finding(shows, Speaks.FOR if have else Speaks.AGAINST)


def _loaders(evidence: Evidence) -> Finding:
    takers: dict[str, set[str]] = {}
    for kernel in evidence.kernels:
        for view in kernel.ways:
            if view.entry in _OTHERS and any(stage(result) >= Stage.HANDOFF for result in view.results):
                entry = "pvh" if view.entry in _PVH else _EFI if view.entry == "ovmf" else view.entry
                takers.setdefault(entry, set()).add(_OTHERS[view.entry])
    if not takers:
        return unmeasured("nobody but pvefi booted a kernel in this run")
    told = "; ".join(f"{entry} by {listed(sorted(who))}" for entry, who in sorted(takers.items()))
    shows = f"Loaders besides pvefi that took an entry: {told}."
    pvh = takers.get("pvh", set())
    if pvh - {"xl"}:
        return Finding(
            shows, Speaks.AGAINST, "an entry that was made for Xen is taken by others, who had to learn it"
        )
    return Finding(shows, Speaks.FOR if pvh else Speaks.UNDECIDED)


def _flexibility(evidence: Evidence) -> Finding:
    modes: dict[int, list[str]] = {}
    for kernel in evidence.kernels:
        for view in kernel.ways:
            entry = ENTRIES.get(view.entry)
            if entry is not None and kernel.arrived(view.entry):
                modes.setdefault(entry.bits, []).append(view.entry)
    if not modes:
        return unmeasured("no kernel came to its kernel proper by an entry of pvefi's")
    told = "; ".join(f"in {bits}-bit mode by {listed(names)}" for bits, names in sorted(modes.items()))
    small = [kernel for kernel in evidence.kernels if kernel.image.bits == 32]
    shows = f"Kernels were entered {told}. 32-bit kernels among the images: {len(small)}"
    if not small:
        return Finding(f"{shows}: what flexibility is worth to them was not measured.", Speaks.UNDECIDED)
    by_efi = [kernel.name for kernel in small if kernel.arrived(_EFI)]
    shows += f", of which came up by {_EFI}: {listed(by_efi) or 'none'}."
    return Finding(shows, Speaks.AGAINST if len(by_efi) == len(small) else Speaks.FOR)


AGAINST_EFI = (
    Point(
        "Legacy PV guests need to be supported",
        "The Xen PV entry stays for old guests: a new entry does not take it away.",
        _legacy,
    ),
    Point(
        "Nulling the claimed boot loader effect",
        "Xen's tools enter the kernel, no boot loader does: one more entry costs loaders nothing.",
        _loaders,
    ),
    Point(
        "startup_32 / startup_64 flexibility",
        "An entry in 32-bit mode leaves the choice of its mode to the kernel; EFI's has the firmware's.",
        _flexibility,
    ),
)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The five questions that the 2016 page leaves open, with the figures of this run that bear on them."""

from __future__ import annotations

from pvefi.evaluate.analysis.argument_evidence import (
    Evidence,
    Finding,
    Kernel,
    Point,
    Speaks,
    listed,
    unmeasured,
)
from pvefi.evaluate.analysis.argument_services import cost_text, firmware_cost
from pvefi.evaluate.analysis.results import verdict

__all__ = ["QUESTIONS"]

_LOADERS = ("grub", "shim", "systemd-boot", "boot loader", "refind", "unified")
"""What the kind of an image, or its file's name, has in it where it is a boot loader's."""


def _is_loader(image: Kernel) -> bool:
    text = f"{image.image.kind} {image.image.file.name}".lower()
    return any(word in text for word in _LOADERS)


def _ended(image: Kernel) -> str:
    view = image.way("efi") or (image.ways[0] if image.ways else None)
    return f"{image.name}: {verdict(view.results[0])[:80]}" if view is not None else f"{image.name}: not run"


def _boot_loaders(evidence: Evidence) -> Finding:
    found = [one for one in (*evidence.programs, *evidence.kernels) if _is_loader(one)]
    if not found:
        return unmeasured("no boot loader is among the images")
    return Finding(f"Run by the EFI entry: {listed(_ended(one) for one in found)}.", Speaks.MEASURED)


def _other_systems(evidence: Evidence) -> Finding:
    others = [one for one in evidence.programs if not _is_loader(one) and one.ways]
    if not others:
        return unmeasured("every image is Linux's, or a boot loader")
    return Finding(f"What is not Linux: {listed(_ended(one) for one in others)}.", Speaks.MEASURED)


def _pe_binaries(evidence: Evidence) -> Finding:
    images = (*evidence.kernels, *evidence.programs)
    if not images:
        return unmeasured("there is no image")
    have = [one for one in images if "efi" in one.image.entries]
    booted = [one.name for one in have if one.arrived("efi")]
    also = [one for one in have if len(one.image.entries) > 1]
    shows = (
        f"Images that are PE binaries with an EFI entry: {len(have)} of {len(images)}; "
        f"with other entries in the same file: {len(also)}. "
        f"Kernels that came up by it: {listed(booted) or 'none'}."
    )
    return Finding(shows, Speaks.MEASURED)


def _ovmf(evidence: Evidence) -> Finding:
    found = firmware_cost(evidence)
    if not found:
        return unmeasured("no kernel came to user space both by the EFI entry under pvefi and under OVMF")
    return Finding(f"What OVMF would have cost, against pvefi: {cost_text(found)}.", Speaks.MEASURED)


def _arm(_: Evidence) -> Finding:
    return unmeasured("boots show what a choice costs, not why it was made; and no machine here is ARM")


QUESTIONS = (
    Point(
        "Boot loaders",
        "What would boot loaders have to do, and do they run in such an environment?",
        _boot_loaders,
    ),
    Point("Other operating systems", "Would systems other than Linux use the entry?", _other_systems),
    Point("PE binaries", "A kernel has to be a PE binary for it: who makes such ones?", _pe_binaries),
    Point("OVMF from the start", "Why not put OVMF into every guest at once?", _ovmf),
    Point("Why Xen ARM chose OVMF", "Xen on ARM took OVMF rather than an environment of its own: why?", _arm),
)

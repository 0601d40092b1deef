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
from pvefi.evaluate.analysis.argument_services import cost_text, firmware_cost, is_xen
from pvefi.evaluate.analysis.results import outcome, status_name

__all__ = ["QUESTIONS"]

_LOADING = frozenset({"LoadImage", "StartImage"})
_PLACES = frozenset({"SIMPLE_FILE_SYSTEM_PROTOCOL", "BLOCK_IO_PROTOCOL", "LOAD_FILE_PROTOCOL"})
"""What a program asks for that looks for something to load."""


def _loads(program: Kernel) -> bool:
    """Whether a program was seen to load others, or to look for them; Xen does, and is a system itself."""
    calls = [call for view in program.ways for call in view.calls]
    looks = any(call.service in _LOADING or call.guid in _PLACES for call in calls)
    return looks and not is_xen(program)


def _ended(program: Kernel) -> str:
    """Return how a program's first boot ended."""
    result = program.ways[0].results[0]
    ended, status = outcome(result), status_name(result)
    word = ended.value if ended is not None else "no boot"
    return f"{program.name}: {word} with {status}" if status else f"{program.name}: {word}"


def _boot_loaders(evidence: Evidence) -> Finding:
    found = [one for one in evidence.programs if _loads(one)]
    if not found:
        return unmeasured("no program among the images was seen to look for something to load")
    return Finding(
        f"Programs that loaded others, or asked where they might be: {listed(map(_ended, found), '; ')}.",
        Speaks.MEASURED,
        "what they find depends on what they are given: `pvefi boot --esp` serves a directory as a volume",
    )


def _other_systems(evidence: Evidence) -> Finding:
    others = [one for one in evidence.programs if one.ways and not _loads(one)]
    if not others:
        return unmeasured("no program that ran is anything but Linux or a loader")
    return Finding(f"Not Linux, and no loaders: {listed(map(_ended, others), '; ')}.", Speaks.MEASURED)


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

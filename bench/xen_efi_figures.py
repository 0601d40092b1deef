# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of Xen's own start, made of what the measurements gave: pure, as `figures` is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bench.figures import Figure, Table

__all__ = ["WAYS", "xen_efi_figures_of", "xen_efi_tables_of"]

PVEFI, OVMF, MULTIBOOT = "xen.efi on pvefi", "xen.efi on OVMF", "multiboot"
WAYS = (PVEFI, OVMF, MULTIBOOT)

Round = Mapping[str, float]
"""Seconds from QEMU's start to dom0's first process, by way."""


def xen_efi_figures_of(rounds: Sequence[Round]) -> list[Figure]:
    """Return the figures in the order of the documentation."""
    how = "QEMU's start to dom0's first process, ratio of two runs of a round: pc, all else the same"
    return [
        Figure(
            "xen-efi-against-ovmf",
            "Xen to dom0: xen.efi on pvefi to OVMF",
            "x",
            0.5,
            tuple(found[PVEFI] / found[OVMF] for found in rounds),
            how,
            at_most=True,
        ),
        Figure(
            "xen-efi-against-multiboot",
            "Xen to dom0: xen.efi on pvefi to multiboot",
            "x",
            1.0,
            tuple(found[PVEFI] / found[MULTIBOOT] for found in rounds),
            how,
            at_most=True,
        ),
    ]


def xen_efi_tables_of(rounds: Sequence[Round]) -> list[Table]:
    """Return the seconds behind them."""
    rows = tuple(
        (way, f"{median(found[way] for found in rounds):.2f}", f"{min(found[way] for found in rounds):.2f}")
        for way in WAYS
        if rounds
    )
    return [Table("Xen to dom0's first process, seconds", ("way", "median", "least"), rows)]

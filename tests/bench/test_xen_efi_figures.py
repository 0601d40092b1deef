# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of Xen's start are ratios within a round."""

from __future__ import annotations

import pytest

from bench.xen_efi_figures import MULTIBOOT, OVMF, PVEFI, xen_efi_figures_of, xen_efi_tables_of

ROUNDS = (
    {PVEFI: 4.0, OVMF: 10.0, MULTIBOOT: 5.0},
    {PVEFI: 6.0, OVMF: 12.0, MULTIBOOT: 6.0},
    {PVEFI: 2.0, OVMF: 10.0, MULTIBOOT: 5.0},
)


def test_each_figure_is_the_median_of_the_rounds_own_ratios() -> None:
    to_ovmf, to_multiboot = xen_efi_figures_of(ROUNDS)
    assert to_ovmf.values == pytest.approx((0.4, 0.5, 0.2))
    assert to_multiboot.values == pytest.approx((0.8, 1.0, 0.4))
    assert to_ovmf.met
    assert to_multiboot.met


def test_the_table_has_the_seconds() -> None:
    (table,) = xen_efi_tables_of(ROUNDS)
    assert table.rows[0] == (PVEFI, "4.00", "2.00")

# SPDX-License-Identifier: GPL-2.0-or-later
"""An exact run is like the other: each call after the same number of instructions, to the guest's end."""

from __future__ import annotations

import pytest

from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_entries import ends_well


@pytest.mark.parametrize("machine", ["microvm", pytest.param("q35", marks=pytest.mark.full)])
def test_two_exact_runs_do_the_same_to_their_end(boots: Boots, machine: str) -> None:
    # Without `quiet`: what the kernel writes must not make it wait for the host either.
    first, second = (boots("cloud", "efivars,poweroff", machine=machine, exact=True) for _ in range(2))
    ends_well(first)
    ends_well(second)
    counts = [[(call.service, call.instructions) for call in one.calls] for one in (first, second)]
    assert counts[0] == counts[1]
    assert "SetVariable" in {service for service, _ in counts[0]}
    assert all(count for _, count in counts[0])
    assert first.console == second.console

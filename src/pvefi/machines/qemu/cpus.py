# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU's monitor tells of running CPUs (`info registers -a`)."""

from __future__ import annotations

import re

from pvefi.machines.machine import CpuState

__all__ = ["cpu_states"]

_CPU = re.compile(
    r"[RE]IP=(?P<ip>[0-9a-f]+)\s+[RE]FL=(?P<flags>[0-9a-f]+)\s.*?CPL=(?P<cpl>[0-3]).*?HLT=(?P<halted>[01])",
    re.DOTALL,
)
_IF = 0x200


def cpu_states(told: str) -> tuple[CpuState, ...]:
    """Return the state of each CPU in the monitor's text, in its order; empty where it has none."""
    return tuple(
        CpuState(
            instruction_pointer=int(found["ip"], 16),
            privilege=int(found["cpl"]),
            halted=found["halted"] == "1",
            interrupts=bool(int(found["flags"], 16) & _IF),
        )
        for found in _CPU.finditer(told)
    )

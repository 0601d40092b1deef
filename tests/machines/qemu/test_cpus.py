# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitor's text on CPUs, as QEMU 7.2 writes it."""

from __future__ import annotations

from pvefi.machines import CpuState
from pvefi.machines.qemu.cpus import cpu_states

LONG_MODE = """
CPU#0
RAX=0000000000000000 RBX=0000000000000000 RCX=0000000000000000 RDX=0000000000000000
RSI=0000000000000000 RDI=0000000000000000 RBP=0000000000000000 RSP=ffffffff82803e38
R8 =0000000000000000 R9 =0000000000000000 R10=0000000000000000 R11=0000000000000000
RIP=ffffffff81c2b5bb RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
ES =0000 0000000000000000 ffffffff 00c00000
CPU#1
RIP=000000000040112a RFL=00000002 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0
"""
REAL_MODE = "EAX=00000000 EBX=00000000\nEIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"


def test_every_cpu_is_told_in_its_order() -> None:
    assert cpu_states(LONG_MODE) == (
        CpuState(0xFFFF_FFFF_81C2_B5BB, 0, halted=True, interrupts=True),
        CpuState(0x40112A, 3, halted=False, interrupts=False),
    )


def test_real_mode_has_shorter_names() -> None:
    assert cpu_states(REAL_MODE) == (CpuState(0xFFF0, 0, halted=False, interrupts=False),)


def test_text_without_cpus_tells_of_none() -> None:
    assert cpu_states("") == cpu_states("unknown command: 'info registers'\n") == ()

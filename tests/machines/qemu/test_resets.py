# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's notes on resets tell a triple fault from all others."""

from __future__ import annotations

from pvefi.machines import Fault, PoweredOff, Restarted
from pvefi.machines.qemu.resets import reset_stop, shutdown_stop, triple_fault

RESET = b"CPU Reset (CPU 0)\nEAX=00000000 EBX=00000000\nEIP=%08x EFL=00000000 [-------] CPL=0 HLT=0\n"
LONG_MODE = b"CPU Reset (CPU 0)\nRAX=0000000000000000\nRIP=%016x RFL=00000046 [---Z-P-] CPL=0 HLT=%d\n"


def test_a_reset_is_no_triple_fault() -> None:
    assert triple_fault(b"") is None
    assert triple_fault(RESET % 0xFFF0) is None


def test_a_triple_fault_is_where_the_cpu_was() -> None:
    log = RESET % 0 + b"Triple fault\n" + LONG_MODE % (0xFFFF_FFFF_8100_0000, 0) + RESET % 0xFFF0
    assert triple_fault(log) == Fault("triple fault", None, None, 0xFFFF_FFFF_8100_0000)


def test_the_last_one_counts() -> None:
    log = b"Triple fault\n" + LONG_MODE % (1, 0) + b"Triple fault\n" + RESET % 2
    fault = triple_fault(log)
    assert fault is not None
    assert fault.instruction_pointer == 2


def test_one_without_registers_has_none_to_tell() -> None:
    assert triple_fault(b"Triple fault\n") == Fault("triple fault", None, None, 0)


def test_of_several_cpus_the_one_that_had_not_halted_is_told() -> None:
    log = b"Triple fault\n" + LONG_MODE % (0x10, 1) + LONG_MODE % (0x20, 0) + LONG_MODE % (0x30, 1)
    fault = triple_fault(log)
    assert fault is not None
    assert fault.instruction_pointer == 0x20


def test_a_triple_fault_by_which_a_kernel_resets_is_a_reset() -> None:
    log = b"Triple fault\n" + LONG_MODE % (0x10, 0)
    assert reset_stop(log, restarts=True, meant=True) is None
    assert reset_stop(log, restarts=False, meant=True) == Restarted()
    assert isinstance(reset_stop(log, restarts=True, meant=False), Fault)
    assert shutdown_stop("guest-reset", log, meant=True) == Restarted()
    assert isinstance(shutdown_stop("guest-reset", log, meant=False), Fault)


def test_a_shutdown_without_a_fault_is_a_power_off() -> None:
    assert shutdown_stop("guest-shutdown", b"", meant=False) == PoweredOff()

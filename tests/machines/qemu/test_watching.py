# SPDX-License-Identifier: GPL-2.0-or-later
"""Watchpoints of a QEMU guest, as its debugger stub keeps them."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines import Watchpoint
from pvefi.machines.qemu.watching import Watching
from pvefi.memory import GuestMemory, RamBlock
from tests.conftest import Tool
from tests.machines.qemu.started import START, StartedQemu, kernel, started_qemu

# inc %ecx; jmp to the start; twice, at two places that take turns
CODE = b"\x41\xeb\x0d" + b"\x90" * 13 + b"\x42\xeb\xed"
SECOND = START + 16


@pytest.fixture
def qemu(tool: Tool, tmp_path: Path) -> Iterator[StartedQemu]:
    words = ("-accel", "tcg", "-m", "16M", "-kernel", str(kernel(tmp_path, CODE)))
    with started_qemu(
        tool("qemu-system-x86_64"), *words, "-gdb", "chardev:debugger", chardevs=("debugger",)
    ) as started:
        time.sleep(0.4)  # until it is in the loop
        yield started


@pytest.fixture
def memory() -> GuestMemory:
    """Give what the host sees of the guest's memory."""
    made = GuestMemory([RamBlock(0, memoryview(bytearray(16 << 20)))])
    made.write(START, CODE)
    return made


def reached(watching: Watching, memory: GuestMemory, seconds: float = 5) -> Watchpoint | None:
    """Wait for a watchpoint as a guest's loop does."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([watching.fileno()], [], [], left)[0] and (found := watching.stopped(memory)):
            return found
    return None


def anything(address: int, label: str = "") -> Watchpoint:
    return Watchpoint(address, 1, lambda _data: True, label)


def test_a_watchpoint_is_reached_once_and_the_guest_runs_on(qemu: StartedQemu, memory: GuestMemory) -> None:
    watching = Watching(qemu.ends["debugger"])
    here, there = anything(START), anything(SECOND)
    watching.add([here, there])
    assert watching.wanted
    watching.arm()
    first = reached(watching, memory)
    assert first in (here, there)
    assert watching.registers()["rip"] == first.address
    watching.resume()
    second = reached(watching, memory)
    assert {id(first), id(second)} == {id(here), id(there)}
    watching.resume()
    assert reached(watching, memory, 0.3) is None
    watching.close()


def test_other_bytes_are_passed(qemu: StartedQemu, memory: GuestMemory) -> None:
    watching = Watching(qemu.ends["debugger"])
    watching.add(
        [Watchpoint(START, 1, b"\x99".__eq__, "other"), Watchpoint(SECOND, 1, b"\x42".__eq__, "this")]
    )
    watching.arm()
    found = reached(watching, memory)
    assert found is not None
    assert found.label == "this"
    watching.close()


def test_registers_are_told_of_a_guest_that_was_never_stopped(qemu: StartedQemu) -> None:
    watching = Watching(qemu.ends["debugger"])
    assert START <= watching.registers()["rip"] < START + len(CODE)
    watching.resume()
    assert START <= watching.registers()["rip"] < START + len(CODE)
    watching.close()


def test_a_qemu_that_is_gone_is_a_machine_error(qemu: StartedQemu) -> None:
    watching = Watching(qemu.ends["debugger"])
    qemu.process.kill()
    qemu.process.wait()
    watching.add([anything(START)])
    with pytest.raises(MachineError):
        watching.arm()
    watching.close()

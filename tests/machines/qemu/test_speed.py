# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest that measures: on the real QEMU, and on programs that fail in its place."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu.installation import Installation
from pvefi.machines.qemu.speed import measure
from tests.machines.qemu.made import fake_qemu, installed

TCG = ("-accel", "tcg")


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("machine_type", ["microvm", "pc", "q35"])
def test_tcg_runs_the_guest_on_every_machine(qemu: Installation, machine_type: str) -> None:
    before = descriptors()
    speed = measure(qemu, machine_type, TCG, 20)
    assert 1e6 < speed.instructions_per_second < 1e11
    assert 0 <= speed.port_read_seconds < 1e-2
    assert descriptors() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-accel", "none"), "invalid accelerator none"),
        ((*TCG, "-cpu", "none"), "unable to find CPU model 'none'"),
        ((*TCG, "-machine", "none-such"), "unsupported machine type"),
    ],
)
def test_qemu_s_own_words_are_passed_on(qemu: Installation, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(MachineError, match=message):
        measure(qemu, "pc", options, 20)


def test_a_guest_that_does_not_start_is_given_up(qemu: Installation) -> None:
    started = time.monotonic()
    with pytest.raises(MachineError, match="the guest does not start"):
        measure(qemu, "pc", (*TCG, "-S"), 0.3)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 0", "QEMU ended before its guest did anything"),
        ("exit 9", "it ended with status 9"),
        ("kill -SEGV $$", "it was ended by SIGSEGV"),
        ("echo 'qemu: no luck' >&2; exit 1", "no luck"),
        ("sleep 60", "the guest does not start"),
    ],
)
def test_failures_are_one_line_and_leave_nothing(tmp_path: Path, body: str, message: str) -> None:
    before = descriptors()
    started = time.monotonic()
    with pytest.raises(MachineError) as caught:
        measure(installed(fake_qemu(tmp_path, body)), "pc", TCG, 0.5)
    assert caught.value.message == message
    assert time.monotonic() - started < 5
    assert descriptors() == before


def marks(folder: Path, *steps: str | float) -> Installation:
    """Return a program that writes marks, and between them sleeps for a number of seconds."""
    program = folder / "qemu-system-x86_64"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\n"
        "[chardev] = [word for word in sys.argv if word.startswith('socket,')]\n"
        f"for step in {steps}:\n"
        "    if isinstance(step, str):\n"
        "        os.write(int(chardev.rpartition('fd=')[2]), step.encode())\n"
        "    else:\n"
        "        time.sleep(step)\n"
    )
    program.chmod(0o755)
    return installed(program)


def test_a_guest_that_stops_on_its_way_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="the guest stands still"):
        measure(marks(tmp_path, "RP", 60), "pc", TCG, 1)


def test_a_slow_guest_is_measured_by_what_it_has_done(tmp_path: Path) -> None:
    speed = measure(marks(tmp_path, "RP", 0.05, "L", 60), "pc", TCG, 10)
    assert 2048 / 2 < speed.instructions_per_second <= 2048 / 0.04


def test_nonsense_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="ended before its guest did anything"):
        measure(marks(tmp_path, "LLLRP"), "pc", TCG, 10)


def test_marks_that_are_seen_at_once_are_no_infinite_speed(tmp_path: Path) -> None:
    """A host that is late: what came together has no time of its own."""
    alone = measure(marks(tmp_path, "RP" + "L" * 20), "pc", TCG, 10)
    assert alone.instructions_per_second < 2048 * (1 << 20) / 0.001
    later = measure(marks(tmp_path, "RPLLL", 0.05, "L", 60), "pc", TCG, 10)
    assert 8 * 2048 / 2 < later.instructions_per_second <= 8 * 2048 / 0.04

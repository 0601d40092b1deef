# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures a QEMU by a guest of 256 bytes: whether an accelerator runs a guest at all, and how fast.

The guest is guest/speed.S, which says what its marks mean. It stands in the place of the machine's firmware,
so that nothing else runs before it: TCG is measured in about 50 ms, most of it QEMU's own start.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from pvefi.errors import MachineError
from pvefi.machines.qemu.child import Ended, child
from pvefi.machines.qemu.installation import Installation

__all__ = ["Speed", "measure"]

_ROM_SIZE = 65536  # QEMU takes firmware in units of this
_HALT = b"\xf4"
MARKS_PORT, EXIT_PORT = 0x402, 0x501  # as in speed.S
READS = 512
FIRST_LOOP_INSTRUCTIONS = 2 * 1024
LOOPS = 20
_ENOUGH = 0.02  # seconds of loops seen
_MEMORY = "2"  # MiB
_TO_END = 0.5  # seconds for a QEMU that has given up
_MESSAGE_LIMIT = 65536


@dataclass(frozen=True)
class Speed:
    """What was measured: instructions a second in a loop, and seconds that one port read takes."""

    instructions_per_second: float
    port_read_seconds: float


def measure(qemu: Installation, machine_type: str, options: Sequence[str], seconds: float) -> Speed:
    """Run the guest on a `machine_type` with `options` (such as "-accel", "kvm") and return its speed.

    MachineError with QEMU's own message when that fails, or when the guest has done nothing for `seconds`.
    """
    started = time.monotonic()
    end = started + seconds
    rom = os.memfd_create("pvefi-speed", os.MFD_CLOEXEC)
    ours, theirs = socket.socketpair()
    try:
        code = (files("pvefi.guest") / "speed.bin").read_bytes()
        os.write(rom, code.rjust(_ROM_SIZE, _HALT))
        command = _command(qemu, machine_type, options, rom, theirs.fileno())
        with child(command, descriptors=(rom, theirs.fileno()), errors_apart=True) as process:
            theirs.close()
            marks = _marks(ours, end)
            speed = _speed(marks, started)
            if speed is not None:
                return speed
            raise MachineError(_failure(process, marks, time.monotonic() < end))
    finally:
        os.close(rom)
        ours.close()
        theirs.close()


def _command(
    qemu: Installation, machine_type: str, options: Sequence[str], rom: int, marks: int
) -> list[str]:
    return [
        str(qemu.program),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", machine_type, *options, "-m", _MEMORY),
        *("-bios", f"/proc/self/fd/{rom}"),
        *("-chardev", f"socket,id=marks,fd={marks}"),
        *("-device", f"isa-debugcon,iobase={MARKS_PORT:#x},chardev=marks"),
        *("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"),
    ]


def _marks(ours: socket.socket, end: float) -> list[tuple[str, float]]:
    """Return the guest's marks with their times, until they span enough, or there are no more, or `end`.

    Each loop takes twice as long as the one before, so that is soon, however slow the machine is.
    """
    marks: list[tuple[str, float]] = []
    while len(marks) < 2 + LOOPS and (len(marks) < 2 or marks[-1][1] - marks[1][1] < _ENOUGH):
        if not select.select([ours], [], [], max(0, end - time.monotonic()))[0]:
            break
        try:
            data = ours.recv(4096)
        except ConnectionResetError:
            break
        if not data:
            break
        now = time.monotonic()
        marks += [(chr(byte), now) for byte in data]
    return marks


def _speed(marks: Sequence[tuple[str, float]], started: float) -> Speed | None:
    """Return what the marks say, or None when no loop was done.

    A host that is late sees several marks at once. Loops that were seen together with the first mark took no
    time that is known, and count only where there are no others: then since QEMU was started.
    """
    loops = [at for mark, at in marks[2:] if mark == "L"]
    if not loops or [mark for mark, _ in marks[:2]] != ["R", "P"]:
        return None
    long_mode, begun = marks[0][1], marks[1][1]
    untimed = sum(at <= begun for at in loops)
    if untimed == len(loops):
        untimed, begun = 0, started
    instructions = FIRST_LOOP_INSTRUCTIONS * ((1 << len(loops)) - (1 << untimed))
    return Speed(instructions / max(loops[-1] - begun, 1e-6), (marks[1][1] - long_mode) / READS)


def _failure(process: subprocess.Popen[bytes], marks: Sequence[tuple[str, float]], ended: bool) -> str:
    """Return in one line why the guest did not run; `ended` when QEMU has closed its end of the marks."""
    if not ended:
        return "the guest stands still" if marks else "the guest does not start"
    status = None
    with contextlib.suppress(subprocess.TimeoutExpired):
        status = process.wait(_TO_END)
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    said = process.stderr.read(_MESSAGE_LIMIT) or b""
    return Ended(status, said.decode(errors="replace")).problem or "QEMU ended before its guest did anything"

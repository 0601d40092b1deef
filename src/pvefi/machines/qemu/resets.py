# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU notes of a CPU's resets (`-d cpu_reset`), in which a triple fault can be told from a reboot.

These are functions of that log, as far as it has not been looked at.
"""

from __future__ import annotations

import re

from pvefi.machines.stop import Died, Fault, PoweredOff, Restarted, Stop

__all__ = ["reset_stop", "shutdown_stop", "triple_fault"]

_MARK = b"Triple fault\n"
_REGISTER = re.compile(rb"\b(RIP|EIP|CR2)=([0-9a-f]+)")


def triple_fault(log: bytes) -> Fault | None:
    """Return the last triple fault in `log`, with the registers that follow it; None where there is none."""
    at = log.rfind(_MARK)
    if at < 0:
        return None
    found = {name: int(value, 16) for name, value in _REGISTER.findall(log[at : at + 4096])}
    where = found.get(b"RIP", found.get(b"EIP", 0))
    return Fault("triple fault", None, None, where)


def reset_stop(log: bytes, *, restarts: bool) -> Stop | None:
    """Return what the end is when the trampoline starts again; None where the guest may start anew."""
    return triple_fault(log) or (None if restarts else Restarted())


def shutdown_stop(reason: str, log: bytes) -> Stop:
    """Return what QEMU's event SHUTDOWN means."""
    if fault := triple_fault(log):
        return fault
    if reason == "guest-reset":
        return Restarted()
    return PoweredOff() if reason == "guest-shutdown" else Died(f"QEMU has ended: {reason}")

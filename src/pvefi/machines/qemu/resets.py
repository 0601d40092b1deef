# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU notes of a CPU's resets (`-d cpu_reset`), in which a triple fault can be told from a reboot.

These are functions of that log, as far as it has not been looked at.
"""

from __future__ import annotations

import re

from pvefi.machines.stop import Died, Fault, PoweredOff, Restarted, Stop

__all__ = ["reset_stop", "shutdown_stop", "triple_fault"]

_MARK = b"Triple fault\n"
_DUMP = b"CPU Reset (CPU "
_REGISTERS = re.compile(rb"\b[RE]IP=([0-9a-f]+).*?\bHLT=([01])", re.DOTALL)


def triple_fault(log: bytes) -> Fault | None:
    """Return the last triple fault in `log`, None where there is none.

    Of the CPUs whose registers follow, the first that has not halted is the one.
    """
    at = log.rfind(_MARK)
    if at < 0:
        return None
    dumps = [found for dump in log[at:].split(_DUMP)[1:] if (found := _REGISTERS.search(dump))]
    running = [found for found in dumps if found[2] == b"0"]
    where = next((int(found[1], 16) for found in running or dumps), 0)
    return Fault("triple fault", None, None, where)


def reset_stop(log: bytes, *, restarts: bool, meant: bool) -> Stop | None:
    """Return what the end is when the trampoline starts again; None where the guest may start anew.

    With `meant` the guest has said that it resets: a triple fault is one of the ways in which Linux does.
    """
    fault = None if meant else triple_fault(log)
    return fault or (None if restarts else Restarted())


def shutdown_stop(reason: str, log: bytes, *, meant: bool) -> Stop:
    """Return what QEMU's event SHUTDOWN means; `meant` as for `reset_stop`."""
    if not meant and (fault := triple_fault(log)):
        return fault
    if reason == "guest-reset":
        return Restarted()
    return PoweredOff() if reason == "guest-shutdown" else Died(f"QEMU has ended: {reason}")

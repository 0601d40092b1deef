# SPDX-License-Identifier: GPL-2.0-or-later
"""Says in the user's words how a boot ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pvefi.efi.environment import Environment
from pvefi.machines.stop import (
    Crashed,
    Died,
    Fault,
    Finished,
    GaveUp,
    Halted,
    Left,
    PoweredOff,
    Reached,
    Restarted,
    Stop,
    TimedOut,
)
from pvefi.memory import describe
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.verdict import Handoff, Outcome, Verdict

__all__ = ["MemoryWish", "judge"]

_ORDINARY = (EfiStatus.BUFFER_TOO_SMALL, EfiStatus.NOT_READY)  # how one asks for a size, or polls


@dataclass(frozen=True)
class MemoryWish:
    """The guest's memory and what its image wants of it, in bytes."""

    given: int
    wanted: int

    @property
    def hint(self) -> str:
        """The likely cause of a failure, and the way out, when there is too little; else nothing."""
        if self.given >= self.wanted:
            return ""
        mebibytes = -(-self.wanted >> 20)
        given = self.given >> 20
        return f"; the guest has {given} MiB where this image wants {mebibytes}: --memory {mebibytes}M"


def judge(
    stop: Stop,
    handoff: Handoff | None,
    calls: Sequence[CallEvent] | None,
    efi: Environment | None,
    memory: MemoryWish,
) -> Verdict:
    """Return the verdict on a run that ended with `stop`; a failure for want of memory says so.

    `calls` is None where nobody answers any.
    """
    verdict = _judge(stop, handoff, calls, efi)
    failed = verdict.outcome is not Outcome.HANDOFF and verdict.status != EfiStatus.SUCCESS
    return replace(verdict, message=verdict.message + memory.hint) if failed else verdict


def _judge(
    stop: Stop, handoff: Handoff | None, calls: Sequence[CallEvent] | None, efi: Environment | None
) -> Verdict:
    ranges = efi.named_ranges() if efi is not None else ()
    match stop:
        case Finished(Verdict() as verdict):
            return verdict
        case Reached(watchpoint):
            assert handoff is not None, "only a kernel is watched for"
            return Verdict(
                Outcome.HANDOFF,
                f"the kernel proper has control at its {watchpoint.label}, {watchpoint.address:#x}",
            )
        case Fault(what, _, address, instruction_pointer):
            at = describe(instruction_pointer, ranges)
            touched = "" if address is None else f" for address {describe(address, ranges)}"
            return Verdict(Outcome.FAULTED, f"{what} at {at}{touched}{_last(calls)}")
        case Halted(instruction_pointer):
            at = describe(instruction_pointer, ranges)
            return Verdict(Outcome.HALTED, f"the guest halted for good at {at}{_last(calls)}")
        case GaveUp(seq):
            waited = f"the guest gave up waiting for the answer to doorbell {seq}, and halted"
            return Verdict(Outcome.HALTED, f"{waited}{_last(calls)}")
        case TimedOut(seconds, instruction_pointer):
            where = ""
            if instruction_pointer is not None:
                where = f", the guest was at {describe(instruction_pointer, ranges)}"
            return Verdict(Outcome.TIMED_OUT, f"no end within {seconds:.3g} s{where}{_last(calls)}")
        case PoweredOff():
            return Verdict(Outcome.POWERED_OFF, "the guest switched itself off")
        case Restarted():
            return Verdict(Outcome.REBOOTED, "the guest reset the machine")
        case Left():
            return Verdict(Outcome.LEFT, "the user has left the console")
        case Crashed(how) | Died(how):
            outcome = Outcome.FAULTED if isinstance(stop, Crashed) else Outcome.DIED
            return Verdict(outcome, f"{how}{_last(calls)}")
        case _:
            raise AssertionError(f"a stop that nobody judges: {stop!r}")


def _last(calls: Sequence[CallEvent] | None) -> str:
    """Return what was called last, and the last refusal, which is often the cause."""
    if calls is None:
        return ""
    if not calls:
        return "; it had called nothing"
    last = calls[-1]
    refused = next((call for call in reversed(calls) if call.why and call.status not in _ORDINARY), None)
    text = f"; last call: {last.index} {last.service}"
    if refused is not None:
        text += f"; last refusal: {refused.index} {refused.service}, {refused.why}"
    return text

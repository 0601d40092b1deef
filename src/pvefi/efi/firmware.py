# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers doorbells: finds the service behind a gate, runs its body, and records the call.

The guest's stack may hold several upcalls at once (a notify function within a service within an image), so
the host keeps one suspended generator for each, in the same order. A machine sees only requests and answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import GeneratorType

from pvefi.efi.calls import Call, Pending, Views
from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.heir import Heir
from pvefi.efi.intervention import Interventions
from pvefi.efi.notify import notify_due
from pvefi.efi.permission import permit
from pvefi.efi.resume import SavedEfi, SavedImage, changing, saved_of
from pvefi.efi.service import Arguments, EndRun, ExitImage, Steps
from pvefi.efi.staging import StagedMemory, batches
from pvefi.errors import GuestFault
from pvefi.guest.mailbox import (
    Answer,
    Commit,
    Copy,
    Enter,
    Fill,
    Finish,
    Function,
    Request,
    Reset,
    Return,
    Store,
    Unwind,
)
from pvefi.memory import Memory
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent, Value, cut
from pvefi.verdict import Outcome, Verdict

__all__ = ["Firmware"]

_ENDS = (ExitImage, EndRun)


class Firmware:
    """The doorbell's other end, for one guest.

    `environment` makes a fresh Environment, and the address of its hypervisor information, from the address
    of hvm_start_info at every BOOT: a guest that resets rings it again. `enter` then starts the image and
    returns the verdict of its end. `record` takes every call, in the order in which they end; they are
    numbered from the first boot on. `keep` takes what another process needs to go on, each time before the
    guest has the answer with which that holds; None for nothing, as at every BOOT. `interventions` has the
    faults that are injected.
    """

    def __init__(
        self,
        environment: Callable[[int], Steps[tuple[Environment, int]]],
        enter: Callable[[Environment, int], Steps[Verdict]],
        record: Callable[[CallEvent], None],
        instructions: Callable[[], int | None],
        keep: Callable[[SavedEfi | None], None] | None = None,
        interventions: Interventions | None = None,
    ) -> None:
        self._make = environment
        self._enter = enter
        self._record = record
        self._instructions = instructions
        self._keep = keep
        self._interventions = interventions or Interventions()
        self._kept: tuple[object, ...] = ()
        self._image: SavedImage | None = None
        self._heir: Heir | None = None
        self._stack: list[Pending] = []
        self._seq = 0
        self._index = 0
        self._cr3 = 0
        self._views = Views()
        self.environment: Environment | None = None

    @property
    def doorbells(self) -> int:
        """The number of the doorbell that the guest rang last; 0 before its first."""
        return self._seq

    def take_over(self, heir: Heir, efi: Environment | None, calls: int, done: int) -> None:
        """Take over from a process that died after it had answered doorbell `done`; before `answer`.

        `efi` is its environment, None where that is lost; `calls` is how many services had been called.
        """
        self.environment = efi
        self._heir = heir
        self._image = heir.image
        self._kept = changing(efi) if efi is not None else ()
        self._index = calls
        self._seq = done

    def answer(self, request: Request) -> Answer:
        """Return what the guest is to do now; whatever the guest got wrong ends the run with a verdict."""
        began = time.perf_counter()
        try:
            answer = self._dispatch(request, began)
        except GuestFault as fault:
            return Finish(Verdict(Outcome.BAD_REQUEST, str(fault)))
        if self._keep is not None and self.environment is not None and not isinstance(answer, Finish | Reset):
            self._save(self._keep, self.environment, request.seq, answer)
        return answer

    def _dispatch(self, request: Request, began: float) -> Answer:
        if request.seq == request.done:
            raise GuestFault(f"a doorbell without a call: call {request.seq:#x} was answered before")
        if request.function == Function.BOOT:
            if request.seq != 1:  # a guest that was reset counts from the start
                raise GuestFault(f"a doorbell for BOOT as call {request.seq:#x}, which only the first may be")
            self._stack.clear()
            self._views.forget()
            self._seq = request.seq
            self.environment = self._heir = self._image = None
            self._kept = ()
            if self._keep is not None:
                self._keep(None)
            return self._advance(Pending(self._boot(request.rcx), Finish, None), None, began)
        self._seq += 1
        if request.seq != self._seq:
            raise GuestFault(
                f"the mailbox was overwritten: expected call {self._seq}, found call {request.seq:#x}"
            )
        if self._stack and self._stack[-1].frame is None:
            self._stack[-1].frame = request.frame
        self._cr3 = request.cr3
        if self._heir is not None and (answer := self._heir.answer(request, idle=not self._stack)):
            return self._refused(self._heir, request, answer)
        if request.function in (Function.UPCALL_RETURN, Function.DONE):
            if not self._stack or request.function != self._stack[-1].ends_by:
                name = Function(request.function).name
                raise GuestFault(f"a doorbell for {name}, the end of what the guest was never asked to do")
            result = request.rcx if request.function == Function.UPCALL_RETURN else 0
            return self._advance(self._stack.pop(), result, began)
        if request.function == Function.END:
            raise GuestFault("the trampoline ended before the image did")
        return self._serve(request, began)

    def _save(
        self, keep: Callable[[SavedEfi | None], None], efi: Environment, seq: int, answer: Answer
    ) -> None:
        """Have kept what has changed with this answer, if anything."""
        if efi.phase is Phase.RUNTIME:
            if (now := changing(efi)) != self._kept:
                self._kept = now
                keep(saved_of(efi, seq, self._index, answer, self._image))
        elif self._image is None and self._stack:
            first = self._stack[0]
            if first.tag in efi.images and (first.entered or first.frame is not None):
                frame = None if first.entered else first.frame
                self._image = SavedImage(efi.images[first.tag].name, first.tag, frame)
                keep(saved_of(efi, seq, self._index, None, self._image))

    def _refused(self, heir: Heir, request: Request, answer: Answer) -> Answer:
        """Record what came of a call whose process has died."""
        if isinstance(answer, Return | Commit) and (service := heir.service(request.function)):
            self._index += 1
            status = EfiStatus(answer.value or 0)
            why = heir.why if status else ""
            self._record(CallEvent(self._index, service, (), status, None, (), 0.0, None, why, 0))
        return answer

    def _boot(self, start_info: int) -> Steps[Verdict]:
        self.environment, information = yield from self._make(start_info)
        return (yield from self._enter(self.environment, information))

    def _serve(self, request: Request, began: float) -> Answer:
        efi = self.environment
        service = efi.gates.service(request.function) if efi else None
        if efi is None or service is None:
            raise GuestFault(f"a doorbell for gate {request.function:#x}, which nobody was given")
        efi.memory = self._views.seen_by(efi, request)
        while self._stack and self._stack[-1].left(request):
            self._stack.pop().steps.close()
        self._index += 1
        registers = (request.rcx, request.rdx, request.r8, request.r9)
        call = Call(self._index, service, registers, len(self._stack), self._instructions())
        try:
            result = self._body(efi, call, request.rsp)
        except EfiError as error:
            return self._finish(efi, call, error, began)
        except GuestFault as fault:
            raise self._blame(call, fault, began) from fault
        if isinstance(result, GeneratorType):
            pending = Pending(result, lambda value: self._finish(efi, call, value, time.perf_counter()), call)
            return self._advance(pending, None, began)
        return self._finish(efi, call, result, began)

    def _body(self, efi: Environment, call: Call, stack_pointer: int) -> object:
        """Return what the service's body does, or what is injected in its place."""
        arguments = Arguments(efi.memory, call.registers, stack_pointer)
        fault = self._interventions.next(efi, call.service, arguments)
        if fault is None or fault.status is None:
            permit(efi, call.service.name)
        if fault is not None:
            return Interventions.serve(fault, efi, call.service, arguments, call.values)
        call.values = call.service.decode(arguments)
        return call.service.body(efi, *call.values)

    def _advance(self, pending: Pending, result: int | None, began: float) -> Answer:
        """Let a generator go on until it needs the guest again, or ends."""
        try:
            step = pending.steps.send(result) if result is not None else next(pending.steps)
        except StopIteration as end:
            self._charge(pending, began)
            return pending.finish(end.value)
        except EfiError as error:
            if pending.call is None:
                raise
            self._charge(pending, began)
            assert self.environment is not None, "calls are served in an environment"
            return self._finish(self.environment, pending.call, error, time.perf_counter())
        except GuestFault as fault:
            if pending.call is None:
                raise
            raise self._blame(pending.call, fault, began) from fault
        self._stack.append(pending)
        pending.frame = None
        pending.ends_by = Function.DONE if isinstance(step, Copy | Fill | Commit) else Function.UPCALL_RETURN
        pending.tag = 0 if isinstance(step, Copy | Fill | Commit) else step.tag
        pending.entered = isinstance(step, Enter)
        runtime = self.environment is not None and self.environment.phase is Phase.RUNTIME
        pending.cr3 = self._cr3 if runtime else None
        self._charge(pending, began)
        return step

    @staticmethod
    def _charge(pending: Pending, began: float) -> None:
        if pending.call is not None:
            pending.call.host += time.perf_counter() - began

    def _finish(self, efi: Environment, call: Call, result: object, began: float) -> Answer:
        """Record the call and return its answer, after the notify functions that are due."""
        service = call.service
        status: EfiStatus | None = None
        value: int | None = None
        why = ""
        if isinstance(result, EfiError):
            why = result.why
            status, value = (result.status, None) if service.returns_status else (None, 0)
        elif isinstance(result, _ENDS):
            pass
        elif service.returns_status:
            status = result if isinstance(result, EfiStatus) else EfiStatus.SUCCESS
        elif isinstance(result, int):
            value = int(result)
        self._note(call, status, value, why, began)
        if isinstance(result, ExitImage):
            return self._unwind(result)
        if isinstance(result, EndRun):
            restarts = result.verdict.outcome is Outcome.REBOOTED
            return Reset(result.verdict) if restarts else Finish(result.verdict)
        answer = Return(int(status) if status is not None else (value or 0))
        if efi.phase is Phase.RUNTIME:
            # No notify functions: where one stood the guest may have its own data by now.
            return self._commit(efi.memory, answer)
        efi.events.expire()
        if first := efi.events.next_notification():
            notifications = Pending(notify_due(efi, first), lambda _: answer, None)
            return self._advance(notifications, None, time.perf_counter())
        return answer

    def _commit(self, memory: Memory, answer: Return) -> Answer:
        """Return `answer`, with what the service has stored; the last part of it where that is much."""
        stores = memory.take() if isinstance(memory, StagedMemory) else ()
        if not stores:
            return answer
        *first, last = batches(stores)
        end = Commit(last, answer.value)
        if not first:
            return end
        return self._advance(Pending(_store(first), lambda _: end, None), None, time.perf_counter())

    def _note(self, call: Call, status: EfiStatus | None, value: int | None, why: str, began: float) -> None:
        service, values = call.service, call.values
        arguments: tuple[tuple[str, Value], ...] = (
            service.traced(values) if values else service.raw(call.registers)
        )
        outputs = service.outputs(values) if values else ()
        microseconds = (call.host + time.perf_counter() - began) * 1e6
        self._record(
            CallEvent(
                call.index, service.name, arguments, status, value, outputs, microseconds,
                call.instructions, cut(why), call.depth,
            )
        )  # fmt: skip

    def _blame(self, call: Call, fault: GuestFault, began: float) -> GuestFault:
        """Record a call that ends the run, and return its fault with the call's name."""
        self._note(call, None, None, fault.message, began)
        return GuestFault(f"call {call.index} {call.service.name}: {cut(fault.message)}", fault.way_out)

    def _unwind(self, leave: ExitImage) -> Answer:
        """Leave every upcall above the image's own, then the image's."""
        if not any(pending.tag == leave.handle for pending in self._stack):
            raise GuestFault(f"Exit of image {leave.handle:#x}, which was not started")
        while self._stack[-1].tag != leave.handle:
            self._stack.pop().steps.close()
        if self._stack[-1].entered:  # by a jump: there is no frame to unwind to
            text = f"the image ended with {leave.status.efi_name}"
            return Finish(Verdict(Outcome.EXITED, text, leave.status))
        frame = self._stack[-1].frame
        assert frame is not None, "an upcall's frame is known as soon as anything rings from within it"
        return Unwind(frame, int(leave.status))


def _store(groups: Sequence[tuple[Store, ...]]) -> Steps[None]:
    for group in groups:
        yield Commit(group, None)

# SPDX-License-Identifier: GPL-2.0-or-later
"""One running guest of Xen's: one loop over its doorbell, its console, the keyboard and its domain's end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pvefi.errors import GuestFault
from pvefi.guest.mailbox import DOORBELL_PORT, Finish, Function, Reset
from pvefi.machines.faults import fault_of
from pvefi.machines.machine import Keyboard
from pvefi.machines.serial_port import SerialPort
from pvefi.machines.stop import Fault, Finished, GaveUp, Stop
from pvefi.machines.xen.attachment import COM1, EXIT_PORT, Attachment
from pvefi.machines.xen.console import XenConsole, hear_last_words
from pvefi.machines.xen.domain_guest import Ending, GuestOfDomain
from pvefi.machines.xen.ends import DomainEnd, end_stop
from pvefi.machines.xen.ioreq_server import IoRequest
from pvefi.memory import GuestMemory
from pvefi.spec.xen.ioreq import IoreqType
from pvefi.spec.xen.start_info import HvmMemmapTableEntry

__all__ = ["Domain", "XenGuest"]

_IN_TURN = 32
"""Requests of one vCPU until everything else is looked at: other vCPUs, the console, the deadline."""
_PIO, _INVALIDATE = int(IoreqType.PIO), int(IoreqType.INVALIDATE)


class Domain(Ending, Protocol):
    """What of a domain its guest needs."""

    domid: int
    name: str

    def unpause(self) -> None:
        """Let its vCPUs run."""
        ...

    def destroy(self) -> None:
        """End it, if it has not ended."""
        ...

    def console(self) -> int:
        """Return the descriptor of its console, both ways."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def _rings(request: IoRequest) -> bool:
    return request.type == _PIO and request.addr == DOORBELL_PORT and not request.reads


class XenGuest(GuestOfDomain):
    """See `Guest` for what each method promises.

    `attachment` is pvefi as the device model of `domain`. `renew` makes both anew, paused, when the guest
    resets; None where it is not to start anew. `ended` is called when a domain needs nobody any more: it has
    been left to itself, or destroyed, which only happens where it is `owned`. A domain that is not `paused`
    was another process's before.
    """

    def __init__(
        self,
        domain: Domain,
        attachment: Attachment,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None,
        *,
        renew: Callable[[], tuple[Attachment, Domain]] | None = None,
        ended: Callable[[], None] = lambda: None,
        paused: bool = True,
        owned: bool = True,
    ) -> None:
        # The guest keeps the bound that the trampoline has set: a vCPU stands still in its doorbell, so that
        # its wait begins when Xen lets it go on without an answer, because there is no device model any more.
        super().__init__(patience=0)
        self._renew = renew
        self._console = console
        self._has_ended = ended
        self._paused = paused
        self._owned = owned
        self._detaches = False
        self._take(domain, attachment)
        self._adopted = not paused
        self._serial = SerialPort(
            XenConsole(domain.console()), self._readiness, console, keyboard, self._leave
        )

    def _take(self, domain: Domain, attachment: Attachment) -> None:
        """Look after a domain from now on."""
        self._domain = domain
        self._attachment: Attachment | None = attachment
        self._mailbox = attachment.mailbox
        self.memory = attachment.memory
        self._alone = False
        self._adopted = False
        self._readiness.watch(attachment.server.fileno(), self._asked)
        self._readiness.watch(domain.fileno(), self._looked)

    @property
    def ioreq_server(self) -> int:
        """The number of the ioreq server by which the domain is served."""
        assert self._attachment is not None, "a guest that has not been left"
        return self._attachment.server.identity

    def ram(self, memory_map: Sequence[HvmMemmapTableEntry]) -> GuestMemory:
        """Return all of the guest's memory; see `Guest.ram`."""
        assert self._attachment is not None, "a guest that has just rung"
        self.memory = self._attachment.place(memory_map)
        return self.memory

    @property
    def _ending(self) -> Domain:
        return self._domain

    def _go_on(self) -> None:
        if self._paused:
            self._domain.unpause()
            self._paused = False
        if self._adopted and self._attachment is not None:
            self._adopted = False
            self._catch_up(self._attachment)

    def _catch_up(self, attachment: Attachment) -> None:
        """Answer what was asked of the process before, whose notification may be lost; nothing twice."""
        server = attachment.server
        for vcpu in server.answered():
            server.notify(vcpu)
        for vcpu, request in server.outstanding():
            if _rings(request) and self._is_answered(attachment):
                server.complete(vcpu)
            elif self._stop is None:
                self._serve(attachment, vcpu, request)

    @staticmethod
    def _is_answered(attachment: Attachment) -> bool:
        with contextlib.suppress(GuestFault):  # without a mailbox it is served, and told so
            attachment.reach_mailbox()
            seq, done = attachment.mailbox.calls()
            return seq == done
        return False

    def _asked(self) -> None:
        """Answer one vCPU, and what it asks next if it has by then: it may have run while it was told."""
        attachment = self._attachment
        if attachment is None:
            return
        server = attachment.server
        taken = server.take()
        for _ in range(_IN_TURN):
            if taken is None:
                return
            self._serve(attachment, *taken)
            if self._stop is not None or self._attachment is not attachment:
                return
            taken = server.take_next(taken[0])

    def _serve(self, attachment: Attachment, vcpu: int, request: IoRequest) -> None:
        if _rings(request):
            self._rung(attachment, vcpu)
        elif request.type == _INVALIDATE:
            attachment.forget()
            attachment.server.complete(vcpu)
        else:
            self._other(attachment, vcpu, request)

    def _other(self, attachment: Attachment, vcpu: int, request: IoRequest) -> None:
        """Answer what is not a doorbell: the trampoline's last words, or anything else."""
        if request.type == _PIO and not request.reads and not request.data_is_ptr:
            if request.addr == COM1:
                self._console(bytes((request.data & 0xFF,)))
            elif request.addr == EXIT_PORT and not self._alone:
                self._stop = self._stop or GaveUp(attachment.mailbox.given_up)
        attachment.server.complete_plainly(vcpu, request, attachment.memory)

    def _rung(self, attachment: Attachment, vcpu: int) -> None:
        began = time.perf_counter()
        try:
            attachment.reach_mailbox()
        except GuestFault as fault:
            self._stop = Fault(f"a doorbell without a mailbox: {fault.message}", None, None, 0)
            return
        mailbox = attachment.mailbox
        request = mailbox.request()
        if request.function == Function.EXCEPTION:
            self._stop = fault_of(attachment.memory, request)
            return
        if not self._alone and mailbox.goes_on_alone:
            self._alone = True
            attachment.forget()  # what was the host's is now the kernel's
            attachment.reach_mailbox()
        if request.function == Function.BOOT and request.seq == 1:
            self._serial.hold()
        self._began = began
        assert self._answer is not None
        answer = self._answer(request)
        if isinstance(answer, Finish):
            self._stop = Finished(answer.reason)
        elif isinstance(answer, Reset):
            self._reset(Finished(answer.reason))
        else:
            if not self._given_up(request.seq):
                mailbox.publish(answer)
            attachment.server.complete(vcpu)
        self._answering += time.perf_counter() - began
        if self._detaches:
            self._let_go(attachment)

    def _reset(self, without: Stop) -> None:
        """Start anew in a new domain, or stop as `without` says."""
        if self._renew is None:
            self._stop = without
            return
        hear_last_words(self._domain.console(), self._serial, self._readiness)
        self._start_anew()

    def _start_anew(self) -> None:
        assert self._renew is not None, "the guest may start anew"
        self._serial.disconnect()
        self._leave_domain()
        attachment, domain = self._renew()
        self._take(domain, attachment)
        self._serial.connect(XenConsole(domain.console()))
        self._paused = True
        self._go_on()

    def _looked(self) -> None:
        """Take what has happened to the domain."""
        self._domain.seen()
        if (end := self._domain.end()) is not None:
            self._end(end)

    def _end(self, end: DomainEnd) -> None:
        hear_last_words(self._domain.console(), self._serial, self._readiness)
        stop = end_stop(end, restarts=self._renew is not None)
        self._owned = self._owned and end is not DomainEnd.SUSPENDED  # it is whose who saves it now
        if stop is None:
            self._start_anew()
        else:
            self._over = stop
            self._readiness.forget(self._domain.fileno())

    def _ended(self) -> None:
        end = self._domain.end()
        assert end is not None, "it was seen to have ended"
        self._end(end)

    def given_up(self) -> int:
        """Return the doorbell whose answer the guest has not waited for; see `Guest.given_up`."""
        if self._attachment is not None:
            with contextlib.suppress(GuestFault):
                self._attachment.reach_mailbox()
                return self._mailbox.given_up
        return 0

    def detach(self) -> None:
        """Leave the guest to itself once it has the answer that is due; see `Guest.detach`."""
        self._detaches = True

    def _let_go(self, attachment: Attachment) -> None:
        self._detaches = False
        self._readiness.forget(attachment.server.fileno())
        self._attachment = None
        for vcpu, request in attachment.server.outstanding():  # Xen would not wake them
            attachment.server.complete_plainly(vcpu, request, attachment.memory)
        attachment.close()
        self._has_ended()  # for those who would take it over: nobody has to

    def _leave_domain(self) -> None:
        """Destroy the domain and let go of all that was mapped of it, which would keep it from dying."""
        with contextlib.ExitStack() as ends:
            ends.callback(self._domain.close)
            if self._owned:
                ends.callback(self._has_ended)
                ends.callback(self._domain.destroy)
            else:
                self._hang_up()
            self._readiness.forget(self._domain.fileno())
            if self._attachment is not None:
                self._readiness.forget(self._attachment.server.fileno())
                ends.callback(self._attachment.close)
                self._attachment = None

    def _hang_up(self) -> None:
        """Tell a guest that lives on that nobody will answer any more, and let its vCPUs go on.

        Xen wakes none that waits for an ioreq server which is destroyed.
        """
        attachment = self._attachment
        if attachment is None or self._domain.end() not in (None, DomainEnd.SUSPENDED):
            return
        with contextlib.suppress(GuestFault):
            attachment.reach_mailbox()
            if self._mailbox.goes_on_alone:
                self._mailbox.hang_up()
        for vcpu, _ in attachment.server.outstanding():
            attachment.server.complete(vcpu)

    def close(self) -> None:
        """End the guest and free what it holds; see `Guest.close`."""
        self._leave_domain()

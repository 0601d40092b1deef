# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of Xen's, with the Xen beneath it played by a memory file: doorbells, strangers, ends and heirs."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvefi.errors import GuestFault, MachineError
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Answer, Finish, Function, Request, Reset, Return
from pvefi.machines import Died, Fault, Finished, GaveUp, PoweredOff, Restarted, Stop, TimedOut
from pvefi.machines.stop import Crashed
from pvefi.machines.xen.attachment import COM1, EXIT_PORT
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.ioreq_server import IoreqServer
from pvefi.spec.xen.ioreq import FLAG_DATA_IS_PTR, FLAG_DF, FLAG_READ, Ioreq, IoreqState, IoreqType
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, MemmapType
from tests.machines.xen.made import MIB, RAM_SIZE, Bed, FakeXen, adopted, bed, port_read, port_write

ENOUGH = Finish("enough")
PAGE = 4096
INVALIDATE = Ioreq((1 << 64) - 1, (1 << 64) - 1, 1, 4, 0, 0, 0, IoreqType.INVALIDATE)
ANSWERED = IoreqState.RESPONSE_READY
WAITS = IoreqState.READY
ELSEWHERE = MIB
"""Guest physical address of memory that nothing of pvefi's is in."""


@pytest.fixture
def made() -> Iterator[Bed]:
    one = bed()
    yield one
    one.guest.close()


def finish(one: Bed, vcpu: int = 3) -> Stop:
    """Serve all that was asked, up to a doorbell of `vcpu` that ends the run."""
    one.ring(vcpu)
    return one.run(ENOUGH)


# ---------------------------------------------------------------- doorbells


def test_a_guest_runs_from_the_first_run_on_and_not_before(made: Bed) -> None:
    assert not made.domain.running
    assert finish(made) == Finished("enough")
    assert made.domain.running


def test_a_doorbell_is_answered_in_the_mailbox_before_its_vcpu_goes_on(made: Bed) -> None:
    seen = []

    def on_notify(vcpu: int) -> None:
        seen.append((vcpu, *(made.xen.word(made.trampoline, name) for name in ("done", "result"))))
        made.ring(0)

    made.xen.on_notify = on_notify
    made.ring(0, function=7, rcx=0x1234)
    assert made.run(Return(0xABCD), ENOUGH) == Finished("enough")
    assert seen == [(0, 1, 0xABCD)]
    assert (made.requests[0].seq, made.requests[0].rcx) == (1, 0x1234)


def test_each_vcpu_has_its_own_slot_and_event_channel(made: Bed) -> None:
    for vcpu, size in ((0, 1), (1, 2), (2, 4)):
        made.xen.ask(vcpu, port_read(0x521, size))
    assert finish(made) == Finished("enough")
    assert [made.xen.slot(vcpu).data for vcpu in range(3)] == [0xFF, 0xFFFF, 0xFFFF_FFFF]
    assert [made.xen.state(vcpu) for vcpu in range(3)] == [ANSWERED] * 3
    assert made.xen.notified == [0, 1, 2]


def test_what_a_vcpu_asks_while_it_is_told_needs_no_event_to_be_seen(made: Bed) -> None:
    def on_notify(_vcpu: int) -> None:
        made.ring(0)
        made.xen.take_event()

    made.ring(0)
    made.xen.on_notify = on_notify
    assert made.run(Return(1), Return(2), ENOUGH) == Finished("enough")
    assert [request.seq for request in made.requests] == [1, 2, 3]


def test_a_vcpu_that_asks_without_end_keeps_no_other_waiting(made: Bed) -> None:
    made.xen.on_notify = lambda vcpu: made.xen.ask(vcpu, port_read(0x521))
    made.xen.ask(0, port_read(0x521))
    assert finish(made) == Finished("enough")


def test_a_call_that_ends_the_run_leaves_its_vcpu_where_it_is(made: Bed) -> None:
    finish(made, vcpu=2)
    assert made.xen.state(2) is WAITS


def test_an_exception_without_a_frame_in_memory_ends_the_run(made: Bed) -> None:
    made.ring(0, function=Function.EXCEPTION, rcx=(1 << 64) - 8)
    assert made.run() == Fault("exception without a readable frame", None, None, (1 << 64) - 8)


def test_a_late_answer_is_not_given(made: Bed) -> None:
    made.ring(0, dead=1, abandon=0x810000)
    assert made.run(Return(1)) == GaveUp(1)
    assert made.xen.word(made.trampoline, "done") == 0


# ---------------------------------------------------------------- the trampoline's last words


def test_what_the_guest_writes_to_its_serial_port_is_shown(made: Bed) -> None:
    shown = []
    for letter in b"no":
        made.xen.ask(0, port_write(COM1, letter))
        made.ring(1)
        made.run(ENOUGH)
        shown.append(made.xen.state(0))
    assert b"".join(made.console) == b"no"
    assert shown == [ANSWERED] * 2


def test_the_exit_port_says_that_the_guest_has_given_up(made: Bed) -> None:
    made.ring(0, function=7)
    made.xen.on_notify = lambda vcpu: None if vcpu else made.xen.ask(1, port_write(EXIT_PORT, 1))
    struct.pack_into("<Q", made.xen.ram, made.trampoline.mailbox[0] + 0xE8, 0x810000)  # abandon
    assert made.run(Return(0)) == GaveUp(0)


# ---------------------------------------------------------------- requests that make no sense


@pytest.mark.parametrize(
    "request_",
    [
        Ioreq(0x521, 0, 0xFFFF_FFFF, 0xFFFF_FFFF, 0, 0, FLAG_READ | FLAG_DATA_IS_PTR, IoreqType.PIO),
        Ioreq(0x521, (1 << 64) - 1, 0xFFFF_FFFF, 8, 0, 0, FLAG_READ | FLAG_DATA_IS_PTR, IoreqType.PIO),
        Ioreq(0x521, 0, 0xFFFF_FFFF, 8, 0, 0, FLAG_READ | FLAG_DATA_IS_PTR | FLAG_DF, IoreqType.PIO),
        Ioreq(0x521, 0, 0, 0, 0, 0, FLAG_READ | FLAG_DATA_IS_PTR | FLAG_DF, IoreqType.PIO),
        Ioreq(0x521, 0, 1, 0xFFFF_FFFF, 0, 0, FLAG_READ, IoreqType.PIO),
        Ioreq(0x521, (1 << 64) - 1, 0xFFFF_FFFF, 4, 0, 0, FLAG_DATA_IS_PTR, IoreqType.PIO),
        Ioreq(COM1, (1 << 64) - 1, 0xFFFF_FFFF, 1, 0, 0, FLAG_DATA_IS_PTR, IoreqType.PIO),
        Ioreq(0x520, 0, 1, 4, 0, 0, FLAG_READ, IoreqType.PIO),
        Ioreq((1 << 64) - 1, 0, 1, 8, 0, 0, FLAG_READ, IoreqType.COPY),
        Ioreq(0, 0, 1, 4, 0, 0, 0, IoreqType.PCI_CONFIG),
        Ioreq(0, 0, 1, 4, 0, 0, 0, 0xFF),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_and_nothing_more(made: Bed, request_: Ioreq) -> None:
    made.xen.ram[ELSEWHERE : ELSEWHERE + PAGE] = b"\x5a" * PAGE
    made.xen.ask(0, request_)
    assert finish(made) == Finished("enough")
    assert made.xen.state(0) is ANSWERED
    assert made.xen.ram[ELSEWHERE : ELSEWHERE + PAGE] == b"\x5a" * PAGE


def test_a_string_read_of_a_port_stores_ones_where_it_says(made: Bed) -> None:
    flags = FLAG_READ | FLAG_DATA_IS_PTR
    made.xen.ask(0, Ioreq(0x521, ELSEWHERE, 4, 2, 0, 0, flags, IoreqType.PIO))
    made.xen.ask(1, Ioreq(0x521, ELSEWHERE + 0x100, 4, 2, 0, 0, flags | FLAG_DF, IoreqType.PIO))
    finish(made)
    assert made.xen.ram[ELSEWHERE : ELSEWHERE + 9] == b"\xff" * 8 + b"\0"
    assert made.xen.ram[ELSEWHERE + 0xF9 : ELSEWHERE + 0x103] == b"\0" + b"\xff" * 8 + b"\0"


@settings(deadline=None, max_examples=60)
@given(
    addr=st.integers(0, (1 << 64) - 1),
    data=st.integers(0, (1 << 64) - 1) | st.integers(0, RAM_SIZE + MIB),
    count=st.integers(0, (1 << 32) - 1),
    size=st.integers(0, (1 << 32) - 1) | st.integers(0, 9),
    flags=st.integers(0, 15).map(lambda bits: bits << 4),
    kind=st.integers(0, 255),
)
def test_no_request_stops_the_device_model(
    addr: int, data: int, count: int, size: int, flags: int, kind: int
) -> None:
    one = bed()
    try:
        one.xen.ask(0, Ioreq(addr, data, count, size, 0, 0, flags, kind))
        assert finish(one) == Finished("enough")
        assert one.xen.state(0) is ANSWERED
    finally:
        one.guest.close()


def test_a_doorbell_for_a_mailbox_that_was_given_back_ends_the_run(made: Bed) -> None:
    made.xen.ask(0, INVALIDATE)
    first = made.trampoline.mailbox[0] // PAGE
    made.xen.absent.add(first)
    made.ring(1)
    stop = made.run()
    assert isinstance(stop, Fault)
    assert "without a mailbox" in stop.what


# ---------------------------------------------------------------- memory that comes and goes


def test_what_the_guest_has_given_back_is_mapped_no_more(made: Bed) -> None:
    assert made.guest.memory.read(ELSEWHERE, 4) == bytes(4)
    assert made.xen.mapped() > 0
    made.xen.ask(0, INVALIDATE)
    made.xen.on_notify = lambda _: mapped.append(made.xen.mapped())
    mapped: list[int] = []
    finish(made)
    assert mapped == [0]
    made.xen.absent.add(ELSEWHERE // PAGE)
    with pytest.raises(GuestFault):
        made.guest.memory.read(ELSEWHERE, 4)


def test_doorbells_go_on_after_the_guest_has_given_memory_back(made: Bed) -> None:
    made.xen.ask(0, INVALIDATE)
    made.ring(1, rcx=0x77)
    made.xen.on_notify = lambda vcpu: made.ring(1) if vcpu else None
    assert made.run(Return(5), ENOUGH) == Finished("enough")
    assert made.requests[0].rcx == 0x77
    assert made.xen.word(made.trampoline, "result") == 5


def test_when_boot_services_have_ended_all_that_was_mapped_is_let_go_of(made: Bed) -> None:
    made.guest.memory.read(ELSEWHERE, 4 * MIB)
    made.ring(0, abandon=0x810000)
    made.xen.on_notify = lambda _: made.ring(0, abandon=0)
    made.run(Return(0), ENOUGH)
    assert made.xen.mapped() <= 128 << 10  # the mailbox and what is beside it


def test_memory_above_4_gib_is_there_after_the_memory_map() -> None:
    one = bed(FakeXen(high=4 * MIB))
    try:
        with pytest.raises(GuestFault):
            one.guest.memory.read(4 << 30, 1)
        ram = one.guest.ram(
            [
                HvmMemmapTableEntry(0, RAM_SIZE, MemmapType.RAM),
                HvmMemmapTableEntry(0xFC00_0000, PAGE, MemmapType.ACPI),
                HvmMemmapTableEntry(4 << 30, 4 * MIB, MemmapType.RAM),
            ]
        )
        ram.write((4 << 30) + 5, b"high")
        assert one.xen.ram[RAM_SIZE + 5 : RAM_SIZE + 9] == b"high"
        assert one.guest.memory is ram
        with pytest.raises(GuestFault):
            ram.read(0xFC00_0000, 1)
    finally:
        one.guest.close()


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    ("end", "stop"),
    [
        (DomainEnd.POWERED_OFF, PoweredOff),
        (DomainEnd.REBOOTED, Restarted),
        (DomainEnd.CRASHED, Crashed),
        (DomainEnd.WATCHDOG, Crashed),
        (DomainEnd.SUSPENDED, Died),
        (DomainEnd.SOFT_RESET, Died),
        (DomainEnd.GONE, Died),
    ],
)
def test_the_end_of_the_domain_ends_the_run(made: Bed, end: DomainEnd, stop: type[Stop]) -> None:
    made.domain.ends(end)
    assert isinstance(made.run(), stop)
    assert isinstance(made.run(), stop), "and every further one"


def test_a_domain_that_is_saved_is_let_go_of_and_lives_on(made: Bed) -> None:
    made.ring(2, function=7)
    made.domain.ends(DomainEnd.SUSPENDED)
    assert isinstance(made.run(Return(0)), Died)
    made.guest.close()
    assert not made.domain.destroyed
    assert made.xen.servers == {}
    assert made.xen.mapped() == 0
    assert made.xen.state(2) is ANSWERED, "none waits for what does not come"


def test_what_the_guest_wrote_before_its_end_is_shown(made: Bed) -> None:
    os.write(made.domain.terminal, b"reboot: Power down\n")
    made.domain.ends(DomainEnd.POWERED_OFF)
    made.run()
    assert b"Power down" in b"".join(made.console)


def test_nothing_of_a_domain_is_mapped_when_it_is_destroyed(made: Bed) -> None:
    made.guest.memory.read(ELSEWHERE, 4)
    made.guest.close()
    assert made.domain.destroyed
    assert made.domain.mapped_at_its_end == 0
    assert made.xen.servers == {}


def test_a_guest_that_is_closed_has_no_memory_any_more(made: Bed) -> None:
    view = made.guest.memory.view(ELSEWHERE, 4)
    made.guest.close()
    with pytest.raises(GuestFault):
        made.guest.memory.read(ELSEWHERE, 4)
    view[:] = b"lost"  # whoever still has a view stores where nobody looks
    assert made.xen.ram[ELSEWHERE : ELSEWHERE + 4] == bytes(4)


@pytest.mark.parametrize("by", ["Xen", "ResetSystem"])
def test_a_guest_that_resets_starts_anew_in_a_new_domain(by: str) -> None:
    second = FakeXen(domid=6)
    one = bed(renew=lambda: second)
    first = one.domain
    try:
        one.ring(0, function=Function.BOOT)
        if by == "Xen":
            one.run(ENOUGH)
            first.ends(DomainEnd.REBOOTED)
            second.ring(1, trampoline=one.trampoline, function=Function.BOOT)
            stop = one.run(Finish("second"))
        else:
            second.ring(1, trampoline=one.trampoline, function=Function.BOOT)
            stop = one.run(Reset("reset"), Finish("second"))
        assert stop == Finished("second")
        assert first.destroyed
        assert first.mapped_at_its_end == 0
        assert one.domain.running
        assert [request.seq for request in one.requests] == [1, 1]
    finally:
        one.guest.close()


def test_a_reset_that_is_not_to_start_anew_ends_the_run_with_its_reason(made: Bed) -> None:
    made.ring(0)
    assert made.run(Reset("reset")) == Finished("reset")


# ---------------------------------------------------------------- left to itself


def test_a_guest_left_to_itself_gets_the_answer_that_is_due_and_no_more(made: Bed) -> None:
    made.ring(0)

    def leave(vcpu: int) -> None:
        assert made.xen.word(made.trampoline, "done") == 1
        os.write(made.domain.terminal, b"on its own\n")
        made.domain.ends(DomainEnd.POWERED_OFF)

    made.xen.on_notify = leave
    made.guest.detach()
    assert made.run(Return(0)) == PoweredOff()
    assert made.xen.servers == {}
    assert made.xen.mapped() == 0
    assert b"on its own" in b"".join(made.console)
    assert made.guest.given_up() == 0


def test_who_leaves_while_a_service_idles_leaves(made: Bed) -> None:
    def answer(_request: Request) -> Answer:
        made.guest.finish("enough")
        made.guest.idle(30.0)
        raise AssertionError("the run has ended")

    made.ring()
    assert made.guest.run(answer, 20) == Finished("enough")


def test_a_run_whose_time_ends_while_a_service_idles_has_timed_out(made: Bed) -> None:
    def answer(_request: Request) -> Answer:
        made.guest.idle(30.0)
        raise AssertionError("the run has ended")

    made.ring()
    assert isinstance(made.guest.run(answer, 0.2), TimedOut)


# ---------------------------------------------------------------- taken over from a process that has died


def left_behind(xen: FakeXen) -> int:
    """Have a process make an ioreq server, and die."""
    one = bed(xen)
    identity = next(iter(xen.servers))
    xen.bound.clear()
    one.domain.close()
    return identity


def test_a_call_that_nobody_has_answered_is_answered_by_the_heir() -> None:
    xen = FakeXen()
    identity = left_behind(xen)
    trampoline = bed(FakeXen()).trampoline
    xen.ring(2, trampoline=trampoline, function=7, rcx=0x99)
    xen.take_event()  # the notification went to the process that died
    heir = adopted(xen, identity)
    try:
        assert heir.run(ENOUGH) == Finished("enough")
        assert [(request.function, request.rcx) for request in heir.requests] == [(7, 0x99)]
    finally:
        heir.guest.close()


def test_an_answer_that_xen_takes_meanwhile_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    xen = FakeXen()
    identity = left_behind(xen)
    xen.ask(2, port_write(0x520, 1), ANSWERED)
    xen.take_event()
    heir = adopted(xen, identity)
    answered = IoreqServer.answered

    def then_taken(server: IoreqServer) -> list[int]:
        found = answered(server)
        xen.ask(2, Ioreq(0, 0, 0, 0, 0, 0, 0, 0), IoreqState.NONE)
        xen.take_event()
        return found

    monkeypatch.setattr(IoreqServer, "answered", then_taken)
    try:
        heir.ring(1)
        assert heir.run(ENOUGH) == Finished("enough")
        assert xen.state(2) is IoreqState.NONE, "Xen crashes a domain whose slot goes backwards"
    finally:
        heir.guest.close()


def test_a_doorbell_whose_mailbox_was_given_back_meanwhile_ends_the_run() -> None:
    xen = FakeXen()
    identity = left_behind(xen)
    trampoline = load_trampoline()
    xen.ring(2, trampoline=trampoline)
    xen.take_event()
    heir = adopted(xen, identity)
    xen.ask(0, INVALIDATE)
    xen.take_event()
    start = trampoline.mailbox[0] // PAGE
    xen.absent.update(range(start, start + trampoline.mailbox[1] // PAGE))
    try:
        assert isinstance(heir.run(), Fault)
        assert xen.state(2) is WAITS
    finally:
        heir.guest.close()


def test_a_domain_without_a_mailbox_cannot_be_taken_over() -> None:
    xen = FakeXen()
    identity = left_behind(xen)
    xen.absent.update(range(RAM_SIZE // PAGE))
    with pytest.raises(MachineError, match="domain 5 has no EFI any more"):
        adopted(xen, identity)


@pytest.mark.parametrize("state", [IoreqState.READY, IoreqState.INPROCESS, IoreqState.RESPONSE_READY])
def test_a_call_that_was_answered_is_not_answered_again_but_its_vcpu_goes_on(state: IoreqState) -> None:
    xen = FakeXen()
    identity = left_behind(xen)
    trampoline = bed(FakeXen()).trampoline
    xen.ring(2, trampoline=trampoline, seq=9, done=9)
    xen.take_event()
    xen.ask(2, port_write(0x520, 9), state)
    xen.take_event()
    heir = adopted(xen, identity)
    try:
        xen.on_notify = lambda _: heir.ring(1) if not heir.requests else None
        assert heir.run(ENOUGH) == Finished("enough")
        assert xen.state(2) is ANSWERED
        assert xen.notified == [2]
        assert [request.seq for request in heir.requests] == [10]
    finally:
        heir.guest.close()

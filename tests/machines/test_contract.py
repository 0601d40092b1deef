# SPDX-License-Identifier: GPL-2.0-or-later
"""What every machine promises, run on each of them: a machine joins by its name in MACHINES."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pvefi.efi.start import Start
from pvefi.errors import UsageError
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import (
    STAGING_SIZE,
    Commit,
    Copy,
    Fill,
    Finish,
    Function,
    MailboxLayout,
    Request,
    Reset,
    Return,
    Store,
    Unwind,
    Upcall,
)
from pvefi.machines import (
    Fault,
    Finished,
    GaveUp,
    Guest,
    Halted,
    Hardware,
    Machine,
    Reached,
    Stop,
    TimedOut,
    Watchpoint,
)
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.spec.xen.start_info import MemmapType
from tests.conftest import Tool
from tests.machines.made import (
    ALIGN,
    DATA,
    GATE,
    GIB,
    HALT,
    INVALID,
    LOOP,
    MIB,
    PROGRAM,
    RETURN,
    Run,
    Script,
    Told,
    call,
    load_rcx,
    started,
)
from tests.machines.qemu.made import machine_of

MACHINES = ("embedded", "qemu")
RING = ALIGN + call(load_trampoline().gate(GATE))
PCI_HOLE = 0xE000_0000
NOP = b"\x90"
FINISH = b"\x48\x83\xc4\x28" + RETURN  # add $0x28, %rsp; ret
JUMP_AHEAD = b"\xeb\x00"  # jmp to the next instruction: watchpoints are reached by jumps


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest, tool: Tool) -> Machine:
    return EmbeddedMachine() if request.param == "embedded" else machine_of(tool("qemu-system-x86_64"))


@pytest.fixture
def counting(request: pytest.FixtureRequest, machine: Machine, tool: Tool) -> Machine:
    """Give the same machine as one that counts instructions."""
    return machine if machine.name == "embedded" else machine_of(tool("qemu-system-x86_64"), exact=True)


def only_embedded(machine: Machine, because: str) -> None:
    """Skip what QEMU does not promise."""
    if machine.name != "embedded":
        pytest.skip(because)


def moment(machine: Machine) -> float:
    """Return seconds in which a guest has come to its program, and little more."""
    return 0.1 if machine.name == "embedded" else 0.5


def move_rax(value: int) -> bytes:
    return b"\x48\xb8" + value.to_bytes(8, "little")  # movabs $value, %rax


def watch(address: int, expected: bytes, label: str = "") -> Watchpoint:
    return Watchpoint(address, len(expected), expected.__eq__, label)


READ_RAX = b"\x48\x8b\x00"  # mov (%rax), %rax
WRITE_RAX = b"\x48\x89\x00"  # mov %rax, (%rax)


def test_a_call_rings_though_a_cpu_that_has_stopped_holds_the_lock(machine: Machine) -> None:
    lock = load_trampoline().symbols["mailbox"] + MailboxLayout.offset_of("lock")
    held = move_rax(lock) + b"\x48\xc7\x00\1\0\0\0"  # movq $1, (%rax)
    with started(machine, held + RING + RING + HALT, [Return(1), Return(2)]) as run:
        assert isinstance(run.go(), Halted)
        assert run.mailbox.lock == 0
    assert run.script.functions == [Function.BOOT, GATE, GATE]


def test_the_first_doorbell_is_boot_and_tells_hvm_start_info(machine: Machine) -> None:
    told: list[Start] = []
    with started(machine) as run:
        run.script = Told(run, told.append)
        run.go()
        boot = run.script.requests[0]
    assert (boot.function, boot.seq) == (Function.BOOT, 1)
    assert [start.info.version for start in told] == [1]


def test_nothing_is_answered_before_the_guest_is_run(machine: Machine) -> None:
    with started(machine, RING) as run:
        time.sleep(moment(machine))
        assert run.mailbox.seq <= 1
        assert run.script.requests == []
        run.go()
    assert run.script.functions == [Function.BOOT, GATE]


def test_a_guest_stands_still_until_it_is_run(machine: Machine) -> None:
    only_embedded(machine, "QEMU starts its firmware at once, on the way to the trampoline")
    with started(machine) as run:
        assert run.guest.registers()["rip"] == run.trampoline.entry
        assert run.mailbox.seq == 0


def test_a_call_brings_its_arguments_and_takes_its_answer_home(machine: Machine) -> None:
    program = load_rcx(0x1111_2222_3333_4444) + RING + RETURN
    program = program.replace(RETURN, b"\x48\x83\xc4\x28" + RETURN)  # add $0x28, %rsp; ret
    with started(machine, program, [Return(0x8000_0000_0000_0005)]) as run:
        stop = run.go()
    gate, returned = run.script.requests[1:]
    assert (gate.function, gate.rcx) == (GATE, 0x1111_2222_3333_4444)
    assert (returned.function, returned.rcx) == (Function.UPCALL_RETURN, 0x8000_0000_0000_0005)
    assert stop == Finished("no more answers")


def test_doorbells_are_numbered_one_after_the_other(machine: Machine) -> None:
    program = RING + b"\xeb" + bytes([0x100 - len(RING) - 2])  # jmp to the start
    with started(machine, program, [Return(0)] * 4) as run:
        run.go()
    assert [request.seq for request in run.script.requests] == [1, 2, 3, 4, 5, 6]


def test_an_upcall_passes_four_arguments_on_an_aligned_stack(machine: Machine) -> None:
    at = DATA.to_bytes(4, "little")
    stored = (
        b"\x48\x89\x0c\x25" + at  # mov %rcx, DATA
        + b"\x48\x89\x14\x25" + (DATA + 8).to_bytes(4, "little")  # mov %rdx, DATA + 8
        + b"\x4c\x89\x04\x25" + (DATA + 16).to_bytes(4, "little")  # mov %r8, DATA + 16
        + b"\x4c\x89\x0c\x25" + (DATA + 24).to_bytes(4, "little")  # mov %r9, DATA + 24
        + b"\x48\x89\x24\x25" + (DATA + 32).to_bytes(4, "little")  # mov %rsp, DATA + 32
        + RETURN
    )  # fmt: skip
    with started(machine, RING, [Upcall(PROGRAM + 0x100, (1, 2, 3, (1 << 64) - 1))]) as run:
        run.guest.memory.write(PROGRAM + 0x100, stored)
        run.go()
        words = struct.unpack("<5Q", run.guest.memory.read(DATA, 40))
    assert words[:4] == (1, 2, 3, (1 << 64) - 1)
    assert words[4] % 16 == 8


def test_a_copy_is_made_by_the_guest_itself(machine: Machine) -> None:
    source, target = DATA, DATA + 0x1000
    with started(machine, RING + HALT, [Copy(target, source, 5), Return(0)]) as run:
        run.guest.memory.write(source, b"copied")
        stop = run.go()
        assert run.guest.memory.read(target, 6) == b"copie\0"
    assert run.script.functions == [Function.BOOT, GATE, Function.DONE]
    assert isinstance(stop, Halted)


@pytest.mark.parametrize("distance", [-3, 3])
def test_a_copy_may_overlap_in_either_direction(machine: Machine, distance: int) -> None:
    with started(machine, RING + HALT, [Copy(DATA + 16 + distance, DATA + 16, 8), Return(0)]) as run:
        run.guest.memory.write(DATA + 16, b"12345678")
        run.go()
        assert run.guest.memory.read(DATA + 16 + distance, 8) == b"12345678"


def test_a_fill_is_made_by_the_guest_itself(machine: Machine) -> None:
    with started(machine, RING + HALT, [Fill(DATA + 1, 0xAB, 3), Return(0)]) as run:
        run.go()
        assert run.guest.memory.read(DATA, 5) == b"\0\xab\xab\xab\0"
    assert run.script.functions == [Function.BOOT, GATE, Function.DONE]


FUNCTION = PROGRAM + 0x800


@pytest.mark.parametrize(
    "change",
    [
        Fill(FUNCTION + 1, 2, 1),
        Copy(FUNCTION, DATA, 6),
        Copy(FUNCTION + 1, FUNCTION - 0x100, 0x104),  # overlapping: downwards, over the function itself
    ],
    ids=["fill", "copy", "overlapping copy"],
)
def test_code_that_has_run_is_changed_by_a_copy_or_a_fill(machine: Machine, change: Copy | Fill) -> None:
    one, two = (b"\xb8" + bytes([n, 0, 0, 0]) + RETURN for n in (1, 2))  # mov $n, %eax; ret
    show = b"\x89\x04\x25" + DATA.to_bytes(4, "little")  # mov %eax, DATA
    with started(machine, call(FUNCTION) + RING + call(FUNCTION) + show + HALT, [change, Return(0)]) as run:
        run.guest.memory.write(FUNCTION, one)
        run.guest.memory.write(DATA, two)
        run.guest.memory.write(FUNCTION - 0x100, b"\2\0\0\0" + RETURN)  # for the overlapping copy
        run.go()
        assert run.guest.memory.read(DATA, 4) == b"\2\0\0\0"


def test_a_time_out_ends_an_answer_that_takes_too_long(machine: Machine) -> None:
    only_embedded(machine, "QEMU is served by the thread that waits: nobody could end its work")

    def endless(_request: Request) -> Return:
        while True:
            time.monotonic()

    with started(machine, RING, [endless]) as run:
        began = time.monotonic()
        assert isinstance(run.go(timeout=0.1), TimedOut)
        assert time.monotonic() - began < 5


def test_unwinding_leaves_the_program_from_within(machine: Machine) -> None:
    with started(machine, RING + INVALID, [lambda request: Unwind(request.frame, 77)]) as run:
        assert run.go() == Finished("no more answers")
    assert (run.script.functions[-1], run.script.requests[-1].rcx) == (Function.UPCALL_RETURN, 77)


STORES = (
    Store(DATA + 1, b"one"),
    Store(DATA + 0x801, b"a longer one, of an odd size."),
    Store(DATA + 7, b""),
)


def test_a_commit_is_stored_by_the_guest_itself_and_returns_its_value(machine: Machine) -> None:
    def stored() -> list[bytes]:
        return [run.guest.memory.read(store.target - 1, len(store.data) + 2) for store in STORES[:2]]

    with started(machine, RING + RING[len(ALIGN) :] + FINISH, [Commit(STORES, 0x55), Return(9)]) as run:
        run.go()
        assert stored() == [b"\0" + store.data + b"\0" for store in STORES[:2]]
    assert run.script.functions == [Function.BOOT, GATE, GATE, Function.UPCALL_RETURN]


def test_a_commit_without_a_value_rings_when_it_is_done(machine: Machine) -> None:
    with started(machine, RING + FINISH, [Commit(STORES, None), Return(0x66)]) as run:
        run.go()
        assert run.guest.memory.read(DATA + 1, 3) == b"one"
    assert run.script.functions == [Function.BOOT, GATE, Function.DONE, Function.UPCALL_RETURN]
    assert run.script.requests[-1].rcx == 0x66


def test_a_commit_fills_the_staging_area_to_its_end(machine: Machine) -> None:
    data = bytes(range(1, 256)) * 96 + b"x" * (STAGING_SIZE - 16 - 255 * 96)
    with started(machine, RING + FINISH, [Commit((Store(DATA + 1, data),), 0)]) as run:
        run.go()
        assert run.guest.memory.read(DATA + 1, len(data) + 1) == data + b"\0"


def test_a_commit_that_comes_too_late_is_never_performed(machine: Machine) -> None:
    if not machine.runs_kernels:
        pytest.skip("the embedded CPU stands still while it is answered")

    def late(_request: Request) -> Commit:
        mailbox = run.mailbox_host_side()
        run.set_word("abandon", 0)
        mailbox.bound_waits(1000)
        time.sleep(0.05)
        return Commit(STORES, 0)

    with started(machine, RING + FINISH) as run:
        run.guest.memory.write(DATA, b"mine")
        run.script = Script([late])
        assert isinstance(run.go(), Halted)
        assert run.guest.memory.read(DATA, 4) == b"mine"
        assert (run.mailbox.dead, run.mailbox.timeouts) == (2, 1)


def test_a_guest_that_waits_too_long_within_boot_services_has_given_up(machine: Machine) -> None:
    if not machine.runs_kernels:
        pytest.skip("the embedded CPU stands still while it is answered")

    def late(_request: Request) -> Return:
        run.mailbox_host_side().bound_waits(1000)
        time.sleep(0.05)
        return Return(0)

    with started(machine, RING + FINISH) as run:
        run.script = Script([late])
        assert run.guest.run(run.script, 20) == GaveUp(2)


def test_a_stack_that_ends_in_nothing_is_a_page_fault_on_the_exceptions_own_stack(machine: Machine) -> None:
    with started(machine, b"\x48\xbc" + (8 * GIB + 8).to_bytes(8, "little") + b"\x50") as run:
        stop = run.go()  # movabs $8 GiB + 8, %rsp; push %rax
    assert stop == Fault("page fault", 14, 8 * GIB, PROGRAM + 10)


def test_a_reset_rings_boot_again_or_ends_the_run(machine: Machine) -> None:
    with started(machine, RING, [Reset("anew"), Finish("done")]) as run:
        stop = run.go()
    if machine.runs_kernels:
        assert stop == Finished("done")
        assert run.script.functions == [Function.BOOT, GATE, Function.BOOT, GATE]
        assert [request.seq for request in run.script.requests] == [1, 2, 1, 2]
    else:
        assert stop == Finished("anew")


def test_a_reset_is_the_end_where_a_guest_is_not_to_start_anew(machine: Machine) -> None:
    hardware = Hardware(16 * MIB, restarts=False)
    with started(machine, RING, [Reset("anew")], hardware) as run:
        assert run.go() == Finished("anew")


def test_whoever_watches_the_console_may_end_the_run(machine: Machine) -> None:
    trampoline = load_trampoline()
    told: list[Guest] = []
    write = bytes.fromhex("66baf803b041ee") + LOOP  # mov $0x3f8, %dx; mov $'A', %al; out %al, %dx
    guest = machine.start(trampoline, Hardware(16 * MIB), lambda _text: told[0].finish("seen"))
    told.append(guest)
    with closing(guest):
        guest.memory.write(PROGRAM, write)
        assert guest.run(Script(), 20) == Finished("seen")


def test_an_answer_may_end_the_run_and_the_first_reason_counts(machine: Machine) -> None:
    def answer(_request: Request) -> Return:
        run.guest.finish("first")
        run.guest.finish("second")
        return Return(0)

    with started(machine, RING + LOOP) as run:
        run.script = Script([answer])
        assert run.go() == Finished("first")


def test_finish_ends_the_run_with_its_reason(machine: Machine) -> None:
    reason = object()
    with started(machine, RING, [Finish(reason)]) as run:
        stop = run.go()
    assert isinstance(stop, Finished)
    assert stop.reason is reason


def test_an_error_of_the_host_s_answer_comes_out_of_the_run(machine: Machine) -> None:
    def broken(_request: Request) -> Return:
        raise ZeroDivisionError

    with started(machine, RING, [broken]) as run, pytest.raises(ZeroDivisionError):
        run.go()


def test_a_watchpoint_is_reached_once_before_its_instruction_and_the_guest_goes_on(machine: Machine) -> None:
    with started(machine, JUMP_AHEAD + INVALID) as run:
        watchpoint = watch(PROGRAM + 2, INVALID, "here")
        run.guest.watch([watchpoint])
        assert run.go() == Reached(watchpoint)
        assert run.guest.registers()["rip"] == PROGRAM + 2
        assert isinstance(run.go(), Fault)


def test_a_watchpoint_whose_bytes_are_not_there_is_passed(machine: Machine) -> None:
    with started(machine, JUMP_AHEAD + HALT) as run:
        run.guest.watch([watch(PROGRAM, HALT, "elsewhere"), watch(PROGRAM + 2, HALT, "here")])
        stop = run.go()
    assert isinstance(stop, Reached)
    assert stop.watchpoint.label == "here"


def test_two_watchpoints_at_one_address_are_told_apart_by_their_bytes(machine: Machine) -> None:
    with started(machine, HALT) as run:
        run.guest.watch([watch(PROGRAM, NOP, "nop")])
        run.guest.watch([watch(PROGRAM, HALT, "halt")])
        stop = run.go()
    assert isinstance(stop, Reached)
    assert stop.watchpoint.label == "halt"


def test_watchpoints_may_be_added_while_a_call_is_answered(machine: Machine) -> None:
    with started(machine, RING + NOP + HALT) as run:
        added = watch(PROGRAM + len(RING), NOP + HALT, "late")

        def answer(_request: Request) -> Return:
            run.guest.watch([added])
            return Return(0)

        run.script = Script([answer])
        assert run.go() == Reached(added)


def test_a_watchpoint_that_expects_more_than_ram_has_is_passed(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    end = 16 * MIB
    with started(machine, RING) as run:
        run.guest.watch([watch(end - 1, HALT + bytes(31), "the last byte")])
        # Not before the first doorbell: a machine's firmware may use the end of its memory.
        run.script = Told(run, lambda _start: run.guest.memory.write(end - 1, HALT))
        run.script.program = end - 1
        assert isinstance(run.go(), Halted)
    assert capfd.readouterr().err == ""


HANDLER = PROGRAM + 0x1000
TABLES = PROGRAM + 0x2000  # IDT, and the pointer to it behind it
# push %rax; mov 16(%rsp), %rax (the faulting instruction, past the error code); add $3, %rax;
# mov %rax, 16(%rsp); mov %cr2, %rax; mov %rax, %rdi; mov 8(%rsp), %rsi (the error code);
# pop %rax; add $8, %rsp; iretq
SKIP_PAGE_FAULT = bytes.fromhex("50 488b442410 4883c003 4889442410 0f20d0 4889c7 488b742408 58 4883c408 48cf")


def interrupt_gate(handler: int) -> bytes:
    low, middle, high = handler & 0xFFFF, handler >> 16 & 0xFFFF, handler >> 32
    return struct.pack("<HHBBHII", low, 0x38, 0, 0x8E, middle, high, 0)


def with_page_fault_handler(run: Run) -> None:
    idt = bytes(14 * 16) + interrupt_gate(HANDLER)
    run.guest.memory.write(HANDLER, SKIP_PAGE_FAULT)
    run.guest.memory.write(TABLES, idt + struct.pack("<HQ", len(idt) - 1, TABLES))


LOAD_IDT = bytes.fromhex("0f011c25") + (TABLES + 15 * 16).to_bytes(4, "little")  # lidt TABLES + 240


def test_a_page_fault_reaches_the_guests_own_handler_time_after_time(machine: Machine) -> None:
    faults = 3 * (move_rax(8) + WRITE_RAX)  # every store is three bytes, which the handler skips
    with started(machine, LOAD_IDT + faults + HALT) as run:
        with_page_fault_handler(run)
        assert isinstance(run.go(), Halted)
        registers = run.guest.registers()
    assert (registers["rdi"], registers["rsi"]) == (8, 2)  # the address, and "a write to an absent page"


def test_an_exception_without_a_gate_of_its_own_ends_the_run(machine: Machine) -> None:
    with started(machine, LOAD_IDT + INVALID) as run:
        with_page_fault_handler(run)
        stop = run.go()
    assert isinstance(stop, Fault)
    assert stop.what == {"embedded": "invalid opcode", "qemu": "triple fault"}[machine.name]
    assert stop.instruction_pointer == PROGRAM + len(LOAD_IDT)


FAULTS: dict[str, tuple[bytes, str, int | None]] = {
    "a call through NULL": (call(0), "page fault", 0),
    "a read through NULL": (move_rax(0) + READ_RAX, "page fault", 0),
    "a write through NULL": (move_rax(8) + WRITE_RAX, "page fault", 8),
    "a read of the PCI hole": (move_rax(PCI_HOLE) + READ_RAX, "read of unmapped memory", PCI_HOLE),
    "a write to the PCI hole": (move_rax(PCI_HOLE) + WRITE_RAX, "write of unmapped memory", PCI_HOLE),
    "a call into the PCI hole": (call(PCI_HOLE), "fetch of unmapped memory", PCI_HOLE),
    "a read just above RAM": (move_rax(16 * MIB) + READ_RAX, "read of unmapped memory", 16 * MIB),
    "a write just above RAM": (move_rax(16 * MIB) + WRITE_RAX, "write of unmapped memory", 16 * MIB),
    "a read that crosses the end of RAM": (
        move_rax(16 * MIB - 4) + READ_RAX,
        "read of unmapped memory",
        16 * MIB,
    ),
    "a read where no page is": (move_rax(8 * GIB) + READ_RAX, "page fault", 8 * GIB),
    "an address that is not canonical": (
        move_rax(1 << 60) + READ_RAX,
        "general protection fault",
        None,
    ),
    "an invalid opcode": (INVALID, "invalid opcode", None),
    "a division by zero": (bytes.fromhex("31c9f7f1"), "divide error", None),  # xor %ecx, %ecx; div %ecx
    "a breakpoint": (b"\xcc", "breakpoint", None),  # int3
    "an interrupt that nobody handles": (b"\xcd\x80", "interrupt 0x80", None),  # int $0x80
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_says_what_where_and_for_which_address(machine: Machine, name: str) -> None:
    program, what, address = FAULTS[name]
    if "unmapped memory" in what:
        only_embedded(machine, "where no memory is, a PC reads ones and forgets what is written")
    if machine.name == "qemu" and name == "an interrupt that nobody handles":
        what = "general protection fault"  # as Intel SDM vol. 3A §6.15 has it: the gate lies beyond the table
    with started(machine, program) as run:
        stop = run.go()
    assert isinstance(stop, Fault)
    assert (stop.what, stop.address) == (what, address)
    if "call" in name:
        assert stop.instruction_pointer == address
    else:
        assert PROGRAM <= stop.instruction_pointer <= PROGRAM + len(program)


def test_a_halt_with_nothing_to_wake_it_ends_the_run(machine: Machine) -> None:
    with started(machine, NOP + HALT) as run:
        assert run.go() == Halted(PROGRAM + 2)


def test_an_endless_loop_times_out(machine: Machine) -> None:
    with started(machine, LOOP) as run:
        began = time.monotonic()
        stop = run.go(moment(machine))
        assert time.monotonic() - began < 5
    where = PROGRAM if machine.name == "embedded" else None
    assert stop == TimedOut(moment(machine), where)


def test_a_guest_that_has_timed_out_goes_on(machine: Machine) -> None:
    if not machine.runs_kernels:
        pytest.skip("unicorn may repeat the instruction at which it was stopped")
    wait = b"\x80\x3c\x25" + DATA.to_bytes(4, "little") + b"\x00\x74\xf6"  # 1: cmpb $0, DATA; je 1b
    with started(machine, wait + RING) as run:
        assert isinstance(run.go(moment(machine)), TimedOut)
        assert run.script.functions == [Function.BOOT]
        run.guest.memory.write(DATA, b"\1")
        assert run.go() == Finished("no more answers")
    assert run.script.functions == [Function.BOOT, GATE]


def test_no_time_at_all_is_a_time_out_too(machine: Machine) -> None:
    with started(machine, LOOP) as run:
        stop = run.go(0)
    assert isinstance(stop, TimedOut)


def test_a_guest_that_rings_without_end_times_out(machine: Machine) -> None:
    ring = call(load_trampoline().gate(GATE))
    program = ALIGN + ring + b"\xeb" + bytes([0x100 - len(ring) - 2])  # jmp to the call
    with started(machine, program) as run:
        run.script = Script(iter(lambda: Return(0), None))
        assert isinstance(run.go(moment(machine)), TimedOut)
        assert len(run.script.requests) > 2


def test_waiting_within_an_answer_ends_with_the_run(machine: Machine) -> None:
    with started(machine, RING) as run:

        def wait(_request: Request) -> Return:
            run.guest.idle(60)
            return Return(0)

        run.script = Script([wait])
        began = time.monotonic()
        assert isinstance(run.go(moment(machine)), TimedOut)
        assert run.script.functions == [Function.BOOT, GATE]
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("program", [LOOP, RING], ids=["in a loop", "in an answer"])
def test_an_interrupt_from_the_keyboard_passes_through_with_the_guest_stopped(
    machine: Machine, program: bytes
) -> None:
    threads = threading.active_count()
    with started(machine, program) as run:

        def wait(_request: Request) -> Return:
            run.guest.idle(60)
            return Return(0)

        run.script = Script([wait])
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(moment(machine), signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            run.guest.run(run.script, None)
    assert threading.active_count() == threads


@pytest.mark.parametrize("size", [16 * MIB, 512 * MIB, 6 * GIB], ids=["16M", "512M", "6G"])
def test_start_info_describes_the_memory_that_is_there(machine: Machine, size: int) -> None:
    with started(machine, HALT, hardware=Hardware(size, "quiet root=/dev/ram0")) as run:
        told: list[Start] = []
        run.script = Told(run, told.append)
        run.go()
        (start,) = told
        memory = run.guest.ram(start.memory_map)
        entries = start.memory_map
        ram = [entry for entry in entries if entry.type == MemmapType.RAM]
        assert all(memory.contiguous(entry.addr) >= entry.size for entry in ram)
    assert start.command_line == "quiet root=/dev/ram0"
    assert start.modules == ()
    legacy_hole, firmware = 0x60000, 0x40000
    assert 0 <= size - legacy_hole - sum(entry.size for entry in ram) <= firmware
    assert all(before.addr + before.size <= after.addr for before, after in itertools.pairwise(ram))
    assert not any(entry.addr < 4 * GIB < entry.addr + entry.size for entry in entries)


def test_a_guest_without_a_command_line_gets_none(machine: Machine) -> None:
    told: list[Start] = []
    with started(machine) as run:
        run.script = Told(run, told.append)
        run.go()
    assert [start.command_line for start in told] == [""]


def test_host_and_guest_share_the_memory_above_4_gib(machine: Machine) -> None:
    high = 6 * GIB + 5 * MIB
    # The trampoline maps 4 GiB; its second page of directory pointers gets one 1 GiB page for the test.
    program = move_rax(high) + READ_RAX + b"\x48\xa3" + (high + 8).to_bytes(8, "little") + HALT  # mov to mem
    with started(machine, program, hardware=Hardware(6 * GIB)) as run:

        def map_it(start: Start) -> None:
            memory = run.guest.ram(start.memory_map)
            pointers = run.word(run.trampoline.symbols["page_map_level4"]) & ~0xFFF
            directory = DATA
            memory.write(pointers + 8 * 6, (directory | 3).to_bytes(8, "little"))
            pages = b"".join((6 * GIB + (at << 21) | 0x83).to_bytes(8, "little") for at in range(512))
            memory.write(directory, pages)
            memory.write(high, b"far away")

        run.script = Told(run, map_it)
        assert isinstance(run.go(), Halted)
        assert run.guest.memory.read(high + 8, 8) == b"far away"


@pytest.mark.parametrize("ending", [HALT, RING, INVALID], ids=["halt", "finish", "fault"])
def test_counted_instructions_are_the_same_from_run_to_run(counting: Machine, ending: bytes) -> None:
    if ending == HALT:
        only_embedded(counting, "QEMU's count is that of the last doorbell")

    def counted() -> int | None:
        loop = bytes.fromhex("b940420f00 ffc9 75fc")  # mov $1000000, %ecx; 1: dec %ecx; jnz 1b
        hardware = Hardware(16 * MIB, count=True, watched=False)
        with started(counting, loop + ending, hardware=hardware) as run:
            run.go()
            return run.guest.instructions()

    first = counted()
    assert first is not None
    assert 2_000_000 < first < 2_002_000
    assert counted() == first


def test_a_guest_that_is_not_counted_has_no_count(machine: Machine) -> None:
    with started(machine) as run:
        run.go()
        assert run.guest.instructions() is None


def test_what_the_guest_writes_to_its_serial_port_is_its_console(machine: Machine) -> None:
    write = bytes.fromhex("66baf803")  # mov $0x3f8, %dx
    for letter in b"Hi\n":
        write += bytes([0xB0, letter, 0xEE])  # mov $letter, %al; out %al, %dx
    with started(machine, write + HALT) as run:
        run.go()
    assert b"".join(run.console) == b"Hi\n"


def test_the_time_of_answers_is_told(machine: Machine) -> None:
    def slow(_request: Request) -> Return:
        time.sleep(0.05)
        return Return(0)

    with started(machine, RING + HALT, [slow]) as run:
        run.go()
        assert 0.05 <= run.guest.answering_seconds() < 5


def test_registers_have_the_names_that_reports_use(machine: Machine) -> None:
    with started(machine, move_rax(0x1234) + HALT) as run:
        run.go()
        registers = run.guest.registers()
    assert registers["rax"] == 0x1234
    assert {"rip", "rsp", "rsi", "r15", "cr0", "cr3", "cr4", "efer", "rflags", "cs"} <= set(registers)
    assert registers["cr3"] == load_trampoline().symbols["page_map_level4"]
    assert registers["cr0"] >> 31 == 1  # PG
    assert registers["efer"] & 0x500 == 0x500  # LMA, LME


REFUSED: dict[str, Callable[[], Hardware]] = {
    "at least [0-9]+ MiB": lambda: Hardware(8 * MIB),
    "whole pages": lambda: Hardware(16 * MIB + 1),
    "at most the host's": lambda: Hardware(1 << 50),
    "command line": lambda: Hardware(16 * MIB, "x" * (1 << 20)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_hardware_that_cannot_be_had_is_refused(machine: Machine, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        machine.start(load_trampoline(), REFUSED[message](), lambda _: None)


def test_a_closed_guest_leaves_nothing_behind(machine: Machine) -> None:
    descriptors, maps = Path("/proc/self/fd"), Path("/proc/self/maps")
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    gc.collect()
    gc.disable()
    try:
        before, running = len(list(descriptors.iterdir())), children.read_text()
        for _ in range(3):
            with started(machine, RING, [Return(0)]) as run:
                run.go()
        assert len(list(descriptors.iterdir())) == before
        assert "pvefi-ram" not in maps.read_text()
        assert children.read_text() == running
    finally:
        gc.enable()


def test_two_guests_of_one_process_do_not_meet(machine: Machine) -> None:
    with started(machine, HALT) as one, started(machine, LOOP) as other:
        assert isinstance(other.go(moment(machine)), TimedOut)
        stop: Stop = one.go()
        assert isinstance(stop, Halted)
        assert other.mailbox.seq == one.mailbox.seq == 1
        one.guest.memory.write(DATA, b"mine")
        assert other.guest.memory.read(DATA, 4) == bytes(4)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The code of the gates, run: what it may change, where it may stand, what it does when nobody answers."""

from __future__ import annotations

import mmap
import struct

import pytest
from unicorn import unicorn_const, x86_const

from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import (
    Copy,
    Finish,
    Function,
    Mailbox,
    MailboxLayout,
    Request,
    Return,
    Unwind,
    Upcall,
)
from pvefi.machines import Finished, Halted, Hardware, Reached, TimedOut, Watchpoint
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.embedded.engine import Engine
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.uefi.status import EfiStatus
from tests.machines.made import (
    ALIGN,
    DATA,
    GATE,
    HALT,
    MIB,
    PROGRAM,
    RETURN,
    Assembler,
    Reply,
    Run,
    Script,
    call,
    started,
)

TRAMPOLINE = load_trampoline()
COPIED = 2 * MIB
LOCK = TRAMPOLINE.symbols["mailbox"] + MailboxLayout.offset_of("lock")
SYMBOLS = {"gate": TRAMPOLINE.gate(GATE), "data": DATA, "lock": LOCK}
MACHINE = EmbeddedMachine()

GENERAL = (
    *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
VOLATILE = {"rax", "rcx", "rdx", "r8", "r9", "r10", "r11"}
FLAGS = 0xED7  # CF PF AF ZF SF IF DF OF, and the bit that is always 1

# Stores all that a program can see of the CPU at `data` + the offset in %rsp, which it borrows.
SAVE = """
        .macro save at
        movq    %rsp, data + \\at + 7 * 8
        movq    $data + \\at + 0x100, %rsp
        pushfq
        addq    $8, %rsp
        .set    index, 0
        .irp    name, rax,rbx,rcx,rdx,rsi,rdi,rbp,rsp,r8,r9,r10,r11,r12,r13,r14,r15
        .if     index != 7
        movq    %\\name, data + \\at + index * 8
        .endif
        .set    index, index + 1
        .endr
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movups  %xmm\\n, data + \\at + 0x100 + \\n * 16
        .endr
        stmxcsr data + \\at + 0x200
        fnstcw  data + \\at + 0x208
        movq    data + \\at + 7 * 8, %rsp
        .endm
        .macro  sentinels
        .set    index, 0x1111
        .irp    name, rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15
        movabsq $0x0102030405060000 + index, %\\name
        .set    index, index + 0x101
        .endr
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movups  data + 0x800 + \\n * 16, %xmm\\n
        .endr
        ldmxcsr mxcsr_value(%rip)
        fldcw   control_word(%rip)
        pushq   $0xed7
        popfq
        .endm
        .macro  literals
mxcsr_value:  .long 0x5f80              # round up, all masked
control_word: .word 0x0b7f              # round up, all masked
        .endm
"""


class Saved:
    """What `save` stored: registers by name, flags, xmm registers, mxcsr and the x87 control word."""

    def __init__(self, run: Run, at: int) -> None:
        data = run.guest.memory.read(DATA + at, 0x210)
        self.registers = dict(zip(GENERAL, struct.unpack_from("<16Q", data), strict=True))
        (self.flags,) = struct.unpack_from("<Q", data, 0xF8)
        self.xmm = [data[0x100 + 16 * n : 0x110 + 16 * n] for n in range(16)]
        (self.mxcsr,) = struct.unpack_from("<I", data, 0x200)
        (self.control_word,) = struct.unpack_from("<H", data, 0x208)

    def preserved(self, of: Saved) -> None:
        """Check that all is as in `of` but for what a callee may change (Microsoft x64 convention)."""
        for name in set(GENERAL) - VOLATILE:
            assert self.registers[name] == of.registers[name], name
        assert self.xmm[6:] == of.xmm[6:]
        assert (self.mxcsr, self.control_word) == (of.mxcsr, of.control_word)


def sentinel_xmm(run: Run) -> None:
    run.guest.memory.write(DATA + 0x800, bytes(range(256)))


def test_a_gate_changes_only_what_a_callee_may_and_no_flag(assemble: Assembler) -> None:
    program = assemble(
        SAVE
        + """
        subq    $0x28, %rsp
        sentinels
        save    0
        sentinels                       # save itself changes flags
        call    gate
        save    0x400
        hlt
        literals
        """,
        SYMBOLS,
    )
    with started(MACHINE, program, [Return(0xAAAA_BBBB_CCCC_DDDD)]) as run:
        sentinel_xmm(run)
        assert isinstance(run.go(), Halted)
        before, after = Saved(run, 0), Saved(run, 0x400)
    after.preserved(before)
    assert after.xmm == before.xmm
    assert after.registers["rax"] == 0xAAAA_BBBB_CCCC_DDDD
    assert before.registers["r15"] == 0x0102030405060000 + 0x1111 + 14 * 0x101
    assert after.flags & 0xFD7 == FLAGS


def test_a_request_holds_the_arguments_and_the_caller_s_stack(assemble: Assembler) -> None:
    program = assemble(
        """
        subq    $0x38, %rsp
        movq    $1, %rcx
        movq    $2, %rdx
        movq    $3, %r8
        movq    $4, %r9
        movq    $5, 0x20(%rsp)
        call    gate
after:  hlt
        """,
        SYMBOLS,
    )
    with started(MACHINE, program, [Return(0)]) as run:
        run.go()
        request = run.script.requests[1]
        assert (request.rcx, request.rdx, request.r8, request.r9) == (1, 2, 3, 4)
        assert run.word(request.rsp) == PROGRAM + len(program) - 1
        assert run.word(request.rsp + 0x28) == 5
        assert request.cr3 == TRAMPOLINE.symbols["page_map_level4"]
        assert request.cr4 & 0x620 == 0x620
        assert 0 < run.mailbox.tsc_start <= run.mailbox.tsc_in <= run.mailbox.tsc_out


@pytest.mark.parametrize(("la57", "of_each_call"), [(1, True), (0, False)])
def test_a_gate_reads_cr4_only_where_the_cpu_has_la57(
    assemble: Assembler, la57: int, *, of_each_call: bool
) -> None:
    la57_at, cr4_at = (TRAMPOLINE.mailbox[0] + MailboxLayout.offset_of(name) for name in ("la57", "cr4"))
    program = assemble(
        f"""
        subq    $0x38, %rsp
        movq    ${la57}, {la57_at:#x}
        movq    $0x5a5a, {cr4_at:#x}
        call    gate
        hlt
        """,
        SYMBOLS,
    )
    with started(MACHINE, program, [Return(0)]) as run:
        run.go()
        assert run.script.requests[0].cr4 & 0x620 == 0x620
        assert (run.script.requests[1].cr4 != 0x5A5A) is of_each_call


@pytest.mark.parametrize("index", [0, 1, GATE, 12, 13, 127, 128, 399])
def test_a_gate_rings_its_own_index(index: int) -> None:
    with started(MACHINE, ALIGN + call(TRAMPOLINE.gate(index)) + HALT, [Return(0)]) as run:
        assert isinstance(run.go(), Halted)
    assert run.script.functions == [Function.BOOT, index]


@pytest.mark.parametrize("index", [0, GATE, 399])
def test_gates_work_wherever_they_are_copied(index: int) -> None:
    gates = TRAMPOLINE.segment(".gates")
    moved = TRAMPOLINE.gate(index) - gates.address + COPIED
    with started(MACHINE, ALIGN + call(moved) + HALT, [Return(42)]) as run:
        run.guest.memory.write(COPIED, gates.data)
        run.guest.memory.fill(gates.address + 0x1000, 0x1000)  # the original is not needed
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == 42
    assert run.script.functions == [Function.BOOT, index]


def test_the_stub_without_a_host_answers_unsupported_and_does_not_ring() -> None:
    with started(MACHINE, ALIGN + call(TRAMPOLINE.symbols["unsupported"]) + HALT) as run:
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == EfiStatus.UNSUPPORTED
    assert run.script.functions == [Function.BOOT]


def test_boot_is_rung_after_fewer_than_2000_instructions() -> None:
    with started(MACHINE, HALT, hardware=Hardware(16 * MIB, count=True)) as run:
        run.script = Script()
        run.guest.run(Finish, 20)
        instructions = run.guest.instructions()
    assert instructions is not None
    assert 0 < instructions < 2000


def test_a_hypervisor_that_does_not_say_who_it_is_is_none() -> None:
    """unicorn sets CPUID's hypervisor bit and leaves leaf 0x40000000 empty."""
    with started(MACHINE) as run:
        run.go()
        assert run.mailbox_host_side().hypervisor() == (0, bytes(12), 0)


# Microsoft's and the others' leaves: highest leaf, then the 12 characters in ebx, ecx, edx.
HYPERVISORS: list[tuple[dict[int, tuple[int, bytes]], tuple[int, bytes, int]]] = [
    (
        {0x40000000: (0x40000005, b"XenVMMXenVMM"), 0x40000001: (0x40011, bytes(12))},
        (0x40000000, b"XenVMMXenVMM", 0x40011),
    ),
    ({0x40000000: (0x40000001, b"TCGTCGTCGTCG")}, (0x40000000, b"TCGTCGTCGTCG", 0)),
    (
        # What a leaf beyond the highest answers is nobody's version.
        {0x40000000: (0x40000000, b"TCGTCGTCGTCG"), 0x40000001: (7, bytes(range(12)))},
        (0x40000000, b"TCGTCGTCGTCG", 0),
    ),
    (
        {
            0x40000000: (0x40000005, b"Microsoft Hv"),
            0x40000100: (0x40000101, b"KVMKVMKVM\0\0\0"),
            0x40000101: (0x01007EFB, bytes(12)),
        },
        (0x40000100, b"KVMKVMKVM\0\0\0", 0x01007EFB),
    ),
    (
        {0x40000000: (0x40000005, b"Microsoft Hv"), 0x40000100: (0, bytes(12))},
        (0x40000000, b"Microsoft Hv", 0),
    ),
    (
        # A leaf beyond the highest one may answer with what the highest basic leaf does.
        {0x40000000: (0x40000005, b"Microsoft Hv"), 0x40000100: (7, bytes(range(12)))},
        (0x40000000, b"Microsoft Hv", 0),
    ),
]


@pytest.mark.parametrize(("leaves", "expected"), HYPERVISORS)
def test_the_hypervisor_that_cpuid_announces_is_found(
    leaves: dict[int, tuple[int, bytes]], expected: tuple[int, bytes, int]
) -> None:
    memory = GuestMemory([RamBlock(0, memoryview(mmap.mmap(-1, 16 * MIB)))])
    for part in TRAMPOLINE.segments:
        memory.write(part.address, part.data)
    engine = Engine(memory)
    answer_cpuid(engine, {1: (0, bytes(4) + (1 << 31).to_bytes(4, "little") + bytes(4))} | leaves)
    engine.on_port(lambda *_: engine.stop(), lambda *_: 0)
    engine.enter_protected_mode(TRAMPOLINE.entry, 0x6000)
    engine.run()
    mailbox = Mailbox(memory.view(*TRAMPOLINE.mailbox))
    assert mailbox.hypervisor() == expected
    assert mailbox.request().rcx == 0x6000


def answer_cpuid(engine: Engine, leaves: dict[int, tuple[int, bytes]]) -> None:
    """Let the CPU behind `engine` have these leaves, and zeroes for all others."""
    names = ("EAX", "EBX", "ECX", "EDX")
    uc = engine._uc

    def cpuid(_uc: object, _data: object) -> int:
        highest, signature = leaves.get(uc.reg_read(x86_const.UC_X86_REG_EAX), (0, bytes(12)))
        for name, value in zip(names, (highest, *struct.unpack("<3I", signature)), strict=True):
            uc.reg_write(getattr(x86_const, f"UC_X86_REG_{name}"), value)
        return 1  # the instruction itself is skipped

    uc.hook_add(unicorn_const.UC_HOOK_INSN, cpuid, None, 1, 0, x86_const.UC_X86_INS_CPUID)


def test_an_image_starts_in_the_state_that_uefi_demands() -> None:
    with started(MACHINE) as run:
        run.go()
        registers = run.guest.registers()
    assert registers["rsp"] % 16 == 8  # a return address on an aligned stack
    assert 0 < TRAMPOLINE.symbols["stack_top"] - registers["rsp"] < 0x400
    assert registers["rflags"] & 0x400 == 0  # DF
    assert registers["cr0"] & 0x8000_002F == 0x8000_0023  # PG, NE, MP, PE; not EM, not TS


# ---------------------------------------------------------------- upcalls

UPCALLED = (
    SAVE
    + """
        subq    $0x28, %rsp
        sentinels
        save    0
        sentinels
        call    gate
        save    0x400
        hlt
        literals
        .balign 0x1000
inner:                                  # a function that spoils all it can and more than it may
        .irp    name, rax,rbx,rcx,rdx,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15
        xorq    %\\name, %\\name
        .endr
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        xorps   %xmm\\n, %xmm\\n
        .endr
        ldmxcsr other_mxcsr(%rip)
        fninit
        std
        movl    $0x77, %eax
        ret
        .balign 0x100
ringing:                                # rings once more, then is left or returns
        pushq   %rbp
        subq    $0x20, %rsp
        call    gate
        addq    $0x20, %rsp
        popq    %rbp
        ret
        .balign 0x100
spoiling:                               # spoils, then rings: never comes back
        xorq    %rbp, %rbp
        xorps   %xmm9, %xmm9
        ldmxcsr other_mxcsr(%rip)
        fninit
        subq    $0x10028, %rsp
        call    gate
        ud2
other_mxcsr: .long 0x1f80
"""
)
INNER, RINGING, SPOILING = PROGRAM + 0x1000, PROGRAM + 0x1100, PROGRAM + 0x1200


def test_after_an_upcall_the_caller_finds_its_registers(assemble: Assembler) -> None:
    with started(MACHINE, assemble(UPCALLED, SYMBOLS), [Upcall(INNER), Return(5)]) as run:
        sentinel_xmm(run)
        assert isinstance(run.go(), Halted)
        before, after = Saved(run, 0), Saved(run, 0x400)
    after.preserved(before)
    assert after.registers["rax"] == 5
    assert after.flags & 0xFD7 == FLAGS
    assert run.script.functions == [Function.BOOT, GATE, Function.UPCALL_RETURN]
    assert run.script.requests[2].rcx == 0x77


def test_upcalls_nest(assemble: Assembler) -> None:
    answers: list[Reply] = [Upcall(RINGING), Upcall(INNER), Return(1), Return(2)]
    with started(MACHINE, assemble(UPCALLED, SYMBOLS), answers) as run:
        sentinel_xmm(run)
        assert isinstance(run.go(), Halted)
        before, after = Saved(run, 0), Saved(run, 0x400)
    after.preserved(before)
    returns = [Function.UPCALL_RETURN] * 2
    assert run.script.functions == [Function.BOOT, GATE, GATE, *returns]
    assert [request.rcx for request in run.script.requests[-2:]] == [0x77, 1]
    assert after.registers["rax"] == 2
    frames = [request.frame for request in run.script.requests]
    assert frames[1] > frames[2] > frames[3]


def test_unwinding_over_nested_upcalls_restores_the_outermost_caller(assemble: Assembler) -> None:
    frames: list[int] = []

    def leave(request: Request) -> Unwind:
        return Unwind(frames[0], 0x99)

    def enter(request: Request) -> Upcall:
        frames.append(request.frame)
        return Upcall(SPOILING)

    answers: list[Reply] = [Upcall(RINGING), enter, leave, Return(6)]
    with started(MACHINE, assemble(UPCALLED, SYMBOLS), answers) as run:
        sentinel_xmm(run)
        assert isinstance(run.go(), Halted)
        before, after = Saved(run, 0), Saved(run, 0x400)
    after.preserved(before)
    assert run.script.requests[-1].rcx == 0x99
    assert after.registers["rax"] == 6
    assert after.flags & 0xFD7 == FLAGS


@pytest.mark.parametrize(("flags", "enabled"), [(0x202, True), (0x002, False)])
def test_an_upcalled_function_runs_with_its_caller_s_interrupt_flag(
    assemble: Assembler, flags: int, enabled: bool
) -> None:
    program = assemble(
        f"""
        subq    $0x28, %rsp
        pushq   ${flags:#x}
        popfq
        call    gate
        hlt
        .balign 0x100
inner:  pushfq
        popq    %rax
        ret
        """,
        SYMBOLS,
    )
    with started(MACHINE, program, [Upcall(PROGRAM + 0x100), Return(0)]) as run:
        run.go()
    assert bool(run.script.requests[-1].rcx & 0x200) is enabled


def test_a_copy_leaves_the_caller_s_registers_alone(assemble: Assembler) -> None:
    program = UPCALLED.partition(".balign")[0]
    with started(
        MACHINE, assemble(program, SYMBOLS), [Copy(DATA + 0xA00, DATA + 0x800, 256), Return(3)]
    ) as run:
        sentinel_xmm(run)
        assert isinstance(run.go(), Halted)
        before, after = Saved(run, 0), Saved(run, 0x400)
        assert run.guest.memory.read(DATA + 0xA00, 257) == bytes(range(256)) + b"\0"
    after.preserved(before)
    assert after.registers["rax"] == 3


@pytest.mark.parametrize("size", [0, 1])
def test_small_copies_are_exact(size: int) -> None:
    program = ALIGN + call(TRAMPOLINE.gate(GATE)) + HALT
    with started(MACHINE, program, [Copy(DATA + 16, DATA, size), Return(0)]) as run:
        run.guest.memory.write(DATA, b"ab")
        run.go()
        assert run.guest.memory.read(DATA + 16, 2) == b"ab"[:size].ljust(2, b"\0")


# ---------------------------------------------------------------- when nobody answers

SHORT = 2_000_000  # TSC ticks: about a millisecond
TWICE = ALIGN + call(TRAMPOLINE.gate(GATE)) + call(TRAMPOLINE.gate(GATE)) + HALT


def unanswered(run: Run, bound: int = SHORT, *, outlives: bool = True) -> None:
    """Let the guest ring its gate and wait, the host having left without an answer.

    With `outlives` boot services have ended before, as far as the gate can tell.
    """

    def leave(_request: Request) -> Finish:
        mailbox = run.mailbox_host_side()
        mailbox.bound_waits(bound)
        if outlives:
            run.set_word("abandon", 0)
        return Finish("nobody answers")

    run.script = Script([leave])
    assert isinstance(run.go(), Finished)


def test_a_wait_that_runs_out_is_a_device_error_and_later_calls_answer_at_once() -> None:
    with started(MACHINE, TWICE) as run:
        unanswered(run)
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == EfiStatus.DEVICE_ERROR
        words = run.mailbox
    assert (words.seq, words.done, words.dead, words.timeouts, words.lock) == (2, 1, 2, 1, 0)
    assert run.script.functions == [Function.BOOT, GATE]


def test_a_late_answer_changes_nothing_after_the_wait_has_run_out() -> None:
    with started(MACHINE, ALIGN + call(TRAMPOLINE.gate(GATE)) + call(TRAMPOLINE.gate(GATE)) + HALT) as run:
        unanswered(run)
        reached = Watchpoint(
            PROGRAM + len(ALIGN) + 12, 2, bytes.fromhex("48b8").__eq__, "between the two calls"
        )
        run.guest.watch([reached])
        assert isinstance(run.go(), Reached)
        late = run.mailbox_host_side()
        late.request()
        late.publish(Return(0))
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == EfiStatus.DEVICE_ERROR


def test_while_boot_services_last_a_wait_that_runs_out_ends_in_a_line_on_the_serial_port() -> None:
    with started(MACHINE, TWICE) as run:
        unanswered(run, outlives=False)
        assert isinstance(run.go(), Halted)
        words = run.mailbox
    said = b"\r\npvefi: the host has not answered a call for too long; the guest stops here\r\n"
    assert b"".join(run.console) == said
    assert (words.seq, words.dead, words.timeouts, words.lock) == (2, 2, 1, 0)


def test_without_a_bound_the_guest_waits_for_ever() -> None:
    with started(MACHINE, TWICE) as run:
        unanswered(run, bound=0)
        assert isinstance(run.go(0.1), TimedOut)
        assert run.mailbox.timeouts == 0


def test_an_answer_before_the_bound_is_taken() -> None:
    with started(MACHINE, ALIGN + call(TRAMPOLINE.gate(GATE)) + HALT) as run:
        unanswered(run, bound=1 << 62)
        answering = run.mailbox_host_side()
        answering.request()
        answering.publish(Return(77))
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == 77


# ---------------------------------------------------------------- two CPUs


def holding(assemble: Assembler) -> bytes:
    return assemble(
        """
        subq    $0x28, %rsp
        movq    $1, lock      # another CPU is in a call
        movq    $0x1234, %rcx
        call    gate
        hlt
        """,
        SYMBOLS,
    )


def test_a_held_lock_keeps_a_second_caller_from_ringing(assemble: Assembler) -> None:
    with started(MACHINE, holding(assemble)) as run:
        reach(run, "held")
        run.guest.watch([])
        assert isinstance(run.go(0.1), TimedOut)
        assert run.mailbox.seq == 1
        assert run.mailbox.rcx != 0x1234
    assert run.script.functions == [Function.BOOT]


def reach(run: Run, symbol: str) -> None:
    run.guest.watch([Watchpoint(TRAMPOLINE.symbols[symbol], 1, lambda _: True, symbol)])
    stop = run.go()
    assert isinstance(stop, Reached), stop
    assert stop.watchpoint.label == symbol


def contended(run: Run) -> None:
    reach(run, "contended")


def test_a_second_caller_rings_once_the_lock_is_free(assemble: Assembler) -> None:
    with started(MACHINE, holding(assemble), [Return(8)]) as run:
        contended(run)
        run.set_word("lock", 0)
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == 8
        assert run.mailbox.lock == 0
    assert run.script.requests[-1].rcx == 0x1234


@pytest.mark.parametrize("lock", [0, 1], ids=["freed", "still held"])
def test_a_second_caller_does_not_ring_a_host_that_died_meanwhile(assemble: Assembler, lock: int) -> None:
    with started(MACHINE, holding(assemble)) as run:
        contended(run)
        run.set_word("dead", 1)
        run.set_word("lock", lock)
        run.set_word("abandon", 0)
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == EfiStatus.DEVICE_ERROR
        assert run.mailbox.lock == lock
    assert run.script.functions == [Function.BOOT]


def stopped(assemble: Assembler, call: str = "call gate") -> bytes:
    return assemble(
        SAVE
        + f"""
        subq    $0x28, %rsp
        movq    $1, lock      # another CPU is in a call
        sentinels
        save    0
        sentinels
        {call}
        save    0x400
        hlt
        literals
        """,
        SYMBOLS,
    )


def test_a_caller_takes_over_the_lock_of_a_cpu_that_has_stopped(assemble: Assembler) -> None:
    # UEFI 2.10 §8.1: variable services and others may be called after an NMI "even if previously busy".
    locks: list[int] = []
    with started(MACHINE, stopped(assemble)) as run:
        sentinel_xmm(run)

        def answer(request: Request) -> Return:
            locks.append(run.mailbox.lock)
            return Return(8)

        run.script = Script([answer])
        assert isinstance(run.go(), Halted)
        before, after = Saved(run, 0), Saved(run, 0x400)
        assert run.mailbox.lock == 0
    after.preserved(before)
    assert after.registers["rax"] == 8
    assert after.flags & 0xFD7 == FLAGS
    assert locks == [3]
    request = run.script.requests[-1]
    assert [request.rcx, request.rdx, request.r8, request.r9] == [
        before.registers[name] for name in ("rcx", "rdx", "r8", "r9")
    ]
    assert request.rsp == before.registers["rsp"] - 8


def test_a_caller_gives_up_when_the_call_of_a_stopped_cpu_is_never_answered(assemble: Assembler) -> None:
    with started(MACHINE, stopped(assemble)) as run:
        sentinel_xmm(run)
        contended(run)
        run.set_word("seq", 5)
        run.set_word("abandon", 0)
        run.set_word("bound", SHORT)
        assert isinstance(run.go(), Halted)
        before, after = Saved(run, 0), Saved(run, 0x400)
        words = run.mailbox
    after.preserved(before)
    assert after.registers["rax"] == EfiStatus.DEVICE_ERROR
    assert (words.seq, words.dead, words.timeouts, words.lock) == (5, 5, 1, 1)
    assert run.script.functions == [Function.BOOT]


@pytest.mark.parametrize("word", ["seq", "lock"])
def test_a_cpu_that_goes_on_keeps_the_lock(assemble: Assembler, word: str) -> None:
    with started(MACHINE, holding(assemble)) as run:
        contended(run)
        reach(run, "held")
        run.set_word(word, 7)
        if word == "seq":
            run.set_word("done", 7)  # and that call is answered
        reach(run, "patience")
        assert run.mailbox.lock == (7 if word == "lock" else 1)


@pytest.mark.parametrize("answered", [True, False])
def test_a_cpu_that_was_taken_for_stopped_touches_nothing_when_it_goes_on(answered: bool) -> None:
    with started(MACHINE, ALIGN + call(TRAMPOLINE.gate(GATE)) + HALT) as run:
        unanswered(run)
        late = run.mailbox_host_side()
        late.request()
        if answered:
            late.publish(Return(0))
        run.set_word("seq", 3)
        run.set_word("lock", 3)
        assert isinstance(run.go(), Halted)
        assert run.guest.registers()["rax"] == EfiStatus.DEVICE_ERROR
        words = run.mailbox
    assert (words.seq, words.lock, words.dead) == (3, 3, 0)


def test_the_lock_is_free_while_an_upcalled_function_runs_and_after_each_answer() -> None:
    locks: list[int] = []
    with started(MACHINE, ALIGN + call(TRAMPOLINE.gate(GATE)) + HALT) as run:

        def seen(request: Request) -> Upcall:
            locks.append(run.mailbox.lock)
            return Upcall(PROGRAM + 0x100)

        def seen_again(request: Request) -> Return:
            locks.append(run.mailbox.lock)
            return Return(0)

        run.script = Script([seen, seen_again])
        run.guest.memory.write(PROGRAM + 0x100, RETURN)
        run.guest.watch([Watchpoint(PROGRAM + 0x100, 1, RETURN.__eq__, "inner")])
        assert isinstance(run.go(), Reached)
        assert run.mailbox.lock == 0
        assert isinstance(run.go(), Halted)
        assert run.mailbox.lock == 0
    assert locks == [1, 1]

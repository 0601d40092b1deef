# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU exceptions in a guest that has handlers of its own."""

from __future__ import annotations

import struct

import pytest

from pvefi.machines import Fault, Finished, Halted, Hardware, TimedOut
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.embedded.exceptions import find_fields
from tests.machines.made import DATA, MIB, PROGRAM, Assembler, Run, started

MACHINE = EmbeddedMachine()
UNMAPPED = 0x4000_0000_0000

# A program with an IDT: `at` stands for the vector, `handler` is the label of its code.
HEAD = """
        .macro  gate vector, handler, kind=0x8e, stack=0
        leaq    \\handler(%rip), %rax
        movl    $table + 16 * \\vector, %edi
        movw    %ax, (%rdi)
        movw    $0x38, 2(%rdi)
        movb    $\\stack, 4(%rdi)
        movb    $\\kind, 5(%rdi)
        shrq    $16, %rax
        movw    %ax, 6(%rdi)
        shrq    $16, %rax
        movl    %eax, 8(%rdi)
        .endm
        .macro  use_table limit=0xfff
        movw    $\\limit, pointer
        movq    $table, pointer + 2
        lidt    pointer
        .endm
"""
SYMBOLS = {"table": DATA, "pointer": DATA + 0x1000, "seen": DATA + 0x2000, "unmapped": UNMAPPED}
SEEN = DATA + 0x2000


def seen(run: Run, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}Q", run.guest.memory.read(SEEN, 8 * count))


def test_the_fields_without_register_numbers_are_found() -> None:
    """Offsets differ between releases of unicorn; that they are found is what counts."""
    fields = find_fields()
    assert fields is not None
    assert fields.old_exception != fields.error_code
    assert find_fields() == fields


@pytest.mark.parametrize(
    ("access", "code"), [("movq (%rcx), %rdx", 0), ("movq %rdx, (%rcx)", 2), ("callq *%rcx", 0x10)]
)
def test_a_page_fault_reaches_its_handler_with_code_and_address(
    assemble: Assembler, access: str, code: int
) -> None:
    program = assemble(
        f"""{HEAD}
        gate    14, handler
        use_table
        movq    %rsp, seen + 0x30
        pushfq
        popq    seen + 0x38
        movabsq $unmapped, %rcx
faulty: {access}
        ud2
handler:
        popq    seen                    # error code
        movq    %cr2, %rax
        movq    %rax, seen + 8
        movq    (%rsp), %rax
        movq    %rax, seen + 0x10       # rip
        movq    8(%rsp), %rax
        movq    %rax, seen + 0x18       # cs
        movq    16(%rsp), %rax
        movq    %rax, seen + 0x20       # flags
        movq    24(%rsp), %rax
        movq    %rax, seen + 0x28       # rsp
        leaq    faulty(%rip), %rax
        movq    %rax, seen + 0x40
        hlt
        """,
        SYMBOLS,
    )
    with started(MACHINE, program) as run:
        stop = run.go()
        assert isinstance(stop, Halted)
        error, cr2, rip, cs, flags, rsp, old_rsp, old_flags, faulty = seen(run, 9)
    assert (cr2, cs) == (UNMAPPED, 0x38)
    assert error in (code, 0) if code == 0x10 else error == code
    assert rip == (UNMAPPED if code == 0x10 else faulty)
    assert rsp == (old_rsp - 8 if code == 0x10 else old_rsp)
    assert flags & 0x202 == old_flags & 0x202


def test_a_handler_maps_the_page_and_the_instruction_is_made_again(assemble: Assembler) -> None:
    """Linux's decompressor maps memory on demand, twenty times and more in a row."""
    program = assemble(
        f"""{HEAD}
        gate    14, handler
        use_table
        movl    $unmapped_at, %ebx
        xorl    %r12d, %r12d
1:      movq    %rbx, (%rbx)            # in another 2 MiB each time
        addq    $0x200000, %rbx
        incl    %r12d
        cmpl    $40, %r12d
        jb      1b
        movq    %r13, seen
        hlt
handler:
        pushq   %rax
        pushq   %rcx
        incq    %r13
        movq    %cr2, %rax
        shrq    $21, %rax               # the entry of its 2 MiB page, all of which lead to one place
        movq    $0x600083, directory(,%rax,8)
        popq    %rcx
        popq    %rax
        addq    $8, %rsp                # the error code
        iretq
        """,
        SYMBOLS | {"directory": PROGRAM + 0x20_0000, "unmapped_at": 5 << 21},
    )
    with started(MACHINE, program, hardware=Hardware(32 * MIB)) as run:
        own_page_tables(run, PROGRAM + 0x20_0000)
        stop = run.go()
        assert isinstance(stop, Halted), stop
        assert seen(run, 1) == (40,)


def own_page_tables(run: Run, directory: int) -> None:
    """Let `directory` map the guest's first gigabyte, of which only the first 10 MiB are present."""
    memory = run.guest.memory
    entries = [at << 21 | 0x83 if at < 5 else 0 for at in range(512)]
    memory.write(directory, struct.pack("<512Q", *entries))
    pointers = run.word(run.trampoline.symbols["page_map_level4"]) & ~0xFFF
    memory.write(pointers, struct.pack("<Q", directory | 3))


def test_an_invalid_opcode_reaches_its_handler_without_an_error_code(assemble: Assembler) -> None:
    program = assemble(
        f"""{HEAD}
        gate    6, handler
        use_table
faulty: ud2
        ud2
        hlt
handler:
        addq    $2, (%rsp)              # past the instruction
        incq    seen
        iretq
        """,
        SYMBOLS,
    )
    with started(MACHINE, program) as run:
        assert isinstance(run.go(), Halted)
        assert seen(run, 1) == (2,)


def test_an_interrupt_gate_disables_interrupts_and_a_trap_gate_does_not(assemble: Assembler) -> None:
    program = assemble(
        f"""{HEAD}
        gate    0x30, masked
        gate    0x31, unmasked, kind=0x8f
        use_table
        sti
        int     $0x30
        int     $0x31
        pushfq
        popq    seen + 16
        hlt
masked: pushfq
        popq    seen
        iretq
unmasked:
        pushfq
        popq    seen + 8
        iretq
        """,
        SYMBOLS,
    )
    with started(MACHINE, program) as run:
        assert isinstance(run.go(), Halted)
        assert [bool(flags & 0x200) for flags in seen(run, 3)] == [False, True, True]


def test_the_handler_s_stack_is_on_16_bytes(assemble: Assembler) -> None:
    program = assemble(
        f"""{HEAD}
        gate    6, handler
        use_table
        subq    $5, %rsp
        ud2
handler:
        movq    %rsp, seen
        hlt
        """,
        SYMBOLS,
    )
    with started(MACHINE, program) as run:
        assert isinstance(run.go(), Halted)
        (stack,) = seen(run, 1)
    assert (stack + 5 * 8) % 16 == 0


NO_HANDLER = {
    "a table that is too short": ("gate 6, handler\n use_table limit=0x6e\n ud2", "invalid opcode"),
    "a gate that is absent": ("gate 6, handler, kind=0x0e\n use_table\n ud2", "invalid opcode"),
    "a gate of another kind": ("gate 6, handler, kind=0x85\n use_table\n ud2", "invalid opcode"),
    "no table": ("ud2", "invalid opcode"),
    "a stack that is no memory": (
        "gate 6, handler\n use_table\n movl $0xdead0000, %esp\n ud2",
        "invalid opcode whose handler has no stack",
    ),
    "a stack that is not mapped": (
        "gate 6, handler\n use_table\n movabsq $unmapped, %rsp\n ud2",
        "invalid opcode whose handler has no stack",
    ),
    "an interrupt stack that nobody set up": (
        "gate 6, handler, stack=2\n use_table\n ud2",
        "invalid opcode whose handler has no stack",
    ),
}


@pytest.mark.parametrize("name", NO_HANDLER)
def test_an_exception_without_a_usable_handler_is_a_fault(assemble: Assembler, name: str) -> None:
    source, what = NO_HANDLER[name]
    program = assemble(f"{HEAD}\n {source}\nhandler: hlt\n", SYMBOLS)
    with started(MACHINE, program) as run:
        stop = run.go()
    assert isinstance(stop, Fault)
    assert stop.what.startswith(what)
    assert stop.vector == 6


def test_a_handler_that_faults_for_ever_ends(assemble: Assembler) -> None:
    program = assemble(f"{HEAD}\n gate 14, handler\n use_table\n handler: movq 0, %rax", SYMBOLS)
    with started(MACHINE, program) as run:
        assert isinstance(run.go(2), Fault | TimedOut)


def test_a_doorbell_works_from_within_a_handler(assemble: Assembler) -> None:
    program = assemble(
        f"""{HEAD}
        gate    6, handler
        use_table
        ud2
handler:
        subq    $0x28, %rsp
        call    doorbell
        """,
        SYMBOLS | {"doorbell": load_gate()},
    )
    with started(MACHINE, program) as run:
        assert run.go() == Finished("no more answers")


def load_gate() -> int:
    from pvefi.guest import load_trampoline

    return load_trampoline().gate(7)


def test_counts_are_the_same_with_exceptions(assemble: Assembler) -> None:
    program = assemble(
        f"""{HEAD}
        gate    6, handler
        use_table
        movl    $100, %r12d
1:      ud2
        decl    %r12d
        jnz     1b
        hlt
handler:
        addq    $2, (%rsp)
        iretq
        """,
        SYMBOLS,
    )
    counts = []
    for _ in range(2):
        with started(MACHINE, program, hardware=Hardware(16 * MIB, count=True)) as run:
            assert isinstance(run.go(), Halted)
            counts.append(run.guest.instructions())
    assert counts[0] == counts[1]

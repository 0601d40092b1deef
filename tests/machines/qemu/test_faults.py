# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on QEMU that mean no good: garbage in the mailbox, wild pointers, resets without end."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvefi.boot import Observer, boot
from pvefi.errors import MachineError, UsageError
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Mailbox, MailboxLayout, Return
from pvefi.machines import Died, Fault, Hardware
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.machine import QemuMachine
from pvefi.machines.waiting import WaitBound
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, HvmStartInfo, MemmapType
from pvefi.verdict import BootResult, Goal, Outcome
from tests.conftest import Tool
from tests.efi.test_tables import BOOT_OFFSETS, RUNTIME_OFFSETS
from tests.leftovers import MARK, assert_all_gone, marked_processes, nothing_left, qemu_of
from tests.machines.made import HALT, LOOP, Assembler, started
from tests.test_boot import (
    BEGIN,
    END,
    MIB,
    OUT_DOORBELL,
    SCRATCH,
    SYMBOLS,
    UD2,
    call,
    load,
    program,
    ring,
    store,
)

TRAMPOLINE = load_trampoline()
MAILBOX = SYMBOLS["mailbox"]
WORDS = MailboxLayout.SIZE // 8
BAD = (Outcome.BAD_REQUEST, Outcome.FAULTED, Outcome.HALTED, Outcome.EXITED, Outcome.TIMED_OUT)

Boot = Callable[..., BootResult]


@pytest.fixture(scope="module")
def machine(tool: Tool) -> QemuMachine:
    tool("qemu-system-x86_64")
    machine = choose_machine("qemu", QemuWish(accelerator="tcg"))
    assert isinstance(machine, QemuMachine)
    return machine


@pytest.fixture(scope="module")
def run(machine: QemuMachine, tmp_path_factory: pytest.TempPathFactory) -> Boot:
    """Boot code as an EFI program."""
    path = tmp_path_factory.mktemp("faults") / "test.efi"

    def run(code: bytes, on: QemuMachine = machine, **options: object) -> BootResult:
        path.write_bytes(program(code))
        defaults: dict[str, object] = {"memory_size": 64 * MIB, "timeout": 20.0, "goal": Goal.EXIT}
        wanted = BootOptions(image=path, machine=on, **(defaults | options))  # type: ignore[arg-type]
        return boot(prepare(wanted), Observer(lambda _: None, lambda _: None, lambda _: None))

    return run


# ---------------------------------------------------------------- the mailbox

INTERESTING = st.sampled_from(
    [0, 1, 2, 5, 6, 0x1000, 0x1001, 0x1002, 0x1003, 0x1004, MAILBOX, SCRATCH, 1 << 63, (1 << 64) - 1]
)
WORD = INTERESTING | st.integers(0, (1 << 64) - 1)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    words=st.dictionaries(st.integers(0, WORDS - 1), WORD, min_size=1, max_size=6), rings=st.integers(1, 3)
)
def test_any_words_in_the_mailbox_are_a_verdict(run: Boot, words: dict[int, int], rings: int) -> None:
    code = BEGIN + call("Stall", 0)
    code += b"".join(store(MAILBOX + 8 * at, value) for at, value in words.items())
    result = run(code + OUT_DOORBELL * rings + UD2, timeout=2.0)
    assert result.verdict.outcome in BAD


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(function=st.integers(0, 420) | INTERESTING, words=st.tuples(WORD, WORD, WORD, WORD))
def test_any_call_with_any_arguments_is_answered_or_a_verdict(
    run: Boot, function: int, words: tuple[int, int, int, int]
) -> None:
    registers = b"".join(load(register, word) for register, word in zip((1, 2, 8, 9), words, strict=True))
    result = run(BEGIN + registers + ring(function & 0xFFFFFFFF) + END, timeout=2.0)
    assert result.verdict.outcome in (*BAD, Outcome.POWERED_OFF, Outcome.REBOOTED)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    entries=st.lists(st.tuples(WORD, WORD, st.integers(0, 8)), min_size=1, max_size=4), modules=st.booleans()
)
def test_a_forged_boot_with_any_memory_map_is_a_verdict(
    run: Boot, entries: list[tuple[int, int, int]], modules: bool
) -> None:
    info = HvmStartInfo(
        magic=0x336EC578,
        version=1,
        flags=0,
        nr_modules=int(modules),
        modlist_paddr=SCRATCH + 0x1000,
        cmdline_paddr=0,
        rsdp_paddr=0,
        memmap_paddr=SCRATCH + 0x1000,
        memmap_entries=len(entries),
        reserved=0,
    ).pack()
    table = b"".join(
        HvmMemmapTableEntry(addr=address, size=size, type=MemmapType(kind)).pack()
        for address, size, kind in entries
    )
    code = BEGIN + store(MAILBOX, 0)
    for base, data in ((SCRATCH, info), (SCRATCH + 0x1000, table)):
        padded = data + bytes(-len(data) % 8)
        for at in range(0, len(padded), 8):
            code += store(base + at, int.from_bytes(padded[at : at + 8], "little"))
    result = run(code + load(1, SCRATCH) + ring(0x1000) + END, timeout=2.0)
    assert result.verdict.outcome in BAD


def test_a_flood_of_bare_doorbells_is_a_bad_request_at_the_first(run: Boot) -> None:
    flood = OUT_DOORBELL + b"\xeb" + bytes([0x100 - len(OUT_DOORBELL) - 2])
    result = run(BEGIN + flood)
    assert result.verdict.outcome is Outcome.BAD_REQUEST
    assert "a doorbell without a call" in result.verdict.message


def test_a_doorbell_of_a_mailbox_that_was_never_rung_is_passed_over(run: Boot) -> None:
    result = run(BEGIN + store(MAILBOX, 0) + OUT_DOORBELL + UD2)
    assert result.verdict.outcome in (Outcome.FAULTED, Outcome.BAD_REQUEST)


# ---------------------------------------------------------------- pointers while boot services last

OWN = {
    "the mailbox": (MAILBOX, ".mailbox"),
    "the staging area": (SYMBOLS["staging"], ".mailbox"),
    "the end of the mailbox": (SYMBOLS["staging_end"] - 4, ".mailbox"),
    "just before the gates": (SYMBOLS["mailbox_pointer"] - 4, ".gates"),
    "the gates": (SYMBOLS["gates"], ".gates"),
    "the page tables": (SYMBOLS["page_map_level4"], ".boot"),
}


@pytest.mark.parametrize("place", OWN)
@pytest.mark.parametrize("service", ["AllocatePool", "CopyMem", "SetMem"])
def test_a_pointer_into_pvefi_s_own_memory_is_a_bad_request(run: Boot, place: str, service: str) -> None:
    address, name = OWN[place]
    arguments = {
        "AllocatePool": (4, 64, address),
        "CopyMem": (address, SCRATCH, 64),
        "SetMem": (address, 64, 0),
    }
    result = run(BEGIN + call(service, *arguments[service]) + load(0, 0) + END)
    assert result.verdict.outcome is Outcome.BAD_REQUEST
    assert result.verdict.message.startswith(f"call 1 {service}: ")
    assert f"would overwrite pvefi's own {name}" in result.verdict.message


NO_MEMORY = {
    "the hole for devices": 0xE000_0000,
    "the local APIC": 0xFEE0_0000,
    "above 4 GiB": 0x10_0000_0000,
    "the last address": (1 << 64) - 4,
    "not canonical": 1 << 63,
    "the end of RAM": 64 * MIB - 4,
}


@pytest.mark.parametrize("place", NO_MEMORY)
def test_a_pointer_outside_of_ram_is_a_bad_request(run: Boot, place: str) -> None:
    result = run(BEGIN + call("AllocatePool", 4, 64, NO_MEMORY[place]) + load(0, 0) + END)
    assert result.verdict.outcome is Outcome.BAD_REQUEST
    assert result.verdict.message.startswith("call 1 AllocatePool: ")


# ---------------------------------------------------------------- pointers at run time

MAP, OWN_TABLES, HIGH = SCRATCH + 0x1000, SCRATCH + 0x10000, 0xFFFF_8000_0000_0000
AT_RUN_TIME = """
        subq    $0x48, %rsp
        movq    %rdx, %rbx                      # the system table
        movq    %rcx, %r12                      # the image's handle
        movq    $0x8000, scratch
        movl    $scratch, %ecx
        movl    $map, %edx
        movl    $scratch + 8, %r8d              # the key
        movl    $scratch + 16, %r9d             # the size of a descriptor
        movl    $scratch + 24, %eax
        movq    %rax, 0x20(%rsp)
        movq    0x60(%rbx), %rax
        call    *GetMemoryMap(%rax)
        movq    %r12, %rcx
        movq    scratch + 8, %rdx
        movq    0x60(%rbx), %rax
        call    *ExitBootServices(%rax)
        testq   %rax, %rax
        jnz     failed
        cld
        movl    $page_map_level4, %esi          # page tables of its own, which show all memory a second time
        movl    $tables, %edi
        movl    $512, %ecx
        rep movsq
        movq    tables, %rax
        movq    %rax, tables + 256 * 8
        movl    $tables, %eax
        movq    %rax, %cr3
        movabsq $high, %rdx
        movl    $map, %edi
        xorl    %eax, %eax
1:      btl     $63 - 32, 0x24(%rdi)            # EFI_MEMORY_RUNTIME
        jnc     2f
        movq    0x8(%rdi), %rcx
        addq    %rdx, %rcx
        movq    %rcx, 0x10(%rdi)
2:      addq    scratch + 16, %rdi
        addq    scratch + 16, %rax
        cmpq    scratch, %rax
        jb      1b
        movq    scratch, %rcx
        movq    scratch + 16, %rdx
        movl    $1, %r8d
        movl    $map, %r9d
        movq    0x58(%rbx), %rax
        call    *SetVirtualAddressMap(%rax)
        testq   %rax, %rax
        jnz     failed
        movabsq $high, %rax
        addq    %rax, %rbx
        movabsq $pointer, %rcx
        xorl    %edx, %edx
        movq    0x58(%rbx), %rax
        call    *GetTime(%rax)
        testq   %rax, %rax
        jnz     failed
        movl    $2, %ecx                        # EfiResetShutdown
        xorl    %edx, %edx
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        movq    0x58(%rbx), %rax
        call    *ResetSystem(%rax)
failed: ud2
"""


@pytest.fixture(scope="module")
def assemble(tool: Tool) -> Assembler:
    return Assembler(tool("as"), tool("ld"))


def at_run_time(assemble: Assembler, pointer: int, source: str = AT_RUN_TIME) -> bytes:
    slots = {name: offset for offset, name in (*BOOT_OFFSETS.items(), *RUNTIME_OFFSETS.items())}
    names = ("GetMemoryMap", "ExitBootServices", "SetVirtualAddressMap", "GetTime", "ResetSystem")
    symbols = {name: slots[name] for name in names}
    places = {"scratch": SCRATCH, "map": MAP, "tables": OWN_TABLES, "high": HIGH, "pointer": pointer}
    symbols |= places | {"page_map_level4": SYMBOLS["page_map_level4"]}
    return assemble(source, symbols)


@pytest.mark.parametrize("pointer", [SCRATCH, HIGH + SCRATCH, HIGH + SCRATCH + 0xFFA], ids=hex)
def test_virtual_pointers_are_followed_at_run_time(run: Boot, assemble: Assembler, pointer: int) -> None:
    result = run(at_run_time(assemble, pointer))
    assert result.verdict.outcome is Outcome.POWERED_OFF, result.verdict
    assert [event.service for event in result.calls][2:] == ["SetVirtualAddressMap", "GetTime", "ResetSystem"]


RUN_TIME_POINTERS = {
    "the mailbox": (HIGH + MAILBOX, "pvefi's own .mailbox"),
    "the mailbox by its own address": (MAILBOX, "pvefi's own .mailbox"),
    "the staging area": (HIGH + SYMBOLS["staging_end"] - 8, "pvefi's own .mailbox"),
    "the gates": (HIGH + SYMBOLS["mailbox_pointer"], "pvefi's own .gates"),
    "across the beginning of the gates": (HIGH + SYMBOLS["mailbox_pointer"] - 8, "pvefi's own .gates"),
    "not mapped": (HIGH + (600 << 30), "is not mapped"),
    "the hole for devices": (HIGH + 0xE000_0000, "not all RAM"),
    "behind RAM": (HIGH + 64 * MIB, "not all RAM"),
    "not canonical": (0x8000_0000_0000, "is not canonical"),
}


@pytest.mark.parametrize("place", RUN_TIME_POINTERS)
def test_a_bad_pointer_at_run_time_is_a_bad_request(run: Boot, assemble: Assembler, place: str) -> None:
    pointer, text = RUN_TIME_POINTERS[place]
    result = run(at_run_time(assemble, pointer))
    assert result.verdict.outcome is Outcome.BAD_REQUEST, result.verdict
    assert result.verdict.message.startswith("call 4 GetTime: ")
    assert text in result.verdict.message


# ---------------------------------------------------------------- resets

COUNT = SCRATCH + 0x8000  # memory keeps what it holds through a reset
AGAIN = b"\x48\xff\x04\x25" + COUNT.to_bytes(4, "little")  # incq COUNT
ENOUGH = b"\x48\x83\x3c\x25" + COUNT.to_bytes(4, "little")  # cmpq $number, COUNT


def resets(times: int) -> bytes:
    """Return a program that resets the machine so often, and then ends well."""
    reset = load(1, 0) + load(2, 0) + load(8, 0) + load(9, 0)
    reset += b"\x48\x8b\x43\x58\xff\x50\x68"  # mov 0x58(%rbx), %rax; call *0x68(%rax): ResetSystem
    leave = load(0, 0) + END
    return BEGIN + AGAIN + ENOUGH + bytes([times, 0x76, len(leave)]) + leave + reset + UD2  # jbe


def test_a_hundred_resets_end_well_and_leave_nothing(run: Boot) -> None:
    run(resets(1))
    with nothing_left():
        result = run(resets(100), timeout=100.0)
    assert result.verdict.outcome is Outcome.EXITED, result.verdict
    assert result.restarts == 100


def test_a_hundred_resets_take_no_more_and_more_memory(machine: QemuMachine, run: Boot) -> None:
    page, sizes = os.sysconf("SC_PAGE_SIZE"), []

    def resident() -> int:
        import gc

        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    for _ in range(2):
        run(resets(50), timeout=100.0)
        sizes.append(resident())
    assert sizes[1] - sizes[0] < 16 * MIB


def test_without_reboot_a_reset_is_the_end(run: Boot) -> None:
    result = run(resets(100), restarts=False)
    assert result.verdict.outcome is Outcome.REBOOTED
    assert result.restarts == 0


TRIPLE_FAULT = store(SCRATCH, 0) + store(SCRATCH + 8, 0) + load(0, SCRATCH) + b"\x0f\x01\x18" + UD2  # lidt


@pytest.mark.parametrize("restarts", [True, False])
def test_a_triple_fault_is_a_verdict_that_says_where(run: Boot, restarts: bool) -> None:
    result = run(BEGIN + TRIPLE_FAULT, restarts=restarts)
    assert result.verdict.outcome is Outcome.FAULTED
    assert result.verdict.message.startswith("triple fault at test.efi+0x10")


PORT_92 = b"\xb0\x01\xe6\x92\xeb\xfe"  # mov $1, %al; out %al, $0x92: the fast reset of a PC


def test_a_reset_by_hardware_without_reboot_is_told_as_one(run: Boot) -> None:
    assert run(BEGIN + PORT_92, restarts=False).verdict.outcome is Outcome.REBOOTED


LATER_RESET = """
        movl    $30, %ecx                       # about three seconds, then a reset by hardware
1:      rdtsc
        movl    %edx, %esi
        movl    %eax, %edi
2:      pause
        rdtsc
        subl    %edi, %eax
        cmpl    $200000000, %eax
        jb      2b
        loop    1b
        movb    $1, %al
        outb    %al, $0x92
        jmp     .
failed: ud2
"""


def test_a_guest_that_was_left_ends_its_qemu_when_it_resets(
    machine: QemuMachine, run: Boot, assemble: Assembler, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    before_calls = AT_RUN_TIME.partition("movabsq $pointer")[0] + LATER_RESET
    code = at_run_time(assemble, SCRATCH, before_calls)
    result = run(code, QemuMachine(machine.options, outlives=True), timeout=1.0)
    try:
        assert result.verdict.outcome is Outcome.TIMED_OUT
        assert qemu_of(mark) is not None
        assert_all_gone(mark, within=20.0)
    finally:
        for process in marked_processes(mark):
            os.kill(process, 9)


# ---------------------------------------------------------------- QEMU itself


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("-nonsense",), "-nonsense: invalid option"),
        (("-cpu", "nonsense"), "unable to find CPU model 'nonsense'"),
        (("-device", "nonsense"), "'nonsense' is not a valid device model name"),
    ],
)
def test_what_qemu_does_not_start_with_is_the_user_s_to_change(
    machine: QemuMachine, run: Boot, words: tuple[str, ...], complaint: str
) -> None:
    from dataclasses import replace

    with nothing_left(), pytest.raises(UsageError) as told:
        run(END, QemuMachine(replace(machine.options, arguments=words)))
    assert told.value.message.startswith("QEMU does not start: ")
    assert complaint in told.value.message
    assert "--qemu-arg" in told.value.way_out


def test_a_qemu_that_does_something_else_has_died(machine: QemuMachine, run: Boot) -> None:
    from dataclasses import replace

    with nothing_left():
        result = run(END, QemuMachine(replace(machine.options, arguments=("-version",))))
    assert result.verdict.outcome is Outcome.DIED
    assert "QEMU ended without having run a guest: QEMU emulator version" in result.verdict.message


def test_a_qemu_that_would_not_stay_a_child_is_refused(machine: QemuMachine) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="daemonize"):
        QemuMachine(replace(machine.options, arguments=("-daemonize",)))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (4 * MIB, "expected at least 9 MiB of memory, found 0x400000 bytes"),
        (16 * MIB + 1, "expected memory in whole pages"),
        (900 << 30, "expected at most the host's"),
    ],
)
def test_a_size_of_memory_that_cannot_be_is_refused(machine: QemuMachine, size: int, text: str) -> None:
    with nothing_left(), pytest.raises(UsageError, match=text):
        machine.start(TRAMPOLINE, Hardware(size), lambda _: None)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_a_disk_that_is_none_is_refused(machine: QemuMachine, tmp_path: Path, kind: str) -> None:
    disk = tmp_path / "disk"
    if kind == "folder":
        disk.mkdir()
    if kind == "pipe":
        os.mkfifo(disk)
    with nothing_left(), pytest.raises(UsageError, match=str(disk)):
        machine.start(TRAMPOLINE, Hardware(64 * MIB, disks=(disk,)), lambda _: None)


def test_a_program_that_is_gone_is_a_machine_that_is_missing(machine: QemuMachine) -> None:
    from dataclasses import replace

    gone = QemuMachine(replace(machine.options, program="/nowhere/qemu"))
    with nothing_left(), pytest.raises(MachineError, match="/nowhere/qemu cannot be run: No such file"):
        gone.start(TRAMPOLINE, Hardware(64 * MIB), lambda _: None)


def test_a_guest_is_closed_at_any_moment_without_a_trace(machine: QemuMachine) -> None:
    for delay in (0, 0.001, 0.03):
        with nothing_left(), started(machine, HALT):
            time.sleep(delay)


# ---------------------------------------------------------------- the bound of a wait


class Counter:
    """A mailbox whose guest counts `speed` ticks a second."""

    def __init__(self, speed: float = 2.5e9) -> None:
        self.page = memoryview(bytearray(0x10000))
        self.mailbox = Mailbox(self.page)
        self.speed = speed

    def set(self, name: str, value: int) -> None:
        at = MailboxLayout.offset_of(name)
        self.page[at : at + 8] = value.to_bytes(8, "little")

    def rings(self, at: float, seen: float | None = None) -> None:
        """Ring at one moment, having seen the answer before at another."""
        self.set("tsc_in", int(at * self.speed))
        self.set("tsc_out", int((at if seen is None else seen) * self.speed))

    @property
    def bound(self) -> float:
        """The bound in seconds."""
        return MailboxLayout.unpack(self.page).bound / self.speed


def test_the_bound_follows_the_counter_s_speed() -> None:
    counter, waits = Counter(), WaitBound(30)
    for seq in itertools.count(1):
        at = 1 + seq * 0.01
        counter.rings(at, at - 0.009)
        waits.rung(counter.mailbox, seq, at + 0.0001)
        waits.answers(at + 0.0009)
        if seq == 20:
            break
    assert 30 <= counter.bound < 45


@pytest.mark.parametrize("late", ["before the doorbell is taken", "while it is answered"])
def test_a_host_that_stands_still_does_not_shorten_the_bound(late: str) -> None:
    counter, waits = Counter(), WaitBound(30)
    at, taken = 1.0, [10.0, 0.0] if late.startswith("before") else [0.0, 10.0]
    for seq in range(1, 6):
        counter.rings(at, at - 0.001)
        waits.rung(counter.mailbox, seq, at + taken[0])
        waits.answers(at + sum(taken))
        at += sum(taken) + 0.01
        assert counter.bound == 0 or counter.bound >= 30


@pytest.mark.parametrize("words", list(itertools.product([0, 1, (1 << 63), (1 << 64) - 1], repeat=2)))
def test_a_counter_of_garbage_breaks_nothing(words: tuple[int, int]) -> None:
    counter, waits = Counter(), WaitBound(30)
    for seq in range(1, 4):
        waits.rung(counter.mailbox, seq, seq * 0.01)
        waits.answers(seq * 0.01 + 0.006)
        counter.set("tsc_in", words[0])
        counter.set("tsc_out", words[1])
    waits.extend(counter.mailbox, 1e30)
    assert counter.mailbox


def test_a_wait_without_end_stays_one() -> None:
    counter, waits = Counter(), WaitBound(0)
    counter.set("bound", 7)
    waits.rung(counter.mailbox, 1, 1.0)
    waits.extend(counter.mailbox, 5)
    assert counter.bound == 0


def test_a_guest_s_own_bound_is_thirty_seconds_of_its_counter(machine: QemuMachine) -> None:
    ringing = bytes.fromhex("4883ec28") + (
        b"\x48\xb8" + TRAMPOLINE.gate(7).to_bytes(8, "little") + b"\xff\xd0"
    )
    loop = ringing + b"\xeb" + bytes([0x100 - len(ringing) + 4 - 2])
    times: list[tuple[float, int]] = []

    with started(machine, loop) as guest:

        def answer(_request: object) -> Return:
            times.append((time.perf_counter(), guest.mailbox.tsc_in))
            time.sleep(0.002)
            return Return(0)

        guest.script._left = iter([answer] * 150)
        guest.go()
        bound = guest.mailbox.bound
    speed = (times[-1][1] - times[0][1]) / (times[-1][0] - times[0][0])
    assert bound / speed * 1.02 >= 30
    assert bound / speed < 90


def test_a_stop_that_is_no_end_names_the_program(machine: QemuMachine) -> None:
    with started(machine, LOOP) as guest:
        os.kill(guest.guest._process.pid, 9)  # type: ignore[attr-defined]
        stop = guest.go()
        assert guest.go() == stop  # there is nothing more to wait for
    assert stop == Died("QEMU was ended by SIGKILL")
    assert not isinstance(stop, Fault)

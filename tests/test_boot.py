# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole boots of images that tests build: good ones, and every way in which a guest goes wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pvefi.boot import Observer, boot
from pvefi.errors import ImageError, PvefiError, UsageError
from pvefi.guest import load_trampoline
from pvefi.guest.trampoline import Trampoline
from pvefi.machines import Hardware, Keyboard
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.pvefi.hypervisor_information import HYPERVISOR_INFORMATION_VERSION
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import EventType, TimerDelay, Tpl
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.verdict import BootResult, Goal, Outcome
from tests.build.bzimage import SETUP_SIZE, build_bzimage
from tests.build.elf import PHYSICAL, build_elf
from tests.build.pe import PeSection, build_pe, reloc_section, relocation_block
from tests.conftest import Tool
from tests.efi.test_startup import rsdp
from tests.efi.test_tables import BOOT_OFFSETS
from tests.machines.made import Assembler

MIB = 1 << 20
SYMBOLS = load_trampoline().symbols
OFFSETS = {name: offset for offset, name in {**BOOT_OFFSETS}.items()}
WILD = 0xDEAD_0000
SCRATCH = 0x30_0000  # free in every guest of these tests

# ---------------------------------------------------------------- programs, by hand

BEGIN = bytes.fromhex(
    "4883ec48"  # sub $0x48, %rsp: home space, two stack arguments, and the stack on 16 bytes
    "4889d3"  # mov %rdx, %rbx: the system table
    "4889ce"  # mov %rcx, %rsi: the image's handle
)
END = bytes.fromhex("4883c448c3")  # add $0x48, %rsp; ret
UD2, HLT, LOOP = b"\x0f\x0b", b"\xf4", b"\xeb\xfe"
OUT_DOORBELL = bytes.fromhex("66ba2005ee")  # mov $0x520, %dx; out %al, %dx


def load(register: int, value: int) -> bytes:
    """Return `movabs $value, register`; registers as the CPU numbers them: 0 rax, 1 rcx, 2 rdx, 8 r8."""
    return bytes([0x48 | register >> 3, 0xB8 | register & 7]) + value.to_bytes(8, "little")


def call(name: str, *arguments: int | bytes) -> bytes:
    """Return a call of a boot service; an argument of bytes is code that loads its register itself."""
    registers = iter((1, 2, 8, 9))
    code = b"".join(
        argument if isinstance(argument, bytes) else load(register, argument)
        for argument, register in zip(arguments, registers, strict=False)
    )
    code += bytes.fromhex("488b4360")  # mov 0x60(%rbx), %rax: the boot services
    return code + b"\xff\x90" + OFFSETS[name].to_bytes(4, "little")  # call *offset(%rax)


HANDLE = bytes.fromhex("4889f1")  # mov %rsi, %rcx


def ring(function: int) -> bytes:
    """Return a call of the gates' common part with any function."""
    code = b"\xb8" + function.to_bytes(4, "little")  # mov $function, %eax
    return code + load(11, SYMBOLS["gate_common"]) + b"\x41\xff\xd3"  # call *%r11


def store(address: int, value: int) -> bytes:
    return load(0, address) + load(1, value) + b"\x48\x89\x08"  # mov %rcx, (%rax)


# ---------------------------------------------------------------- boots


@dataclass
class Watched:
    """What an observer saw of a boot."""

    text: list[str] = field(default_factory=list)
    calls: list[CallEvent] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)

    @property
    def observer(self) -> Observer:
        return Observer(self.text.append, self.calls.append, self.stages.append)


@dataclass
class Booted:
    """Boots images from files in a folder of their own."""

    folder: Path
    watched: Watched = field(default_factory=Watched)

    def file(self, data: bytes, name: str = "test.efi") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def options(self, image: bytes, **options: Any) -> BootOptions:
        initrd = options.pop("initrd", None)
        if initrd is not None:
            options["initrd"] = self.file(initrd, "initrd")
        defaults: dict[str, Any] = {
            "machine": EmbeddedMachine(),
            "memory_size": 64 * MIB,
            "timeout": 20.0,
        }
        return BootOptions(image=self.file(image), **(defaults | options))

    def image(self, image: bytes, **options: Any) -> BootResult:
        return boot(prepare(self.options(image, **options)), self.watched.observer)

    def code(self, code: bytes, **options: Any) -> BootResult:
        return self.image(program(code), **options)


def program(code: bytes, **fields: Any) -> bytes:
    """Return an EFI application that consists of `code`."""
    return build_pe((PeSection(data=code), reloc_section(relocation_block(0x1000))), **fields)


@pytest.fixture
def booted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Booted]:
    """Give a place for boots, none of which may print anything itself."""
    yield Booted(tmp_path)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


STATUSES = [0, EfiStatus.NOT_FOUND, EfiStatus.WARN_STALE_DATA, 1, 0x1234_5678_9ABC_DEF0, (1 << 64) - 1]


@pytest.mark.parametrize("status", STATUSES)
def test_an_image_that_returns_ends_with_its_status(booted: Booted, status: int) -> None:
    result = booted.code(BEGIN + load(0, status) + END)
    assert result.verdict.outcome is Outcome.EXITED
    assert result.verdict.status == status
    assert result.verdict.message.startswith("test.efi ended with ")
    assert not result.calls


@pytest.mark.parametrize("status", STATUSES)
def test_an_image_that_exits_ends_with_its_status(booted: Booted, status: int) -> None:
    result = booted.code(BEGIN + call("Exit", HANDLE, status) + UD2)
    assert result.verdict.outcome is Outcome.EXITED
    assert result.verdict.status == status
    assert [event.service for event in result.calls] == ["Exit"]


@pytest.mark.parametrize("goal", [Goal.HANDOFF, Goal.EXIT])
def test_last_words_are_told_of_success_where_more_was_the_goal(booted: Booted, goal: Goal) -> None:
    text = "no file system\r\n".encode("utf-16-le") + bytes(2)
    over = b"\xe8" + len(text).to_bytes(4, "little") + text + b"\x5a"  # call over it; pop %rdx
    say = bytes.fromhex("488b4340 4889c1") + over + bytes.fromhex("ff5008")  # OutputString
    result = booted.code(BEGIN + say + call("Exit", HANDLE, 0) + UD2, goal=goal)
    told = '; the last that it said: "no file system"' if goal is Goal.HANDOFF else ""
    assert result.verdict.message == f"test.efi ended with EFI_SUCCESS{told}"


def test_exit_from_deep_within_leaves_the_image(booted: Booted) -> None:
    deeper = b"\x48\x81\xec\x00\x10\x00\x00\x31\xed"  # sub $0x1000, %rsp; xor %ebp, %ebp
    result = booted.code(BEGIN + deeper + call("Exit", HANDLE, 7) + UD2)
    assert result.verdict.status == 7


@pytest.mark.parametrize("where", [b"", BEGIN + call("Stall", 0)], ids=["at once", "after a call"])
def test_an_endless_loop_times_out(booted: Booted, where: bytes) -> None:
    result = booted.code(where + LOOP, timeout=0.2)
    verdict = result.verdict
    assert verdict.outcome is Outcome.TIMED_OUT
    assert verdict.message.startswith("no end within 0.2 s, the guest was at test.efi+0x10")
    last = "last call: 1 Stall" if where else "it had called nothing"
    assert verdict.message.endswith(f"; {last}")


def test_an_endless_row_of_calls_times_out(booted: Booted) -> None:
    again = call("Stall", 0)
    result = booted.code(BEGIN + again + b"\xeb" + bytes([0x100 - len(again) - 2]), timeout=0.2)
    assert result.verdict.outcome is Outcome.TIMED_OUT
    assert result.calls_made >= len(result.calls) > 10


def test_with_a_seed_waiting_takes_no_time_and_timers_go_off_all_the_same(booted: Booted) -> None:
    event, index, seconds = SCRATCH, SCRATCH + 8, 1000
    last_argument = load(0, event) + b"\x48\x89\x44\x24\x20"  # mov %rax, 0x20(%rsp)
    this = load(1, event) + b"\x48\x8b\x09"  # mov (%rcx), %rcx
    code = last_argument + call("CreateEvent", EventType.TIMER, Tpl.CALLBACK, 0, 0)
    code += call("SetTimer", this, TimerDelay.RELATIVE, seconds * 10_000_000)
    code += call("WaitForEvent", 1, event, index) + call("Stall", seconds * 1_000_000)
    result = booted.code(BEGIN + code + END, seed=0)
    assert (result.verdict.outcome, result.verdict.status) == (Outcome.EXITED, EfiStatus.SUCCESS)
    assert [event.status for event in result.calls] == [EfiStatus.SUCCESS] * 4


def test_a_wait_for_ever_times_out_or_is_told(booted: Booted) -> None:
    result = booted.code(BEGIN + call("Stall", (1 << 64) - 1) + END, timeout=0.2)
    assert result.verdict.outcome is Outcome.TIMED_OUT


FAULTS: dict[str, tuple[bytes, str]] = {
    "null call": (b"\x31\xc0\xff\xd0", "page fault at 0x0 for address 0x0"),
    "null read": (b"\x31\xc0\x48\x8b\x00", "page fault at test.efi\\+0x1002"),
    "invalid opcode": (UD2, "invalid opcode at test.efi\\+0x1000"),
    "unmapped read": (
        load(0, WILD) + b"\x48\x8b\x00",
        f"read of unmapped memory at test.efi\\+0x100a .*{WILD:#x}",
    ),
    "unmapped write": (load(0, WILD) + b"\x48\x89\x00", f"write of unmapped memory at test.efi.*{WILD:#x}"),
    "unmapped call": (load(0, WILD) + b"\xff\xd0", f"fetch of unmapped memory at {WILD:#x}"),
    "not canonical": (load(0, 1 << 63) + b"\x48\x8b\x00", "general protection fault at test.efi"),
    "division by zero": (b"\x31\xc9\xf7\xf1", "divide error at test.efi"),
    "breakpoint": (b"\xcc", "breakpoint at test.efi"),
    "stack overflow": (b"\x50\xeb\xfd", "fault at"),
    "wild stack": (load(4, WILD) + b"\x50", f"write of unmapped memory at test.efi.*{WILD - 8:#x}"),
    "wild stack and a call": (BEGIN + load(4, WILD) + call("Stall", 0), "unmapped memory at"),
    "jump into the mailbox": (
        load(0, SYMBOLS["mailbox"] + 0x800) + b"\xff\xe0",
        "fault|unmapped|halted|invalid",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_says_what_and_where(booted: Booted, name: str) -> None:
    code, text = FAULTS[name]
    result = booted.code(code, timeout=10.0)
    assert result.verdict.outcome is Outcome.FAULTED
    assert result.handoff is None
    assert re.search(text, result.verdict.message), result.verdict.message


def test_a_fault_names_the_last_call_and_the_last_refusal(booted: Booted) -> None:
    result = booted.code(BEGIN + call("FreePool", 0x1234) + call("Stall", 0) + UD2)
    assert "; last call: 2 Stall; last refusal: 1 FreePool, " in result.verdict.message


def test_a_halt_is_for_good(booted: Booted) -> None:
    result = booted.code(HLT)
    assert result.verdict.outcome is Outcome.HALTED
    assert (
        result.verdict.message
        == "the guest halted for good at test.efi+0x1001 (0x1001001); it had called nothing"
    )


REQUESTS: dict[str, tuple[bytes, str]] = {
    "a gate that nobody has": (BEGIN + ring(399), "gate 0x18f, which nobody was given"),
    "a function out of range": (BEGIN + ring(0xFFFF_FFFF), "gate 0xffffffff, which nobody was given"),
    "boot again": (BEGIN + ring(0x1000), "BOOT as call 0x[0-9a-f]+, which only the first may be"),
    "the end of a copy": (BEGIN + ring(0x1002), "DONE, the end of what the guest was never asked"),
    "the end of all": (BEGIN + ring(0x1003), "the trampoline ended before the image did"),
    "a bare doorbell": (OUT_DOORBELL + LOOP, "a doorbell without a call"),
    "a bare doorbell after a call": (
        BEGIN + call("Stall", 0) + OUT_DOORBELL + LOOP,
        "a doorbell without a call",
    ),
    "a jump in the sequence": (
        BEGIN + store(SYMBOLS["mailbox"], 77) + call("Stall", 0),
        "the mailbox was overwritten: expected call [0-9]+, found call 0x4e",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_garbage_mailbox_is_a_bad_request(booted: Booted, name: str) -> None:
    code, text = REQUESTS[name]
    result = booted.code(code)
    assert result.verdict.outcome is Outcome.BAD_REQUEST
    assert re.search(text, result.verdict.message)


POINTERS: dict[str, tuple[bytes, str]] = {
    "an out pointer": (call("AllocatePool", 4, 64, WILD), "call 1 AllocatePool: "),
    "a guid": (call("LocateProtocol", WILD, 0, SCRATCH), "call 1 LocateProtocol: "),
    "a string": (
        bytes.fromhex("488b4340")  # mov 0x40(%rbx), %rax: the console's output
        + b"\x48\x89\xc1"  # mov %rax, %rcx
        + load(2, WILD)
        + bytes.fromhex("ff5008"),  # call *8(%rax): OutputString
        "call 1 EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString: ",
    ),
    "a copy": (call("CopyMem", SCRATCH, WILD, 64), "call 1 CopyMem: "),
    "an endless fill": (call("SetMem", SCRATCH, (1 << 64) - 1, 0), "call 1 SetMem: "),
    "a checksum": (call("CalculateCrc32", SCRATCH, 1 << 40, SCRATCH), "call 1 CalculateCrc32: "),
}


@pytest.mark.parametrize("name", POINTERS)
def test_a_wild_pointer_is_a_bad_request_that_names_the_call(booted: Booted, name: str) -> None:
    code, text = POINTERS[name]
    result = booted.code(BEGIN + code + END)
    assert result.verdict.outcome is Outcome.BAD_REQUEST
    assert result.verdict.message.startswith(text)
    assert [event.index for event in booted.watched.calls] == [1]


def test_a_guest_that_spoils_its_page_tables_faults(booted: Booted) -> None:
    spoiled = store(SYMBOLS["page_map_level4"], 0) + bytes.fromhex("0f20d80f22d8")  # mov %cr3, %rax and back
    result = booted.code(spoiled + LOOP, timeout=5.0)
    assert result.verdict.outcome is Outcome.FAULTED


def test_a_guest_with_page_tables_of_its_own_outside_of_ram(booted: Booted) -> None:
    result = booted.code(load(0, WILD & ~0xFFF) + bytes.fromhex("0f22d8") + LOOP, timeout=5.0)
    assert result.verdict.outcome is Outcome.FAULTED


def test_a_guest_whose_handler_s_stack_is_wild_faults(booted: Booted) -> None:
    # An IDT of zeroes but for the gate of #UD, which is present; then a wild stack and the exception.
    gate = 0x8E00_0038_0000 | 0x1000
    code = (
        store(SCRATCH + 6 * 16, gate)
        + store(SCRATCH + 0x1000, SCRATCH << 16 | 0xFFF)
        + load(0, SCRATCH + 0x1000)
        + b"\x0f\x01\x18"  # lidt (%rax)
        + load(4, WILD)
        + UD2
    )
    result = booted.code(code, timeout=5.0)
    assert result.verdict.outcome is Outcome.FAULTED


def test_a_handler_that_faults_for_ever_times_out_or_faults(booted: Booted) -> None:
    gate = 0x8E00_0038_0000 | 0x1000  # leads to address 0x1000: zeroes, which fault again sooner or later
    code = (
        store(SCRATCH + 14 * 16, gate)
        + store(SCRATCH + 0x1000, SCRATCH << 16 | 0xFFF)
        + load(0, SCRATCH + 0x1000)
        + b"\x0f\x01\x18\x31\xc0\x48\x8b\x00"  # lidt (%rax); xor %eax, %eax; mov (%rax), %rax
    )
    result = booted.code(code, timeout=1.0)
    assert result.verdict.outcome in (Outcome.FAULTED, Outcome.TIMED_OUT)


# ---------------------------------------------------------------- what an image is given


class WithTables(EmbeddedMachine):
    """An embedded machine whose hvm_start_info has an ACPI root pointer."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.address = 0x9_F000

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> Any:
        guest = super().start(trampoline, hardware, console, keyboard)
        start_info = guest.registers()["rbx"]
        guest.memory.write(start_info + 32, self.address.to_bytes(8, "little"))
        guest.memory.write(self.address, rsdp(self.revision))
        return guest


FIND_TABLE = bytes.fromhex(  # the configuration table whose GUID begins with %edx, into %rax
    "488b4b68"  # mov 0x68(%rbx), %rcx: how many there are
    "488b7b70"  # mov 0x70(%rbx), %rdi: the first one
    "31c0"  # xor %eax, %eax
    "85c9"  # 1: test %ecx, %ecx
    "7410"  # jz 3f
    "3917"  # cmp %edx, (%rdi)
    "7408"  # je 2f
    "4883c718"  # add $24, %rdi
    "ffc9"  # dec %ecx
    "ebf0"  # jmp 1b
    "488b4710"  # 2: mov 16(%rdi), %rax
)  # 3:


@pytest.mark.parametrize(("revision", "guid"), [(0, guids.ACPI_TABLE), (2, guids.ACPI_20_TABLE)])
def test_an_acpi_root_pointer_is_found_under_the_guid_of_its_revision(
    booted: Booted, revision: int, guid: Any
) -> None:
    first = int.from_bytes(guid.wire[:4], "little")
    machine = WithTables(revision)
    result = booted.code(BEGIN + load(2, first) + FIND_TABLE + END, machine=machine)
    assert result.verdict.status == machine.address


def test_the_hypervisor_s_table_is_found(booted: Booted) -> None:
    first = int.from_bytes(guids.PVEFI_HYPERVISOR_INFORMATION.wire[:4], "little")
    read = bytes.fromhex("8b00")  # mov (%rax), %eax: its version
    result = booted.code(BEGIN + load(2, first) + FIND_TABLE + read + END)
    assert result.verdict.status == HYPERVISOR_INFORMATION_VERSION


def test_without_acpi_nothing_is_found(booted: Booted) -> None:
    first = int.from_bytes(guids.ACPI_20_TABLE.wire[:4], "little")
    result = booted.code(BEGIN + load(2, first) + FIND_TABLE + END)
    assert result.verdict.status == 0


def test_a_program_s_text_reaches_the_console(booted: Booted) -> None:
    text = "Hello, world\r\n\0".encode("utf-16-le")
    code = BEGIN + bytes.fromhex(
        "488b4b40"  # mov 0x40(%rbx), %rcx: the console's output
        "488d150a000000"  # lea 10(%rip), %rdx: the text, after the code
        "ff5108"  # call *8(%rcx): OutputString
        "31c0"  # xor %eax, %eax
        "4883c448c3"  # add $0x48, %rsp; ret
    )
    result = booted.code(code + text)
    assert result.verdict.status == EfiStatus.SUCCESS
    assert "".join(booted.watched.text) == "Hello, world\r\n"


def test_the_serial_port_reaches_the_console_made_visible(booted: Booted) -> None:
    out = b"".join(bytes([0xB0, letter, 0xEE]) for letter in b"\x1b[2J\n")  # mov $letter, %al; out %al, %dx
    result = booted.code(bytes.fromhex("66baf803") + out + b"\x31\xc0\xc3")  # mov $0x3f8, %dx; ...; ret
    assert result.verdict.status == EfiStatus.SUCCESS
    assert "".join(booted.watched.text) == "\u241b[2J\n"


def test_the_entry_s_arguments_are_handle_and_system_table(booted: Booted) -> None:
    same = bytes.fromhex("488b02c3")  # mov (%rdx), %rax; ret
    assert booted.code(same).verdict.status == int.from_bytes(b"IBI SYST", "little")


@pytest.mark.parametrize("size", [16, 64, 512, 6 * 1024])
def test_an_image_runs_in_any_memory(booted: Booted, size: int) -> None:
    result = booted.code(BEGIN + END[:4] + b"\x31\xc0\xc3", memory_size=size * MIB)
    assert (result.verdict.status, result.memory_size) == (EfiStatus.SUCCESS, size * MIB)


def test_all_memory_of_a_large_guest_is_mapped(booted: Booted) -> None:
    last = (4 << 30) + (3 << 30) - 8  # 6 GiB: 3 below the PCI hole, 3 above 4 GiB
    touch = (
        load(0, last) + load(1, 0x1234) + bytes.fromhex("488908488b00c3")
    )  # mov %rcx, (%rax); and back; ret
    result = booted.code(touch, memory_size=6 << 30)
    assert result.verdict.status == 0x1234


def test_calls_are_told_as_they_end_and_again_at_the_end(booted: Booted) -> None:
    result = booted.code(BEGIN + call("Stall", 5) + call("FreePool", 0) + b"\x31\xc0" + END)
    assert booted.watched.calls == list(result.calls)
    assert [event.service for event in result.calls] == ["Stall", "FreePool"]
    assert result.calls_made == 2
    assert booted.watched.stages[-1] == "test.efi has control"


# ---------------------------------------------------------------- repeatable boots

RANDOM = bytes.fromhex("0f3148c1e2204809d0")  # rdtsc; shl $32, %rdx; or %rdx, %rax


def test_a_seed_makes_boots_repeat_to_the_instruction(booted: Booted) -> None:
    code = BEGIN + call("Stall", 0) + RANDOM + END
    results = [booted.code(code, seed=seed, count=True) for seed in (1, 1, 2)]
    statuses = [result.verdict.status for result in results]
    assert statuses[0] == statuses[1] != statuses[2]
    assert len({result.instructions for result in results}) == 1
    assert len({result.instructions_to_image for result in results}) == 1


def test_instructions_to_the_image_are_few_and_exact(booted: Booted) -> None:
    result = booted.code(b"\x31\xc0\xc3", count=True)
    assert result.instructions is not None
    assert result.instructions_to_image is not None
    assert 0 < result.instructions_to_image < 2000
    # The image's two, and what the trampoline needs to tell of its end.
    assert 2 < result.instructions - result.instructions_to_image < 100


def test_uncounted_boots_have_no_counts(booted: Booted) -> None:
    result = booted.code(b"\x31\xc0\xc3")
    assert (result.instructions, result.instructions_to_image) == (None, None)


def test_times_are_told(booted: Booted) -> None:
    result = booted.code(BEGIN + call("Stall", 50_000) + b"\x31\xc0" + END)
    assert 0.05 <= result.host_seconds <= result.seconds < 10


# ---------------------------------------------------------------- what is refused before anything runs


@pytest.mark.parametrize(
    ("image", "error", "text"),
    [
        (b"", ImageError, "test.efi"),
        (b"MZ" + bytes(500), ImageError, "test.efi"),
        (build_elf(), UsageError, "expected an image with the 64-bit entry efi"),
        (program(HLT, machine=0x14C), UsageError, "expected an image with the 64-bit entry efi"),
        (program(HLT, size_of_image=0xFFFF_F000), PvefiError, "test.efi"),
    ],
)
def test_an_image_without_the_entry_is_refused(
    booted: Booted, image: bytes, error: type[PvefiError], text: str
) -> None:
    with pytest.raises(error, match=text):
        booted.image(image)


def test_an_initrd_larger_than_memory_is_refused(booted: Booted) -> None:
    with pytest.raises(UsageError, match="of less than 16 MiB, found 16 MiB"):
        booted.code(HLT, initrd=bytes(16 * MIB), memory_size=16 * MIB)


def test_a_missing_initrd_is_refused(booted: Booted) -> None:
    options = booted.options(program(HLT))
    missing = BootOptions(options.image, options.machine, initrd=booted.folder / "nowhere")
    with pytest.raises(UsageError, match="nowhere: expected an initial ramdisk, found: No such file"):
        prepare(missing)


def test_too_little_memory_for_the_image_is_refused(booted: Booted) -> None:
    with pytest.raises(UsageError, match="give the guest more memory, at least --memory"):
        booted.image(program(HLT, size_of_image=64 * MIB))


def test_too_little_memory_for_the_machine_is_refused(booted: Booted) -> None:
    with pytest.raises(UsageError, match="at least 16 MiB"):
        booted.code(HLT, memory_size=MIB)


@pytest.mark.parametrize(
    ("text", "message"),
    [("x" * 100_000, "a command line of at most"), ("a\udcffb", "UTF-8"), ("a\0b", "NUL")],
    ids=["too long", "no text", "NUL"],
)
def test_a_command_line_that_cannot_be_passed_on_is_refused(booted: Booted, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        booted.code(HLT, command_line=text)


@pytest.mark.parametrize("text", ["", "quiet", "x" * 8000, "\u00e9\u20ac\U0001f600"])
def test_a_command_line_reaches_the_image(booted: Booted, text: str) -> None:
    assert booted.code(b"\x31\xc0\xc3", command_line=text).verdict.status == EfiStatus.SUCCESS


# ---------------------------------------------------------------- kernels

# An EFI stub: leaves boot services, writes boot_params, puts the kernel proper somewhere, and goes there.
STUB = """
        subq    $0x48, %rsp
        movq    %rdx, %rbx
        movq    %rcx, %rsi
again:  movq    $0x4000, size(%rip)
        leaq    size(%rip), %rcx
        movl    $buffer, %edx
        leaq    key(%rip), %r8
        leaq    stride(%rip), %r9
        leaq    version(%rip), %rax
        movq    %rax, 0x20(%rsp)
        movq    0x60(%rbx), %rax
        call    *0x38(%rax)             # GetMemoryMap
        movq    %rsi, %rcx
        movq    key(%rip), %rdx
        movq    0x60(%rbx), %rax
        call    *0xe8(%rax)             # ExitBootServices
        testq   %rax, %rax
        jnz     again
        movl    $params, %edi           # a boot_params of zeroes but for these
        movl    $0x1000 / 8, %ecx
        xorl    %eax, %eax
        rep stosq
        movl    $text, params + 0x228   # cmd_line_ptr
        movl    $0x6f6f7470, text       # "ptoo"
        movl    $0, text + 4
        movl    $ramdisk, params + 0x218
        movl    $ramdisk_size, params + 0x21c
        movl    $0x12345678, ramdisk
        leaq    kernel(%rip), %rcx
        movq    %rcx, %r8
        movabsq $place, %rdi            # the kernel proper's first bytes
        xorl    %eax, %eax
1:      leal    bias(%rax), %edx
        movb    %dl, (%rdi,%rax)
        incl    %eax
        cmpl    $0x100, %eax
        jb      1b
        movq    $given, %rsi
        jmp     go
size:   .quad 0
key:    .quad 0
stride: .quad 0
version: .quad 0
kernel:
        .if     through_decompressor
go:     jmp     startup_64
        .org    0x1c0                   # from the stub's start at 0x40: 0x200 of the protected-mode code
startup_64:
        nop
        .endif
        .if     !through_decompressor
go:
        .endif
        movabsq $place, %rax
        jmp     *%rax
"""
STUB_OFFSET = 0x40
GIVEN = 0x40_0000


@pytest.fixture
def assemble(tool: Tool) -> Assembler:
    return Assembler(tool("as"), tool("ld"))


def kernel(assemble: Assembler, place: int = PHYSICAL, **symbols: int) -> bytes:
    """Return a bzImage whose EFI entry brings the kernel proper, bytes 0 to 255, to `place`."""
    known = {
        "buffer": 0x50_0000,
        "params": GIVEN,
        "given": GIVEN,
        "text": 0x40_2000,
        "ramdisk": 0x40_3000,
        "ramdisk_size": 4,
        "through_decompressor": 0,
        "bias": 0,
    } | symbols
    code = assemble(STUB, {**known, "place": place}, at=SETUP_SIZE + STUB_OFFSET)
    assert len(code) <= 0x240
    image = bytearray(build_bzimage(pe={"address_of_entry_point": SETUP_SIZE + STUB_OFFSET}))
    at = SETUP_SIZE + STUB_OFFSET
    image[at : at + len(code)] = code
    return bytes(image)


@pytest.mark.parametrize("place", [PHYSICAL, PHYSICAL + 2 * MIB, 40 * MIB, 62 * MIB])
def test_a_kernel_is_recognised_wherever_it_is_put(booted: Booted, assemble: Assembler, place: int) -> None:
    result = booted.image(kernel(assemble, place))
    assert result.verdict.outcome is Outcome.HANDOFF, result.verdict.message
    assert f"{place:#x}" in result.verdict.message
    handoff = result.handoff
    assert handoff is not None
    assert (handoff.proof.address, handoff.proof.slide) == (place, place - PHYSICAL)
    assert handoff.proof.found == handoff.proof.expected == bytes(range(48))
    assert handoff.registers["rip"] == place


def test_a_kernel_s_gifts_are_told(booted: Booted, assemble: Assembler) -> None:
    result = booted.image(kernel(assemble))
    handoff = result.handoff
    assert handoff is not None
    assert (handoff.boot_params_address, len(handoff.boot_params)) == (GIVEN, 4096)
    assert handoff.command_line == "ptoo"
    assert (handoff.initrd_address, handoff.initrd_size) == (0x40_3000, 4)
    assert handoff.initrd_sha256 == hashlib.sha256(bytes.fromhex("78563412")).hexdigest()
    assert handoff.memory_map
    assert guids.PVEFI_HYPERVISOR_INFORMATION in {table.guid for table in handoff.configuration_tables}
    assert [event.service for event in result.calls][-2:] == ["GetMemoryMap", "ExitBootServices"]


@pytest.mark.parametrize(("through", "word"), [(0, "bypassed"), (1, "entered")])
def test_the_decompressor_s_part_is_told(
    booted: Booted, assemble: Assembler, through: int, word: str
) -> None:
    result = booted.image(kernel(assemble, through_decompressor=through))
    assert result.handoff is not None
    assert result.handoff.decompressor == word


@pytest.mark.parametrize(
    "symbols", [{"given": 0x7FFF_0000}, {"ramdisk_size": 0x7FFF_FFFF}], ids=["boot_params", "initrd"]
)
def test_a_kernel_that_is_given_what_is_no_memory(
    booted: Booted, assemble: Assembler, symbols: dict[str, int]
) -> None:
    result = booted.image(kernel(assemble, **symbols))
    assert result.verdict.outcome is Outcome.BAD_REQUEST
    assert result.verdict.message.startswith("the kernel proper has control, but what it was given makes no")
    assert result.handoff is None


def test_a_kernel_without_an_initrd_has_none(booted: Booted, assemble: Assembler) -> None:
    result = booted.image(kernel(assemble, ramdisk_size=0))
    assert result.handoff is not None
    assert (result.handoff.initrd_address, result.handoff.initrd_size) == (0, 0)
    assert result.handoff.initrd_sha256 == ""


def test_something_else_at_a_kernel_s_place_is_no_kernel(booted: Booted, assemble: Assembler) -> None:
    result = booted.image(kernel(assemble, bias=1), timeout=1.0)
    assert result.verdict.outcome is not Outcome.HANDOFF


@pytest.mark.parametrize("alignment", [0, 1, 3, 0x1000, 0x200001])
def test_a_header_that_lies_about_the_alignment_costs_nothing(
    booted: Booted, assemble: Assembler, alignment: int
) -> None:
    image = bytearray(kernel(assemble))
    image[0x230:0x234] = alignment.to_bytes(4, "little")  # kernel_alignment
    assert booted.image(bytes(image)).verdict.outcome is Outcome.HANDOFF

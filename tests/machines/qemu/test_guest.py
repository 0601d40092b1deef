# SPDX-License-Identifier: GPL-2.0-or-later
"""What a QEMU guest promises beyond the contract that it shares with the embedded machine."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Answer, Copy, Finish, Function, Request, Reset, Return, Upcall
from pvefi.machines import (
    CpuState,
    Died,
    Fault,
    Finished,
    Halted,
    Hardware,
    Left,
    PoweredOff,
    Restarted,
    TimedOut,
    Watchpoint,
)
from pvefi.machines.qemu.command import MachineType
from pvefi.machines.qemu.machine import QemuMachine
from tests.conftest import Tool
from tests.machines.made import (
    ALIGN,
    DATA,
    GATE,
    HALT,
    INVALID,
    LOOP,
    MIB,
    PROGRAM,
    Assembler,
    Script,
    call,
    started,
)
from tests.machines.qemu.made import machine_of

RING = ALIGN + call(load_trampoline().gate(GATE))
NO_TABLE = PROGRAM + 0x800
TRIPLE_FAULT = bytes.fromhex("0f011c25") + NO_TABLE.to_bytes(4, "little") + INVALID  # lidt NO_TABLE; ud2


@pytest.fixture
def program(tool: Tool) -> str:
    return tool("qemu-system-x86_64")


@pytest.fixture
def q35(program: str) -> QemuMachine:
    return machine_of(program)


@pytest.fixture(params=list(MachineType))
def machine(request: pytest.FixtureRequest, program: str) -> QemuMachine:
    return machine_of(program, request.param)


@pytest.fixture
def assemble(tool: Tool) -> Assembler:
    return Assembler(tool("as"), tool("ld"))


def children() -> set[int]:
    return {int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def descriptors() -> list[str]:
    found = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    return sorted(name for name in found if "/fd/" not in name and not name.endswith("/fd"))


class Pipe:
    """A keyboard that is typed on by `type`."""

    def __init__(self, *, patient: bool = False) -> None:
        self.patient = patient
        self.leaves = False
        self._end, self._other = os.pipe()

    def type(self, data: bytes) -> None:
        os.write(self._other, data)

    def fileno(self) -> int:
        return self._end

    def read(self) -> bytes | None:
        data = os.read(self._end, 64)
        return None if self.leaves else data

    def end_input(self) -> None:
        os.close(self._other)
        self._other = -1

    def close(self) -> None:
        os.close(self._end)
        if self._other >= 0:
            os.close(self._other)


ECHO = """
        movw    $0x3fd, %dx     # line status
1:      inb     %dx, %al
        testb   $1, %al         # data ready
        jz      1b
        movw    $0x3f8, %dx
        inb     %dx, %al
        outb    %al, %dx
        incb    %bl
        movw    $0x3fd, %dx
        cmpb    $SIZE, %bl
        jne     1b
        cli
        hlt
"""


@pytest.fixture
def keyboard() -> Pipe:
    return Pipe()


def test_a_guest_starts_calls_and_halts(machine: QemuMachine) -> None:
    with started(machine, RING + HALT, [Return(0)]) as run:
        assert isinstance(run.go(), Halted)
    assert run.script.functions == [Function.BOOT, GATE]


def test_what_is_typed_reaches_the_serial_port_and_comes_back(
    machine: QemuMachine, assemble: Assembler, keyboard: Pipe
) -> None:
    text = bytes(range(1, 101))
    code = assemble("xorl %ebx, %ebx\n" + ECHO, {"SIZE": len(text)})
    with started(machine, code, keyboard=keyboard) as run:
        run.guest.listen()
        keyboard.type(text)
        assert isinstance(run.go(), Halted)
    keyboard.close()
    assert b"".join(run.console) == text


def test_what_is_typed_is_held_for_who_takes_it_until_the_guest_listens(
    q35: QemuMachine, assemble: Assembler, keyboard: Pipe
) -> None:
    with started(q35, assemble("xorl %ebx, %ebx\n" + ECHO, {"SIZE": 3}), keyboard=keyboard) as run:
        keyboard.type(b"for EFI")
        assert isinstance(run.go(0.2), TimedOut)
        assert run.guest.typed() == b"for EFI"
        assert run.guest.typed() == b""
        keyboard.type(b"abc")
        assert isinstance(run.go(0.2), TimedOut)
        run.guest.listen()
        assert run.guest.typed() is None
        assert isinstance(run.go(), Halted)
    keyboard.close()
    assert b"".join(run.console) == b"abc"


def test_a_patient_keyboard_is_read_when_the_guest_listens(q35: QemuMachine, assemble: Assembler) -> None:
    keyboard = Pipe(patient=True)
    keyboard.type(b"abc")
    with started(q35, assemble("xorl %ebx, %ebx\n" + ECHO, {"SIZE": 3}), keyboard=keyboard) as run:
        assert isinstance(run.go(0.4), TimedOut)
        assert run.console == []
        run.guest.listen()
        assert isinstance(run.go(), Halted)
    keyboard.close()
    assert b"".join(run.console) == b"abc"


def test_a_user_who_leaves_ends_the_run(q35: QemuMachine, keyboard: Pipe) -> None:
    keyboard.leaves = True
    keyboard.type(b"x")
    with started(q35, LOOP, keyboard=keyboard) as run:
        assert run.go() == Left()
    keyboard.close()


def test_input_that_ends_leaves_the_guest_running(q35: QemuMachine, keyboard: Pipe) -> None:
    keyboard.end_input()
    with started(q35, LOOP, keyboard=keyboard) as run:
        began = time.process_time()
        assert isinstance(run.go(0.5), TimedOut)
        assert time.process_time() - began < 0.3
    keyboard.close()


def test_acpi_switches_the_machine_off(q35: QemuMachine) -> None:
    off = bytes.fromhex("66ba0406 66b80020 66ef")  # mov $0x604, %dx; mov $0x2000, %ax; out %ax, %dx
    with started(q35, off + LOOP) as run:
        assert run.go() == PoweredOff()
        assert run.go() == PoweredOff()  # and stays off


HARD_RESET = bytes.fromhex("66baf90c b006 ee")  # mov $0xcf9, %dx; mov $6, %al; out %al, %dx


def test_a_guest_that_resets_the_hardware_starts_anew(q35: QemuMachine) -> None:
    boots: list[Request] = []

    def answer(request: Request) -> Answer:
        boots.append(request)
        return Upcall(PROGRAM) if len(boots) == 1 else Finish("again")

    with started(q35, HARD_RESET + LOOP) as run:
        assert run.guest.run(answer, 20) == Finished("again")
    assert [(request.function, request.seq) for request in boots] == [(Function.BOOT, 1)] * 2


def test_a_guest_that_is_not_to_start_anew_has_restarted(q35: QemuMachine) -> None:
    with started(q35, HARD_RESET + LOOP, hardware=Hardware(16 * MIB, restarts=False)) as run:
        assert run.go() == Restarted()
    assert run.script.functions == [Function.BOOT]


@pytest.mark.parametrize("restarts", [True, False])
def test_a_triple_fault_says_where(machine: QemuMachine, restarts: bool) -> None:
    with started(machine, TRIPLE_FAULT, hardware=Hardware(16 * MIB, restarts=restarts)) as run:
        run.guest.memory.write(NO_TABLE, bytes(10))
        stop = run.go()
    where = PROGRAM + len(TRIPLE_FAULT) - len(INVALID)
    assert stop == Fault("triple fault", None, None, where)


def test_code_that_the_host_rewrites_after_a_reset_runs_when_the_guest_has_copied_it(
    q35: QemuMachine,
) -> None:
    def store(value: int) -> bytes:  # movl $value, DATA; then ring
        return b"\xc7\x04\x25" + DATA.to_bytes(4, "little") + value.to_bytes(4, "little") + RING

    with started(q35) as run:

        def answer(request: Request) -> Answer:
            seen.append((request.function, run.word(DATA)))
            match len(seen):
                case 1:
                    run.guest.memory.write(PROGRAM, store(1))
                    return Upcall(PROGRAM)
                case 2:
                    return Reset("anew")
                case 3:
                    run.guest.memory.write(PROGRAM, store(2))
                    return Copy(PROGRAM, PROGRAM, 64)
                case 4:
                    return Upcall(PROGRAM)
            return Finish("done")

        seen: list[tuple[int, int]] = []
        assert run.guest.run(answer, 20) == Finished("done")
    assert seen == [
        (Function.BOOT, 0),
        (GATE, 1),
        (Function.BOOT, 1),
        (Function.DONE, 1),
        (GATE, 2),
    ]


def test_many_resets_in_a_row_each_ring_boot(q35: QemuMachine) -> None:
    with started(q35, RING, [Reset(number) for number in range(5)]) as run:
        assert run.go() == Finished("no more answers")
    assert run.script.functions == [Function.BOOT, GATE] * 6


def test_two_cpus_are_seen(machine: QemuMachine) -> None:
    seen: list[tuple[CpuState, ...]] = []

    def look(cpus: tuple[CpuState, ...]) -> float:
        if run.script.requests:
            seen.append(cpus)
            run.guest.finish("seen")
        return 0.05

    with started(machine, LOOP, hardware=Hardware(16 * MIB, cpus=2)) as run:
        run.guest.look_soon(0.1)
        assert run.guest.run(run.script, 20, look) == Finished("seen")
    (first, second) = seen[0]
    assert first.instruction_pointer == PROGRAM
    assert (first.privilege, first.halted) == (0, False)
    assert second.halted


PCI_SCAN = """
        xorl    %ecx, %ecx
1:      movl    %ecx, %eax      # device %ecx of bus 0
        shll    $11, %eax
        orl     $0x80000000, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movw    $0xcfc, %dx
        inl     %dx, %eax
        movl    %eax, DATA(,%rcx,4)
        incl    %ecx
        cmpl    $32, %ecx
        jne     1b
        cli
        hlt
"""


def test_disks_appear(q35: QemuMachine, assemble: Assembler, tmp_path: Path) -> None:
    names = ["plain", "with, comma", "third"]
    disks = tuple(tmp_path / name for name in names)
    for disk in disks:
        disk.write_bytes(bytes(1 << 20))
    code = assemble(PCI_SCAN, {"DATA": DATA})
    with started(q35, code, hardware=Hardware(16 * MIB, disks=disks)) as run:
        assert isinstance(run.go(), Halted)
        ids = memoryview(run.guest.memory.read(DATA, 128)).cast("I").tolist()
    assert sum(1 for value in ids if value & 0xFFFF == 0x1AF4) == len(disks)  # virtio


def test_a_disk_that_cannot_be_opened_is_told_in_qemus_words(q35: QemuMachine, tmp_path: Path) -> None:
    disk = tmp_path / "broken.qcow2"
    disk.write_bytes(bytes(512))
    refused = pytest.raises(UsageError, match=r"QEMU does not start: .*broken\.qcow2: .*not in qcow2 format")
    with refused, started_anyway(q35, Hardware(16 * MIB, disks=(disk,))):
        pass


class started_anyway:  # noqa: N801  reads as `started` does
    """Run a guest that may never come up, and give how it ended."""

    def __init__(self, machine: QemuMachine, hardware: Hardware) -> None:
        self._machine, self._hardware = machine, hardware

    def __enter__(self) -> object:
        self._guest = self._machine.start(load_trampoline(), self._hardware, lambda _text: None)
        try:
            return self._guest.run(Script(), 20)
        except BaseException:
            self._guest.close()
            raise

    def __exit__(self, *_error: object) -> None:
        self._guest.close()


@pytest.mark.parametrize("when", ["in a loop", "in an answer", "while a service waits"])
def test_a_qemu_that_is_killed_has_died(q35: QemuMachine, when: str) -> None:
    before = children()

    def kill() -> None:
        (process,) = children() - before
        os.kill(process, signal.SIGKILL)

    def answer(_request: Request) -> Answer:
        kill()
        if when == "while a service waits":
            run.guest.idle(60)
        return Return(0)

    def look(_cpus: tuple[CpuState, ...]) -> float:
        kill()
        return 60

    with started(q35, LOOP if when == "in a loop" else RING + LOOP) as run:
        run.script = Script([answer])
        if when == "in a loop":
            run.guest.look_soon(0.2)
        began = time.monotonic()
        stop = run.guest.run(run.script, 20, look if when == "in a loop" else None)
        assert time.monotonic() - began < 5
        assert isinstance(stop, Died)
        assert "SIGKILL" in stop.how
        assert run.guest.run(run.script, 20) == stop


@pytest.mark.parametrize("ending", ["finish", "time-out", "killed", "never run", "watched"])
def test_a_closed_guest_leaves_no_process_no_descriptor_and_no_file(q35: QemuMachine, ending: str) -> None:
    def left() -> tuple[set[int], list[str], str]:
        return children(), descriptors(), Path("/proc/self/maps").read_text()

    with started(q35):
        pass  # what is loaded once, is
    processes, files, _ = left()
    with started(q35, RING + LOOP) as run:
        match ending:
            case "time-out":
                run.script = Script([Return(0)])
                run.go(0.3)
            case "killed":
                (process,) = children() - processes
                os.kill(process, signal.SIGKILL)
                run.go()
            case "watched":
                run.guest.watch([Watchpoint(PROGRAM, 0, lambda _data: True, "here")])
                run.go()
            case "finish":
                run.go()
        assert children() != processes or ending == "killed"
    after = left()
    assert after[:2] == (processes, files)
    assert "/memfd:pvefi-" not in after[2]


def test_registers_are_told_of_a_guest_that_runs_and_it_runs_on(q35: QemuMachine) -> None:
    with started(q35, b"\x90" * 4 + LOOP + RING) as run:
        assert isinstance(run.go(0.4), TimedOut)
        assert run.guest.registers()["rip"] == PROGRAM + 4
        assert run.guest.registers()["rip"] == PROGRAM + 4
        assert isinstance(run.go(0.2), TimedOut)


def test_a_program_that_is_no_qemu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="nowhere cannot be run: No such file"):
        machine_of(str(tmp_path / "nowhere")).start(load_trampoline(), Hardware(16 * MIB), lambda _: None)


def test_a_program_that_ends_at_once_is_told_with_its_words(tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-x86_64"
    program.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    program.chmod(0o755)
    with started_anyway(machine_of(str(program)), Hardware(16 * MIB)) as stop:
        assert stop == Died("QEMU ended with status 3: it is broken")


def test_a_qemu_that_does_not_stay_is_refused(program: str) -> None:
    from pvefi.machines.qemu.command import QemuOptions

    with pytest.raises(UsageError, match="-daemonize"):
        QemuMachine(QemuOptions(program, arguments=("-daemonize",)))

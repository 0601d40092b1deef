# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu.gdb import Gdb, GdbStop
from pvefi.machines.qemu.installation import Installation
from pvefi.machines.qemu.rsp import packet
from tests.machines.qemu.started import START, StartedQemu, kernel, started_qemu

COUNTS = bytes.fromhex("31c0 40 40 ebfc")  # xor %eax, %eax; 1: inc %eax; inc %eax; jmp 1b
FIRST, SECOND = START + 2, START + 3
AP_LOOP = 0x8005
TWO_CPUS = (
    # What the second CPU executes, at 0x8000 in real mode: ljmp $0, $0x8005; jmp .
    bytes.fromhex("c70500800000 ea058000 c70504800000 00ebfe90")
    # INIT and a startup IPI for page 8 to all others, by the local APIC's ICR: Intel SDM vol. 3A §11.6.1
    + bytes.fromhex("c705f000e0fe ff010000 c7050003e0fe 00450c00 c7050003e0fe 08460c00 ebfe")
)
TRIPLE_FAULT = bytes.fromhex("0f011d 00108000 cc")  # lidt zeroes; int3

KVM = pytest.param(
    "kvm", marks=pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no KVM here")
)


@pytest.fixture(params=["tcg", KVM])
def accelerator(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def guest(
    qemu: Installation, folder: Path, code: bytes, *words: str, stopped: bool = True
) -> Iterator[tuple[StartedQemu, Gdb]]:
    """Run `code`; it has not begun when `stopped`."""
    command = ["-machine", "microvm", "-m", "32", "-no-reboot", "-gdb", "chardev:gdb", *words]
    command += ["-kernel", str(kernel(folder, code)), *(["-S"] if stopped else [])]
    with (
        started_qemu(str(qemu.program), *command, chardevs=("gdb",)) as started,
        closing(Gdb(started.ends["gdb"], timeout=10)) as gdb,
    ):
        yield started, gdb


def reached(gdb: Gdb) -> tuple[GdbStop, int]:
    """Run to the next stop, and return it with the value of rax there."""
    stop = gdb.resume() or gdb.wait(10)
    assert stop is not None
    return stop, gdb.registers(stop.thread)["rax"] if not stop.ended else 0


def test_a_guest_stops_at_a_breakpoint_and_its_registers_are_there(
    qemu: Installation, tmp_path: Path, accelerator: str
) -> None:
    with guest(qemu, tmp_path, COUNTS, "-accel", accelerator) as (_, gdb):
        gdb.attach()
        gdb.insert([START])
        stop, _ = reached(gdb)
        assert stop == GdbStop(signal.SIGTRAP, 1)
        registers = gdb.registers(1)
        # xen/include/public/arch-x86/hvm/start_info.h: the state at a PVH entry
        assert registers["rip"] == START
        assert registers["cr0"] & 0x80000001 == 1
        assert registers["cr4"] == registers["efer"] == registers["cr3"] == 0
        assert registers["rbx"] != 0
        assert registers["rflags"] & 0x202 == 2
        assert {"r15", "cs", "ds", "es", "ss", "fs", "gs", "cr2", "fs_base", "gs_base"} <= registers.keys()


def test_a_guest_gets_past_the_breakpoint_that_it_stands_at(
    qemu: Installation, tmp_path: Path, accelerator: str
) -> None:
    with guest(qemu, tmp_path, COUNTS, "-accel", accelerator) as (_, gdb):
        gdb.attach()
        gdb.insert([SECOND])
        assert [reached(gdb)[1] for _ in range(3)] == [1, 3, 5]
        assert gdb.breakpoints == {SECOND}


def test_the_way_past_a_breakpoint_may_lead_to_another(
    qemu: Installation, tmp_path: Path, accelerator: str
) -> None:
    with guest(qemu, tmp_path, COUNTS, "-accel", accelerator) as (_, gdb):
        gdb.attach()
        gdb.insert([FIRST, SECOND])
        assert [reached(gdb)[1] for _ in range(4)] == [0, 1, 2, 3]


def test_a_removed_breakpoint_stops_nobody(qemu: Installation, tmp_path: Path, accelerator: str) -> None:
    with guest(qemu, tmp_path, COUNTS, "-accel", accelerator) as (_, gdb):
        gdb.attach()
        gdb.insert([FIRST, SECOND])
        reached(gdb)
        gdb.remove([FIRST, SECOND, START])
        assert gdb.resume() is None
        assert gdb.running
        assert gdb.wait(0.2) is None
        assert gdb.feed() is None


def test_a_running_guest_is_attached_to_and_interrupted(
    qemu: Installation, tmp_path: Path, accelerator: str
) -> None:
    with guest(qemu, tmp_path, COUNTS, "-accel", accelerator, stopped=False) as (_, gdb):
        deadline = time.monotonic() + 20
        gdb.attach()
        while gdb.registers(1)["rip"] not in range(START, START + len(COUNTS)):  # still in the firmware
            assert time.monotonic() < deadline
            assert gdb.resume() is None
            time.sleep(0.02)
            assert gdb.interrupt().signal == signal.SIGINT
        before = gdb.registers(1)["rax"]
        gdb.resume()
        time.sleep(0.02)
        gdb.interrupt()
        assert gdb.registers(1)["rax"] != before
        assert not gdb.running


def test_the_vcpu_that_reached_a_breakpoint_is_named(qemu: Installation, tmp_path: Path) -> None:
    with guest(qemu, tmp_path, TWO_CPUS, "-smp", "2") as (_, gdb):
        gdb.attach()
        assert gdb.threads() == (1, 2)
        gdb.insert([AP_LOOP])
        for _ in range(2):  # it stands at the breakpoint, and its next instruction leads there again
            stop, _ = reached(gdb)
            assert stop == GdbStop(signal.SIGTRAP, 2)
            assert gdb.registers(2)["rip"] == AP_LOOP
            assert gdb.registers(1)["rip"] in range(START, START + len(TWO_CPUS))


def test_one_step_moves_one_vcpu_by_one_instruction(qemu: Installation, tmp_path: Path) -> None:
    with guest(qemu, tmp_path, COUNTS) as (_, gdb):
        gdb.attach()
        gdb.insert([FIRST])
        reached(gdb)
        for expected in (SECOND, SECOND + 1, FIRST, SECOND):
            gdb.step(1)
            assert gdb.registers(1)["rip"] == expected
        assert gdb.breakpoints == {FIRST}


def test_a_thousand_breakpoints_are_taken_by_tcg(qemu: Installation, tmp_path: Path) -> None:
    with guest(qemu, tmp_path, COUNTS) as (_, gdb):
        gdb.attach()
        gdb.insert([START + 0x200000 * number for number in range(1000)])
        assert reached(gdb)[0].signal == signal.SIGTRAP
        gdb.remove(gdb.breakpoints)
        assert gdb.breakpoints == frozenset()


def test_a_fifth_breakpoint_is_refused_by_kvm(qemu: Installation, tmp_path: Path, accelerator: str) -> None:
    if accelerator != "kvm":
        pytest.skip("TCG has no such limit")
    with guest(qemu, tmp_path, COUNTS, "-accel", accelerator) as (_, gdb):
        gdb.attach()
        with pytest.raises(MachineError, match=r"beside 4 others \(KVM has four\)"):
            gdb.insert([START + 0x200000 * number for number in range(5)])


def test_detached_from_the_guest_runs_on_without_breakpoints(qemu: Installation, tmp_path: Path) -> None:
    with guest(qemu, tmp_path, TRIPLE_FAULT) as (started, gdb):
        gdb.attach()
        gdb.insert([START])
        reached(gdb)
        gdb.detach()
        assert started.process.wait(10) == 0, "the guest came to its end, and QEMU with it"


def test_the_end_of_the_guest_is_a_stop(qemu: Installation, tmp_path: Path) -> None:
    with guest(qemu, tmp_path, TRIPLE_FAULT) as (_, gdb):
        gdb.attach()
        stop, _ = reached(gdb)
        assert stop.ended


def test_the_end_of_qemu_is_a_machine_error(qemu: Installation, tmp_path: Path) -> None:
    with guest(qemu, tmp_path, COUNTS) as (started, gdb):
        gdb.attach()
        gdb.resume()
        started.process.kill()
        with pytest.raises(MachineError, match="has ended its debugger connection"):
            gdb.wait(10)
        gdb.close()
        gdb.close()


@contextmanager
def saying(*answers: bytes) -> Iterator[Gdb]:
    """Give a client of a stub that says this, whatever it is asked."""
    ours, theirs = socket.socketpair()
    with theirs, closing(Gdb(ours, timeout=0.2)) as gdb:
        theirs.sendall(b"".join(answers))
        yield gdb


def test_a_stub_that_is_silent_is_given_up() -> None:
    with saying() as gdb, pytest.raises(MachineError, match=r"within 0\.2 s, found none"):
        gdb.attach()


@pytest.mark.parametrize("answer", [b"", b"E01", b"Tzz", b"T05thread:q;"])
def test_what_is_no_stop_reply_is_a_machine_error(answer: bytes) -> None:
    with saying(packet(answer.decode())) as gdb, pytest.raises(MachineError):
        gdb.attach()


def test_a_refused_breakpoint_is_not_counted() -> None:
    with saying(packet("T05thread:01;"), packet("QC1"), packet("E22")) as gdb:
        gdb.attach()
        with pytest.raises(MachineError, match="refuses a breakpoint at 0x1000000"):
            gdb.insert([0x1000000])
        assert gdb.breakpoints == frozenset()

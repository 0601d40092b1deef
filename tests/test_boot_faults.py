# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots on QEMU whose host side goes wrong: QEMU or pvefi is killed, interrupted, stopped, or too late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pvefi.boot import Observer, boot
from pvefi.cli.boot import exit_status
from pvefi.cli.status import ExitStatus
from pvefi.guest import load_trampoline
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.machine import QemuMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.probe.lines import probe_boots
from pvefi.trace.events import CallEvent
from pvefi.verdict import BootResult, Goal, Outcome
from tests.conftest import RealFiles, Tool
from tests.leftovers import MARK, assert_all_gone, marked_processes, nothing_left, qemu_of
from tests.test_boot import BEGIN, END, LOOP, MIB, UD2, call, load, program, store

CALLS = 10
TEN_CALLS = BEGIN + call("Stall", 0) * CALLS + load(0, 0) + END
QUIET = "console=ttyS0 quiet probe="
REBOOTING = "console=ttyS0 quiet reboot=efi probe=count,reboot"


@pytest.fixture
def machine(tool: Tool) -> QemuMachine:
    tool("qemu-system-x86_64")
    machine = choose_machine("qemu", QemuWish(accelerator="tcg"))
    assert isinstance(machine, QemuMachine)
    return machine


@pytest.fixture
def image(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(code: bytes) -> Path:
        path = tmp_path / "test.efi"
        path.write_bytes(program(code))
        return path

    return write


def options_of(machine: QemuMachine, image: Path, **options: Any) -> BootOptions:
    defaults: dict[str, Any] = {"memory_size": 64 * MIB, "timeout": 30.0, "goal": Goal.EXIT}
    return BootOptions(image=image, machine=machine, **(defaults | options))


def booted(
    options: BootOptions, at_call: Callable[[CallEvent], None] = lambda _: None, text: list[str] | None = None
) -> BootResult:
    console: list[str] = [] if text is None else text
    return boot(prepare(options), Observer(console.append, at_call, lambda _: None))


def kernel(machine: QemuMachine, corpus: RealFiles, words: str, **options: Any) -> BootOptions:
    """Return how to boot a real kernel into the probe's user space."""
    image = corpus.kernel("cloud")
    initrd = corpus.probe("cloud")
    return options_of(
        machine,
        image,
        **{"initrd": initrd, "command_line": QUIET + words, "memory_size": 256 * MIB, "timeout": 120.0}
        | options,
    )


# ---------------------------------------------------------------- QEMU is killed


def own_qemu() -> int:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    # One that was left to live on and has ended since is nobody's to wait for: it does not count.
    (child,) = (one for one in children if ") Z " not in Path(f"/proc/{one}/stat").read_text())
    return int(child)


def killed_at(options: BootOptions, index: int) -> BootResult:
    def at_call(event: CallEvent) -> None:
        if event.index == index:
            os.kill(own_qemu(), signal.SIGKILL)

    with nothing_left():
        began = time.monotonic()
        result = booted(options, at_call)
        assert time.monotonic() - began < options.timeout  # type: ignore[operator]
    return result


def assert_told(result: BootResult, index: int) -> None:
    assert result.verdict.outcome is Outcome.DIED
    assert result.verdict.message.startswith(f"QEMU was ended by SIGKILL; last call: {index} ")
    assert exit_status(result) is ExitStatus.NO_MACHINE
    assert result.calls_made == index


@pytest.mark.parametrize("goal", [Goal.EXIT, Goal.HANDOFF])
def test_a_qemu_that_is_killed_at_any_call_is_a_verdict(
    machine: QemuMachine, image: Callable[[bytes], Path], goal: Goal
) -> None:
    options = options_of(machine, image(TEN_CALLS), goal=goal)
    for index in range(1, CALLS + 1):
        assert_told(killed_at(options, index), index)


def calls_of(options: BootOptions) -> tuple[CallEvent, ...]:
    result = booted(options)
    assert result.verdict.outcome is Outcome.POWERED_OFF, result.verdict
    return result.calls


@pytest.mark.full
def test_a_qemu_that_is_killed_at_any_call_of_a_real_kernel_is_a_verdict(
    machine: QemuMachine, corpus: RealFiles
) -> None:
    options = kernel(machine, corpus, "poweroff")
    count = len(calls_of(options))
    assert count > 30
    for index in range(1, count + 1):
        assert_told(killed_at(options, index), index)


@pytest.mark.parametrize("chosen", ["ExitBootServices", "SetVirtualAddressMap"])
def test_a_qemu_that_is_killed_as_boot_services_end_is_a_verdict(
    machine: QemuMachine, corpus: RealFiles, chosen: str
) -> None:
    last: list[int] = []

    def at_call(event: CallEvent) -> None:
        if event.service == chosen:
            last.append(event.index)
            os.kill(own_qemu(), signal.SIGKILL)

    with nothing_left():
        result = booted(kernel(machine, corpus, "poweroff"), at_call)
    assert_told(result, last[-1])


def test_a_qemu_that_is_killed_while_a_service_lets_time_pass_is_a_verdict(
    machine: QemuMachine, image: Callable[[bytes], Path]
) -> None:
    options = options_of(machine, image(BEGIN + call("Stall", 0) + call("Stall", 20_000_000) + LOOP))

    def at_call(_event: CallEvent) -> None:
        threading.Timer(0.3, os.kill, (own_qemu(), signal.SIGKILL)).start()

    began = time.monotonic()
    result = booted(options, at_call)
    assert time.monotonic() - began < 10
    assert result.verdict.outcome is Outcome.DIED
    assert "SIGKILL" in result.verdict.message


# ---------------------------------------------------------------- pvefi is killed


@dataclass
class Place:
    """An empty folder in which a process of ours runs, and the mark by which its children are found."""

    folder: Path
    mark: str

    def assert_empty(self) -> None:
        assert_all_gone(self.mark)
        assert [path.name for path in self.folder.rglob("*")] == []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "empty"
    folder.mkdir()
    made = Place(folder, uuid.uuid4().hex)
    yield made
    for process in marked_processes(made.mark):
        os.kill(process, signal.SIGKILL)


def kills_itself_at(options: BootOptions, index: int, place: Place) -> int:
    """Boot in a process that kills itself with SIGKILL at a call; return the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(place.folder)
            os.environ.update({MARK: place.mark, "TMPDIR": str(place.folder)})

            def at_call(event: CallEvent) -> None:
                if event.index == index:
                    os.kill(os.getpid(), signal.SIGKILL)

            booted(options, at_call)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def test_a_pvefi_that_is_killed_at_any_call_leaves_nothing(
    machine: QemuMachine, image: Callable[[bytes], Path], place: Place
) -> None:
    options = options_of(machine, image(TEN_CALLS))
    for index in range(1, CALLS + 1):
        with nothing_left():
            assert kills_itself_at(options, index, place) == signal.SIGKILL
            place.assert_empty()


@pytest.mark.full
def test_a_pvefi_that_is_killed_at_any_call_of_a_real_kernel_leaves_nothing(
    machine: QemuMachine, corpus: RealFiles, place: Place
) -> None:
    options = kernel(machine, corpus, "poweroff")
    for index in range(1, len(calls_of(options)) + 1):
        assert kills_itself_at(options, index, place) == signal.SIGKILL
        place.assert_empty()


# ---------------------------------------------------------------- signals


@contextmanager
def pvefi(place: Place, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `pvefi boot`; whatever is left of it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pvefi", "boot", *words, "--accel", "tcg"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place.folder,
        env={**os.environ, MARK: place.mark, "TMPDIR": str(place.folder)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_qemu(place: Place) -> None:
    end = time.monotonic() + 20
    while qemu_of(place.mark) is None:
        assert time.monotonic() < end
        time.sleep(0.005)


def wait_for_text(process: subprocess.Popen[bytes], text: bytes, seconds: float = 60) -> None:
    import select

    assert process.stdout is not None
    seen, end = b"", time.monotonic() + seconds
    while text not in seen:
        assert select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0], seen
        part = os.read(process.stdout.fileno(), 65536)
        assert part, seen
        seen += part


STATUSES = {
    signal.SIGINT: ExitStatus.INTERRUPTED,
    signal.SIGTERM: ExitStatus.TERMINATED,
    signal.SIGHUP: ExitStatus.HUNG_UP,
}


def ends_by(process: subprocess.Popen[bytes], number: signal.Signals, place: Place) -> None:
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == STATUSES[number], errors
    assert errors.count(b"\n") == 1
    assert errors.startswith(b"pvefi: ")
    place.assert_empty()


MAILBOX_DEAD = 0xA8  # src/pvefi/guest/trampoline.S
SAY = b"\x48\x8b\x43\x40\x48\x89\xc1"  # mov 0x40(%rbx), %rax; mov %rax, %rcx: the console's output


def says(text: str) -> bytes:
    """Return code that writes `text` by OutputString; the text stands behind a call over it."""
    data = text.encode("utf-16-le") + b"\0\0"
    over = b"\xe8" + len(data).to_bytes(4, "little") + data + b"\x5a"  # call over; pop %rdx
    return over + SAY + b"\xff\x50\x08"  # call *8(%rax)


@pytest.mark.parametrize("number", STATUSES)
@pytest.mark.parametrize("moment", ["before the first doorbell", "in a service", "in the image"])
def test_a_signal_ends_pvefi_and_qemu(
    image: Callable[[bytes], Path], tool: Tool, place: Place, number: signal.Signals, moment: str
) -> None:
    tool("qemu-system-x86_64")
    last = call("Stall", 30_000_000) if moment == "in a service" else LOOP
    with pvefi(place, image(BEGIN + says("here\n") + last + END), "--machine", "qemu") as process:
        if moment == "before the first doorbell":
            wait_for_qemu(place)
        else:
            wait_for_text(process, b"here")
        ends_by(process, number, place)


@pytest.mark.full
@pytest.mark.parametrize("number", STATUSES)
@pytest.mark.parametrize("moment", [b"Linux version", b"Run /init", b"PVEFI-PROBE end hold"])
def test_a_signal_ends_pvefi_and_a_kernel(
    machine: QemuMachine, corpus: RealFiles, place: Place, number: signal.Signals, moment: bytes
) -> None:
    options = kernel(machine, corpus, "hold")
    words: list[str | Path] = [options.image, "--initrd", str(options.initrd), "--memory", "256M"]
    with pvefi(place, *words, "--cmdline", "console=ttyS0 probe=hold") as process:
        wait_for_text(process, moment)
        ends_by(process, number, place)


# ---------------------------------------------------------------- the host is late


def test_a_host_that_comes_back_too_late_finds_a_guest_that_has_given_up(
    machine: QemuMachine, image: Callable[[bytes], Path]
) -> None:
    impatient = QemuMachine(machine.options, patience=0.3)
    text: list[str] = []

    def at_call(event: CallEvent) -> None:
        if event.service == "SetWatchdogTimer":
            time.sleep(1.5)

    code = BEGIN + call("Stall", 1000) * 20 + call("SetWatchdogTimer", 0, 0, 0, 0) + call("Stall", 0) + END
    with nothing_left():
        result = booted(options_of(impatient, image(code)), at_call, text)
    assert result.verdict.outcome is Outcome.HALTED
    assert "the guest gave up waiting for the answer to doorbell" in result.verdict.message
    assert "last call: 21 SetWatchdogTimer" in result.verdict.message
    assert "pvefi: the host has not answered a call for too long" in "".join(text)


def test_a_mailbox_that_the_guest_uses_as_memory_is_no_word_of_a_doorbell(
    machine: QemuMachine, image: Callable[[bytes], Path]
) -> None:
    mailbox, _ = load_trampoline().mailbox
    code = BEGIN + store(mailbox + MAILBOX_DEAD, 4_841_050_449_188_534_424) + UD2
    result = booted(options_of(machine, image(code)))
    assert result.verdict.outcome is Outcome.HALTED
    assert "doorbell" not in result.verdict.message


def test_time_that_a_service_lets_pass_does_not_count_as_late(
    machine: QemuMachine, image: Callable[[bytes], Path]
) -> None:
    impatient = QemuMachine(machine.options, patience=0.3)
    code = BEGIN + call("Stall", 1000) * 20 + call("Stall", 1_500_000) + load(0, 0) + END
    result = booted(options_of(impatient, image(code)))
    assert result.verdict.outcome is Outcome.EXITED
    assert result.calls_made == 21


def stopped_at(place: Place, process: subprocess.Popen[bytes], seconds: float) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


@pytest.mark.full
@pytest.mark.parametrize("moment", [b"", b"Linux version", b"PVEFI-PROBE up"])
def test_a_pvefi_that_stands_still_for_ten_seconds_fails_no_boot(
    machine: QemuMachine, corpus: RealFiles, place: Place, moment: bytes
) -> None:
    options = kernel(machine, corpus, "efivars,poweroff")
    words: list[str | Path] = [options.image, "--initrd", str(options.initrd), "--memory", "256M"]
    command_line = "console=ttyS0 probe=efivars,poweroff"
    with pvefi(place, *words, "--cmdline", command_line) as process:
        if moment:
            wait_for_text(process, moment)
        else:
            wait_for_qemu(place)
            time.sleep(0.3)
        stopped_at(place, process, 10)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == ExitStatus.OK, errors
    assert b"powered off" in output
    place.assert_empty()


def test_a_pvefi_that_stands_still_a_second_fails_no_call(
    image: Callable[[bytes], Path], tool: Tool, place: Place
) -> None:
    tool("qemu-system-x86_64")
    code = BEGIN + call("Stall", 20_000) * 50 + load(0, 0) + END
    with pvefi(place, image(code), "--machine", "qemu") as process:
        wait_for_qemu(place)
        for _ in range(3):
            time.sleep(0.15)
            stopped_at(place, process, 0.5)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == ExitStatus.OK, errors


def test_a_kernel_whose_host_was_away_at_run_time_goes_on_without_efi(
    machine: QemuMachine, corpus: RealFiles
) -> None:
    impatient = QemuMachine(machine.options, patience=2.0)
    text: list[str] = []

    def at_call(event: CallEvent) -> None:
        if event.service == "SetVariable" and dict(event.arguments).get("VariableName") == "PvefiProbe":
            time.sleep(6)

    result = booted(kernel(impatient, corpus, "efivars,poweroff"), at_call, text)
    console = "".join(text)
    assert result.verdict.outcome is Outcome.POWERED_OFF
    assert "PVEFI-PROBE end poweroff" in console
    assert "I/O error" in console or "nput/output error" in console


# ---------------------------------------------------------------- resets, two CPUs, standing idle


def facts(text: list[str], name: str) -> list[Any]:
    """Return the fact of this name from each boot on the console."""
    return [boot.facts[name] for boot in probe_boots("".join(text).encode())]


def test_two_cpus_that_ring_at_once_both_get_their_answers(machine: QemuMachine, corpus: RealFiles) -> None:
    text: list[str] = []
    result = booted(kernel(machine, corpus, "parallel,poweroff", cpus=2), text=text)
    assert result.verdict.outcome is Outcome.POWERED_OFF
    (fact,) = facts(text, "parallel")
    assert fact["wrong"] == ["0", "0"]


@pytest.mark.full
def test_a_variable_counts_the_boots_of_a_kernel_that_resets(machine: QemuMachine, corpus: RealFiles) -> None:
    text: list[str] = []
    ends = 0

    def at_call(event: CallEvent) -> None:
        nonlocal ends
        if event.service == "ResetSystem":
            ends += 1
            if ends == 6:
                raise KeyboardInterrupt

    with nothing_left(), pytest.raises(KeyboardInterrupt):
        booted(kernel(machine, corpus, "count,reboot", command_line=REBOOTING), at_call, text)
    assert [fact["before"] for fact in facts(text, "count")] == [0, 1, 2, 3, 4, 5]


def test_pvefi_costs_nothing_while_a_guest_idles(machine: QemuMachine, corpus: RealFiles) -> None:
    span = 10.0
    options = kernel(machine, corpus, "hold")
    text: list[str] = []
    spent: list[float] = []

    def measure() -> None:
        time.sleep(1)
        before = time.process_time()
        time.sleep(span)
        spent.append(time.process_time() - before)
        os.kill(own_qemu(), signal.SIGTERM)

    def console(part: str) -> None:
        text.append(part)
        if "PVEFI-PROBE end hold" in "".join(text) and not watcher.ident:
            watcher.start()

    watcher = threading.Thread(target=measure, daemon=True)
    boot(prepare(options), Observer(console, lambda _: None, lambda _: None))
    watcher.join()
    assert spent[0] < 0.01 * span

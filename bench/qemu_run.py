# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures boots in QEMU; every boot is a process of its own, and the kinds take turns."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.busy_program import build_busy_program
from bench.qemu_figures import MACHINES, USER_SPACE, WAYS, HostSample, QemuBoot, QemuSamples
from bench.small_programs import build_gate_counter, build_start_counter
from pvefi.probe.lines import UP

__all__ = ["BenchError", "Subject", "measure_qemu"]

ONCE = Path(__file__).resolve().parent / "qemu_once.py"
_TIMEOUT = 120.0
_COMMAND_LINE = "console=ttyS0"
_STEADY = " tsc_early_khz={}"
"""Linux 6.1 may wait without end for microvm's timer to calibrate by when the host is busy."""
_SETTLES, _WATCHED = 2.0, 5.0
"""Seconds after user space until the process beside an idle guest is looked at, and for how long."""
_TRIES = 2


@dataclass(frozen=True)
class Subject:
    """What is booted: a Linux kernel and the probe's initrd for it."""

    kernel: Path
    initrd: Path


class BenchError(Exception):
    """A measurement that cannot be made; one line."""


def measure_qemu(subject: Subject, rounds: int, wide: int, say: Callable[[str], None]) -> QemuSamples:
    """Return the samples of `rounds` rounds of what has a target, `wide` of which take all ways."""
    done: list[tuple[QemuBoot, ...]] = []
    busy: list[QemuBoot] = []
    hosts: list[HostSample] = []
    for number in range(1, rounds + 1):
        all_ways = number <= wide
        found = []
        for machine, way, firmware in _kinds(all_ways):
            say(f"QEMU, round {number} of {rounds}: {way} on {machine}")
            found.append(_user_space(subject, machine, way, firmware))
        done.append(tuple(found))
        busy += [_program(build_busy_program(), "--machine", machine) for machine in ("q35", "microvm")]
        if all_ways:
            say(f"QEMU, round {number} of {rounds}: the process beside an idle guest")
            hosts.append(_host(subject))
    say("QEMU: instructions and memory")
    exact = [("--exact", "--machine", machine) for machine in ("q35", "microvm")]
    return QemuSamples(
        rounds=tuple(done),
        busy=tuple(busy),
        start_counts=tuple(_program(build_start_counter(), *words) for words in exact),
        gate_counts=tuple(_program(build_gate_counter(), *words) for words in exact),
        lasting=tuple(
            _boot(subject.kernel, *_with(subject, "q35"), "--until", "handoff", "--profile", profile)
            for profile in ("linux", "minimal")
        ),
        hosts=tuple(hosts),
    )


def _kinds(all_ways: bool) -> Iterator[tuple[str, str, str]]:
    """Yield machine, way and firmware of each boot of a round."""
    for way in ("efi", "qemu-linux", "ovmf"):
        yield "q35", way, "auto"
    yield "microvm", "efi", "auto"
    if not all_ways:
        return
    for machine in MACHINES:
        for way in WAYS:
            had = (machine == "q35" and way in ("efi", "qemu-linux", "ovmf")) or (machine, way) == (
                "microvm",
                "efi",
            )
            if not had and (machine, way) != ("microvm", "ovmf"):  # OVMF is made for PCs
                yield machine, way, "auto"
    for machine in ("q35", "pc"):
        yield machine, "efi", "seabios"


def _with(subject: Subject, machine: str) -> tuple[str, ...]:
    line = _COMMAND_LINE + (_STEADY.format(_counter_khz()) if machine == "microvm" else "")
    return ("--machine", machine, "--initrd", str(subject.initrd), "--cmdline", line)


def _counter_khz() -> int:
    """Return what the guest's time-stamp counter counts in a millisecond: under TCG it is the host's."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            return round(float(value) * 1000)
    raise BenchError("/proc/cpuinfo has no cpu MHz")


def _user_space(subject: Subject, machine: str, way: str, firmware: str) -> QemuBoot:
    """Boot to user space; a second time where the guest has not come as far."""
    for _ in range(_TRIES):
        made = _boot(subject.kernel, *_with(subject, machine), "--way", way, "--firmware", firmware)
        if USER_SPACE in made.milestones:
            return made
    raise BenchError(f"{way} on {machine}: expected user space, found {made.outcome}")


def _program(data: bytes, *words: str) -> QemuBoot:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.efi"
        path.write_bytes(data)
        return _boot(path, "--until", "exit", *words)


def _boot(image: Path, *words: str) -> QemuBoot:
    command = [sys.executable, str(ONCE), str(image), *words]
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{' '.join((image.name, *words))} ended with {done.returncode}: {last}")
    return QemuBoot(**json.loads(done.stdout))


def _host(subject: Subject) -> HostSample:
    """Watch a process `pvefi boot` from outside: to user space, and then beside a guest that waits."""
    command = [sys.executable, "-m", "pvefi", "boot", str(subject.kernel), "--initrd", str(subject.initrd)]
    command += ["--machine", "qemu", "--accel", "tcg", "--cmdline", f"{_COMMAND_LINE} probe=hold"]
    began = time.monotonic()
    with (
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process,
        _ended(process),
    ):
        assert process.stdout is not None
        _read_until(process.stdout.fileno(), UP, began + _TIMEOUT)
        seconds = time.monotonic() - began
        time.sleep(_SETTLES)
        before, since = _cpu_seconds(process.pid), time.monotonic()
        time.sleep(_WATCHED)
        share = (_cpu_seconds(process.pid) - before) / (time.monotonic() - since)
        return HostSample(seconds, _anonymous_memory(process.pid), 100 * share)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End `process`, and with it its guest."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _read_until(descriptor: int, mark: bytes, end: float) -> None:
    seen = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while mark not in seen:
            if not selector.select(max(0.0, end - time.monotonic())):
                raise BenchError("pvefi boot: expected user space, found none in time")
            piece = os.read(descriptor, 65536)
            if not piece:
                raise BenchError("pvefi boot has ended before user space")
            seen = seen[-len(mark) :] + piece


def _cpu_seconds(pid: int) -> float:
    """Return the time that all threads of a process have been on a CPU: proc(5), schedstat."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


def _anonymous_memory(pid: int) -> int:
    """Return RssAnon of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) << 10
    raise BenchError("/proc has no RssAnon: Linux 4.5 or later is needed")

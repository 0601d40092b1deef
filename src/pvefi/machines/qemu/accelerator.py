# SPDX-License-Identifier: GPL-2.0-or-later
"""Chooses how QEMU runs a guest's code, TCG or KVM, by trying instead of guessing.

That /dev/kvm exists says little: there are hosts whose KVM refuses the host's own CPU model, and hosts whose
KVM emulates every instruction and is a hundred times slower than TCG. So a guest of 256 bytes is run.
"""

from __future__ import annotations

import grp
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import MachineError
from pvefi.machines.qemu.installation import Installation
from pvefi.machines.qemu.speed import Speed, measure

__all__ = [
    "ACCELERATORS",
    "Accelerator",
    "Trial",
    "choose_accelerator",
    "decide",
    "speed_text",
    "try_kvm",
    "try_tcg",
]

ACCELERATORS = ("auto", "tcg", "kvm")
"""What `--accel` takes."""

KVM_DEVICE = Path("/dev/kvm")
TCG_CPU = "max"
"""All that TCG can emulate: user space of today demands more than the default model, qemu64, has."""

_KVM_CPUS = ("host", "qemu64")  # the second where the first is refused
_KVM_SECONDS = 1.0  # for all CPU models together
_TCG_SECONDS = 5.0
_NO_EMULATOR = 4e9  # instructions a second: no TCG is that fast, so there is no need to measure it

_FIRST_CPU = 4096  # characters; one CPU takes less than half of that, and all have the same flags


@dataclass(frozen=True)
class Trial:
    """What came out of trying an accelerator: its speed, or why it does not run and what helps."""

    name: str
    cpu: str = ""
    speed: Speed | None = None
    refusal: str = ""
    way_out: str = ""

    @property
    def runs(self) -> bool:
        """Whether a guest ran."""
        return self.speed is not None


@dataclass(frozen=True)
class Accelerator:
    """What to give to QEMU: `-accel name`, `-cpu cpu`; `reason` says why in one line."""

    name: str
    cpu: str
    reason: str


def choose_accelerator(
    wanted: str, qemu: Installation, machine_type: str, device: Path = KVM_DEVICE
) -> Accelerator:
    """Return what `wanted`, one of ACCELERATORS, means here.

    "auto" is KVM where a guest runs on it, faster than on TCG, and TCG otherwise. MachineError when KVM is
    asked for by name and does not run.
    """
    if wanted == "tcg":
        return Accelerator("tcg", TCG_CPU, "TCG, as asked for")
    kvm = try_kvm(qemu, machine_type, device)
    if wanted == "kvm":
        if kvm.speed is None:
            raise MachineError(kvm.refusal, kvm.way_out or "--accel tcg runs everywhere")
        return Accelerator("kvm", kvm.cpu, f"KVM, as asked for ({speed_text(kvm.speed)})")
    if kvm.speed is None or kvm.speed.instructions_per_second >= _NO_EMULATOR:
        return decide(kvm, None)
    return decide(kvm, try_tcg(qemu, machine_type))


def decide(kvm: Trial, tcg: Trial | None) -> Accelerator:
    """Return the better of what was tried; `tcg` is None where it need not be measured."""
    if kvm.speed is None:
        way_out = f" ({kvm.way_out})" if kvm.way_out else ""
        return Accelerator("tcg", TCG_CPU, f"TCG: {kvm.refusal}{way_out}")
    here = speed_text(kvm.speed)
    if tcg is None or tcg.speed is None:
        return Accelerator("kvm", kvm.cpu, f"KVM ({here})")
    if tcg.speed.instructions_per_second > kvm.speed.instructions_per_second:
        return Accelerator("tcg", TCG_CPU, "TCG: KVM is slower here")
    return Accelerator("kvm", kvm.cpu, f"KVM ({here})")


def speed_text(speed: Speed) -> str:
    """Return how fast that is: "1.4 million instructions a second"."""
    rate = speed.instructions_per_second
    unit, word = (1e9, "billion") if rate >= 1e9 else (1e6, "million")
    return f"{rate / unit:.{1 if rate / unit < 100 else 0}f} {word} instructions a second"


def try_tcg(qemu: Installation, machine_type: str) -> Trial:
    """Run a guest on TCG and return what came out."""
    try:
        speed = measure(qemu, machine_type, ("-accel", "tcg", "-cpu", TCG_CPU), _TCG_SECONDS)
    except MachineError as error:
        return Trial("tcg", TCG_CPU, refusal=f"TCG does not run: {error.message}")
    return Trial("tcg", TCG_CPU, speed)


def try_kvm(qemu: Installation, machine_type: str, device: Path = KVM_DEVICE) -> Trial:
    """Run a guest on KVM, with each CPU model until one runs, and return what came out.

    Where this process cannot open `device` nothing is run.
    """
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return _closed(device, error)
    refusal, end = "", time.monotonic() + _KVM_SECONDS
    for cpu in _KVM_CPUS:
        if refusal and time.monotonic() > end - _KVM_SECONDS / 2:
            break  # it has not refused, it hangs
        try:
            speed = measure(qemu, machine_type, ("-accel", "kvm", "-cpu", cpu), end - time.monotonic())
        except MachineError as error:
            refusal = refusal or _refused(error.message)
        else:
            return Trial("kvm", cpu, speed)
    return Trial("kvm", refusal=refusal)


def _refused(message: str) -> str:
    """Return why KVM does not run, given QEMU's own words."""
    if "invalid accelerator" in message:
        return "this QEMU is built without KVM"
    return f"KVM does not run: {message}"


def _closed(device: Path, error: OSError) -> Trial:
    """Return what it means that `device` cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return Trial("kvm", refusal=f"no {device}", way_out=_module())
    if isinstance(error, PermissionError):
        return Trial("kvm", refusal=f"no permission to open {device}", way_out=_permission(device))
    return Trial("kvm", refusal=f"{device} cannot be opened: {error.strerror}")


def _module(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """Return how to get a KVM on a CPU that is made for it, or ""."""
    try:
        with cpu_info.open(encoding="ascii", errors="replace") as file:
            flags = set(file.read(_FIRST_CPU).split())
    except OSError:
        return ""
    modules = {"vmx": "kvm_intel", "svm": "kvm_amd"}
    return next((f"as root: modprobe {modules[flag]}" for flag in modules if flag in flags), "")


def _permission(device: Path) -> str:
    """Return how a user gets to open `device`: by its group, when that has access."""
    try:
        status = device.stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return "as root, see its permissions"
    if status.st_mode & 0o060 == 0o060 and group != "root":
        return f"as root: usermod -aG {group} USER, then log in again"
    return f"as root: chmod 666 {device}"

# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of a QEMU process: pure, from what the guest is to be to a list of words.

Everything that the process shares with its parent is an inherited descriptor, so that nothing has a path or a
port that another process could meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pvefi.guest.mailbox import DOORBELL_PORT
from pvefi.machines.machine import ForeignBoot, Hardware
from pvefi.machines.qemu.ovmf import Ovmf

__all__ = [
    "BLOCKING_PORT",
    "EXACT_EPOCH",
    "EXIT_PORT",
    "Descriptors",
    "MachineType",
    "QemuOptions",
    "qemu_command",
]

EXIT_PORT = DOORBELL_PORT + 2
"""I/O port on which the trampoline ends a machine that nobody looks after; its EXIT_PORT."""
BLOCKING_PORT = DOORBELL_PORT + 1
"""I/O port of the second doorbell, on which the CPU waits; free on q35, pc and microvm."""

EXACT_EPOCH = 1_767_225_600
"""What the clock of an exact run says at its start, in seconds since 1970: the beginning of 2026."""


class MachineType(StrEnum):
    """QEMU's machines on which pvefi's trampoline starts; each has a serial port and an ISA bus."""

    Q35 = "q35"
    PC = "pc"
    MICROVM = "microvm"


@dataclass(frozen=True)
class QemuOptions:
    """How to run QEMU: the program, the machine, how it executes the guest, and what the user adds.

    `accelerator` is tcg or kvm and `cpu` a CPU model, empty for QEMU's default. `firmware` is the name or
    path of what runs first, empty for QEMU's default. With `exact`, time is counted in instructions and every
    run is like the other.
    """

    program: str
    machine_type: MachineType = MachineType.Q35
    accelerator: str = "tcg"
    cpu: str = ""
    firmware: str = ""
    exact: bool = False
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Descriptors:
    """The inherited descriptors by number; None for what this process does without.

    `variables` is a file for the variable store of OVMF. The console without a number is QEMU's standard
    input and output.
    """

    ram: int
    kernel: int
    variables: int
    console: int | None
    monitor: int
    log: int
    doorbell: int | None = None
    blocking: int | None = None
    debugger: int | None = None


def qemu_command(
    options: QemuOptions,
    hardware: Hardware,
    descriptors: Descriptors,
    foreign: ForeignBoot | None = None,
    ovmf: Ovmf | None = None,
    *,
    exit_port: bool = False,
) -> list[str]:
    """Return the words that start QEMU; `foreign` is what goes with a kernel that is not the trampoline.

    That is booted by QEMU's own loader, or by `ovmf`. With `exit_port` a guest that the host has left while
    boot services last can end QEMU.
    """
    words = [
        options.program,
        *("-name", "pvefi"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", _machine(options)),
        *("-accel", options.accelerator),
        *(("-cpu", options.cpu) if options.cpu else ()),
        *("-smp", str(hardware.cpus)),
        *("-m", f"{hardware.memory_size >> 10}k"),
        *("-object", _ram(hardware.memory_size, descriptors.ram)),
        *("-chardev", f"{_console(descriptors.console)},id=console", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={descriptors.monitor}"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-d", "cpu_reset", "-D", _path(descriptors.log)),
        *_doorbells(descriptors),
        *_firmware(options, descriptors, foreign, ovmf),
        *("-kernel", _path(descriptors.kernel)),
        *_command_line(hardware.command_line, foreign),
        *_disks(options.machine_type, hardware.disks),
    ]
    if descriptors.debugger is not None:
        words += ["-chardev", f"socket,id=debugger,fd={descriptors.debugger}", "-gdb", "chardev:debugger"]
    if exit_port:
        words += ["-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"]
    if foreign is not None and not hardware.restarts:  # else pvefi sees BOOT again, and QEMU notes a cause
        words.append("-no-reboot")
    if options.exact:
        words += [
            "-icount",
            "shift=0,sleep=off",
            "-rtc",
            f"base={datetime.fromtimestamp(EXACT_EPOCH, UTC):%Y-%m-%dT%H:%M:%S},clock=vm",
        ]
    if hardware.seed is not None:
        words += ["-seed", str(hardware.seed & 0xFFFFFFFF)]
    return [*words, *options.arguments]


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _console(descriptor: int | None) -> str:
    return "stdio,signal=off" if descriptor is None else f"socket,fd={descriptor}"


def _machine(options: QemuOptions) -> str:
    words: list[str] = [options.machine_type, "memory-backend=ram"]
    if options.machine_type is MachineType.MICROVM:
        # What a kernel expects of a PC, which microvm leaves out or hides in its own kernel command line.
        words += ["isa-serial=on", "rtc=on", "pit=on", "pic=on", "acpi=on", "auto-kernel-cmdline=off"]
    return ",".join(words)


def _ram(size: int, descriptor: int) -> str:
    return f"memory-backend-file,id=ram,size={size},mem-path={_path(descriptor)},share=on"


def _doorbells(descriptors: Descriptors) -> list[str]:
    words = []
    for name, port, descriptor in (
        ("doorbell", DOORBELL_PORT, descriptors.doorbell),
        ("blocking", BLOCKING_PORT, descriptors.blocking),
    ):
        if descriptor is not None:
            words += ["-chardev", f"socket,id={name},fd={descriptor}"]
            words += ["-device", f"isa-debugcon,iobase={port:#x},chardev={name}"]
    return words


def _firmware(
    options: QemuOptions, descriptors: Descriptors, foreign: ForeignBoot | None, ovmf: Ovmf | None
) -> list[str]:
    if ovmf is None:
        return ["-bios", options.firmware] if options.firmware else []
    code = f"format={ovmf.code_format},readonly=on,file={_escaped(ovmf.code)}"
    if foreign is not None and foreign.variables is not None:
        variables = f"format=raw,size={foreign.store_size},file={_escaped(foreign.variables)}"
    else:
        variables = f"format={ovmf.variables_format},file={_path(descriptors.variables)}"
    return ["-drive", f"if=pflash,{code}", "-drive", f"if=pflash,{variables}"]


def _command_line(text: str, foreign: ForeignBoot | None) -> list[str]:
    if foreign is None:
        return ["-append", text] if text else []
    initrd = ["-initrd", str(foreign.initrd)] if foreign.initrd is not None else []
    return [*initrd, "-append", foreign.command_line]


def _disks(machine_type: MachineType, disks: tuple[Path, ...]) -> list[str]:
    words = []
    device = "virtio-blk-device" if machine_type is MachineType.MICROVM else "virtio-blk-pci"
    if disks and machine_type is MachineType.MICROVM:
        words += ["-global", "virtio-mmio.force-legacy=false"]
    for number, disk in enumerate(disks):
        kind = "qcow2" if disk.suffix == ".qcow2" else "raw"
        words += ["-drive", f"if=none,id=disk{number},format={kind},file={_escaped(disk)}"]
        words += ["-device", f"{device},drive=disk{number}"]
    return words


def _escaped(path: Path) -> str:
    """Return `path` as a value of a QEMU option: a comma is written twice."""
    return str(path.absolute()).replace(",", ",,")

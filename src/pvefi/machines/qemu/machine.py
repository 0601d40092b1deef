# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts QEMU with the trampoline as its kernel: no firmware of ours, and no EFI, in the guest."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from pvefi.errors import UsageError
from pvefi.guest.trampoline import Trampoline, load_trampoline
from pvefi.machines.machine import ForeignBoot, ForeignWay, Hardware, Keyboard
from pvefi.machines.qemu.command import BLOCKING_PORT, EXACT_EPOCH, MachineType, QemuOptions, qemu_command
from pvefi.machines.qemu.guest import QemuGuest
from pvefi.machines.qemu.ovmf import find_ovmf
from pvefi.machines.qemu.process import QemuProcess, Shared, start_process
from pvefi.machines.qemu.tsc import tsc_khz

__all__ = ["QemuMachine"]

_PAGE = 4096
_WORD_AT_MOST = 32 * _PAGE  # linux/binfmts.h, MAX_ARG_STRLEN


class QemuMachine:
    """`qemu-system-x86_64`, run as `options` say; `about` describes it in a line.

    A guest waits `patience` seconds for an answer. With `outlives` it lives on when pvefi ends, once boot
    services have ended.
    """

    name = "qemu"
    runs_kernels = True
    watches = True
    console = "ttyS0"
    extra_version = ""

    def __init__(
        self, options: QemuOptions, about: str = "", *, patience: float = 30.0, outlives: bool = False
    ) -> None:
        if {"-daemonize", "--daemonize"} & set(options.arguments):
            raise UsageError("expected a QEMU that stays pvefi's child, found -daemonize for it")
        self.options = options
        self.about = about or f"{options.program}, {options.machine_type}, {options.accelerator}"
        self.epoch = EXACT_EPOCH if options.exact else None
        self._patience = patience
        self._outlives = outlives

    def kernel_argument(self) -> str:
        """Return how fast the time-stamp counter runs, where a kernel has but one chance to find out.

        On microvm that is by the 8254, right at its start: ACPI there has no other timer. When the host takes
        the CPU away meanwhile, the kernel goes without, and waits for ever for the first tick of a clock.
        """
        options = self.options
        if options.machine_type is not MachineType.MICROVM or options.accelerator != "tcg" or options.exact:
            return ""
        rate = tsc_khz()
        return f"tsc_early_khz={rate}" if rate else ""

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> QemuGuest:
        """Start QEMU and return the guest, on its way to the trampoline; see `Machine.start`."""
        _check_memory(hardware.memory_size, max(part.end for part in trampoline.segments))
        _check_disks(hardware.disks)
        _check_command_line(hardware.command_line)
        exact = self.options.exact
        if exact:
            trampoline = trampoline.with_word("blocking_port", BLOCKING_PORT)
        process, shared = start_process(
            hardware.memory_size,
            trampoline.elf,
            b"",
            partial(qemu_command, self.options, hardware, exit_port=self._outlives),
            blocking=exact,
            debugger=hardware.watched,
            outlives=self._outlives,
        )
        with _ended_on_failure(process, shared):
            return QemuGuest(
                process,
                shared,
                trampoline,
                console,
                keyboard,
                restarts=hardware.restarts,
                patience=0 if exact else self._patience,
                outlives=self._outlives,
                exact=exact,
            )

    def start_foreign(
        self,
        boot: ForeignBoot,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> QemuGuest:
        """Let QEMU's own loader, or OVMF, boot a kernel; see `Machine.start_foreign`."""
        if boot.way in (ForeignWay.XEN_PVH, ForeignWay.XEN_PV):
            raise UsageError(f"{boot.way} expects Xen, found QEMU", "--machine xen")
        _check_memory(hardware.memory_size, _PAGE)
        _check_disks(hardware.disks)
        ovmf = None
        options = self.options
        if boot.way is ForeignWay.OVMF:
            if options.machine_type is MachineType.MICROVM:
                raise UsageError("OVMF expects a PC, found microvm", "--qemu-machine q35 or pc")
            ovmf = find_ovmf(options.machine_type, store_size=boot.store_size)
        elif boot.way is ForeignWay.LINUX:
            options = replace(options, firmware="")  # the 16-bit entry wants a whole BIOS
        process, shared = start_process(
            hardware.memory_size,
            boot.kernel,
            ovmf.variables.read_bytes() if ovmf and boot.variables is None else b"",
            partial(qemu_command, options, hardware, foreign=boot, ovmf=ovmf),
            doorbell=False,
        )
        with _ended_on_failure(process, shared):
            return QemuGuest(
                process,
                shared,
                load_trampoline(),
                console,
                keyboard,
                restarts=hardware.restarts,
                patience=0,
                outlives=False,
                exact=False,
            )


def _check_memory(size: int, wanted: int) -> None:
    """Refuse less memory than what `wanted` says, and what is no whole number of pages; UsageError."""
    if size < wanted:
        mebibytes = -(-wanted >> 20)
        raise UsageError(
            f"expected at least {mebibytes} MiB of memory, found {size:#x} bytes",
            f"give --memory {mebibytes}M or more",
        )
    if size % _PAGE:
        raise UsageError(f"expected memory in whole pages of 4 KiB, found {size:#x} bytes", "round --memory")


def _check_disks(disks: tuple[Path, ...]) -> None:
    """Refuse what QEMU would wait for without end, or cannot write to; UsageError."""
    for disk in disks:
        try:
            kind = disk.stat().st_mode
        except OSError as error:
            raise UsageError(f"{disk}: {error.strerror}", "--disk") from error
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise UsageError(f"{disk}: expected a file or a block device for a disk, found neither", "--disk")
        if not os.access(disk, os.R_OK | os.W_OK):
            raise UsageError(f"{disk}: no permission to read and write it", "--disk")


def _check_command_line(text: str) -> None:
    """Refuse what does not fit into a word of QEMU's own command line; UsageError."""
    size = len(text.encode())
    if size >= _WORD_AT_MOST:
        raise UsageError(
            f"expected a command line of less than {_WORD_AT_MOST >> 10} KiB, found {size} bytes"
        )


@contextmanager
def _ended_on_failure(process: QemuProcess, shared: Shared) -> Iterator[None]:
    """End what was started unless the block ends well."""
    try:
        yield
    except BaseException:
        process.close()
        shared.close()
        raise

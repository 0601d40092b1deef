# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts QEMU with the trampoline as its kernel: no firmware of ours, and no EFI, in the guest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pvefi.guest.trampoline import Trampoline
from pvefi.machines.machine import Hardware, Keyboard
from pvefi.machines.qemu.command import BLOCKING_PORT, QemuOptions, qemu_command
from pvefi.machines.qemu.guest import QemuGuest
from pvefi.machines.qemu.process import start_process

__all__ = ["QemuMachine"]


class QemuMachine:
    """`qemu-system-x86_64`, run as `options` say; `about` describes it in a line.

    A guest waits `patience` seconds for an answer. With `outlives` it lives on when pvefi ends.
    """

    name = "qemu"
    runs_kernels = True

    def __init__(
        self, options: QemuOptions, about: str = "", *, patience: float = 30.0, outlives: bool = False
    ) -> None:
        self.options = options
        self.about = about or f"{options.program}, {options.machine_type}, {options.accelerator}"
        self._patience = patience
        self._outlives = outlives

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> QemuGuest:
        """Start QEMU and return the guest, on its way to the trampoline; see `Machine.start`."""
        exact = self.options.exact
        if exact:
            trampoline = trampoline.with_word("blocking_port", BLOCKING_PORT)
        process, shared = start_process(
            hardware.memory_size,
            trampoline.elf,
            partial(qemu_command, self.options, hardware),
            blocking=exact,
            debugger=hardware.watched,
            outlives=self._outlives,
        )
        return QemuGuest(
            process,
            shared,
            trampoline,
            console,
            keyboard,
            restarts=hardware.restarts,
            patience=0 if exact else self._patience,
            outlives=self._outlives,
        )

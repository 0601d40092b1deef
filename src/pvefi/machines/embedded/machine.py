# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds an embedded guest: RAM of its own, the trampoline in it, the CPU in the PVH state."""

from __future__ import annotations

from collections.abc import Callable

from pvefi.errors import MachineError, UsageError
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.embedded.guest import EmbeddedGuest
from pvefi.machines.embedded.platform import RamLayout, ram_layout, start_info
from pvefi.machines.host_memory import map_private_ram
from pvefi.machines.machine import ForeignBoot, Hardware, Keyboard
from pvefi.memory import GuestMemory, RamBlock

__all__ = ["EmbeddedMachine"]


class EmbeddedMachine:
    """The unicorn CPU emulator as a PVH machine."""

    name = "embedded"
    runs_kernels = False
    watches = True
    console = "ttyS0"
    extra_version = ""
    epoch = None
    _guest: type[EmbeddedGuest] = EmbeddedGuest

    @property
    def about(self) -> str:
        """The CPU emulator's version."""
        from importlib.metadata import version  # weighs 3 MB, for a process that serves a guest on Xen

        return f"unicorn {version('unicorn')}"

    def kernel_argument(self) -> str:
        """Return nothing: a kernel is not run here."""
        return ""

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> EmbeddedGuest:
        """Return a guest that stands at the trampoline's entry; see `Machine.start`."""
        if hardware.disks:
            raise UsageError(
                "expected a machine with disks, found the embedded one", "--machine qemu has them"
            )
        if hardware.cpus != 1:
            raise UsageError(
                f"expected one CPU, all that the embedded machine has, found {hardware.cpus}",
                "--machine qemu has more",
            )
        layout = ram_layout(hardware.memory_size)
        memory = _memory(layout, hardware.memory_size)
        for segment in trampoline.segments:
            memory.write(segment.address, segment.data)
        info_address, info = start_info(layout, hardware.command_line)
        memory.write(info_address, info)
        try:
            from pvefi.machines.embedded.engine import Engine
        except ImportError as error:
            raise MachineError(
                f"the embedded machine expects the unicorn CPU emulator, found none: {error}",
                "pip install unicorn",
            ) from error
        engine = Engine(memory)
        engine.enter_protected_mode(trampoline.entry, info_address)
        mailbox = memory.view(*trampoline.mailbox)
        return self._guest(engine, memory, mailbox, hardware, console)

    def start_foreign(
        self,
        boot: ForeignBoot,
        _hardware: Hardware,
        _console: Callable[[bytes], None],
        _keyboard: Keyboard | None = None,
    ) -> EmbeddedGuest:
        """Refuse: there is no other loader here."""
        raise UsageError(
            f"{boot.way} expects a machine with a loader of its own, found the embedded one",
            "--machine qemu has them",
        )


def _memory(layout: RamLayout, memory_size: int) -> GuestMemory:
    ram = map_private_ram(memory_size)
    return GuestMemory(
        RamBlock(address, ram[offset : offset + size]) for address, size, offset in layout.blocks
    )

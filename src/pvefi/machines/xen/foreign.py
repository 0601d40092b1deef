# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that xl starts by itself, for comparison: by the kernel's PVH note, or as a PV guest."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence

from pvefi.errors import MachineError, UsageError
from pvefi.machines.machine import ForeignBoot, ForeignWay, Hardware, Keyboard
from pvefi.machines.serial_port import SerialPort
from pvefi.machines.xen.console import XenConsole, hear_last_words
from pvefi.machines.xen.domain import Domain, create_paused
from pvefi.machines.xen.domain_guest import GuestOfDomain
from pvefi.machines.xen.ends import DomainEnd, end_stop
from pvefi.machines.xen.options import XenOptions
from pvefi.machines.xen.private_file import private_file
from pvefi.memory import GuestMemory
from pvefi.spec.xen.start_info import HvmMemmapTableEntry

__all__ = ["ForeignXenGuest", "start_foreign"]

_KINDS = {ForeignWay.XEN_PVH: "pvh", ForeignWay.XEN_PV: "pv"}


def start_foreign(
    options: XenOptions,
    boot: ForeignBoot,
    hardware: Hardware,
    console: Callable[[bytes], None],
    keyboard: Keyboard | None = None,
) -> ForeignXenGuest:
    """Have xl make a domain of the kernel; see `Machine.start_foreign`.

    UsageError when it cannot load the kernel, or this machine has no such way.
    """
    if boot.way not in _KINDS:
        raise UsageError(f"expected xen-pvh or xen-pv on Xen, found {boot.way}", "--machine qemu has it")

    def make() -> Domain:
        with private_file(boot.kernel) as kernel:
            config = options.directly(
                _KINDS[boot.way], kernel, boot.initrd and boot.initrd.absolute(), boot.command_line, hardware
            )
            try:
                return create_paused(config, options.root)
            except MachineError as error:
                if not error.way_out and re.search(r"x[cg]_dom|kernel", error.message):
                    raise UsageError(
                        f"Xen cannot load the kernel: {error.message}",
                        "Xen's own loader knows few compressions, --entry efi takes every one",
                    ) from error
                raise

    return ForeignXenGuest(make, console, keyboard, restarts=hardware.restarts)


class ForeignXenGuest(GuestOfDomain):
    """See `Guest` for what each method promises; no doorbell rings, and no CPU can be looked at.

    `make` makes the domain, and makes it anew when the guest has reset.
    """

    def __init__(
        self,
        make: Callable[[], Domain],
        console: Callable[[bytes], None],
        keyboard: Keyboard | None,
        *,
        restarts: bool,
    ) -> None:
        super().__init__(patience=0)
        self.memory = GuestMemory(())
        self._make = make
        self._restarts = restarts
        self._listens = False
        self._runs = False
        self._owned = True
        self._domain = make()
        try:
            terminal = XenConsole(self._domain.console())
            self._serial = SerialPort(terminal, self._readiness, console, keyboard, self._leave)
            self._readiness.watch(self._domain.fileno(), self._told)
        except BaseException:
            self._leave_domain()
            raise

    def detach(self) -> None:
        """Do nothing: a doorbell that nobody rings costs nothing."""

    def ram(self, memory_map: Sequence[HvmMemmapTableEntry]) -> GuestMemory:
        """Return what is seen of the guest's memory: nothing."""
        return self.memory

    @property
    def _ending(self) -> Domain:
        return self._domain

    def _go_on(self) -> None:
        if not self._runs:
            self._runs = True
            self._domain.unpause()

    def _told(self) -> None:
        """See whether the domain has ended."""
        self._domain.seen()
        if self._domain.end() is not None:
            self._ended()

    def _ended(self) -> None:
        end = self._domain.end()
        assert end is not None, "it was seen to have ended"
        hear_last_words(self._domain.console(), self._serial, self._readiness)
        stop = end_stop(end, restarts=self._restarts)
        self._owned = end is not DomainEnd.SUSPENDED  # it is whose who saves it now
        if stop is not None or self._stop is not None:
            self._over = stop
            self._readiness.forget(self._domain.fileno())
            return
        self._serial.disconnect()
        self._leave_domain()
        self._domain = self._make()
        self._serial.connect(XenConsole(self._domain.console()))
        self._readiness.watch(self._domain.fileno(), self._told)
        if self._listens:
            self._serial.listen()
        self._domain.unpause()

    def _leave_domain(self) -> None:
        """Destroy the domain and let go of it."""
        with contextlib.ExitStack() as ends:
            ends.callback(self._domain.close)
            if self._owned:
                ends.callback(self._domain.destroy)
            self._readiness.forget(self._domain.fileno())

    def listen(self) -> None:
        """Give the guest what there is to read, also after a reset; see `Guest.listen`."""
        self._listens = True
        super().listen()

    def close(self) -> None:
        """Destroy the domain, unless somebody saves it; MachineError when it is still there."""
        self._leave_domain()

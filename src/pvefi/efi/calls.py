# SPDX-License-Identifier: GPL-2.0-or-later
"""What Firmware keeps of the calls that are under way, and how it sees memory for whom it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.service import Service, Steps
from pvefi.efi.staging import StagedMemory
from pvefi.guest.mailbox import Answer, Function, Request
from pvefi.memory import GuardedMemory, Memory, NamedRange, VirtualMemory

__all__ = ["Call", "Pending", "Views"]

_PAGE_TABLE = 0x000F_FFFF_FFFF_F000  # the physical address in CR3, Intel SDM vol. 3A §2.5


@dataclass(slots=True)
class Call:
    """One service call while it is served; `host` counts the seconds spent on it so far."""

    index: int
    service: Service[..., Any]
    registers: tuple[int, int, int, int]
    depth: int
    instructions: int | None
    values: list[Any] = field(default_factory=list)
    host: float = 0.0


@dataclass(slots=True)
class Pending:
    """A generator that waits for the guest; `frame` is its upcall's frame once the guest has told it.

    `ends_by` is what the guest rings when it has done what the generator asked for. `cr3` is its caller's, of
    one that waits after ExitBootServices.
    """

    steps: Steps[Any]
    finish: Callable[[Any], Answer]
    call: Call | None
    tag: int = 0
    entered: bool = False
    frame: int | None = None
    ends_by: Function = Function.UPCALL_RETURN
    cr3: int | None = None

    def left(self, request: Request) -> bool:
        """Whether the CPU that was to go on with this has stopped for good: who calls now is another.

        After ExitBootServices there is one call at a time (UEFI 2.10 §8.1). Only whom SetVirtualAddressMap()
        notifies may call within it: with the same page tables, on the same stack below the upcall's frame.
        """
        if self.cr3 is None:
            return False
        within = request.cr3 == self.cr3 and request.rsp < (self.frame or 0)
        return self.ends_by is Function.DONE or not within


class Views:
    """Guest memory as the callers of one guest see it."""

    def __init__(self) -> None:
        self._owned: dict[Phase, tuple[NamedRange, ...]] = {}

    def forget(self) -> None:
        """Begin anew, with the guest."""
        self._owned.clear()

    def seen_by(self, efi: Environment, request: Request) -> Memory:
        """Return memory as the caller sees it: its pointers are virtual once it has its own page tables.

        After ExitBootServices the host itself stores nothing there: the guest does, when it has its answer.
        """
        runtime = efi.phase is Phase.RUNTIME  # from then on no body reads anything after an upcall
        # The trampoline's own map is one to one, in memory which the guest may use otherwise from then on.
        own = not runtime and request.cr3 & _PAGE_TABLE == efi.trampoline.symbols["page_map_level4"]
        seen = GuardedMemory(
            efi.physical if own else VirtualMemory(efi.physical, request.cr3, request.cr4, steady=runtime),
            self._own(efi),
        )
        return StagedMemory(seen) if runtime else seen

    def _own(self, efi: Environment) -> tuple[NamedRange, ...]:
        """Return the memory in which a call that stores something can only mean harm.

        Not so the tables and interfaces of boot services, which are the guest's to change, nor its stack.
        """
        found = self._owned.get(efi.phase)
        if found is None:
            names = (".gates", ".mailbox") if efi.phase is Phase.RUNTIME else (".gates", ".mailbox", ".boot")
            parts = (efi.trampoline.segment(name) for name in names)
            found = tuple(NamedRange(part.name, part.address, part.size) for part in parts)
            self._owned[efi.phase] = found
        return found

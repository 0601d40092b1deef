# SPDX-License-Identifier: GPL-2.0-or-later
"""What one process that serves a guest leaves to the next, and how the next begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pvefi.efi.environment import Surroundings
from pvefi.efi.firmware import Firmware
from pvefi.efi.heir import Heir
from pvefi.efi.resume import SavedEfi, resumed
from pvefi.errors import PvefiError
from pvefi.guest.mailbox import Mailbox
from pvefi.guest.trampoline import Trampoline
from pvefi.machines import Guest

__all__ = ["Legacy", "ending", "take_over"]


@dataclass(frozen=True)
class Legacy:
    """What one process that serves a guest leaves to the next.

    `keep` takes what of its EFI the next one needs, None for nothing. Where the guest is one that another
    process has served, `taken_over`, `found` is what that has kept. `variables` is a file that keeps them
    from one process to the next, where the user named none.
    """

    keep: Callable[[SavedEfi | None], None]
    found: Callable[[Trampoline], SavedEfi | None]
    taken_over: bool
    variables: Path | None = None


@contextmanager
def ending(guest: Guest, legacy: Legacy | None) -> Iterator[None]:
    """End the guest at the end; not where a bug ends this process and another one can go on."""
    try:
        yield
    except Exception as error:
        if legacy is None or isinstance(error, PvefiError):
            guest.close()
        raise
    except BaseException:
        guest.close()
        raise
    guest.close()


def take_over(
    guest: Guest,
    firmware: Firmware,
    mailbox: Mailbox,
    trampoline: Trampoline,
    surroundings: Surroundings,
    legacy: Legacy,
) -> None:
    """Go on with a guest where the process that served it has left it."""
    seq, done = mailbox.calls()
    if seq == 0 or (seq == 1 and done == 0):
        return  # it has still to ring for the first time, or waits for just that
    saved = legacy.found(trampoline)
    efi = None
    if saved is not None and saved.runtime:
        efi = resumed(saved, guest.ram(saved.memmap), trampoline, surroundings)
        guest.listen()
    firmware.take_over(Heir.of(saved, seq, done), efi, saved.calls if saved is not None else 0, done)

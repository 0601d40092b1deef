# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls the notify functions of signalled events in the guest — UEFI 2.10 §7.1."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.events import Notification
from pvefi.efi.service import Steps
from pvefi.guest.mailbox import Upcall

__all__ = ["notify_due"]


def notify_due(efi: Environment, first: Notification | None = None) -> Steps[None]:
    """Call every notify function that is due above the current TPL, `first` before the others."""
    efi.events.expire()
    while notification := first or efi.events.next_notification():
        first = None
        with efi.events.at(notification.tpl):
            yield Upcall(notification.function, (notification.event, notification.context))

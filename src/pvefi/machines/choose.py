# SPDX-License-Identifier: GPL-2.0-or-later
"""Which machines there are, and which one `auto` means here."""

from __future__ import annotations

from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.machine import Machine

__all__ = ["MACHINES", "choose_machine"]

MACHINES = ("auto", "embedded")
"""What `--machine` takes."""


def choose_machine(_name: str) -> Machine:
    """Return the machine called `name`, one of MACHINES."""
    return EmbeddedMachine()

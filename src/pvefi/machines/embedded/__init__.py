# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that is always there: the unicorn CPU emulator, from a wheel.

It runs any entry up to the kernel proper. There is no interrupt controller and no timer, so the kernel proper
is not its job: the hand-off is this machine's stated end.
"""

from pvefi.machines.embedded.machine import EmbeddedMachine

__all__ = ["EmbeddedMachine"]

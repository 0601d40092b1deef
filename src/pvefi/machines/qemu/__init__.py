# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that QEMU is: any QEMU from 7.2 on, emulating (TCG) or on the host's CPU (KVM)."""

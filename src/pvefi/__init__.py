# SPDX-License-Identifier: GPL-2.0-or-later
"""pvefi boots unmodified kernels through their EFI entry, with the EFI environment outside the guest."""

__version__ = "0.1.0"

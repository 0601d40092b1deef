# SPDX-License-Identifier: GPL-2.0-or-later
"""Structures that pvefi itself defines for guests, documented in docs/hypervisor-information.md."""

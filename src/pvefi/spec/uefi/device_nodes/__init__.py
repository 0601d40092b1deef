# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands in the nodes of device paths, and how text names it — UEFI 2.10 §10.3 and §10.6.1.6."""

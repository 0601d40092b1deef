# SPDX-License-Identifier: GPL-2.0-or-later
"""The runtime services, one module a section of UEFI 2.10 §8."""

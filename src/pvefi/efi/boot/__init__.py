# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot services, one module a section of UEFI 2.10 §7."""

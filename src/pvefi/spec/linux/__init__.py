# SPDX-License-Identifier: GPL-2.0-or-later
"""Structures and constants of the Linux x86 boot protocol."""

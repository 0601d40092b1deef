# SPDX-License-Identifier: GPL-2.0-or-later
"""Structures and constants of the Xen public headers."""

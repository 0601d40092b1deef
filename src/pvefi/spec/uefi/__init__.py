# SPDX-License-Identifier: GPL-2.0-or-later
"""Structures, GUIDs, statuses and constants of the UEFI specification."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""What people and programs read: terminal and JSON."""

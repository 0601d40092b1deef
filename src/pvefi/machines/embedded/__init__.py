# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that is always there: the unicorn CPU emulator."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents say, and no behaviour: structures, GUIDs, constants, each with its citation."""

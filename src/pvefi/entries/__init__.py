# SPDX-License-Identifier: GPL-2.0-or-later
"""One file an entry: what state it demands, and what it writes."""

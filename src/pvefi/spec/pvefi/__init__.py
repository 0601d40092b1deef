# SPDX-License-Identifier: GPL-2.0-or-later
"""What pvefi itself defines: the information for guests, and the variables of its own."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""What an evaluation's results say: each module makes one section of the report, and runs nothing."""

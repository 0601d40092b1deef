# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a guest runs; a machine offers memory, a start and stops, and knows nothing of EFI."""

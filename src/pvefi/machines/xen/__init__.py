# SPDX-License-Identifier: GPL-2.0-or-later
"""A PVH guest of Xen, with pvefi in dom0 as the device model behind its doorbell."""

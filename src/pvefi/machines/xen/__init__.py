# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that Xen is: a guest of type PVH beside a control domain, whose device model pvefi is."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Where variables are kept: stores that put and get, and know nothing of what may be put and who may get."""

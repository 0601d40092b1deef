# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocols that the environment itself produces."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes sections as documents: HTML, Markdown and JSON; what they say was decided before."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""SBAT metadata: which component a PE image is, and its security generation.

Source: shim SBAT.md "Generation-Based Revocation Metadata".
"""

from __future__ import annotations

__all__ = ["FIELDS", "SECTION"]

SECTION = ".sbat"
FIELDS = (
    "component_name",
    "component_generation",
    "vendor_name",
    "vendor_package_name",
    "vendor_version",
    "vendor_url",
)
"""The comma-separated fields of a line, in UTF-8."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns a file into an `Image`: containers, entries, notes. Pure: nothing here runs or places anything."""

from __future__ import annotations

from pvefi.image.inspection import inspect
from pvefi.image.model import AddressKind, Decompressor, Entry, EntryKind, Image

__all__ = ["AddressKind", "Decompressor", "Entry", "EntryKind", "Image", "inspect"]

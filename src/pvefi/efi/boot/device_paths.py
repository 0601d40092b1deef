# SPDX-License-Identifier: GPL-2.0-or-later
"""The search for the handle whose device path leads furthest along another — UEFI 2.10 §7.3.8."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.layout import Guid
from pvefi.spec.uefi.device_path import Beginnings, read_at_most
from pvefi.spec.uefi.guids import DEVICE_PATH_PROTOCOL

__all__ = ["longest_match"]


def longest_match(efi: Environment, protocol: Guid, wanted: bytes) -> tuple[int, int] | None:
    """Return the size of the match, without its end node, and the handle with `protocol`; None for none.

    Handles whose device path is none, or no memory, are passed over. Of two with one device path the older
    wins: EDK2's order, too. What a guest wrote over a path since it installed it counts, so that nothing is
    kept from one search to the next. DevicePathError when `wanted` is no device path.
    """
    beginnings = Beginnings(wanted)
    seen: set[int] = set()
    best: tuple[int, int] | None = None
    for handle in efi.handles.handles_with(protocol):
        interface = efi.handles.interface(handle, DEVICE_PATH_PROTOCOL)
        if not interface or interface in seen:
            continue
        seen.add(interface)
        size = beginnings.size(read_at_most(efi.memory, interface, beginnings.read_size))
        if size is not None and (best is None or size > best[0]):
            best = size, handle
    return best

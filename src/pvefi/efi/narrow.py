# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes services and protocols away from an environment that is in use, as if it had never had them."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.profiles import Profile
from pvefi.efi.startup import runtime_properties
from pvefi.spec.uefi import guids

__all__ = ["narrow"]


def narrow(efi: Environment, profile: Profile) -> None:
    """Give `efi` a profile that offers no more than the one it has, and that stays as long.

    It is then as one that has begun with `profile`, but that handles and tables stand where they stood. It is
    for a guest that has neither asked for nor called what is taken away. A guest that
    has read RT_PROPERTIES_TABLE before has read what it said then, which a whole boot would not have told it.
    ValueError for a profile that offers more.
    """
    before = efi.profile
    if profile.stays != before.stays or profile.services - before.services:
        raise ValueError(f"{profile.name} offers what {before.name} does not")
    if profile.protocols - before.protocols:
        raise ValueError(f"{profile.name} offers a protocol that {before.name} does not")
    own = [*efi.boot_arena.ranges, *efi.runtime_arena.ranges]
    for guid in before.protocols - profile.protocols:
        for handle in efi.handles.handles_with(guid):
            interface = efi.handles.interface(handle, guid) or 0
            if any(part.address <= interface < part.end for part in own):  # else it is the guest's
                efi.handles.withdraw(handle, guid)
    efi.profile = profile
    for guid, address in efi.tables.configuration_tables:
        if guid == guids.RT_PROPERTIES_TABLE:
            efi.physical.write(address, runtime_properties(profile).pack())
    input_handle, con_in, output_handle, con_out = efi.tables.consoles
    if not profile.has_interface(guids.SIMPLE_TEXT_INPUT_PROTOCOL):
        input_handle = con_in = 0
    if not profile.has_interface(guids.SIMPLE_TEXT_OUTPUT_PROTOCOL):
        output_handle = con_out = 0
    efi.tables.use_console(input_handle, con_in, output_handle, con_out)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol twin of the hypervisor's configuration table; the table itself is in test_startup.py."""

from __future__ import annotations

import pytest

from pvefi.efi.protocols import hypervisor_information
from pvefi.spec.uefi import guids
from tests.efi.test_startup import Started


@pytest.mark.parametrize(("profile", "offered"), [("linux", True), ("minimal", False)])
def test_an_image_s_handle_has_it_where_the_profile_offers_it(profile: str, offered: bool) -> None:
    started = Started(profile=profile)
    efi = started.efi
    handle = efi.handles.install(0, guids.LOADED_IMAGE_PROTOCOL, 0)
    hypervisor_information.install_protocol(efi, handle, started.information)
    found = efi.handles.interface(handle, guids.PVEFI_HYPERVISOR_INFORMATION)
    assert found == (started.information if offered else None)


@pytest.mark.parametrize("profile", ["linux", "minimal"])
def test_every_profile_has_the_table(profile: str) -> None:
    started = Started(profile=profile)
    assert started.tables[guids.PVEFI_HYPERVISOR_INFORMATION] == started.information

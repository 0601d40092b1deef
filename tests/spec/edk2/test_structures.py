# SPDX-License-Identifier: GPL-2.0-or-later
"""edk2's structures as they stand in a store that OVMF's build made."""

from __future__ import annotations

import binascii

from pvefi.spec.edk2.fault_tolerant_write import WORKING_BLOCK_SIGNATURE, FaultTolerantWorkingBlockHeader
from pvefi.spec.edk2.firmware_volume import FVH_SIGNATURE, SYSTEM_NV_DATA_FV, FirmwareVolumeHeader
from pvefi.spec.edk2.ovmf import OVMF_LAYOUTS
from pvefi.spec.edk2.variable_store import AUTHENTICATED_VARIABLE_STORE, VariableStoreHeader
from tests.conftest import RealFiles

FILES = {"4M": "OVMF_VARS_4M.fd", "2M": "OVMF_VARS.fd"}


def test_the_headers_of_debian_s_stores_are_what_is_declared(corpus: RealFiles) -> None:
    for layout in OVMF_LAYOUTS:
        image = corpus.file("ovmf", f"usr/share/OVMF/{FILES[layout.name]}").read_bytes()
        assert len(image) == layout.size == layout.spare_offset + layout.spare_size
        volume = FirmwareVolumeHeader.unpack(image)
        assert (volume.signature, volume.file_system_guid) == (FVH_SIGNATURE, SYSTEM_NV_DATA_FV)
        assert volume.volume_length == layout.size
        assert volume.block_map[0].length == layout.block_size
        assert volume.pack() == image[: volume.SIZE]
        store = VariableStoreHeader.unpack(image, volume.header_length)
        assert store.signature == AUTHENTICATED_VARIABLE_STORE
        assert volume.header_length + store.size == layout.store_size
        working = FaultTolerantWorkingBlockHeader.unpack(image, layout.working_offset)
        assert working.signature == WORKING_BLOCK_SIGNATURE
        assert working.SIZE + working.write_queue_size == layout.working_size


def test_the_working_block_s_checksum_leaves_itself_and_the_state_out(corpus: RealFiles) -> None:
    (layout, _) = OVMF_LAYOUTS
    image = bytearray(corpus.file("ovmf", f"usr/share/OVMF/{FILES[layout.name]}").read_bytes())
    header = FaultTolerantWorkingBlockHeader.unpack(image, layout.working_offset)
    raw = bytearray(header.pack())
    first = header.offset_of("crc")
    raw[first : header.offset_of("reserved")] = b"\xff" * (header.offset_of("reserved") - first)
    assert binascii.crc32(raw) == header.crc

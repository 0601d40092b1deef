# SPDX-License-Identifier: GPL-2.0-or-later
"""BIOS Enhanced Disk Drive data, as setup code leaves it in boot_params.

Source: Linux include/uapi/linux/edd.h. pvefi has no BIOS: only the sizes matter, and zero stays zero.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U8, U16, U32, U64, Bytes, Structure, layout

__all__ = ["EddDeviceParams", "EddInfo", "MAX_EDD_INFOS", "MAX_MBR_SIGNATURES"]

MAX_EDD_INFOS = 6  # EDDMAXNR
MAX_MBR_SIGNATURES = 16  # EDD_MBR_SIG_MAX


@layout(size=74)
class EddDeviceParams(Structure):
    """struct edd_device_params, its two unions as bytes."""

    length: U16
    info_flags: U16
    num_default_cylinders: U32
    num_default_heads: U32
    sectors_per_track: U32
    number_of_sectors: U64
    bytes_per_sector: U16
    dpte_ptr: U32
    key: U16
    device_path_info_length: U8
    reserved2: U8
    reserved3: U16
    host_bus_type: Annotated[bytes, Bytes(4)]
    interface_type: Annotated[bytes, Bytes(8)]
    interface_path: Annotated[bytes, Bytes(8)]
    device_path: Annotated[bytes, Bytes(16)]
    reserved4: U8
    checksum: U8


@layout(size=82)
class EddInfo(Structure):
    """struct edd_info."""

    device: U8
    version: U8
    interface_support: U16
    legacy_max_cylinder: U16
    legacy_max_head: U8
    legacy_sectors_per_track: U8
    params: EddDeviceParams

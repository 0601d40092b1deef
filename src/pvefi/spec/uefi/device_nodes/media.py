# SPDX-License-Identifier: GPL-2.0-or-later
"""Media nodes of device paths, and those of the BIOS boot specification — UEFI 2.10 §10.3.5, §10.3.6."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.layout import U8, U16, U32, U64, Guid, OpenEnum, Structure, layout
from pvefi.spec.uefi.device_nodes.hardware import vendor
from pvefi.spec.uefi.device_nodes.spelling import (
    Spelling,
    ascii_text,
    begins,
    guid_alone,
    utf16_text,
    whole,
)

__all__ = ["BBS_SPELLINGS", "SPELLINGS", "MediaSubtype"]


class MediaSubtype(OpenEnum):
    """Subtypes of media nodes — UEFI 2.10 §10.3.5."""

    HARD_DRIVE = 1
    CD_ROM = 2
    VENDOR = 3
    FILE_PATH = 4
    PROTOCOL = 5
    FIRMWARE_FILE = 6
    FIRMWARE_VOLUME = 7
    RELATIVE_OFFSET_RANGE = 8
    RAM_DISK = 9


_MBR, _GPT = 1, 2  # UEFI 2.10 §10.3.5.1: types of signature
_BBS = 1  # UEFI 2.10 §10.3.6: the only subtype
_BBS_TYPES = {1: "Floppy", 2: "HD", 3: "CDROM", 4: "PCMCIA", 5: "USB", 6: "Network"}
# UEFI 2.10 §10.3.5.9: types of RAM disks
_RAM_DISKS = {
    Guid.parse("77ab535a-45fc-624b-5560-f7b281d1f96e"): "VirtualDisk",
    Guid.parse("3d5abd30-4175-87ce-6d64-d2ade523c4bb"): "VirtualCD",
    Guid.parse("5cea02c9-4d07-69d3-269f-4496fbe096f9"): "PersistentVirtualDisk",
    Guid.parse("08018188-42cd-bb48-100f-5387d53ded3d"): "PersistentVirtualCD",
}


@layout(size=38)
class HardDriveNode(Structure):
    """Hard drive — UEFI 2.10 §10.3.5.1."""

    partition_number: U32
    partition_start: U64
    partition_size: U64
    signature: Guid
    partition_format: U8
    signature_type: U8


@layout(size=20)
class CdRomNode(Structure):
    """CD-ROM media device path — UEFI 2.10 §10.3.5.2."""

    boot_entry: U32
    partition_start: U64
    partition_size: U64


@layout(size=20)
class RelativeOffsetRangeNode(Structure):
    """Relative offset range — UEFI 2.10 §10.3.5.8."""

    reserved: U32
    starting_offset: U64
    ending_offset: U64


@layout(size=34)
class RamDiskNode(Structure):
    """RAM disk device path — UEFI 2.10 §10.3.5.9."""

    starting_address: U64
    ending_address: U64
    type: Guid
    instance: U16


@layout(size=4)
class BbsNode(Structure):
    """BIOS boot specification device path; a description in ASCII follows — UEFI 2.10 §10.3.6."""

    device_type: U16
    status_flag: U16


def _hard_drive(node: HardDriveNode) -> str:
    signature = {
        _MBR: f"MBR,{int.from_bytes(node.signature.wire[:4], 'little'):#010x}",
        _GPT: f"GPT,{node.signature}",
    }.get(node.signature_type, f"{node.signature_type},0")
    return f"HD({node.partition_number},{signature},{node.partition_start:#x},{node.partition_size:#x})"


def _ram_disk(node: RamDiskNode) -> str:
    facts = f"{node.starting_address:#x},{node.ending_address:#x},{node.instance}"
    if node.type in _RAM_DISKS:
        return f"{_RAM_DISKS[node.type]}({facts})"
    return f"RamDisk({facts},{node.type})"


def _bbs(node: BbsNode, rest: bytes) -> str:
    kind = _BBS_TYPES.get(node.device_type, f"{node.device_type:#x}")
    return f"BBS({kind},{ascii_text(rest)},{node.status_flag:#x})"


SPELLINGS: Mapping[int, Spelling] = MappingProxyType(
    {
        MediaSubtype.HARD_DRIVE: whole(HardDriveNode, _hard_drive),
        MediaSubtype.CD_ROM: whole(
            CdRomNode,
            lambda node: f"CDROM({node.boot_entry:#x},{node.partition_start:#x},{node.partition_size:#x})",
        ),
        MediaSubtype.VENDOR: vendor("VenMedia"),
        MediaSubtype.FILE_PATH: lambda data: None if len(data) % 2 else utf16_text(data),
        MediaSubtype.PROTOCOL: guid_alone("Media"),
        MediaSubtype.FIRMWARE_FILE: guid_alone("FvFile"),
        MediaSubtype.FIRMWARE_VOLUME: guid_alone("Fv"),
        MediaSubtype.RELATIVE_OFFSET_RANGE: whole(
            RelativeOffsetRangeNode,
            lambda node: f"Offset({node.starting_offset:#x},{node.ending_offset:#x})",
        ),
        MediaSubtype.RAM_DISK: whole(RamDiskNode, _ram_disk),
    }
)
BBS_SPELLINGS: Mapping[int, Spelling] = MappingProxyType({_BBS: begins(BbsNode, _bbs)})

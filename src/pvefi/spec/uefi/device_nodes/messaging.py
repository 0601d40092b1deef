# SPDX-License-Identifier: GPL-2.0-or-later
"""Messaging nodes of device paths that lead to drives and consoles — UEFI 2.10 §10.3.4."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

from pvefi.layout import U8, U16, U32, U64, Bytes, Guid, OpenEnum, Structure, layout
from pvefi.spec.uefi.device_nodes.hardware import vendor
from pvefi.spec.uefi.device_nodes.spelling import (
    Spelling,
    ascii_text,
    begins,
    guid_alone,
    whole,
)

__all__ = ["SPELLINGS", "MessagingSubtype"]


class MessagingSubtype(OpenEnum):
    """Subtypes of messaging nodes, but for networks' — UEFI 2.10 §10.3.4."""

    ATAPI = 1
    SCSI = 2
    FIBRE_CHANNEL = 3
    IEEE_1394 = 4
    I2O = 6
    INFINIBAND = 9
    VENDOR = 10
    UART = 14
    LOGICAL_UNIT = 17
    SATA = 18
    FIBRE_CHANNEL_EX = 21
    SAS_EX = 22
    NVME = 23
    UFS = 25
    SD = 26
    EMMC = 29
    NVDIMM_NAMESPACE = 32
    NVME_OF = 34


@layout(size=4)
class AtapiNode(Structure):
    """ATAPI — UEFI 2.10 §10.3.4.1."""

    is_secondary: U8
    is_slave: U8
    lun: U16


@layout(size=4)
class ScsiNode(Structure):
    """SCSI — UEFI 2.10 §10.3.4.2."""

    target: U16
    lun: U16


@layout(size=20)
class FibreChannelNode(Structure):
    """Fibre Channel — UEFI 2.10 §10.3.4.3."""

    reserved: U32
    name: U64
    lun: U64


@layout(size=20)
class FibreChannelExNode(Structure):
    """Fibre Channel Ex, whose numbers are bytes in order — UEFI 2.10 §10.3.4.3."""

    reserved: U32
    name: Annotated[bytes, Bytes(8)]
    lun: Annotated[bytes, Bytes(8)]


@layout(size=12)
class Ieee1394Node(Structure):
    """1394 — UEFI 2.10 §10.3.4.4."""

    reserved: U32
    guid: U64


@layout(size=4)
class I2oNode(Structure):
    """I2O device — UEFI 2.10 §10.3.4.9."""

    target: U32


@layout(size=44)
class InfinibandNode(Structure):
    """InfiniBand — UEFI 2.10 §10.3.4.14."""

    flags: U32
    port: Guid
    service: U64
    target_port: U64
    device: U64


@layout(size=15)
class UartNode(Structure):
    """UART — UEFI 2.10 §10.3.4.15."""

    reserved: U32
    baud_rate: U64
    data_bits: U8
    parity: U8
    stop_bits: U8


@layout(size=1)
class LogicalUnitNode(Structure):
    """Device logical unit — UEFI 2.10 §10.3.4.8."""

    lun: U8


@layout(size=6)
class SataNode(Structure):
    """SATA — UEFI 2.10 §10.3.4.6."""

    port: U16
    multiplier_port: U16
    lun: U16


@layout(size=20)
class SasExNode(Structure):
    """SAS Ex, whose address and unit are bytes in order — UEFI 2.10 §10.3.4.19."""

    address: Annotated[bytes, Bytes(8)]
    lun: Annotated[bytes, Bytes(8)]
    topology: U16
    relative_target_port: U16


@layout(size=24)
class SasNode(Structure):
    """SAS, what follows its vendor's GUID — UEFI 2.10 §10.3.4.18."""

    reserved: U32
    address: U64
    lun: U64
    topology: U16
    relative_target_port: U16


@layout(size=12)
class NvmeNode(Structure):
    """NVM Express namespace — UEFI 2.10 §10.3.4.21."""

    namespace: U32
    eui: Annotated[bytes, Bytes(8)]


@layout(size=2)
class UfsNode(Structure):
    """Universal Flash Storage — UEFI 2.10 §10.3.4.23."""

    target: U8
    lun: U8


@layout(size=1)
class SlotNode(Structure):
    """SD and eMMC — UEFI 2.10 §10.3.4.24, §10.3.4.27."""

    number: U8


@layout(size=17)
class NvmeOfNode(Structure):
    """NVMe over Fabrics namespace; the subsystem's name follows — UEFI 2.10 §10.3.4.32."""

    type: U8
    identifier: Annotated[bytes, Bytes(16)]


# UEFI 2.10 §10.3.4.16 to §10.3.4.18: vendors of messaging nodes that the specification defines.
_TERMINALS = {
    Guid.parse("e0c14753-f9be-11d2-9a0c-0090273fc14d"): "VenPcAnsi()",
    Guid.parse("dfa66065-b419-11d3-9a2d-0090273fc14d"): "VenVt100()",
    Guid.parse("7baec70b-57e0-4c76-8e87-2f9e28088343"): "VenVt100Plus()",
    Guid.parse("ad15a0d6-8bec-4acf-a073-d01de77e2d88"): "VenUtf8()",
    Guid.parse("eba4e8d2-3858-41ec-a281-2647ba9660d0"): "DebugPort()",
}
_UART_FLOW_CONTROL = Guid.parse("37499a9d-542f-4c89-a026-35da142094e4")
_FLOW_CONTROLS = {0: "None", 1: "Hardware", 2: "XonXoff"}
_SAS = Guid.parse("d487ddb4-008b-11d9-afdc-001083ffca4d")
_PARITIES = "DNEOMS"  # by number: default, none, even, odd, mark, space
_STOP_BITS = ("D", "1", "1.5", "2")
_MORE_TOPOLOGY = 1 << 7  # UEFI 2.10 §10.3.4.18: bits of the topology
_SATA_DRIVE, _EXTERNAL, _EXPANDED = 1 << 4, 1 << 5, 1 << 6
_TOPOLOGY_BYTES = 0xF


def _uart(node: UartNode) -> str:
    parity = _PARITIES[node.parity] if node.parity < len(_PARITIES) else "x"
    stop = _STOP_BITS[node.stop_bits] if node.stop_bits < len(_STOP_BITS) else "x"
    return f"Uart({node.baud_rate or 'DEFAULT'},{node.data_bits or 'DEFAULT'},{parity},{stop})"


def _topology(bits: int) -> str:
    count = bits & _TOPOLOGY_BYTES
    if bits & _MORE_TOPOLOGY or count > 2:
        return f"{bits:#x},0,0,0"
    if not count:
        return "NoTopology,0,0,0"
    drive = f"{(bits >> 8) + 1:#x}" if count == 2 else "0"
    kind = "SATA" if bits & _SATA_DRIVE else "SAS"
    place = "External" if bits & _EXTERNAL else "Internal"
    return f"{kind},{place},{'Expanded' if bits & _EXPANDED else 'Direct'},{drive}"


def _sas_ex(node: SasExNode) -> str:
    numbers = f"0x{node.address.hex()},0x{node.lun.hex()},{node.relative_target_port:#x}"
    return f"SasEx({numbers},{_topology(node.topology)})"


def _sas(node: SasNode) -> str:
    numbers = f"{node.address:#x},{node.lun:#x},{node.relative_target_port:#x}"
    return f"SAS({numbers},{_topology(node.topology)},{node.reserved:#x})"


def _vendor(data: bytes) -> str | None:
    if len(data) < Guid.SIZE:
        return None
    guid, rest = Guid(data[: Guid.SIZE]), data[Guid.SIZE :]
    if guid in _TERMINALS and not rest:
        return _TERMINALS[guid]
    if guid == _UART_FLOW_CONTROL and len(rest) == 4:
        flow = _FLOW_CONTROLS.get(int.from_bytes(rest, "little"))
        if flow:
            return f"UartFlowCtrl({flow})"
    if guid == _SAS and len(rest) == SasNode.SIZE:
        return _sas(SasNode.unpack(rest))
    return vendor("VenMsg")(data)


def _nvme_of(node: NvmeOfNode, name: bytes) -> str | None:
    bare = node.identifier
    identifier = {
        0: "",
        1: f",eui:{bare[:8].hex('-')}",
        2: f",nvme-nguid:{bare[:8].hex()}-{bare[8:11].hex()}-{bare[11:].hex()}",
        3: f",urn:uuid:{UUID(bytes=bare)}",
    }.get(node.type)
    return None if identifier is None else f"NVMEoF({ascii_text(name)}{identifier})"


def _atapi(node: AtapiNode) -> str | None:
    if node.is_secondary > 1 or node.is_slave > 1:
        return None
    channel = "Secondary" if node.is_secondary else "Primary"
    return f"Ata({channel},{'Slave' if node.is_slave else 'Master'},{node.lun:#x})"


SPELLINGS: Mapping[int, Spelling] = MappingProxyType(
    {
        MessagingSubtype.ATAPI: whole(AtapiNode, _atapi),
        MessagingSubtype.SCSI: whole(ScsiNode, lambda node: f"Scsi({node.target:#x},{node.lun:#x})"),
        MessagingSubtype.FIBRE_CHANNEL: whole(
            FibreChannelNode, lambda node: f"Fibre({node.name:#x},{node.lun:#x})"
        ),
        MessagingSubtype.IEEE_1394: whole(Ieee1394Node, lambda node: f"I1394({node.guid:016x})"),
        MessagingSubtype.I2O: whole(I2oNode, lambda node: f"I2O({node.target:#x})"),
        MessagingSubtype.INFINIBAND: whole(
            InfinibandNode,
            lambda node: (
                f"Infiniband({node.flags:#x},{node.port},{node.service:#x},{node.target_port:#x},"
                f"{node.device:#x})"
            ),
        ),
        MessagingSubtype.VENDOR: _vendor,
        MessagingSubtype.UART: whole(UartNode, _uart),
        MessagingSubtype.LOGICAL_UNIT: whole(LogicalUnitNode, lambda node: f"Unit({node.lun:#x})"),
        MessagingSubtype.SATA: whole(
            SataNode, lambda node: f"Sata({node.port:#x},{node.multiplier_port:#x},{node.lun:#x})"
        ),
        MessagingSubtype.FIBRE_CHANNEL_EX: whole(
            FibreChannelExNode, lambda node: f"FibreEx(0x{node.name.hex()},0x{node.lun.hex()})"
        ),
        MessagingSubtype.SAS_EX: whole(SasExNode, _sas_ex),
        # edk2 MdePkg/Library/UefiDevicePathLib prints the identifier's last byte first.
        MessagingSubtype.NVME: whole(
            NvmeNode, lambda node: f"NVMe({node.namespace:#x},{node.eui[::-1].hex('-')})"
        ),
        MessagingSubtype.UFS: whole(UfsNode, lambda node: f"UFS({node.target:#x},{node.lun:#x})"),
        MessagingSubtype.SD: whole(SlotNode, lambda node: f"SD({node.number:#x})"),
        MessagingSubtype.EMMC: whole(SlotNode, lambda node: f"eMMC({node.number:#x})"),
        MessagingSubtype.NVDIMM_NAMESPACE: guid_alone("NVDIMM"),
        MessagingSubtype.NVME_OF: begins(NvmeOfNode, _nvme_of),
    }
)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Messaging nodes of device paths that lead through networks — UEFI 2.10 §10.3.4."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Annotated

from pvefi.layout import U8, U16, Bytes, Guid, OpenEnum, Structure, layout
from pvefi.spec.uefi.device_nodes.spelling import Spelling, ascii_text, begins, whole

__all__ = ["SPELLINGS", "NetworkSubtype"]


class NetworkSubtype(OpenEnum):
    """Subtypes of messaging nodes on the way through a network — UEFI 2.10 §10.3.4."""

    MAC_ADDRESS = 11
    IPV4 = 12
    IPV6 = 13
    ISCSI = 19
    VLAN = 20
    URI = 24
    BLUETOOTH = 27
    WI_FI = 28
    BLUETOOTH_LE = 30
    DNS = 31
    REST_SERVICE = 33


_PROTOCOLS = {6: "TCP", 17: "UDP"}  # RFC 1700
_ORIGINS = {0: "Static", 1: "StatelessAutoConfigure"}  # UEFI 2.10 §10.3.4.12; others are stateful
_ETHERNET = (0, 1)  # RFC 3232: types of interfaces whose addresses have six bytes
_ETHERNET_BYTES = 6
_HEADER_DIGEST, _DATA_DIGEST = 1 << 1, 1 << 3  # UEFI 2.10 §10.3.4.20: login options of iSCSI
_NO_AUTHENTICATION, _CHAP_ONE_WAY = 1 << 11, 1 << 12
_IP_BYTES = 16  # UEFI 2.10 §10.3.4.29: each address, of either kind
_VENDOR_SERVICE = 0xFF  # UEFI 2.10 §10.3.4.31


@layout(size=33)
class MacAddressNode(Structure):
    """MAC address — UEFI 2.10 §10.3.4.10."""

    address: Annotated[bytes, Bytes(32)]
    interface_type: U8


@layout(size=15)
class Ipv4Node(Structure):
    """IPv4; newer nodes go on with Ipv4Route — UEFI 2.10 §10.3.4.11."""

    local: Annotated[bytes, Bytes(4)]
    remote: Annotated[bytes, Bytes(4)]
    local_port: U16
    remote_port: U16
    protocol: U16
    is_static: U8


@layout(size=8)
class Ipv4Route(Structure):
    """What follows in an IPv4 node — UEFI 2.10 §10.3.4.11."""

    gateway: Annotated[bytes, Bytes(4)]
    mask: Annotated[bytes, Bytes(4)]


@layout(size=39)
class Ipv6Node(Structure):
    """IPv6; newer nodes go on with Ipv6Route — UEFI 2.10 §10.3.4.12."""

    local: Annotated[bytes, Bytes(16)]
    remote: Annotated[bytes, Bytes(16)]
    local_port: U16
    remote_port: U16
    protocol: U16
    origin: U8


@layout(size=17)
class Ipv6Route(Structure):
    """What follows in an IPv6 node — UEFI 2.10 §10.3.4.12."""

    prefix_length: U8
    gateway: Annotated[bytes, Bytes(16)]


@layout(size=14)
class IscsiNode(Structure):
    """An iSCSI target; its name follows — UEFI 2.10 §10.3.4.20."""

    protocol: U16
    login_option: U16
    lun: Annotated[bytes, Bytes(8)]
    portal_group: U16


@layout(size=2)
class VlanNode(Structure):
    """VLAN — UEFI 2.10 §10.3.4.13."""

    identifier: U16


@layout(size=7)
class BluetoothLeNode(Structure):
    """Bluetooth LE — UEFI 2.10 §10.3.4.28."""

    address: Annotated[bytes, Bytes(6)]
    type: U8


@layout(size=6)
class BluetoothNode(Structure):
    """Bluetooth — UEFI 2.10 §10.3.4.25."""

    address: Annotated[bytes, Bytes(6)]


@layout(size=32)
class WiFiNode(Structure):
    """Wi-Fi — UEFI 2.10 §10.3.4.26."""

    ssid: Annotated[bytes, Bytes(32)]


@layout(size=2)
class RestServiceNode(Structure):
    """REST service; a GUID and data follow for a vendor's — UEFI 2.10 §10.3.4.31."""

    service: U8
    access_mode: U8


def _mac(node: MacAddressNode) -> str:
    size = _ETHERNET_BYTES if node.interface_type in _ETHERNET else len(node.address)
    return f"MAC({node.address[:size].hex()},{node.interface_type:#x})"


def _protocol(number: int) -> str:
    return _PROTOCOLS.get(number, f"{number:#x}")


def _ipv4(node: Ipv4Node, rest: bytes) -> str | None:
    if len(rest) not in (0, Ipv4Route.SIZE):
        return None
    words = [str(IPv4Address(node.remote)), _protocol(node.protocol)]
    words += ["Static" if node.is_static else "DHCP", str(IPv4Address(node.local))]
    if rest:
        route = Ipv4Route.unpack(rest)
        words += [str(IPv4Address(route.gateway)), str(IPv4Address(route.mask))]
    return f"IPv4({','.join(words)})"


def _ipv6(node: Ipv6Node, rest: bytes) -> str | None:
    if len(rest) not in (0, Ipv6Route.SIZE):
        return None
    words = [IPv6Address(node.remote).exploded, _protocol(node.protocol)]
    words += [_ORIGINS.get(node.origin, "StatefulAutoConfigure"), IPv6Address(node.local).exploded]
    if rest:
        route = Ipv6Route.unpack(rest)
        words += [f"{route.prefix_length:#x}", IPv6Address(route.gateway).exploded]
    return f"IPv6({','.join(words)})"


def _iscsi(node: IscsiNode, name: bytes) -> str:
    options = node.login_option
    if options & _NO_AUTHENTICATION:
        authentication = "None"
    else:
        authentication = "CHAP_UNI" if options & _CHAP_ONE_WAY else "CHAP_BI"
    words = [ascii_text(name), f"{node.portal_group:#x}", f"0x{node.lun.hex()}"]
    words += ["CRC32C" if options & digest else "None" for digest in (_HEADER_DIGEST, _DATA_DIGEST)]
    words += [authentication, "reserved" if node.protocol else "TCP"]
    return f"iSCSI({','.join(words)})"


def _dns(data: bytes) -> str | None:
    """Return the servers' addresses — UEFI 2.10 §10.3.4.29: one byte tells whether they are of IPv6."""
    if len(data) % _IP_BYTES != 1:
        return None
    addresses = [data[at : at + _IP_BYTES] for at in range(1, len(data), _IP_BYTES)]
    spelled = [IPv6Address(one).exploded if data[0] else str(IPv4Address(one[:4])) for one in addresses]
    return f"Dns({','.join(spelled)})"


def _rest_service(node: RestServiceNode, rest: bytes) -> str | None:
    words = [f"{node.service:#x}", f"{node.access_mode:#x}"]
    if node.service == _VENDOR_SERVICE and len(rest) >= Guid.SIZE:
        words.append(str(Guid(rest[: Guid.SIZE])))
        rest = rest[Guid.SIZE :]
        words += [rest.hex()] if rest else []
    elif rest:
        return None
    return f"RestService({','.join(words)})"


SPELLINGS: Mapping[int, Spelling] = MappingProxyType(
    {
        NetworkSubtype.MAC_ADDRESS: whole(MacAddressNode, _mac),
        NetworkSubtype.IPV4: begins(Ipv4Node, _ipv4),
        NetworkSubtype.IPV6: begins(Ipv6Node, _ipv6),
        NetworkSubtype.ISCSI: begins(IscsiNode, _iscsi),
        NetworkSubtype.VLAN: whole(VlanNode, lambda node: f"Vlan({node.identifier})"),
        NetworkSubtype.URI: lambda data: f"Uri({ascii_text(data)})",
        NetworkSubtype.BLUETOOTH: whole(BluetoothNode, lambda node: f"Bluetooth({node.address.hex()})"),
        NetworkSubtype.WI_FI: whole(
            WiFiNode, lambda node: f"Wi-Fi({node.ssid.partition(bytes(1))[0].decode('utf-8', 'replace')})"
        ),
        NetworkSubtype.BLUETOOTH_LE: whole(
            BluetoothLeNode, lambda node: f"BluetoothLE({node.address.hex()},0x{node.type:02x})"
        ),
        NetworkSubtype.DNS: _dns,
        NetworkSubtype.REST_SERVICE: begins(RestServiceNode, _rest_service),
    }
)

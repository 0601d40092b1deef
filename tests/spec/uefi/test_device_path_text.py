# SPDX-License-Identifier: GPL-2.0-or-later
"""Device paths are spelled as the specification and edk2 spell them; malformed nodes as bytes."""

from __future__ import annotations

import ctypes
import platform
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virt.firmware.efi.devpath import DevicePath, DevicePathElem

from pvefi.layout import Guid
from pvefi.spec.uefi.device_path import (
    END,
    END_INSTANCE,
    DevicePathType,
    Node,
    file_path,
    memory_mapped,
    vendor_media,
)
from pvefi.spec.uefi.device_path_text import text
from pvefi.spec.uefi.guids import LINUX_INITRD_MEDIA
from tests.conftest import RealFiles

INITRD = vendor_media(LINUX_INITRD_MEDIA)
MEMORY = memory_mapped(1, 0x100000, 0x1FFFFF)
INSTANCE = Node(DevicePathType.END, END_INSTANCE).pack()
GUID = Guid.parse("00112233-4455-6677-8899-aabbccddeeff")
# Data of nodes of each kind that the specification has, and their text.
SPELLED: dict[tuple[int, int], list[tuple[bytes, str]]] = {
    (1, 1): [(b"\2\x1f", "Pci(0x1f,0x2)")],
    (1, 2): [(b"\1", "PcCard(0x1)")],
    (1, 3): [(struct.pack("<IQQ", 11, 0x1000, 0x1FFF), "MemoryMapped(0xb,0x1000,0x1fff)")],
    (1, 4): [(GUID.wire, f"VenHw({GUID})"), (GUID.wire + b"\xab\1", f"VenHw({GUID},ab01)")],
    (1, 5): [(struct.pack("<I", 0x20), "Ctrl(0x20)")],
    (1, 6): [(struct.pack("<BQ", 1, 0xCA2), "BMC(0x1,0xca2)")],
    (2, 1): [
        (bytes.fromhex("d041030a00000000"), "PciRoot(0x0)"),
        (bytes.fromhex("d041080a01000000"), "PcieRoot(0x1)"),
        (bytes.fromhex("d041040600000000"), "Floppy(0x0)"),
        (bytes.fromhex("d041010300000000"), "Keyboard(0x0)"),
        (bytes.fromhex("d041010501000000"), "Serial(0x1)"),
        (bytes.fromhex("d041010400000000"), "ParallelPort(0x0)"),
        (bytes.fromhex("d041020500000000"), "Acpi(PNP0502,0x0)"),
        (bytes.fromhex("0102030405000000"), "Acpi(0x04030201,0x5)"),
    ],
    (2, 2): [
        (bytes.fromhex("d041030a07000000d041080a") + b"\0uid\0\0", "AcpiExp(PNP0A03,PNP0A08,uid)"),
        (bytes.fromhex("d041030a0700000000000000") + b"\0uid\0\0", "AcpiExp(PNP0A03,0,uid)"),
        (bytes.fromhex("d041030a07000000d041080a") + b"h\0u\0c\0", "AcpiEx(PNP0A03,PNP0A08,0x7,h,c,u)"),
    ],
    (2, 3): [
        (struct.pack("<I", 0x80010100), "AcpiAdr(0x80010100)"),
        (struct.pack("<II", 1, 2), "AcpiAdr(0x1,0x2)"),
    ],
    (3, 1): [(struct.pack("<BBH", 1, 0, 2), "Ata(Secondary,Master,0x2)")],
    (3, 2): [(struct.pack("<HH", 3, 0), "Scsi(0x3,0x0)")],
    (3, 3): [(struct.pack("<IQQ", 0, 0x50, 1), "Fibre(0x50,0x1)")],
    (3, 4): [(struct.pack("<IQ", 0, 0xAB), "I1394(00000000000000ab)")],
    (3, 5): [(b"\1\0", "USB(0x1,0x0)")],
    (3, 6): [(struct.pack("<I", 9), "I2O(0x9)")],
    (3, 9): [
        (
            struct.pack("<I", 1) + GUID.wire + struct.pack("<QQQ", 2, 3, 4),
            f"Infiniband(0x1,{GUID},0x2,0x3,0x4)",
        )
    ],
    (3, 10): [
        (GUID.wire + b"\1", f"VenMsg({GUID},01)"),
        (Guid.parse("e0c14753-f9be-11d2-9a0c-0090273fc14d").wire, "VenPcAnsi()"),
        (Guid.parse("dfa66065-b419-11d3-9a2d-0090273fc14d").wire, "VenVt100()"),
        (Guid.parse("7baec70b-57e0-4c76-8e87-2f9e28088343").wire, "VenVt100Plus()"),
        (Guid.parse("ad15a0d6-8bec-4acf-a073-d01de77e2d88").wire, "VenUtf8()"),
        (Guid.parse("37499a9d-542f-4c89-a026-35da142094e4").wire + b"\2\0\0\0", "UartFlowCtrl(XonXoff)"),
        (
            Guid.parse("d487ddb4-008b-11d9-afdc-001083ffca4d").wire
            + struct.pack("<IQQHH", 0, 0x21, 4, 0x2, 5),
            "SAS(0x21,0x4,0x5,SAS,Internal,Direct,0x1,0x0)",
        ),
    ],
    (3, 11): [
        (bytes.fromhex("525400123456") + bytes(26) + b"\1", "MAC(525400123456,0x1)"),
        (bytes(31) + b"\1\x20", f"MAC({'00' * 31}01,0x20)"),
    ],
    (3, 12): [
        (bytes(8) + bytes(6) + b"\0", "IPv4(0.0.0.0,0x0,DHCP,0.0.0.0)"),
        (
            bytes([10, 0, 2, 15, 10, 0, 2, 2])
            + struct.pack("<HHHB", 0, 0, 6, 1)
            + bytes([10, 0, 2, 1, 255, 255, 255, 0]),
            "IPv4(10.0.2.2,TCP,Static,10.0.2.15,10.0.2.1,255.255.255.0)",
        ),
    ],
    (3, 13): [
        (
            bytes(15)
            + b"\1"
            + bytes(15)
            + b"\2"
            + struct.pack("<HHHBB", 0, 0, 17, 1, 64)
            + bytes(15)
            + b"\3",
            "IPv6(0000:0000:0000:0000:0000:0000:0000:0002,UDP,StatelessAutoConfigure,"
            "0000:0000:0000:0000:0000:0000:0000:0001,0x40,0000:0000:0000:0000:0000:0000:0000:0003)",
        ),
    ],
    (3, 14): [
        (struct.pack("<IQBBB", 0, 115200, 8, 1, 1), "Uart(115200,8,N,1)"),
        (struct.pack("<IQBBB", 0, 0, 0, 0, 0), "Uart(DEFAULT,DEFAULT,D,D)"),
        (struct.pack("<IQBBB", 0, 9600, 7, 9, 9), "Uart(9600,7,x,x)"),
    ],
    (3, 15): [
        (struct.pack("<HHBBB", 0xFFFF, 0xFFFF, 8, 6, 80), "UsbMassStorage(0xffff,0xffff,0x6,0x50)"),
        (struct.pack("<HHBBB", 1, 2, 254, 1, 3), "UsbDeviceFirmwareUpdate(0x1,0x2,0x3)"),
        (struct.pack("<HHBBB", 1, 2, 255, 1, 3), "UsbClass(0x1,0x2,0xff,0x1,0x3)"),
    ],
    (3, 16): [(struct.pack("<HHH", 1, 2, 3) + "no7".encode("utf-16-le"), 'UsbWwid(0x2,0x3,0x1,"no7")')],
    (3, 17): [(b"\4", "Unit(0x4)")],
    (3, 18): [(struct.pack("<HHH", 1, 0xFFFF, 0), "Sata(0x1,0xffff,0x0)")],
    (3, 19): [
        (
            struct.pack("<HH8sH", 0, 0x0802, bytes(7) + b"\1", 1) + b"iqn.2001-04.com.example:disk",
            "iSCSI(iqn.2001-04.com.example:disk,0x1,0x0000000000000001,CRC32C,None,None,TCP)",
        ),
        (
            struct.pack("<HH8sH", 0, 0x1000, bytes(8), 1) + b"t",
            f"iSCSI(t,0x1,0x{'00' * 8},None,None,CHAP_UNI,TCP)",
        ),
    ],
    (3, 20): [(struct.pack("<H", 42), "Vlan(42)")],
    (3, 21): [(bytes(4) + bytes(range(16)), "FibreEx(0x0001020304050607,0x08090a0b0c0d0e0f)")],
    (3, 22): [
        (
            bytes(range(16)) + struct.pack("<HH", 0, 1),
            "SasEx(0x0001020304050607,0x08090a0b0c0d0e0f,0x1,NoTopology,0,0,0)",
        ),
        (
            bytes(range(16)) + struct.pack("<HH", 0x0372, 1),
            "SasEx(0x0001020304050607,0x08090a0b0c0d0e0f,0x1,SATA,External,Expanded,0x4)",
        ),
    ],
    (3, 23): [(struct.pack("<I", 1) + bytes(range(8)), "NVMe(0x1,07-06-05-04-03-02-01-00)")],
    (3, 24): [(b"https://boot.example/a.efi", "Uri(https://boot.example/a.efi)"), (b"", "Uri()")],
    (3, 25): [(b"\0\3", "UFS(0x0,0x3)")],
    (3, 26): [(b"\1", "SD(0x1)")],
    (3, 27): [(bytes(range(6)), "Bluetooth(000102030405)")],
    (3, 28): [("Café".encode().ljust(32, b"\0"), "Wi-Fi(Café)")],
    (3, 29): [(b"\1", "eMMC(0x1)")],
    (3, 30): [(bytes(range(7)), "BluetoothLE(000102030405,0x06)")],
    (3, 31): [
        (b"\0" + bytes([8, 8, 8, 8]) + bytes(12) + bytes([1, 1, 1, 1]) + bytes(12), "Dns(8.8.8.8,1.1.1.1)"),
        (b"\1" + bytes(15) + b"\1", "Dns(0000:0000:0000:0000:0000:0000:0000:0001)"),
    ],
    (3, 32): [(GUID.wire, f"NVDIMM({GUID})")],
    (3, 33): [(b"\1\2", "RestService(0x1,0x2)"), (b"\xff\2" + GUID.wire, f"RestService(0xff,0x2,{GUID})")],
    (3, 34): [
        (b"\1" + bytes(range(16)) + b"nqn.a", "NVMEoF(nqn.a,eui:00-01-02-03-04-05-06-07)"),
        (b"\3" + bytes(range(16)) + b"nqn.a", "NVMEoF(nqn.a,urn:uuid:00010203-0405-0607-0809-0a0b0c0d0e0f)"),
    ],
    (4, 1): [
        (struct.pack("<IQQ", 1, 0x800, 0x100000) + GUID.wire + b"\2\2", f"HD(1,GPT,{GUID},0x800,0x100000)"),
        (struct.pack("<IQQ16s", 2, 63, 9, b"\xef\xbe\xad\xde") + b"\1\1", "HD(2,MBR,0xdeadbeef,0x3f,0x9)"),
        (struct.pack("<IQQ16s", 2, 63, 9, b"") + b"\1\0", "HD(2,0,0,0x3f,0x9)"),
    ],
    (4, 2): [(struct.pack("<IQQ", 1, 0x20, 0x40), "CDROM(0x1,0x20,0x40)")],
    (4, 3): [(LINUX_INITRD_MEDIA.wire, f"VenMedia({LINUX_INITRD_MEDIA})")],
    (4, 4): [("\\a.efi\0".encode("utf-16-le"), "\\a.efi")],
    (4, 5): [(GUID.wire, f"Media({GUID})")],
    (4, 6): [(GUID.wire, f"FvFile({GUID})")],
    (4, 7): [(GUID.wire, f"Fv({GUID})")],
    (4, 8): [(struct.pack("<IQQ", 0, 1, 2), "Offset(0x1,0x2)")],
    (4, 9): [
        (
            struct.pack("<QQ", 1, 2) + Guid.parse("77ab535a-45fc-624b-5560-f7b281d1f96e").wire + b"\3\0",
            "VirtualDisk(0x1,0x2,3)",
        ),
        (struct.pack("<QQ", 1, 2) + GUID.wire + b"\3\0", f"RamDisk(0x1,0x2,3,{GUID})"),
    ],
    (5, 1): [
        (struct.pack("<HH", 2, 1) + b"disk\0", "BBS(HD,disk,0x1)"),
        (struct.pack("<HH", 0x80, 0) + b"PXE", "BBS(0x80,PXE,0x0)"),
    ],
}
GENERIC = {1: "HardwarePath", 2: "AcpiPath", 3: "Msg", 4: "MediaPath", 5: "BbsPath"}
# Any data is a text or a vendor's.
TAKES_ALL = {(3, 24)}


@pytest.mark.parametrize(
    ("kind", "data", "spelling"),
    [(kind, data, spelling) for kind, cases in SPELLED.items() for data, spelling in cases],
)
def test_a_node_s_text_is_what_the_specification_spells(
    kind: tuple[int, int], data: bytes, spelling: str
) -> None:
    assert text(Node(DevicePathType(kind[0]), kind[1], data).pack() + END) == spelling


@pytest.mark.parametrize("kind", [kind for kind in SPELLED if kind not in TAKES_ALL])
def test_a_node_too_short_for_its_kind_is_spelled_as_bytes(kind: tuple[int, int]) -> None:
    node_type, subtype = kind
    empty = text(Node(DevicePathType(node_type), subtype).pack() + END)
    assert empty == ("" if kind == (4, 4) else f"{GENERIC[node_type]}({subtype})")
    for data, spelling in SPELLED[kind]:
        assert text(Node(DevicePathType(node_type), subtype, data[: len(data) // 2]).pack() + END) != spelling


@pytest.mark.parametrize(
    ("path", "spelling"),
    [
        (END, ""),
        (
            MEMORY + file_path("\\EFI\\BOOT\\x.efi") + END,
            "MemoryMapped(0x1,0x100000,0x1fffff)/\\EFI\\BOOT\\x.efi",
        ),
        (Node(DevicePathType.MESSAGING, 99, b"\x07").pack() + END, "Msg(99,07)"),
        (Node(DevicePathType(0x20), 1).pack() + END, "Path(32,1)"),
        (MEMORY + INSTANCE + MEMORY + END, ",".join(["MemoryMapped(0x1,0x100000,0x1fffff)"] * 2)),
    ],
)
def test_nodes_are_joined_and_instances_listed(path: bytes, spelling: str) -> None:
    assert text(path) == spelling


# Kinds that libefivar 37 writes in another form than the specification's, or does not know.
NOT_AS_EFIVAR = {
    *((2, 2), (2, 3), (3, 1), (3, 3), (3, 4), (3, 9), (3, 12), (3, 13), (3, 16), (3, 19), (3, 21), (3, 22)),
    *((3, 23), (3, 27), (3, 28), (3, 30), (3, 33), (3, 34), (4, 4), (4, 7)),
}


def numbers_alike(spelled: str) -> str:
    """Return the text with its numbers in decimal: efivar writes some so that edk2 writes in hexadecimal."""
    return re.sub(r"\b0x[0-9a-f]+", lambda found: str(int(found[0], 16)), spelled.lower())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the corpus has libefivar for x86-64")
def test_libefivar_reads_the_same_numbers(corpus: RealFiles) -> None:
    library = ctypes.CDLL(str(corpus.file("libefivar1", "*/libefivar.so.1*")))
    spell = library.efidp_format_device_path
    spell.restype = ctypes.c_ssize_t
    spell.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_ssize_t)
    kinds = [kind for kind in SPELLED if kind not in NOT_AS_EFIVAR]
    assert len(kinds) > 25
    for kind in kinds:
        data, spelling = SPELLED[kind][0]
        path = Node(DevicePathType(kind[0]), kind[1], data).pack() + END
        theirs = ctypes.create_string_buffer(1000)
        assert spell(theirs, len(theirs), path, len(path)) > 0
        assert numbers_alike(theirs.value.decode()) == numbers_alike(spelling)


def test_paths_that_virt_firmware_makes_are_spelled() -> None:
    address = DevicePathElem()
    address.set_ipv4()
    path = DevicePath.uri("http://boot.example/a.efi")
    path.insert(0, address)
    assert text(bytes(path)) == (
        "IPv4(0.0.0.0,0x0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0)/Uri(http://boot.example/a.efi)"
    )


@given(st.sampled_from([*SPELLED, (9, 9)]), st.binary(max_size=80))
def test_any_data_of_any_kind_of_node_has_a_text(kind: tuple[int, int], data: bytes) -> None:
    assert isinstance(text(Node(DevicePathType(kind[0]), kind[1], data).pack() + END), str)


@given(st.sampled_from([*SPELLED]), st.data())
def test_cut_and_lengthened_nodes_have_a_text(kind: tuple[int, int], drawn: st.DataObject) -> None:
    data, _ = drawn.draw(st.sampled_from(SPELLED[kind]))
    data = data[: drawn.draw(st.integers(0, len(data)))] + drawn.draw(st.binary(max_size=20))
    assert isinstance(text(Node(DevicePathType(kind[0]), kind[1], data).pack() + END), str)

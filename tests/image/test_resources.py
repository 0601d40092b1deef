# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import base64
import json
import struct

import pytest

from pvefi.image.resources import os_release, resource_text
from pvefi.spec.uki import Resource
from tests.build.cpio import archive
from tests.build.signature import public_key, sha256


def pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"-----END PUBLIC KEY-----\n"


def device_tree(*properties: tuple[str, bytes], begin: int = 1) -> bytes:
    names = b"".join(name.encode() + b"\0" for name, _ in properties)
    body, at = struct.pack(">I", begin) + bytes(4), 0
    for name, value in properties:
        body += struct.pack(">4I", 4, 3, len(value), at) + value + bytes(-len(value) % 4)
        at += len(name) + 1
    body += struct.pack(">I", 2)
    return struct.pack(">10I", 0xD00DFEED, 999, 40, 40 + len(body), 0, 17, 16, 0, 0, 0) + body + names


BMP = struct.pack("<2sIIIIiiHH", b"BM", 100, 0, 54, 40, 800, -600, 1, 24) + bytes(20)
OS_RELEASE = b'# a comment\nNAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nnonsense\n'

TEXTS = [
    (Resource.TEXT, b"root=/dev/sda quiet\n\0\0", "root=/dev/sda quiet"),
    (Resource.TEXT, b"", ""),
    (Resource.TEXT, b"\xff", "\\xff"),
    (Resource.OS_RELEASE, OS_RELEASE, "PRETTY_NAME=Debian GNU/Linux 12, ID=debian"),
    (Resource.OS_RELEASE, b"", "0 assignments"),
    (Resource.INITRD, archive("init"), "cpio archive"),
    (Resource.INITRD, b"rubbish", "no cpio archive"),
    (Resource.SPLASH, BMP, "BMP, 800 x 600, 24 bits per pixel"),
    (Resource.SPLASH, BMP[:20], "no BMP image"),
    (Resource.PROFILE, b"ID=factory-reset\nTITLE='Reset'\n", "ID=factory-reset, TITLE=Reset"),
    (Resource.PROFILE, b"ID='not closed", "ID='not closed"),
    (Resource.PUBLIC_KEY, pem(public_key()), f"RSA key, 1024 bits, SHA-256 {sha256(public_key())}"),
    (Resource.PUBLIC_KEY, b"", "no public key in PEM"),
    (Resource.PUBLIC_KEY, pem(b"\x30\x03abc"), "a public key that cannot be read"),
    (Resource.PUBLIC_KEY, pem(b"\x30\x84\xff\xff\xff\xff"), "a public key that cannot be read"),
    (
        Resource.DEVICE_TREE,
        device_tree(("compatible", b"acme,board\0acme,soc\0"), ("model", b"Acme Board\0")),
        "device tree, version 17, Acme Board, acme,board acme,soc",
    ),
    (Resource.DEVICE_TREE, device_tree(), "device tree, version 17"),
    (Resource.DEVICE_TREE, device_tree(begin=9), "device tree, version 17"),
    (
        Resource.DEVICE_TREE,
        device_tree(("model", b"x\0"))[:60],
        "device tree, version 17, 999 bytes, damaged",
    ),
    (Resource.DEVICE_TREE, b"rubbish", "no device tree"),
    (Resource.BLOB, b"anything", ""),
    (Resource.KERNEL, b"anything", ""),
]


@pytest.mark.parametrize(("kind", "data", "text"), TEXTS)
def test_a_resource_is_told_in_one_line(kind: Resource, data: bytes, text: str) -> None:
    assert resource_text(kind, data) == text


SIGNATURES: dict[str, list[object]] = {"sha1": [{}], "sha256": [{}, {}]}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (json.dumps(SIGNATURES).encode() + b"\0", "sha1: 1 signed policies, sha256: 2 signed policies"),
        (b"{}", "no banks"),
        (b"[]", "not the JSON of PCR signatures"),
        (b'{"sha1": 3}', "not the JSON of PCR signatures"),
        (b"[" * 100000, "not the JSON of PCR signatures"),
        (b"\xff", "not the JSON of PCR signatures"),
    ],
)
def test_pcr_signatures_are_counted(data: bytes, text: str) -> None:
    assert resource_text(Resource.PCR_SIGNATURES, data) == text


def test_a_large_initrd_costs_no_more_than_its_start() -> None:
    assert resource_text(Resource.INITRD, archive("init", data=bytes(1 << 20))) == "cpio archive"


def test_os_release_is_unquoted_as_a_shell_does_it() -> None:
    assert os_release("A='x y'\nB=\"z\"\nC=\n  D=1  \n1=2\n") == {"A": "x y", "B": "z", "C": "", "D": "1"}

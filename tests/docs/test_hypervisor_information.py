# SPDX-License-Identifier: GPL-2.0-or-later
"""The structure's page, read as its readers do: the C declaration has the layout that pvefi writes."""

from __future__ import annotations

import ctypes
import re

from build_docs import DOCS
from pvefi.spec.pvefi.hypervisor_information import HYPERVISOR_INFORMATION_VERSION, HypervisorInformation
from pvefi.spec.uefi.guids import PVEFI_HYPERVISOR_INFORMATION

PAGE = (DOCS / "hypervisor-information.md").read_text(encoding="utf-8")
MEMBER = re.compile(r"^    (uint\d+_t)\s+(\w+)(?:\[(\d+)\])?;\s+/\* (0x\w+) \*/$", re.MULTILINE)


def c_structure() -> type[ctypes.Structure]:
    """Return the page's struct as a C compiler for x86-64 lays it out."""
    members = []
    for kind, name, count, _ in MEMBER.findall(PAGE):
        element = getattr(ctypes, f"c_{kind.removesuffix('_t')}")
        members.append((name, element * int(count) if count else element))
    return type("pvefi_hypervisor_information", (ctypes.Structure,), {"_fields_": members})


def test_a_c_compiler_gives_every_member_the_offset_on_the_page() -> None:
    structure = c_structure()
    for _, name, _, offset in MEMBER.findall(PAGE):
        assert getattr(structure, name).offset == int(offset, 16) == HypervisorInformation.offset_of(name)


def test_a_c_compiler_adds_no_padding() -> None:
    assert ctypes.sizeof(c_structure()) == HypervisorInformation.SIZE


def test_the_page_s_guid_is_the_one_in_use() -> None:
    numbers = [int(number, 16) for number in re.findall(r"0x[0-9a-f]+", PAGE.partition("#define")[2])][:11]
    data = b"".join(
        number.to_bytes(size, "little") for number, size in zip(numbers, (4, 2, 2, *(1,) * 8), strict=True)
    )
    assert data == PVEFI_HYPERVISOR_INFORMATION.wire


def test_the_page_is_about_the_version_that_is_written() -> None:
    assert f"\nVersion {HYPERVISOR_INFORMATION_VERSION}." in PAGE

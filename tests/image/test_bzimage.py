# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from pvefi.errors import ImageError
from pvefi.image.bzimage import BzImage, has_setup_header, parse_bzimage
from pvefi.spec.linux.setup_header import FIELD_SINCE, LoadFlag, SetupHeader, XLoadFlag
from tests.build.bzimage import SETUP_SIZE, VERSION, build_bzimage


def parse(**header: Any) -> BzImage:
    return parse_bzimage("vmlinuz", build_bzimage(**header))


def test_every_field_is_read_by_its_name() -> None:
    bzimage = parse(init_size=0x3378000, cmdline_size=4095)
    assert bzimage.protocol_name == "2.15"
    assert bzimage.header.init_size == 0x3378000
    assert bzimage.fields()["cmdline_size"] == 4095
    assert list(bzimage.fields()) == list(SetupHeader.__dataclass_fields__)


def test_flags_are_decoded() -> None:
    bzimage = parse()
    assert bzimage.load_flags is LoadFlag.LOADED_HIGH
    assert XLoadFlag.XLF_5LEVEL in bzimage.xload_flags


def test_the_version_string_is_found() -> None:
    assert parse().kernel_version == VERSION.decode()
    assert parse().release == "6.1.0-test"
    assert parse(kernel_version=0).kernel_version == ""


def test_a_version_pointer_past_the_end_gives_no_text() -> None:
    assert parse_bzimage("k", build_bzimage(kernel_version=0xFFFF)).kernel_version == ""


def test_kernel_info_is_read() -> None:
    info = parse().kernel_info
    assert info is not None
    assert info.setup_type_max == 0x80000009
    assert parse(kernel_info_offset=0).kernel_info is None
    assert parse(kernel_info_offset=0xFFFFFFF0).kernel_info is None
    assert parse(kernel_info_offset=0x100).kernel_info is None


@pytest.mark.parametrize("version", range(0x200, 0x210))
def test_fields_younger_than_the_protocol_are_absent(version: int) -> None:
    fields = parse(version=version, jump=0x6AEB).fields()
    assert all((FIELD_SINCE.get(name, 0) <= version) == (name in fields) for name in FIELD_SINCE)


def test_an_absent_field_reads_as_zero() -> None:
    """Old kernels have code where younger ones have fields."""
    bzimage = parse(version=0x0203, payload_length=0x12345678, xloadflags=0xFFFF)
    assert bzimage.header.payload_length == 0
    assert bzimage.xload_flags == 0


def test_the_jump_bounds_the_header() -> None:
    """boot.rst: the header ends at 0x202 plus the byte at 0x201."""
    bzimage = parse(jump=(0x22C - 0x202) << 8 | 0xEB)
    assert "cmd_line_ptr" in bzimage.fields()
    assert "initrd_addr_max" not in bzimage.fields()


def test_no_setup_sectors_mean_four() -> None:
    assert parse(setup_sects=0).setup_size == 5 * 512
    assert parse().setup_size == SETUP_SIZE


def test_setup_code_past_the_end_of_the_file_is_refused() -> None:
    with pytest.raises(ImageError, match="protected-mode code at 0x20000"):
        parse_bzimage("k", build_bzimage(setup_sects=255, length=0x1F00))


def test_a_handover_entry_outside_the_file_is_refused() -> None:
    with pytest.raises(ImageError, match="a handover entry inside the file"):
        parse(handover_offset=0xFFFFFFFF)


def test_a_version_before_the_protocol_is_refused() -> None:
    with pytest.raises(ImageError, match=r"boot protocol 2\.00 or later, found 0x0105"):
        parse(version=0x0105)


def test_a_kernel_shows_itself_by_both_magics() -> None:
    assert has_setup_header(build_bzimage())
    assert not has_setup_header(build_bzimage(header=0))
    assert not has_setup_header(build_bzimage(boot_flag=0))
    assert not has_setup_header(build_bzimage(length=0x204))
    assert not has_setup_header(b"")

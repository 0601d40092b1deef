# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of pvefi's exceptions: what was expected, what was found, the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import GuestFault, ImageError, MachineError, PvefiError, UsageError


def test_the_way_out_follows_the_message_in_brackets() -> None:
    error = MachineError("qemu-system-x86_64 is missing", "apt-get install qemu-system-x86")
    assert str(error) == "qemu-system-x86_64 is missing (apt-get install qemu-system-x86)"
    assert error.message == "qemu-system-x86_64 is missing"


def test_without_a_way_out_the_message_stands_alone() -> None:
    assert str(UsageError("two entries were given")) == "two entries were given"


def test_an_image_error_names_file_offset_expectation_and_finding() -> None:
    error = ImageError(Path("vmlinuz"), 0x3C, "a PE header", "0xffffffff", "is the download whole?")
    assert (
        str(error) == "vmlinuz: offset 0x3c: expected a PE header, found 0xffffffff (is the download whole?)"
    )
    assert (error.path, error.offset, error.expected, error.found) == (
        "vmlinuz",
        0x3C,
        "a PE header",
        "0xffffffff",
    )


def test_an_image_error_without_a_place_names_the_file_only() -> None:
    assert (
        str(ImageError("x", None, "an image", "an empty file")) == "x: expected an image, found an empty file"
    )


@pytest.mark.parametrize("kind", [UsageError, MachineError, GuestFault])
def test_every_error_is_a_pvefi_error(kind: type[PvefiError]) -> None:
    assert isinstance(kind("text"), PvefiError)
    assert issubclass(ImageError, PvefiError)

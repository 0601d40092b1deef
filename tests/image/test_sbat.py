# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import ImageError
from pvefi.image import inspect
from pvefi.image.sbat import SbatEntry, read_sbat
from tests.build.pe import PeSection, build_pe

GRUB = b"""sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
grub,5,Free Software Foundation,grub,2.12,https://www.gnu.org/software/grub/
"""


def test_the_lines_of_a_section_are_read(tmp_path: Path) -> None:
    path = tmp_path / "grub.efi"
    path.write_bytes(build_pe([PeSection(), PeSection(b".sbat", GRUB, 0x40000040)]))
    first, second = inspect(path).sbat
    assert first.component_name == "sbat"
    assert second == SbatEntry(
        "grub", 5, "Free Software Foundation", "grub", "2.12", "https://www.gnu.org/software/grub/"
    )


def test_an_image_without_the_section_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "hello.efi"
    path.write_bytes(build_pe())
    assert inspect(path).sbat == ()


def test_the_section_ends_at_a_zero_byte() -> None:
    assert len(read_sbat("x", 0, GRUB + b"\0" + GRUB)) == 2


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (b"name", SbatEntry("name", None, "", "", "", "")),
        (b"a,many", SbatEntry("a", None, "", "", "", "")),
        (b"a,1,b,c,d,e,f", SbatEntry("a", 1, "b", "c", "d", "e,f")),
        (b"a,\xff", SbatEntry("a", None, "", "", "", "")),
        (b"a," + b"9" * 5000, SbatEntry("a", None, "", "", "", "")),
    ],
)
def test_lines_are_taken_as_they_are(line: bytes, entry: SbatEntry) -> None:
    assert read_sbat("x", 0, line) == (entry,)


def test_an_absurd_size_is_refused() -> None:
    with pytest.raises(ImageError, match="SBAT metadata of at most"):
        read_sbat("x", 0, bytes(1 << 20))

# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read and refused before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pvefi.efi.profiles import PROFILES
from pvefi.errors import ImageError, UsageError
from pvefi.machines import ForeignWay
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, not_started, prepare, prepare_all, prepare_foreign
from pvefi.verdict import Goal, Outcome
from tests.build.bzimage import build_bzimage
from tests.build.elf import build_elf, linux_notes
from tests.build.pe import build_pe


def options(folder: Path, data: bytes, **fields: object) -> BootOptions:
    path = folder / "image"
    path.write_bytes(data)
    return BootOptions(path, EmbeddedMachine(), **fields)  # type: ignore[arg-type]  # each test knows its own


class Unwatched(EmbeddedMachine):
    """A machine that sees no hand-off."""

    watches = False


def test_where_nobody_watches_for_the_hand_off_no_kernel_is_decompressed(tmp_path: Path) -> None:
    made = options(tmp_path, build_bzimage(payload=b"\x1f\x8b" + bytes(62)), goal=Goal.EXIT)
    with pytest.raises(ImageError):
        prepare(made)
    prepared = prepare(replace(made, machine=Unwatched()))
    assert prepared.image.bzimage is not None
    assert prepared.watch is None


@pytest.mark.parametrize("way", ForeignWay)
def test_an_efi_program_is_nothing_for_another_loader(tmp_path: Path, way: ForeignWay) -> None:
    with pytest.raises(UsageError, match=f"for {way.value}, found "):
        prepare_foreign(options(tmp_path, build_pe()), way)


def test_a_bzimage_goes_to_qemus_loader_as_it_is(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"files")
    data = build_bzimage()
    prepared = prepare_foreign(options(tmp_path, data, initrd=initrd, command_line="quiet"), ForeignWay.LINUX)
    assert prepared.foreign is not None
    assert (prepared.foreign.kernel, prepared.foreign.initrd, prepared.foreign.command_line) == (
        data,
        initrd,
        "quiet",
    )
    assert prepared.options.entry == "qemu-linux"
    assert prepared.watch is None


def test_pvh_wants_the_kernel_inside(tmp_path: Path) -> None:
    prepared = prepare_foreign(options(tmp_path, build_bzimage()), ForeignWay.PVH)
    assert prepared.foreign is not None
    assert prepared.foreign.kernel.startswith(b"\x7fELF")


def test_what_is_no_image_is_refused_either_way(tmp_path: Path) -> None:
    made = options(tmp_path, b"nothing of the kind")
    with pytest.raises(ImageError):
        prepare(made)
    with pytest.raises(ImageError):
        prepare_foreign(made, ForeignWay.LINUX)


@pytest.mark.parametrize(
    ("text", "told"),
    [("a\0b", "a NUL in it"), ("x" * 8192, "at most 8191 bytes, found 8192"), ("\udcff", "in UTF-8")],
)
def test_a_command_line_that_cannot_be_given_is_refused(tmp_path: Path, text: str, told: str) -> None:
    made = options(tmp_path, build_bzimage(), command_line=text)
    with pytest.raises(UsageError, match=told):
        prepare(made)
    with pytest.raises(UsageError, match=told):
        prepare_foreign(made, ForeignWay.LINUX)


def test_a_foreign_boot_that_did_not_start_has_no_profile(tmp_path: Path) -> None:
    result = not_started(prepare_foreign(options(tmp_path, build_bzimage()), ForeignWay.LINUX), "no reason")
    assert (result.profile, result.entry) == ("", "qemu-linux")
    assert (result.verdict.outcome, result.verdict.message) == (Outcome.NOT_STARTED, "no reason")


class OnXen(EmbeddedMachine):
    """The embedded machine under the name of Xen: nothing is started here."""

    name = "xen"
    runs_kernels = True
    console = "hvc0"


def test_xen_s_loader_gets_the_file_as_it_is(tmp_path: Path) -> None:
    data = build_bzimage()
    made = replace(options(tmp_path, data), machine=OnXen())
    prepared = prepare_foreign(made, ForeignWay.XEN_PVH)
    assert prepared.foreign is not None
    assert (prepared.foreign.kernel, prepared.foreign.command_line) == (data, "console=hvc0")
    assert prepared.options.entry == "xen-pvh"


def test_a_kernel_without_the_pv_note_says_which_entries_it_has(tmp_path: Path) -> None:
    data = build_bzimage(build_elf(notes=linux_notes(xen_pv=None)))
    with pytest.raises(
        UsageError, match="expected a kernel with the entry xen-pv for xen-pv, found "
    ) as told:
        prepare_foreign(options(tmp_path, data), ForeignWay.XEN_PV)
    assert "pvh" in told.value.message


def test_on_xen_all_entries_include_those_of_xen_s_own_loader(tmp_path: Path) -> None:
    made = replace(options(tmp_path, build_bzimage()), machine=OnXen())
    entries = [prepared.options.entry for prepared in prepare_all(made)]
    assert entries[-2:] == ["xen-pvh", "xen-pv"]
    assert "pvh" not in entries
    assert "efi" in entries
    assert "xen-pvh" not in [one.options.entry for one in prepare_all(options(tmp_path, build_bzimage()))]


def test_an_image_on_the_volume_is_told_where_it_stands_there(tmp_path: Path) -> None:
    folder = tmp_path / "esp" / "EFI" / "Xen"
    folder.mkdir(parents=True)
    on_it = options(folder, build_pe(), esp=tmp_path / "esp" / "." / "EFI" / "..")
    assert prepare(on_it).request.file_path == "\\EFI\\Xen\\image"
    (tmp_path / "link").symlink_to("esp/EFI")
    by_link = replace(on_it, image=tmp_path / "link" / "Xen" / "image")
    assert prepare(by_link).request.file_path == "\\EFI\\Xen\\image"
    (tmp_path / "esp" / "elsewhere").symlink_to(folder / "image")
    assert prepare(replace(on_it, image=tmp_path / "esp" / "elsewhere")).request.file_path == "\\elsewhere"
    assert prepare(options(tmp_path, build_pe(), esp=tmp_path / "esp")).request.file_path == ""
    (tmp_path / "circle").symlink_to("circle")
    assert prepare(options(tmp_path, build_pe(), esp=tmp_path / "circle")).request.file_path == ""


def test_a_volume_that_nobody_could_see_is_refused(tmp_path: Path) -> None:
    for fields in ({"entry": "linux64"}, {"profile": PROFILES["minimal"]}):
        with pytest.raises(UsageError, match="--esp"):
            prepare(options(tmp_path, build_bzimage(), esp=tmp_path, **fields))
    with pytest.raises(UsageError, match="expected no --esp"):
        prepare_foreign(options(tmp_path, build_bzimage(), esp=tmp_path), ForeignWay.LINUX)

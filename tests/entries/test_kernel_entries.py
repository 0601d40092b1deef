# SPDX-License-Identifier: GPL-2.0-or-later
"""The entries that are jumped to: headers and notes that lie are one clear line, never a wild jump."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.boot import Observer, boot
from pvefi.entries import BootInfo
from pvefi.errors import UsageError
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare, prepare_all
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.uefi import guids
from pvefi.verdict import BootResult, Outcome
from tests.build.bzimage import build_bzimage
from tests.build.elf import PHYSICAL, build_elf, linux_notes
from tests.conftest import RealFiles

MIB = 1 << 20


def options(folder: Path, data: bytes, entry: str) -> BootOptions:
    path = folder / "kernel"
    path.write_bytes(data)
    return BootOptions(path, EmbeddedMachine(), entry=entry, memory_size=128 * MIB, timeout=1)


def run(given: BootOptions) -> BootResult:
    return boot(prepare(given), Observer(lambda _: None, lambda _: None, lambda _: None))


@pytest.mark.parametrize("entry", ["linux64", "linux32"])
@pytest.mark.parametrize(
    "header",
    [
        {"pref_address": 0x1000123},
        {"pref_address": 1 << 32},
        {"pref_address": (1 << 64) - 1},
        {"kernel_alignment": 0, "pref_address": 0x800000},
        {"kernel_alignment": 3, "pref_address": 0x800000},
        {"kernel_alignment": 0xFFFFFFFF, "pref_address": 0x800000},
    ],
    ids=str,
)
def test_a_header_that_lies_about_its_place_is_placed_or_refused(
    tmp_path: Path, entry: str, header: dict[str, Any]
) -> None:
    data = build_bzimage(init_size=4 * MIB, relocatable_kernel=1, **header)
    with suppress(UsageError):
        assert run(options(tmp_path, data, entry)).verdict.outcome is not Outcome.BAD_REQUEST


@pytest.mark.parametrize("note", [PHYSICAL - 0x1000, 0x7000_0000, 0])
def test_a_pvh_note_that_points_nowhere_is_refused(tmp_path: Path, note: int) -> None:
    data = build_bzimage(build_elf(notes=linux_notes(pvh=note)))
    with pytest.raises(UsageError, match="expected the PVH note to point into a load segment"):
        prepare(options(tmp_path, data, "pvh"))


def test_a_command_line_longer_than_the_kernel_keeps_is_refused_by_every_entry(tmp_path: Path) -> None:
    data = build_bzimage(cmdline_size=100)
    for entry in ("efi-handover", "linux64", "linux32", "pvh"):
        given = replace(options(tmp_path, data, entry), command_line="x" * 101)
        with pytest.raises(UsageError, match="at most 100 bytes, found 101"):
            prepare(given)


def test_setup_data_is_refused_where_the_boot_protocol_has_none(tmp_path: Path) -> None:
    data = build_bzimage(version=0x0208)
    with pytest.raises(UsageError, match=r"expects boot protocol 2\.09"):
        prepare(replace(options(tmp_path, data, "linux32"), boot_info=BootInfo.SETUP_DATA))


def test_an_entry_s_own_way_is_taken_where_none_is_asked_for(tmp_path: Path) -> None:
    made = prepare_all(options(tmp_path, build_bzimage(), "efi"))
    ways = {one.options.entry: one.request.boot_info for one in made}
    assert ways == {
        "efi": BootInfo.TABLE,
        "efi-handover": BootInfo.TABLE,
        "linux64": BootInfo.NONE,
        "kexec": BootInfo.TABLE,
        "linux32": BootInfo.NONE,
        "pvh": BootInfo.NONE,
    }


def test_the_handover_entry_takes_one_carrier_and_one_initrd(corpus: RealFiles, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"initrd" * 1000)
    kernel = corpus.file("cloud", "boot/vmlinuz-*")
    given = BootOptions(
        kernel,
        EmbeddedMachine(),
        entry="efi-handover",
        boot_info=BootInfo.SETUP_DATA,
        initrd=initrd,
        timeout=120,
    )
    result = run(given)
    assert result.handoff is not None
    tables = [table.guid for table in result.handoff.configuration_tables]
    assert guids.PVEFI_HYPERVISOR_INFORMATION not in tables
    assert BootParams.unpack(result.handoff.boot_params).hdr.setup_data
    assert result.handoff.initrd_size == 6000
    assert "LoadFile" not in " ".join(call.service for call in result.calls)

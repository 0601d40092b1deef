# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI entry: what the loader is asked for, and the upcall that starts an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pvefi.entries import EntryRequest
from pvefi.entries import efi as efi_entry
from pvefi.errors import UsageError
from pvefi.guest.mailbox import Upcall
from pvefi.image import inspect
from pvefi.memory import NamedRange
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Outcome
from tests.build.bzimage import build_bzimage
from tests.build.pe import PAGE, build_pe
from tests.efi.boot.guest import FakeGuest

INFORMATION = 0x80_3000


def request(folder: Path, data: bytes, name: str, command_line: str) -> EntryRequest:
    path = folder / name
    path.write_bytes(data)
    return EntryRequest(inspect(path), data, command_line)


def test_a_program_asks_for_no_place(tmp_path: Path) -> None:
    data = build_pe()
    source = efi_entry.source_of(request(tmp_path, data, "hello.efi", "-v"))
    assert (source.name, source.load_options, source.keep_free) == ("hello.efi", "-v", None)
    assert source.data is data


def test_a_kernel_s_preferred_place_is_kept_free(tmp_path: Path) -> None:
    data = build_bzimage(pref_address=0x200_0000, init_size=0x123_4000)
    source = efi_entry.source_of(request(tmp_path, data, "vmlinuz", ""))
    assert source.keep_free == NamedRange("the kernel's preferred address", 0x200_0000, 0x123_4000)


@pytest.mark.parametrize(("profile", "offered"), [("linux", True), ("minimal", False)])
def test_the_image_is_loaded_and_called_with_handle_and_system_table(
    tmp_path: Path, profile: str, offered: bool
) -> None:
    guest = FakeGuest(profile)
    efi = guest.efi
    starts: list[int] = []
    efi.surroundings = replace(efi.surroundings, image_starts=starts.append)
    data = build_pe()
    steps = efi_entry.enter(efi, request(tmp_path, data, "hello.efi", ""), INFORMATION)
    step = next(steps)
    (image,) = efi.images.values()
    assert step == Upcall(image.base + PAGE, (image.handle, efi.tables.system_table), tag=image.handle)
    assert starts == [image.base + PAGE]
    found = efi.handles.interface(image.handle, guids.PVEFI_HYPERVISOR_INFORMATION)
    assert found == (INFORMATION if offered else None)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "hello.efi ended with EFI_SUCCESS"),
        (EfiStatus.NOT_FOUND, "hello.efi ended with EFI_NOT_FOUND"),
        (0x1234_5678_9ABC, "hello.efi ended with 0x123456789abc"),
    ],
)
def test_the_status_that_comes_back_is_the_verdict(tmp_path: Path, status: int, text: str) -> None:
    data = build_pe()
    asked = request(tmp_path, data, "hello.efi", "")
    steps = efi_entry.enter(FakeGuest().efi, asked, INFORMATION)
    next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(status)
    verdict = end.value.value
    assert (verdict.outcome, verdict.status, verdict.message) == (Outcome.EXITED, status, text)


def test_an_image_without_room_is_never_started(tmp_path: Path) -> None:
    data = build_pe(size_of_image=64 << 20)
    asked = request(tmp_path, data, "large.efi", "")
    with pytest.raises(UsageError, match="give the guest more memory"):
        next(efi_entry.enter(FakeGuest().efi, asked, INFORMATION))

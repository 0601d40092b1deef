# SPDX-License-Identifier: GPL-2.0-or-later
"""ResetSystem ends the run, and says how."""

from __future__ import annotations

import pytest

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.reset import reset_system
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi.reset import ResetType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from pvefi.verdict import Outcome, Verdict
from tests.efi.boot.guest import SIZE, FakeGuest

NULL = Address(0)


def reset(
    guest: FakeGuest, kind: ResetType, status: EfiStatus = EfiStatus.SUCCESS, data: bytes = b""
) -> Verdict:
    place = guest.put(data) if data else NULL
    return reset_system(guest.efi, kind, status, len(data), place).verdict


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    ("kind", "name", "outcome"),
    [
        (ResetType.COLD, "EfiResetCold", Outcome.REBOOTED),
        (ResetType.WARM, "EfiResetWarm", Outcome.REBOOTED),
        (ResetType.SHUTDOWN, "EfiResetShutdown", Outcome.POWERED_OFF),
        (ResetType.PLATFORM_SPECIFIC, "EfiResetPlatformSpecific", Outcome.REBOOTED),
    ],
)
def test_every_kind_of_reset_ends_the_run(
    guest: FakeGuest, phase: Phase, kind: ResetType, name: str, outcome: Outcome
) -> None:
    guest.efi.phase = phase
    expected = f"the guest called ResetSystem({name}) with EFI_SUCCESS"
    assert reset(guest, kind) == Verdict(outcome, expected, EfiStatus.SUCCESS)


def test_the_verdict_has_the_guest_s_own_words(guest: FakeGuest) -> None:
    data = 'no "disk"\n\0'.encode("utf-16-le") + b"binary"
    found = reset(guest, ResetType.COLD, EfiStatus.NO_MEDIA, data)
    assert found.message.endswith(r'(EfiResetCold) with EFI_NO_MEDIA: "no \"disk\"\n"')
    assert found.status is EfiStatus.NO_MEDIA


KIND = Guid.parse("12345678-9abc-def0-1234-56789abcdef0")


@pytest.mark.parametrize(
    ("text", "said"), [("why\0", f': "why", {KIND}'), ("\0", f", {KIND}")], ids=["text", "no text"]
)
def test_a_platform_specific_reset_says_which_one_it_is(guest: FakeGuest, text: str, said: str) -> None:
    data = text.encode("utf-16-le") + KIND.wire
    found = reset(guest, ResetType.PLATFORM_SPECIFIC, data=data)
    assert found.message.endswith(f"with EFI_SUCCESS{said}")
    assert str(KIND) not in reset(guest, ResetType.PLATFORM_SPECIFIC, data=data[:-1]).message
    assert str(KIND) not in reset(guest, ResetType.COLD, data=data).message


@pytest.mark.parametrize("data", [b"a", b"a\0", b"a\0b\0", b"\0\0rest"])
def test_data_without_a_text_in_it_does_not_stop_a_reset(guest: FakeGuest, data: bytes) -> None:
    found = reset(guest, ResetType.WARM, EfiStatus.ABORTED, data)
    assert found.message.endswith("with EFI_ABORTED")


def test_long_words_are_cut(guest: FakeGuest) -> None:
    found = reset(guest, ResetType.COLD, data=("x" * 5000 + "\0").encode("utf-16-le"))
    assert len(found.message) < 1200


def test_data_that_is_no_memory_ends_the_run_as_any_wild_pointer_does(guest: FakeGuest) -> None:
    with pytest.raises(GuestFault):
        reset_system(guest.efi, ResetType.COLD, EfiStatus.SUCCESS, 16, Address(SIZE))


def test_a_reset_that_there_is_not_is_refused(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="0x4 is no kind of reset"):
        reset(guest, ResetType(4))

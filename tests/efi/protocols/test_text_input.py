# SPDX-License-Identifier: GPL-2.0-or-later
"""The console's input, on which nobody types."""

from __future__ import annotations

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.protocols import text_input
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.protocols import SimpleTextInputProtocol
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from tests.efi.boot.guest import FakeGuest

NOBODY = Address(0)


def test_there_never_is_a_key() -> None:
    efi = FakeGuest().efi
    text_input.reset(efi, NOBODY, True)
    with pytest.raises(EfiError, match=r"EFI_NOT_READY: no key was typed"):
        text_input.read_key_stroke(efi, NOBODY, NOBODY)


def test_the_key_s_event_exists_has_a_name_and_is_never_signalled() -> None:
    guest = FakeGuest()
    efi = guest.efi
    (handle,) = efi.handles.handles_with(guids.SIMPLE_TEXT_INPUT_PROTOCOL)
    address = efi.handles.interface(handle, guids.SIMPLE_TEXT_INPUT_PROTOCOL) or 0
    interface = SimpleTextInputProtocol.unpack(guest.memory.read(address, SimpleTextInputProtocol.SIZE))
    event = interface.wait_for_key
    assert event in efi.events
    assert efi.event_names[event] == "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey"
    efi.events.prepare_check(event)
    assert not efi.events.finish_check(event)


def test_the_minimal_profile_has_no_input() -> None:
    efi = FakeGuest("minimal").efi
    assert not efi.handles.handles_with(guids.SIMPLE_TEXT_INPUT_PROTOCOL)
    assert text_input.install(efi) == (0, 0)
    assert EfiStatus.NOT_READY.is_error

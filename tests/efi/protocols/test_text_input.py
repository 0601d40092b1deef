# SPDX-License-Identifier: GPL-2.0-or-later
"""The console's input: keys that somebody types, and nobody."""

from __future__ import annotations

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.protocols import text_input
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.keys import InputKey, ScanCode
from pvefi.spec.uefi.protocols import SimpleTextInputProtocol
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from tests.efi.boot.guest import FakeGuest

THIS = Address(0)


def read(guest: FakeGuest) -> InputKey:
    """Return what ReadKeyStroke gives to the guest."""
    key = guest.put(bytes(InputKey.SIZE))
    text_input.read_key_stroke(guest.efi, THIS, key)
    return InputKey.unpack(guest.memory.read(key, InputKey.SIZE))


def test_keys_are_read_in_the_order_of_typing(guest: FakeGuest) -> None:
    guest.typing = [b"a", b"\x1b[A\r"]
    assert read(guest) == InputKey(ScanCode.NULL, ord("a"))
    assert read(guest) == InputKey(ScanCode.UP, 0)
    assert read(guest) == InputKey(ScanCode.NULL, 0x0D)
    with pytest.raises(EfiError, match="EFI_NOT_READY: no key was typed"):
        read(guest)


def test_without_a_key_the_guest_s_memory_stays_as_it_is(guest: FakeGuest) -> None:
    key = guest.put(b"\xaa" * InputKey.SIZE)
    with pytest.raises(EfiError, match="EFI_NOT_READY"):
        text_input.read_key_stroke(guest.efi, THIS, key)
    assert guest.memory.read(key, InputKey.SIZE) == b"\xaa" * InputKey.SIZE


def test_a_key_without_a_place_for_it_is_refused_and_kept(guest: FakeGuest) -> None:
    guest.typing = [b"a"]
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER: Key is NULL"):
        text_input.read_key_stroke(guest.efi, THIS, Address(0))
    assert read(guest) == InputKey(ScanCode.NULL, ord("a"))


def test_reset_forgets_what_was_typed(guest: FakeGuest) -> None:
    guest.typing = [b"abc", b"d"]
    text_input.reset(guest.efi, THIS, True)
    assert read(guest) == InputKey(ScanCode.NULL, ord("d"))


def test_the_key_s_event_exists_has_a_name_and_is_signalled_by_a_key(guest: FakeGuest) -> None:
    efi = guest.efi
    (handle,) = efi.handles.handles_with(guids.SIMPLE_TEXT_INPUT_PROTOCOL)
    address = efi.handles.interface(handle, guids.SIMPLE_TEXT_INPUT_PROTOCOL) or 0
    interface = SimpleTextInputProtocol.unpack(guest.memory.read(address, SimpleTextInputProtocol.SIZE))
    event = interface.wait_for_key
    assert event in efi.events
    assert efi.event_names[event] == "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey"
    guest.typing = [b"", b"k"]
    for signalled in (False, True, True):  # until the key is read
        efi.events.prepare_check(event)
        assert efi.events.finish_check(event) is signalled
    read(guest)
    assert not efi.events.finish_check(event)


def test_the_minimal_profile_has_no_input() -> None:
    efi = FakeGuest("minimal").efi
    assert not efi.handles.handles_with(guids.SIMPLE_TEXT_INPUT_PROTOCOL)
    assert text_input.install(efi) == (0, 0)
    assert EfiStatus.NOT_READY.is_error

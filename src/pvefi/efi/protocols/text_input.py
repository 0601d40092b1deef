# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_SIMPLE_TEXT_INPUT_PROTOCOL — UEFI 2.10 §12.3: keys from the terminal, or from what is piped in."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import BOOLEAN, Pointer, service
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.protocols import SimpleTextInputProtocol
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["install"]


def install(efi: Environment) -> tuple[int, int]:
    """Place the protocol on a handle of its own; return handle and interface address, or zeroes."""
    if not efi.profile.has_interface(guids.SIMPLE_TEXT_INPUT_PROTOCOL):
        return 0, 0
    wait_for_key = efi.events.create_waitable(efi.keys.ready)
    efi.keys.wait_for_key = wait_for_key
    efi.event_names[wait_for_key] = "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey"
    interface = SimpleTextInputProtocol(
        reset=efi.gates.address(reset),
        read_key_stroke=efi.gates.address(read_key_stroke),
        wait_for_key=wait_for_key,
    )
    address = efi.boot_arena.place("EFI_SIMPLE_TEXT_INPUT_PROTOCOL", interface.pack())
    return efi.offer(0, (guids.SIMPLE_TEXT_INPUT_PROTOCOL, address)), address


@service("EFI_SIMPLE_TEXT_INPUT_PROTOCOL.Reset", "UEFI 2.10 §12.3.2")
def reset(efi: Environment, this: Pointer, extended_verification: BOOLEAN) -> None:
    """Forget typed keys."""
    efi.keys.clear()


@service("EFI_SIMPLE_TEXT_INPUT_PROTOCOL.ReadKeyStroke", "UEFI 2.10 §12.3.3")
def read_key_stroke(efi: Environment, this: Pointer, key: Pointer) -> None:
    """Take the next key.

    NOT_READY: there is none. INVALID_PARAMETER: `key` is NULL.
    """
    if not key:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Key is NULL")
    stroke = efi.keys.read()
    if stroke is None:
        raise EfiError(EfiStatus.NOT_READY, "no key was typed")
    efi.memory.write(key, stroke.pack())

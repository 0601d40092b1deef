# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_RNG_PROTOCOL — UEFI 2.10 §37.5: the host's random numbers, or a seeded sequence."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import UINTN, InOut, Pointer, service
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.protocols import RngProtocol
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["install"]

_AT_MOST = 1 << 20
"""More random bytes than any guest needs at once; the host must not be kept busy making them."""


def install(efi: Environment) -> None:
    """Place the protocol on a handle of its own, where the profile offers it."""
    if guids.RNG_PROTOCOL not in efi.profile.protocols:
        return
    interface = RngProtocol(get_info=efi.gates.address(get_info), get_rng=efi.gates.address(get_rng))
    efi.handles.install(0, guids.RNG_PROTOCOL, efi.boot_arena.place("EFI_RNG_PROTOCOL", interface.pack()))


@service("EFI_RNG_PROTOCOL.GetInfo", "UEFI 2.10 §37.5.2")
def get_info(
    efi: Environment, this: Pointer, algorithm_list_size: InOut[UINTN], algorithm_list: Pointer
) -> None:
    """List the algorithms, the default first: raw is the only one.

    BUFFER_TOO_SMALL: the list does not fit; `algorithm_list_size` then holds its size.
    """
    given = algorithm_list_size.get()
    algorithm_list_size.set(Guid.SIZE)
    if given < Guid.SIZE or not algorithm_list:
        raise EfiError(EfiStatus.BUFFER_TOO_SMALL, f"the list takes {Guid.SIZE} bytes, given {given}")
    efi.memory.write(algorithm_list, guids.RNG_ALGORITHM_RAW.wire)


@service("EFI_RNG_PROTOCOL.GetRNG", "UEFI 2.10 §37.5.3")
def get_rng(
    efi: Environment, this: Pointer, algorithm: Guid | None, value_length: UINTN, value: Pointer
) -> None:
    """Fill a buffer with random bytes.

    INVALID_PARAMETER: `value` is NULL or `value_length` 0. UNSUPPORTED: an algorithm other than raw.
    NOT_READY: `value_length` is more than there is at once.
    """
    if algorithm is not None and algorithm != guids.RNG_ALGORITHM_RAW:
        raise EfiError(EfiStatus.UNSUPPORTED, f"{guids.guid_name(algorithm)} is not offered")
    if not value or not value_length:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "no buffer to fill")
    # EFI_NOT_READY: "There is not enough random data available to satisfy the length requested".
    if value_length > _AT_MOST:
        raise EfiError(EfiStatus.NOT_READY, f"{value_length:#x} random bytes at once, of {_AT_MOST:#x}")
    efi.memory.write(value, efi.surroundings.random(value_length))

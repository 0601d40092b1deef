# SPDX-License-Identifier: GPL-2.0-or-later
"""Capsule services — UEFI 2.10 §8.5.3: there is no firmware that a capsule could change, so none is taken."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import UINT64, UINTN, Out, Pointer, service
from pvefi.spec.uefi.capsule import CapsuleFlag, CapsuleHeader
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.reset import RESET_TYPE
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["query_capsule_capabilities", "update_capsule"]

_POINTER_SIZE = 8
_LOOKED_AT = 64  # capsules; however many there are, none is supported


@service("UpdateCapsule", "UEFI 2.10 §8.5.3")
def update_capsule(
    efi: Environment, capsule_header_array: Pointer, capsule_count: UINTN, scatter_gather_list: Pointer
) -> None:
    """Refuse the capsules: no kind of them is supported.

    INVALID_PARAMETER: there are none, a header's flags do not go together, or one is to persist across a
    reset, and `scatter_gather_list` does not say where it stands. UNSUPPORTED otherwise.
    """
    first = _checked(efi, capsule_header_array, capsule_count, scatter_gather_list)
    raise EfiError(EfiStatus.UNSUPPORTED, f"capsules of {first} are not supported")


@service("QueryCapsuleCapabilities", "UEFI 2.10 §8.5.3")
def query_capsule_capabilities(
    efi: Environment,
    capsule_header_array: Pointer,
    capsule_count: UINTN,
    maximum_capsule_size: Out[UINT64],
    reset_type: Out[RESET_TYPE],
) -> None:
    """Refuse the capsules: no kind of them is supported.

    INVALID_PARAMETER: there are none, a header's flags do not go together, or an argument is NULL.
    UNSUPPORTED otherwise.
    """
    first = _checked(efi, capsule_header_array, capsule_count, None)
    raise EfiError(EfiStatus.UNSUPPORTED, f"capsules of {first} are not supported")


def _checked(efi: Environment, array: int, count: int, scatter_gather_list: int | None) -> str:
    """Return what the first capsule is; EfiError INVALID_PARAMETER for headers that make no sense.

    `scatter_gather_list` is None where the caller need not have one.
    """
    if not count:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "there are no capsules")
    if not array:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "CapsuleHeaderArray is NULL")
    headers: list[CapsuleHeader] = []
    for number in range(min(count, _LOOKED_AT)):
        place = efi.memory.read(array + number * _POINTER_SIZE, _POINTER_SIZE)
        headers.append(_header(efi, number, int.from_bytes(place, "little"), scatter_gather_list))
    return guid_name(headers[0].capsule_guid)


def _header(efi: Environment, number: int, address: int, scatter_gather_list: int | None) -> CapsuleHeader:
    if not address:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"the pointer to capsule {number} is NULL")
    header = CapsuleHeader.unpack(efi.memory.read(address, CapsuleHeader.SIZE))
    persists = header.flags & CapsuleFlag.PERSIST_ACROSS_RESET
    # "A capsule which has the CAPSULE_FLAGS_POPULATE_SYSTEM_TABLE Flag must have
    # CAPSULE_FLAGS_PERSIST_ACROSS_RESET set in its header as well", and so one that initiates the reset.
    if header.flags & (CapsuleFlag.POPULATE_SYSTEM_TABLE | CapsuleFlag.INITIATE_RESET) and not persists:
        raise EfiError(
            EfiStatus.INVALID_PARAMETER,
            f"capsule {number} has flags {header.flags:#x}, without persistence across the reset they need",
        )
    if persists and scatter_gather_list == 0:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"capsule {number} persists, ScatterGatherList is NULL")
    return header

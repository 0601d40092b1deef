# SPDX-License-Identifier: GPL-2.0-or-later
"""A store of variables in flash memory — edk2 MdeModulePkg/Include/Guid/VariableFormat.h.

The store's header is followed by variables, each a header, the name with its NUL, and the data, each header
at a multiple of 4. Erased flash is all ones, and a write can only clear bits: so a variable's state goes on
by clearing one bit after the other.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U8, U16, U32, U64, Bytes, Guid, Structure, layout

__all__ = [
    "ADDED",
    "AUTHENTICATED_VARIABLE_STORE",
    "DELETED",
    "ERASED",
    "HEADER_ALIGNMENT",
    "HEADER_VALID_ONLY",
    "IN_DELETED_TRANSITION",
    "STORE_FORMATTED",
    "STORE_HEALTHY",
    "UNWRITTEN",
    "UNWRITTEN_WORD",
    "VARIABLE_DATA",
    "VARIABLE_STORE",
    "AuthenticatedVariableHeader",
    "VariableHeader",
    "VariableStoreHeader",
]

VARIABLE_STORE = Guid.parse("ddcf3616-3275-4164-98b6-fe85707ffe7d")
"""gEfiVariableGuid: a store of VARIABLE_HEADERs."""
AUTHENTICATED_VARIABLE_STORE = Guid.parse("aaf32c78-947b-439a-a180-2e144ec37792")
"""gEfiAuthenticatedVariableGuid: a store of AUTHENTICATED_VARIABLE_HEADERs."""

STORE_FORMATTED = 0x5A  # VARIABLE_STORE_FORMATTED
STORE_HEALTHY = 0xFE  # VARIABLE_STORE_HEALTHY

VARIABLE_DATA = 0x55AA  # what every variable's header begins with
HEADER_ALIGNMENT = 4

# A variable's state: these are the masks that are and-ed to it, one after the other.
UNWRITTEN = 0xFF
HEADER_VALID_ONLY = 0x7F  # VAR_HEADER_VALID_ONLY: the sizes can be relied on, the data cannot
ADDED = 0x3F  # VAR_ADDED: header and data are there
IN_DELETED_TRANSITION = 0xFE  # VAR_IN_DELETED_TRANSITION: counts as long as no other of its name is ADDED
DELETED = 0xFD  # VAR_DELETED

ERASED = 0xFF
"""A byte of erased flash."""
UNWRITTEN_WORD = 0xFFFFFFFF  # what a size is in erased flash


@layout(size=28)
class VariableStoreHeader(Structure):
    """VARIABLE_STORE_HEADER; `size` counts this header, but not that of the firmware volume before it."""

    signature: Guid
    size: U32
    format: U8
    state: U8
    reserved: U16
    reserved1: U32


@layout(size=32)
class VariableHeader(Structure):
    """VARIABLE_HEADER; `name_size` counts the NUL, `vendor` is a GUID's bytes, which makes reading quick."""

    start_id: U16
    state: U8
    reserved: U8
    attributes: U32
    name_size: U32
    data_size: U32
    vendor: Annotated[bytes, Bytes(16)]  # VendorGuid


@layout(size=60)
class AuthenticatedVariableHeader(Structure):
    """AUTHENTICATED_VARIABLE_HEADER; `timestamp` is the EFI_TIME of the last authenticated write.

    The rest is as in VARIABLE_HEADER.
    """

    start_id: U16
    state: U8
    reserved: U8
    attributes: U32
    monotonic_count: U64
    timestamp: Annotated[bytes, Bytes(16)]
    public_key_index: U32  # PubKeyIndex
    name_size: U32
    data_size: U32
    vendor: Annotated[bytes, Bytes(16)]  # VendorGuid

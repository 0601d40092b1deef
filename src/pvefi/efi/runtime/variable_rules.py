# SPDX-License-Identifier: GPL-2.0-or-later
"""What SetVariable() and QueryVariableInfo() accept, and how much there is room for — UEFI 2.10 §8.2.

Nothing here touches a guest or a store.
"""

from __future__ import annotations

from collections.abc import Iterable

from pvefi.efi.errors import EfiError
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import (
    DEFINED_VARIABLES,
    VariableAttribute,
    defined_attributes,
    is_read_only,
)

__all__ = [
    "ACCESS",
    "MAXIMUM_VARIABLE_SIZE",
    "STORAGE_SIZE",
    "check_combination",
    "check_definition",
    "check_offered",
    "check_size",
    "check_writable",
    "name_size",
    "room_for_one",
    "storage_taken",
]

STORAGE_SIZE = 256 << 10
"""Bytes for all non-volatile variables of a guest, and as many again for all volatile ones."""
MAXIMUM_VARIABLE_SIZE = 64 << 10
"""Bytes of one variable's name, with its NUL, and data together."""
_BOOKKEEPING = 64  # bytes that each variable takes besides: so that a guest cannot make very many

ACCESS = VariableAttribute.BOOTSERVICE_ACCESS | VariableAttribute.RUNTIME_ACCESS
_KNOWN = sum(VariableAttribute)
_AUTHENTICATED = (
    VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS | VariableAttribute.ENHANCED_AUTHENTICATED_ACCESS
)


def name_size(name: str) -> int:
    """Return the size of a name in a guest's memory, in bytes with its NUL."""
    return len(name.encode("utf-16-le", "surrogatepass")) + 2


def _size(variable: Variable) -> int:
    return name_size(variable.name) + len(variable.data)


def storage_taken(variables: Iterable[Variable]) -> int:
    """Return how many bytes of a store's STORAGE_SIZE `variables` take."""
    return sum(_BOOKKEEPING + _size(variable) for variable in variables)


def room_for_one(taken: int) -> int:
    """Return the size of the largest variable for which there is room beside `taken` bytes, in bytes."""
    return min(MAXIMUM_VARIABLE_SIZE, max(0, STORAGE_SIZE - taken - _BOOKKEEPING))


def check_offered(attributes: VariableAttribute) -> None:
    """Refuse attributes of variables that are not on offer; EfiError UNSUPPORTED."""
    # Deprecated: "platforms should return EFI_UNSUPPORTED" to a caller who specifies it.
    if attributes & VariableAttribute.AUTHENTICATED_WRITE_ACCESS:
        raise EfiError(EfiStatus.UNSUPPORTED, "AUTHENTICATED_WRITE_ACCESS is deprecated")
    # Nothing here verifies signatures, so an authenticated variable would be none.
    if attributes & _AUTHENTICATED:
        raise EfiError(EfiStatus.UNSUPPORTED, "there are no authenticated variables")
    if attributes & VariableAttribute.HARDWARE_ERROR_RECORD:
        raise EfiError(EfiStatus.UNSUPPORTED, "there are no hardware error records")


def check_combination(attributes: VariableAttribute) -> None:
    """Refuse attributes that make no sense together; EfiError INVALID_PARAMETER."""
    if unknown := int(attributes) & ~_KNOWN:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"attribute bits {unknown:#x} mean nothing")
    # "Runtime access to a data variable implies boot service access."
    if attributes & ACCESS == VariableAttribute.RUNTIME_ACCESS:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "runtime access without boot services access")
    # Of both at once the specification says that "the firmware must return EFI_INVALID_PARAMETER".
    if attributes & _AUTHENTICATED == _AUTHENTICATED:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "two kinds of authenticated access at once")


def check_writable(name: str, vendor: Guid) -> None:
    """Refuse to change what the firmware says of itself; EfiError WRITE_PROTECTED."""
    if is_read_only(name, vendor):
        raise EfiError(EfiStatus.WRITE_PROTECTED, f"{name} is the firmware's own")


def check_definition(name: str, vendor: Guid, attributes: VariableAttribute) -> None:
    """Refuse a variable under a GUID of the specification that is not as the specification has it.

    EfiError: INVALID_PARAMETER.
    """
    # "Implementations must only permit the creation of variables with a UEFI Specification-defined
    # VendorGuid when these variables are documented in the UEFI Specification."
    if vendor not in DEFINED_VARIABLES:
        return
    expected = defined_attributes(name, vendor)
    if expected is None:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{guid_name(vendor)} has no variable {name}")
    if attributes != expected:
        raise EfiError(
            EfiStatus.INVALID_PARAMETER,
            f"{name}: expected attributes {int(expected):#x}, found {int(attributes):#x}",
        )


def check_size(name: str, data_size: int) -> None:
    """Refuse a variable that would be too large; EfiError INVALID_PARAMETER."""
    size = name_size(name) + data_size
    if size > MAXIMUM_VARIABLE_SIZE:
        raise EfiError(
            EfiStatus.INVALID_PARAMETER,
            f"{size} bytes of name and data, a variable has at most {MAXIMUM_VARIABLE_SIZE}",
        )

# SPDX-License-Identifier: GPL-2.0-or-later
"""What SetVariable() and QueryVariableInfo() accept, and how much there is room for — UEFI 2.10 §8.2.

Nothing here touches a guest or a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.efi.errors import EfiError
from pvefi.efi.own_variables import is_own
from pvefi.efi.varstore.store import StoreError, StoreFault, name_size
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
    "check_combination",
    "check_definition",
    "check_offered",
    "check_size",
    "check_writable",
    "refusal_of",
]

ACCESS = VariableAttribute.BOOTSERVICE_ACCESS | VariableAttribute.RUNTIME_ACCESS
_KNOWN = sum(VariableAttribute)
_AUTHENTICATED = (
    VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS | VariableAttribute.ENHANCED_AUTHENTICATED_ACCESS
)


# UEFI 2.10 §8.2.3: "The variable could not be saved due to a hardware failure", and so on.
_REFUSALS: Mapping[StoreFault, EfiStatus] = MappingProxyType(
    {
        StoreFault.FULL: EfiStatus.OUT_OF_RESOURCES,
        StoreFault.READ_ONLY: EfiStatus.WRITE_PROTECTED,
        StoreFault.DEVICE: EfiStatus.DEVICE_ERROR,
    }
)


def refusal_of(error: StoreError) -> EfiError:
    """Return what a guest is told of a store that did not do what it was asked to."""
    return EfiError(_REFUSALS[error.fault], error.message)


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
    if is_read_only(name, vendor) or is_own(name, vendor):
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


def check_size(name: str, data_size: int, largest: int) -> None:
    """Refuse a variable whose name and data have more than `largest` bytes; EfiError INVALID_PARAMETER."""
    size = name_size(name) + data_size
    if size > largest:
        raise EfiError(
            EfiStatus.INVALID_PARAMETER,
            f"{size} bytes of name and data, a variable has at most {largest}",
        )

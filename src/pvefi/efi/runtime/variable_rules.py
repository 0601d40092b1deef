# SPDX-License-Identifier: GPL-2.0-or-later
"""What SetVariable() and QueryVariableInfo() accept before anything is looked at — UEFI 2.10 §8.2.

Nothing here touches a guest or a store.
"""

from __future__ import annotations

from pvefi.efi.authentication.authority import Authority, authority_of
from pvefi.efi.errors import EfiError
from pvefi.efi.own_variables import is_own, needs_presence
from pvefi.efi.varstore.store import VariableStore, name_size
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import (
    ACCESS,
    AUTHENTICATED,
    DEFINED_VARIABLES,
    VariableAttribute,
    defined_attributes,
    is_numbered,
    is_read_only,
)

__all__ = [
    "check_combination",
    "check_definition",
    "check_offered",
    "check_record",
    "check_size",
    "check_timestamps",
    "check_writable",
]

_KNOWN = sum(VariableAttribute)


def check_offered(attributes: VariableAttribute) -> None:
    """Refuse attributes of variables that are not on offer; EfiError UNSUPPORTED."""
    # Deprecated: "platforms should return EFI_UNSUPPORTED" to a caller who specifies it.
    if attributes & VariableAttribute.AUTHENTICATED_WRITE_ACCESS:
        raise EfiError(EfiStatus.UNSUPPORTED, "AUTHENTICATED_WRITE_ACCESS is deprecated")
    if attributes & VariableAttribute.HARDWARE_ERROR_RECORD:
        raise EfiError(EfiStatus.UNSUPPORTED, "there are no hardware error records")


def check_record(name: str, vendor: Guid, attributes: VariableAttribute) -> None:
    """Refuse a hardware error record under a name that none has; EfiError INVALID_PARAMETER."""
    # "If the EFI_VARIABLE_HARDWARE_ERROR_RECORD attribute is set, VariableName and VendorGuid must comply
    # with the rules stated in" UEFI 2.10 §8.2.7.2.
    if attributes & VariableAttribute.HARDWARE_ERROR_RECORD and (
        vendor != guids.HARDWARE_ERROR_VARIABLE or not is_numbered(name, "HwErrRec")
    ):
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{name} is no name of a hardware error record")


def check_timestamps(attributes: VariableAttribute, store: VariableStore) -> None:
    """Refuse time-based variables where their times would be lost; EfiError UNSUPPORTED."""
    timed = attributes & VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS
    if timed and not store.keeps_timestamps:
        raise EfiError(EfiStatus.UNSUPPORTED, "the variable store has no place for timestamps")


def check_combination(attributes: VariableAttribute) -> None:
    """Refuse attributes that make no sense together; EfiError INVALID_PARAMETER."""
    if unknown := int(attributes) & ~_KNOWN:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"attribute bits {unknown:#x} mean nothing")
    # "Runtime access to a data variable implies boot service access."
    if attributes & ACCESS == VariableAttribute.RUNTIME_ACCESS:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "runtime access without boot services access")
    # Of both at once the specification says that "the firmware must return EFI_INVALID_PARAMETER".
    if attributes & AUTHENTICATED == AUTHENTICATED:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "two kinds of authenticated access at once")


def check_writable(name: str, vendor: Guid) -> None:
    """Refuse to change what is the firmware's own; EfiError WRITE_PROTECTED, SECURITY_VIOLATION."""
    if is_own(name, vendor) or is_read_only(name, vendor):
        raise EfiError(EfiStatus.WRITE_PROTECTED, f"{name} is the firmware's own")
    if needs_presence(name, vendor):
        raise EfiError(EfiStatus.SECURITY_VIOLATION, f"{name} changes only for a user who is present")


def check_definition(name: str, vendor: Guid, attributes: VariableAttribute) -> None:
    """Refuse a variable of the specification's that is not as the specification has it.

    EfiError: INVALID_PARAMETER.
    """
    timed = attributes & VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS
    # "Secure Boot Policy Variable must be created with the EFI_VARIABLE_TIME_BASED_AUTHENTICATED_WRITE_ACCESS
    # attribute set": OsRecovery#### too, which any vendor may have.
    if authority_of(name, vendor) is not Authority.CREATOR and not timed:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{name} has to be authenticated")
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

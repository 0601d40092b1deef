# SPDX-License-Identifier: GPL-2.0-or-later
"""Variable services — UEFI 2.10 §8.2."""

from __future__ import annotations

from pvefi.efi.authentication.authority import Authority, authority_of
from pvefi.efi.authentication.descriptor import LARGEST_DESCRIPTOR
from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.authenticated_variables import write_authenticated
from pvefi.efi.runtime.enhanced_variables import write_enhanced
from pvefi.efi.runtime.secure_boot import MODE_VARIABLES, provide_mode, provide_mode_for, set_mode
from pvefi.efi.runtime.stores import find, following, is_visible, put, remove, store_of
from pvefi.efi.runtime.variable_rules import (
    check_combination,
    check_definition,
    check_offered,
    check_record,
    check_size,
    check_timestamps,
    check_writable,
)
from pvefi.efi.service import UINT32, UINT64, UINTN, InOut, Out, Pointer, Text, service
from pvefi.efi.varstore.store import Variable, name_size
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import ACCESS, AUTHENTICATED, VARIABLE_ATTRIBUTES, VariableAttribute

__all__ = [
    "get_next_variable_name",
    "get_variable",
    "provide_variables",
    "query_variable_info",
    "set_variable",
]

_APPEND = VariableAttribute.APPEND_WRITE
_LASTING = VariableAttribute.NON_VOLATILE | VariableAttribute.RUNTIME_ACCESS


def provide_variables(efi: Environment) -> None:
    """Store what the firmware tells of itself: that OsIndications may ask for nothing, and its mode."""
    efi.volatile_variables.put(
        Variable("OsIndicationsSupported", guids.GLOBAL_VARIABLE, ACCESS, bytes(8))  # UEFI 2.10 §8.5.4
    )
    provide_mode(efi)


@service("GetVariable", "UEFI 2.10 §8.2.1")
def get_variable(
    efi: Environment,
    variable_name: str,
    vendor_guid: Guid,
    attributes: Out[UINT32] | None,
    data_size: InOut[UINTN],
    data: Pointer,
) -> None:
    """Read a variable.

    NOT_FOUND: there is none of that name and vendor, or not any more after ExitBootServices().
    BUFFER_TOO_SMALL: it does not fit; `data_size` then holds its size. INVALID_PARAMETER: `data` is NULL
    although it would fit.
    """
    provide_mode_for(efi, variable_name, vendor_guid)
    found = _visible(efi, variable_name, vendor_guid)
    if found is None:
        raise EfiError(EfiStatus.NOT_FOUND, f"no variable {variable_name}-{vendor_guid}")
    given, size = data_size.get(), len(found.data)
    if given >= size and not data:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Data is NULL")
    data_size.set(size)
    # Attributes is "set on output both when EFI_SUCCESS and when EFI_BUFFER_TOO_SMALL is returned".
    if attributes is not None:
        attributes.set(found.attributes)
    if given < size:
        raise EfiError(EfiStatus.BUFFER_TOO_SMALL, f"{variable_name} has {size} bytes, {given} are given")
    efi.memory.write(data, found.data)


@service("GetNextVariableName", "UEFI 2.10 §8.2.2")
def get_next_variable_name(
    efi: Environment,
    variable_name_size: InOut[UINTN],
    variable_name: Text,
    vendor_guid: InOut[Guid],
) -> None:
    """Store the name and vendor of the variable after a given one, or of the first after an empty name.

    INVALID_PARAMETER: `variable_name` is no variable to go on from, or does not end within
    `variable_name_size` bytes. NOT_FOUND: there are no more. BUFFER_TOO_SMALL: the name does not fit;
    `variable_name_size` then holds its size.
    """
    given = variable_name_size.get()
    # "Null-terminator is not found in the first VariableNameSize bytes of the input VariableName buffer."
    name = variable_name.get(given)
    last = (name, vendor_guid.get()) if name else None
    # "The input values of VariableName and VendorGuid are not a name and GUID of an existing variable."
    if last is not None and _visible(efi, *last) is None:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"no variable {name}-{last[1]} to go on from")
    found = following(efi, last)
    if found is None:
        raise EfiError(EfiStatus.NOT_FOUND, "there are no more variables")
    size = name_size(found.name)
    variable_name_size.set(size)
    if given < size:
        raise EfiError(EfiStatus.BUFFER_TOO_SMALL, f"the name takes {size} bytes, {given} are given")
    text = f"{found.name}\0".encode("utf-16-le", "surrogatepass")
    efi.memory.write(variable_name.address, text)
    vendor_guid.set(found.vendor)


def _visible(efi: Environment, name: str, vendor: Guid) -> Variable | None:
    """Return the variable, None when the guest sees none of that name and vendor."""
    found = find(efi, name, vendor)
    return found if found is not None and is_visible(efi, found) else None


@service("SetVariable", "UEFI 2.10 §8.2.3")
def set_variable(
    efi: Environment,
    variable_name: str,
    vendor_guid: Guid,
    attributes: VARIABLE_ATTRIBUTES,
    data_size: UINTN,
    data: Pointer,
) -> None:
    """Create, change, lengthen or delete a variable.

    INVALID_PARAMETER: the name is empty, the attributes make no sense together, are not those that the
    variable has, or not those that the specification gives it; it would be too large; it is to hold
    signatures, and they are not in their form; or, after ExitBootServices(), it is not a non-volatile one
    with runtime access. SECURITY_VIOLATION: it is authenticated, and there is no signature, one of other
    content, of somebody who may not, or not later than the last; or only someone who is physically present
    may change it. UNSUPPORTED: it is a hardware error record, is to be authenticated by a count, or the
    store has no place for its timestamp. WRITE_PROTECTED: it is the firmware's own, or may no longer be
    changed after ExitBootServices(), or in this mode. NOT_FOUND: there is none to delete. OUT_OF_RESOURCES:
    the store is full. DEVICE_ERROR: the store could not be written; the variable is as it was, or as it was
    to be.
    """
    if not variable_name:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "the variable's name is empty")
    if data_size and not data:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Data is NULL")
    check_combination(attributes)
    check_record(variable_name, vendor_guid, attributes)
    check_offered(attributes)
    check_writable(variable_name, vendor_guid)
    largest = store_of(efi, attributes).capacity().largest_with(attributes)
    check_size(variable_name, data_size, largest + (LARGEST_DESCRIPTOR if attributes & AUTHENTICATED else 0))
    given = efi.memory.read(data, data_size) if data_size else b""
    if (variable_name, vendor_guid) in MODE_VARIABLES:
        set_mode(efi, variable_name, attributes, given)
        return
    found = find(efi, variable_name, vendor_guid)
    _check_attributes(efi, variable_name, attributes & ~_APPEND, found)
    if attributes & ACCESS and data_size:
        check_definition(variable_name, vendor_guid, attributes & ~_APPEND)
        _check_phase(efi, attributes)
    if not attributes & ACCESS:
        _delete(efi, variable_name, found)
    elif attributes & VariableAttribute.ENHANCED_AUTHENTICATED_ACCESS:
        write_enhanced(efi, variable_name, vendor_guid, attributes, given)
    elif attributes & AUTHENTICATED:
        write_authenticated(efi, variable_name, vendor_guid, attributes, given)
    elif not (data_size or attributes & _APPEND):
        _delete(efi, variable_name, found)
    elif data_size:  # "a DataSize of zero will not cause any change to the variable value" with APPEND_WRITE
        before = found.data if found is not None and attributes & _APPEND else b""
        check_size(variable_name, len(before) + data_size, largest)
        put(efi, Variable(variable_name, vendor_guid, attributes & ~_APPEND, before + given))


def _check_attributes(efi: Environment, name: str, wanted: VariableAttribute, found: Variable | None) -> None:
    """Refuse what the variable's attributes do not allow; EfiError WRITE_PROTECTED, INVALID_PARAMETER."""
    if found is None:
        return
    if efi.phase is Phase.RUNTIME and found.attributes & _LASTING != _LASTING:
        raise EfiError(EfiStatus.WRITE_PROTECTED, f"{name} stays as it is after ExitBootServices")
    # "If a preexisting variable is rewritten with different attributes, SetVariable() shall not modify the
    # variable and shall return EFI_INVALID_PARAMETER", but for no access at all, which deletes it.
    if wanted & ACCESS and wanted != found.attributes:
        raise EfiError(
            EfiStatus.INVALID_PARAMETER,
            f"{name} has attributes {int(found.attributes):#x}, not {int(wanted):#x}",
        )


def _check_phase(efi: Environment, wanted: VariableAttribute) -> None:
    """Refuse to set what can no longer be set; EfiError INVALID_PARAMETER."""
    # "Once ExitBootServices() is performed, only variables that have EFI_VARIABLE_RUNTIME_ACCESS and
    # EFI_VARIABLE_NON_VOLATILE set can be set with SetVariable()."
    if efi.phase is Phase.RUNTIME and wanted & _LASTING != _LASTING:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "only non-volatile variables with runtime access now")


def _delete(efi: Environment, name: str, found: Variable | None) -> None:
    if found is None:
        raise EfiError(EfiStatus.NOT_FOUND, f"no variable {name} to delete")
    # "An attempt to delete a variable created with the EFI_VARIABLE_TIME_BASED_AUTHENTICATED_WRITE_ACCESS
    # attribute for which the prescribed AuthInfo validation fails or when called using DataSize of zero will
    # fail with an EFI_SECURITY_VIOLATION status." Keys are authenticated, whatever a file says of them.
    if found.attributes & AUTHENTICATED or authority_of(name, found.vendor) is not Authority.CREATOR:
        raise EfiError(EfiStatus.SECURITY_VIOLATION, f"{name} is deleted by a signed descriptor only")
    # As ProcessVariable() in edk2 SecurityPkg/Library/AuthVariableLib/AuthService.c: nobody can sign for it.
    if found.attributes & VariableAttribute.AUTHENTICATED_WRITE_ACCESS:
        raise EfiError(EfiStatus.WRITE_PROTECTED, f"{name} is authenticated by a count, which is deprecated")
    remove(efi, found)


@service("QueryVariableInfo", "UEFI 2.10 §8.2.4")
def query_variable_info(
    efi: Environment,
    attributes: VARIABLE_ATTRIBUTES,
    maximum_variable_storage_size: Out[UINT64],
    remaining_variable_storage_size: Out[UINT64],
    maximum_variable_size: Out[UINT64],
) -> None:
    """Tell how much room there is for variables of these attributes.

    INVALID_PARAMETER: the attributes make no sense together, or name what may not be set after
    ExitBootServices(). UNSUPPORTED: such variables are not on offer.
    """
    # "If a call to QueryVariableInfo() specifies a combination of both unsupported and invalid attributes,
    # EFI_UNSUPPORTED should be returned."
    check_offered(attributes)
    check_combination(attributes)
    if not attributes & ACCESS:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "variables without access are not stored")
    if efi.phase is Phase.RUNTIME and not attributes & VariableAttribute.RUNTIME_ACCESS:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "only variables with runtime access are left")
    store = store_of(efi, attributes)
    check_timestamps(attributes, store)
    capacity = store.capacity()
    maximum_variable_storage_size.set(capacity.size)
    remaining_variable_storage_size.set(capacity.remaining)
    maximum_variable_size.set(capacity.room_for_one(attributes))

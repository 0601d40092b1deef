# SPDX-License-Identifier: GPL-2.0-or-later
"""Variable services — UEFI 2.10 §8.2: an environment without a store answers as an empty, sealed one."""

from __future__ import annotations

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.service import UINT32, UINT64, UINTN, InOut, Out, Pointer, Text, service
from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["get_next_variable_name", "get_variable", "query_variable_info", "set_variable"]


def _while_boot_services_last(efi: Environment) -> None:
    # EFI_RT_PROPERTIES_TABLE promises no runtime service after ExitBootServices.
    if efi.phase is Phase.RUNTIME:
        raise EfiError(EfiStatus.UNSUPPORTED, "there are no runtime services after ExitBootServices")


@service("GetVariable", "UEFI 2.10 §8.2.1")
def get_variable(
    efi: Environment,
    variable_name: str,
    vendor_guid: Guid,
    attributes: Out[UINT32] | None,
    data_size: InOut[UINTN],
    data: Pointer,
) -> None:
    """Find no variable.

    NOT_FOUND: while boot services last. UNSUPPORTED: afterwards.
    """
    _while_boot_services_last(efi)
    raise EfiError(EfiStatus.NOT_FOUND, f"no variable {variable_name}-{vendor_guid}: there is no store")


@service("GetNextVariableName", "UEFI 2.10 §8.2.2")
def get_next_variable_name(
    efi: Environment,
    variable_name_size: InOut[UINTN],
    variable_name: Text,
    vendor_guid: InOut[Guid],
) -> None:
    """Find no further variable.

    INVALID_PARAMETER: `variable_name` is no variable to go on from, or does not end within
    `variable_name_size` bytes. NOT_FOUND: there are no more. UNSUPPORTED: after ExitBootServices.
    """
    _while_boot_services_last(efi)
    # "Null-terminator is not found in the first VariableNameSize bytes of the input VariableName buffer."
    name = variable_name.get(variable_name_size.get())
    # "The input values of VariableName and VendorGuid are not a name and GUID of an existing variable."
    if name:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"no variable {name} to go on from")
    raise EfiError(EfiStatus.NOT_FOUND, "there is no variable store")


@service("SetVariable", "UEFI 2.10 §8.2.3")
def set_variable(
    efi: Environment,
    variable_name: str,
    vendor_guid: Guid,
    attributes: UINT32,
    data_size: UINTN,
    data: Pointer,
) -> None:
    """Refuse to store anything.

    INVALID_PARAMETER: the name is empty. WRITE_PROTECTED: while boot services last. UNSUPPORTED: afterwards.
    """
    _while_boot_services_last(efi)
    if not variable_name:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "the variable's name is empty")
    raise EfiError(EfiStatus.WRITE_PROTECTED, f"{variable_name}: there is no variable store to write to")


@service("QueryVariableInfo", "UEFI 2.10 §8.2.4")
def query_variable_info(
    efi: Environment,
    attributes: UINT32,
    maximum_variable_storage_size: Out[UINT64],
    remaining_variable_storage_size: Out[UINT64],
    maximum_variable_size: Out[UINT64],
) -> None:
    """Tell of no store.

    UNSUPPORTED: "the attribute is not supported on this platform".
    """
    raise EfiError(EfiStatus.UNSUPPORTED, "there is no variable store")

# SPDX-License-Identifier: GPL-2.0-or-later
"""The two stores of variables: the guest's for non-volatile ones, the boot's for volatile ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.varstore.store import StoreError, StoreFault, Variable, VariableStore
from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import VariableAttribute

__all__ = ["find", "put", "remove", "store_of"]

# UEFI 2.10 §8.2.3: "The variable could not be saved due to a hardware failure", and so on.
_REFUSALS: Mapping[StoreFault, EfiStatus] = MappingProxyType(
    {
        StoreFault.FULL: EfiStatus.OUT_OF_RESOURCES,
        StoreFault.READ_ONLY: EfiStatus.WRITE_PROTECTED,
        StoreFault.DEVICE: EfiStatus.DEVICE_ERROR,
    }
)


def store_of(efi: Environment, attributes: int) -> VariableStore:
    """Return the store for variables of these attributes."""
    lasts = attributes & VariableAttribute.NON_VOLATILE
    return efi.surroundings.kept.variables if lasts else efi.volatile_variables


def find(efi: Environment, name: str, vendor: Guid) -> Variable | None:
    """Return the variable, None when there is none."""
    return efi.volatile_variables.get(name, vendor) or efi.surroundings.kept.variables.get(name, vendor)


def put(efi: Environment, variable: Variable) -> None:
    """Store a variable; EfiError OUT_OF_RESOURCES, WRITE_PROTECTED, DEVICE_ERROR."""
    try:
        store_of(efi, variable.attributes).put(variable)
    except StoreError as error:
        raise _refusal_of(error) from error


def remove(efi: Environment, found: Variable) -> None:
    """Forget a variable; EfiError WRITE_PROTECTED, DEVICE_ERROR."""
    try:
        store_of(efi, found.attributes).remove(found.name, found.vendor)
    except StoreError as error:
        raise _refusal_of(error) from error


def _refusal_of(error: StoreError) -> EfiError:
    return EfiError(_REFUSALS[error.fault], error.message)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The two stores of variables: the guest's for non-volatile ones, the boot's for volatile ones.

What a file has may be anything. A variable in the guest's store that does not say that it is non-volatile, or
that has the name of a volatile one, counts as absent, so that each variable is found in one store only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.varstore.store import StoreError, StoreFault, Variable, VariableStore
from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import VariableAttribute

__all__ = ["find", "following", "is_visible", "put", "remove", "store_of"]

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
    volatile = efi.volatile_variables.get(name, vendor)
    if volatile is not None:
        return volatile
    lasting = efi.surroundings.kept.variables.get(name, vendor)
    return lasting if lasting is not None and lasting.attributes & VariableAttribute.NON_VOLATILE else None


def is_visible(efi: Environment, variable: Variable) -> bool:
    """Whether the guest may read the variable."""
    # "Once ExitBootServices() is performed, data variables that did not have EFI_VARIABLE_RUNTIME_ACCESS set
    # are no longer visible to GetVariable()."
    return efi.phase is Phase.BOOT or bool(variable.attributes & VariableAttribute.RUNTIME_ACCESS)


def following(efi: Environment, key: tuple[str, Guid] | None) -> Variable | None:
    """Return the variable that the guest sees after that of a name and vendor, or with None the first.

    An order that was once looked up serves all steps through it. Where it leads nowhere, or to what is no
    more, what is there now decides.
    """
    for again in (False, True):
        if again:
            last: tuple[str, Guid] | None = None
            efi.variable_order = {}
            for one in dict.fromkeys((variable.name, variable.vendor) for variable in _all(efi)):
                efi.variable_order[last] = one
                last = one
        after = efi.variable_order.get(key)
        while after is not None:
            found = find(efi, *after)
            if found is not None and is_visible(efi, found):
                return found
            after = efi.variable_order.get(after)
    return None


def _all(efi: Environment) -> Iterator[Variable]:
    """Yield the variables of both stores, in the order of GetNextVariableName()."""
    yield from efi.volatile_variables
    yield from efi.surroundings.kept.variables


def put(efi: Environment, variable: Variable) -> None:
    """Store a variable; EfiError OUT_OF_RESOURCES, WRITE_PROTECTED, DEVICE_ERROR."""
    efi.variable_order = {}
    try:
        store_of(efi, variable.attributes).put(variable)
    except StoreError as error:
        raise _refusal_of(error) from error


def remove(efi: Environment, found: Variable) -> None:
    """Forget a variable; EfiError WRITE_PROTECTED, DEVICE_ERROR."""
    efi.variable_order = {}
    try:
        store_of(efi, found.attributes).remove(found.name, found.vendor)
    except StoreError as error:
        raise _refusal_of(error) from error


def _refusal_of(error: StoreError) -> EfiError:
    return EfiError(_REFUSALS[error.fault], error.message)

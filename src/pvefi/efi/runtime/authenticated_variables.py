# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes of time-based authenticated variables — UEFI 2.10 §8.2.3, §8.2.6.

A private variable and who made it are two variables of a store, changed one after the other, in an order that
leaves no variable without its creator wherever a crash comes in between: the creator is noted before the
variable is made, and forgotten after it is deleted. A creator of a variable that is not there means nothing,
and is left out when the creators are next stored.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pvefi.efi.authentication.authority import PK, Authority, authority_of, check_authority, holds_signatures
from pvefi.efi.authentication.creators import Creators, pack_creators, read_creators
from pvefi.efi.authentication.descriptor import (
    SignedUpdate,
    check_time,
    later,
    parse_update,
    signed_text,
)
from pvefi.efi.authentication.signatures import check_signatures, without_known
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.secure_boot import mode_of, remove_platform_key, set_platform_key
from pvefi.efi.runtime.stores import find, put, remove, store_of
from pvefi.efi.runtime.variable_rules import check_size, check_timestamps
from pvefi.efi.varstore.store import Variable, name_size
from pvefi.layout import Guid
from pvefi.spec.edk2.secure_boot import CERTIFICATE_DATABASE, VOLATILE_CERTIFICATE_DATABASE
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import ACCESS, VariableAttribute

if TYPE_CHECKING:
    from pvefi.efi.authentication.signed_data import SignedData

__all__ = ["write_authenticated"]

_APPEND = VariableAttribute.APPEND_WRITE
_TIMED = VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS


def write_authenticated(
    efi: Environment, name: str, vendor: Guid, attributes: VariableAttribute, data: bytes
) -> None:
    """Create, change, lengthen or delete a variable if `data` bears the signature that this needs.

    EfiError: SECURITY_VIOLATION, INVALID_PARAMETER, NOT_FOUND, UNSUPPORTED, and those of the store.
    """
    store = store_of(efi, attributes)
    check_timestamps(attributes, store)
    update = parse_update(data)
    largest = store.capacity().largest_with(attributes)
    check_size(name, len(update.value), largest)
    found, appends = find(efi, name, vendor), bool(attributes & _APPEND)
    if found is not None and not appends:
        check_time(update.timestamp, found.timestamp)
    creator = _check_signature(efi, name, vendor, attributes, update)
    if not update.value and not appends:
        if found is None:
            raise EfiError(EfiStatus.NOT_FOUND, f"no variable {name} to delete")
        _delete(efi, found)
        return
    if not update.value and found is None:
        return  # "the variable is not created and EFI_SUCCESS is returned"
    new = _changed(
        found, Variable(name, vendor, attributes & ~_APPEND, update.value, update.timestamp), appends
    )
    check_size(name, len(new.data), largest)
    if (name, vendor) == PK:
        set_platform_key(efi, new)
    elif found is None and creator is not None:
        _create(efi, new, creator)
    else:
        put(efi, new)


def _check_signature(
    efi: Environment, name: str, vendor: Guid, attributes: VariableAttribute, update: SignedUpdate
) -> bytes | None:
    """Make sure that the signer may write the variable; return who that is, where it is to be noted.

    EfiError: SECURITY_VIOLATION.
    """
    authority = authority_of(name, vendor)
    # "If the variable SetupMode==1, and the variable is a secure boot policy variable, then the firmware
    # implementation shall consider the checks in the following steps 4 and 5 to have passed".
    if authority is not Authority.CREATOR and mode_of(efi).is_open:
        return None
    signed = _signed_data(update.signature)
    signed.check(signed_text(name, vendor, attributes, update.timestamp, update.value))
    if authority is not Authority.CREATOR:
        check_authority(signed, authority, lambda key: _data_of(efi, *key))
        return None
    if find(efi, name, vendor) is None:
        return signed.creator()
    known = _creators(efi, attributes).get((name, vendor))
    if known is None or signed.creator(len(known)) != known:
        raise EfiError(EfiStatus.SECURITY_VIOLATION, f"the signer is not the one who made {name}")
    return known


def _signed_data(data: bytes) -> SignedData:
    from pvefi.efi.authentication.signed_data import read_signed_data

    return read_signed_data(data)


def _data_of(efi: Environment, name: str, vendor: Guid) -> bytes:
    found = find(efi, name, vendor)
    return found.data if found is not None else b""


def _changed(found: Variable | None, new: Variable, appends: bool) -> Variable:
    """Return what is to be stored; EfiError INVALID_PARAMETER when it is no database and should be."""
    data, timestamp = new.data, new.timestamp
    signatures, single = holds_signatures(new.name, new.vendor), (new.name, new.vendor) == PK
    if signatures and data:
        check_signatures(data, single=single)
    if found is not None and appends:
        data = found.data + (without_known(data, found.data) if signatures else data)
        timestamp = later(timestamp, found.timestamp)
        if single:
            check_signatures(data, single=True)
    return Variable(new.name, new.vendor, new.attributes, data, timestamp)


def _delete(efi: Environment, found: Variable) -> None:
    if (found.name, found.vendor) == PK:
        remove_platform_key(efi, found)
        return
    remove(efi, found)
    if authority_of(found.name, found.vendor) is Authority.CREATOR:
        with suppress(EfiError):  # it has no effect any more
            _keep_creators(efi, found.attributes, _creators(efi, found.attributes))


def _create(efi: Environment, new: Variable, creator: bytes) -> None:
    _keep_creators(efi, new.attributes, _creators(efi, new.attributes), {(new.name, new.vendor): creator})
    # Where this fails it may have been done all the same: so the creator has to stay.
    put(efi, new)


def _database(attributes: int) -> tuple[str, Guid]:
    """Return the variable with the creators of those of these attributes."""
    lasts = attributes & VariableAttribute.NON_VOLATILE
    return CERTIFICATE_DATABASE if lasts else VOLATILE_CERTIFICATE_DATABASE, guids.EDK2_CERT_DB


def _creators(efi: Environment, attributes: int) -> Creators:
    """Return who made each variable; EfiError SECURITY_VIOLATION when what tells it is not sound."""
    found = store_of(efi, attributes).get(*_database(attributes))
    creators = read_creators(found.data) if found is not None else {}
    if creators is None:
        raise EfiError(EfiStatus.SECURITY_VIOLATION, f"{_database(attributes)[0]} is not sound")
    return creators


def _keep_creators(efi: Environment, attributes: int, known: Creators, new: Creators | None = None) -> None:
    """Store who made the variables that are there, and `new`."""
    kept = {key: creator for key, creator in known.items() if _is_private(find(efi, *key), attributes)}
    data = pack_creators({**kept, **(new or {})})
    name, vendor = _database(attributes)
    if name_size(name) + len(data) > store_of(efi, attributes).capacity().largest_authenticated:
        raise EfiError(EfiStatus.OUT_OF_RESOURCES, f"{name} has no room for one more variable")
    lasts = VariableAttribute(attributes) & VariableAttribute.NON_VOLATILE
    put(efi, Variable(name, vendor, lasts | ACCESS | _TIMED, data))


def _is_private(found: Variable | None, attributes: int) -> bool:
    """Whether a variable that may have a creator is there, in the store for such `attributes`."""
    both = _TIMED | VariableAttribute.NON_VOLATILE
    return found is not None and found.attributes & both == (VariableAttribute(attributes) | _TIMED) & both

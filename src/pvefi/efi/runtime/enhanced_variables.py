# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes of variables with enhanced authenticated access — UEFI 2.10 §8.2.3, §8.2.5.

A store holds such a variable as it is read, with its metadata before its value: whose it is and its time or
nonce change with it, in one write.
"""

from __future__ import annotations

from pvefi.efi.authentication.descriptor import certificate_data
from pvefi.efi.authentication.enhanced import EnhancedUpdate, Held, parse_enhanced_update, read_held
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.stores import find, put, remove, store_of
from pvefi.efi.runtime.variable_rules import check_size
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import VariableAttribute

__all__ = ["write_enhanced"]

_APPEND = VariableAttribute.APPEND_WRITE


def write_enhanced(
    efi: Environment, name: str, vendor: Guid, attributes: VariableAttribute, data: bytes
) -> None:
    """Create, change, lengthen, hand over or delete a variable if `data` bears the signatures for that.

    EfiError: SECURITY_VIOLATION, INVALID_PARAMETER, NOT_FOUND, and those of the store.
    """
    update = parse_enhanced_update(data)
    largest = store_of(efi, attributes).capacity().largest_with(attributes)
    check_size(name, len(update.stamp) + len(update.value), largest)
    found, appends = find(efi, name, vendor), bool(attributes & _APPEND)
    held = read_held(found.data) if found is not None else None
    if held is not None:
        update.check_against(held)
    authority = _authority(update, update.signed_text(name, vendor, attributes, held), held)
    # "If the Data region is empty AND no NewCert is specified, the variable will be deleted".
    if not update.value and not update.new_certificate and not appends:
        if found is None:
            raise EfiError(EfiStatus.NOT_FOUND, f"no variable {name} to delete")
        remove(efi, found)
        return
    if not update.value and held is None:
        if appends:
            return  # "the variable is not created and EFI_SUCCESS is returned"
        raise EfiError(EfiStatus.NOT_FOUND, f"no variable {name} to hand over")
    stamp = update.stamp
    if update.wants_random_nonce:
        stamp = update.stamp_from(efi.surroundings.random(len(stamp)), held)
    value = update.value
    # "it is valid for the Data region of the payload to be empty. This would update the cert without
    # modifying the data itself."
    if held is not None and (appends or not value):
        value = held.value + value
    stored = Held(update.type, stamp, authority, value).pack()
    check_size(name, len(stored), largest)
    put(efi, Variable(name, vendor, attributes & ~_APPEND, stored))


def _authority(update: EnhancedUpdate, text: bytes, held: Held | None) -> bytes:
    """Return who may write the variable from now on; EfiError SECURITY_VIOLATION when this may not."""
    from pvefi.efi.authentication.signed_data import read_signed_data

    signed = read_signed_data(update.signature)
    signed.check(text)
    if held is not None and signed.certificate_hash() != held.authority:
        raise EfiError(EfiStatus.SECURITY_VIOLATION, "the signer is not the variable's authority")
    if update.new_certificate:
        signature, _ = certificate_data(update.new_certificate, 0)
        signed = read_signed_data(signature)
        signed.check_itself()
    return signed.certificate_hash()

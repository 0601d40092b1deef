# SPDX-License-Identifier: GPL-2.0-or-later
"""The modes of Secure Boot, what tells of them, and how one becomes another — UEFI 2.10 §32.3.

pvefi verifies no image. So SecureBoot is 0 in every mode: what the modes decide is who may write the keys.

Whether there is a PK tells setup mode from user mode. A variable of pvefi's own tells audit mode and deployed
mode from those two. Both change one after the other, in an order in which each step alone leaves the mode
before or the one after: so it does not matter where a crash comes in between, nor that what a store says has
failed may have been done.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum

from pvefi.efi.authentication.authority import PK
from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError, invalid
from pvefi.efi.runtime.stores import find, put, remove
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.spec.edk2.secure_boot import VENDOR_KEYS_NV
from pvefi.spec.pvefi.variables import SECURE_BOOT_MODE, StoredMode
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.signature_list import CERT_X509
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import ACCESS, VariableAttribute

__all__ = [
    "MODE_VARIABLES",
    "Mode",
    "mode_of",
    "provide_mode",
    "provide_mode_for",
    "remove_platform_key",
    "set_mode",
    "set_platform_key",
]

MODE_VARIABLES = frozenset({("AuditMode", guids.GLOBAL_VARIABLE), ("DeployedMode", guids.GLOBAL_VARIABLE)})
"""Those by which an operating system may ask for a mode."""

_OF_THE_MODE = ("AuditMode", "DeployedMode", "SetupMode")
# OVMF knows nothing of this variable. As it is authenticated and nobody is known to have made it, OVMF lets
# nobody change it.
_OWN = (
    VariableAttribute.NON_VOLATILE
    | VariableAttribute.BOOTSERVICE_ACCESS
    | VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS
)


class Mode(Enum):
    """UEFI 2.10 §32.3, Figure 32-4."""

    SETUP = "setup mode"
    USER = "user mode"
    AUDIT = "audit mode"
    DEPLOYED = "deployed mode"

    @property
    def is_open(self) -> bool:
        """Whether there is no PK, so that keys are written without authentication."""
        return self in (Mode.SETUP, Mode.AUDIT)


def mode_of(efi: Environment) -> Mode:
    """Return the mode that the guest is in."""
    stored = _stored(efi)
    if find(efi, *PK) is None:
        return Mode.AUDIT if stored in (StoredMode.AUDIT, StoredMode.TO_AUDIT) else Mode.SETUP
    # "To enter Deployed Mode from Audit Mode, set the variable PK."
    return Mode.DEPLOYED if stored in (StoredMode.AUDIT, StoredMode.DEPLOYED) else Mode.USER


def provide_mode(efi: Environment) -> None:
    """Store what the firmware tells of its mode and of its keys."""
    mode = mode_of(efi)
    kept = find(efi, VENDOR_KEYS_NV, guids.EDK2_VENDOR_KEYS_NV)
    told = {
        "SetupMode": bytes([mode.is_open]),
        "AuditMode": bytes([mode is Mode.AUDIT]),
        "DeployedMode": bytes([mode is Mode.DEPLOYED]),
        "SecureBoot": bytes([False]),
        # Nobody vouches here for the keys being the vendor's, unless OVMF did. As there, keys that are set in
        # setup mode do not change it (VendorKeyIsModified() in edk2
        # SecurityPkg/Library/AuthVariableLib/AuthService.c, which its custom mode alone leads to for others).
        "VendorKeys": bytes([kept is not None and kept.data == bytes([True])]),
        # UEFI 2.10 §3.3: what "the platform firmware supports for images and other data". A database may hold
        # other types too, but nothing here is judged by them.
        "SignatureSupport": CERT_X509.wire,
    }
    for name, data in told.items():
        efi.volatile_variables.put(Variable(name, guids.GLOBAL_VARIABLE, ACCESS, data))


def provide_mode_for(efi: Environment, name: str, vendor: Guid) -> None:
    """Have a variable that tells of the mode tell the one that the store now says, before it is read."""
    if vendor == guids.GLOBAL_VARIABLE and name in _OF_THE_MODE:
        provide_mode(efi)


def set_mode(efi: Environment, name: str, attributes: VariableAttribute, data: bytes) -> None:
    """Go to the mode that a write of AuditMode or DeployedMode asks for.

    EfiError: INVALID_PARAMETER, WRITE_PROTECTED, and those of the store.
    """
    mode = mode_of(efi)
    asked, reachable = (
        (Mode.AUDIT, (Mode.SETUP, Mode.USER)) if name == "AuditMode" else (Mode.DEPLOYED, (Mode.USER,))
    )
    if efi.phase is Phase.RUNTIME or mode not in reachable or not data:
        raise EfiError(EfiStatus.WRITE_PROTECTED, f"{name} is read-only in {mode.value}, and never deleted")
    if attributes != ACCESS or data not in (bytes([False]), bytes([True])):
        raise invalid(f"{name} has attributes {int(ACCESS):#x}, and is 0 or 1")
    if data == bytes([False]):
        return  # which it is
    key = find(efi, *PK)
    if asked is Mode.DEPLOYED:
        _store(efi, StoredMode.DEPLOYED)
    elif key is None:
        _store(efi, StoredMode.AUDIT)
    else:
        _store(efi, StoredMode.TO_AUDIT)
        remove(efi, key)


def set_platform_key(efi: Environment, key: Variable) -> None:
    """Store PK, and go from setup mode to user mode, or from audit mode to deployed mode."""
    if find(efi, *PK) is None:
        if _stored(efi) is StoredMode.DEPLOYED:
            _store(efi, None)  # it was of a PK that is no more
        elif _stored(efi) is StoredMode.TO_AUDIT:
            _store(efi, StoredMode.AUDIT)
    put(efi, key)


def remove_platform_key(efi: Environment, key: Variable) -> None:
    """Delete PK, and go to setup mode."""
    if _stored(efi) is StoredMode.AUDIT:  # as it was when PK was set
        _store(efi, StoredMode.DEPLOYED)
    elif _stored(efi) is StoredMode.TO_AUDIT:  # which did not come to that
        _store(efi, None)
    remove(efi, key)
    with suppress(EfiError):  # deployed without a PK is setup mode too
        _store(efi, None)


def _stored(efi: Environment) -> StoredMode | None:
    found = find(efi, SECURE_BOOT_MODE, guids.PVEFI_VARIABLE)
    known = {bytes([mode]): mode for mode in StoredMode}
    return known.get(found.data) if found is not None else None


def _store(efi: Environment, mode: StoredMode | None) -> None:
    if mode is not None:
        put(efi, Variable(SECURE_BOOT_MODE, guids.PVEFI_VARIABLE, _OWN, bytes([mode])))
    elif (found := find(efi, SECURE_BOOT_MODE, guids.PVEFI_VARIABLE)) is not None:
        remove(efi, found)

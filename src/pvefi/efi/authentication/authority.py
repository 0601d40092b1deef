# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose signature an authenticated variable needs — UEFI 2.10 §8.2.6, step 5."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from pvefi.efi.authentication.signatures import certificates
from pvefi.efi.errors import EfiError
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import is_numbered

if TYPE_CHECKING:
    from pvefi.efi.authentication.signed_data import SignedData

__all__ = ["KEK", "PK", "Authority", "authority_of", "check_authority", "holds_signatures"]

PK = ("PK", guids.GLOBAL_VARIABLE)
KEK = ("KEK", guids.GLOBAL_VARIABLE)
_DBR = ("dbr", guids.IMAGE_SECURITY_DATABASE)

Databases = Callable[[tuple[str, Guid]], bytes]
"""Gives the data of a variable, none when there is no such variable."""


class Authority(Enum):
    """Who may write an authenticated variable, besides anybody while there is no PK."""

    PLATFORM = "the platform key"
    EXCHANGE = "a key exchange key or the platform key"
    RECOVERY = "a key of dbr, a key exchange key or the platform key"
    CREATOR = "whoever made it"


def authority_of(name: str, vendor: Guid) -> Authority:
    """Return who may write the variable of that name and vendor, if it is to be authenticated."""
    if (name, vendor) in (PK, KEK):
        return Authority.PLATFORM
    if vendor == guids.IMAGE_SECURITY_DATABASE:
        return Authority.EXCHANGE
    if (name, vendor) == ("OsRecoveryOrder", guids.GLOBAL_VARIABLE) or is_numbered(name, "OsRecovery"):
        return Authority.RECOVERY
    return Authority.CREATOR


def holds_signatures(name: str, vendor: Guid) -> bool:
    """Whether the variable is a database of signatures."""
    return authority_of(name, vendor) in (Authority.PLATFORM, Authority.EXCHANGE)


def check_authority(signed: SignedData, authority: Authority, databases: Databases) -> None:
    """Make sure that the signer is one who may write; not for CREATOR. EfiError SECURITY_VIOLATION."""
    # PK itself has to be the signer: there is "no chaining for PK" in edk2 either.
    if signed.is_by(certificates(databases(PK))):
        return
    trusted: list[bytes] = []
    if authority in (Authority.EXCHANGE, Authority.RECOVERY):
        trusted += certificates(databases(KEK))
    if authority is Authority.RECOVERY:
        trusted += certificates(databases(_DBR))
    if not signed.chains_to(trusted):
        raise EfiError(EfiStatus.SECURITY_VIOLATION, f"the signer is not {authority.value}")

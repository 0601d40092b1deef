# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands before the data of a variable with enhanced authenticated access — UEFI 2.10 §8.2.1, §8.2.5.

In a write it says what is to be new and bears signatures; in what is read it says whose the variable is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pvefi.efi.authentication.descriptor import certificate_data, check_time, check_timestamp
from pvefi.efi.errors import invalid, violation
from pvefi.layout import Guid
from pvefi.spec.uefi.time import Time
from pvefi.spec.uefi.variable_authentication import (
    AUTHENTICATION_3_VERSION,
    CERT_TYPE_PKCS7,
    Authentication3Flag,
    Authentication3Type,
    CertificateId,
    CertificateIdType,
    Nonce,
    VariableAuthentication3,
    WinCertificateUefiGuid,
)

__all__ = ["EnhancedUpdate", "Held", "parse_enhanced_update", "read_held"]


@dataclass(frozen=True, slots=True)
class Held:
    """What is stored, and read, of a variable: metadata and value.

    `stamp` is an EFI_TIME, or a nonce; `authority` is the SHA-256 of the tbsCertificate of who may write.
    """

    type: Authentication3Type
    stamp: bytes
    authority: bytes
    value: bytes

    def pack(self) -> bytes:
        """Return it as GetVariable() gives it."""
        secondary = _packed_stamp(self.type, self.stamp)
        size = VariableAuthentication3.SIZE + len(secondary) + CertificateId.SIZE + len(self.authority)
        # "All flags are reserved on GetVariable."
        header = VariableAuthentication3(AUTHENTICATION_3_VERSION, self.type, size, Authentication3Flag(0))
        identifier = CertificateId(CertificateIdType.SHA256, len(self.authority))
        return header.pack() + secondary + identifier.pack() + self.authority + self.value


@dataclass(frozen=True, slots=True)
class EnhancedUpdate:
    """A write taken apart; `new_certificate` is the whole WIN_CERTIFICATE_UEFI_GUID, none without one."""

    type: Authentication3Type
    stamp: bytes
    new_certificate: bytes
    signature: bytes
    value: bytes

    @property
    def wants_random_nonce(self) -> bool:
        """Whether the nonce is left to the firmware: it is "all 0's"."""
        return self.type is Authentication3Type.NONCE and not any(self.stamp)

    def stamp_from(self, nonce: bytes, held: Held | None) -> bytes:
        """Return a nonce that is new: `nonce`, or one of the next."""
        size = len(self.stamp)
        while not any(nonce) or (held is not None and nonce == held.stamp):
            nonce = ((int.from_bytes(nonce, "big") + 1) % (1 << 8 * size)).to_bytes(size, "big")
        return nonce

    def check_against(self, held: Held) -> None:
        """Refuse what cannot follow on what is there; EfiError SECURITY_VIOLATION, INVALID_PARAMETER."""
        if self.type is not held.type:
            raise violation(f"the variable is of type {held.type.name}, not {self.type.name}")
        if self.type is Authentication3Type.TIMESTAMP:
            check_time(self.stamp, held.stamp)
        elif self.stamp == held.stamp:
            raise invalid("the nonce is the variable's already")

    def signed_text(self, name: str, vendor: Guid, attributes: int, held: Held | None) -> bytes:
        """Return what the signature is over."""
        text = name.encode("utf-16-le", "surrogatepass") + vendor.wire + struct.pack("<I", attributes)
        text += _packed_stamp(self.type, self.stamp) + self.value
        # "If this is an update to or deletion of a variable with type EFI_VARIABLE_AUTHENTICATION_3_NONCE,
        # serialize the current nonce ... Serialize only the nonce buffer contents".
        if held is not None and self.type is Authentication3Type.NONCE:
            text += held.stamp
        return text + self.new_certificate


def parse_enhanced_update(data: bytes) -> EnhancedUpdate:
    """Return the parts of `data`; EfiError SECURITY_VIOLATION, INVALID_PARAMETER."""
    header, stamp, at = _read_head(data)
    if int(header.flags) & ~int(Authentication3Flag.UPDATE_CERT):
        raise violation(f"flags {int(header.flags):#x}, of which some mean nothing")
    _check_kind(data, at)
    new_certificate, first = b"", at
    signature, at = certificate_data(data, at)
    if header.flags & Authentication3Flag.UPDATE_CERT:
        new_certificate = data[first:at]
        _check_kind(data, at)
        signature, at = certificate_data(data, at)
    if header.metadata_size != at:
        raise violation(f"{at} bytes of metadata, where {header.metadata_size} are announced")
    return EnhancedUpdate(header.type, stamp, new_certificate, signature, data[at:])


def read_held(data: bytes) -> Held:
    """Return what a store holds of a variable; EfiError SECURITY_VIOLATION when it is not sound."""
    header, stamp, at = _read_head(data)
    value_at = header.metadata_size
    authority_at = at + CertificateId.SIZE
    if authority_at > len(data):
        raise violation("a variable without the identity of who may write it")
    identifier = CertificateId.unpack(data, at)
    if identifier.type is not CertificateIdType.SHA256 or authority_at + identifier.size != value_at:
        raise violation("a variable without the identity of who may write it")
    if value_at > len(data):
        raise violation(f"{value_at} bytes of metadata in {len(data)}")
    return Held(header.type, stamp, data[authority_at:value_at], data[value_at:])


def _read_head(data: bytes) -> tuple[VariableAuthentication3, bytes, int]:
    """Return the first structure, the time or nonce of the second, and where the next begins."""
    at = VariableAuthentication3.SIZE
    if len(data) < at:
        raise violation(f"{len(data)} bytes, fewer than a descriptor's {at}")
    header = VariableAuthentication3.unpack(data)
    if header.version != AUTHENTICATION_3_VERSION or not header.type.known:
        raise violation(f"a descriptor of version {header.version}, type {int(header.type)}")
    size = Time.SIZE
    if header.type is Authentication3Type.NONCE:
        if len(data) < at + Nonce.SIZE:
            raise violation("a nonce without a size")
        size = Nonce.unpack(data, at).size
        at += Nonce.SIZE
        if not size:
            raise invalid("a nonce of no bytes")
    if at + size > len(data):
        raise violation(f"a time or nonce of {size} bytes in {len(data) - at}")
    stamp = data[at : at + size]
    if header.type is Authentication3Type.TIMESTAMP:
        check_timestamp(stamp)
    return header, stamp, at + size


def _check_kind(data: bytes, at: int) -> None:
    # Step 2 of the firmware's: another CertType is EFI_INVALID_PARAMETER, in either certificate.
    end = at + WinCertificateUefiGuid.SIZE
    if end <= len(data) and WinCertificateUefiGuid.unpack(data, at).type != CERT_TYPE_PKCS7:
        raise invalid(f"expected a certificate of type {CERT_TYPE_PKCS7}")


def _packed_stamp(kind: Authentication3Type, stamp: bytes) -> bytes:
    return (Nonce(len(stamp)).pack() if kind is Authentication3Type.NONCE else b"") + stamp

# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands before the data of an authenticated variable — UEFI 2.10 §8.2.2, §32.2.4."""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated

from pvefi.layout import U8, U32, Guid, OpenEnum, Scalar, Structure, layout
from pvefi.spec.authenticode import WinCertificate
from pvefi.spec.uefi.time import Time

__all__ = [
    "AUTHENTICATION_3_VERSION",
    "CERT_TYPE_PKCS7",
    "Authentication3Flag",
    "Authentication3Type",
    "CertificateId",
    "CertificateIdType",
    "Nonce",
    "VariableAuthentication2",
    "VariableAuthentication3",
    "WinCertificateUefiGuid",
]

CERT_TYPE_PKCS7 = Guid.parse("4aafd29d-68df-49ee-8aa9-347d375665a7")
"""EFI_CERT_TYPE_PKCS7_GUID: CertData is a SignedData of PKCS #7 — UEFI 2.10 §32.2.4."""


@layout(size=24)
class WinCertificateUefiGuid(Structure):
    """WIN_CERTIFICATE_UEFI_GUID — UEFI 2.10 §32.2.4; CertData follows, and counts in the header's length."""

    header: WinCertificate  # Hdr
    type: Guid  # CertType


@layout(size=40)
class VariableAuthentication2(Structure):
    """EFI_VARIABLE_AUTHENTICATION_2; the certificate's data, and then the variable's, follow."""

    timestamp: Time  # TimeStamp
    certificate: WinCertificateUefiGuid  # AuthInfo


AUTHENTICATION_3_VERSION = 1


class Authentication3Type(OpenEnum):
    """EFI_VARIABLE_AUTHENTICATION_3.Type: which structure comes next."""

    TIMESTAMP = 1
    NONCE = 2


class Authentication3Flag(IntFlag):
    """EFI_VARIABLE_AUTHENTICATION_3.Flags."""

    UPDATE_CERT = 0x00000001  # EFI_VARIABLE_ENHANCED_AUTH_FLAG_UPDATE_CERT


@layout(size=10)
class VariableAuthentication3(Structure):
    """EFI_VARIABLE_AUTHENTICATION_3; `metadata_size` counts it and all that stands before the data."""

    version: U8
    type: Annotated[Authentication3Type, Scalar("B")]
    metadata_size: U32
    flags: Annotated[Authentication3Flag, Scalar("I")]


@layout(size=4)
class Nonce(Structure):
    """EFI_VARIABLE_AUTHENTICATION_3_NONCE; the nonce follows."""

    size: U32  # NonceSize


class CertificateIdType(OpenEnum):
    """EFI_VARIABLE_AUTHENTICATION_3_CERT_ID.Type — UEFI 2.10 §8.2.1."""

    SHA256 = 1  # of the certificate's tbsCertificate


@layout(size=5)
class CertificateId(Structure):
    """EFI_VARIABLE_AUTHENTICATION_3_CERT_ID — UEFI 2.10 §8.2.1; the identifier follows."""

    type: Annotated[CertificateIdType, Scalar("B")]
    size: U32  # IdSize

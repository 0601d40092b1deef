# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables by which edk2 keeps what it has to know of authenticated ones.

Sources: edk2 SecurityPkg/Library/AuthVariableLib/AuthServiceInternal.h, edk2
MdeModulePkg/Include/Guid/ImageAuthentication.h, edk2 SecurityPkg/SecurityPkg.dec.
"""

from __future__ import annotations

from pvefi.layout import U32, Guid, Structure, layout

__all__ = [
    "CERTIFICATE_DATABASE",
    "COMMON_NAME_SIZE",
    "CUSTOM_MODE",
    "SECURE_BOOT_ENABLE",
    "VENDOR_KEYS_NV",
    "VOLATILE_CERTIFICATE_DATABASE",
    "AuthCertDbData",
]

CERTIFICATE_DATABASE = "certdb"  # EFI_CERT_DB_NAME: who made each private non-volatile variable
VOLATILE_CERTIFICATE_DATABASE = "certdbv"  # EFI_CERT_DB_VOLATILE_NAME
VENDOR_KEYS_NV = "VendorKeysNv"  # EFI_VENDOR_KEYS_NV_VARIABLE_NAME: what VendorKeys is to say
SECURE_BOOT_ENABLE = "SecureBootEnable"  # EFI_SECURE_BOOT_ENABLE_NAME
CUSTOM_MODE = "CustomMode"  # EFI_CUSTOM_MODE_NAME

COMMON_NAME_SIZE = 128
"""Of a signer's common name so many bytes of UTF-8 count, a NUL included: CertCommonName in edk2
SecurityPkg/Library/AuthVariableLib/AuthService.c."""


@layout(size=28)
class AuthCertDbData(Structure):
    """AUTH_CERT_DB_DATA; the name and what identifies the certificate follow.

    `node_size` counts this header and both, `name_size` characters without a NUL.
    """

    vendor: Guid  # VendorGuid
    node_size: U32  # CertNodeSize
    name_size: U32
    certificate_size: U32  # CertDataSize

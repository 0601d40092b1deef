# SPDX-License-Identifier: GPL-2.0-or-later
"""The attribute certificate table of a PE image, which holds its signatures.

Sources: Microsoft "PE Format" "The Attribute Certificate Table (Image Only)", Microsoft "Windows
Authenticode Portable Executable Signature Format", UEFI 2.10 §32.2.4.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U16, U32, OpenEnum, Scalar, Structure, layout

__all__ = ["ALIGNMENT", "CertificateType", "SPC_INDIRECT_DATA", "WinCertificate"]

ALIGNMENT = 8
"""Each entry of the table begins at a multiple of 8 bytes from its start."""
SPC_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
"""SPC_INDIRECT_DATA_OBJID: the signed content is a hash of the image."""


class CertificateType(OpenEnum):
    """WIN_CERT_TYPE_* (PE Format; UEFI 2.10 §32.2.4)."""

    X509 = 0x0001
    PKCS_SIGNED_DATA = 0x0002
    TS_STACK_SIGNED = 0x0004
    EFI_PKCS115 = 0x0EF0
    EFI_GUID = 0x0EF1


@layout(size=8)
class WinCertificate(Structure):
    """WIN_CERTIFICATE; bCertificate follows."""

    length: U32  # dwLength, this header included
    revision: U16  # wRevision
    certificate_type: Annotated[CertificateType, Scalar("H")]  # wCertificateType

# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes apart what SetVariable() is given for a time-based authenticated variable — UEFI 2.10 §8.2.6."""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.efi.errors import violation
from pvefi.layout import Guid
from pvefi.spec.authenticode import CertificateType
from pvefi.spec.uefi.time import YEARS, Time
from pvefi.spec.uefi.variable_authentication import (
    CERT_TYPE_PKCS7,
    VariableAuthentication2,
    WinCertificateUefiGuid,
)

__all__ = [
    "LARGEST_DESCRIPTOR",
    "SignedUpdate",
    "certificate_data",
    "check_time",
    "check_timestamp",
    "later",
    "parse_update",
    "signed_text",
]

LARGEST_DESCRIPTOR = 64 << 10
"""Bytes that may stand before a variable's data: so that a guest cannot make the host read ever more."""


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    """A descriptor's parts: the EFI_TIME's bytes, the SignedData, and what the variable is to hold."""

    timestamp: bytes
    signature: bytes
    value: bytes


def parse_update(data: bytes) -> SignedUpdate:
    """Return the parts of `data`, an EFI_VARIABLE_AUTHENTICATION_2 and the variable's value.

    EfiError: SECURITY_VIOLATION.
    """
    if len(data) < VariableAuthentication2.SIZE:
        raise violation(f"{len(data)} bytes, fewer than a descriptor's {VariableAuthentication2.SIZE}")
    check_timestamp(data[: Time.SIZE])
    signature, end = certificate_data(data, Time.SIZE)
    return SignedUpdate(data[: Time.SIZE], signature, data[end:])


def certificate_data(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the CertData of the WIN_CERTIFICATE_UEFI_GUID at `at`, and where that ends.

    EfiError: SECURITY_VIOLATION.
    """
    if at + WinCertificateUefiGuid.SIZE > len(data):
        raise violation(f"a certificate at {at:#x} in {len(data)} bytes")
    certificate = WinCertificateUefiGuid.unpack(data, at)
    header = certificate.header
    # "Only a CertType of EFI_CERT_TYPE_PKCS7_GUID is accepted."
    if header.certificate_type != CertificateType.EFI_GUID or certificate.type != CERT_TYPE_PKCS7:
        raise violation(
            f"expected a certificate of type {CERT_TYPE_PKCS7}, "
            f"found {certificate.type}, {int(header.certificate_type):#x}"
        )
    end = at + header.length
    if header.length < WinCertificateUefiGuid.SIZE or end > len(data):
        raise violation(f"a certificate of {header.length} bytes in {len(data) - at}")
    return data[at + WinCertificateUefiGuid.SIZE : end], end


def check_timestamp(timestamp: bytes) -> None:
    """Refuse an EFI_TIME that is not in the form of a timestamp; EfiError SECURITY_VIOLATION."""
    time = Time.unpack(timestamp)
    # "For the TimeStamp value, components Pad1, Nanosecond, TimeZone, Daylight and Pad2 shall be set to 0."
    plain = Time(time.year, time.month, time.day, time.hour, time.minute, time.second, 0, 0, 0, 0, 0)
    if plain.pack() != timestamp:
        raise violation("a timestamp with more than date and time")
    # Not before 1900, and never month 0, would be right (UEFI 2.10 §8.3.1). But sbvarsign 0.9.4 counts years
    # from 1900, and months from 0.
    if (
        time.year not in range(YEARS.stop)
        or time.month > 12
        or time.day > 31
        or time.hour > 23
        or time.minute > 59
        or time.second > 59
    ):
        raise violation("a timestamp that is no date and time")


def check_time(timestamp: bytes, current: bytes) -> None:
    """Refuse a timestamp that is not later than the variable's; EfiError SECURITY_VIOLATION."""
    if _order(timestamp) <= _order(current):
        raise violation("the timestamp is not later than that of the variable")


def later(timestamp: bytes, current: bytes) -> bytes:
    """Return the later one of two timestamps."""
    return max(timestamp, current, key=_order)


def _order(timestamp: bytes) -> tuple[int, ...]:
    time = Time.unpack(timestamp)
    return time.year, time.month, time.day, time.hour, time.minute, time.second


def signed_text(name: str, vendor: Guid, attributes: int, timestamp: bytes, value: bytes) -> bytes:
    """Return what a signature is over: "VariableName, VendorGuid, Attributes, TimeStamp, Data"."""
    # "The NULL character terminating the VariableName value shall not be included in the hash computation."
    text = name.encode("utf-16-le", "surrogatepass")
    return text + vendor.wire + attributes.to_bytes(4, "little") + timestamp + value

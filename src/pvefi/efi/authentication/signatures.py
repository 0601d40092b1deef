# SPDX-License-Identifier: GPL-2.0-or-later
"""What PK, KEK and the databases of signatures may hold, and how one adds to them — UEFI 2.10 §32.4.1."""

from __future__ import annotations

from dataclasses import replace

from pvefi.efi.errors import invalid
from pvefi.spec.uefi.signature_list import (
    CERT_X509,
    SIGNATURE_SIZES,
    SignatureList,
    SignatureListError,
    packed,
    signature_lists,
)

__all__ = ["certificates", "check_signatures", "without_known"]


def check_signatures(data: bytes, *, single: bool) -> None:
    """Refuse what is no database of signatures; with `single`, what is not one certificate.

    EfiError: INVALID_PARAMETER.
    """
    lists = _lists(data)
    for one in lists:
        if one.type not in SIGNATURE_SIZES:
            raise invalid(f"signatures of type {one.type}, which is not known")
        size = SIGNATURE_SIZES[one.type]
        if one.header or any(len(text) != size for _, text in one.signatures if size is not None):
            raise invalid(f"a list of {one.kind} signatures of another size than those have")
        if one.type == CERT_X509:
            for _, text in one.signatures:
                _check_certificate(text)
    # UEFI 2.10 §32.3.1: PK has the format of a signature database "with exactly one entry". Where that is no
    # certificate, nobody could ever sign another one.
    if single and ([one.type for one in lists] != [CERT_X509] or len(lists[0].signatures) != 1):
        raise invalid("expected one certificate")


def _check_certificate(data: bytes) -> None:
    from pvefi.efi.authentication.certificates import load_certificate, rsa_key

    try:
        certificate = load_certificate(data)
    except ValueError as error:
        raise invalid("a certificate that cannot be read") from error
    if rsa_key(certificate) is None:
        raise invalid("a certificate whose key is no RSA key of a size and exponent that count")


def without_known(new: bytes, known: bytes) -> bytes:
    """Return `new` without the signatures that `known` has already; EfiError INVALID_PARAMETER.

    "the driver shall not perform an append of EFI_SIGNATURE_DATA values that are already part of the existing
    variable value" (UEFI 2.10 §8.2.6).
    """
    there = {(one.type, *signature) for one in _lists(known) for signature in one.signatures}
    kept = [
        replace(one, signatures=tuple(pair for pair in one.signatures if (one.type, *pair) not in there))
        for one in _lists(new)
    ]
    return b"".join(packed(one) for one in kept if one.signatures)


def certificates(data: bytes) -> list[bytes]:
    """Return the certificates in a database, none when it is not sound."""
    try:
        return [text for one in signature_lists(data) if one.type == CERT_X509 for _, text in one.signatures]
    except SignatureListError:
        return []


def _lists(data: bytes) -> list[SignatureList]:
    try:
        return list(signature_lists(data))
    except SignatureListError as error:
        raise invalid(f"no list of signatures: {error}") from error

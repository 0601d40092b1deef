# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the signatures of a PE image: who signed it, by which certificates, and over which hash.

Sources: Microsoft "PE Format" "The Attribute Certificate Table (Image Only)" and Microsoft "Windows
Authenticode Portable Executable Signature Format". Whether a signature can be trusted is for firmware to say;
this compares hashes and verifies no signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from pvefi.errors import ImageError
from pvefi.image.pe import PeImage
from pvefi.spec.authenticode import ALIGNMENT, CertificateType, WinCertificate
from pvefi.spec.pe import (
    CHECK_SUM_OFFSET,
    DIRECTORIES_OFFSET,
    OPTIONAL_HEADER_OFFSET,
    Directory,
    DirectoryEntry,
)

__all__ = ["Certificate", "Signature", "Signer", "image_digest", "read_signatures"]

_MAX_SIGNATURES = 16
_MAX_SIGNATURE_SIZE = 128 << 10
"""A signature with its chain takes 2 to 10 KB; taking one of this size apart takes a second at most."""
_CHECK_SUM_SIZE = 4
_WAY_OUT = "the file is truncated or its certificate table is corrupt"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One X.509 certificate in a signature; names in the order in which they are written."""

    subject: str
    issuer: str
    serial_number: int
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed: the certificate's issuer and number, and its subject when it is in the signature too."""

    issuer: str
    serial_number: int
    subject: str


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry of the certificate table; what is not a PKCS #7 signature is told by its type alone.

    `digest_matches` says whether the signed hash is that of this file; None when it cannot be computed.
    """

    offset: int
    size: int
    type: CertificateType
    digest_algorithm: str
    digest: bytes
    digest_matches: bool | None
    signers: tuple[Signer, ...]
    certificates: tuple[Certificate, ...]


def read_signatures(pe: PeImage, data: bytes) -> tuple[Signature, ...]:
    """Return the signatures of the image `pe`, whose file is `data`; ImageError when the table lies."""
    start, size = pe.directory(Directory.SECURITY)
    if not size:
        return ()
    if start < pe.size_of_headers or start + size > len(data):
        _refuse(
            pe,
            pe.header_offset,
            f"a certificate table between the headers and the end of the file ({len(data):#x} bytes)",
            f"{size:#x} bytes at {start:#x}",
        )
    digests: dict[str, bytes | None] = {}  # by algorithm: of several signatures most share one
    return tuple(
        _signature(pe, data, at, entry, digests) for at, entry in _entries(pe, data, start, start + size)
    )


def _entries(pe: PeImage, data: bytes, start: int, end: int) -> Iterator[tuple[int, WinCertificate]]:
    at, count = start, 0
    while at + WinCertificate.SIZE <= end:
        entry = WinCertificate.unpack(data, at)
        if entry.length < WinCertificate.SIZE or at + entry.length > end:
            _refuse(pe, at, f"a certificate of 8 to {end - at:#x} bytes", f"one that says {entry.length:#x}")
        if entry.length > _MAX_SIGNATURE_SIZE:
            _refuse(pe, at, f"a certificate of at most {_MAX_SIGNATURE_SIZE:#x} bytes", f"{entry.length:#x}")
        count += 1
        if count > _MAX_SIGNATURES:
            _refuse(pe, at, f"at most {_MAX_SIGNATURES} certificates", "more")
        yield at, entry
        at += (entry.length + ALIGNMENT - 1) & -ALIGNMENT


def _signature(
    pe: PeImage, data: bytes, at: int, entry: WinCertificate, digests: dict[str, bytes | None]
) -> Signature:
    kind = entry.certificate_type
    if kind is not CertificateType.PKCS_SIGNED_DATA:
        return Signature(at, entry.length, kind, "", b"", None, (), ())
    from pvefi.image.pkcs7 import signed_content  # asn1crypto takes 40 ms: only for files that are signed

    content = data[at + WinCertificate.SIZE : at + entry.length]
    try:
        algorithm, digest, signers, certificates = signed_content(content)
    except Exception as error:  # asn1crypto raises ValueError, TypeError, KeyError, ... on ASN.1 that lies
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            pe.path,
            at,
            "an Authenticode signature (PKCS #7)",
            f"what cannot be read as one: {reason}",
            _WAY_OUT,
        ) from error
    if algorithm not in digests:
        digests[algorithm] = image_digest(pe, data, algorithm)
    ours = digests[algorithm]
    matches = None if ours is None else ours == digest
    return Signature(at, entry.length, kind, algorithm, digest, matches, signers, certificates)


def image_digest(pe: PeImage, data: bytes, algorithm: str) -> bytes | None:
    """Return the Authenticode hash of a PE file; None for an algorithm that is not known.

    Everything counts but CheckSum, the table of certificates and its directory entry. A file is padded with
    zeros to a multiple of 8 bytes, which is what signing does to it.
    """
    if algorithm not in hashlib.algorithms_guaranteed:
        return None
    hashed = hashlib.new(algorithm, usedforsecurity=False)
    whole = memoryview(data)
    start, size = pe.directory(Directory.SECURITY)
    optional = pe.header_offset + OPTIONAL_HEADER_OFFSET
    check_sum = optional + CHECK_SUM_OFFSET
    entry = optional + DIRECTORIES_OFFSET[pe.magic] + Directory.SECURITY * DirectoryEntry.SIZE
    hashed.update(whole[:check_sum])
    hashed.update(whole[check_sum + _CHECK_SUM_SIZE : entry])
    hashed.update(whole[entry + DirectoryEntry.SIZE : pe.size_of_headers])
    done = pe.size_of_headers
    for section in sorted(pe.sections, key=lambda s: s.raw_offset):
        if section.raw_size:
            hashed.update(whole[section.raw_offset : section.raw_offset + section.raw_size])
            done += section.raw_size
    end = start if size else len(data)
    hashed.update(whole[done:end])
    if not size:
        hashed.update(bytes(-len(data) % ALIGNMENT))
    return hashed.digest()


def _refuse(pe: PeImage, offset: int, expected: str, found: str) -> NoReturn:
    raise ImageError(pe.path, offset, expected, found, _WAY_OUT)

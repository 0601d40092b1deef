# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs writes of authenticated variables, by `cryptography` alone: keys, certificates, descriptors."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from pvefi.layout import Guid

CERT_X509 = Guid.parse("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
CERT_SHA256 = Guid.parse("c1c41626-504c-4092-aca9-41f936934328")
PKCS7 = Guid.parse("4aafd29d-68df-49ee-8aa9-347d375665a7")
OWNER = Guid.parse("77777777-7777-7777-7777-777777777777")
WRAPPER = 19  # bytes of a ContentInfo before the SignedData, where both lengths take two bytes


@dataclass(frozen=True)
class Identity:
    """A key and its certificate; `chain` is what comes along with a signature besides."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


@cache
def key(number: int, size: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, size)


@cache
def identity(
    name: str | None,
    issuer: Identity | None = None,
    *,
    authority: bool = False,
    path_length: int | None = None,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    key_size: int = 2048,
    number: int | None = None,
    digest: type[hashes.SHA224 | hashes.SHA256] = hashes.SHA256,
) -> Identity:
    """Return an identity of that common name, self-signed without an `issuer`; its dates are long past."""
    own = key(hash(name) if number is None else number, key_size)
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")]
    if name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    subject = x509.Name(attributes)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(1000 + len(name or ""))
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2002, 1, 1, tzinfo=UTC))
    )
    if authority:
        constraints = x509.BasicConstraints(ca=True, path_length=path_length)
        builder = builder.add_extension(constraints, critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(issuer.key if issuer else own, digest())
    chain = (issuer.certificate, *issuer.chain) if issuer else ()
    return Identity(own, certificate, chain)


def signature(
    text: bytes,
    signer: Identity,
    *,
    digest: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
    wrapped: bool = True,
    signed_attributes: bool = False,
    detached: bool = True,
    more: Sequence[Identity] = (),
) -> bytes:
    """Return a SignedData over `text`, `wrapped` in a ContentInfo or not."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(text)
    for one in (signer, *more):
        builder = builder.add_signer(one.certificate, one.key, digest or hashes.SHA256())
    for certificate in signer.chain:
        builder = builder.add_certificate(certificate)
    options = [pkcs7.PKCS7Options.Binary]
    options += [pkcs7.PKCS7Options.DetachedSignature] if detached else []
    options += [] if signed_attributes else [pkcs7.PKCS7Options.NoAttributes]
    der = builder.sign(serialization.Encoding.DER, options)
    return der if wrapped else der[WRAPPER:]


def time(
    second: int = 0,
    *,
    year: int = 2031,
    pad1: int = 0,
    nanosecond: int = 0,
    time_zone: int = 0,
    daylight: int = 0,
    pad2: int = 0,
) -> bytes:
    """Return an EFI_TIME, `second` seconds into 5 May of the year."""
    clock = (second // 3600, second // 60 % 60, second % 60)
    return struct.pack("<H6BIhBB", year, 5, 5, *clock, pad1, nanosecond, time_zone, daylight, pad2)


def certificate_of(
    der: bytes, *, kind: Guid = PKCS7, type_: int = 0x0EF1, length: int | None = None
) -> bytes:
    """Return a WIN_CERTIFICATE_UEFI_GUID."""
    size = 24 + len(der) if length is None else length
    return struct.pack("<IHH", size, 0x200, type_) + kind.wire + der


def signed_text(name: str, vendor: Guid, attributes: int, timestamp: bytes, value: bytes) -> bytes:
    text = name.encode("utf-16-le", "surrogatepass")
    return text + vendor.wire + struct.pack("<I", attributes) + timestamp + value


def update(
    name: str,
    vendor: Guid,
    attributes: int,
    value: bytes,
    signer: Identity | None,
    timestamp: bytes | None = None,
    **options: Any,
) -> bytes:
    """Return descriptor and value; without a signer the descriptor has no SignedData."""
    timestamp = time() if timestamp is None else timestamp
    der = b""
    if signer is not None:
        der = signature(signed_text(name, vendor, attributes, timestamp, value), signer, **options)
    return timestamp + certificate_of(der) + value


def signature_list(*entries: bytes, kind: Guid = CERT_X509, owner: Guid = OWNER) -> bytes:
    """Return one EFI_SIGNATURE_LIST of entries of one size."""
    size = 16 + len(entries[0])
    body = b"".join(owner.wire + entry for entry in entries)
    return kind.wire + struct.pack("<III", 28 + len(body), 0, size) + body

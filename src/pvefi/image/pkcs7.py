# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes ASN.1 apart: an Authenticode signature's names, numbers and signed hash, certificates, public keys.

Source: Microsoft "Windows Authenticode Portable Executable Signature Format", RFC 2315 (PKCS #7), RFC 5280
(certificates and names). Imported only for files that have such things.
"""

from __future__ import annotations

import hashlib

from asn1crypto import algos, cms, core, keys, x509

from pvefi.image.signatures import Certificate, Signer
from pvefi.spec.authenticode import SPC_INDIRECT_DATA

__all__ = ["certificates_in", "public_key_text", "signed_content"]

_MAX_CERTIFICATES = 32
_MAX_SIGNERS = 16
_MAX_NAME_LENGTH = 1000

_SHORT_NAMES = {
    "common_name": "CN",
    "country_name": "C",
    "state_or_province_name": "ST",
    "locality_name": "L",
    "organization_name": "O",
    "organizational_unit_name": "OU",
    "serial_number": "serialNumber",
    "email_address": "emailAddress",
    "domain_component": "DC",
}


class SpcIndirectData(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """SpcIndirectDataContent: what the hash is of, and the hash."""

    _fields = [("data", core.Any), ("message_digest", algos.DigestInfo)]  # noqa: RUF012  # it changes the list


def signed_content(data: bytes) -> tuple[str, bytes, tuple[Signer, ...], tuple[Certificate, ...]]:
    """Return hash algorithm, hash, signers and certificates; any exception when `data` is no signature."""
    outer = cms.ContentInfo.load(data)
    if outer["content_type"].native != "signed_data":
        raise ValueError(f"content of type {outer['content_type'].native}")
    signed = outer["content"]
    content = signed["encap_content_info"]
    if content["content_type"].dotted != SPC_INDIRECT_DATA:
        raise ValueError(f"signed content of type {content['content_type'].native}")
    digest = content["content"].parse(SpcIndirectData)["message_digest"]
    certificates = tuple(map(_certificate, certificates_in(signed)))
    signers = list(signed["signer_infos"])[:_MAX_SIGNERS]
    return (
        str(digest["digest_algorithm"]["algorithm"].native),
        bytes(digest["digest"].native),
        tuple(_signer(info["sid"].chosen, certificates) for info in signers),
        certificates,
    )


def certificates_in(signed: cms.SignedData) -> list[x509.Certificate]:
    """Return the certificates that came along in a SignedData, no more than are ever needed."""
    chosen = [choice.chosen for choice in list(signed["certificates"])[:_MAX_CERTIFICATES]]
    return [one for one in chosen if isinstance(one, x509.Certificate)]


def _certificate(certificate: x509.Certificate) -> Certificate:
    validity = certificate["tbs_certificate"]["validity"]
    return Certificate(
        subject=_name(certificate.subject),
        issuer=_name(certificate.issuer),
        serial_number=int(certificate.serial_number),
        not_before=validity["not_before"].native,
        not_after=validity["not_after"].native,
    )


def _signer(identifier: core.Asn1Value, certificates: tuple[Certificate, ...]) -> Signer:
    if not isinstance(identifier, cms.IssuerAndSerialNumber):
        return Signer(f"key {bytes(identifier.native).hex()}", 0, "")
    issuer, number = _name(identifier["issuer"]), int(identifier["serial_number"].native)
    subjects = (one.subject for one in certificates if (one.issuer, one.serial_number) == (issuer, number))
    return Signer(issuer, number, next(subjects, ""))


def _name(name: x509.Name) -> str:
    """Return a name as `C=US, O=..., CN=...`, in the order in which it is written."""
    parts = []
    for relative in name.chosen:
        pairs = [(pair["type"].native, pair["value"].native) for pair in relative]
        parts.append("+".join(f"{_SHORT_NAMES.get(kind, kind)}={value}" for kind, value in pairs))
    return ", ".join(parts)[:_MAX_NAME_LENGTH]


def public_key_text(der: bytes) -> str:
    """Return kind, size and SHA-256 of a SubjectPublicKeyInfo; any exception when it is none."""
    key = keys.PublicKeyInfo.load(der, strict=True)
    kind = (
        f"{key.curve[1]} key"
        if key.algorithm == "ec"
        else f"{key.algorithm.upper()} key, {key.bit_size} bits"
    )
    return f"{kind}, SHA-256 {hashlib.sha256(der).hexdigest()}"

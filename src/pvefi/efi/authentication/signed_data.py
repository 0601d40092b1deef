# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and checks a signature of PKCS #7 — UEFI 2.10 §8.2.6, RFC 2315.

asn1crypto takes the SignedData apart, `cryptography` the certificates, and checks signatures. Imported only
for a write that is signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from asn1crypto import cms, parser
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

from pvefi.efi.authentication.certificates import KEY_BITS, chains_to, load_certificate, rsa_key
from pvefi.efi.authentication.der import check_der
from pvefi.efi.errors import EfiError, violation
from pvefi.image.pkcs7 import certificates_in
from pvefi.spec.edk2.secure_boot import COMMON_NAME_SIZE

__all__ = ["SignedData", "read_signed_data"]


@dataclass(frozen=True, slots=True)
class _Digest:
    hash: hashes.HashAlgorithm
    with_rsa: str  # the object identifier of a signature by RSA over this digest, RFC 8017 Appendix C


# UEFI 2.10 §8.2.6: "Digest algorithms of SHA-256, SHA-384, SHA-512 are accepted."
_DIGESTS: Mapping[str, _Digest] = MappingProxyType(
    {
        "sha256": _Digest(hashes.SHA256(), "1.2.840.113549.1.1.11"),
        "sha384": _Digest(hashes.SHA384(), "1.2.840.113549.1.1.12"),
        "sha512": _Digest(hashes.SHA512(), "1.2.840.113549.1.1.13"),
    }
)
_RSA = "1.2.840.113549.1.1.1"  # rsaEncryption, which does not name the digest, RFC 8017 Appendix C
_OBJECT_IDENTIFIER = b"\x06"  # its DER tag
_SET_OF = b"\x31"  # its DER tag
_MESSAGE_LENGTH = 100


@dataclass(frozen=True, slots=True)
class _Attributes:
    """Attributes that were signed: as they were signed, and the digest of the content that is among them."""

    text: bytes
    message_digest: bytes


@dataclass(frozen=True, slots=True)
class SignedData:
    """A SignedData of one signer, whose signature is not checked yet.

    `digest` is the name of the hash, `others` are the further certificates that came along, `content` what
    was signed if that is in it. With `attributes` the signature is over those, and they hold the digest.
    """

    digest: str
    signature: bytes
    attributes: _Attributes | None
    signer: x509.Certificate
    signer_der: bytes
    others: tuple[x509.Certificate, ...]
    content: bytes | None

    def check(self, text: bytes) -> None:
        """Make sure that the signer signed `text`, whatever the content is; EfiError SECURITY_VIOLATION."""
        # "SignedData.contentInfo.content shall be absent". But it is there in some of the updates of KEK that
        # microsoft/secureboot_objects has of vendors, and edk2 does not look at it.
        if self.attributes is not None:
            if hashlib.new(self.digest, text).digest() != self.attributes.message_digest:
                raise violation("the signature is of other text than this")
            text = self.attributes.text
        key = rsa_key(self.signer)
        if key is None:
            raise violation(
                f"expected a signer's RSA key of {KEY_BITS[0]} to {KEY_BITS[-1]} bits, and a usual exponent"
            )
        try:
            key.verify(self.signature, text, PKCS1v15(), _DIGESTS[self.digest].hash)
        except InvalidSignature as error:
            raise violation("the signature is of other text than this") from error

    def check_itself(self) -> None:
        """Make sure that the signer signed the tbsCertificate of its own certificate, which is the content.

        EfiError: SECURITY_VIOLATION.
        """
        text = self._to_be_signed
        if self.content != text:
            raise violation("a SignedData whose content is not its signer's certificate")
        self.check(text)

    def is_by(self, certificates: Iterable[bytes]) -> bool:
        """Whether the signer's certificate is one of these, byte for byte."""
        return self.signer_der in certificates

    def chains_to(self, certificates: Iterable[bytes]) -> bool:
        """Whether the signer's certificate leads to one of these, by those that came along."""
        trusted = []
        for data in certificates:
            try:
                trusted.append(load_certificate(data))
            except ValueError:
                continue  # what is no certificate has signed nothing
        return chains_to(self.signer, self.others, trusted)

    def creator(self, size: int | None = None) -> bytes:
        """Return what identifies the signer of a private variable, of `size` bytes or by its own digest.

        As edk2 has it (CalculatePrivAuthVarSignChainSHADigest in edk2
        SecurityPkg/Library/AuthVariableLib/AuthService.c), it is a hash of the common name and the
        tbsCertificate. EfiError SECURITY_VIOLATION: there is no such name, or no digest of that size.
        """
        names = self.signer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if not names or not isinstance(names[0].value, str):
            raise violation("the signer's certificate has no common name")
        name = names[0].value.encode()[: COMMON_NAME_SIZE - 1].partition(b"\0")[0]
        fitting = [one for one, digest in _DIGESTS.items() if digest.hash.digest_size == size]
        if size is not None and not fitting:
            raise violation(f"{size} bytes, which are no digest, are all that is known of the creator")
        digest = fitting[0] if fitting else self.digest
        return hashlib.new(digest, name + self._to_be_signed).digest()

    def certificate_hash(self) -> bytes:
        """Return the SHA-256 of the signer's tbsCertificate."""
        return hashlib.sha256(self._to_be_signed).digest()

    @property
    def _to_be_signed(self) -> bytes:
        """The tbsCertificate of the signer, as it came."""
        tbs: bytes = asn1_x509.Certificate.load(self.signer_der)["tbs_certificate"].dump()
        return tbs


def read_signed_data(data: bytes) -> SignedData:
    """Return the SignedData in `data`, alone or in a ContentInfo; EfiError SECURITY_VIOLATION."""
    try:
        return _read(data)
    except EfiError:
        raise
    except Exception as error:  # asn1crypto and cryptography let out nearly any for bytes that are no DER
        raise violation(f"no SignedData: {str(error)[:_MESSAGE_LENGTH]!r}") from error


def _read(data: bytes) -> SignedData:
    check_der(data)
    # "which shall be supported both with and without a DER-encoded ContentInfo structure"
    *_, inside, _ = parser.parse(data, strict=True)
    if inside.startswith(_OBJECT_IDENTIFIER):
        outer = cms.ContentInfo.load(data, strict=True)
        if outer["content_type"].native != "signed_data":
            raise violation(f"content of type {outer['content_type'].native}")
        signed = outer["content"]
    else:
        signed = cms.SignedData.load(data, strict=True)
    inner, signers = signed["encap_content_info"], signed["signer_infos"]
    if signed["version"].native != "v1" or inner["content_type"].native != "data":
        raise violation("a SignedData of another version, or of other content than data")
    if len(signers) != 1:
        raise violation(f"{len(signers)} signers, where there has to be one")
    digest = _digest(signed, signers[0])
    certificates = certificates_in(signed)
    signer = _signer(signers[0]["sid"].chosen, certificates)
    return SignedData(
        digest,
        bytes(signers[0]["signature"].native),
        _attributes(signers[0]),
        load_certificate(signer.dump()),
        signer.dump(),
        tuple(load_certificate(one.dump()) for one in certificates if one is not signer),
        inner["content"].native,
    )


def _digest(signed: cms.SignedData, signer: cms.SignerInfo) -> str:
    """Return the name of the hash by which `signer` signed."""
    digest = str(signer["digest_algorithm"]["algorithm"].native)
    if digest not in _DIGESTS or {one["algorithm"].native for one in signed["digest_algorithms"]} != {digest}:
        raise violation(f"expected a digest of {', '.join(_DIGESTS)}, found {digest}")
    algorithm = signer["signature_algorithm"]["algorithm"]
    if algorithm.dotted not in (_RSA, _DIGESTS[digest].with_rsa):
        raise violation(f"expected a signature by RSA over {digest}, found {algorithm.native}")
    if signer["version"].native != "v1" or len(signer["unsigned_attrs"]):
        raise violation("a signer with attributes that are not signed, or of another version")
    return digest


def _attributes(signer: cms.SignerInfo) -> _Attributes | None:
    # "SignerInfo.authenticatedAttributes shall not be present". sbvarsign 0.9.4 has them, and edk2 takes it.
    attributes = signer["signed_attrs"]
    if not len(attributes):
        return None
    found = {one["type"].native: one["values"].native for one in attributes}
    if len(found) != len(attributes) or found.get("content_type") != ["data"]:
        raise violation("signed attributes that are there twice, or of other content than data")
    digests = found.get("message_digest", [])
    if len(digests) != 1:
        raise violation("signed attributes without the digest of what is signed")
    # RFC 2315 §9.3: the signature is over them as a SET OF, which is not how they are tagged.
    return _Attributes(_SET_OF + attributes.dump()[1:], bytes(digests[0]))


def _signer(identifier: object, certificates: Sequence[asn1_x509.Certificate]) -> asn1_x509.Certificate:
    # "SignerInfo.issuerAndSerial shall be present and as in the signer's certificate"
    if not isinstance(identifier, cms.IssuerAndSerialNumber):
        raise violation("a signer who is not named by issuer and serial number")
    issuer, number = identifier["issuer"].dump(), identifier["serial_number"].native
    for one in certificates:
        if (one.issuer.dump(), one.serial_number) == (issuer, number):
            return one
    raise violation("the signer's certificate did not come along")

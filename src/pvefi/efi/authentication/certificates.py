# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether one certificate leads to another, as RFC 5280 §6.1 has it, but without dates and revocation.

Firmware has no clock that it could trust: edk2 ignores dates too (X509_V_FLAG_NO_CHECK_TIME in edk2
CryptoPkg/Library/BaseCryptLib/Pk/CryptPkcs7VerifyCommon.c). Imported only for a write that is signed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

__all__ = ["KEY_BITS", "chains_to", "load_certificate", "rsa_key"]

KEY_BITS = range(2048, 8193)
"""Sizes of an RSA key that count: smaller ones are not safe, larger ones cost the host too much."""
_EXPONENT_BITS = 64  # a verification takes as long as the exponent; all that are in use are 65537 or less
_VERIFICATIONS = 64  # of certificates, for one signature
_LONGEST_PATH = 8  # certificates between a signer and whom it leads to
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def load_certificate(data: bytes) -> x509.Certificate:
    """Return the certificate in `data`; ValueError when it is none, or has names that cannot be read."""
    try:
        # The library speaks of odd ones on standard error, which a guest should not be able to cause.
        with warnings.catch_warnings(action="ignore"):
            certificate = x509.load_der_x509_certificate(data)
            _ = certificate.subject, certificate.issuer  # which are only now taken apart
    except Exception as error:  # there are a dozen classes of those
        raise ValueError(str(error)) from error
    return certificate


def _der(certificate: x509.Certificate) -> bytes:
    """Return a certificate as it came."""
    return certificate.public_bytes(Encoding.DER)


def rsa_key(certificate: x509.Certificate) -> RSAPublicKey | None:
    """Return a certificate's public key, None when it is none that counts, by kind, size or exponent."""
    try:
        with warnings.catch_warnings(action="ignore"):
            key = certificate.public_key()
    except Exception:  # as of any other key
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size not in KEY_BITS:
        return None
    return key if key.public_numbers().e.bit_length() <= _EXPONENT_BITS else None


def chains_to(
    signer: x509.Certificate, others: Sequence[x509.Certificate], trusted: Iterable[x509.Certificate]
) -> bool:
    """Whether `signer` is one of the `trusted`, or was issued by one, by way of `others` or not.

    A way that is longer, or that takes more verifications, than any in use is not found.
    """
    anchors = {_der(one): one for one in trusted}
    # Those of the shortest way first: an authority's path length limits how far below it a signer may be.
    ahead = {_der(one): one for one in (*anchors.values(), *others)}
    reached, verifications = [signer], 0
    for below in range(_LONGEST_PATH + 1):
        if any(_der(one) in anchors for one in reached):
            return True
        for one in reached:
            ahead.pop(_der(one), None)
        issuers: dict[bytes, x509.Certificate] = {}
        for certificate in reached:
            for der, one in ahead.items():
                if der in issuers or one.subject != certificate.issuer or not _may_issue(one, below):
                    continue
                verifications += 1
                if verifications > _VERIFICATIONS:
                    return False
                if _issued(certificate, one):
                    issuers[der] = one
        reached = list(issuers.values())
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        if not isinstance(certificate.signature_hash_algorithm, _HASHES) or rsa_key(issuer) is None:
            return False
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # a signature that is not right, or of a kind that is not known
        return False
    return True


def _may_issue(issuer: x509.Certificate, below: int) -> bool:
    """Whether a certificate is one of an authority, with `below` others between it and the signer."""
    if issuer.version is x509.Version.v1:
        return issuer.subject == issuer.issuer
    try:
        with warnings.catch_warnings(action="ignore"):
            extensions = issuer.extensions
    except Exception:  # one that cannot be read may be one that forbids this
        return False
    authority, usage = None, None
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            authority = value
        elif isinstance(value, x509.KeyUsage):
            usage = value
        elif isinstance(value, x509.NameConstraints) or (
            extension.critical and isinstance(value, x509.UnrecognizedExtension)
        ):
            return False  # what is not understood cannot be kept to
    if authority is None or not authority.ca or (usage is not None and not usage.key_cert_sign):
        return False
    return authority.path_length is None or authority.path_length >= below

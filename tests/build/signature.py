# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs PE images as Authenticode does, as far as the structures go: the signature itself is not valid."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from asn1crypto import algos, cms, core, keys, x509

from pvefi.image.pe import parse_pe
from pvefi.image.signatures import image_digest

CA, SIGNER = "Test CA", "Test Signer"
SPC_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
SPC_PE_IMAGE_DATA = "1.3.6.1.4.1.311.2.1.15"
SERIAL = 0x1234
RSA = keys.RSAPublicKey({"modulus": (1 << 1023) + 1, "public_exponent": 65537})


class _TypeAndValue(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    _fields = [("type", core.ObjectIdentifier)]  # noqa: RUF012  # it changes the list


class _Indirect(core.Sequence):  # type: ignore[misc]  # likewise
    _fields = [("data", _TypeAndValue), ("message_digest", algos.DigestInfo)]  # noqa: RUF012  # likewise


def name(common_name: str, organization: str = "Tests") -> Any:
    """Return a distinguished name."""
    return x509.Name.build({"organization_name": organization, "common_name": common_name})


def public_key() -> bytes:
    """Return a SubjectPublicKeyInfo, an RSA one of 1024 bits."""
    made: bytes = keys.PublicKeyInfo.wrap(RSA, "rsa").dump()
    return made


def certificate(subject: str = SIGNER, issuer: str = CA, serial: int = SERIAL) -> Any:
    """Return a certificate that nobody has signed."""
    to_be_signed = {
        "version": "v3",
        "serial_number": serial,
        "signature": {"algorithm": "sha256_rsa"},
        "issuer": name(issuer),
        "validity": {
            "not_before": x509.Time({"utc_time": datetime(2022, 1, 1, tzinfo=UTC)}),
            "not_after": x509.Time({"utc_time": datetime(2032, 1, 1, tzinfo=UTC)}),
        },
        "subject": name(subject),
        "subject_public_key_info": keys.PublicKeyInfo.load(public_key()),
    }
    return x509.Certificate(
        {
            "tbs_certificate": to_be_signed,
            "signature_algorithm": {"algorithm": "sha256_rsa"},
            "signature_value": bytes(128),
        }
    )


def signature(
    digest: bytes,
    *,
    algorithm: str = "sha256",
    certificates: Sequence[Any] | None = None,
    serial: int = SERIAL,
    content_type: str = SPC_INDIRECT_DATA,
) -> bytes:
    """Return a PKCS #7 signature over `digest`."""
    indirect = _Indirect(
        {
            "data": {"type": SPC_PE_IMAGE_DATA},
            "message_digest": {"digest_algorithm": {"algorithm": algorithm}, "digest": digest},
        },
        explicit=0,
    )
    signer = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            {"issuer_and_serial_number": {"issuer": name(CA), "serial_number": serial}}
        ),
        "digest_algorithm": {"algorithm": "sha256"},
        "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
        "signature": bytes(128),
    }
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": content_type, "content": indirect},
            "certificates": [certificate()] if certificates is None else list(certificates),
            "signer_infos": [signer],
        }
    )
    made: bytes = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
    return made


def table_entry(content: bytes, *, length: int | None = None, revision: int = 0x200, kind: int = 2) -> bytes:
    """Return one entry of a certificate table, padded to 8 bytes."""
    size = 8 + len(content) if length is None else length
    made = struct.pack("<IHH", size, revision, kind) + content
    return made + bytes(-len(made) % 8)


def with_table(image: bytes, table: bytes, *, address: int | None = None, size: int | None = None) -> bytes:
    """Return a PE image with a certificate table at its end, and the directory entry that says so."""
    image += bytes(-len(image) % 8)
    made = bytearray(image + table)
    header = struct.unpack_from("<I", image, 0x3C)[0]
    at = header + 24 + 112 + 4 * 8
    struct.pack_into(
        "<2I", made, at, len(image) if address is None else address, len(table) if size is None else size
    )
    return bytes(made)


def sign(image: bytes, **changes: Any) -> bytes:
    """Return a PE32+ image with one signature of its own hash; `changes` are those of `signature`."""
    image += bytes(-len(image) % 8)
    algorithm = changes.get("algorithm", "sha256")
    digest = image_digest(parse_pe("x", image), image, algorithm)
    assert digest is not None
    return with_table(image, table_entry(signature(digest, **changes)))


def sha256(data: bytes) -> str:
    """Return a hash in hexadecimal."""
    return hashlib.sha256(data).hexdigest()

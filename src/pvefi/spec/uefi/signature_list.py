# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of signatures: what PK, KEK, db and dbx hold — UEFI 2.10 §32.4.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pvefi.layout import U32, Guid, Structure, layout

__all__ = [
    "CERT_SHA256",
    "CERT_X509",
    "SIGNATURE_SIZES",
    "SignatureList",
    "SignatureListError",
    "packed",
    "signature_lists",
]

CERT_SHA256 = Guid.parse("c1c41626-504c-4092-aca9-41f936934328")
CERT_X509 = Guid.parse("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_CERT_SHA1 = Guid.parse("826ca512-cf10-4ac9-b187-be01496631bd")
_CERT_SHA224 = Guid.parse("0b6e5233-a65c-44c9-9407-d9ab83bfc8bd")
_CERT_SHA384 = Guid.parse("ff3e5307-9fd0-48c9-85f1-8ad56c701e01")
_CERT_SHA512 = Guid.parse("093e0fae-a6c4-4f50-9f1b-d41e2b89c19a")
_CERT_RSA2048 = Guid.parse("3c5766e8-269c-4e34-aa14-ed776e85b3b6")
_CERT_RSA2048_SHA1 = Guid.parse("67f8444f-8743-48f1-a328-1eaab8736080")
_CERT_RSA2048_SHA256 = Guid.parse("e2b36190-879b-4a3d-ad8d-f2e7bba32784")
_CERT_X509_SHA256 = Guid.parse("3bd2a492-96c0-4079-b420-fcf98ef103ed")
_CERT_X509_SHA384 = Guid.parse("7076876e-80c2-4ee6-aad2-28b349a6865b")
_CERT_X509_SHA512 = Guid.parse("446dbf63-2502-4cda-bcfa-2465d2b0fe9d")
_KINDS = {
    CERT_SHA256: "SHA-256",
    CERT_X509: "X.509",
    _CERT_X509_SHA256: "X.509 SHA-256",
    _CERT_RSA2048: "RSA-2048",
    _CERT_SHA1: "SHA-1",
    _CERT_SHA384: "SHA-384",
    _CERT_SHA512: "SHA-512",
}

SIGNATURE_SIZES: Mapping[Guid, int | None] = MappingProxyType(
    {
        CERT_X509: None,
        CERT_SHA256: 32,
        _CERT_SHA1: 20,
        _CERT_SHA224: 28,
        _CERT_SHA384: 48,
        _CERT_SHA512: 64,
        _CERT_RSA2048: 256,
        _CERT_RSA2048_SHA256: 256,
        _CERT_RSA2048_SHA1: 256,
        _CERT_X509_SHA256: 48,
        _CERT_X509_SHA384: 64,
        _CERT_X509_SHA512: 80,
    }
)
"""How many bytes a signature of each type has besides its owner; None: any number."""


@layout(size=28)
class _Header(Structure):
    signature_type: Guid
    list_size: U32  # SignatureListSize
    header_size: U32  # SignatureHeaderSize
    signature_size: U32  # SignatureSize


class SignatureListError(ValueError):
    """Bytes that are no list of signatures, with what was found instead."""


@dataclass(frozen=True, slots=True)
class SignatureList:
    """EFI_SIGNATURE_LIST; each signature comes with its owner."""

    type: Guid
    signatures: tuple[tuple[Guid, bytes], ...]
    header: bytes = b""

    @property
    def kind(self) -> str:
        """What its signatures are, in words."""
        return _KINDS.get(self.type, str(self.type))


def signature_lists(data: bytes) -> Iterator[SignatureList]:
    """Yield the lists that `data` holds one after the other; SignatureListError when it holds none."""
    at = 0
    while at < len(data):
        if at + _Header.SIZE > len(data):
            raise SignatureListError(f"offset {at:#x}: {len(data) - at} bytes, fewer than {_Header.SIZE}")
        header = _Header.unpack(data, at)
        start, end = at + _Header.SIZE + header.header_size, at + header.list_size
        if end > len(data) or start > end:
            raise SignatureListError(f"offset {at:#x}: a list of {header.list_size} bytes")
        size = header.signature_size
        if size < Guid.SIZE or (end - start) % size:
            raise SignatureListError(f"offset {at:#x}: signatures of {size} bytes in {end - start}")
        signatures = tuple(
            (Guid(data[one : one + Guid.SIZE]), data[one + Guid.SIZE : one + size])
            for one in range(start, end, size)
        )
        yield SignatureList(header.signature_type, signatures, data[at + _Header.SIZE : start])
        at = end


def packed(one: SignatureList) -> bytes:
    """Return a list, which has signatures, as it stands in a variable."""
    signatures = [owner.wire + data for owner, data in one.signatures]
    body = one.header + b"".join(signatures)
    header = _Header(one.type, _Header.SIZE + len(body), len(one.header), len(signatures[0]))
    return header.pack() + body

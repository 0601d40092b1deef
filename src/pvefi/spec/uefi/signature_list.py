# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of signatures: what PK, KEK, db and dbx hold — UEFI 2.10 §32.4.1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pvefi.layout import U32, Guid, Structure, layout

__all__ = ["CERT_SHA256", "CERT_X509", "SignatureList", "SignatureListError", "signature_lists"]

CERT_SHA256 = Guid.parse("c1c41626-504c-4092-aca9-41f936934328")
CERT_X509 = Guid.parse("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_KINDS = {
    CERT_SHA256: "SHA-256",
    CERT_X509: "X.509",
    Guid.parse("3bd2a492-96c0-4079-b420-fcf98ef103ed"): "X.509 SHA-256",
    Guid.parse("3c5766e8-269c-4e34-aa14-ed776e85b3b6"): "RSA-2048",
    Guid.parse("826ca512-cf10-4ac9-b187-be01496631bd"): "SHA-1",
    Guid.parse("ff3e5307-9fd0-48c9-85f1-8ad56c701e01"): "SHA-384",
    Guid.parse("093e0fae-a6c4-4f50-9f1b-d41e2b89c19a"): "SHA-512",
}


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
        yield SignatureList(header.signature_type, signatures)
        at = end

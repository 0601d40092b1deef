# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether bytes are DER in their lengths, and small enough in their parts to be read by a library.

Source: ITU-T X.690 "Length octets", "Length forms". asn1crypto takes lengths that are left open, and needs
seconds for an object identifier of 64 KiB.
"""

from __future__ import annotations

__all__ = ["DerError", "check_der"]

_CONSTRUCTED, _LONG_TAG = 0x20, 0x1F  # bits of a tag's first byte
_LONG_LENGTH = 0x80  # a length's first byte has this bit, and the number of its further bytes
_OBJECT_IDENTIFIER = 0x06
_LONGEST_IDENTIFIER = 64  # bytes; those of signatures have a dozen
_DEEPEST = 32
_MOST = 20_000  # a SignedData with certificates has hundreds of parts


class DerError(ValueError):
    """What is wrong with bytes that are to be DER."""


def check_der(data: bytes) -> None:
    """Make sure that `data` is one value, and those within it are whole; DerError says what is not so."""
    if not data:
        raise DerError("no value")
    ends, at, count = [len(data)], 0, 0
    while True:
        while at == ends[-1]:
            ends.pop()
            if not ends:
                return
        if len(ends) == 1 and at:
            raise DerError(f"{len(data) - at} bytes after the end")
        count += 1
        if count > _MOST or len(ends) > _DEEPEST:
            raise DerError("too many values, or values too deep in others")
        tag, start, end = _header(data, at, ends[-1])
        if tag == _OBJECT_IDENTIFIER and end - start > _LONGEST_IDENTIFIER:
            raise DerError(f"an object identifier of {end - start} bytes")
        at = end
        if tag & _CONSTRUCTED:
            ends.append(end)
            at = start


def _header(data: bytes, at: int, limit: int) -> tuple[int, int, int]:
    """Return tag, start and end of the value at `at`, which ends by `limit`."""
    if at + 2 > limit:
        raise DerError(f"a value at {at:#x} without tag or length")
    tag, first = data[at], data[at + 1]
    if tag & _LONG_TAG == _LONG_TAG:
        raise DerError(f"a tag of several bytes at {at:#x}")
    start, length = at + 2, first
    if first & _LONG_LENGTH:
        more = first & ~_LONG_LENGTH
        start += more
        length = int.from_bytes(data[at + 2 : start], "big")
        if start > limit or not more or length < _LONG_LENGTH or not data[at + 2]:
            raise DerError(f"a length at {at:#x} that is left open, or longer than it need be")
    if start + length > limit:
        raise DerError(f"a value at {at:#x} of {length} bytes, past the end of what it is in")
    return tag, start, start + length

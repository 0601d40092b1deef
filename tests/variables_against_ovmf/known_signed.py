# SPDX-License-Identifier: GPL-2.0-or-later
"""What OVMF and pvefi are known to answer differently to signed writes; see known.py.

They begin and end in setup mode.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import hashes

from pvefi.layout import Guid
from tests.build.signed_update import Identity, signature_list, time
from tests.build.signed_update import update as signed_update
from tests.variables_against_ovmf.known import Known
from tests.variables_against_ovmf.machine import VENDORS
from tests.variables_against_ovmf.model import APPEND
from tests.variables_against_ovmf.operations import SetVariable, wide
from tests.variables_against_ovmf.signed import KEYS, LASTING

VENDOR = VENDORS[1]


def _write(
    name: str,
    value: bytes,
    signer: Identity,
    timestamp: bytes | None = None,
    *,
    attributes: int = LASTING,
    vendor: Guid = VENDOR,
    **options: Any,
) -> SetVariable:
    vendor = KEYS.get(name, vendor)
    options = {"wrapped": False} | options
    data = signed_update(name, vendor, attributes, value, signer, timestamp or time(1), **options)
    return SetVariable(wide(name), vendor, attributes, data)


def known_signed(people: dict[str, Identity]) -> tuple[Known, ...]:
    """Return the differences, shown by what `people` sign."""
    a, b, owner = people["A"], people["B"], people["PK1"]
    own = signature_list(owner.der)
    return (
        Known(
            "signatures in a ContentInfo",
            (_write("Wrapped", b"x", a, wrapped=True),),
            "SUCCESS",
            "SECURITY_VIOLATION",
        ),
        Known(
            "signatures by SHA-384 and SHA-512",
            (
                _write("Sha384", b"x", a, digest=hashes.SHA384()),
                _write("Sha512", b"x", a, digest=hashes.SHA512()),
            ),
            "SUCCESS SUCCESS",
            "SECURITY_VIOLATION SECURITY_VIOLATION",
        ),
        Known(
            "private variables deleted by others",
            (_write("Gone", b"x", a), _write("Gone", b"", b, time(2))),
            "SUCCESS SECURITY_VIOLATION",
            "SUCCESS SUCCESS",
        ),
        Known(
            "the time of a variable that an append has made",
            (
                _write("Appended", b"x", a, time(5), attributes=LASTING | APPEND),
                _write("Appended", b"y", a, time(3)),
            ),
            "SUCCESS SECURITY_VIOLATION",
            "SUCCESS SUCCESS",
        ),
        Known(
            "timestamps that are no date and time",
            (
                _write("Late", b"x", a, time(1, year=10_000)),
                _write("Late", b"", a, time(2, year=10_000)),  # virt-firmware could not read it
                _write("Early", b"x", a, time(1, year=126)),
            ),
            "SECURITY_VIOLATION SECURITY_VIOLATION SUCCESS",
            "SUCCESS SUCCESS SUCCESS",
        ),
        Known(
            "timestamps of keys in setup mode",
            (
                _write("KEK", own, owner, time(1, nanosecond=1)),
                _write("KEK", own, owner, time(3)),
                _write("KEK", own, owner, time(2)),
                _write("KEK", b"", owner, time(4)),
            ),
            "SECURITY_VIOLATION SUCCESS SECURITY_VIOLATION SUCCESS",
            "SUCCESS SUCCESS SUCCESS SUCCESS",
        ),
        Known(
            "a PK that has not signed itself",
            (_write("PK", own, a), _write("PK", b"", owner, time(2))),
            "SUCCESS SUCCESS",
            "SECURITY_VIOLATION SECURITY_VIOLATION",
        ),
        Known(
            "a PK that is not there to delete",
            (_write("PK", b"", owner),),
            "NOT_FOUND",
            "SECURITY_VIOLATION",
        ),
        Known(
            "databases without a KEK",
            (_write("PK", own, owner), _write("dbx", own, a), _write("PK", b"", owner, time(2))),
            "SUCCESS SECURITY_VIOLATION SUCCESS",
            "SUCCESS NOT_FOUND SUCCESS",
        ),
    )

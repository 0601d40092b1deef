# SPDX-License-Identifier: GPL-2.0-or-later
"""Who made each private authenticated variable, in the form of edk2's variables certdb and certdbv.

Both are a 32-bit size, their own, and then one AUTH_CERT_DB_DATA for each variable (edk2
SecurityPkg/Library/AuthVariableLib/AuthServiceInternal.h).
"""

from __future__ import annotations

from collections.abc import Mapping

from pvefi.layout import Guid
from pvefi.spec.edk2.secure_boot import AuthCertDbData

__all__ = ["Creators", "pack_creators", "read_creators"]

Creators = Mapping[tuple[str, Guid], bytes]
"""By a variable's name and vendor, what identifies its creator."""

_SIZE = 4  # bytes of the size at the beginning


def read_creators(data: bytes) -> Creators | None:
    """Return what `data` holds, of several entries for one variable the first; None when it is not sound."""
    found: dict[tuple[str, Guid], bytes] = {}
    if len(data) < _SIZE or int.from_bytes(data[:_SIZE], "little") != len(data):
        return None
    at = _SIZE
    while at < len(data):
        if at + AuthCertDbData.SIZE > len(data):
            return None
        header = AuthCertDbData.unpack(data, at)
        name_at = at + AuthCertDbData.SIZE
        certificate_at = name_at + 2 * header.name_size
        end = certificate_at + header.certificate_size
        if end != at + header.node_size or end > len(data):
            return None
        name = data[name_at:certificate_at].decode("utf-16-le", "surrogatepass")
        found.setdefault((name, header.vendor), data[certificate_at:end])
        at = end
    return found


def pack_creators(creators: Creators) -> bytes:
    """Return the data of certdb or certdbv."""
    nodes = b""
    for (name, vendor), certificate in creators.items():
        text = name.encode("utf-16-le", "surrogatepass")
        size = AuthCertDbData.SIZE + len(text) + len(certificate)
        nodes += AuthCertDbData(vendor, size, len(text) // 2, len(certificate)).pack() + text + certificate
    return (_SIZE + len(nodes)).to_bytes(_SIZE, "little") + nodes

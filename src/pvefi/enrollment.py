# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts certificates and hashes where Secure Boot looks for them: PK, KEK, db and dbx — UEFI 2.10 §32.

Whoever has the store's file is its owner: nothing here is signed, and no signature is checked.
Microsoft's and Debian's certificates come with virt-firmware.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from pvefi.efi.varstore.store import Variable, VariableStore
from pvefi.errors import UsageError
from pvefi.files import read_file
from pvefi.layout import Guid
from pvefi.owner_changes import now_or_later, put_all
from pvefi.spec.authenticode import CertificateType, WinCertificate
from pvefi.spec.uefi.guids import (
    GLOBAL_VARIABLE,
    IMAGE_SECURITY_DATABASE,
    MICROSOFT_OWNER,
    OVMF_ENROLL_DEFAULT_KEYS,
)
from pvefi.spec.uefi.signature_list import (
    CERT_SHA256,
    CERT_X509,
    SignatureList,
    SignatureListError,
    packed,
    signature_lists,
)
from pvefi.spec.uefi.time import Time
from pvefi.spec.uefi.variables import defined_attributes

__all__ = [
    "DEBIAN",
    "MICROSOFT_2011",
    "MICROSOFT_2023",
    "VENDORS",
    "Enrollment",
    "enroll",
    "read_certificates",
    "read_signatures",
    "shipped",
]

VENDORS: Mapping[str, Guid] = MappingProxyType(
    {
        "dbx": IMAGE_SECURITY_DATABASE,
        "db": IMAGE_SECURITY_DATABASE,
        "KEK": GLOBAL_VARIABLE,
        "PK": GLOBAL_VARIABLE,
    }
)
"""The variables in the order in which they are written: the platform is in user mode once it has a PK."""
_LESS_THAN = 512 << 20  # bytes; a unified kernel image with an initrd has tens of MB
_PEM = b"-----BEGIN"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_WAY_OUT = "pip install --upgrade virt-firmware"


@dataclass(frozen=True)
class Enrollment:
    """What is to be in each variable besides what is there; `pk`, unless it is empty, takes PK's place.

    `default_pk` is for a store that has none.
    """

    pk: tuple[SignatureList, ...] = ()
    kek: tuple[SignatureList, ...] = ()
    db: tuple[SignatureList, ...] = ()
    dbx: tuple[SignatureList, ...] = ()
    default_pk: tuple[SignatureList, ...] = ()

    def with_all_of(self, other: Enrollment) -> Enrollment:
        """Return both as one."""
        return Enrollment(
            self.pk + other.pk,
            self.kek + other.kek,
            self.db + other.db,
            self.dbx + other.dbx,
            self.default_pk or other.default_pk,
        )


@dataclass(frozen=True)
class Shipped:
    """Names of certificates that virt-firmware ships, for each variable, and whose they are."""

    owner: Guid
    pk: tuple[str, ...] = ()
    kek: tuple[str, ...] = ()
    db: tuple[str, ...] = ()


# What Microsoft wants on every computer: https://github.com/microsoft/secureboot_objects "Templates".
MICROSOFT_2011 = Shipped(
    MICROSOFT_OWNER,
    ("microsoft.com/ms-oem-pk-2023",),
    ("microsoft.com/ms-kek-2011",),
    ("microsoft.com/windows-2011", "microsoft.com/ms-uefi-2011"),
)
MICROSOFT_2023 = Shipped(
    MICROSOFT_OWNER,
    ("microsoft.com/ms-oem-pk-2023",),
    ("microsoft.com/ms-kek-2023",),
    ("microsoft.com/windows-2023", "microsoft.com/ms-uefi-2023", "microsoft.com/ms-uefi-rom-2023"),
)
DEBIAN = Shipped(OVMF_ENROLL_DEFAULT_KEYS, db=("debian.org/debian-2016",))
"""Debian's CA, by which shim, too, knows Debian's boot loaders and kernels."""


def shipped(these: Shipped) -> Enrollment:
    """Return the enrollment of certificates that virt-firmware ships; UsageError when it is not there."""

    def certificates(names: Sequence[str]) -> tuple[SignatureList, ...]:
        return tuple(one for name in names for one in _certificate_lists(_resource(name), these.owner, name))

    return Enrollment(
        kek=certificates(these.kek), db=certificates(these.db), default_pk=certificates(these.pk)
    )


def _resource(name: str) -> bytes:
    try:
        return files("virt.firmware").joinpath("certs", f"{name}.pem").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise UsageError(f"expected certificate {name} of virt-firmware, found none", _WAY_OUT) from error


def read_certificates(path: Path, owner: Guid) -> tuple[SignatureList, ...]:
    """Return the certificates in a file, PEM or DER; UsageError when there are none."""
    return _certificate_lists(bytes(_read(path)), owner, str(path))


def _certificate_lists(
    data: bytes, owner: Guid, name: str, expected: str = "a certificate in PEM or DER"
) -> tuple[SignatureList, ...]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from pvefi.efi.authentication.certificates import KEY_BITS, rsa_key

    try:
        if _PEM in data:
            found = x509.load_pem_x509_certificates(data)
        else:
            found = [x509.load_der_x509_certificate(data)]
    except ValueError as error:
        raise UsageError(f"{name}: expected {expected}, found none") from error
    if any(rsa_key(one) is None for one in found):
        # SetVariable() takes no other, and nobody could sign for such a PK or KEK.
        wanted = f"a certificate with an RSA key of {KEY_BITS[0]} to {KEY_BITS[-1]} bits"
        raise UsageError(f"{name}: expected {wanted}, found one with another key")
    return tuple(SignatureList(CERT_X509, ((owner, one.public_bytes(Encoding.DER)),)) for one in found)


def read_signatures(what: str, owner: Guid) -> tuple[SignatureList, ...]:
    """Return what `what` names: the SHA-256 hash that it is, or of a file what is in it.

    That is certificates, an EFI program, of which the Authenticode hash is taken, or lists of signatures,
    behind a signed update's header too. UsageError or ImageError when it is none of these.
    """
    if _SHA256.fullmatch(what):
        return (SignatureList(CERT_SHA256, ((owner, bytes.fromhex(what)),)),)
    path = Path(what)
    data = bytes(_read(path))
    if digest := _image_hash(path, data):
        return (SignatureList(CERT_SHA256, ((owner, digest),)),)
    for start in (0, _authentication_size(data)):
        with suppress(SignatureListError):
            if lists := _with_signatures(data[start:]):
                for one in lists:
                    _check_certificates(one, what)
                return lists
    expected = "certificates, an EFI program, signature lists or a SHA-256 hash"
    return _certificate_lists(data, owner, what, expected)


def _with_signatures(data: bytes) -> tuple[SignatureList, ...]:
    """Return the lists in `data` that are not empty; SignatureListError when it is no lists."""
    return tuple(one for one in signature_lists(data) if one.signatures)


def _check_certificates(one: SignatureList, name: str) -> None:
    """Refuse a list of certificates with something else in it; UsageError."""
    if one.type == CERT_X509:
        for owner, data in one.signatures:
            _certificate_lists(data, owner, name)


def _read(path: Path) -> memoryview:
    return read_file(path, "certificates", less_than=_LESS_THAN, way_out="no certificate is so large")


def _image_hash(path: Path, data: bytes) -> bytes | None:
    from pvefi.image.pe import has_pe_header, parse_pe
    from pvefi.image.signatures import image_digest

    return image_digest(parse_pe(path, data), data, "sha256") if has_pe_header(data) else None


def _authentication_size(data: bytes) -> int:
    """Return the size of EFI_VARIABLE_AUTHENTICATION_2 at the start of `data`, 0 when there is none."""
    if len(data) < Time.SIZE + WinCertificate.SIZE:
        return 0
    header = WinCertificate.unpack(data, Time.SIZE)
    is_one = header.certificate_type is CertificateType.EFI_GUID
    return Time.SIZE + header.length if is_one else 0


def enroll(store: VariableStore, wanted: Enrollment) -> None:
    """Put into the store what of `wanted` is not there; with another PK than before it is in user mode.

    UsageError when `wanted` or the store makes no sense, or there is no room; StoreError when writing fails.
    """
    if len(wanted.pk) > 1:
        raise UsageError(f"expected one certificate for PK, found {len(wanted.pk)}")
    found = {name: _found(store, name) for name in VENDORS}
    made = {
        "dbx": _merged(found["dbx"], wanted.dbx),
        "db": _merged(found["db"], wanted.db),
        "KEK": _merged(found["KEK"], wanted.kek),
        "PK": [*wanted.pk] or found["PK"] or [*wanted.default_pk],
    }
    changed: list[Variable] = []
    for name, vendor in VENDORS.items():
        if made[name] == found[name]:
            continue
        attributes = defined_attributes(name, vendor)
        assert attributes is not None, "the specification has all four"
        data = b"".join(map(packed, made[name]))
        stamp = now_or_later(attributes, store.get(name, vendor))
        changed.append(Variable(name, vendor, attributes, data, stamp))
    put_all(store, changed)


def _found(store: VariableStore, name: str) -> list[SignatureList]:
    variable = store.get(name, VENDORS[name])
    try:
        return [] if variable is None else list(_with_signatures(variable.data))
    except SignatureListError as error:
        raise UsageError(
            f"{name}: expected lists of signatures, found {error}", f"pvefi vars delete FILE {name}"
        ) from error


def _merged(there: Sequence[SignatureList], new: Iterable[SignatureList]) -> list[SignatureList]:
    """Return `there` with those signatures of `new` that it lacks, whoever owns them."""
    lists = list(there)
    known = {(one.type, data) for one in lists for _, data in one.signatures}
    for one in new:
        lacking: list[tuple[Guid, bytes]] = []
        for owner, data in one.signatures:
            if (one.type, data) not in known:
                known.add((one.type, data))
                lacking.append((owner, data))
        if not lacking:
            continue
        at = next((at for at, other in enumerate(lists) if _can_take(other, one, lacking[0][1])), None)
        if at is None:
            lists.append(SignatureList(one.type, tuple(lacking), one.header))
        else:
            both = (*lists[at].signatures, *lacking)
            lists[at] = SignatureList(one.type, both, one.header)
    return lists


def _can_take(other: SignatureList, one: SignatureList, data: bytes) -> bool:
    """Whether signatures of `one` may stand in the list `other`; certificates each have their own."""
    same_kind = other.type == one.type != CERT_X509 and other.header == one.header
    return same_kind and bool(other.signatures) and len(other.signatures[0][1]) == len(data)

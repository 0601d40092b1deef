# SPDX-License-Identifier: GPL-2.0-or-later
"""Time-based authenticated variables, signed by `cryptography` in the test: who may write what, and when."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from pvefi.efi.environment import Phase
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.store import StoreFault, Variable
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import OVMF_2M
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.variables import VariableAttribute
from tests.build.signed_update import (
    CERT_SHA256,
    Identity,
    certificate_of,
    identity,
    signature,
    signature_list,
    signed_text,
    time,
    update,
)
from tests.efi.boot.guest import FakeGuest
from tests.efi.failing_store import FailingStore
from tests.efi.runtime.test_variables import (
    APPEND,
    BS,
    NV,
    RT,
    VENDOR,
    attributes_of,
    names,
    put,
    read,
    refused,
    room,
)
from tests.efi.varstore.flash import Flash

AT = VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS
LASTING = NV | BS | RT | AT
GLOBAL, SECURITY = guids.GLOBAL_VARIABLE, guids.IMAGE_SECURITY_DATABASE
CERTDB = ("certdb", guids.EDK2_CERT_DB)

OWNER_OF_PK = identity("Platform")
KEK_OWNER = identity("Exchange")
ROOT = identity("Root", authority=True)
MIDDLE = identity("Middle", ROOT, authority=True)
LEAF = identity("Leaf", MIDDLE)
STRANGER = identity("Stranger")


def write(
    guest: FakeGuest,
    name: str = "Mine",
    value: bytes = b"value",
    signer: Identity | None = STRANGER,
    at: int = 0,
    *,
    vendor: Guid = VENDOR,
    attributes: int = LASTING,
    **options: Any,
) -> None:
    put(guest, name, update(name, vendor, attributes, value, signer, time(at), **options), attributes, vendor)


def enrol(guest: FakeGuest) -> None:
    """Go from setup mode to user mode, with a KEK and the root of another in KEK."""
    keys = signature_list(KEK_OWNER.der) + signature_list(ROOT.der)
    write(guest, "KEK", keys, None, vendor=GLOBAL)
    write(guest, "PK", signature_list(OWNER_OF_PK.der), None, vendor=GLOBAL)


def mode(guest: FakeGuest) -> tuple[int, int, int]:
    """Return SetupMode, AuditMode, DeployedMode; SecureBoot is never anything but 0."""
    assert read(guest, "SecureBoot", GLOBAL) == b"\0"
    setup, audit, deployed = (read(guest, f"{one}Mode", GLOBAL)[0] for one in ("Setup", "Audit", "Deployed"))
    return setup, audit, deployed


# ---------------------------------------------------------------- private variables


@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_whoever_made_a_variable_changes_and_deletes_it(
    guest: FakeGuest, digest: hashes.SHA256, wrapped: bool, detached: bool, attributes: bool
) -> None:
    before = names(guest)
    write(guest, digest=digest, wrapped=wrapped, detached=detached, signed_attributes=attributes)
    assert read(guest, "Mine") == b"value"
    assert attributes_of(guest, "Mine") == LASTING
    write(guest, value=b"other", at=1, digest=digest, wrapped=not wrapped)
    assert read(guest, "Mine") == b"other"
    write(guest, value=b"", at=2, digest=digest, wrapped=wrapped)
    assert names(guest) == [*before, CERTDB]
    with refused("NOT_FOUND"):
        write(guest, value=b"", at=3)


def test_nobody_else_changes_or_deletes_it(guest: FakeGuest) -> None:
    write(guest)
    namesake = identity("Stranger", number=7)
    for signer in (KEK_OWNER, namesake, LEAF):
        for value in (b"other", b""):
            with refused("SECURITY_VIOLATION"):
                write(guest, value=value, signer=signer, at=1)
    for data, attributes in ((b"", LASTING), (b"", 0), (b"x", 0), (b"", AT)):
        with refused("SECURITY_VIOLATION"):
            put(guest, "Mine", data, attributes)
    for attributes in (NV | BS | RT, NV | BS | AT):
        with refused("INVALID_PARAMETER"):
            put(guest, "Mine", b"other", attributes)
    assert read(guest, "Mine") == b"value"


def test_edk2_finds_the_creator_where_it_keeps_it(guest: FakeGuest) -> None:
    write(guest)
    write(guest, "Ours", signer=LEAF)
    node = b""
    for name, signer in (("Mine", STRANGER), ("Ours", LEAF)):
        common_name = signer.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        assert isinstance(common_name, str)
        creator = sha256(common_name.encode() + signer.certificate.tbs_certificate_bytes).digest()
        text = name.encode("utf-16-le")
        node += VENDOR.wire + struct.pack("<III", 28 + len(text) + 32, len(name), 32) + text + creator
    assert read(guest, *CERTDB) == struct.pack("<I", 4 + len(node)) + node
    assert attributes_of(guest, *CERTDB) == LASTING
    write(guest, value=b"", at=1)
    assert len(read(guest, *CERTDB)) == 4 + len(node) // 2


def test_volatile_ones_have_their_creators_apart(guest: FakeGuest) -> None:
    write(guest, attributes=BS | RT | AT)
    write(guest, value=b"other", attributes=BS | RT | AT, at=1)
    with refused("SECURITY_VIOLATION"):
        write(guest, value=b"", attributes=BS | RT | AT, at=2, signer=LEAF)
    assert attributes_of(guest, "certdbv", guids.EDK2_CERT_DB) == BS | RT | AT
    guest.reset()
    with refused("NOT_FOUND"):
        read(guest, "Mine")
    write(guest, signer=LEAF, attributes=BS | RT | AT)


def test_a_signer_without_a_name_makes_no_variable(guest: FakeGuest) -> None:
    with refused("SECURITY_VIOLATION"):
        write(guest, signer=identity(None))
    write(guest, signer=identity("x" * 64))


@pytest.mark.parametrize("data", [b"", b"\4\0\0", b"\5\0\0\0", b"\x20\0\0\0" + bytes(28)])
def test_where_the_creators_are_not_sound_nothing_private_is_written(guest: FakeGuest, data: bytes) -> None:
    write(guest)
    guest.efi.surroundings.kept.variables.put(Variable(*CERTDB, VariableAttribute(LASTING), data))
    for name in ("Mine", "New"):
        with refused("SECURITY_VIOLATION"):
            write(guest, name, at=1)
    assert read(guest, *CERTDB) == data


# ---------------------------------------------------------------- time


def test_a_write_that_is_not_later_than_the_last_is_refused(guest: FakeGuest) -> None:
    write(guest, at=10)
    for at in (0, 9, 10):
        for value in (b"value", b""):
            with refused("SECURITY_VIOLATION"):
                write(guest, value=value, at=at)
    write(guest, value=b"later", at=11)
    assert read(guest, "Mine") == b"later"


def test_what_is_appended_may_be_older_and_the_later_time_counts(guest: FakeGuest) -> None:
    write(guest, at=10)
    write(guest, value=b" and", at=5, attributes=LASTING | APPEND)
    write(guest, value=b" more", at=20, attributes=LASTING | APPEND)
    write(guest, value=b"", at=30, attributes=LASTING | APPEND)
    assert read(guest, "Mine") == b"value and more"
    with refused("SECURITY_VIOLATION"):
        write(guest, at=30)
    write(guest, at=31)


def test_appending_to_nothing_makes_a_variable_and_appending_nothing_does_not(guest: FakeGuest) -> None:
    before = names(guest)
    write(guest, value=b"", attributes=LASTING | APPEND)
    assert names(guest) == before
    write(guest, at=10, attributes=LASTING | APPEND)
    assert read(guest, "Mine") == b"value"
    with refused("SECURITY_VIOLATION"):
        write(guest, at=10)
    with refused("SECURITY_VIOLATION"):
        write(guest, value=b"x", at=11, attributes=LASTING | APPEND, signer=LEAF)


@pytest.mark.parametrize("change", ["pad1", "nanosecond", "time_zone", "daylight", "pad2"])
def test_a_timestamp_is_date_and_time_and_no_more(guest: FakeGuest, change: str) -> None:
    data = update("Mine", VENDOR, LASTING, b"value", STRANGER, time(**{change: 1}))
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", data, LASTING)


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ((0, 0, 0, 0, 0, 1), True),
        ((126, 0, 31, 23, 59, 59), True),  # as sbvarsign counts: years from 1900, months from 0
        ((9999, 12, 31, 23, 59, 59), True),
        ((10000, 1, 1, 0, 0, 0), False),
        ((65535, 1, 1, 0, 0, 0), False),
        ((2031, 13, 1, 0, 0, 0), False),
        ((2031, 1, 32, 0, 0, 0), False),
        ((2031, 1, 1, 24, 0, 0), False),
        ((2031, 1, 1, 0, 60, 0), False),
        ((2031, 1, 1, 0, 0, 60), False),
    ],
)
def test_a_timestamp_is_in_the_range_of_its_fields(
    guest: FakeGuest, fields: tuple[int, ...], taken: bool
) -> None:
    stamp = struct.pack("<H5B9x", *fields)
    with nullcontext() if taken else refused("SECURITY_VIOLATION"):
        put(guest, "Mine", update("Mine", VENDOR, LASTING, b"value", STRANGER, stamp), LASTING)


# ---------------------------------------------------------------- what is no descriptor


def descriptor(value: bytes = b"value", **options: Any) -> bytes:
    return update("Mine", VENDOR, LASTING, value, STRANGER, **options)


SOUND = descriptor()
END = SOUND.index(b"value")


@pytest.mark.parametrize("size", [0, 1, 15, 16, 39, 40, 41, END - 1])
def test_a_descriptor_that_is_cut_short_is_refused(guest: FakeGuest, size: int) -> None:
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", SOUND[:size], LASTING)


@pytest.mark.parametrize("length", [0, 1, 23, 24, 25, END - 16 - 1, END - 16 + 1, len(SOUND) - 15, 1 << 31])
def test_a_certificate_of_another_length_is_refused(guest: FakeGuest, length: int) -> None:
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", SOUND[:16] + struct.pack("<I", length) + SOUND[20:], LASTING)


@pytest.mark.parametrize(
    "certificate",
    [
        certificate_of(SOUND[40:END], kind=Guid.parse("a7717414-c616-4977-9420-844712a735bf")),
        certificate_of(SOUND[40:END], type_=0x0002),
        certificate_of(SOUND[40:END], type_=0x0EF0),
        certificate_of(b""),
        certificate_of(SOUND[40:END] + b"\0"),
        certificate_of(SOUND[40 : END - 1]),
        certificate_of(b"\x30\x80" + SOUND[44:END] + b"\0\0"),
        certificate_of(b"\x30\x00"),
        certificate_of(b"\x05\x00"),
        certificate_of(b"\xff" * 64),
    ],
    ids=["type", "PKCS", "PKCS1", "none", "trailing", "cut", "endless", "empty", "NULL", "garbage"],
)
def test_another_certificate_than_a_signed_data_is_refused(guest: FakeGuest, certificate: bytes) -> None:
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", SOUND[:16] + certificate + b"value", LASTING)


@pytest.mark.parametrize(
    "options",
    [
        {"digest": hashes.SHA224()},
        {"more": (LEAF,)},
    ],
    ids=["SHA-224", "two signers"],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_signed_data_of_another_form_is_refused(
    guest: FakeGuest, options: dict[str, Any], wrapped: bool
) -> None:
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", descriptor(wrapped=wrapped, **options), LASTING)


@pytest.mark.parametrize(
    ("name", "vendor", "attributes", "value"),
    [
        ("mine", VENDOR, LASTING, b"value"),
        ("Mine\0", VENDOR, LASTING, b"value"),
        ("Mine", GLOBAL, LASTING, b"value"),
        ("Mine", VENDOR, LASTING | APPEND, b"value"),
        ("Mine", VENDOR, LASTING & ~RT, b"value"),
        ("Mine", VENDOR, LASTING, b"valu"),
        ("Mine", VENDOR, LASTING, b""),
    ],
)
def test_a_signature_of_anything_else_is_refused(
    guest: FakeGuest, name: str, vendor: Guid, attributes: int, value: bytes
) -> None:
    der = signature(signed_text(name, vendor, attributes, time(), value), STRANGER)
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", time() + certificate_of(der) + b"value", LASTING)
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", time(1) + SOUND[16:], LASTING)


def test_a_key_that_is_too_small_signs_nothing(guest: FakeGuest) -> None:
    with refused("SECURITY_VIOLATION"):
        write(guest, signer=identity("Small", key_size=1024))
    write(guest, signer=identity("Large", key_size=4096))


def test_the_signer_s_certificate_has_to_come_along(guest: FakeGuest) -> None:
    other = Identity(STRANGER.key, identity("Another", number=9).certificate)
    with refused("SECURITY_VIOLATION"):
        write(guest, signer=other)


def test_a_value_that_is_too_large_is_refused_before_its_signature(guest: FakeGuest) -> None:
    with refused("INVALID_PARAMETER"):
        put(guest, "Mine", SOUND + bytes(64 << 10), LASTING)
    with refused("INVALID_PARAMETER"):
        put(guest, "Mine", bytes(1 << 20), LASTING)


def test_a_small_store_takes_larger_variables_where_they_are_authenticated(guest: FakeGuest) -> None:
    # As OVMF of 2 MiB: 0x2000 and 0x2800 bytes with the header of 60.
    guest.efi.surroundings.kept.variables = Edk2Store(Flash(bytearray(empty_store(OVMF_2M))))
    plain, authenticated = 0x2000 - 60, 0x2800 - 60
    assert room(guest)[2] == plain
    assert room(guest, LASTING)[2] == authenticated
    data = bytes(authenticated - 2 * len("Mine\0"))
    with refused("INVALID_PARAMETER"):
        put(guest, "Other", bytes(plain))
    with refused("INVALID_PARAMETER"):
        write(guest, value=data + b"x")
    write(guest, value=data)
    assert read(guest, "Mine") == data


# ---------------------------------------------------------------- the keys of Secure Boot


def test_without_a_platform_key_keys_need_a_descriptor_and_no_signature(guest: FakeGuest) -> None:
    keys = signature_list(KEK_OWNER.der)
    for name, vendor in (("KEK", GLOBAL), ("PK", GLOBAL), ("db", SECURITY)):
        with refused("SECURITY_VIOLATION"):
            put(guest, name, keys, LASTING, vendor)
        with refused("INVALID_PARAMETER"):
            put(guest, name, keys, NV | BS | RT, vendor)
    for name in ("db", "dbx", "dbr", "dbt"):
        write(guest, name, keys, None, vendor=SECURITY)
        write(guest, name, signature_list(LEAF.der), STRANGER, 1, vendor=SECURITY)
        assert read(guest, name, SECURITY) == signature_list(LEAF.der)
        write(guest, name, b"", None, 2, vendor=SECURITY)
    assert mode(guest) == (1, 0, 0)


def test_a_platform_key_ends_setup_mode_and_its_owner_begins_it_again(guest: FakeGuest) -> None:
    enrol(guest)
    assert mode(guest) == (0, 0, 0)
    guest.reset()
    assert mode(guest) == (0, 0, 0)
    for signer in (None, STRANGER, KEK_OWNER, LEAF):
        for value in (signature_list(STRANGER.der), b""):
            with refused("SECURITY_VIOLATION"):
                write(guest, "PK", value, signer, 1, vendor=GLOBAL)
    write(guest, "PK", signature_list(STRANGER.der), OWNER_OF_PK, 1, vendor=GLOBAL)
    assert mode(guest) == (0, 0, 0)
    with refused("SECURITY_VIOLATION"):
        write(guest, "PK", b"", OWNER_OF_PK, 2, vendor=GLOBAL)
    guest.efi.phase = Phase.RUNTIME
    write(guest, "PK", b"", STRANGER, 2, vendor=GLOBAL)
    assert mode(guest) == (1, 0, 0)
    write(guest, "KEK", b"", None, 2, vendor=GLOBAL)


def test_the_platform_key_s_owner_alone_writes_kek(guest: FakeGuest) -> None:
    enrol(guest)
    keys = signature_list(STRANGER.der)
    for signer in (None, STRANGER, KEK_OWNER, LEAF):
        with refused("SECURITY_VIOLATION"):
            write(guest, "KEK", keys, signer, 1, vendor=GLOBAL)
    write(guest, "KEK", keys, OWNER_OF_PK, 1, vendor=GLOBAL)
    assert read(guest, "KEK", GLOBAL) == keys


@pytest.mark.parametrize("name", ["db", "dbx", "dbr", "dbt"])
@pytest.mark.parametrize("signer", [OWNER_OF_PK, KEK_OWNER, ROOT, MIDDLE, LEAF])
def test_an_exchange_key_s_owner_and_whom_it_certified_write_the_databases(
    guest: FakeGuest, name: str, signer: Identity
) -> None:
    enrol(guest)
    keys = signature_list(STRANGER.der)
    write(guest, name, keys, signer, vendor=SECURITY)
    assert read(guest, name, SECURITY) == keys
    write(guest, name, b"", signer, 1, vendor=SECURITY)


def untrusted() -> dict[str, Identity]:
    plain = identity("Plain", ROOT)
    short = identity("Short", ROOT, authority=True, path_length=0)
    under = identity("Under", short, authority=True)
    false_root = identity("Root", authority=True, number=11)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    limits = x509.NameConstraints([x509.DNSName("example.org")], None)
    return {
        "nobody": identity("Nobody"),
        "by one who is no authority": identity("Low", plain),
        "by too long a path": identity("Deep", under),
        "by a namesake": identity("Forged", false_root),
        "without the one between": Identity(LEAF.key, LEAF.certificate),
        "by one who may not sign certificates": identity(
            "Used", identity("Signs", ROOT, authority=True, extensions=((usage, True),))
        ),
        "by one with a critical extension": identity(
            "Critical", identity("Odd", ROOT, authority=True, extensions=((odd, True),))
        ),
        "by one with constraints": identity(
            "Constrained", identity("Limits", ROOT, authority=True, extensions=((limits, False),))
        ),
        "by a weak hash": identity("Weak", ROOT, digest=hashes.SHA224),
    }


@pytest.mark.parametrize("why", untrusted())
def test_nobody_else_writes_the_databases(guest: FakeGuest, why: str) -> None:
    enrol(guest)
    with refused("SECURITY_VIOLATION"):
        write(guest, "db", signature_list(STRANGER.der), untrusted()[why], vendor=SECURITY)


def test_an_extension_that_is_not_critical_does_not_matter(guest: FakeGuest) -> None:
    enrol(guest)
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    issuer = identity("Fine", ROOT, authority=True, path_length=0, extensions=((odd, False),))
    write(guest, "db", signature_list(STRANGER.der), identity("Below", issuer), vendor=SECURITY)


def test_recovery_options_are_signed_by_a_recovery_key_too(guest: FakeGuest) -> None:
    enrol(guest)
    write(guest, "dbr", signature_list(STRANGER.der), KEK_OWNER, vendor=SECURITY)
    for name, vendor in (("OsRecoveryOrder", GLOBAL), ("OsRecovery00FF", VENDOR)):
        for second, signer in enumerate((OWNER_OF_PK, LEAF, STRANGER)):
            write(guest, name, b"option", signer, second, vendor=vendor)
        with refused("SECURITY_VIOLATION"):
            write(guest, name, b"option", identity("Nobody"), 9, vendor=vendor)
    with refused("SECURITY_VIOLATION"):
        write(guest, "db", signature_list(STRANGER.der), STRANGER, vendor=SECURITY)
    with refused("INVALID_PARAMETER"):
        put(guest, "OsRecovery0001", b"option", NV | BS | RT)


# ---------------------------------------------------------------- what the databases hold


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        signature_list(KEK_OWNER.der)[:-1],
        signature_list(KEK_OWNER.der) + b"\0",
        signature_list(KEK_OWNER.der[:-1]),
        signature_list(bytes(32)),
        signature_list(bytes(31), kind=CERT_SHA256),
        signature_list(bytes(32), kind=VENDOR),
        signature_list(identity("Small", key_size=1024).der),
    ],
)
@pytest.mark.parametrize("name", ["PK", "KEK", "db"])
def test_what_is_no_database_of_signatures_is_refused(guest: FakeGuest, name: str, value: bytes) -> None:
    vendor = SECURITY if name == "db" else GLOBAL
    with refused("INVALID_PARAMETER"):
        write(guest, name, value, None, vendor=vendor)
    assert mode(guest) == (1, 0, 0)


@pytest.mark.parametrize(
    "value",
    [
        signature_list(KEK_OWNER.der, KEK_OWNER.der),
        signature_list(KEK_OWNER.der) + signature_list(LEAF.der),
        signature_list(bytes(32), kind=CERT_SHA256),
    ],
)
def test_a_platform_key_is_one_certificate(guest: FakeGuest, value: bytes) -> None:
    with refused("INVALID_PARAMETER"):
        write(guest, "PK", value, None, vendor=GLOBAL)
    enrol(guest)
    with refused("INVALID_PARAMETER"):
        write(guest, "PK", value, OWNER_OF_PK, 1, vendor=GLOBAL)
    with refused("INVALID_PARAMETER"):
        write(
            guest, "PK", signature_list(LEAF.der), OWNER_OF_PK, 1, vendor=GLOBAL, attributes=LASTING | APPEND
        )


def test_nothing_may_be_appended_to_keys_and_only_by_their_owner(guest: FakeGuest) -> None:
    enrol(guest)
    for name in ("PK", "KEK"):
        before = read(guest, name, GLOBAL)
        with refused("SECURITY_VIOLATION"):
            write(guest, name, b"", STRANGER, 5, vendor=GLOBAL, attributes=LASTING | APPEND)
        write(guest, name, b"", OWNER_OF_PK, 5, vendor=GLOBAL, attributes=LASTING | APPEND)
        assert read(guest, name, GLOBAL) == before
    with refused("SECURITY_VIOLATION"):
        write(guest, "KEK", signature_list(LEAF.der), OWNER_OF_PK, 5, vendor=GLOBAL)


def test_signatures_that_are_there_already_are_not_appended(guest: FakeGuest) -> None:
    hash_of = [bytes([number]) * 32 for number in range(5)]
    before = signature_list(*hash_of[:3], kind=CERT_SHA256)
    write(guest, "dbx", before, None, vendor=SECURITY)
    more = signature_list(*hash_of[1:4], kind=CERT_SHA256) + signature_list(LEAF.der)
    write(guest, "dbx", more, None, vendor=SECURITY, attributes=LASTING | APPEND)
    expected = before + signature_list(hash_of[3], kind=CERT_SHA256) + signature_list(LEAF.der)
    assert read(guest, "dbx", SECURITY) == expected
    write(guest, "dbx", more, None, 40, vendor=SECURITY, attributes=LASTING | APPEND)
    assert read(guest, "dbx", SECURITY) == expected
    with refused("SECURITY_VIOLATION"):
        write(guest, "dbx", more, None, 40, vendor=SECURITY)
    other = signature_list(hash_of[0], kind=CERT_SHA256, owner=VENDOR)
    write(guest, "dbx", other, None, vendor=SECURITY, attributes=LASTING | APPEND)
    assert read(guest, "dbx", SECURITY) == expected + other


# ---------------------------------------------------------------- the firmware's own


@pytest.mark.parametrize(
    ("name", "vendor", "attributes", "status"),
    [
        ("certdb", guids.EDK2_CERT_DB, LASTING, "WRITE_PROTECTED"),
        ("certdbv", guids.EDK2_CERT_DB, BS | RT | AT, "WRITE_PROTECTED"),
        ("VendorKeysNv", guids.EDK2_VENDOR_KEYS_NV, NV | BS | AT, "WRITE_PROTECTED"),
        ("SecureBootMode", guids.PVEFI_VARIABLE, NV | BS | AT, "WRITE_PROTECTED"),
        ("Any", guids.PVEFI_VARIABLE, NV | BS | RT, "WRITE_PROTECTED"),
        ("SecureBootEnable", guids.EDK2_SECURE_BOOT_ENABLE, NV | BS, "SECURITY_VIOLATION"),
        ("CustomMode", guids.EDK2_CUSTOM_MODE, NV | BS, "SECURITY_VIOLATION"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_what_firmware_keeps_for_itself_is_not_written(
    guest: FakeGuest, name: str, vendor: Guid, attributes: int, status: str, there: bool
) -> None:
    if there:
        store = guest.efi.surroundings.kept.variables if attributes & NV else guest.efi.volatile_variables
        store.put(Variable(name, vendor, VariableAttribute(attributes), b"\1"))
    for wanted, data in ((attributes, b"\1"), (0, b""), (attributes, b"")):
        with refused(status):
            put(guest, name, data, wanted, vendor)
    if attributes & AT:
        with refused(status):
            write(guest, name, vendor=vendor, attributes=attributes)


def test_vendor_keys_are_what_ovmf_last_said(guest: FakeGuest) -> None:
    kept = Variable("VendorKeysNv", guids.EDK2_VENDOR_KEYS_NV, VariableAttribute(NV | BS | AT), b"\1")
    guest.efi.surroundings.kept.variables.put(kept)
    guest.reset()
    assert read(guest, "VendorKeys", GLOBAL) == b"\1"
    enrol(guest)  # as edk2 has it: only its custom mode makes a difference
    assert read(guest, "VendorKeys", GLOBAL) == b"\1"


# ---------------------------------------------------------------- when the store fails


def broken_off(guest: FakeGuest, good: int, **how: Any) -> Any:
    """Let the store take so many changes more; call what this returns to have a sound one again."""
    kept = guest.efi.surroundings.kept
    sound = kept.variables
    FailingStore(kept).fail(StoreFault.DEVICE, after=good, **how)

    def restart() -> None:
        kept.variables = sound
        guest.reset()

    return restart


@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_variable_that_was_being_made_is_its_maker_s_or_nobody_s(guest: FakeGuest, good: int) -> None:
    restart = broken_off(guest, good)
    with nullcontext() if good == 2 else refused("DEVICE_ERROR"):
        write(guest)
    restart()
    if good == 2:
        with refused("SECURITY_VIOLATION"):
            write(guest, at=1, signer=LEAF)
        write(guest, at=1)
    else:
        write(guest, at=1, signer=LEAF)
        with refused("SECURITY_VIOLATION"):
            write(guest, at=2)
    assert len(read(guest, *CERTDB)) == 4 + 28 + 8 + 32


@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize("good", [0, 1])
def test_a_variable_whose_making_failed_when_it_was_done_is_its_maker_s(
    guest: FakeGuest, good: int, times: int
) -> None:
    restart = broken_off(guest, good, times=times, done=True)
    with refused("DEVICE_ERROR"):
        write(guest)
    restart()
    if good == 1:
        assert read(guest, "Mine") == b"value"
        with refused("SECURITY_VIOLATION"):
            write(guest, at=1, signer=LEAF)
    write(guest, value=b"again", at=2)
    assert read(guest, "Mine") == b"again"


@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_variable_that_was_being_deleted_is_there_or_anybody_s(guest: FakeGuest, good: int) -> None:
    write(guest)
    restart = broken_off(guest, good)
    with nullcontext() if good else refused("DEVICE_ERROR"):
        write(guest, value=b"", at=1)
    restart()
    if good == 0:
        with refused("SECURITY_VIOLATION"):
            write(guest, at=2, signer=LEAF)
        write(guest, at=2)
    else:
        write(guest, at=2, signer=LEAF)
    write(guest, "Other")
    assert len(read(guest, *CERTDB)) == 4 + 28 + 8 + 32 + 28 + 10 + 32


def test_a_store_without_timestamps_takes_no_authenticated_variables(guest: FakeGuest) -> None:
    FailingStore(guest.efi.surroundings.kept).keeps_timestamps = False
    for act in (lambda: write(guest), lambda: room(guest, LASTING)):
        with refused("UNSUPPORTED"):
            act()

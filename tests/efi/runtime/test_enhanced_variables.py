# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables with enhanced authenticated access, by time and by nonce, signed by `cryptography`."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvefi.efi.errors import EfiError
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import VariableAttribute
from tests.build.signed_update import PKCS7, Identity, certificate_of, identity, signature, time
from tests.efi.boot.guest import SCRATCH, FakeGuest
from tests.efi.runtime.test_authenticated_variables import GLOBAL, LEAF, STRANGER
from tests.efi.runtime.test_variables import APPEND, BS, NV, RT, VENDOR, names, put, read, refused

EA = VariableAttribute.ENHANCED_AUTHENTICATED_ACCESS
LASTING = NV | BS | RT | EA
HEIR = identity("Heir")
TIMED, NONCED = 1, 2


def new_certificate(heir: Identity, signer: Identity | None = None, **options: Any) -> bytes:
    """Return a NewCert: the heir's certificate, by which it signs itself."""
    by = Identity((signer or heir).key, heir.certificate)
    text = options.pop("text", heir.certificate.tbs_certificate_bytes)
    return certificate_of(signature(text, by, detached=False, **options))


def stamp_of(kind: int, stamp: bytes) -> bytes:
    return (struct.pack("<I", len(stamp)) if kind == NONCED else b"") + stamp


def payload(
    value: bytes,
    signer: Identity,
    stamp: bytes,
    *,
    kind: int = TIMED,
    current: bytes = b"",
    heir: bytes = b"",
    attributes: int = LASTING,
    version: int = 1,
    flags: int | None = None,
    size: int | None = None,
    cert_type: Guid = PKCS7,
) -> bytes:
    """Return what SetVariable() is given; `current` is the nonce that the variable has."""
    secondary = stamp_of(kind, stamp)
    text = "Mine".encode("utf-16-le") + VENDOR.wire + struct.pack("<I", attributes) + secondary + value
    certificate = certificate_of(signature(text + current + heir, signer), kind=cert_type)
    rest = secondary + heir + certificate
    size = 10 + len(rest) if size is None else size
    return struct.pack("<BBII", version, kind, size, bool(heir) if flags is None else flags) + rest + value


def write(guest: FakeGuest, *arguments: Any, attributes: int = LASTING, **options: Any) -> None:
    put(guest, "Mine", payload(*arguments, attributes=attributes, **options), attributes)


def held(kind: int, stamp: bytes, owner: Identity, value: bytes) -> bytes:
    """Return what GetVariable() has to give."""
    rest = stamp_of(kind, stamp) + struct.pack("<BI", 1, 32)
    rest += sha256(owner.certificate.tbs_certificate_bytes).digest()
    return struct.pack("<BBII", 1, kind, 10 + len(rest), 0) + rest + value


def test_by_time_a_variable_is_made_changed_lengthened_and_deleted(guest: FakeGuest) -> None:
    before = names(guest)
    write(guest, b"value", STRANGER, time(1))
    assert read(guest, "Mine") == held(TIMED, time(1), STRANGER, b"value")
    write(guest, b"other", STRANGER, time(2))
    write(guest, b" and more", STRANGER, time(3), attributes=LASTING | APPEND)
    assert read(guest, "Mine") == held(TIMED, time(3), STRANGER, b"other and more")
    write(guest, b"", STRANGER, time(4), attributes=LASTING | APPEND)
    assert read(guest, "Mine") == held(TIMED, time(4), STRANGER, b"other and more")
    guest.reset()
    for at in (0, 4):
        with refused("SECURITY_VIOLATION"):
            write(guest, b"replay", STRANGER, time(at))
    write(guest, b"", STRANGER, time(5))
    assert names(guest) == before
    with refused("NOT_FOUND"):
        write(guest, b"", STRANGER, time(6))


def test_by_nonce_each_write_is_over_the_nonce_before(guest: FakeGuest) -> None:
    write(guest, b"value", STRANGER, b"first", kind=NONCED)
    assert read(guest, "Mine") == held(NONCED, b"first", STRANGER, b"value")
    with refused("INVALID_PARAMETER"):
        write(guest, b"other", STRANGER, b"first", kind=NONCED, current=b"first")
    for current in (b"", b"second"):
        with refused("SECURITY_VIOLATION"):
            write(guest, b"other", STRANGER, b"second", kind=NONCED, current=current)
    write(guest, b"other", STRANGER, b"2nd", kind=NONCED, current=b"first")
    assert read(guest, "Mine") == held(NONCED, b"2nd", STRANGER, b"other")
    with refused("SECURITY_VIOLATION"):
        write(guest, b"", STRANGER, b"x", kind=NONCED, current=b"first")
    write(guest, b"", STRANGER, b"x", kind=NONCED, current=b"2nd")
    with refused("NOT_FOUND"):
        read(guest, "Mine")


@pytest.mark.parametrize("random", [b"\0\0", b"\xff\xff", b"ab"])
def test_a_nonce_of_zeroes_is_made_by_the_host_and_never_the_same(guest: FakeGuest, random: bytes) -> None:
    object.__setattr__(guest.surroundings, "random", lambda count: random[:count])
    current = b""
    for value in (b"one", b"two", b"three"):
        write(guest, value, STRANGER, b"\0\0", kind=NONCED, current=current)
        found = read(guest, "Mine")[14:16]
        assert found not in (current, b"\0\0")
        current = found
        assert read(guest, "Mine") == held(NONCED, current, STRANGER, value)


def test_nobody_but_the_authority_writes_it(guest: FakeGuest) -> None:
    write(guest, b"value", STRANGER, time())
    for signer in (LEAF, identity("Stranger", number=7)):
        for value in (b"other", b""):
            with refused("SECURITY_VIOLATION"):
                write(guest, value, signer, time(1))
    for data, attributes in ((b"", 0), (b"x", 0), (b"", LASTING)):
        with refused("SECURITY_VIOLATION"):
            put(guest, "Mine", data, attributes)
    with refused("INVALID_PARAMETER"):
        put(guest, "Mine", b"x", NV | BS | RT)
    assert read(guest, "Mine") == held(TIMED, time(), STRANGER, b"value")


def test_a_variable_is_handed_over_with_its_value_or_a_new_one(guest: FakeGuest) -> None:
    with refused("NOT_FOUND"):
        write(guest, b"", STRANGER, time(), heir=new_certificate(HEIR))
    write(guest, b"value", STRANGER, time(), heir=new_certificate(LEAF))
    assert read(guest, "Mine") == held(TIMED, time(), LEAF, b"value")
    with refused("SECURITY_VIOLATION"):
        write(guest, b"other", STRANGER, time(1))
    write(guest, b"", LEAF, time(1), heir=new_certificate(HEIR))
    assert read(guest, "Mine") == held(TIMED, time(1), HEIR, b"value")
    write(guest, b"other", HEIR, time(2), heir=new_certificate(STRANGER))
    assert read(guest, "Mine") == held(TIMED, time(2), STRANGER, b"other")


@pytest.mark.parametrize(
    "heir",
    [
        new_certificate(HEIR, STRANGER),
        new_certificate(HEIR, text=b"anything"),
        new_certificate(HEIR, text=STRANGER.certificate.tbs_certificate_bytes),
        certificate_of(signature(HEIR.certificate.tbs_certificate_bytes, HEIR)),
        certificate_of(b"\x30\0"),
    ],
    ids=["by another", "over anything", "of another", "without content", "none"],
)
def test_a_new_certificate_has_to_have_signed_itself(guest: FakeGuest, heir: bytes) -> None:
    with refused("SECURITY_VIOLATION"):
        write(guest, b"value", STRANGER, time(), heir=heir)


def test_a_signature_covers_the_new_certificate(guest: FakeGuest) -> None:
    write(guest, b"value", STRANGER, time())
    heir = new_certificate(HEIR)
    data = payload(b"other", STRANGER, time(1))
    size = struct.unpack_from("<I", data, 2)[0] + len(heir)
    forged = struct.pack("<BBII", 1, TIMED, size, 1) + data[10:26] + heir + data[26:]
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", forged, LASTING)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"version": 2}, "SECURITY_VIOLATION"),
        ({"kind": 3}, "SECURITY_VIOLATION"),
        ({"flags": 2}, "SECURITY_VIOLATION"),
        ({"flags": 1}, "SECURITY_VIOLATION"),
        ({"size": 0}, "SECURITY_VIOLATION"),
        ({"size": 1 << 31}, "SECURITY_VIOLATION"),
        ({"stamp": time(pad2=1)}, "SECURITY_VIOLATION"),
        ({"stamp": b"", "kind": NONCED}, "INVALID_PARAMETER"),
        ({"cert_type": VENDOR}, "INVALID_PARAMETER"),
        ({"heir": certificate_of(b"", kind=VENDOR)}, "INVALID_PARAMETER"),
    ],
)
def test_a_descriptor_that_is_not_in_its_form_is_refused(
    guest: FakeGuest, changes: dict[str, Any], status: str
) -> None:
    options = {"stamp": time(), **changes}
    with refused(status):
        write(guest, b"value", STRANGER, options.pop("stamp"), **options)


def test_the_type_stays(guest: FakeGuest) -> None:
    write(guest, b"value", STRANGER, time())
    with refused("SECURITY_VIOLATION"):
        write(guest, b"value", STRANGER, b"nonce", kind=NONCED)


def test_keys_are_never_of_this_kind(guest: FakeGuest) -> None:
    with refused("INVALID_PARAMETER"):
        put(guest, "PK", payload(b"value", STRANGER, time()), LASTING, GLOBAL)


TIMED_PAIR = (
    held(TIMED, time(), STRANGER, b"value"),
    payload(b"value", STRANGER, time(1), heir=new_certificate(HEIR)),
)
NONCED_PAIR = (
    held(NONCED, b"nonce", STRANGER, b"value"),
    payload(b"value", STRANGER, b"next", kind=NONCED, current=b"nonce"),
)


TIMED_AFTER = held(TIMED, time(1), HEIR, b"value")
NONCED_AFTER = held(NONCED, b"next", STRANGER, b"value")


def written(guest: FakeGuest, before: bytes, data: bytes) -> EfiStatus:
    """Return what a write answers to where the store has `before`."""
    kept = guest.surroundings.kept.variables
    kept.put(Variable("Mine", VENDOR, VariableAttribute(LASTING), before))
    try:
        put(guest, "Mine", data, LASTING)
    except EfiError as error:
        assert kept.get("Mine", VENDOR) == Variable("Mine", VENDOR, VariableAttribute(LASTING), before)
        return error.status
    return EfiStatus.SUCCESS


@pytest.mark.parametrize("pair", [TIMED_PAIR, NONCED_PAIR], ids=["time", "nonce"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_write_or_in_the_store_gets_a_status(
    guest: FakeGuest, pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    made = []
    for whole in pair:
        bytes_ = bytearray(whole)
        for _ in range(data.draw(st.integers(0, 2))):
            bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(bytes_))) if data.draw(st.booleans()) else len(bytes_)
        made.append(bytes(bytes_[:cut]))
    guest._next = SCRATCH
    answer = written(guest, *made)
    if answer is EfiStatus.SUCCESS:  # what no signature covers may be another, and makes no difference
        assert read(guest, "Mine") == (TIMED_AFTER if pair is TIMED_PAIR else NONCED_AFTER)
    else:
        assert answer in (EfiStatus.SECURITY_VIOLATION, EfiStatus.INVALID_PARAMETER)
        assert tuple(made) != pair

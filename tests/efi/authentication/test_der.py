# SPDX-License-Identifier: GPL-2.0-or-later
"""DER or not: what asn1crypto may see of what a guest gives."""

from __future__ import annotations

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from pvefi.efi.authentication.der import DerError, check_der
from tests.build.signed_update import identity, signature

SOUND = signature(b"text", identity("Signer"))


def test_signatures_and_certificates_are_der() -> None:
    check_der(SOUND)
    check_der(identity("Signer").der)
    check_der(b"\x05\0")
    check_der(b"\x30\0")


@given(
    st.recursive(
        st.integers().map(core.Integer) | st.binary(max_size=300).map(core.OctetString),
        lambda inner: st.lists(inner, max_size=4).map(
            lambda values: core.Any(core.SequenceOf([core.Any(one) for one in values], spec=core.Any))
        ),
    )
)
def test_whatever_is_encoded_as_der_is_taken(value: core.Asn1Value) -> None:
    check_der(value.dump())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x01",
        b"\x05\0\0",
        b"\x05\0\x05\0",
        b"\x30\x80\0\0",
        b"\x30\x03\x30\x80\0",
        b"\x04\x81\x01\0",
        b"\x04\x82\0\x80" + bytes(128),
        b"\x04\x81\x80" + bytes(127),
        b"\x04\x84\x7f\xff\xff\xff",
        b"\x30\x02\x04\x01\0",
        b"\x1f\x81\0\0",
        b"\x06\x41" + bytes(65),
        b"\x30\x80" * 100,
        SOUND[:-1],
        SOUND + b"\0",
    ],
)
def test_what_is_no_der_is_refused(data: bytes) -> None:
    with pytest.raises(DerError):
        check_der(data)


def test_too_much_of_it_is_refused() -> None:
    nested = b""
    for _ in range(40):
        nested = b"\x30" + (bytes([len(nested)]) if len(nested) < 128 else b"") + nested
    flat = b"\x05\0" * 30_000
    for data in (nested, b"\x30\x82" + len(flat).to_bytes(2, "big") + flat):
        with pytest.raises(DerError):
            check_der(data)


@given(st.binary(max_size=64))
def test_no_bytes_do_any_harm(data: bytes) -> None:
    try:
        check_der(data)
    except DerError:
        return
    assert data

# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures apart from variables: odd certificates, and when the libraries for all this are loaded."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import UTC, datetime
from itertools import permutations

import pytest
from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from pvefi.efi.authentication import certificates
from pvefi.efi.authentication.certificates import chains_to, load_certificate, rsa_key
from pvefi.efi.authentication.signed_data import read_signed_data
from pvefi.efi.errors import EfiError
from tests.build.signed_update import identity, key, signature

SIGNER = identity("Signer")
SOUND = signature(b"text", SIGNER)


def changed(**fields: object) -> bytes:
    """Return the SignedData with some of its fields replaced."""
    outer = cms.ContentInfo.load(SOUND)
    for name, value in fields.items():
        outer["content"][name] = value
    made: bytes = outer.dump(force=True)
    return made


def test_a_signature_is_of_its_text_and_by_its_signer() -> None:
    signed = read_signed_data(SOUND)
    signed.check(b"text")
    assert signed.is_by([b"", SIGNER.der])
    assert not signed.is_by([SIGNER.der[:-1]])
    with pytest.raises(EfiError, match="EFI_SECURITY_VIOLATION"):
        signed.check(b"test")


@pytest.mark.parametrize(
    "data",
    [
        changed(version="v3"),
        changed(signer_infos=cms.SignerInfos([])),
        changed(certificates=cms.CertificateSet([])),
        changed(digest_algorithms=cms.DigestAlgorithms([{"algorithm": "sha1"}])),
        changed(encap_content_info={"content_type": "1.2.3.4"}),
        cms.ContentInfo({"content_type": "data", "content": b"x"}).dump(),
    ],
    ids=["version", "no signer", "no certificate", "digest", "content type", "no SignedData"],
)
def test_another_signed_data_is_refused(data: bytes) -> None:
    with pytest.raises(EfiError, match="EFI_SECURITY_VIOLATION"):
        read_signed_data(data)


def test_certificates_that_lead_nowhere_do_not_matter() -> None:
    one = asn1_x509.Certificate.load(SIGNER.der)
    other = asn1_x509.Certificate.load(identity("Other").der)
    signed = read_signed_data(changed(certificates=cms.CertificateSet([one] + [other] * 20)))
    signed.check(b"text")
    assert not signed.chains_to([identity("Another").der, b"no certificate"])
    assert signed.chains_to([b"no certificate", SIGNER.der])


def test_an_odd_certificate_is_read_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    odd = asn1_x509.Certificate.load(SIGNER.der)
    odd["tbs_certificate"]["serial_number"] = -5
    load_certificate(odd.dump(force=True))
    assert not recwarn.list


def test_what_is_no_certificate_is_a_value_error() -> None:
    for data in (b"", b"\x30\0", SIGNER.der[:-1], SIGNER.der + b"\0"):
        with pytest.raises(ValueError, match=r"pars|DER|data|ASN"):
            load_certificate(data)


def test_a_boot_that_verifies_nothing_does_not_load_the_libraries() -> None:
    code = (
        "import sys, pvefi.boot, pvefi.prepare, pvefi.cli.vars\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'cryptography', 'asn1crypto'})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def chain_certificate(
    subject: str, number: int, issuer: str, by: int, *, path_length: int | None = None, serial: int = 1
) -> x509.Certificate:
    """Return an authority's certificate, for the key of one number by that of another."""
    named = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(named[0])
        .issuer_name(named[1])
        .public_key(key(number).public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2002, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    )
    return builder.sign(key(by), hashes.SHA256())


def test_a_short_way_is_found_in_whatever_order_the_certificates_came() -> None:
    root = chain_certificate("Root", 11, "Root", 11, path_length=2)
    others = [
        chain_certificate("C", 12, "Root", 11),
        chain_certificate("B", 13, "C", 12),
        chain_certificate("A", 14, "C", 12),
        chain_certificate("A", 14, "B", 13, serial=2),
    ]
    signer = chain_certificate("Signer", 15, "A", 14)
    for order in permutations(others):
        assert chains_to(signer, order, [root])
    assert not chains_to(signer, others[:2] + others[3:], [root]), "the long way alone is too long"


def test_a_way_has_an_end_and_so_have_the_verifications(monkeypatch: pytest.MonkeyPatch) -> None:
    line = [chain_certificate("L0", 11, "L0", 11)]
    for number in range(1, 12):
        line.append(chain_certificate(f"L{number}", 11, f"L{number - 1}", 11))
    for length in range(1, 12):
        assert chains_to(line[length], line[1:length], line[:1]) is (length <= 8)
    calls = 0

    def issued(*_: object) -> bool:
        nonlocal calls
        calls += 1
        return False

    monkeypatch.setattr(certificates, "_issued", issued)
    alike = [chain_certificate("Same", 11, "Same", 11, serial=1 + number) for number in range(100)]
    assert not chains_to(alike[0], alike[1:], line[:1])
    assert calls == 64


@pytest.mark.parametrize(("exponent", "taken"), [(3, True), (65537, True), ((1 << 64) + 1, False)])
def test_a_key_of_an_exponent_that_takes_long_does_not_count(exponent: int, taken: bool) -> None:
    number = rsa.RSAPublicNumbers(exponent, key(11).public_key().public_numbers().n)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(SIGNER.certificate.subject)
        .issuer_name(SIGNER.certificate.subject)
        .public_key(number.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2002, 1, 1, tzinfo=UTC))
        .sign(SIGNER.key, hashes.SHA256())
    )
    assert (rsa_key(certificate) is not None) is taken

# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures apart from variables: odd certificates, and when the libraries for all this are loaded."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
from asn1crypto import cms
from asn1crypto import x509 as asn1_x509

from pvefi.efi.authentication.certificates import load_certificate
from pvefi.efi.authentication.signed_data import read_signed_data
from pvefi.efi.errors import EfiError
from tests.build.signed_update import identity, signature

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

# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import ImageError
from pvefi.image import Image, inspect
from pvefi.spec.authenticode import CertificateType
from tests.build.pe import PeSection, build_pe
from tests.build.signature import CA, SIGNER, certificate, sign, signature, table_entry, with_table


def inspected(tmp_path: Path, data: bytes) -> Image:
    path = tmp_path / "file.efi"
    path.write_bytes(data)
    return inspect(path)


def test_an_image_that_is_not_signed_has_no_signatures(tmp_path: Path) -> None:
    assert inspected(tmp_path, build_pe()).signatures == ()


def test_a_signature_names_who_made_it(tmp_path: Path) -> None:
    (found,) = inspected(tmp_path, sign(build_pe())).signatures
    assert found.type is CertificateType.PKCS_SIGNED_DATA
    (signer,) = found.signers
    assert (signer.subject, signer.issuer) == (f"O=Tests, CN={SIGNER}", f"O=Tests, CN={CA}")
    (one,) = found.certificates
    assert (one.serial_number, one.not_after.year) == (0x1234, 2032)


def test_a_signer_whose_certificate_is_elsewhere_is_told_by_its_issuer(tmp_path: Path) -> None:
    (found,) = inspected(tmp_path, sign(build_pe(), serial=99)).signatures
    assert [(s.subject, s.serial_number) for s in found.signers] == [("", 99)]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_the_signed_hash_is_compared_with_the_file_s(tmp_path: Path, algorithm: str) -> None:
    data = sign(build_pe() + b"tail!", algorithm=algorithm)  # padded to a multiple of 8
    (found,) = inspected(tmp_path, data).signatures
    assert (found.digest_algorithm, found.digest_matches) == (algorithm, True)


@pytest.mark.parametrize(
    ("offset", "matches"),
    [(0x410, False), (0x41, True), (0x98, True), (0x38, False), (0x3F0, False)],
    ids=["code", "nothing", "checksum", "DOS header", "padding of the headers"],
)
def test_every_byte_counts_but_the_checksum(tmp_path: Path, offset: int, matches: bool) -> None:
    data = bytearray(sign(build_pe()))
    data[offset] ^= offset != 0x41
    (found,) = inspected(tmp_path, bytes(data)).signatures
    assert found.digest_matches is matches


def test_sections_are_hashed_in_the_file_s_order(tmp_path: Path) -> None:
    first, second = PeSection(raw_offset=0x600), PeSection(b".data", b"data", raw_offset=0x400)
    (found,) = inspected(tmp_path, sign(build_pe([first, second]))).signatures
    assert found.digest_matches


def test_a_hash_of_an_unknown_kind_is_not_judged(tmp_path: Path) -> None:
    data = with_table(build_pe(), table_entry(signature(bytes(16), algorithm="md2")))
    (found,) = inspected(tmp_path, data).signatures
    assert found.digest_matches is None


def test_a_file_may_have_several_signatures(tmp_path: Path) -> None:
    chain = [certificate(), certificate(CA, "Root", 1)]
    entries = table_entry(signature(bytes(32))) + table_entry(signature(bytes(32), certificates=chain))
    found = inspected(tmp_path, with_table(build_pe(), entries)).signatures
    assert [len(one.certificates) for one in found] == [1, 2]
    assert [one.digest_matches for one in found] == [False, False]


def test_an_entry_of_another_type_is_told_by_its_type(tmp_path: Path) -> None:
    (found,) = inspected(tmp_path, with_table(build_pe(), table_entry(bytes(24), kind=0xEF1))).signatures
    assert found.type is CertificateType.EFI_GUID
    assert (found.signers, found.digest_matches) == ((), None)


LIES = [
    ({"address": 0x7FFFFFF0}, "a certificate table between the headers and the end"),
    ({"size": 0x7FFFFFF0}, "a certificate table between"),
    ({"address": 0x10}, "a certificate table between the headers and the end"),
]


@pytest.mark.parametrize(("where", "message"), LIES)
def test_a_table_outside_of_the_file_is_refused(tmp_path: Path, where: dict[str, int], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        inspected(tmp_path, with_table(build_pe(), table_entry(bytes(8)), **where))


ABSURD = [
    (table_entry(bytes(8), length=0), "a certificate of 8 to 0x10 bytes, found one that says 0x0"),
    (table_entry(bytes(8), length=7), "found one that says 0x7"),
    (table_entry(bytes(8), length=0xFFFFFFFF), "found one that says 0xffffffff"),
    (table_entry(bytes(2 << 20)), "a certificate of at most 0x20000 bytes"),
    (table_entry(b"", kind=1) * 1000, "at most 16 certificates"),
    (table_entry(b"no ASN.1 at all"), "an Authenticode signature"),
    (table_entry(b"\x30\x84\xff\xff\xff\xff" + bytes(40)), "an Authenticode signature"),
    (table_entry(b"\x30\x80" * 2000), "an Authenticode signature"),
    (table_entry(signature(bytes(32))[:200]), "an Authenticode signature"),
    (table_entry(signature(bytes(32), content_type="1.2.3.4")), "signed content of type"),
]


@pytest.mark.parametrize(("table", "message"), ABSURD, ids=range(len(ABSURD)))
def test_an_absurd_table_is_refused_in_one_line(tmp_path: Path, table: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        inspected(tmp_path, with_table(build_pe(), table))
    assert "\n" not in str(caught.value)

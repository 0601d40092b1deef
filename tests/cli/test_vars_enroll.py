# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi vars enroll`, judged by virt-firmware, and by the store that Debian's OVMF comes with."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from pvefi.cli import main
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.store import Variable
from pvefi.image.pe import parse_pe
from pvefi.image.signatures import read_signatures
from pvefi.layout import Guid
from pvefi.spec.authenticode import CertificateType, WinCertificate
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.guids import (
    GLOBAL_VARIABLE,
    IMAGE_SECURITY_DATABASE,
    MICROSOFT_OWNER,
    OVMF_ENROLL_DEFAULT_KEYS,
)
from pvefi.spec.uefi.signature_list import CERT_SHA256, CERT_X509, SignatureList, packed, signature_lists
from pvefi.spec.uefi.time import Time
from pvefi.spec.uefi.variables import VariableAttribute
from tests.build.signed_update import identity
from tests.cli.test_vars import virt_fw_vars
from tests.conftest import RealFiles

VENDORS = {
    "PK": GLOBAL_VARIABLE,
    "KEK": GLOBAL_VARIABLE,
    "db": IMAGE_SECURITY_DATABASE,
    "dbx": IMAGE_SECURITY_DATABASE,
}
OWNER = "11111111-2222-3333-4444-555555555555"
HASH = sha256(b"no image").hexdigest()

Signature = tuple[Guid, Guid, bytes]
"""Type, owner and data."""


def certificate(name: str) -> x509.Certificate:
    return identity(name).certificate


def der(one: x509.Certificate) -> bytes:
    return one.public_bytes(Encoding.DER)


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "vars.fd"
    path.write_bytes(empty_store(OVMF_4M))
    return str(path)


def enroll(store: str, *words: str | Path) -> None:
    assert main(["vars", "enroll", store, *map(str, words)]) == 0


def read(store: str | Path) -> dict[str, Variable]:
    with Edk2Store.open(Path(store), writable=False) as opened:
        return {one.name: one for one in opened if VENDORS.get(one.name) == one.vendor}


def signatures(data: bytes) -> list[Signature]:
    return [(one.type, owner, data) for one in signature_lists(data) for owner, data in one.signatures]


def enrolled(store: str | Path) -> dict[str, list[Signature]]:
    return {name: signatures(one.data) for name, one in read(store).items()}


def by_virt_firmware(folder: Path, *words: str) -> dict[str, set[Signature]]:
    """Return what virt-firmware enrols, read from its document."""
    empty, full, document = folder / "empty.fd", folder / "theirs.fd", folder / "theirs.json"
    empty.write_bytes(empty_store(OVMF_4M))
    virt_fw_vars("-i", str(empty), *words, "-o", str(full), "--output-json", str(document))
    variables = json.loads(document.read_text())["variables"]
    found = {one["name"]: set(signatures(bytes.fromhex(one["data"]))) for one in variables}
    found.pop("dbx", None)  # an entry for nothing, so that there is a dbx
    return found


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["--microsoft"], ["--enroll-microsoft"]),
        (["--microsoft", "--debian"], ["--enroll-microsoft", "--distro-keys", "debian"]),
        (["--debian"], ["--distro-keys", "debian"]),
    ],
)
def test_the_sets_are_those_that_virt_firmware_enrols(
    store: str, tmp_path: Path, ours: list[str], theirs: list[str]
) -> None:
    enroll(store, *ours)
    found = {name: set(all_of) for name, all_of in enrolled(store).items()}
    assert found == by_virt_firmware(tmp_path, *theirs)


def test_own_certificates_are_those_that_virt_firmware_enrols(store: str, tmp_path: Path) -> None:
    paths = {}
    for name, encoding in (("pk", Encoding.PEM), ("kek", Encoding.DER), ("db", Encoding.PEM)):
        paths[name] = tmp_path / name
        paths[name].write_bytes(certificate(name).public_bytes(encoding))
    enroll(store, "--owner", OWNER, *(f"--{name}={path}" for name, path in paths.items()), "--dbx", HASH)
    theirs = by_virt_firmware(
        tmp_path,
        *("--set-pk", OWNER, str(paths["pk"]), "--add-kek", OWNER, str(paths["kek"])),
        *("--add-db", OWNER, str(paths["db"])),
    )
    found = enrolled(store)
    assert found.pop("dbx") == [(CERT_SHA256, Guid.parse(OWNER), bytes.fromhex(HASH))]
    assert {name: set(all_of) for name, all_of in found.items()} == theirs
    assert virt_fw_vars("-i", store, "--print", "--verbose").count("CN=") >= 3


def test_what_is_enrolled_has_the_form_that_edk2_gives_it(store: str, corpus: RealFiles) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    enroll(store, "--microsoft-2011", "--dbx", HASH)
    found = read(store)
    theirs = read(corpus.file("ovmf", "usr/share/OVMF/OVMF_VARS_4M.ms.fd"))
    for name, one in found.items():
        assert one.attributes == theirs[name].attributes == 0x27
        time = Time.unpack(one.timestamp)
        shown = datetime(time.year, time.month, time.day, time.hour, time.minute, time.second, tzinfo=UTC)
        assert before <= shown <= datetime.now(UTC)
        assert time.nanosecond == time.time_zone == time.daylight == 0
    microsoft = [one for one in signatures(theirs["KEK"].data) if one[1] == MICROSOFT_OWNER]
    assert signatures(found["KEK"].data) == microsoft
    assert found["db"].data == theirs["db"].data


def test_years_are_told_apart(store: str) -> None:
    enroll(store, "--microsoft-2023")
    first = enrolled(store)
    assert [len(first[name]) for name in ("PK", "KEK", "db")] == [1, 1, 3]
    enroll(store, "--microsoft-2011")
    both = enrolled(store)
    assert [len(both[name]) for name in ("PK", "KEK", "db")] == [1, 2, 5]
    assert both["db"][:3] == first["db"]


def test_enrolling_twice_changes_nothing(store: str) -> None:
    words = ("--microsoft", "--debian", "--dbx", HASH, "--db", HASH)
    enroll(store, *words)
    before = Path(store).read_bytes()
    enroll(store, *words)
    enroll(store, "--db", HASH.upper(), "--owner", OWNER)
    assert Path(store).read_bytes() == before


def test_a_platform_key_takes_the_place_of_another_and_the_sets_leave_it(store: str, tmp_path: Path) -> None:
    for number in range(2):
        one = certificate(f"PK {number}")
        path = tmp_path / "pk.der"
        path.write_bytes(der(one))
        enroll(store, "--pk", path)
        assert enrolled(store)["PK"] == [(CERT_X509, OVMF_ENROLL_DEFAULT_KEYS, der(one))]
    enroll(store, "--microsoft")
    assert enrolled(store)["PK"] == [(CERT_X509, OVMF_ENROLL_DEFAULT_KEYS, der(one))]


def test_what_ovmf_is_shipped_with_stays(corpus: RealFiles, tmp_path: Path) -> None:
    path = tmp_path / "ovmf.fd"
    shutil.copy(corpus.file("ovmf", "usr/share/OVMF/OVMF_VARS_4M.ms.fd"), path)
    before = enrolled(path)
    enroll(str(path), "--microsoft")
    after = enrolled(path)
    assert after["PK"] == before["PK"]
    for name in ("KEK", "db", "dbx"):
        assert after[name][: len(before[name])] == before[name]
    assert (len(after["KEK"]), len(after["db"])) == (3, 5)


def test_an_image_is_known_by_the_hash_that_its_signers_signed(store: str, corpus: RealFiles) -> None:
    image = corpus.file("cloud", "boot/vmlinuz-*")
    enroll(store, "--db", HASH, "--db", image)
    (hashes_of,) = signature_lists(read(store)["db"].data)
    data = image.read_bytes()
    (signed,) = read_signatures(parse_pe(image, data), data)
    assert hashes_of == SignatureList(
        CERT_SHA256,
        ((OVMF_ENROLL_DEFAULT_KEYS, bytes.fromhex(HASH)), (OVMF_ENROLL_DEFAULT_KEYS, signed.digest)),
    )


def test_several_certificates_in_one_file_are_all_enrolled_but_as_platform_key(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.pem"
    path.write_bytes(b"".join(certificate(name).public_bytes(Encoding.PEM) for name in "ab"))
    enroll(store, "--kek", path)
    assert len(enrolled(store)["KEK"]) == 2
    assert main(["vars", "enroll", store, "--pk", str(path)]) == 2
    assert "expected one certificate for PK, found 2" in capsys.readouterr().err


@pytest.mark.parametrize("signed", [False, True], ids=["list", "update"])
def test_lists_of_signatures_are_taken_from_files_signed_or_not(
    store: str, tmp_path: Path, signed: bool
) -> None:
    owner = Guid.parse(OWNER)
    lists = [
        SignatureList(CERT_SHA256, tuple((owner, sha256(bytes([n])).digest()) for n in range(3))),
        SignatureList(CERT_X509, ((owner, der(certificate("revoked"))),)),
    ]
    data = b"".join(map(packed, lists))
    if signed:
        header = WinCertificate(24 + 100, 0x200, CertificateType.EFI_GUID)
        data = bytes(Time.SIZE) + header.pack() + bytes(16 + 100) + data
    path = tmp_path / "dbxupdate"
    path.write_bytes(data)
    enroll(store, "--dbx", path)
    assert read(store)["dbx"].data == b"".join(map(packed, lists))


def test_virt_firmware_s_updates_are_taken(store: str, tmp_path: Path) -> None:
    enroll(store, "--microsoft")
    folder = tmp_path / "auth"
    folder.mkdir()
    virt_fw_vars("-i", store, "--output-auth", str(folder))
    other = tmp_path / "other.fd"
    other.write_bytes(empty_store(OVMF_4M))
    enroll(str(other), "--db", folder / "db.auth")
    assert enrolled(other)["db"] == enrolled(store)["db"]


def bad_files(folder: Path) -> dict[str, Path]:
    """Return files that hold nothing to enrol."""
    one = certificate("one")
    key = ec.generate_private_key(ec.SECP256R1())
    contents = {
        "text": b"a certificate\n",
        "empty": b"",
        "zeros": bytes(1000),
        "cut": der(one)[:-1],
        "trailing": der(one) + b"\0",
        "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "broken pem": one.public_bytes(Encoding.PEM).replace(b"M", b"!"),
        "list of no certificates": packed(
            SignatureList(CERT_X509, ((OVMF_ENROLL_DEFAULT_KEYS, b"no certificate"),))
        ),
        "cut list": packed(SignatureList(CERT_SHA256, ((OVMF_ENROLL_DEFAULT_KEYS, bytes(32)),)))[:-1],
        "header only": bytes(Time.SIZE)
        + WinCertificate(24, 0x200, CertificateType.EFI_GUID).pack()
        + bytes(16),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


@pytest.mark.parametrize("option", ["--pk", "--kek", "--db", "--dbx"])
def test_what_is_no_certificate_is_refused_with_a_line_and_nothing_is_changed(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for what in (*bad_files(folder).values(), folder / "none", folder, "0123"):
        assert main(["vars", "enroll", store, option, str(what)]) == 2, what
        error = capsys.readouterr().err
        assert error.startswith("pvefi: "), what
        assert "expected" in error
        assert error.count("\n") == 1
    assert Path(store).read_bytes() == empty_store(OVMF_4M)


def test_nothing_to_enrol_and_bad_owners_are_refused(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, line in (
        ((), "expected something to enroll, found nothing"),
        (("--debian", "--owner", "x"), "--owner: expected a GUID, found 'x'"),
    ):
        assert main(["vars", "enroll", store, *words]) == 2
        assert line in capsys.readouterr().err


def test_a_variable_that_holds_no_lists_is_told_rather_than_lost(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Edk2Store.open(Path(store)) as opened:
        opened.put(Variable("db", IMAGE_SECURITY_DATABASE, VariableAttribute(0x27), b"no lists"))
    before = Path(store).read_bytes()
    assert main(["vars", "enroll", store, "--debian"]) == 2
    assert "db: expected lists of signatures" in capsys.readouterr().err
    assert Path(store).read_bytes() == before


@pytest.mark.parametrize("option", ["--pk", "--kek", "--db", "--dbx"])
@pytest.mark.parametrize("kind", ["of another kind", "too small"])
def test_a_key_that_no_service_would_take_is_refused(
    tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str], kind: str, option: str
) -> None:
    if kind == "too small":
        one = identity("small", key_size=1024).certificate
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elliptic")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        one = builder.sign(key, hashes.SHA256())
    path = tmp_path / "certificate"
    path.write_bytes(der(one))
    before = Path(store).read_bytes()
    assert main(["vars", "enroll", store, option, str(path)]) == 2
    assert "expected a certificate with an RSA key of 2048 to 8192 bits" in capsys.readouterr().err
    assert Path(store).read_bytes() == before


def test_a_store_without_a_platform_key_is_said_to_have_none(
    tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    enroll(store, "--db", HASH)
    assert "there is no PK" in capsys.readouterr().err
    path = tmp_path / "certificate"
    path.write_bytes(der(certificate("PK")))
    enroll(store, "--pk", path)
    assert capsys.readouterr().err == ""

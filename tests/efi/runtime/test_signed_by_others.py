# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures by programs that firmware has to take, stores by OVMF, and what others read out of ours."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from virt.firmware.varstore.edk2 import Edk2VarStore

from pvefi.efi.authentication.creators import read_creators
from pvefi.efi.errors import EfiError
from pvefi.efi.kept import Kept
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.store import VariableStore
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from tests.build.signed_update import (
    OWNER,
    Identity,
    certificate_of,
    identity,
    signature_list,
    signed_text,
    time,
    update,
)
from tests.conftest import RealFiles, Tool
from tests.efi.boot.guest import SCRATCH, FakeGuest
from tests.efi.runtime.test_authenticated_variables import (
    GLOBAL,
    LASTING,
    LEAF,
    ROOT,
    SECURITY,
    enrol,
    mode,
    write,
)
from tests.efi.runtime.test_variables import APPEND, VENDOR, names, put, read, refused

ATTRIBUTES = "NON_VOLATILE,BOOTSERVICE_ACCESS,RUNTIME_ACCESS,TIME_BASED_AUTHENTICATED_WRITE_ACCESS"
SIGNER = identity("Signer by program")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the files of two identities, one that Root made by way of Middle."""
    for name, one in (("own", SIGNER), ("leaf", LEAF)):
        (tmp_path / f"{name}.key").write_bytes(one.key_pem)
        (tmp_path / f"{name}.pem").write_bytes(one.pem)
    chain = b"".join(one.public_bytes(Encoding.PEM) for one in LEAF.chain)
    (tmp_path / "chain.pem").write_bytes(chain)
    return tmp_path


def run(folder: Path, program: str | Path, *words: str) -> None:
    done = subprocess.run(
        [program, *words], cwd=folder, capture_output=True, check=False, env={**os.environ, "TZ": "UTC"}
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()


OPENSSL = {
    "smime": ("smime", "-sign", "-binary", "-noattr"),
    "smime-attributes": ("smime", "-sign", "-binary"),
    "cms": ("cms", "-sign", "-binary", "-noattr"),
    "cms-sha512": ("cms", "-sign", "-binary", "-noattr", "-md", "sha512"),
}


def by_openssl(folder: Path, tool: Tool, text: bytes, *words: str, who: str = "own") -> bytes:
    (folder / "text").write_bytes(text)
    files = ("-signer", f"{who}.pem", "-inkey", f"{who}.key", "-in", "text", "-out", "signature")
    run(folder, tool("openssl"), *words, *files, "-outform", "DER")
    return (folder / "signature").read_bytes()


@pytest.mark.parametrize("how", OPENSSL)
def test_what_openssl_signs_is_taken(guest: FakeGuest, folder: Path, tool: Tool, how: str) -> None:
    for second, value in enumerate((b"value", b"other", b"")):
        text = signed_text("Mine", VENDOR, LASTING, time(second), value)
        der = by_openssl(folder, tool, text, *OPENSSL[how], "-md", "sha256" if "512" not in how else "sha512")
        for data in (value + b"!", value):
            whole = time(second) + certificate_of(der) + data
            if data != value:
                with refused("SECURITY_VIOLATION"):
                    put(guest, "Mine", whole, LASTING)
            else:
                put(guest, "Mine", whole, LASTING)
    with refused("NOT_FOUND"):
        read(guest, "Mine")


@pytest.mark.parametrize(
    "words",
    [
        ("-md", "sha1"),
        ("-md", "sha224"),
        ("-nocerts",),
    ],
)
def test_what_openssl_signs_otherwise_is_refused(
    guest: FakeGuest, folder: Path, tool: Tool, words: tuple[str, ...]
) -> None:
    text = signed_text("Mine", VENDOR, LASTING, time(), b"value")
    der = by_openssl(folder, tool, text, *OPENSSL["cms"], *words)
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", time() + certificate_of(der) + b"value", LASTING)


def test_a_chain_by_openssl_leads_to_an_exchange_key(guest: FakeGuest, folder: Path, tool: Tool) -> None:
    enrol(guest)
    value = signature_list(SIGNER.der)
    text = signed_text("db", SECURITY, LASTING, time(), value)
    for words, taken in (((), False), (("-certfile", "chain.pem"), True)):
        der = by_openssl(folder, tool, text, *OPENSSL["cms"], "-md", "sha256", *words, who="leaf")
        if taken:
            put(guest, "db", time() + certificate_of(der) + value, LASTING, SECURITY)
        else:
            with refused("SECURITY_VIOLATION"):
                put(guest, "db", time() + certificate_of(der) + value, LASTING, SECURITY)
    assert read(guest, "db", SECURITY) == value


def test_what_sbvarsign_signs_is_taken(guest: FakeGuest, folder: Path, tool: Tool) -> None:
    (folder / "value").write_bytes(b"value")
    files = ("--key", "own.key", "--cert", "own.pem", "--output", "signed")
    run(folder, tool("sbvarsign"), *files, "--attrs", ATTRIBUTES, "--guid", str(VENDOR), "Mine", "value")
    signed = (folder / "signed").read_bytes()
    put(guest, "Mine", signed, LASTING)
    assert read(guest, "Mine") == b"value"
    with refused("SECURITY_VIOLATION"):
        put(guest, "Mine", signed, LASTING)


class Efitools:
    """Debian's efitools, run on the host from the corpus."""

    def __init__(self, corpus: RealFiles, folder: Path) -> None:
        self._folder = folder
        for name in ("cert-to-efi-sig-list", "sign-efi-sig-list"):
            program = shutil.copy(corpus.file("efitools-programs", f"usr/bin/{name}"), folder)
            Path(program).chmod(0o755)

    def signatures(self, certificate: str) -> bytes:
        run(
            self._folder,
            self._folder / "cert-to-efi-sig-list",
            "-g",
            str(OWNER),
            certificate,
            "signatures.esl",
        )
        return (self._folder / "signatures.esl").read_bytes()

    def signed(self, name: str, value: bytes, who: str, when: str, *words: str) -> bytes:
        (self._folder / "value").write_bytes(value)
        keys = ("-k", f"{who}.key", "-c", f"{who}.pem", "-t", when)
        run(self._folder, self._folder / "sign-efi-sig-list", *words, *keys, name, "value", "signed")
        return (self._folder / "signed").read_bytes()


def test_efitools_take_a_guest_from_setup_mode_to_user_mode_and_back(
    guest: FakeGuest, folder: Path, corpus: RealFiles
) -> None:
    efitools = Efitools(corpus, folder)
    own, leaf = efitools.signatures("own.pem"), efitools.signatures("leaf.pem")
    assert own == signature_list(SIGNER.der)

    def put_signed(name: str, vendor: Guid, *arguments: Any, append: bool = False) -> None:
        signed = efitools.signed(name, *arguments, *(("-a",) if append else ()))
        put(guest, name, signed, LASTING | (APPEND if append else 0), vendor)

    put_signed("PK", GLOBAL, own, "own", "2020-01-01 00:00:00")
    assert mode(guest) == (0, 0, 0)
    with refused("SECURITY_VIOLATION"):
        put_signed("KEK", GLOBAL, leaf, "leaf", "2020-01-01 00:00:00")
    put_signed("KEK", GLOBAL, leaf, "own", "2020-01-01 00:00:00")
    put_signed("db", SECURITY, own, "leaf", "2020-01-01 00:00:00")
    for taken in (True, False):
        put_signed("db", SECURITY, own + leaf, "leaf", "2019-01-01 00:00:00", append=True)
        assert read(guest, "db", SECURITY) == own + leaf, taken
    with refused("SECURITY_VIOLATION"):
        put_signed("db", SECURITY, own, "leaf", "2019-01-01 00:00:00")
    put_signed("PK", GLOBAL, b"", "own", "2020-01-01 00:00:01")
    assert mode(guest) == (1, 0, 0)


# ---------------------------------------------------------------- stores by and for others


@pytest.fixture
def on_file(tmp_path: Path) -> Iterator[Callable[[Path | None], tuple[FakeGuest, Path]]]:
    """Give a function that makes a guest on a copy of a store, and where the copy is."""
    opened: list[Edk2Store] = []

    def make(source: Path | None) -> tuple[FakeGuest, Path]:
        path = tmp_path / "vars.fd"
        if source is None:
            path.write_bytes(empty_store(OVMF_4M))
        else:
            shutil.copyfile(source, path)
        guest = FakeGuest()
        opened.append(Edk2Store.open(path))
        store: VariableStore = opened[0]
        object.__setattr__(guest.surroundings, "kept", Kept(store))
        guest.reset()
        return guest, path

    yield make
    for store in opened:
        store.close()


def snakeoil(corpus: RealFiles) -> Identity:
    """Return the identity whose certificate is PK, KEK and db of OVMF_VARS_4M.snakeoil.fd."""
    key = load_pem_private_key(
        corpus.file("ovmf-snakeoil", "usr/share/ovmf/*.key").read_bytes(), password=b"snakeoil"
    )
    pem = corpus.file("ovmf-snakeoil", "usr/share/ovmf/*.pem").read_bytes()
    return Identity(key, x509.load_pem_x509_certificate(pem))  # type: ignore[arg-type]  # an RSA key


def test_the_key_of_a_store_by_ovmf_decides_who_writes_it(
    corpus: RealFiles, on_file: Callable[[Path], tuple[FakeGuest, Path]]
) -> None:
    guest, path = on_file(corpus.file("ovmf", "usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"))
    owner = snakeoil(corpus)
    assert mode(guest) == (0, 0, 0)
    before = read(guest, "db", SECURITY)
    with refused("SECURITY_VIOLATION"):
        write(guest, "db", before, SIGNER, vendor=SECURITY)
    more = signature_list(SIGNER.der)
    write(guest, "db", more, owner, vendor=SECURITY, attributes=LASTING | APPEND)
    write(guest, "KEK", signature_list(ROOT.der), owner, vendor=GLOBAL)
    write(guest, "dbx", signature_list(SIGNER.der), LEAF, vendor=SECURITY)
    write(guest, "Private", b"one's own", LEAF)
    found = {str(name): one for name, one in Edk2VarStore(str(path)).get_varlist().items()}
    assert bytes(found["db"].data) == before + more
    assert (found["Private"].time.year, found["Private"].time.second) == (2031, 0)
    creators = read_creators(bytes(found["certdb"].data))
    assert creators is not None
    assert list(creators) == [("Private", VENDOR)]
    write(guest, "PK", b"", owner, vendor=GLOBAL)
    assert mode(guest) == (1, 0, 0)
    assert "PK" not in Edk2VarStore(str(path)).get_varlist()


@pytest.mark.parametrize("name", ["OVMF_VARS_4M.ms.fd", "OVMF_VARS.ms.fd"])
def test_microsoft_s_keys_are_kept_from_everybody_else(
    corpus: RealFiles, on_file: Callable[[Path], tuple[FakeGuest, Path]], name: str
) -> None:
    guest, path = on_file(corpus.file("ovmf", f"usr/share/OVMF/{name}"))
    assert mode(guest) == (0, 0, 0)
    data = path.read_bytes()
    for variable, vendor in (("PK", GLOBAL), ("KEK", GLOBAL), ("db", SECURITY), ("dbx", SECURITY)):
        for signer in (None, SIGNER, snakeoil(corpus)):
            with refused("SECURITY_VIOLATION"):
                write(guest, variable, signature_list(SIGNER.der), signer, vendor=vendor, at=9)
    for own, vendor in (("certdb", guids.EDK2_CERT_DB), ("VendorKeysNv", guids.EDK2_VENDOR_KEYS_NV)):
        assert (own, vendor) in names(guest)
        with refused("WRITE_PROTECTED"):
            put(guest, own, b"", 0, vendor)
    assert path.read_bytes() == data


def test_a_guest_that_only_reads_changes_nothing_in_its_store(
    on_file: Callable[[Path | None], tuple[FakeGuest, Path]],
) -> None:
    guest, path = on_file(None)
    assert mode(guest) == (1, 0, 0)
    names(guest)
    assert path.read_bytes() == empty_store(OVMF_4M)


# ---------------------------------------------------------------- whatever comes

SOUND = update("Mine", VENDOR, LASTING, b"value", SIGNER)
ANSWERS = {EfiStatus.SECURITY_VIOLATION, EfiStatus.INVALID_PARAMETER}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(SOUND)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        change = draw(st.sampled_from(["set", "cut", "insert", "length"]))
        if change == "set":
            data[at] = draw(st.integers(0, 255))
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        elif change == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif len(data) >= 20:
            struct.pack_into("<I", data, 16, draw(st.integers(0, 2 * len(data))))
        if not data:
            break
    return bytes(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=mutated())
def test_a_descriptor_that_was_tampered_with_gets_a_status_and_nothing_else(
    guest: FakeGuest, data: bytes
) -> None:
    guest.surroundings.kept.variables = Kept().variables
    answer, guest._next = EfiStatus.SUCCESS, SCRATCH
    try:
        put(guest, "Mine", data, LASTING)
    except EfiError as error:
        answer = error.status
    assert answer in ANSWERS or read(guest, "Mine") == b"value"

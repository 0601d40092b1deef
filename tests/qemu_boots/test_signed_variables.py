# SPDX-License-Identifier: GPL-2.0-or-later
"""efitools enrol keys and change signed variables in a guest, and are refused, as they are under OVMF."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from virt.firmware.efi.siglist import EfiSigDB
from virt.firmware.varstore.edk2 import Edk2VarStore

from pvefi.probe.facts import ProbeFacts
from tests.conftest import RealFiles, Tool
from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_entries import ends_well

OWNER = "605dab50-e046-4300-abb6-3dd810dd8b23"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SECURITY = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
KEYS = ("PK", "KEK", "db", "other", "PK2")
PROGRAMS = ("efitools-programs", "chattr")

# efitools ask `mount -l` for efivarfs, an option that busybox's mount has not, and that its shell never looks
# for elsewhere.
SHELL = rb"""#!/bin/busybox sh
mount() { busybox mount; }
[ "$1" = -c ] && eval "$2"
"""
# update VARIABLE ARGUMENT...: efi-updatevar itself does not lift efivarfs' protection.
# sign SECOND SIGNER VARIABLE LIST ARGUMENT...: makes an update that is signed at that second.
HELPERS = """cd /given
update() {
    name=$1; shift
    for file in $efivars/$name-*; do [ ! -e $file ] || chattr -i $file; done
    efi-updatevar "$@" $name
}
sign() {
    second=$1; signer=$2; name=$3; list=$4; shift 4
    sign-efi-sig-list "$@" -t "2026-01-01 00:00:$second" -k $signer.key -c $signer.crt \\
        $name $list made.auth >/tmp/signed
}
private() {
    file=$efivars/Own-OWNER
    [ ! -e $file ] || chattr -i $file
    { printf "\\\\${1:-47}\\\\0\\\\0\\\\0"; cat made.auth; } >write && cat write >$file
}
mode() { for name in SetupMode SecureBoot; do echo $name $(tail -c 1 $efivars/$name-* | od -An -tu1); done; }
size() { cat $efivars/$1-* | wc -c; }
""".replace("OWNER", OWNER)
FIRST = {
    "prepare": (
        "cp shell /bin/.sh && chmod +x /bin/.sh && mv /bin/.sh /bin/sh && "
        f"for key in {' '.join(KEYS)}; do cert-to-efi-sig-list -g {OWNER} $key.crt $key.esl || exit; done"
    ),
    "at-first": "efi-readvar; mode",
    # In setup mode nobody's signature is asked for; a variable without the form of a signed one is refused.
    "enrol-db": "sign 01 other db db.esl && update db -f made.auth && cp made.auth db.auth",
    "enrol-KEK": "sign 01 other KEK KEK.esl && update KEK -f made.auth",
    "unsigned-dbx": rf"printf '\47\0\0\0value' >$efivars/dbx-{SECURITY}",
    "without-attribute": (
        rf"{{ printf '\7\0\0\0'; cat other.esl; }} >made.auth; cat made.auth >$efivars/dbt-{SECURITY}"
    ),
    "enrol-PK": "sign 01 PK PK PK.esl && update PK -f made.auth",
    "user-mode": "efi-readvar; mode",
    "replayed-db": "update db -f db.auth",
    "append": "sign 02 KEK db other.esl -a && update db -a -f made.auth && efi-readvar -v db",
    "append-the-same": "update db -a -f made.auth; efi-readvar -v db",
    "append-by-nobody": "sign 03 other db other.esl -a && update db -a -f made.auth",
    "append-signed-for-replacing": "sign 03 KEK db PK2.esl && update db -a -f made.auth",
    "db-by-db": "sign 04 db db other.esl && update db -f made.auth",
    "older": "sign 00 KEK db db.esl && update db -f made.auth",
    "same-time": "sign 02 KEK db db.esl && update db -f made.auth",
    "for-another-variable": "sign 05 KEK dbx db.esl && update db -f made.auth",
    "changed": "sign 05 KEK db db.esl && sed -i 's/test db/test dB/' made.auth && update db -f made.auth",
    "longer": "sign 05 KEK db db.esl && printf more >>made.auth && update db -f made.auth",
    "shorter": "sign 05 KEK db db.esl && head -c 1500 made.auth >cut.auth && update db -f cut.auth",
    "without-signature": "update db -f db.esl",
    "remove-db": f"chattr -i $efivars/db-* && rm $efivars/db-{SECURITY}",
    "still-there": "size db",
    "replace": "sign 06 KEK db PK2.esl && update db -f made.auth && efi-readvar -v db",
    "replace-by-PK": "sign 07 PK db db.esl && update db -f made.auth && efi-readvar -v db",
    "signed-by-efi-updatevar": f"update dbx -a -g {OWNER} -c other.crt -k KEK.key && efi-readvar -v dbx",
    "hash": "hash-to-efi-sig-list HelloWorld.efi hash.esl >/tmp/hash && sign 07 KEK dbx hash.esl -a && "
    "update dbx -a -f made.auth && efi-readvar -v dbx && cat /tmp/hash",
    "KEK-by-KEK": "sign 08 KEK KEK other.esl && update KEK -f made.auth",
    "KEK-by-PK": "sign 08 PK KEK other.esl -a && update KEK -a -f made.auth && efi-readvar -v KEK",
    "db-by-the-new-KEK": "sign 09 other db other.esl -a && update db -a -f made.auth && efi-readvar -v db",
    "PK-by-KEK": "sign 10 KEK PK PK2.esl && update PK -f made.auth",
    "PK-by-PK": "sign 10 PK PK PK2.esl && update PK -f made.auth && efi-readvar -v PK",
    "PK-by-the-old-PK": "sign 11 PK PK PK.esl && update PK -f made.auth",
    "delete-db": "sign 12 KEK db /dev/null && update db -f made.auth; efi-readvar -v db",
    "create-db": "sign 13 KEK db db.esl && update db -f made.auth && efi-readvar -v db",
    "protected-SetupMode": rf"f=$efivars/SetupMode-{GLOBAL}; chattr -i $f; printf '\6\0\0\0\1' >$f",
    # Any other variable is its maker's; what is signed for it has to be signed for its vendor.
    "private": f"sign 01 other Own db.esl -g {OWNER} && private && size Own",
    "private-replayed": "private",
    "private-by-PK": f"sign 02 PK2 Own db.esl -g {OWNER} && private",
    "private-by-its-maker": f"sign 02 other Own PK.esl -g {OWNER} && private && size Own",
    "private-appended": f"sign 03 other Own db.esl -a -g {OWNER} && private 147 && size Own",
    "private-of-another-vendor": f"sign 04 other Own db.esl -g {GLOBAL} && private",
    "private-deleted": f"sign 05 other Own /dev/null -g {OWNER} && private; ls $efivars | grep -c ^Own; true",
    "private-again": f"sign 00 db Own db.esl -g {OWNER} && private && size Own",
    "end": "efi-readvar; mode",
}
SECOND = {
    "prepare-again": FIRST["prepare"],
    "next-boot": "efi-readvar; mode",
    "delete-PK-by-KEK": "sign 20 KEK PK /dev/null && update PK -f made.auth",
    "delete-PK": "sign 20 PK2 PK /dev/null && update PK -f made.auth; efi-readvar; mode",
    "db-in-setup-mode": "sign 21 PK2 db other.esl && update db -f made.auth; efi-readvar -v db",
    "enrol-PK-again": "sign 22 PK PK PK.esl && update PK -f made.auth; efi-readvar -v PK; mode",
    "delete-PK-again": "sign 23 PK PK /dev/null && update PK -f made.auth; mode",
    # Linux leaves a file without content behind where the first write is refused.
    "PK-by-another": "sign 24 other PK PK.esl && update PK -f made.auth; [ $(size PK) -gt 4 ]",
}
DIFFERENT = {"PK-by-another"}
"""UEFI 2.10 §32.3.1 lets a PK sign itself in setup mode; the OVMF of Debian 12 wants it to."""
SIGNED = 0x27
"""Attributes: non-volatile, for boot and runtime, with time-based authenticated writes (UEFI 2.10 §8.2.1)."""
PRIVATE = {"private-replayed", "private-by-PK", "private-of-another-vendor"}
SILENT = {"unsigned-dbx", "without-attribute", "remove-db", "protected-SetupMode"}
"""What is refused by a program of busybox's, which says it otherwise or not at all."""
REFUSED = (
    SILENT
    | PRIVATE
    | {
        *("replayed-db", "append-by-nobody", "append-signed-for-replacing", "db-by-db", "older"),
        *("same-time", "for-another-variable", "changed", "longer", "shorter", "without-signature"),
        *("KEK-by-KEK", "PK-by-KEK", "PK-by-the-old-PK"),
    }
)


@pytest.fixture(scope="module")
def files(corpus: RealFiles, tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Return the keys that are given to the guest, made by openssl."""
    folder = tmp_path_factory.mktemp("keys")
    program = corpus.file("efitools", "HelloWorld.efi").read_bytes()
    found = {"given/shell": SHELL, "given/HelloWorld.efi": program}
    for key in KEYS:
        words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "3650")
        names = ("-subj", f"/CN=pvefi test {key}", "-keyout", f"{key}.key", "-out", f"{key}.crt")
        subprocess.run([tool("openssl"), *words, *names], cwd=folder, check=True, capture_output=True)
        for name in (f"{key}.key", f"{key}.crt"):
            found[f"given/{name}"] = (folder / name).read_bytes()
    return found


def commands(script: Mapping[str, str]) -> dict[str, str]:
    return {name: HELPERS + text for name, text in script.items()}


@pytest.fixture(scope="module")
def facts(boots: Boots, store: Path, files: Mapping[str, bytes]) -> ProbeFacts:
    script = commands(FIRST)
    return ends_well(boots("cloud", "script", programs=PROGRAMS, script=script, files=files, variables=store))


def lines(facts: ProbeFacts, name: str) -> list[str]:
    return [line.strip() for line in facts.script[name].output.decode().splitlines()]


def subjects(facts: ProbeFacts, name: str) -> list[str]:
    """Return whose certificates efi-readvar has found, in their order."""
    found = lines(facts, name)
    return [
        found[at + 1].removeprefix("CN=pvefi test ") for at, line in enumerate(found) if line == "Subject:"
    ]


def test_keys_are_enrolled_from_setup_mode_and_nothing_is_changed_without_them(facts: ProbeFacts) -> None:
    assert list(facts.script) == list(FIRST)
    assert {name for name, command in facts.script.items() if command.status} == REFUSED
    for name in REFUSED - SILENT - PRIVATE:
        assert b"wrong filesystem permissions" in facts.script[name].error, name
    none = [f"Variable {name} has no entries" for name in ("PK", "KEK", "db", "dbx", "MokList")]
    assert lines(facts, "at-first") == [*none, "SetupMode 1", "SecureBoot 0"]
    assert subjects(facts, "user-mode") == ["PK", "KEK", "db"]
    assert "SetupMode 0" in lines(facts, "user-mode")
    assert subjects(facts, "append") == ["db", "other"]
    assert subjects(facts, "append-the-same") == ["db", "other"]
    assert lines(facts, "still-there") == [str(4 + int(lines(facts, "append")[0].split()[-1]))]
    assert subjects(facts, "replace") == ["PK2"]
    assert subjects(facts, "replace-by-PK") == ["db"]
    assert subjects(facts, "signed-by-efi-updatevar") == ["other"]
    hashed = lines(facts, "hash")[-1].split()[-1]
    assert f"Hash:{hashed}" in lines(facts, "hash")
    assert subjects(facts, "KEK-by-PK") == ["KEK", "other"]
    assert subjects(facts, "db-by-the-new-KEK") == ["db", "other"]
    assert subjects(facts, "PK-by-PK") == ["PK2"]
    assert lines(facts, "delete-db") == ["Variable db has no entries"]
    assert subjects(facts, "create-db") == ["db"]


def test_a_variable_of_another_vendor_is_its_makers(facts: ProbeFacts, files: Mapping[str, bytes]) -> None:
    for name in PRIVATE:
        assert b"Permission denied" in facts.script[name].error, name
    # Attributes, and a signature list: its header of 28 bytes, the owner's GUID, the certificate.
    db, pk = (28 + 16 + len(*certificates(files, key)) for key in ("db", "PK"))
    assert lines(facts, "private") == [str(4 + db)]
    assert lines(facts, "private-by-its-maker") == [str(4 + pk)]
    assert lines(facts, "private-appended") == [str(4 + pk + db)]
    assert lines(facts, "private-deleted") == ["0"]
    assert lines(facts, "private-again") == [str(4 + db)]


def certificates(files: Mapping[str, bytes], *keys: str) -> list[bytes]:
    return [ssl.PEM_cert_to_DER_cert(files[f"given/{key}.crt"].decode()) for key in keys]


def test_virt_firmware_finds_the_keys_in_the_store(
    facts: ProbeFacts, store: Path, files: Mapping[str, bytes]
) -> None:
    assert subjects(facts, "end")
    variables = Edk2VarStore(str(store)).get_varlist()
    found = {
        name: [
            (str(one["guid"]), one["data"])
            for signatures in EfiSigDB(variables[name].data)
            for one in signatures
        ]
        for name in ("PK", "KEK", "db", "dbx")
    }
    assert {owner for signatures in found.values() for owner, _ in signatures} == {OWNER}
    data = {name: [one for _, one in signatures] for name, signatures in found.items()}
    assert data["PK"] == certificates(files, "PK2")
    assert data["KEK"] == certificates(files, "KEK", "other")
    assert data["db"] == certificates(files, "db")
    assert data["dbx"] == [*certificates(files, "other"), bytes.fromhex(lines(facts, "hash")[-1].split()[-1])]
    assert {variables[name].attr for name in found} == {SIGNED}


def test_the_next_boot_is_in_user_mode_and_the_platform_key_alone_ends_it(
    boots: Boots, facts: ProbeFacts, store: Path, files: Mapping[str, bytes]
) -> None:
    script = commands(SECOND)
    again = ends_well(
        boots("cloud", "script", programs=PROGRAMS, script=script, files=files, variables=store)
    )
    assert "SetupMode 0" in lines(again, "next-boot")
    assert subjects(again, "next-boot") == ["PK2", "KEK", "other", "db", "other"]
    assert b"wrong filesystem permissions" in again.script["delete-PK-by-KEK"].error
    assert "Variable PK has no entries" in lines(again, "delete-PK")
    assert "SetupMode 1" in lines(again, "delete-PK")
    assert subjects(again, "delete-PK") == ["KEK", "other", "db", "other"]
    assert subjects(again, "db-in-setup-mode") == ["other"]
    assert subjects(again, "enrol-PK-again") == ["PK"]
    assert "SetupMode 0" in lines(again, "enrol-PK-again")
    assert lines(again, "delete-PK-again")[0] == "SetupMode 1"
    assert again.script["PK-by-another"].status == 0
    assert facts.boot.end == again.boot.end


@pytest.mark.full
def test_every_command_ends_as_it_does_under_ovmf(
    boots: Boots, files: Mapping[str, bytes], tmp_path: Path
) -> None:
    script = commands(FIRST | SECOND)
    ours = ends_well(boots("cloud", "script", programs=PROGRAMS, script=script, files=files))
    store = tmp_path / "vars.fd"
    theirs = boots.by_ovmf("cloud", "script", store, programs=PROGRAMS, script=script, files=files)
    assert list(theirs.script) == list(script)
    assert {name for name in script if ours.script[name] != theirs.script[name]} == DIFFERENT
    assert theirs.script["PK-by-another"].status

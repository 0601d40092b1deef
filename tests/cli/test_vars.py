# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi vars`: what it says of a store, what it does to one, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.cli import main
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import OVMF_2M, OVMF_4M
from pvefi.spec.uefi import device_path
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE
from pvefi.spec.uefi.load_option import LoadOption
from pvefi.spec.uefi.time import Time
from pvefi.spec.uefi.variables import VariableAttribute
from tests.conftest import RealFiles

VENDOR = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "vars.fd"
    assert main(["vars", "new", str(path)]) == 0
    return str(path)


@pytest.fixture
def ovmf(corpus: RealFiles, tmp_path: Path) -> str:
    file = corpus.file("ovmf", "usr/share/OVMF/OVMF_VARS_4M.ms.fd")
    return str(shutil.copy(file, tmp_path / "ovmf.fd"))


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["vars", *words]) == 0
    return capsys.readouterr().out


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(output(capsys, *words))


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["vars", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pvefi: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_new_store_is_empty_and_of_the_size_asked_for(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Path(store).read_bytes() == empty_store(OVMF_4M)
    assert output(capsys, "list", store) == "no variables, 255.9 KiB of 255.9 KiB free\n"
    small = tmp_path / "small.fd"
    output(capsys, "new", str(small), "--size", "2M")
    assert small.read_bytes() == empty_store(OVMF_2M)
    assert "expected no file, found one" in refusal(capsys, "new", store)


def test_what_is_set_is_got_changed_and_deleted(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, "set", store, "Test", "--vendor", VENDOR, "--hex", "01 02 ff")
    assert document(capsys, "get", store, "Test", "--json")["variables"][0]["data"] == "0102ff"
    output(capsys, "set", store, "Test", "--text", "hello")
    shown = output(capsys, "get", store, f"Test-{VENDOR}").splitlines()
    assert shown[0] == "Test"
    assert any(line.split() == ["value", '"hello"'] for line in shown)
    assert "  0000  68 00 65 00 6c 00 6c 00 6f 00 00 00" in shown[-1]
    output(capsys, "delete", store, "Test")
    assert "expected a variable Test, found none" in refusal(capsys, "get", store, "Test")


def test_variables_of_the_specification_need_no_vendor(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = device_path.file_path("\\EFI\\BOOT\\BOOTX64.EFI") + device_path.END
    option = LoadOption(1, "Debian", path, b"quiet")
    output(capsys, "set", store, "Boot0001", "--hex", option.pack().hex())
    output(capsys, "set", store, "BootOrder", "--hex", "01000000")
    output(capsys, "set", store, "PlatformLang", "--ascii", "en")
    lines = output(capsys, "list", store).splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["Boot0001", "GLOBAL_VARIABLE", "NV+BS+RT", str(len(option.pack()))],
        ["BootOrder", "GLOBAL_VARIABLE", "NV+BS+RT", "4"],
    ]
    assert lines[1].endswith('"Debian" \\EFI\\BOOT\\BOOTX64.EFI')
    assert lines[2].endswith("  0001, 0000")
    assert lines[3].endswith('"en"')
    found = {one["name"]: one for one in document(capsys, "list", store, "--json")["variables"]}
    assert found["Boot0001"]["value"]["description"] == "Debian"
    assert found["Boot0001"]["value"]["optional_data"] == b"quiet".hex()
    assert found["BootOrder"]["value"] == ["0001", "0000"]


def test_a_store_of_ovmf_s_is_told_with_its_certificates(
    ovmf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = document(capsys, "list", ovmf, "--json")
    assert (listed["schema"], listed["version"], listed["size"]) == ("pvefi/variables", 1, 262044)
    found = {one["name"]: one for one in listed["variables"]}
    assert [one["type"] for one in found["db"]["value"]] == ["X.509", "X.509"]
    assert "Microsoft" in found["db"]["value"][0]["subject"]
    assert found["dbx"]["value"][0]["type"] == "SHA-256"
    assert "2 of X.509: Microsoft Windows Production PCA 2011, ..." in output(capsys, "list", ovmf)
    shown = output(capsys, "get", ovmf, "PK")
    assert "signed" in shown
    assert "NV+BS+RT+AT" in shown


def test_raw_data_is_written_as_it_is(store: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["vars", "set", store, "Test", "--vendor", VENDOR, "--hex", "00ff0a"]) == 0
    assert main(["vars", "get", store, "Test", "--raw"]) == 0
    assert capfdbinary.readouterr().out == b"\0\xff\n"


def test_an_export_is_imported_into_an_equal_store(
    ovmf: str, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = tmp_path / "vars.json"
    output(capsys, "export", ovmf, str(exported))
    output(capsys, "import", store, str(exported))
    with Edk2Store.open(Path(ovmf)) as one, Edk2Store.open(Path(store)) as other:
        assert list(one) == list(other)


def virt_fw_vars(*words: str) -> str:
    code = "import sys; from virt.firmware.vars import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout


def test_virt_firmware_and_pvefi_exchange_documents_and_stores(
    ovmf: str, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    virt_fw_vars("-i", ovmf, "--output-json", str(theirs))
    output(capsys, "export", ovmf, str(ours))

    def by_name(path: Path) -> Any:
        variables = json.loads(path.read_text())["variables"]
        return {one["name"]: one for one in variables}

    assert by_name(ours) == by_name(theirs)
    output(capsys, "import", store, str(theirs))
    assert "CN=Microsoft" in virt_fw_vars("-i", store, "--print", "--verbose")
    virt_fw_vars("-i", ovmf, "--set-json", str(ours), "-o", str(tmp_path / "both.fd"))
    assert output(capsys, "list", str(tmp_path / "both.fd")).count("X.509") >= 3


def test_names_under_several_vendors_are_told_apart(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = Guid.parse(VENDOR)
    with Edk2Store.open(Path(store)) as opened:
        for vendor in (GLOBAL_VARIABLE, other):
            opened.put(Variable("Timeout", vendor, VariableAttribute(7), b"\1\0"))
    assert "found several" in refusal(capsys, "get", store, "Timeout")
    assert document(capsys, "get", store, "Timeout", "--vendor", VENDOR, "--json")["variables"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("get", "STORE", "None", "--vendor", VENDOR), "expected a variable None, found none"),
        (("get", "STORE", "A", "--vendor", "x"), "--vendor: expected a GUID, found 'x'"),
        (("get", "STORE", ""), "expected a variable's name"),
        (("get", "STORE", "A", "--raw", "--json"), "found both"),
        (("set", "STORE", "Timeout"), "expected one of --hex, --text, --ascii and --data, found 0"),
        (("set", "STORE", "Timeout", "--hex", "0g"), "--hex: expected bytes in hexadecimal"),
        (("set", "STORE", "Timeout", "--hex", ""), "pvefi vars delete removes a variable"),
        (("set", "STORE", "Timeout", "--ascii", "ü"), "--ascii: expected ASCII"),
        (("set", "STORE", "Timeout", "--hex", "00", "--attributes", "x"), "expected a number of 32 bits"),
        (("set", "STORE", "Timeout", "--hex", "00", "--attributes", "6"), "of a non-volatile variable"),
        (("set", "STORE", "Timeout", "--hex", "00", "--attributes", "0xffffffff"), "Timeout: expected attr"),
        (("set", "STORE", "Timeout", "--hex", "00" * 33717), "expected at most 33732 bytes of name and data"),
        (("set", "STORE", "Timeout", "--data", "none"), "No such file"),
        (("delete", "STORE", "None", "--vendor", VENDOR), "expected a variable None, found none"),
        (("import", "STORE", "STORE"), "expected a JSON document"),
        (("export", "STORE", "STORE"), "found the store itself"),
        (("set", "STORE", "bad\udcff", "--vendor", VENDOR, "--hex", "00"), "expected a variable's name"),
        (("set", "STORE", "Timeout", "--text", "bad\udcff"), "--text: expected UTF-8"),
        (("list", "none"), "pvefi vars new makes one"),
        (("new", "none/none"), "no such file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    store: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], line: str
) -> None:
    given = [store if word == "STORE" else word for word in words]
    assert line in refusal(capsys, *given)
    assert Path(store).read_bytes() == empty_store(OVMF_4M)


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ({"name": "", "guid": VENDOR, "attr": 7, "data": ""}, "a variable's name"),
        ({"name": "A", "guid": "x", "attr": 7, "data": ""}, "a GUID"),
        ({"name": "A", "guid": VENDOR, "attr": -1, "data": ""}, "64 bits"),
        ({"name": "A", "guid": VENDOR, "attr": 1 << 32, "data": ""}, "32 bits"),
        ({"name": "A", "guid": VENDOR, "attr": 7, "data": "0"}, "hexadecimal bytes"),
        ({"name": "A", "guid": VENDOR, "attr": 7, "data": "00", "time": "00"}, "16 bytes"),
        (
            {"name": "A", "guid": VENDOR, "attr": 7, "data": "00" * (1 << 18)},
            "A: expected at most 33732 bytes of name and data, found 262148",
        ),
        ({"name": "A", "guid": VENDOR, "attr": 6, "data": "00"}, "A: expected attributes of a non-volatile"),
        ({"name": "A", "guid": VENDOR, "attr": 0x107, "data": "00"}, "found 0x100 in 0x107"),
        ({"name": "A", "guid": VENDOR, "attr": 0x47, "data": "00"}, "found 0x40 in 0x47"),
        ({"name": "A", "guid": VENDOR, "attr": 0xFFFFFFFF, "data": "00"}, "A: expected attributes that are"),
        ({"name": "A\n", "guid": VENDOR, "attr": 7, "data": ""}, "expected data, found none"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused(
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    variable: dict[str, object],
    line: str,
) -> None:
    path = tmp_path / "vars.json"
    good = {"name": "Good", "guid": VENDOR, "attr": 7, "data": "00"}
    path.write_text(json.dumps({"version": 2, "variables": [good, variable]}))
    assert line in refusal(capsys, "import", store, str(path))
    path.write_text(json.dumps({"version": 1, "variables": []}))
    assert "found version 1" in refusal(capsys, "import", store, str(path))
    assert Path(store).read_bytes() == empty_store(OVMF_4M)


def import_into(store: str, folder: Path, *variables: dict[str, object]) -> int:
    path = folder / "document.json"
    path.write_text(json.dumps({"version": 2, "variables": variables}))
    return main(["vars", "import", store, str(path)])


def test_what_is_set_or_imported_without_a_time_keeps_the_time_of_the_last_signature(
    store: str, tmp_path: Path
) -> None:
    """Whoever replays an update signed before must not be heard."""
    future = Time(2100, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0).pack()
    signed = Variable("db", IMAGE_SECURITY_DATABASE, VariableAttribute(0x27), b"old", future)
    with Edk2Store.open(Path(store)) as opened:
        opened.put(signed)
    assert main(["vars", "set", store, "db", "--hex", "01"]) == 0
    document = {"name": "db", "guid": str(signed.vendor), "attr": 0x27, "data": "02"}
    found = []
    with Edk2Store.open(Path(store)) as opened:
        found.append(opened.get("db", signed.vendor))
    assert import_into(store, tmp_path, document) == 0
    with Edk2Store.open(Path(store)) as opened:
        found.append(opened.get("db", signed.vendor))
    assert import_into(store, tmp_path, {**document, "time": bytes(range(16)).hex()}) == 0
    with Edk2Store.open(Path(store)) as opened:
        found.append(opened.get("db", signed.vendor))
    assert found == [
        replace(signed, data=b"\1"),
        replace(signed, data=b"\2"),
        replace(signed, data=b"\2", timestamp=bytes(range(16))),
    ]


def test_what_lasts_not_is_shown_where_a_store_has_it_and_can_be_mended(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Edk2Store.open(Path(store)) as opened:
        opened.put(Variable("Odd", Guid.parse(VENDOR), VariableAttribute(6), b"data"))
    assert "Odd" in output(capsys, "list", store)
    assert "Odd: expected attributes of a non-volatile" in refusal(capsys, "set", store, "Odd", "--hex", "01")
    output(capsys, "set", store, "Odd", "--hex", "01", "--attributes", "7")
    assert document(capsys, "get", store, "Odd", "--json")["variables"][0]["attributes"] == 7

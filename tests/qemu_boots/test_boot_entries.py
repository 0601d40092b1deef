# SPDX-License-Identifier: GPL-2.0-or-later
"""efivar and efibootmgr, with which installers write boot entries, do in a guest what they do under OVMF."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from virt.firmware.efi.bootentry import BootEntry
from virt.firmware.varstore.edk2 import Edk2VarStore

from pvefi.cli import main
from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.probe.facts import ProbeFacts
from tests.build.gpt import gpt_disk
from tests.qemu_boots.conftest import MIB, Boots
from tests.qemu_boots.test_entries import ends_well

DISK = uuid.UUID("12345678-1234-5678-1234-567812345678")
PARTITION = uuid.UUID("0fedcba9-8765-4321-8765-43210fedcba9")
ESP = f"HD(1,GPT,{PARTITION},0x800,0x800)"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
OWN = "605dab50-e046-4300-abb6-3dd810dd8b23"
PROGRAMS = ("efivar", "efibootmgr", "chattr")
NEW = "efibootmgr --create --disk /dev/vda --part 1 --loader"
SCRIPT = {
    # What OVMF itself has at the start: one entry, and a timeout.
    "clear": "efibootmgr -q -b 0 -B; efibootmgr -q -O; efibootmgr -q -T; true",
    "empty": "efibootmgr -v",
    "create": rf"{NEW} '\EFI\debian\shimx64.efi' --label debian",
    "create-with-arguments": rf"{NEW} '\EFI\Linux\vmlinuz.efi' -L 'Zweites ö' -u 'root=/dev/vda1 quiet'",
    "create-only": r"efibootmgr -C -d /dev/vda -p 1 -l '\EFI\BOOT\BOOTX64.EFI' -L fallback",
    "create-high": rf"{NEW} '\EFI\high.efi' -L high -b 1F00",
    "list": "efibootmgr -v",
    "reorder": "efibootmgr -o 1,0,2",
    "order-of-what-is-not-there": "efibootmgr -o 0,7",
    "next": "efibootmgr -n 2",
    "delete-next": "efibootmgr -N",
    "next-again": "efibootmgr -n 1F00",
    "timeout": "efibootmgr -t 7",
    "inactive": "efibootmgr -b 0 -A",
    "active-again": "efibootmgr -b 0 -a",
    "inactive-for-good": "efibootmgr -b 1F00 -A",
    "delete": "efibootmgr -b 2 -B",
    "delete-what-is-not-there": "efibootmgr -b 77 -B",
    "first-free-number": rf"{NEW} '\EFI\again.efi' -L again",
    "duplicates": "efibootmgr -o 0,1,0,1,0 && efibootmgr -D",
    "driver": r"efibootmgr -r -c -d /dev/vda -p 1 -l '\EFI\driver.efi' -L driver && efibootmgr -r -v",
    "end": "efibootmgr -v",
    "raw": f"tail -c +5 $efivars/BootOrder-{GLOBAL} | base64",
    # The kernel looks at boot variables before the firmware does (Linux fs/efivarfs/vars.c).
    "malformed": rf"printf '\7\0\0\0abc' >$efivars/Boot0009-{GLOBAL}",
    "print": f"efivar -p -n {GLOBAL}-Boot0000",
    "write": f"printf first >/tmp/data && efivar -n {OWN}-Own -t 7 -w -f /tmp/data && efivar -n {OWN}-Own -p",
    "append": f"printf ', more' >/tmp/data && efivar -n {OWN}-Own -a -f /tmp/data && efivar -n {OWN}-Own -p",
    "replace": f"printf 'second' >/tmp/data && efivar -n {OWN}-Own -t 7 -w -f /tmp/data",
    "decimal": f"efivar -n {OWN}-Own -d",
    "without-runtime-access": f"efivar -n {OWN}-Boots -t 3 -w -f /tmp/data",
    "volatile": f"efivar -n {OWN}-Volatile -t 6 -w -f /tmp/data",
    "other-attributes": f"efivar -n {OWN}-Own -t 15 -w -f /tmp/data",
    "print-what-is-not-there": f"efivar -n {OWN}-None -p",
    "protected": f"lsattr -l $efivars/Own-{OWN} && rm $efivars/Own-{OWN}",
    "removed": f"chattr -i $efivars/Own-{OWN} && rm $efivars/Own-{OWN} && efivar -n {OWN}-Own -p",
}
ENTRY = re.compile(r"Boot[0-9A-F]{4}")
REFUSED = {
    *("order-of-what-is-not-there", "delete-what-is-not-there", "malformed"),
    *("without-runtime-access", "volatile", "other-attributes", "print-what-is-not-there"),
    *("protected", "removed"),
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(gpt_disk(3 * MIB, disk=DISK, partition=PARTITION))
    return path


@pytest.fixture(scope="module")
def facts(boots: Boots, disk: Path, store: Path) -> ProbeFacts:
    words = "devices,script"
    return ends_well(boots("cloud", words, programs=PROGRAMS, script=SCRIPT, disks=(disk,), variables=store))


def lines(facts: ProbeFacts, name: str) -> list[str]:
    return facts.script[name].output.decode().splitlines()


def test_efibootmgr_finds_what_it_wrote(facts: ProbeFacts) -> None:
    assert {name for name, command in facts.script.items() if command.status} == REFUSED
    arguments = ".".join("root=/dev/vda1 quiet") + "."
    debian = rf"Boot0000* debian	{ESP}/File(\EFI\debian\shimx64.efi)"
    second = rf"Boot0001* Zweites ö	{ESP}/File(\EFI\Linux\vmlinuz.efi){arguments}"
    assert lines(facts, "list") == [
        "BootOrder: 1F00,0001,0000",
        *(debian, second),
        rf"Boot0002* fallback	{ESP}/File(\EFI\BOOT\BOOTX64.EFI)",
        rf"Boot1F00* high	{ESP}/File(\EFI\high.efi)",
    ]
    assert lines(facts, "reorder")[0] == "BootOrder: 0001,0000,0002"
    assert lines(facts, "next")[0] == "BootNext: 0002"
    assert lines(facts, "delete-next") == lines(facts, "reorder")
    assert lines(facts, "inactive")[3] == "Boot0000  debian"
    assert lines(facts, "active-again")[3] == "Boot0000* debian"
    assert lines(facts, "delete")[2:4] == ["BootOrder: 0001,0000", "Boot0000* debian"]
    assert lines(facts, "duplicates")[2::7] == ["BootOrder: 0000,0001,0000,0001,0000", "BootOrder: 0000,0001"]
    assert lines(facts, "end") == [
        *("BootNext: 1F00", "Timeout: 7 seconds", "BootOrder: 0000,0001"),
        *(debian, second),
        rf"Boot0002* again	{ESP}/File(\EFI\again.efi)",
        rf"Boot1F00  high	{ESP}/File(\EFI\high.efi)",
    ]


def test_efivar_finds_what_it_wrote(facts: ProbeFacts) -> None:
    assert "00000000  66 69 72 73 74 " in lines(facts, "write")[-1]
    assert lines(facts, "append")[-1].endswith("|first, more     |")
    assert lines(facts, "append")[3:6] == [
        "	Non-Volatile",
        "	Boot Service Access",
        "	Runtime Service Access",
    ]
    assert lines(facts, "decimal") == [" ".join(str(byte) for byte in b"second") + " "]
    for name in ("without-runtime-access", "volatile", "other-attributes"):
        assert facts.script[name].error == b"efivar: Invalid argument\n"
    assert b"Operation not permitted" in facts.script["protected"].error
    assert b"No such file" in facts.script["removed"].error


def entry_line(name: str, value: dict[str, Any]) -> str:
    """Return an entry of pvefi's as efibootmgr writes it."""
    path = re.sub(r"/(\\.*)", r"/File(\1)", value["device_path"])
    text = bytes.fromhex(value["optional_data"]).decode("latin-1").replace("\0", ".")
    return f"{name}{'*' if value['active'] else ' '} {value['description']}\t{path}{text}"


def test_pvefi_and_virt_firmware_read_the_entries_as_efibootmgr_does(
    facts: ProbeFacts, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vars", "list", str(store), "--json"]) == 0
    ours = {one["name"]: one for one in json.loads(capsys.readouterr().out)["variables"]}
    entries = [entry_line(name, ours[name]["value"]) for name in sorted(ours) if ENTRY.fullmatch(name)]
    assert entries == lines(facts, "end")[3:]
    assert ours["BootOrder"]["value"] == ["0000", "0001"]
    theirs = Edk2VarStore(str(store)).get_varlist()
    assert {name: (one.data.hex(), one.attr) for name, one in theirs.items()} == {
        name: (one["data"], one["attributes"]) for name, one in ours.items()
    }
    assert str(BootEntry(theirs["Boot0001"].data).title) == "Zweites ö"
    assert set(ours) == {
        *("Boot0000", "Boot0001", "Boot0002", "Boot1F00", "BootNext", "BootOrder", "Timeout"),
        *("Driver0000", "DriverOrder"),
    }


def test_the_next_boot_finds_the_entries(boots: Boots, facts: ProbeFacts, disk: Path, store: Path) -> None:
    script = {"list": "efibootmgr -v", "use": "efibootmgr -N; efibootmgr -o 2,1"}
    again = boots(
        "cloud-6.12", "devices,script", programs=PROGRAMS, script=script, disks=(disk,), variables=store
    )
    found = ends_well(again)
    assert lines(found, "list") == lines(facts, "end")
    with Edk2Store.open(store, writable=False) as opened:
        left = {one.name: one.data for one in opened}
    assert left["BootOrder"] == b"\2\0\1\0"
    assert "BootNext" not in left


def test_every_command_ends_as_it_does_under_ovmf(
    boots: Boots, facts: ProbeFacts, disk: Path, tmp_path: Path
) -> None:
    theirs = boots.by_ovmf(
        "cloud", "devices,script", tmp_path / "vars.fd", programs=PROGRAMS, script=SCRIPT, disk=disk
    )
    assert list(theirs.script) == list(SCRIPT)
    for name in SCRIPT:
        if name != "clear":
            assert facts.script[name] == theirs.script[name], name

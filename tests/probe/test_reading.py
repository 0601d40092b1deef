# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts become values; a fact of another form is refused with its place."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from pvefi.probe.facts import BlockDevice, CommandFacts, FirmwareRange, SetupData
from pvefi.probe.fields import ProbeError
from pvefi.probe.reading import probe_facts


def console(*facts: dict[str, Any]) -> bytes:
    text = b"PVEFI-PROBE up\r\nPVEFI-PROBE clock 1.50\r\n"
    for fact in facts:
        body = json.dumps(fact).encode()
        text += b"PVEFI-PROBE fact %08x %s\r\n" % (zlib.crc32(body), body)
    return text + b"PVEFI-PROBE end poweroff\r\n"


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


EFI: dict[str, Any] = {
    "fact": "efi",
    "present": True,
    "entries": ["fw_platform_size", "systab"],
    "files": {"fw_platform_size": "64", "fw_vendor": None, "runtime": "0x1000", "config_table": "0x2000"},
    "systab": ["ACPI20=0x7f77d014", "SMBIOS=0x7f520000"],
    "runtime_map": [
        {"type": "0x6", "phys_addr": "0x1000", "virt_addr": "0xfffffffeffaec000"}
        | {"num_pages": "0x84", "attribute": "0x800000000000000f"}
    ],
}


def test_what_was_not_asked_for_is_none() -> None:
    facts = probe_facts(console())
    assert (facts.boot.clock, facts.boot.end) == (1.5, "poweroff")
    assert (facts.efi, facts.system, facts.zero_page, facts.variables) == (None, None, None, None)


def test_the_facts_on_efi_have_numbers() -> None:
    efi = probe_facts(console(EFI)).efi
    assert efi is not None
    assert (efi.present, efi.platform_size, efi.vendor_address, efi.runtime_address) == (True, 64, None, 4096)
    assert efi.system_tables == {"ACPI20": 0x7F77D014, "SMBIOS": 0x7F520000}
    assert (efi.runtime_map[0].type, efi.runtime_map[0].pages) == (6, 0x84)


def test_the_zero_page_is_bytes() -> None:
    page = bytes(range(256)) * 16
    data = [{"type": "0x9", "data": in_base64(b"seed")}]
    facts = probe_facts(
        console({"fact": "zeropage", "version": "0x020f", "data": in_base64(page), "setup_data": data})
    )
    assert facts.zero_page == page
    assert facts.setup_data == (SetupData(9, b"seed"),)


def test_maps_and_devices_are_numbers() -> None:
    facts = probe_facts(
        console(
            {"fact": "memmap", "ranges": [{"start": "0x0", "end": "0x9fbff", "type": "System RAM"}]},
            {"fact": "devices", "blocks": [{"name": "vda", "sectors": "2048"}], "problems": []},
            {"fact": "iomem", "lines": ["00000000-00000fff : Reserved"]},
        )
    )
    assert facts.memory_map == (FirmwareRange(0, 0x9FBFF, "System RAM"),)
    assert facts.blocks == (BlockDevice("vda", 1 << 20),)
    assert facts.iomem == ("00000000-00000fff : Reserved",)


def test_a_variable_has_attributes_in_front_of_its_value() -> None:
    steps = [
        {"step": "create", "status": 0, "value": in_base64(b"\7\0\0\0first"), "error": []},
        {"step": "delete", "status": 1, "value": None, "error": ["rm: can't"]},
    ]
    fact = {"fact": "efivars", "mounted": True, "names": [], "steps": steps, "left": [], "problems": []}
    variables = probe_facts(console(fact)).variables
    assert variables is not None
    created, deleted = variables.step("create"), variables.step("delete")
    assert (created.done, created.attributes, created.value) == (True, 7, b"first")
    assert (deleted.done, deleted.attributes, deleted.value) == (False, None, None)


def test_a_scripts_commands_have_status_and_output_by_their_names() -> None:
    facts = probe_facts(
        console(
            {"fact": "script 000-list-all", "status": 0, "output": in_base64(b"a\nb\n"), "error": ""},
            {"fact": "script 001-refused", "status": 5, "output": "", "error": in_base64(b"no\xff")},
        )
    )
    assert facts.script == {
        "list-all": CommandFacts(0, b"a\nb\n", b""),
        "refused": CommandFacts(5, b"", b"no\xff"),
    }
    assert list(facts.script) == ["list-all", "refused"]
    with pytest.raises(ProbeError, match=r"script 000-a\.status: expected a value, found none"):
        probe_facts(console({"fact": "script 000-a", "output": "", "error": ""}))


def test_the_last_of_several_boots_is_meant() -> None:
    facts = probe_facts(console() + console(EFI))
    assert facts.efi is not None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"present": "yes"}, r"efi\.present: expected true or false, found yes"),
        ({"entries": "none"}, r"efi\.entries: expected an array"),
        ({"entries": [1]}, r"efi\.entries: expected strings only"),
        ({"systab": ["ACPI20"]}, r"efi\.systab: expected a number"),
        ({"files": []}, r"efi\.files: expected an object"),
        ({"files": {}}, r"efi\.files\.fw_platform_size: expected a value, found none"),
        ({"runtime_map": [1]}, r"efi\.runtime_map\[0\]: expected an object"),
        (
            {"runtime_map": [EFI["runtime_map"][0] | {"type": "-1"}]},
            r"runtime_map\[0\]\.type: expected a num",
        ),
        ({"runtime_map": [EFI["runtime_map"][0] | {"type": 1 << 64}]}, r"runtime_map\[0\]\.type: expected"),
    ],
)
def test_a_fact_of_another_form_is_refused_with_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ProbeError, match=place):
        probe_facts(console(EFI | change))


def test_damage_and_silence_are_errors() -> None:
    with pytest.raises(ProbeError, match="expected whole lines of the probe, found 1 with a wrong sum"):
        probe_facts(console(EFI).replace(b"platform", b"plat[ 1.2] form"))
    with pytest.raises(ProbeError, match="expected the line `PVEFI-PROBE up`"):
        probe_facts(b"Kernel panic - not syncing: No working init found.")
    with pytest.raises(ProbeError, match=r"zeropage\.data: expected base64, found %%"):
        probe_facts(console({"fact": "zeropage", "data": "%%", "setup_data": []}))

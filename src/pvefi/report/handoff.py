# SPDX-License-Identifier: GPL-2.0-or-later
"""The hand-off in a report: the path with its proof, and everything that the kernel was given."""

from __future__ import annotations

from rich.text import Text

from pvefi.report.boot_params import boot_params_lines, boot_params_to_json
from pvefi.report.mapping import mapping_to_json, rights_text
from pvefi.report.memory_maps import interval_lines, intervals, intervals_to_json
from pvefi.report.registers import register_lines, registers_to_json
from pvefi.report.text import Fact, hex_bytes, section, size_text
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.linux.e820 import MAX_ENTRIES
from pvefi.spec.linux.setup_data import NO_TABLE, EfiSetupData, SetupDataType
from pvefi.spec.uefi.guids import GUID_NAMES, guid_name
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryDescriptor
from pvefi.trace.columns import Cell, columns
from pvefi.trace.spelling import escaped, spell
from pvefi.trace.values import Json, value_to_json
from pvefi.verdict import Handoff, Proof, SegmentMapping, SetupDataNode

__all__ = ["given_facts", "handoff_to_json", "long_sections", "path_facts", "short_sections"]

_PROOF_ACROSS = 16
_PROOF_WIDTH = 84  # with the widest address that a guest may have below 4 GiB


def path_facts(handoff: Handoff, width: int | None = None) -> list[Fact]:
    """Return the two facts of the path, with the proof."""
    proof = handoff.proof
    where = f"{proof.address:#x} = {proof.linked_address:#x} as linked {_slide(proof)}"
    if handoff.kernel_entry != proof.address:
        where = f"{handoff.kernel_entry:#x}, and goes on to startup_64, {where}"
    return [
        ("decompressor", [Text(escaped(handoff.decompressor), "bold")]),
        (
            "kernel proper",
            [Text.assemble("entered at ", (escaped(handoff.kernel_start), "bold"), ", ", where)],
        ),
        ("proof", _proof_lines(proof, width)),
        ("mapping", _mapping_lines(handoff)),
    ]


def _mapping_lines(handoff: Handoff) -> list[Cell]:
    if not handoff.mapping:
        return [Text("no page tables are in force", "dim")]
    return [*columns((_segment_cells(one) for one in handoff.mapping), "<><")]


def _segment_cells(one: SegmentMapping) -> list[Cell]:
    return [f"{one.address:#x}", size_text(one.size), f"{rights_text(one)}, linked {escaped(one.linked)}"]


def _slide(proof: Proof) -> str:
    return f"{'-' if proof.slide < 0 else '+'} {abs(proof.slide):#x} slide"


def _proof_lines(proof: Proof, width: int | None) -> list[Cell]:
    across = _PROOF_ACROSS if width is None or width >= _PROOF_WIDTH else _PROOF_ACROSS // 2
    rows: list[list[Cell]] = []
    for source, data, other in (
        (f"vmlinux+{proof.file_offset:#x}", proof.expected, proof.found),
        (f"memory {proof.address:#x}", proof.found, proof.expected),
    ):
        for at in range(0, len(data), across):
            part = slice(at, at + across)
            rows.append([Text("" if at else source, "dim"), hex_bytes(data[part], other[part])])
    return [*columns(rows, "<<"), _judgement(proof)]


def _judgement(proof: Proof) -> Text:
    size = len(proof.found)
    differing = sum(one != other for one, other in zip(proof.expected, proof.found, strict=False))
    if size != len(proof.expected) or (differing and not proof.virtual_slide):
        return Text("different", "bold red")
    if differing:
        slide = f"relocated by the virtual slide {proof.virtual_slide:#x}"
        return Text(f"{size} bytes, identical but for {differing} that were {slide}")
    return Text(f"{size} bytes, identical")


def given_facts(handoff: Handoff) -> list[Fact]:
    """Return what the kernel was given in few words: command line and initrd."""
    facts: list[Fact] = [("command line", [escaped(handoff.command_line) or Text("none", "dim")])]
    if not handoff.initrd_size:
        return [*facts, ("initrd", [Text("none", "dim")])]
    end = handoff.initrd_address + handoff.initrd_size - 1
    size = f"{handoff.initrd_size:,} bytes ({size_text(handoff.initrd_size)})"
    lines = [f"{handoff.initrd_address:#x}-{end:#x}, {size}", f"sha256 {handoff.initrd_sha256}"]
    return [*facts, ("initrd", lines)]


def short_sections(handoff: Handoff, width: int | None = None) -> list[Text]:
    """Return registers and configuration tables."""
    tables: list[list[Cell]] = [
        [f"{table.address:#x}", guid_name(table.guid), str(table.guid) if table.guid in GUID_NAMES else ""]
        for table in handoff.configuration_tables
    ]
    return [
        *section("registers", register_lines(handoff.registers, width)),
        *section("configuration tables", columns(tables, "><<", indent=2, width=width, spare=[2])),
    ]


def long_sections(handoff: Handoff, width: int | None = None) -> list[Text]:
    """Return the memory maps and the zero page."""
    params = BootParams.unpack(handoff.boot_params)
    table = intervals(handoff.memory_map, params.memory_map)
    title = f"memory maps: {len(handoff.memory_map)} EFI descriptors, {len(params.memory_map)} e820 entries"
    if len(params.memory_map) == MAX_ENTRIES:
        title += ", more may be in setup_data"
    if not all(one.agrees for one in table):
        title += "; ! is not what Linux's stub makes of it"
    return [
        *section(title, interval_lines(table, width)),
        *section(
            "runtime memory that a first kernel has given virtual addresses", _runtime_lines(handoff, width)
        ),
        *section("setup_data", _setup_data_lines(handoff, width)),
        *section(
            f"boot_params at {handoff.boot_params_address:#x}, fields that are not zero",
            boot_params_lines(params, width),
        ),
    ]


def _runtime_lines(handoff: Handoff, width: int | None) -> list[Text]:
    return columns(
        (
            [
                f"{one.physical_start:#x}-{one.physical_start + one.number_of_pages * PAGE_SIZE - 1:#x}",
                "at",
                f"{one.virtual_start:#x}",
                spell(one.type),
            ]
            for one in handoff.runtime_map
        ),
        "><<<",
        indent=2,
        width=width,
    )


def _setup_data_lines(handoff: Handoff, width: int | None) -> list[Text]:
    return columns(
        (
            [f"{one.address:#x}", spell(one.type), f"{one.size} bytes", _meaning(one)]
            for one in handoff.setup_data
        ),
        "><><",
        indent=2,
        width=width,
    )


def _meaning(node: SetupDataNode) -> str:
    """Return what a node of type EFI says, physical addresses; empty for any other."""
    efi = _efi_setup_data(node)
    if efi is None:
        return ""
    smbios = "" if efi.smbios in (0, NO_TABLE) else f", SMBIOS {efi.smbios:#x}"
    return f"firmware vendor {efi.fw_vendor:#x}, configuration tables {efi.tables:#x}{smbios}"


def _efi_setup_data(node: SetupDataNode) -> EfiSetupData | None:
    if node.type is not SetupDataType.EFI or len(node.data) < EfiSetupData.SIZE:
        return None
    return EfiSetupData.unpack(node.data)


def _setup_data_to_json(node: SetupDataNode) -> dict[str, Json]:
    efi = _efi_setup_data(node)
    made: dict[str, Json] = {"address": node.address, "type": value_to_json(node.type), "size": node.size}
    if efi is not None:
        made["efi"] = {"fw_vendor": efi.fw_vendor, "tables": efi.tables, "smbios": efi.smbios}
    return made


def handoff_to_json(handoff: Handoff) -> dict[str, Json]:
    """Return everything that is known of the hand-off."""
    params = BootParams.unpack(handoff.boot_params)
    proof = handoff.proof
    initrd: Json = {
        "address": handoff.initrd_address,
        "size": handoff.initrd_size,
        "sha256": handoff.initrd_sha256,
    }
    return {
        "path": {
            "decompressor": handoff.decompressor,
            "kernel_start": handoff.kernel_start,
            "kernel_entry": handoff.kernel_entry,
        },
        "proof": {
            "address": proof.address,
            "linked_address": proof.linked_address,
            "slide": proof.slide,
            "virtual_slide": proof.virtual_slide,
            "file_offset": proof.file_offset,
            "expected": proof.expected.hex(),
            "found": proof.found.hex(),
            "identical": proof.expected == proof.found,
        },
        "registers": registers_to_json(handoff.registers),
        "mapping": [mapping_to_json(one) for one in handoff.mapping],
        "command_line": handoff.command_line,
        "initrd": initrd if handoff.initrd_size else None,
        "configuration_tables": [
            {"guid": str(table.guid), "name": GUID_NAMES.get(table.guid), "address": table.address}
            for table in handoff.configuration_tables
        ],
        "memory_map": [_descriptor_to_json(descriptor) for descriptor in handoff.memory_map],
        "maps": intervals_to_json(intervals(handoff.memory_map, params.memory_map)),
        "runtime_map": [_descriptor_to_json(descriptor) for descriptor in handoff.runtime_map],
        "setup_data": [_setup_data_to_json(node) for node in handoff.setup_data],
        "boot_params_address": handoff.boot_params_address,
        "boot_params": boot_params_to_json(params, handoff.boot_params),
    }


def _descriptor_to_json(descriptor: MemoryDescriptor) -> dict[str, Json]:
    return {
        "type": value_to_json(descriptor.type),
        "physical_start": descriptor.physical_start,
        "virtual_start": descriptor.virtual_start,
        "number_of_pages": descriptor.number_of_pages,
        "attribute": descriptor.attribute,
    }

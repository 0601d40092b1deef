#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the tables of docs/ from the declarations in the code, between the marks that name each table.

    python tools/build_docs.py            # rewrite what is out of date
    python tools/build_docs.py --check    # only say what is, exit status 1

A mark is `<!-- generated: NAME -->`, and `<!-- end -->` ends what it covers; the text around is written by
hand. Runs in pvefi's own environment: `make docs`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Figure
from pvefi.cli.status import ExitStatus
from pvefi.efi import coverage
from pvefi.efi.coverage import Offer
from pvefi.efi.environment import Clock, Environment, Surroundings
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.efi.protocols.hypervisor_information import Hypervisor
from pvefi.efi.start import Start
from pvefi.efi.startup import make_environment
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Action, Function, MailboxLayout
from pvefi.layout import Bytes, Scalar, Structure
from pvefi.machines.embedded.platform import ram_layout, start_info
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.acpi import Rsdp
from pvefi.spec.pvefi.hypervisor_information import HypervisorInformation
from pvefi.spec.uefi.guids import GUID_NAMES, PVEFI_HYPERVISOR_INFORMATION
from pvefi.spec.xen.start_info import HvmStartInfo
from pvefi.trace.spelling import member_name

__all__ = ["BLOCKS", "documents", "make_sample", "rewrite"]

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SOURCES = ROOT / "src"
_MARK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
_SAMPLE_SIZE = 16 << 20  # bytes of memory: the least that the embedded machine takes
_SAMPLE_RSDP = 0x9000  # conventional memory that start_info leaves free


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------ the environment


def make_sample(profile: Profile) -> Environment:
    """Return an environment as a boot on the embedded machine makes it, given an ACPI root pointer too."""
    layout = ram_layout(_SAMPLE_SIZE)
    memory = GuestMemory([RamBlock(0, memoryview(bytearray(_SAMPLE_SIZE)))])
    _, info = start_info(layout, "")
    told = replace(HvmStartInfo.unpack(info), rsdp_paddr=_SAMPLE_RSDP)
    rsdp = Rsdp.unpack(b"RSD PTR " + bytes(7) + b"\2" + bytes(Rsdp.SIZE - 16))
    start = Start(told, layout.memory_map(), (), "", rsdp)
    surroundings = Surroundings(
        console=lambda _text: None,
        random=bytes,
        clock=Clock(idle=lambda _seconds: None),
        initrd=memoryview(b"an initial ramdisk"),
        initrd_by_efi=True,
        image_starts=lambda _: None,
        boot_services_end=lambda: None,
        kernel_may_start=lambda _: None,
    )
    nobody = Hypervisor(0, bytes(12))
    return make_environment(memory, load_trampoline(), start, nobody, profile, surroundings)[0]


def _statuses(offer: Offer) -> str:
    return ", ".join(status.name for status in offer.statuses) or "none"


def _purpose(offer: Offer) -> str:
    return offer.purpose if offer.implemented else "*not implemented*"


def _answers(offer: Offer, profile: str) -> str:
    return "yes" if profile in offer.profiles else "UNSUPPORTED"


def _name(offer: Offer, name: str) -> str:
    """Return the name, as a link to the source where there is one."""
    if not offer.implemented:
        return name
    return f"[{name}](../src/{offer.module.replace('.', '/')}.py)"


def _slots(offers: Iterable[Offer]) -> str:
    return _table(
        ["offset", "service", "UEFI 2.10", *PROFILES, "what it does", "statuses besides SUCCESS"],
        (
            [
                f"{offer.offset:#x}",
                _name(offer, offer.name),
                offer.section.removeprefix("UEFI 2.10 "),
                *(_answers(offer, profile) for profile in PROFILES),
                _purpose(offer),
                _statuses(offer),
            ]
            for offer in offers
        ),
    )


def _functions() -> str:
    return _table(
        ["protocol", "function", "UEFI 2.10", "what it does", "statuses besides SUCCESS"],
        (
            [
                offer.name.partition(".")[0],
                _name(offer, offer.name.partition(".")[2]),
                offer.section.removeprefix("UEFI 2.10 "),
                offer.purpose,
                _statuses(offer),
            ]
            for offer in coverage.protocol_functions()
        ),
    )


def _protocols() -> str:
    offered = {guid for profile in PROFILES.values() for guid in profile.protocols}
    functions = [coverage.protocol_guid(offer.name) for offer in coverage.protocol_functions()]
    return _table(
        ["protocol", "GUID", "functions", *PROFILES],
        (
            [
                GUID_NAMES[guid],
                f"`{guid}`",
                str(functions.count(guid) or "none"),
                *("yes" if guid in profile.protocols else "NOT_FOUND" for profile in PROFILES.values()),
            ]
            for guid in sorted(offered, key=lambda guid: GUID_NAMES[guid])
        ),
    )


def _configuration_tables() -> str:
    installed = {name: make_sample(profile).tables for name, profile in PROFILES.items()}
    guids = dict.fromkeys(guid for tables in installed.values() for guid, _ in tables.configuration_tables)
    return _table(
        ["configuration table", "GUID", *PROFILES],
        (
            [
                GUID_NAMES[guid],
                f"`{guid}`",
                *(
                    "yes" if any(guid == one for one, _ in tables.configuration_tables) else "no"
                    for tables in installed.values()
                ),
            ]
            for guid in guids
        ),
    )


def _profiles() -> str:
    return _table(
        ["profile", "what it is", "boot services", "runtime services", "protocols", "stays in the guest"],
        (
            [
                f"`{profile.name}`",
                profile.purpose,
                _offered(coverage.boot_services(), profile),
                _offered(coverage.runtime_services(), profile),
                str(len(profile.protocols)),
                "gates, mailbox, tables" if profile.stays else "nothing",
            ]
            for profile in PROFILES.values()
        ),
    )


def _offered(offers: Sequence[Offer], profile: Profile) -> str:
    return f"{sum(profile.name in offer.profiles for offer in offers)} of {len(offers)}"


# ------------------------------------------------------------------ the guest

_COMMENT = re.compile(r"^\s*\.set (?P<name>[A-Z0-9_]+)\s*,\s*0?x?[0-9a-f]+\s*# (?P<text>.*)$", re.MULTILINE)
_UNCOMMENTED = {
    "cr3": "the caller's page tables",
    "cr4": "how deep they are: the caller's CR4 where the CPU has LA57, elsewhere the trampoline's",
}
_HOST_WRITES = frozenset({"done", "action", "result", "a0", "a1", "a2", "a3", "a4", "bound"})


def _explained(prefix: str) -> dict[str, str]:
    """Return the comments beside trampoline.S's `.set` lines, by lower-case name without the prefix."""
    text = (SOURCES / "pvefi/guest/trampoline.S").read_text(encoding="utf-8")
    return {
        match["name"].removeprefix(prefix).lower(): match["text"]
        for match in _COMMENT.finditer(text)
        if match["name"].startswith(prefix)
    }


def _mailbox() -> str:
    comments = _explained("MAILBOX_") | _UNCOMMENTED
    return _table(
        ["offset", "size", "word", "written by", "meaning"],
        (
            [
                f"{MailboxLayout.offset_of(name):#04x}",
                str(size),
                f"`{name}`",
                "host" if name in _HOST_WRITES else "guest",
                comments.get(name, "likewise"),
            ]
            for name, size in _sizes(MailboxLayout)
            if name != "reserved"
        ),
    )


def _sizes(structure: type[Structure]) -> list[tuple[str, int]]:
    names = [field.name for field in fields(structure)]  # type: ignore[arg-type]  # @layout makes a dataclass
    ends = [*(structure.offset_of(name) for name in names[1:]), structure.SIZE]
    return [(name, end - structure.offset_of(name)) for name, end in zip(names, ends, strict=True)]


def _doorbell_functions() -> str:
    comments = _explained("FUNCTION_")
    gates = load_trampoline().symbols["GATE_COUNT"]
    rows = [["0x0", f"gates 0 to {gates - 1}", "an EFI service; the host knows which service has which gate"]]
    rows += [
        [f"{function:#x}", function.name, comments.get(function.name.lower(), "")] for function in Function
    ]
    return _table(["`function`", "name", "meaning"], rows)


def _actions() -> str:
    comments = _explained("ACTION_")
    return _table(
        ["`action`", "name", "what the guest does"],
        ([str(int(action)), action.name, comments[action.name.lower()]] for action in Action),
    )


_PARTS = {
    ".gates": "gates, their common code, the stub that answers EFI_UNSUPPORTED",
    ".mailbox": "mailbox; system table, runtime services table, configuration tables",
    ".boot": "trampoline, GDT, page tables of the first 4 GiB",
    ".stack": "the image's stack",
    ".arena": "boot services table, protocol interfaces, device paths, load options",
}


def _segments() -> str:
    types = {name: make_sample(profile).pages for name, profile in PROFILES.items()}
    rows = []
    for part in load_trampoline().segments:
        row = [f"{part.address:#x}", f"{part.size:#x}", f"`{part.name}`", _PARTS[part.name]]
        for pages in types.values():
            span = pages.span_at(part.address)
            assert span is not None, "pvefi's own parts lie in memory"
            row.append(member_name(span.type))
        rows.append(row)
    return _table(["address", "size", "section", "holds", *(f"type in `{name}`" for name in types)], rows)


# ------------------------------------------------------------------ small ones

_C_TYPES = {"B": "uint8_t", "H": "uint16_t", "I": "uint32_t", "Q": "uint64_t"}
_INFORMATION = {
    "version": "version of this structure: 2",
    "size": "size of this structure in bytes; a later version may append fields",
    "signature": "what CPUID leaf `cpuid_base` returns in ebx, ecx and edx, in this order",
    "cpuid_base": "the hypervisor's first CPUID leaf; 0, and `signature` all zero, where CPUID has none",
    "start_info": "guest physical address of a copy of hvm_start_info",
    "start_info_size": "size of that copy in bytes, without what it points to",
    "reserved": "0",
    "xen_version": "Xen's major version in bits 31-16, its minor version in bits 15-0; 0 on anything else",
    "xen_extra_version": "what follows these in Xen's version, such as `.7`, filled up with zeroes; "
    "all zero where the host does not know it",
    "reserved2": "0",
}


def _information_layout() -> str:
    return _table(
        ["offset", "size", "field", "meaning"],
        (
            [str(HypervisorInformation.offset_of(name)), str(size), f"`{name}`", _INFORMATION[name]]
            for name, size in _sizes(HypervisorInformation)
        ),
    )


def _information_struct() -> str:
    hints = get_type_hints(HypervisorInformation, include_extras=True)
    lines = ["struct pvefi_hypervisor_information {"]
    for name, _ in _sizes(HypervisorInformation):
        note = get_args(hints[name])[1]
        if isinstance(note, Bytes):
            declaration = f"uint8_t  {name}[{note.count}];"
        else:
            assert isinstance(note, Scalar)
            declaration = f"{_C_TYPES[note.code]} {name};"
        lines.append(f"    {declaration:<30} /* {HypervisorInformation.offset_of(name):#04x} */")
    lines.append(f"}};  /* {HypervisorInformation.SIZE} bytes, little-endian, no padding */")
    return "```c\n" + "\n".join(lines) + "\n```\n"


def _information_guid() -> str:
    guid = PVEFI_HYPERVISOR_INFORMATION
    wire = guid.wire
    words = [
        int.from_bytes(wire[0:4], "little"),
        *(int.from_bytes(wire[at : at + 2], "little") for at in (4, 6)),
    ]
    tail = ", ".join(f"0x{byte:02x}" for byte in wire[8:])
    first = ", ".join(f"0x{word:0{digits}x}" for word, digits in zip(words, (8, 4, 4), strict=True))
    return (
        f"```c\n/* {guid} */\n#define PVEFI_HYPERVISOR_INFORMATION_GUID \\\n"
        f"    {{ {first}, \\\n      {{ {tail} }} }}\n```\n"
    )


def _exit_statuses() -> str:
    return _table(
        ["status", "name", "meaning"],
        ([str(int(status)), status.name, status.meaning] for status in ExitStatus),
    )


def _measured(name: str) -> str:
    """Return the figures of a document in docs/, which `make bench ARGS=--json` made."""
    document = json.loads((DOCS / name).read_text(encoding="utf-8"))
    figures = [
        Figure(
            one["name"],
            one["what"],
            one["unit"],
            one["reach"],
            tuple(one["values"]),
            one["how"],
            one["at_most"],
        )
        for one in document["figures"]
    ]
    table = _table(
        ["figure", "reach", "measured", "spread", "", "how"],
        (
            [
                figure.what,
                figure.reach,
                figure.text(figure.median),
                figure.spread,
                {None: "", True: "met", False: "**missed**"}[figure.met],
                figure.how,
            ]
            for figure in figures
        ),
    )
    runs = sorted({len(figure.values) for figure in figures}, reverse=True)
    image, machine = document["image"], document["machine"]
    more = "".join(f"\n{one['title']}:\n\n{_table(one['head'], one['rows'])}" for one in document["tables"])
    return (
        f"{table}\nMedians of {' or '.join(map(str, runs))} runs, each a process of its own; the spread is "
        f"lowest to highest.\n{more}\n"
        f"- kernel: `{image['file']}`, {image['size']:,} bytes, SHA-256 `{image['sha256']}`\n"
        f"- machine: {machine['cpu']}, {machine['cores']} cores, load {machine['load']} at the start, "
        f"{machine['system']}\n"
        f"- Python {machine['python']}, unicorn {machine['unicorn']}, QEMU {machine['qemu']}\n"
    )


BLOCKS: Mapping[str, Callable[[], str]] = {
    "profiles": _profiles,
    "boot-services": lambda: _slots(coverage.boot_services()),
    "runtime-services": lambda: _slots(coverage.runtime_services()),
    "protocols": _protocols,
    "protocol-functions": _functions,
    "configuration-tables": _configuration_tables,
    "segments": _segments,
    "mailbox": _mailbox,
    "doorbell-functions": _doorbell_functions,
    "actions": _actions,
    "hypervisor-information-guid": _information_guid,
    "hypervisor-information-layout": _information_layout,
    "hypervisor-information-struct": _information_struct,
    "exit-statuses": _exit_statuses,
    "figures": lambda: _measured("figures.json"),
    "figures-variables": lambda: _measured("figures-variables.json"),
    "figures-xen": lambda: _measured("figures-xen.json"),
    "figures-xen-efi": lambda: _measured("figures-xen-efi.json"),
    "figures-evaluate": lambda: _measured("figures-evaluate.json"),
}
"""What makes each table, by the name in its mark."""


def rewrite(text: str) -> str:
    """Return `text` with every marked table made anew; KeyError for a mark that names none."""
    return _MARK.sub(lambda match: f"{match[1]}{BLOCKS[match['name']]()}{match[4]}", text)


def documents() -> list[Path]:
    """Return the files that may hold marks."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def main(words: list[str]) -> int:
    """Rewrite the documents, or only compare them; 1 when `--check` finds one out of date."""
    parser = argparse.ArgumentParser(prog="tools/build_docs.py", description="Write the tables of docs/.")
    parser.add_argument("--check", action="store_true", help="change nothing, say what is out of date")
    check = parser.parse_args(words).check
    stale = 0
    for path in documents():
        text = path.read_text(encoding="utf-8")
        made = rewrite(text)
        if made == text:
            continue
        stale += 1
        print(f"{path.relative_to(ROOT)}: {'out of date (make docs)' if check else 'rewritten'}")
        if not check:
            path.write_text(made, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

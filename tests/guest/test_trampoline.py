# SPDX-License-Identifier: GPL-2.0-or-later
"""The committed trampoline.elf is what its sources give, and its parts stand where the host looks."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import NoteSegment

from build_guest import build
from pvefi.guest import Trampoline, load_trampoline
from pvefi.guest.mailbox import STAGING_SIZE
from pvefi.image import EntryKind, inspect
from tests.conftest import Tool


@pytest.fixture(scope="module")
def trampoline() -> Trampoline:
    return load_trampoline()


@pytest.fixture
def rebuilt(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ELFFile:
    folders = {str(Path(tool(name)).parent) for name in ("as", "ld")}
    monkeypatch.setenv("PATH", os.pathsep.join([*sorted(folders), os.environ["PATH"]]))
    build(tmp_path / "trampoline.elf")
    return ELFFile(io.BytesIO((tmp_path / "trampoline.elf").read_bytes()))


def committed() -> ELFFile:
    return ELFFile(io.BytesIO(load_trampoline().elf))


def notes(elf: ELFFile) -> list[tuple[str, bytes]]:
    return [
        (note["n_name"], note["n_descdata"])
        for part in elf.iter_segments("PT_NOTE")
        if isinstance(part, NoteSegment)
        for note in part.iter_notes()
    ]


def symbols(elf: ELFFile) -> list[tuple[str, int]]:
    table = elf.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    return sorted(
        (symbol.name, symbol["st_value"])
        for symbol in table.iter_symbols()
        if symbol.name and symbol["st_info"]["type"] not in ("STT_FILE", "STT_SECTION")
    )


def content(elf: ELFFile) -> dict[str, object]:
    """Return all of an ELF that a machine loads or a host looks at, but not where the linker put it."""
    names = {section["sh_addr"]: section.name for section in elf.iter_sections() if section["sh_addr"]}
    return {
        "entry": elf["e_entry"],
        "loaded": [
            (names[part["p_vaddr"]], part["p_paddr"], part["p_memsz"], part.data().hex())
            for part in elf.iter_segments("PT_LOAD")
        ],
        "notes": notes(elf),
        "symbols": symbols(elf),
    }


def test_the_committed_trampoline_is_built_from_the_committed_sources(rebuilt: ELFFile) -> None:
    assert content(rebuilt) == content(committed()), "run `make guest` and commit trampoline.elf"


def test_every_machine_finds_the_pvh_entry_by_its_note(trampoline: Trampoline, tmp_path: Path) -> None:
    assert notes(committed()) == [("Xen", trampoline.entry.to_bytes(4, "little"))]
    path = tmp_path / "trampoline.elf"
    path.write_bytes(trampoline.elf)
    entry = inspect(path).entry(EntryKind.PVH)
    assert entry is not None
    assert entry.address == trampoline.entry == trampoline.symbols["_start32"]


def test_the_parts_lie_below_16_mib_on_pages_of_their_own(trampoline: Trampoline) -> None:
    parts = trampoline.segments
    assert [part.name for part in parts] == [".gates", ".mailbox", ".boot", ".stack", ".arena"]
    assert all(part.address % 4096 == 0 for part in parts)
    assert all(before.end <= after.address for before, after in itertools.pairwise(parts))
    assert parts[0].address >= 0x100000
    assert parts[-1].end <= 16 << 20


def test_the_gates_fill_two_pages_at_most_and_the_mailbox_follows(trampoline: Trampoline) -> None:
    gates = trampoline.segment(".gates")
    assert gates.size <= 0x2000
    assert gates.size == len(gates.data)
    assert trampoline.symbols["mailbox"] == trampoline.segment(".mailbox").address


def test_the_literal_of_the_gates_leads_to_the_mailbox(trampoline: Trampoline) -> None:
    gates, symbols = trampoline.segment(".gates"), trampoline.symbols
    at = symbols["mailbox_pointer"] - gates.address
    assert int.from_bytes(gates.data[at : at + 8], "little") == symbols["mailbox"]


def test_a_gate_is_16_bytes_that_say_its_index_and_jump(trampoline: Trampoline) -> None:
    gates, symbols = trampoline.segment(".gates"), trampoline.symbols
    assert symbols["GATE_SIZE"] == 16
    for index in range(symbols["GATE_COUNT"]):
        at = trampoline.gate(index) - gates.address
        code = gates.data[at : at + 16]
        assert code[:5] == b"\xb8" + index.to_bytes(4, "little")  # mov $index, %eax
        if code[5] == 0xE9:  # jmp rel32
            target = at + 10 + int.from_bytes(code[6:10], "little", signed=True)
        else:
            assert code[5] == 0xEB  # jmp rel8
            target = at + 7 + int.from_bytes(code[6:7], "little", signed=True)
        assert gates.address + target == symbols["gate_common"]


def test_there_is_no_gate_beyond_the_last(trampoline: Trampoline) -> None:
    for index in (-1, trampoline.symbols["GATE_COUNT"]):
        with pytest.raises(IndexError, match=f"gate {index}: the trampoline has 400"):
            trampoline.gate(index)


def test_the_stack_is_as_large_as_uefi_asks_and_aligned(trampoline: Trampoline) -> None:
    stack, top = trampoline.segment(".stack"), trampoline.symbols["stack_top"]
    assert top - stack.address >= 128 << 10  # UEFI 2.10 §2.3.4
    assert top % 16 == 0


def test_exceptions_have_a_stack_of_their_own_behind_it(trampoline: Trampoline) -> None:
    end = trampoline.symbols["exception_stack_top"]
    assert end == trampoline.segment(".stack").end == trampoline.symbols["stack_top"] + 4096
    assert end % 16 == 0


def test_the_arenas_lie_in_their_parts(trampoline: Trampoline) -> None:
    mailbox, arena = trampoline.segment(".mailbox"), trampoline.segment(".arena")
    staging = trampoline.symbols["staging"]
    assert trampoline.runtime_arena == (mailbox.address + 4096, staging)
    assert trampoline.mailbox == (mailbox.address, mailbox.size)
    assert mailbox.end - staging == STAGING_SIZE
    assert trampoline.boot_arena == (arena.address, arena.end)


def test_what_the_host_fills_is_not_in_the_file(trampoline: Trampoline) -> None:
    assert {part.name for part in trampoline.segments if not part.data} == {".mailbox", ".stack", ".arena"}


def test_only_page_0_of_the_first_4_gib_is_absent(trampoline: Trampoline) -> None:
    boot, symbols = trampoline.segment(".boot"), trampoline.symbols
    words = memoryview(boot.data[: len(boot.data) & ~7]).cast("Q")

    def table(address: int) -> list[int]:
        at = (address - boot.address) // 8
        return list(words[at : at + 512])

    present_write, large = 0x3, 0x83
    (root, *rest) = table(symbols["page_map_level4"])
    assert not any(rest)
    pointers = table(root - present_write)
    assert not any(pointers[4:])
    for gigabyte, pointer in enumerate(pointers[:4]):
        for at, entry in enumerate(table(pointer - present_write)):
            address = (gigabyte << 30) + (at << 21)
            if address:
                assert entry == address | large
            else:
                assert table(entry - present_write) == [
                    0,
                    *(page << 12 | present_write for page in range(1, 512)),
                ]

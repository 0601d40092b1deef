# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvefi.errors import UsageError
from pvefi.report.boot import to_json
from pvefi.report.boot_document import read_boot
from pvefi.verdict import Outcome
from tests.report.made import handoff, result


def document(**fields: object) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(to_json(result())))
    return made | fields


def boots(*entries: str) -> dict[str, Any]:
    return {"schema": "pvefi/boots", "version": 1, "boots": [document(entry=entry) for entry in entries]}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[object], str]:
    def written(content: object) -> str:
        path = tmp_path / "boot.json"
        path.write_text(json.dumps(content))
        return str(path)

    return written


Write = Callable[[object], str]


def refusal(selection: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_boot(selection)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_hand_off_comes_back_as_it_was_written(write: Write) -> None:
    boot = read_boot(write(document()))
    made = handoff()
    read = boot.handoff
    assert read is not None
    assert read.registers == made.registers
    assert read.boot_params.pack() == made.boot_params
    assert read.memory_map == made.memory_map
    assert read.tables == tuple((table.guid, table.address) for table in made.configuration_tables)
    assert read.command_line == made.command_line
    assert (read.proof.address, read.proof.slide) == (made.proof.address, made.proof.slide)
    assert read.proof.found == made.proof.found
    assert read.initrd is not None
    assert read.initrd.sha256 == made.initrd_sha256
    assert boot.context["instructions"] == 97_116_877
    assert boot.name.endswith("boot.json:efi")


def test_a_boot_without_a_hand_off_has_none(write: Write) -> None:
    boot = read_boot(write(json.loads(json.dumps(to_json(result(Outcome.FAULTED, "page fault"))))))
    assert boot.handoff is None
    assert boot.verdict == "faulted: page fault"


def test_one_of_several_boots_is_selected_by_entry_or_number(write: Write) -> None:
    path = write(boots("efi", "linux64", "pvh"))
    assert read_boot(f"{path}:linux64").name == f"{path}:linux64"
    assert read_boot(f"{path}:3").name == f"{path}:pvh"


def test_several_boots_without_a_selection_are_listed(write: Write) -> None:
    path = write(boots("efi", "pvh"))
    assert refusal(path) == (
        f"{path}: expected one boot, found 2; it has: 1 efi, 2 pvh (write {path}:efi or {path}:1)"
    )


def test_an_entry_that_is_not_there_says_which_are(write: Write) -> None:
    path = write(boots("efi", "pvh"))
    assert "expected one boot through linux64, found none; it has: 1 efi, 2 pvh" in refusal(f"{path}:linux64")
    assert "found none" in refusal(f"{path}:3")
    assert "found 2" in refusal(f"{write(boots('efi', 'efi'))}:efi")


def test_a_single_boot_needs_no_selection_but_keeps_to_one(write: Write) -> None:
    path = write(document())
    assert read_boot(f"{path}:efi").name == f"{path}:efi"
    assert "expected one boot through pvh, found none" in refusal(f"{path}:pvh")
    assert read_boot(write(boots("pvh"))).name.endswith(":pvh")


def test_no_boots_at_all_is_told(write: Write) -> None:
    assert "expected one boot, found none" in refusal(write(boots()))


def test_a_file_whose_name_has_a_colon_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a:efi"
    path.write_text(json.dumps(document()))
    assert read_boot(str(path)).name == f"{path}:efi"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "expected an object, found []"),
        ({}, 'expected the schema "pvefi/boot" or "pvefi/boots", found none'),
        ({"schema": "pvefi/trace"}, "found 'pvefi/trace'"),
        (document(version=2), "is a document of version 2; this pvefi reads up to version 1"),
        (document(version="1"), "version: expected a whole number, found '1'"),
        ({"schema": "pvefi/boots", "version": 9, "boots": []}, "of version 9"),
        ({"schema": "pvefi/boots", "version": 1}, "boots: expected a list, found nothing"),
        ({"schema": "pvefi/boots", "version": 1, "boots": [1]}, "boots[0]: expected an object, found 1"),
        ({"schema": "pvefi/boots", "version": 1, "boots": [{}]}, 'expected "pvefi/boot", found nothing'),
        (document(handoff=3), "handoff: expected an object, found 3"),
        (document(handoff={}), "handoff.path: expected an object, found nothing"),
        (document(image=None), "image: expected an object, found nothing"),
        (document(machine=[]), "machine: expected a number or a text, found []"),
    ],
)
def test_a_document_of_another_form_is_one_line(write: Write, content: object, words: str) -> None:
    assert words in refusal(write(content))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("boot_params", "bytes"), "00", "boot_params.bytes: expected 4096 bytes, found 1"),
        (("boot_params", "bytes"), "zz", "expected bytes in hexadecimal"),
        (("registers", "rax"), 1 << 64, "registers.rax: expected a number of 64 bits"),
        (("proof", "virtual_slide"), "no", "proof.virtual_slide: expected a whole number, found 'no'"),
        (("path", "decompressor"), None, "path.decompressor: expected a text or a whole number"),
        (("configuration_tables", 0, "guid"), "8868e871", "guid: expected a GUID, found '8868e871'"),
        (("memory_map", 1, "number_of_pages"), -4, "memory_map[1].number_of_pages: expected a number of 64"),
        (("memory_map",), [{}] * 3000, "expected at most 2048 descriptors, found 3000"),
        (("initrd", "size"), None, "initrd.size: expected a whole number, found nothing"),
    ],
)
def test_a_damaged_field_is_named(
    write: Write, place: tuple[str | int, ...], value: object, words: str
) -> None:
    damaged = document()
    at = damaged["handoff"]
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    assert words in refusal(write(damaged))


WHOLE = document()


def places(value: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([here] if here else []), *(one for key, part in inside for one in places(part, (*here, key)))]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(places({name: WHOLE[name] for name in WHOLE if name != "calls"})),
    st.sampled_from([None, [], {}, "", "x", -1, 0, 1 << 70, 1.5, True]),
)
def test_whatever_is_wrong_is_read_or_refused(
    write: Write, place: tuple[str | int, ...], value: object
) -> None:
    damaged = copy.deepcopy(WHOLE)
    at: Any = damaged
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    path = write(damaged)
    try:
        read = read_boot(path)
    except UsageError as error:
        told = str(error)
    else:
        told = read.name
    assert told.startswith(path)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots of a real kernel compared: with and without KASLR, and with another environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvefi.cli import main
from tests.conftest import RealFiles

Boots = dict[str, tuple[str, str]]
"""By name, the files of a boot's document and of its trace."""

SETTINGS = {
    "seed 1": ("--seed", "1"),
    "seed 2": ("--seed", "2"),
    "nokaslr": ("--seed", "1", "--cmdline", "nokaslr"),
    "minimal": ("--seed", "1", "--profile", "minimal"),
}


@pytest.fixture(scope="module")
def boots(corpus: RealFiles, tmp_path_factory: pytest.TempPathFactory) -> Boots:
    kernel = str(corpus.file("cloud", "boot/vmlinuz-*"))
    folder = tmp_path_factory.mktemp("diffs")
    made: Boots = {}
    for name, options in SETTINGS.items():
        document, trace = folder / f"{name}.json", folder / f"{name}.trace"
        with pytest.MonkeyPatch.context() as patch, document.open("w") as file:
            patch.setattr("sys.stdout", file)
            assert (
                main(["boot", kernel, "--machine", "embedded", "--json", "--trace", str(trace), *options])
                == 0
            )
        made[name] = str(document), str(trace)
    return made


def compared(
    boots: Boots, kind: int, names: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, object], list[str]]:
    files = [boots[name][kind] for name in names]
    verb = ["trace", "diff"] if kind else ["handoff", "diff"]
    status = main([*verb, "--json", *files])
    document = json.loads(capsys.readouterr().out)
    assert main([*verb, *files]) == status
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 or str(Path(files[0]).parent) in line for line in lines)
    return status, document, lines


def test_another_place_by_kaslr_is_the_same_trace(boots: Boots, capsys: pytest.CaptureFixture[str]) -> None:
    status, document, _ = compared(boots, 1, ("seed 1", "seed 2"), capsys)
    assert status == 0
    assert [one["field"] for one in document["header"]] == ["seed"]  # type: ignore[attr-defined]


def test_nokaslr_asks_for_other_things(boots: Boots, capsys: pytest.CaptureFixture[str]) -> None:
    status, document, lines = compared(boots, 1, ("seed 1", "nokaslr"), capsys)
    assert status == 1
    assert "RNG_PROTOCOL" in "".join(lines)
    services = {one["service"]: (one["a"], one["b"]) for one in document["services"]}  # type: ignore[attr-defined]
    assert services["EFI_RNG_PROTOCOL.GetRNG"] == (2, 1)


def test_a_protocol_that_a_profile_lacks_is_the_first_difference(
    boots: Boots, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document, _ = compared(boots, 1, ("seed 1", "minimal"), capsys)
    assert status == 1
    assert str(document["first"]).startswith("first difference: LocateProtocol(Protocol=RNG_PROTOCOL")
    assert "status is EFI_SUCCESS in A, EFI_NOT_FOUND in B" in str(document["first"])


def test_all_that_another_seed_changes_of_the_hand_off_is_marked(
    boots: Boots, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document, _ = compared(boots, 0, ("seed 1", "seed 2"), capsys)
    assert status == 1
    unmarked = [one["name"] for one in document["differences"] if not one["moved"]]  # type: ignore[attr-defined]
    assert not unmarked


def test_nokaslr_is_told_from_the_flag_in_boot_params(
    boots: Boots, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document, _ = compared(boots, 0, ("seed 1", "nokaslr"), capsys)
    assert status == 1
    differences = {one["name"]: one for one in document["differences"]}  # type: ignore[attr-defined]
    assert "A has KASLR_FLAG" in differences["hdr.loadflags"]["meaning"]
    assert differences["command_line"]["b"] == "nokaslr"
    assert differences["rip"]["moved"] == "kernel in both"

# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from pvefi.report.boot import render, to_json
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import BootResult, Outcome, Proof
from tests.report.made import CALLS, STARTUP_64, boot_params, handoff, result

SHORT = (Outcome.USER_SPACE, Outcome.LEFT)
OTHERS = [outcome for outcome in Outcome if outcome is not Outcome.HANDOFF and outcome not in SHORT]


def report(made: BootResult, *, tty: bool = False, width: int = 80) -> list[str]:
    file = io.StringIO()
    render(made, Console(file=file, force_terminal=tty, width=width))
    return file.getvalue().splitlines()


def document(made: BootResult) -> Any:
    return json.loads(json.dumps(to_json(made), allow_nan=False))


def starting(lines: list[str], label: str) -> str:
    return next(line for line in lines if line.startswith(f"  {label} "))


def test_the_first_line_is_the_verdict() -> None:
    assert report(result())[0] == "hand-off: the kernel proper got control, 2.61 s after the trampoline"
    exited = result(Outcome.EXITED, "the program returned", EfiStatus.NOT_FOUND)
    assert report(exited)[0] == "exited: the program returned, EFI_NOT_FOUND"


def test_the_path_is_told_with_its_proof() -> None:
    lines = report(result())
    assert starting(lines, "decompressor").endswith("bypassed")
    assert "startup_64, 0x4c00000 = 0x1000000 as linked + 0x3c00000 slide" in starting(lines, "kernel proper")
    assert "vmlinux+0x200000  48 8d 25 51" in starting(lines, "proof")
    assert any(line.strip().startswith("memory 0x4c00000  48 8d 25 51") for line in lines)
    assert any(line.strip() == f"{len(STARTUP_64)} bytes, identical" for line in lines)


def test_a_proof_that_fails_says_so() -> None:
    failed = handoff(proof=Proof(0xFF0000, 0x200000, STARTUP_64, bytes(16), 0x1000000, 0))
    lines = report(result(handoff=failed))
    assert any(line.strip() == "different" for line in lines)
    assert "as linked - 0x10000 slide" in starting(lines, "kernel proper")


def test_bytes_that_kaslr_relocated_are_still_a_proof() -> None:
    moved = STARTUP_64[:-1] + b"\x99"
    relocated = handoff(proof=Proof(0x4C00000, 0x200000, STARTUP_64, moved, 0x1000000, 0x13000000))
    told = f"{len(STARTUP_64)} bytes, identical but for 1 that were relocated by the virtual slide 0x13000000"
    assert any(line.strip() == told for line in report(result(handoff=relocated)))


def test_time_instructions_command_line_and_initrd_are_told() -> None:
    lines = report(result())
    assert starting(lines, "time").endswith("2.61 s; 0.120 s (4.6 %) of it on the host side, in 6 calls")
    assert starting(lines, "instructions").endswith("97,116,877; 1,812 of them before the image's first")
    assert starting(lines, "command line").endswith("console=ttyS0 root=/dev/vda1 quiet")
    assert starting(lines, "initrd").endswith("0x1d000000-0x1d0fffff, 1,048,576 bytes (1 MiB)")


def test_what_was_not_given_or_counted_is_no_riddle() -> None:
    bare = result(
        handoff=handoff(initrd_size=0, command_line=""),
        instructions=None,
        instructions_to_image=None,
        seconds=0.0,
        seed=None,
    )
    lines = report(bare)
    assert starting(lines, "initrd").split() == ["initrd", "none"]
    assert starting(lines, "command line").split() == ["command", "line", "none"]
    assert not any(line.startswith("  instructions ") for line in lines)


def test_long_sections_come_last() -> None:
    lines = report(result())
    titles = [line.split(":")[0].split(" at ")[0] for line in lines if line and not line.startswith(" ")]
    assert titles[1:3] == ["registers", "configuration tables"]
    assert titles[-2:] == ["memory maps", "boot_params"]


def test_a_report_fits_a_mail() -> None:
    params = boot_params(xloadflags=0x7F, loadflags=0x83)
    for line in report(result(handoff=handoff(boot_params=params.pack()))):
        assert len(line) <= 100 or "XLF_" in line, line


def test_no_colour_and_no_wrapping_outside_a_terminal() -> None:
    plain = report(result(), width=20)
    assert not any("\x1b" in line for line in plain)
    assert plain == report(result(), width=200)


def on_terminal(made: BootResult, width: int) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in report(made, tty=True, width=width)]


LONG = "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString"
BUSY = (*CALLS, replace(CALLS[0], index=7, service=LONG), replace(CALLS[0], index=8, service="X" * 33))


@pytest.mark.parametrize("width", [80, 60])
def test_a_report_fits_a_terminal_and_breaks_no_word(width: int) -> None:
    params = boot_params(xloadflags=0x7F, loadflags=0x83)
    made = result(handoff=handoff(boot_params=params.pack()), calls=BUSY)
    words = {word for line in report(made) for word in line.split()}
    for line in on_terminal(made, width):
        assert len(line) <= width or len(line.split()[-1]) > width // 2, line
        assert all(word in words or word.startswith("...") for word in line.split()), line


def test_a_narrow_table_of_calls_cuts_names_from_the_left_then_leaves_times_out() -> None:
    made = result(calls=BUSY)
    wide, narrow = on_terminal(made, 100), on_terminal(made, 60)
    assert any(re.search(r" \.\.\.\w+_PROTOCOL\.OutputString$", line) for line in wide)
    assert any(line.split()[:3] == ["%", "time", "total"] for line in wide)
    assert any(line.endswith("OutputString") and line.split()[-1].startswith("...") for line in narrow)
    assert any(line.endswith("X" * 33) for line in narrow)
    assert not any("max us" in line for line in narrow)


def test_a_narrow_memory_map_leaves_out_attributes_then_sizes() -> None:
    wide, usual, narrow = (on_terminal(result(), width) for width in (100, 80, 60))
    for lines, words in (
        (wide, ["usable", "KiB", "WB|WT|WC|UC"]),
        (usual, ["usable", "KiB"]),
        (narrow, ["usable"]),
    ):
        row = next(line for line in lines if line.startswith("  0000001000-"))
        assert [word for word in ("usable", "KiB", "WB|WT|WC|UC") if word in row] == words


@pytest.mark.parametrize("outcome", OTHERS)
def test_another_end_shows_the_last_calls(outcome: Outcome) -> None:
    lines = report(result(outcome, "so it was"))
    assert lines[0] == f"{outcome.value}: so it was"
    at = lines.index("last calls")
    assert lines[at + 6].startswith("  6 ExitBootServices() = EFI_SUCCESS")


@pytest.mark.parametrize("outcome", SHORT)
def test_a_user_space_that_ran_well_is_told_in_facts_alone(outcome: Outcome) -> None:
    lines = report(result(outcome, "so it was"))
    assert lines[0] == f"{outcome.value}: so it was"
    assert "last calls" not in lines
    assert any(line.startswith("  services ") for line in lines)


def test_only_the_last_of_many_calls_are_shown() -> None:
    calls = tuple(replace(CALLS[0], index=index) for index in range(1, 101))
    lines = report(result(Outcome.TIMED_OUT, "10 s", calls=calls))
    at = lines.index("last calls")
    assert lines[at + 1].startswith("   93 ")
    assert lines[at + 8].startswith("  100 ")
    assert lines[at + 9] == ""


def test_a_boot_without_calls_is_no_trouble() -> None:
    lines = report(result(Outcome.TIMED_OUT, "10 s", calls=(), host_seconds=0.0))
    assert lines[-1] == "  none"


def test_a_guests_text_cannot_steer_the_terminal() -> None:
    nasty = "\x1b[2J[bold]x[/bold]"
    lines = report(result(Outcome.FAULTED, nasty))
    assert lines[0] == r"faulted: \x1b[2J[bold]x[/bold]"
    assert r"\x1b[2J[bold]x[/bold]" in starting(
        report(result(handoff=handoff(command_line=nasty))), "command line"
    )


def test_json_names_its_schema_and_has_numbers_as_numbers() -> None:
    data = document(result())
    assert (data["schema"], data["version"]) == ("pvefi/boot", 1)
    assert data["verdict"] == {
        "outcome": "hand-off",
        "message": "the kernel proper got control, 2.61 s after the trampoline",
        "status": None,
    }
    assert data["memory_size"] == 512 << 20
    given = data["handoff"]
    assert given["path"] == {
        "decompressor": "bypassed",
        "kernel_start": "startup_64",
        "kernel_entry": 0x4C00000,
    }
    assert given["proof"]["slide"] == 0x3C00000
    assert given["proof"]["expected"] == given["proof"]["found"] == STARTUP_64.hex()
    assert given["registers"]["rip"] == 0x4C00000
    assert given["initrd"]["size"] == 0x100000
    assert given["configuration_tables"][0]["name"] == "ACPI_20_TABLE"
    assert given["memory_map"][0]["type"] == {
        "enum": "MemoryType",
        "value": 0,
        "name": "EfiReservedMemoryType",
    }
    assert all(row["agrees"] for row in given["maps"])
    assert given["boot_params"]["meanings"]["hdr.version"] == "boot protocol 2.15"


def test_json_counts_calls_and_keeps_the_last() -> None:
    calls = document(result())["calls"]
    assert (calls["count"], calls["refused"]) == (6, 3)
    assert {use["service"]: use["calls"] for use in calls["services"]}["LocateProtocol"] == 2
    assert calls["last"][-1]["service"] == "ExitBootServices"


def test_json_of_another_end_has_the_images_status() -> None:
    data = document(result(Outcome.EXITED, "x", EfiStatus.NOT_FOUND))
    assert data["verdict"]["status"] == {"value": 0x800000000000000E, "name": "EFI_NOT_FOUND"}
    assert data["handoff"] is None


def test_a_boot_by_somebody_else_has_no_calls_to_tell_of() -> None:
    nothing = result(Outcome.DIED, "gone", handoff=None, calls=(), calls_made=0, host_seconds=0.0)
    assert not [line for line in report(replace(nothing, profile="")) if "call" in line]
    assert "calls" in report(nothing)

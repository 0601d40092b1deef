# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi minimise` as a program: what it prints and writes, its exit statuses, and bad input."""

from __future__ import annotations

import json
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from build_docs import DOCS
from pvefi.cli.status import ExitStatus
from pvefi.evaluate.document import Table
from pvefi.evaluate.minimise.claim import Claimed
from pvefi.evaluate.minimise.tables import sections
from pvefi.report.json_node import Node
from pvefi.trace.values import Json
from tests.cli.test_inject import pvefi
from tests.conftest import Tool
from tests.docs.test_formats import unnamed
from tests.evaluate.minimise import programs

QUICK = ("--no-confirm", "--memory", "64M", "--jobs", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("minimise")
    for name in ("EITHER", "BOTH", "FAILS"):
        (made / f"{name.lower()}.efi").write_bytes(getattr(programs, name))
    return made


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    return pvefi("minimise", folder / "both.efi", *QUICK, "-o", folder / "small.json", "--json")


@pytest.fixture(scope="module")
def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    read = json.loads(done.stdout)
    assert isinstance(read, dict)
    return read


def test_the_document_says_what_is_needed(
    done: subprocess.CompletedProcess[str], document: dict[str, Any]
) -> None:
    assert (done.returncode, done.stderr) == (ExitStatus.OK, "")
    assert (document["schema"], document["version"], document["goal"]) == ("pvefi/minimise", 1, "exit=0")
    assert document["needed"] == ["AllocatePages", "AllocatePool"]
    assert document["confirmation"]["confirmed"] is None


def test_the_profile_that_is_written_boots_the_image_and_has_the_evidence(
    done: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert done.returncode == 0
    boot = ("boot", "--machine", "embedded", "--memory", "64M")
    assert pvefi(*boot, "--profile", folder / "small.json", folder / "both.efi").returncode == ExitStatus.OK
    written = json.loads((folder / "small.json").read_text())
    assert written["services"] == ["AllocatePages", "AllocatePool"]
    tried = {one["thing"] for one in written["evidence"]["trials"]}
    assert tried == {"AllocatePages", "AllocatePool", "Stall"}
    written["services"].remove("AllocatePool")
    (folder / "less.json").write_text(json.dumps(written))
    less = pvefi(*boot, "--profile", folder / "less.json", folder / "both.efi")
    assert (less.returncode, "EFI_UNSUPPORTED" in less.stderr) == (ExitStatus.GUEST_FAILED, True)


def test_what_people_read_says_the_same(folder: Path) -> None:
    told = pvefi("minimise", folder / "either.efi", *QUICK)
    assert (told.returncode, told.stderr) == (ExitStatus.OK, "")
    assert "Needed are 1 services and 0 protocols: Allocate" in told.stdout
    assert "Not confirmed on QEMU: it was not asked for." in told.stdout
    (row,) = [line for line in told.stdout.splitlines() if line.split()[:2] == ["Stall", "1"]]
    assert row.split()[2:4] == ["nothing", "nothing"]


def test_with_qemu_the_result_is_confirmed(folder: Path, tool: Tool) -> None:
    tool("qemu-system-x86_64")
    told = pvefi("minimise", folder / "both.efi", *QUICK[1:], "--json")
    confirmation = json.loads(told.stdout)["confirmation"]
    assert (confirmation["confirmed"], told.returncode) == (True, ExitStatus.OK)


def test_without_qemu_it_is_not_and_that_is_said(folder: Path) -> None:
    told = pvefi("minimise", folder / "both.efi", *QUICK[1:], environment={"PATH": "/nowhere"})
    assert told.returncode == ExitStatus.OK
    assert "Not confirmed on QEMU: " in told.stdout


def test_an_image_that_does_not_get_there_with_everything_is_status_1(folder: Path) -> None:
    told = pvefi("minimise", folder / "fails.efi", *QUICK)
    assert (told.returncode, told.stdout) == (ExitStatus.GUEST_FAILED, "")
    (line,) = told.stderr.splitlines()
    assert "the goal is not reached, though nothing lacks: exited: fails.efi ended with EFI_ABORTED" in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("none.efi",), "none.efi: "),
        (("both.efi", "--goal", "moon"), "expected a goal: handoff, userspace, or exit=STATUS"),
        (("both.efi", "--goal", "exit=EFI_GONE"), "expected a goal"),
        (("both.efi", "--goal", "userspace"), "expected a kernel for the goal userspace"),
        (("both.efi", "--profile", "none"), "expected a profile (minimal, linux)"),
        (("both.efi", "-o", "nowhere/small.json"), "expected a folder that is there"),
        (("both.efi", "-o", "."), "expected the name of a file to write, found a directory"),
        (("both.efi", "--initrd", "none"), "none: expected an initial ramdisk"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_status_2(folder: Path, words: tuple[str, ...], expected: str) -> None:
    image, *more = words
    told = pvefi("minimise", folder / image, *more)
    assert (told.returncode, told.stdout) == (ExitStatus.BAD_INPUT, "")
    (line,) = told.stderr.splitlines()
    assert expected in line


def test_the_page_names_every_field(document: dict[str, Any]) -> None:
    own = {name: value for name, value in document.items() if name != "profile"}
    names = {*own}
    for part in ("with_everything", "confirmation"):
        names |= own[part].keys()
    for part in ("uses", "trials"):
        names |= own[part][0].keys()
    assert own["claims"] == []  # of programs the page claims nothing
    names |= {one.name for one in fields(Claimed)}
    assert not unnamed("minimise.md", names)


def test_the_tables_are_made_of_the_document_alone(document: dict[str, Any]) -> None:
    (program,) = sections(Node(document, "a document"))
    claim: Json = {"thing": "GetTime", "claim": "not needed", "found": "needed", "holds": False}
    first, second = sections(Node({**document, "claims": [claim]}, "a document"))
    assert (program.name, first.name, second.name) == ("minimise", "minimise", "minimise-claims")
    headings = [part.headings for part in (*first.parts, *second.parts) if isinstance(part, Table)]
    assert headings[0][1:] == ("calls", "EFI_UNSUPPORTED", "EFI_NOT_FOUND", "in the profile")
    assert (DOCS / "minimise.md").is_file()

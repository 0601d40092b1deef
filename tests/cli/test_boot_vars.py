# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi boot --vars`: what it says of a store, and what it does to no store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pvefi.boot import Observer, boot
from pvefi.cli.status import ExitStatus
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.layout import Guid
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.status import EfiStatus
from tests.cli.test_boot import program, pvefi, returning
from tests.conftest import Tool
from tests.efi.varstore.disks import only_read
from tests.machines.made import Assembler
from tests.variables_against_ovmf.operations import SetVariable, wide
from tests.variables_against_ovmf.program import LINE_STATUS, SERIAL_PORT, build_program, read_outcomes


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "vars.fd"
    path.write_bytes(empty_store(OVMF_4M))
    return path


def test_a_store_that_can_only_be_read_is_said_and_the_guest_starts(tmp_path: Path, store: Path) -> None:
    with only_read(store) as there:
        done = pvefi(program(tmp_path, returning(0)), "--vars", there)
    assert done.returncode == ExitStatus.OK
    line = f"pvefi: {there}: cannot be written: what the guest changes of its variables is refused\n"
    assert done.stderr == line


@pytest.mark.parametrize(
    ("contents", "line"),
    [
        (empty_store(OVMF_4M)[:-1], "expected a variable store of 540672 bytes, found 540671"),
        (bytes(OVMF_4M.size), "expected a firmware volume"),
        (b"", "expected a variable store, found 0 bytes"),
    ],
)
def test_a_bad_store_is_refused_in_one_line_and_left_as_it_is(
    tmp_path: Path, store: Path, contents: bytes, line: str
) -> None:
    store.write_bytes(contents)
    before = hashlib.sha256(store.read_bytes()).digest()
    done = pvefi(program(tmp_path, returning(0)), "--vars", store)
    assert (done.returncode, done.stdout) == (ExitStatus.BAD_INPUT, "")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert hashlib.sha256(store.read_bytes()).digest() == before


def test_a_store_that_another_has_open_is_refused_and_the_other_keeps_it(tmp_path: Path, store: Path) -> None:
    with Edk2Store.open(store):
        done = pvefi(program(tmp_path, returning(0)), "--vars", store)
    assert (done.returncode, done.stdout) == (ExitStatus.BAD_INPUT, "")
    assert "found it in use (another pvefi or QEMU has it open)" in done.stderr


def test_a_trace_does_not_go_into_the_store(tmp_path: Path, store: Path) -> None:
    done = pvefi(program(tmp_path, returning(0)), "--vars", store, "--trace", store)
    assert (done.returncode, done.stdout) == (ExitStatus.BAD_INPUT, "")
    assert "expected a file to write the trace to, found the input itself" in done.stderr
    assert store.read_bytes() == empty_store(OVMF_4M)


def test_a_store_that_goes_while_the_guest_runs_is_said_once(tmp_path: Path, store: Path, tool: Tool) -> None:
    """The guest hears of each write that fails; whoever watches, of the first."""
    assemble = Assembler(tool("as"), tool("ld"))
    image = tmp_path / "program.efi"
    name, vendor = wide("Lost"), Guid.parse("605dab50-e046-4300-abb6-3dd810dd8b23")
    operations = [SetVariable(name, vendor, 7, data) for data in (b"one", b"two")]
    image.write_bytes(build_program(assemble, operations, port=SERIAL_PORT, status=LINE_STATUS))
    notices: list[str] = []
    said = bytearray()
    observer = Observer(
        console=lambda _: None,
        call=lambda _: None,
        stage=lambda text: store.unlink() if "has control" in text else None,
        serial=said.extend,
        notice=notices.append,
    )
    boot(prepare(BootOptions(image, EmbeddedMachine(), variables=store, timeout=60)), observer)
    assert [one.status for one in read_outcomes(bytes(said), operations)] == [EfiStatus.DEVICE_ERROR] * 2
    (notice,) = notices
    assert notice.startswith(f"the guest hears EFI_DEVICE_ERROR from SetVariable: {store}: ")

# SPDX-License-Identifier: GPL-2.0-or-later
"""The witness tells what the probe tells by other means, and its counter is the same in every exact run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pvefi.probe.cpio import archive, regular_file
from pvefi.probe.facts import ProbeFacts
from pvefi.probe.messages import kernel_messages
from pvefi.probe.witness import KERNEL_LOG, Witness, kernel_text, read_witness, witness_initrd
from pvefi.verdict import Outcome
from tests.conftest import RealFiles
from tests.qemu_boots.conftest import Booted, Boots
from tests.qemu_boots.test_entries import ends_well

BOOT_PARAMS = "/sys/kernel/boot_params"
QUIET = "console=ttyS0 quiet panic=-1"


def witnessed(booted: Booted) -> Witness:
    assert booted.result.verdict.outcome is Outcome.POWERED_OFF, booted.result.verdict
    witness = read_witness(booted.console)
    assert witness, booted.console[-2000:]
    assert (witness.end, witness.broken, witness.damaged) == ("poweroff", (), 0)
    return witness


@pytest.fixture(scope="module")
def both(corpus: RealFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an initrd in which are the probe, as /init, and the witness, as /wits."""
    program = witness_initrd()
    program = program[program.index(b"\x7fELF") :]
    path = tmp_path_factory.mktemp("both") / "initrd"
    added = archive([regular_file("wits", program, executable=True)])
    path.write_bytes(corpus.probe("cloud").read_bytes() + added)
    return path


@pytest.fixture(scope="module")
def booted(boots: Boots, corpus: RealFiles, both: Path) -> Booted:
    line = f"{QUIET} rdinit=/wits probe=facts,log"
    return boots(
        "", "", machine="microvm", exact=True, image=corpus.kernel("cloud"), initrd=both, arguments=line
    )


@pytest.fixture(scope="module")
def witness(booted: Booted) -> Witness:
    return witnessed(booted)


@pytest.fixture(scope="module")
def facts(boots: Boots, corpus: RealFiles, both: Path) -> ProbeFacts:
    line = f"{QUIET} rdinit=/init probe=facts,log"
    image = corpus.kernel("cloud")
    return ends_well(boots("", "", machine="microvm", exact=True, image=image, initrd=both, arguments=line))


def test_the_zero_page_is_byte_for_byte_what_the_probe_finds(witness: Witness, facts: ProbeFacts) -> None:
    assert witness.files[f"{BOOT_PARAMS}/data"] == facts.zero_page
    assert facts.setup_data is not None
    told = [
        (int(witness.files[f"{BOOT_PARAMS}/setup_data/{number}/type"], 0), data)
        for number in range(16)
        if (data := witness.files.get(f"{BOOT_PARAMS}/setup_data/{number}/data")) is not None
    ]
    assert told == [(one.type, one.data) for one in facts.setup_data]


def test_what_else_the_probe_finds_the_witness_tells_too(witness: Witness, facts: ProbeFacts) -> None:
    assert facts.system
    assert witness.files["/proc/version"].decode().strip() == facts.system.version
    assert witness.files["/proc/cmdline"].decode().strip() == facts.system.command_line.replace(
        "/init", "/wits"
    )
    tables = witness.files["/sys/firmware/acpi/tables/"].decode().split()
    assert sorted(set(tables) - {"data", "dynamic"}) == sorted(facts.system.acpi_tables)
    assert facts.efi
    assert sorted(witness.files["/sys/firmware/efi/"].decode().split()) == sorted(facts.efi.entries)
    assert int(witness.files["/sys/firmware/efi/runtime"], 0) == facts.efi.runtime_address
    assert tuple(witness.files["/proc/iomem"].decode().splitlines()) == facts.iomem
    assert facts.log
    log = kernel_messages(witness.files[KERNEL_LOG].decode().splitlines())
    ours, theirs = (
        [re.sub(r"\d+", "#", one.text) for one in messages if not re.search("/init|/wits", one.text)]
        for messages in (log, facts.log)
    )
    assert len(ours) > 100
    assert ours == theirs[: len(ours)]  # the probe comes to it later


def test_the_kernel_stands_where_its_list_of_resources_says(witness: Witness) -> None:
    place = kernel_text(witness.files)
    code = re.search(rb"([0-9a-f]+)-[0-9a-f]+ : Kernel code", witness.files["/proc/iomem"])
    assert place
    assert code
    assert place.physical_address == int(code[1], 16)


def test_the_counter_is_the_same_in_every_exact_run(
    boots: Boots, corpus: RealFiles, both: Path, booted: Booted, witness: Witness
) -> None:
    line = f"{QUIET} rdinit=/wits probe=facts,log"
    image = corpus.kernel("cloud")
    again = boots("", "", machine="microvm", exact=True, image=image, initrd=both, arguments=line)
    assert again.console == booted.console
    # It counts from before the trampoline, as the calls' own counts do from its first instruction.
    last = max(call.instructions or 0 for call in booted.calls if call.service == "ExitBootServices")
    assert witness.counter is not None
    assert 0 < last < witness.counter


@pytest.mark.parametrize(
    ("kernel", "entry", "machine"),
    [
        ("cloud-6.12", "linux64", "q35"),
        pytest.param("amd64", "pvh", "pc", marks=pytest.mark.full),
        pytest.param("cloud", "qemu-linux", "q35", marks=pytest.mark.full),
        pytest.param("cloud-6.12", "qemu-pvh", "q35", marks=pytest.mark.full),
    ],
)
def test_any_kernel_by_any_entry_has_it(
    boots: Boots, corpus: RealFiles, tmp_path: Path, kernel: str, entry: str, machine: str
) -> None:
    initrd = tmp_path / "witness.cpio"
    initrd.write_bytes(witness_initrd())
    image = corpus.kernel(kernel)
    witness = witnessed(
        boots("", "", entry=entry, machine=machine, image=image, initrd=initrd, arguments=QUIET)
    )
    assert image.name.removeprefix("vmlinuz-") in witness.files["/proc/version"].decode()
    assert len(witness.files[f"{BOOT_PARAMS}/data"]) == 4096
    assert kernel_text(witness.files)

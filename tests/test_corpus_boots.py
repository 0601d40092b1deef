# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole boots of real kernels and programs, from the EFI entry to the hand-off or the program's end."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pvefi.boot import Observer, boot
from pvefi.efi.profiles import PROFILES
from pvefi.entries import ENTRIES, BootInfo
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import OUTSIDE_PROFILE
from pvefi.verdict import BootResult, Handoff, Outcome
from tests.conftest import RealFiles
from tests.golden.traces import Golden

MIB = 1 << 20
KERNELS = ("cloud", "amd64", "cloud-6.12")
DECOMPRESSING = ("linux64", "linux32", "kexec")
SEED = 7
MINIMAL = "cloud-minimal"


@dataclass(frozen=True)
class Case:
    kernel: str
    memory_size: int
    large_initrd: bool
    kaslr: bool
    profile: str = "linux"
    entry: str = "efi"

    def __str__(self) -> str:
        initrd = "40MB-initrd" if self.large_initrd else "1MB-initrd"
        kaslr = "kaslr" if self.kaslr else "nokaslr"
        return f"{self.kernel}-{self.entry}-{self.memory_size // MIB}M-{initrd}-{kaslr}-{self.profile}"


PAIRWISE = [
    Case("cloud", 256 * MIB, large_initrd=True, kaslr=True),
    Case("cloud", 6144 * MIB, large_initrd=False, kaslr=True),
    Case("cloud", 6144 * MIB, large_initrd=True, kaslr=False, profile="minimal"),
    Case("cloud", 256 * MIB, large_initrd=False, kaslr=False),
    Case("cloud-6.12", 256 * MIB, large_initrd=True, kaslr=True),
    Case("cloud-6.12", 6144 * MIB, large_initrd=False, kaslr=False),
    Case("amd64", 6144 * MIB, large_initrd=True, kaslr=True),
    Case("cloud", 512 * MIB, large_initrd=False, kaslr=True, entry="efi-handover"),
    Case("cloud", 512 * MIB, large_initrd=True, kaslr=True, entry="linux64"),
    Case("cloud", 6144 * MIB, large_initrd=False, kaslr=False, entry="linux32"),
    Case("cloud", 256 * MIB, large_initrd=True, kaslr=False, entry="pvh"),
    Case("cloud-6.12", 6144 * MIB, large_initrd=True, kaslr=False, entry="efi-handover"),
    Case("cloud-6.12", 256 * MIB, large_initrd=False, kaslr=True, entry="linux64"),
    Case("cloud-6.12", 512 * MIB, large_initrd=True, kaslr=True, entry="linux32"),
    Case("cloud-6.12", 6144 * MIB, large_initrd=False, kaslr=True, entry="pvh"),
    Case("amd64", 512 * MIB, large_initrd=False, kaslr=False, entry="pvh"),
]


def every_case() -> Iterator[Case]:
    for kernel, memory, large, kaslr, entry in itertools.product(
        KERNELS, (256 * MIB, 512 * MIB, 6144 * MIB), (False, True), (False, True), ENTRIES
    ):
        for profile in PROFILES if entry == "efi" else ["linux"]:
            case = Case(kernel, memory, large, kaslr, profile, entry)
            if case not in PAIRWISE:
                yield case


def run(path: Path, **options: object) -> tuple[BootResult, str]:
    text: list[str] = []
    made = BootOptions(path, EmbeddedMachine(), timeout=240, **options)  # type: ignore[arg-type]  # by name
    result = boot(prepare(made), Observer(text.append, lambda _: None, lambda _: None))
    return result, "".join(text)


def handed_off(result: BootResult) -> Handoff:
    assert result.verdict.outcome is Outcome.HANDOFF, result.verdict
    assert result.handoff is not None
    return result.handoff


@pytest.fixture(scope="session")
def small_initrd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("initrd") / "small.img"
    path.write_bytes(random.Random(1).randbytes(MIB))
    return path


def check(case: Case, corpus: RealFiles, small_initrd: Path) -> None:
    initrd = corpus.file("netboot", "*/initrd.gz") if case.large_initrd else small_initrd
    command_line = "console=ttyS0" if case.kaslr else "console=ttyS0 nokaslr"
    result, _ = run(
        corpus.file(case.kernel, "boot/vmlinuz-*"),
        initrd=initrd,
        command_line=command_line,
        memory_size=case.memory_size,
        profile=PROFILES[case.profile],
        entry=case.entry,
    )
    handoff = handed_off(result)
    assert handoff.command_line == command_line
    assert handoff.initrd_sha256 == hashlib.sha256(initrd.read_bytes()).hexdigest()
    assert handoff.proof.slide % (2 * MIB) == 0
    assert handoff.registers["rsi"] == handoff.boot_params_address
    assert handoff.decompressor == ("entered" if case.entry in DECOMPRESSING else "bypassed")
    if case.entry == "pvh":
        assert (handoff.kernel_start, handoff.proof.slide) == ("PHYS32_ENTRY", 0)
    if not case.kaslr:
        assert handoff.proof.slide == 0
    params = BootParams.unpack(handoff.boot_params)
    usable = sum(entry.size for entry in params.memory_map if entry.type == 1)
    assert case.memory_size - 2 * MIB < usable <= case.memory_size
    if case.entry in ("linux64", "linux32", "pvh"):
        assert not handoff.memory_map
        assert not handoff.configuration_tables
        return
    runtime = [one for one in handoff.memory_map if one.type == MemoryType.RUNTIME_SERVICES_CODE]
    assert bool(runtime) is PROFILES[case.profile].stays


@pytest.mark.parametrize("case", PAIRWISE, ids=str)
def test_a_debian_kernel_reaches_its_hand_off(case: Case, corpus: RealFiles, small_initrd: Path) -> None:
    check(case, corpus, small_initrd)


@pytest.mark.full
@pytest.mark.parametrize("case", list(every_case()), ids=str)
def test_every_kernel_reaches_its_hand_off_in_every_setting(
    case: Case, corpus: RealFiles, small_initrd: Path
) -> None:
    check(case, corpus, small_initrd)


@pytest.mark.parametrize("entry", ["efi", "linux64"])
def test_one_seed_gives_one_boot_to_the_last_instruction(entry: str, corpus: RealFiles) -> None:
    kernel = corpus.file("cloud", "boot/vmlinuz-*")
    first, second = (run(kernel, seed=7, count=True, entry=entry)[0] for _ in range(2))
    other, _ = run(kernel, seed=8, entry=entry)
    assert first.instructions == second.instructions
    assert [call.instructions for call in first.calls] == [call.instructions for call in second.calls]
    assert handed_off(first).registers == handed_off(second).registers
    assert handed_off(first).proof != handed_off(other).proof
    assert first.instructions_to_image is not None
    assert first.instructions_to_image < 2000


def test_the_kernel_finds_the_tables_that_it_was_given(corpus: RealFiles) -> None:
    result, text = run(corpus.file("cloud", "boot/vmlinuz-*"), command_line="")
    tables = [table.guid for table in handed_off(result).configuration_tables]
    assert guids.PVEFI_HYPERVISOR_INFORMATION in tables
    assert guids.RT_PROPERTIES_TABLE in tables
    assert guids.LINUX_RANDOM_SEED in tables
    assert "EFI stub: Loaded initrd" not in text


def test_setup_data_carries_what_the_configuration_table_carries(corpus: RealFiles) -> None:
    kernel = corpus.file("cloud", "boot/vmlinuz-*")
    result, _ = run(kernel, entry="linux64", boot_info=BootInfo.SETUP_DATA)
    params = BootParams.unpack(handed_off(result).boot_params)
    assert params.hdr.setup_data
    without, _ = run(kernel, entry="linux32")
    assert not BootParams.unpack(handed_off(without).boot_params).hdr.setup_data


@pytest.fixture(scope="session")
def minimal_boot(corpus: RealFiles) -> BootResult:
    """A boot as README tells of it: profile minimal, no initrd."""
    return run(corpus.file("cloud", "boot/vmlinuz-*"), profile=PROFILES["minimal"], seed=SEED)[0]


def test_the_minimal_profile_serves_only_what_it_names(minimal_boot: BootResult) -> None:
    handed_off(minimal_boot)
    boot_or_runtime = [call for call in minimal_boot.calls if "." not in call.service]
    answered = {call.service for call in boot_or_runtime if call.status == EfiStatus.SUCCESS}
    assert answered <= PROFILES["minimal"].services
    for call in boot_or_runtime:
        outside = call.service not in PROFILES["minimal"].services
        assert (call.status == EfiStatus.UNSUPPORTED and OUTSIDE_PROFILE in call.why) is outside, call


def test_the_minimal_profile_names_nothing_that_the_kernel_does_without(
    corpus: RealFiles, minimal_boot: BootResult
) -> None:
    called = {call.service for call in minimal_boot.calls}
    # Whatever version the archive has of this kernel.
    assert {"AllocatePages", "GetMemoryMap", "HandleProtocol", "ExitBootServices"} <= called
    assert called <= PROFILES["minimal"].services | {"EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString"}
    if corpus.package("cloud") == Golden(MINIMAL).recorded_of():
        assert called == PROFILES["minimal"].services - {"FreePages"}
        readme = " ".join((Path(__file__).parents[1] / "README.md").read_text("utf-8").split())
        claim = f"makes {len(minimal_boot.calls)} calls to {len(called)} boot and runtime services"
        assert claim in readme


def compare(golden: Golden, booted: str, result: BootResult, request: pytest.FixtureRequest) -> None:
    handed_off(result)
    if request.config.getoption("--renew-golden"):
        golden.renew(booted, result.calls)
    difference = golden.difference(booted, result.calls)
    if difference:
        pytest.fail(difference, pytrace=False)


def test_the_golden_trace_of_a_boot_without_an_initrd(
    corpus: RealFiles, minimal_boot: BootResult, request: pytest.FixtureRequest
) -> None:
    compare(Golden(MINIMAL), corpus.package("cloud"), minimal_boot, request)


def test_the_golden_trace_of_a_boot_with_an_initrd(
    corpus: RealFiles, small_initrd: Path, request: pytest.FixtureRequest
) -> None:
    result, _ = run(
        corpus.file("cloud", "boot/vmlinuz-*"), initrd=small_initrd, command_line="console=ttyS0", seed=SEED
    )
    compare(Golden("cloud-linux-initrd"), corpus.package("cloud"), result, request)


ENDS = {
    "HashTool.efi": (Outcome.BLOCKED, "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey"),
    "HelloWorld.efi": (Outcome.BLOCKED, "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey"),
    "KeyTool.efi": (Outcome.BLOCKED, "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey"),
    "Loader.efi": (Outcome.EXITED, "EFI_UNSUPPORTED"),
    "LockDown.efi": (Outcome.EXITED, "EFI_SUCCESS"),
    "ReadVars.efi": (Outcome.EXITED, "EFI_SUCCESS"),
    # The compiler made a store to NULL and a trap of its source: it cannot end otherwise.
    "SetNull.efi": (Outcome.FAULTED, "page fault at SetNull.efi+"),
    "ShimReplace.efi": (Outcome.BLOCKED, "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey"),
    "UpdateVars.efi": (Outcome.EXITED, "EFI_INVALID_PARAMETER"),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_efitools_program_ends_by_itself_or_by_what_the_profile_lacks(
    name: str, corpus: RealFiles
) -> None:
    result, _ = run(corpus.file("efitools", name))
    outcome, words = ENDS[name]
    assert result.verdict.outcome is outcome
    assert words in result.verdict.message


def test_no_efitools_program_is_left_out(corpus: RealFiles) -> None:
    assert {path.name for path in corpus.files("efitools")} == set(ENDS)

# SPDX-License-Identifier: GPL-2.0-or-later
"""What is no kernel with a probe: EFI programs, Debian's installer, and guests on KVM."""

from __future__ import annotations

import os

import pytest

from pvefi.boot import Observer, boot
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.probe.installer import MEMORY_MIB, installer_screens
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Outcome
from tests.conftest import RealFiles
from tests.qemu_boots.conftest import Boots

PROGRAMS = ("HelloWorld.efi", "ReadVars.efi", "SetNull.efi")


@pytest.mark.parametrize("machine", ["q35", "pc", "microvm"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_as_it_does_on_the_embedded_machine(
    boots: Boots, corpus: RealFiles, name: str, machine: str
) -> None:
    image = corpus.file("efitools", name)
    here = BootOptions(image, EmbeddedMachine(), timeout=60)
    expected = boot(prepare(here), Observer(lambda _: None, lambda _: None, lambda _: None))
    found = boots("", "", image=image, machine=machine)
    assert found.result.verdict == expected.verdict


def test_debians_installer_asks_for_a_language(boots: Boots, corpus: RealFiles) -> None:
    booted = boots(
        "",
        "",
        image=corpus.file("netboot", "*/linux"),
        initrd=corpus.file("netboot", "*/initrd.gz"),
        arguments="console=ttyS0",
        memory=MEMORY_MIB,
        until=lambda text: bool(installer_screens(text)),
    )
    assert installer_screens(booted.console) == ("Select a language",)
    assert booted.result.verdict.outcome is Outcome.LEFT


@pytest.mark.parametrize("name", PROGRAMS[:2])
def test_a_program_runs_on_kvm_too(boots: Boots, corpus: RealFiles, name: str) -> None:
    # Also where KVM itself is emulated, and knows few instructions: no fldcw, no ldmxcsr.
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm is missing, or not for us")
    image = corpus.file("efitools", name)
    expected = boots("", "", image=image)
    assert boots("", "", image=image, accelerator="kvm").result.verdict == expected.result.verdict


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_a_program_that_waits_for_a_key_gets_the_one_that_is_piped_in(
    boots: Boots, corpus: RealFiles, accelerator: str
) -> None:
    if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm is missing, or not for us")
    image = corpus.file("efitools", "HelloWorld.efi")
    booted = boots("", "", image=image, accelerator=accelerator, typed=b"\n")
    assert booted.result.verdict.outcome is Outcome.EXITED
    assert booted.result.verdict.status == EfiStatus.SUCCESS
    read = [one for one in booted.calls if one.service.endswith(".ReadKeyStroke")]
    assert [one.status for one in read][-1] == EfiStatus.SUCCESS


def test_a_program_waits_in_vain_where_nobody_can_type(corpus: RealFiles) -> None:
    options = BootOptions(corpus.file("efitools", "HelloWorld.efi"), EmbeddedMachine(), timeout=60)
    result = boot(prepare(options), Observer(lambda _: None, lambda _: None, lambda _: None))
    assert result.verdict.outcome is Outcome.BLOCKED

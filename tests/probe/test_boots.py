# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe in QEMU without pvefi: by QEMU's own loader, and by OVMF, which sets what a boot is held to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from probe import KERNELS
from pvefi.probe.facts import ProbeFacts
from pvefi.probe.messages import efi_messages, efi_warnings, normalised
from pvefi.probe.reading import probe_facts
from tests.conftest import RealFiles
from tests.ovmf import ovmf_flash

Tool = Callable[[str], str]
SECONDS = 180
ALL_KERNELS = [
    "cloud",
    *(pytest.param(name, marks=pytest.mark.full) for name in KERNELS if name != "cloud"),
]


def boot(tool: Tool, corpus: RealFiles, kernel: str, words: str, *options: str) -> ProbeFacts:
    """Boot a kernel with the probe; QEMU ends when the guest powers itself off."""
    initrd = corpus.probe(kernel)
    command = [
        *(tool("qemu-system-x86_64"), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-accel", "tcg", "-m", "512", "-smp", "2", "-serial", "stdio", *options),
        *("-kernel", str(corpus.kernel(kernel)), "-initrd", str(initrd)),
        *("-append", f"console=ttyS0 panic=-1 probe={words}"),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"not found" not in done.stdout, done.stdout.decode("latin-1")
    return probe_facts(done.stdout)


def ovmf(corpus: RealFiles, folder: Path) -> list[str]:
    """Return QEMU's options for OVMF with a variable store of its own in `folder`."""
    return ["-machine", "q35", *ovmf_flash(corpus, folder / "store.fd")]


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_a_boot_without_efi_says_so(corpus: RealFiles, tool: Tool, tmp_path: Path, kernel: str) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    drive = ("-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=disk")
    facts = boot(tool, corpus, kernel, "facts,log,devices,efivars,parallel,count", "-machine", "q35", *drive)
    assert facts.boot.end == "poweroff"
    assert facts.efi
    assert (facts.efi.present, facts.efi.runtime_map) == (False, ())
    assert facts.variables
    assert not facts.variables.mounted
    assert facts.system
    assert facts.system.cpus_online == "0-1"
    assert 400 << 20 < facts.system.memory_size < 512 << 20
    assert facts.system.command_line.startswith("console=ttyS0 panic=-1 probe=facts")
    assert facts.blocks
    assert [(block.name, block.size) for block in facts.blocks] == [("vda", 1 << 20)]
    assert facts.zero_page
    assert len(facts.zero_page) == 4096
    assert facts.zero_page[0x202:0x206] == b"HdrS"
    assert facts.iomem
    assert any(line.endswith("System RAM") for line in facts.iomem)
    assert facts.memory_map
    assert facts.log
    assert any(message.text.startswith("Linux version 6.") for message in facts.log)
    assert facts.clock
    assert abs(facts.clock.seconds - (facts.clock.rtc_seconds or 0)) < 5


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_under_ovmf_every_step_with_variables_is_as_uefi_has_it(
    corpus: RealFiles, tool: Tool, tmp_path: Path, kernel: str
) -> None:
    words = "efi,zeropage,messages,efivars,parallel"
    facts = boot(tool, corpus, kernel, words, *ovmf(corpus, tmp_path))
    assert facts.efi
    assert (facts.efi.present, facts.efi.platform_size) == (True, 64)
    assert {"ACPI20", "SMBIOS"} <= set(facts.efi.system_tables)
    assert facts.variables
    assert facts.variables.mounted
    assert {name.rpartition("-8be4df61")[0] for name in facts.variables.names} >= {"BootOrder", "SecureBoot"}
    value = {step.name: step.value for step in facts.variables.steps}
    refused = [step.name for step in facts.variables.steps if not step.done]
    assert (value["create"], value["overwrite"]) == (b"first", b"second, longer")
    assert value["append"] == b"second, longer, extended"
    assert (value["delete"], value["delete-by-attributes"], value["delete-large"]) == (None, None, None)
    assert value["create-large"] == b"".join(b"%010d" % number for number in range(300))
    assert refused == ["create-volatile"]
    assert facts.variables.left == ()
    assert facts.parallel
    assert facts.parallel.wrong == (0, 0)
    assert facts.messages
    assert efi_warnings(facts.messages) == ()
    texts = [normalised(message.text) for message in efi_messages(facts.messages)]
    assert any(text.endswith("by EDK II") for text in texts)


@pytest.mark.full
def test_a_variable_outlives_the_machine_in_its_store(corpus: RealFiles, tool: Tool, tmp_path: Path) -> None:
    firmware = ovmf(corpus, tmp_path)
    counts = [boot(tool, corpus, "cloud", "count", *firmware).count for _ in range(2)]
    assert [count.before for count in counts if count] == [0, 1]

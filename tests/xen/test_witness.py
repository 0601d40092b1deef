# SPDX-License-Identifier: GPL-2.0-or-later
"""The witness is the first process of domUs, too, and says on Xen's console what their kernels were given."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.probe.witness import KERNEL_LOG, kernel_text, read_witness, witness_initrd
from tests.conftest import RealFiles
from tests.xen.boots import NATIVE, SECONDS, Booted, domains
from xen_jobs import Dom0


@pytest.mark.full
@pytest.mark.parametrize("entry", ["efi", "xen-pv"])
def test_a_domain_tells_what_its_kernel_was_given(
    dom0: Dom0, corpus: RealFiles, tmp_path: Path, entry: str
) -> None:
    initrd = tmp_path / "witness.cpio"
    initrd.write_bytes(witness_initrd())
    command = ("boot", "--machine", "xen", "--json", "--entry", entry, *NATIVE, "--memory", "128M")
    words = ("--initrd", dom0.give(initrd), "--cmdline", "console=hvc0 quiet panic=-1")
    job = dom0.pvefi(
        *command, "--timeout", SECONDS, *words, dom0.give(corpus.kernel("cloud")), seconds=SECONDS + 60
    )
    booted = Booted(job.wait())
    assert booted.outcome == "powered off", booted.end
    witness = read_witness(booted.console)
    assert witness, booted.end
    assert (witness.end, witness.broken, witness.damaged) == ("poweroff", (), 0)
    assert witness.files["/sys/hypervisor/type"] == b"xen\n"
    assert len(witness.files["/sys/kernel/boot_params/data"]) == 4096
    assert b"Hypervisor detected: Xen" in witness.files[KERNEL_LOG]
    assert ("/sys/firmware/efi/runtime" in witness.files) == (entry == "efi")
    assert kernel_text(witness.files)
    assert domains(dom0) == []

# SPDX-License-Identifier: GPL-2.0-or-later
"""However a domU ends, pvefi says so in one line, with its exit status, and leaves no domain behind."""

from __future__ import annotations

import pytest

from tests.conftest import RealFiles
from tests.xen.boots import HELD, Booted, Boots, domains, wait_until
from xen_jobs import Dom0, JobEnd

GUID = "cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0"


def last_line(end: JobEnd) -> str:
    return end.errors.splitlines()[-1]


def test_a_guest_that_resets_itself_starts_anew_with_its_variables(dom0: Dom0, boots: Boots) -> None:
    again = f"[ $(tail -c +5 $efivars/PvefiProbeCount-{GUID}) -gt 1 ] || reboot -f"
    booted = boots(dom0, "cloud", "count,script,poweroff", script={"again": again})
    assert booted.outcome == "powered off", booted.end
    assert booted.document["restarts"] == 1
    assert [one.count.before for one in booted.boots if one.count] == [0, 1]
    assert domains(dom0) == []


def test_a_panic_is_the_verdict(dom0: Dom0, boots: Boots) -> None:
    booted = boots(dom0, "cloud", "panic", "--no-reboot")
    assert (booted.outcome, booted.end.status) == ("panicked", 1)
    assert last_line(booted.end).startswith("pvefi: panicked")
    assert domains(dom0) == []


def test_a_domain_that_somebody_destroys_is_the_verdict(dom0: Dom0, boots: Boots) -> None:
    job = boots.start(dom0, "cloud", "hold")
    wait_until(job, lambda text: HELD in text)
    (name,) = domains(dom0)
    dom0.done(["xl", "destroy", name])
    booted = Booted(job.wait())
    assert (booted.outcome, booted.end.status) == ("died", 3)
    assert last_line(booted.end).startswith("pvefi: ")
    assert domains(dom0) == []


@pytest.mark.parametrize(("words", "status"), [(("--memory", "8G"), 3), (("--until", "handoff"), 2)])
def test_what_cannot_be_is_one_line_and_leaves_no_domain(
    dom0: Dom0, boots: Boots, words: tuple[str, ...], status: int
) -> None:
    end = boots(dom0, "cloud", "poweroff", *words).end
    assert (end.status, end.stdout) == (status, b"")
    assert end.errors.startswith("pvefi: ")
    assert end.errors.count("\n") == 1
    assert domains(dom0) == []


def test_without_xenstored_a_boot_ends_with_one_line(dom0: Dom0, boots: Boots) -> None:
    dom0.done("kill $(cat /run/xenstored.pid)")
    end = boots(dom0, "cloud", "poweroff").end
    assert end.status == 3
    assert end.errors.startswith("pvefi: ")
    assert end.errors.count("\n") == 1


def test_kexec_in_a_guest_ends_in_a_soft_reset_which_is_xen_s_to_do(
    dom0: Dom0, boots: Boots, corpus: RealFiles
) -> None:
    # Linux arch/x86/xen/enlighten_hvm.c, xen_hvm_shutdown(): a kexec asks Xen for SHUTDOWN_soft_reset.
    load = "kexec {} -l /kernel --initrd=/init --reuse-cmdline && cat /sys/kernel/kexec_loaded"
    script = {
        "kexec_load": f"{load.format('-c')}; kexec -u",
        "kexec_file_load": load.format("-s"),
        "go": "kexec -e",
    }
    files = {"kernel": corpus.kernel("cloud").read_bytes()}
    booted = boots(
        dom0, "cloud", "script,poweroff", memory=256, script=script, files=files, programs=("kexec",)
    )
    (facts,) = booted.boots
    found = {name: (one.status, one.output) for name, one in facts.script.items()}
    assert found == {"kexec_load": (0, b"1\n"), "kexec_file_load": (0, b"1\n")}, facts.script
    assert booted.outcome == "died"
    assert "soft reset" in last_line(booted.end)
    assert domains(dom0) == []

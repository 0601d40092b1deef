# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that serves a domU is killed while it does, by `kill -9`: on a real Xen, with a real kernel."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pvefi.probe.facts import ProbeFacts
from pvefi.probe.initrd import script_files
from pvefi.probe.lines import probe_boots
from pvefi.probe.reading import read_facts
from tests.xen.boots import NATIVE, Boots, domains
from xen_jobs import Dom0, JobEnd

SECONDS = 400.0
VARIABLE = "Lost-210be57c-9849-4fc7-a635-e6382d1aec27"
SCRIPT = {
    "write": rf"printf '\7\0\0\0kept' >$efivars/{VARIABLE}; tail -c +5 $efivars/{VARIABLE}",
    "again": f"umount $efivars && mount -t efivarfs none $efivars && tail -c +5 $efivars/{VARIABLE}",
}


def killed(dom0: Dom0, boots: Boots, *moments: str) -> JobEnd:
    """Return the end of a boot of which at each moment, such as 40-before, a process is killed."""
    mark = f"/run/{'-'.join(moments)}"
    return dom0.start(
        [
            *("python3", dom0.give(Path(__file__).with_name("dying.py")), ",".join(moments), mark),
            *("boot", "--machine", "xen", "--json", *NATIVE, "--memory", "128M"),
            *("--initrd", boots.initrd(dom0, "cloud", (), script_files(SCRIPT))),
            *("--cmdline", "console=hvc0 quiet panic=-1 probe=script,poweroff"),
            dom0.give(boots.kernel("cloud")),
        ],
        seconds=SECONDS,
        environment={"PYTHONPATH": "/opt"},
    ).wait()


def deaths(end: JobEnd) -> int:
    return len(
        re.findall(r"the process that served it was killed by SIGKILL; another one goes on", end.errors)
    )


def facts(end: JobEnd) -> ProbeFacts:
    (text,) = probe_boots(end.stderr)
    return read_facts(text)


@pytest.mark.parametrize(
    "moments",
    [
        ("50-before", "64-after"),
        pytest.param(("50-before", "54-after", "60-before", "64-after"), marks=pytest.mark.full),
    ],
    ids=len,
)
def test_after_exit_boot_services_the_guest_goes_on_and_keeps_its_variables(
    dom0: Dom0, boots: Boots, moments: tuple[str, ...]
) -> None:
    end = killed(dom0, boots, *moments)
    assert (end.status, deaths(end)) == (0, len(moments)), str(end)
    assert json.loads(end.stdout)["verdict"]["outcome"] == "powered off"
    assert facts(end).script["again"].output == b"kept"
    assert domains(dom0) == []


def test_before_that_the_image_ends_in_order_and_the_verdict_says_why(dom0: Dom0, boots: Boots) -> None:
    end = killed(dom0, boots, "20-before")
    assert (end.status, deaths(end)) == (3, 1), str(end)
    verdict = json.loads(end.stdout)["verdict"]
    assert verdict["outcome"] == "died"
    assert "before ExitBootServices" in verdict["message"]
    assert domains(dom0) == []


@pytest.mark.full
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("doorbell", range(1, 80))
def test_no_call_of_a_boot_is_one_too_many(dom0: Dom0, boots: Boots, doorbell: int, moment: str) -> None:
    end = killed(dom0, boots, f"{doorbell}-{moment}")
    assert deaths(end) <= 1
    assert json.loads(end.stdout)["verdict"]["outcome"] in ("powered off", "died"), str(end)
    assert domains(dom0) == []


def test_when_both_are_killed_the_domain_waits_for_whoever_takes_it_over(dom0: Dom0, boots: Boots) -> None:
    job = dom0.start(
        [
            *("pvefi", "boot", "--machine", "xen", *NATIVE, "--memory", "128M"),
            *("--initrd", boots.initrd(dom0, "cloud", (), {}), "--cmdline"),
            *("console=hvc0 quiet panic=-1 probe=hold", dom0.give(boots.kernel("cloud"))),
        ],
        seconds=SECONDS,
    )
    while b"PVEFI-PROBE end hold" not in job.output():
        assert not job.ended, job.wait()
    job.signal(9)
    job.wait()
    (name,) = domains(dom0)
    found = dom0.done("pgrep -f 'pvefi boot' || true")
    assert not found.strip(), "a worker outlives its supervisor"
    takes_over = dom0.start(["pvefi", "serve", name], seconds=SECONDS)
    while b"takes it over" not in takes_over.errors():
        assert not takes_over.ended, takes_over.wait()
    dom0.done(["xl", "destroy", name])
    end = takes_over.wait()
    assert end.status == 0, str(end)
    assert "somebody has destroyed it" in end.errors
    assert domains(dom0) == []

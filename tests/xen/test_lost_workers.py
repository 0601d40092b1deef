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
from tests.xen.boots import NATIVE, Boots, console_of, domains, wait_until
from xen_jobs import Dom0, Job, JobEnd

SECONDS = 400.0
VARIABLE = "Lost-210be57c-9849-4fc7-a635-e6382d1aec27"
SCRIPT = {
    "write": rf"printf '\7\0\0\0kept' >$efivars/{VARIABLE}; tail -c +5 $efivars/{VARIABLE}",
    "again": f"umount $efivars && mount -t efivarfs none $efivars && tail -c +5 $efivars/{VARIABLE}",
}
WRITTEN = b"the variable is written"
PATIENT = {
    "write": SCRIPT["write"],
    "wait": f"echo '{WRITTEN.decode()}' >/dev/console; sleep 5",
    "again": f"until umount $efivars; {SCRIPT['again'].partition(' && ')[2]}; do sleep 1; done",
}
"""The same of a guest that reads again and again: the call under way when a process is lost fails."""


def killed(dom0: Dom0, boots: Boots, *moments: str) -> JobEnd:
    """Return the end of a boot of which at each moment, as dying.py has them, a process is killed."""
    mark = f"/run/mark-{abs(hash(moments)):x}"
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


def facts(text: bytes) -> ProbeFacts:
    (boot,) = probe_boots(text)
    return read_facts(boot)


@pytest.mark.parametrize(
    "moments",
    [
        ("runtime:GetVariable:1:before", "runtime:SetVariable:2:after"),
        pytest.param(
            (
                *("runtime:SetVirtualAddressMap:1:after", "runtime:GetVariable:1:before"),
                *("runtime:SetVariable:2:after", "runtime:GetNextVariableName:2:after"),
            ),
            marks=pytest.mark.full,
        ),
    ],
    ids=len,
)
def test_after_exit_boot_services_the_guest_goes_on_and_keeps_its_variables(
    dom0: Dom0, boots: Boots, moments: tuple[str, ...]
) -> None:
    end = killed(dom0, boots, *moments)
    assert (end.status, deaths(end)) == (0, len(moments)), str(end)
    assert json.loads(end.stdout)["verdict"]["outcome"] == "powered off"
    assert facts(end.stderr).script["again"].output == b"kept"
    assert domains(dom0) == []


def test_before_that_the_image_ends_in_order_and_the_verdict_says_why(dom0: Dom0, boots: Boots) -> None:
    end = killed(dom0, boots, "boot:GetMemoryMap:1:before")
    assert (end.status, deaths(end)) == (3, 1), str(end)
    verdict = json.loads(end.stdout)["verdict"]
    assert verdict["outcome"] == "died"
    assert "before ExitBootServices" in verdict["message"]
    assert domains(dom0) == []


@pytest.mark.full
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 80, 6))
def test_no_call_of_a_boot_is_one_too_many(dom0: Dom0, boots: Boots, call: int, moment: str) -> None:
    end = killed(dom0, boots, f"any:call:{call}:{moment}")
    assert deaths(end) <= 1
    assert json.loads(end.stdout)["verdict"]["outcome"] in ("powered off", "died"), str(end)
    assert domains(dom0) == []


def guest_without_pvefi(dom0: Dom0, boots: Boots) -> str:
    """Return the name of a domain in user space, with calls before it, all of whose pvefi has been killed."""
    job = boots.start(dom0, "cloud", "script,poweroff", script=PATIENT, preloaded=False)
    wait_until(job, lambda text: WRITTEN in text)
    (name,) = domains(dom0)
    job.signal(9)
    assert job.wait().status == -9
    found = dom0.done("pgrep -f 'pvefi boot' || true")
    assert not found.strip(), "a worker outlives its supervisor"
    return name


def takes_over(dom0: Dom0, name: str, *, preloaded: bool) -> Job:
    job = (
        dom0.pvefi("serve", name, seconds=SECONDS)
        if preloaded
        else dom0.start(["pvefi", "serve", name], seconds=SECONDS)
    )
    wait_until(job, lambda text: b"takes it over" in text)
    return job


def test_when_both_are_killed_serve_takes_over_and_again_after_it_was_ended(dom0: Dom0, boots: Boots) -> None:
    name = guest_without_pvefi(dom0, boots)
    first = takes_over(dom0, name, preloaded=False)
    first.signal(15)
    assert first.wait().status == 143
    assert domains(dom0) == [name]
    end = takes_over(dom0, name, preloaded=True).wait()
    assert end.status == 0, str(end)
    assert facts(console_of(dom0, name)).script["again"].output == b"kept"
    assert domains(dom0) == []


@pytest.mark.full
def test_with_all_of_pvefi_killed_the_domain_can_be_destroyed(dom0: Dom0, boots: Boots) -> None:
    name = guest_without_pvefi(dom0, boots)
    dom0.done(["xl", "destroy", name])
    assert domains(dom0) == []

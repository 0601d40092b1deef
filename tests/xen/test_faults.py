# SPDX-License-Identifier: GPL-2.0-or-later
"""pvefi's processes are killed while a domU runs: the guest goes on, with its variables, or can be ended."""

from __future__ import annotations

from pvefi.probe.lines import probe_boots
from pvefi.probe.reading import read_facts
from tests.qemu_boots.test_entries import keeps_variables
from tests.xen.boots import Boots, domains, wait_until
from xen_jobs import Dom0, Job

WORKER = "$(grep -l PVEFI_WORKER_OF= /proc/[0-9]*/environ 2>/dev/null | head -n 1 | cut -d/ -f3)"
"""The worker's process number; the job itself is the supervisor."""


def guest_in_user_space(dom0: Dom0, boots: Boots) -> Job:
    """Boot by the real command, with its supervisor, to where the probe is about to change variables."""
    script = {"wait": "sleep 5"}
    job = boots.start(dom0, "cloud", "script,efivars,poweroff", script=script, preloaded=False)
    wait_until(job, lambda text: b"PVEFI-PROBE up" in text)
    return job


def test_a_worker_that_is_killed_is_followed_by_another_and_the_guest_sees_nothing_of_it(
    dom0: Dom0, boots: Boots
) -> None:
    job = guest_in_user_space(dom0, boots)
    dom0.done(f"kill -9 {WORKER}")
    end = job.wait()
    assert end.status == 0, end
    (text,) = probe_boots(end.stderr)
    keeps_variables(read_facts(text).variables)
    assert domains(dom0) == []


def test_with_all_of_pvefi_killed_the_domain_is_taken_over_by_serve(dom0: Dom0, boots: Boots) -> None:
    job = guest_in_user_space(dom0, boots)
    (name,) = domains(dom0)
    job.signal(9)  # its worker dies with it
    assert job.wait().status == -9
    end = dom0.pvefi("serve", name).wait()
    assert end.status == 0, end
    log = dom0.run(["cat", f"/var/log/xen/console/guest-{name}.log"]).stdout
    (text,) = probe_boots(log)
    keeps_variables(read_facts(text).variables)
    assert domains(dom0) == []


def test_with_all_of_pvefi_killed_the_domain_can_be_destroyed(dom0: Dom0, boots: Boots) -> None:
    job = guest_in_user_space(dom0, boots)
    (name,) = domains(dom0)
    job.signal(9)
    assert job.wait().status == -9
    dom0.done(["xl", "destroy", name])
    assert domains(dom0) == []

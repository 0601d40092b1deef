# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi serve` is the EFI of domains that xl has made, paused, with the trampoline as their kernel."""

from __future__ import annotations

import json
import time
from typing import Any

from pvefi.probe.lines import probe_boots
from pvefi.probe.reading import read_facts
from tests.qemu_boots.test_entries import keeps_variables
from tests.xen.boots import HELD, SECONDS, STEP, Boots, console_of, domains
from xen_jobs import Dom0, Job

TRAMPOLINE = "/run/trampoline"


def make(dom0: Dom0, name: str, *lines: str, type_: str = "pvh") -> None:
    """Have xl make a domain of 128 MiB, paused."""
    config = (f'name = "{name}"', f'type = "{type_}"', "memory = 128", 'tsc_mode = "native"', *lines)
    (dom0.folder / f"{name}.cfg").write_text("\n".join(config) + "\n")
    dom0.done(["xl", "create", "-q", "-p", f"/host/{name}.cfg"])


def events(job: Job) -> list[dict[str, Any]]:
    """Return what a serve has told by --json so far."""
    return [
        json.loads(line) for line in job.output().decode().splitlines(keepends=True) if line.endswith("\n")
    ]


def wait_for(dom0: Dom0, name: str, text: bytes) -> None:
    """Wait until a domain has written a text to its console."""
    end = time.monotonic() + SECONDS
    while text not in console_of(dom0, name):
        assert time.monotonic() < end, (name, text)
        time.sleep(STEP)


def refused(dom0: Dom0, *words: str) -> str:
    """Return the line by which serving is refused, as bad input: the last of what is told."""
    end = dom0.pvefi("serve", *words).wait()
    assert (end.status, end.stdout) == (2, b""), str(end)
    return end.errors.splitlines()[-1]


def test_what_is_no_domain_with_the_trampoline_is_refused(dom0: Dom0, boots: Boots) -> None:
    kernel = dom0.give(boots.kernel("cloud"))
    make(dom0, "legacy", f'kernel = "{kernel}"', type_="pv")
    make(dom0, "other", f'kernel = "{kernel}"')
    for name in ("legacy", "other", "nobody"):
        assert name in refused(dom0, name, "--kernel", kernel)
    for name in ("legacy", "other"):
        dom0.done(["xl", "destroy", name])


def test_one_process_is_the_efi_of_two_domains_until_one_ends_and_the_other_is_destroyed(
    dom0: Dom0, boots: Boots
) -> None:
    kernel = dom0.give(boots.kernel("cloud"))
    ramdisk = f'ramdisk = "{boots.initrd(dom0, "cloud", (), {})}"'
    assert dom0.pvefi("serve", "--trampoline", TRAMPOLINE).wait().status == 0
    for name, words in (("ends", "efi,efivars,poweroff"), ("stays", "hold")):
        make(
            dom0,
            name,
            f'kernel = "{TRAMPOLINE}"',
            ramdisk,
            f'cmdline = "console=hvc0 quiet panic=-1 probe={words}"',
        )
    job = dom0.pvefi("serve", "ends", "stays", "--kernel", kernel, "--json", seconds=2 * SECONDS)
    wait_for(dom0, "stays", HELD)
    while not any((told["domain"], told["event"]) == ("ends", "ended") for told in events(job)):
        assert not job.ended, job.wait()
        time.sleep(STEP)
    assert domains(dom0) == ["stays"]
    assert "stays" in refused(dom0, "stays", "--kernel", kernel)
    dom0.done(["xl", "destroy", "stays"])

    end = job.wait()
    assert (end.status, end.errors) == (0, ""), str(end)
    told = [json.loads(line) for line in end.text.splitlines()]
    for name in ("ends", "stays"):
        of_it = [event for event in told if event["domain"] == name]
        assert [event["event"] for event in of_it[:2]] == ["stage", "serving"]
        calls = [event["service"] for event in of_it if event["event"] == "call"]
        assert calls.index("ExitBootServices") > 0
        assert [event["event"] for event in of_it].count("ended") == 1
        assert of_it[-1]["event"] == "ended"
    assert "destroyed" in told[-1]["text"]
    (text,) = probe_boots(console_of(dom0, "ends"))
    facts = read_facts(text)
    assert facts.efi
    assert facts.efi.present
    keeps_variables(facts.variables)
    assert domains(dom0) == []

# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures domains on a real Xen in QEMU: all of a run in one dom0, and what is compared in turn."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.qemu_run import BenchError, Subject
from bench.xen_figures import ProcessSample, RingSample, XenBoot, XenSamples
from bench.xen_programs import build_bare, build_ringer
from pvefi.probe.initrd import script_files, with_files
from xen_bed import resume
from xen_jobs import Dom0, Job, JobEnd
from xen_machine import Dom0Error

__all__ = ["Effort", "measure_xen"]

_RINGS = Path(__file__).resolve().parent / "xen_rings.py"
_ENTRIES = ("efi", "xen-pvh")
_PATH = "PYTHONPATH=/opt"
_TSC = 'tsc_mode="native"'
"""Xen emulates rdtsc where it has no way to scale it, which costs a nested guest most of its time."""
_BOOT_SECONDS, _RING_SECONDS, _STEP_SECONDS = 300.0, 1200.0, 300.0
_MEMORY_MIB = 256
_SETTLES = 5.0
"""Seconds after a guest's last word until the processes beside it are looked at."""
_IDLE, _CALLED = "PVEFI-BENCH idle", "PVEFI-BENCH called"
_SCRIPT = f"""\
echo {_IDLE} >/dev/console
read -r go </dev/console
cat "$efivars"/* >/dev/null
echo {_CALLED} >/dev/console
sleep 100000
"""
"""What a guest does in user space: nothing until its console is typed at, and then calls of GetVariable."""
_PROCESSES = """\
for process in /proc/[0-9]*; do
    echo "process $(tr '\\0' ' ' <$process/cmdline)"
    cat $process/status
    for task in $process/task/*; do
        echo "switches $(grep ^voluntary_ctxt_switches: $task/status)"
        echo "on_cpu $(cat $task/schedstat)"
    done
done 2>/dev/null
"""


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds of boots and of `count` doorbells; `watched` seconds of idle guests."""

    rounds: int
    count: int
    watched: float


@dataclass(frozen=True)
class _Seen:
    """All processes of pvefi at one moment: bytes, seconds on a CPU, and voluntary context switches."""

    resident: int
    anonymous: int
    cpu_seconds: float
    switches: int


def measure_xen(subject: Subject, effort: Effort, say: Callable[[str], None]) -> XenSamples:
    """Return the samples of one run: all of it in one dom0 but for what looks at pvefi serve."""
    try:
        with resume() as dom0:
            dom0.give(subject.kernel, "vmlinuz")
            dom0.give(subject.initrd, "initrd")
            rounds = []
            for number in range(1, effort.rounds + 1):
                found = []
                for entry in _ENTRIES:
                    say(f"Xen, round {number} of {effort.rounds}: {entry}")
                    found.append(_boot(dom0, entry))
                rounds.append(tuple(found))
            say("Xen: doorbells")
            rings = _rings(dom0, effort)
            alone: list[ProcessSample] = []
            together: list[ProcessSample] = []
            _prepare_guests(dom0, subject)
            for domains, samples in ((1, alone), (2, together)):
                say(f"Xen: pvefi serve for {domains}")
                samples.append(_served(dom0, domains, effort.watched))
    except Dom0Error as error:
        raise BenchError(str(error).partition("\n")[0]) from error
    return XenSamples(tuple(rounds), rings, tuple(alone), tuple(together))


def _boot(dom0: Dom0, entry: str) -> XenBoot:
    words = ["boot", "/host/vmlinuz", "--initrd", "/host/initrd", "--machine", "xen", "--json"]
    words += ["--xl-set", _TSC, "--entry", entry, "--until", "userspace", "--cmdline", "console=hvc0 quiet"]
    end = dom0.pvefi(*words, seconds=_BOOT_SECONDS).wait()
    document = json.loads(_told(end, f"{entry} on Xen"))
    milestones: Mapping[str, float] = document["milestones"]
    if "user space" not in milestones:
        raise BenchError(f"{entry} on Xen: expected user space, found {document['verdict']['message']}")
    return XenBoot(entry, dict(milestones), float(document["host_seconds"]))


def _told(end: JobEnd, what: str) -> str:
    """Return the JSON document that a job has written."""
    if not end.text.startswith(("{", "[")):
        last = (end.errors.strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{what}: expected a JSON document, found none: {last}")
    return end.text


def _rings(dom0: Dom0, effort: Effort) -> tuple[RingSample, ...]:
    with tempfile.TemporaryDirectory() as name:
        for file, data in (("bare.elf", build_bare()), ("ring.efi", build_ringer())):
            (Path(name) / file).write_bytes(data)
            dom0.give(Path(name) / file)
    dom0.give(_RINGS)
    words = f"{_PATH} exec python3 /host/{_RINGS.name} /host/bare.elf /host/ring.efi"
    words += f" {effort.rounds} {effort.count}"
    end = dom0.run(words, seconds=_RING_SECONDS)
    samples = json.loads(_told(end, "doorbells on Xen"))
    return tuple(RingSample(**one) for one in samples)


def _prepare_guests(dom0: Dom0, subject: Subject) -> None:
    """Make what the domains of pvefi serve are made of: an initrd with their script, the trampoline."""
    script = script_files({"idle": _SCRIPT})
    with tempfile.TemporaryDirectory() as name:
        initrd = Path(name) / "idle"
        initrd.write_bytes(with_files(subject.initrd.read_bytes(), script))
        dom0.give(initrd)
    end = dom0.pvefi("serve", "--trampoline", "/run/trampoline.elf").wait()
    if end.status:
        raise BenchError(f"pvefi serve --trampoline: {end.errors.strip()}")


def _served(dom0: Dom0, domains: int, watched: float) -> ProcessSample:
    """Have one pvefi serve look after `domains` guests, and watch it while they sleep and when they call."""
    names = [f"idle{domains}{number}" for number in range(domains)]
    for name in names:
        config = f'type="pvh"\nname="{name}"\nkernel="/run/trampoline.elf"\nmemory={_MEMORY_MIB}\n{_TSC}\n'
        dom0.done(f"printf '%s' '{config}' >/run/{name}.cfg && xl create -p -q /run/{name}.cfg")
    words = ["pvefi", "serve", *names, "--kernel", "/host/vmlinuz", "--initrd", "/host/idle"]
    job = dom0.start([*words, "--cmdline", "console=hvc0 quiet probe=script"], seconds=_RING_SECONDS)
    try:
        _wait_for(dom0, job, names, _IDLE)
        time.sleep(_SETTLES)
        first, began = _seen(dom0), time.monotonic()
        time.sleep(watched)
        second, seconds = _seen(dom0), time.monotonic() - began
        if any(_CALLED in _console(dom0, name) for name in names):
            raise BenchError("pvefi serve on Xen: expected guests that wait, found one that does not")
        for name in names:
            dom0.done(f"echo go >$(xenstore-read /local/domain/$(xl domid {name})/console/tty)")
        _wait_for(dom0, job, names, _CALLED)
        third = _seen(dom0)
    finally:
        for name in names:
            dom0.run(f"xl destroy {name}")
    job.wait()
    return ProcessSample(
        domains=domains,
        resident=second.resident,
        anonymous=second.anonymous,
        cpu_seconds=second.cpu_seconds - first.cpu_seconds,
        switches=second.switches - first.switches,
        watched_seconds=seconds,
        call_switches=third.switches - second.switches,
    )


def _wait_for(dom0: Dom0, job: Job, names: Sequence[str], word: str) -> None:
    end = time.monotonic() + _STEP_SECONDS
    while not all(word in _console(dom0, name) for name in names):
        if job.ended:
            raise BenchError(f"pvefi serve on Xen has ended before its guest said {word}: {job.wait()}")
        if time.monotonic() > end:
            raise BenchError(f"pvefi serve on Xen: expected a guest that says {word}, found none")
        time.sleep(1)


def _console(dom0: Dom0, name: str) -> str:
    return dom0.run(f"cat /var/log/xen/console/guest-{name}.log").text


def _seen(dom0: Dom0) -> _Seen:
    """Return what all processes of pvefi take: the supervisor and its worker."""
    found = []
    for text in dom0.done(_PROCESSES).split("process ")[1:]:
        command, _, facts = text.partition("\n")
        if "pvefi" not in command or not command.startswith(("python", "/usr/bin/python")):
            continue
        found.append(
            _Seen(
                resident=_number(r"^VmRSS:\s+(\d+) kB", facts) << 10,
                anonymous=_number(r"^RssAnon:\s+(\d+) kB", facts) << 10,
                cpu_seconds=sum(map(int, re.findall(r"^on_cpu (\d+)", facts, re.MULTILINE))) / 1e9,
                switches=sum(map(int, re.findall(r"^switches \w+:\s+(\d+)", facts, re.MULTILINE))),
            )
        )
    if not found:
        raise BenchError("expected processes of pvefi in dom0, found none")
    return _Seen(
        sum(one.resident for one in found),
        sum(one.anonymous for one in found),
        sum(one.cpu_seconds for one in found),
        sum(one.switches for one in found),
    )


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else 0

# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi doctor` says: each machine with what was tried of it, the host, and what to install."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from pvefi import __version__
from pvefi.machines.qemu.accelerator import Trial, speed_text
from pvefi.machines.survey import EmbeddedSurvey, Host, QemuSurvey, XenSurvey
from pvefi.report.text import Fact, fact_lines, section, size_text
from pvefi.trace.spelling import escaped

__all__ = ["Findings", "doctor_lines"]


@dataclass(frozen=True)
class Findings:
    """All that `pvefi doctor` has found out."""

    embedded: EmbeddedSurvey
    qemu: QemuSurvey
    xen: XenSurvey
    host: Host

    @property
    def any_works(self) -> bool:
        """Whether there is a machine that a guest can be booted on."""
        return self.embedded.works or self.qemu.works or self.xen.works


def doctor_lines(found: Findings, width: int | None = None) -> list[Text]:
    """Return the report as lines that fit `width`."""
    lines = [_head("embedded", found.embedded, "red"), *fact_lines(_embedded(found.embedded), width), Text()]
    lines += [_head("qemu", found.qemu, "red"), *fact_lines(_qemu(found.qemu), width), Text()]
    lines += [_head("xen", found.xen, "yellow"), *fact_lines(_xen(found.xen), width), Text()]
    lines += [Text("host", "bold"), *fact_lines(_host(found.host), width)]
    return lines + section("to get more", fact_lines(_ways_out(found), width))


def _head(name: str, survey: EmbeddedSurvey | QemuSurvey | XenSurvey, style: str) -> Text:
    """Return the verdict on one machine; `style` is for one that does not work."""
    if survey.works:
        return Text.assemble((f"{name}: ", "bold"), ("works", "bold green"))
    return Text.assemble((f"{name}: ", "bold"), ("not here", f"bold {style}"), f": {escaped(survey.problem)}")


def _embedded(survey: EmbeddedSurvey) -> Iterator[Fact]:
    if survey.unicorn_version:
        yield "unicorn", [escaped(survey.unicorn_version)]
    if survey.seconds is not None:
        yield "tried", [f"its guest rang the first doorbell after {survey.seconds:.2f} s"]


def _qemu(survey: QemuSurvey) -> Iterator[Fact]:
    if survey.qemu is None:
        return
    yield "program", [escaped(str(survey.qemu.program)), escaped(survey.qemu.version_text)]
    for trial in survey.machine_types:
        yield trial.name, ["a guest ran" if trial.works else escaped(f"not here: {trial.problem}")]
    if survey.choice is not None:
        yield "--accel auto", [escaped(survey.choice.reason)]
    for accelerator in survey.trials:
        yield accelerator.name.upper(), [escaped(_trial(accelerator))]
    for at, (name, path) in enumerate(survey.firmware):
        yield "" if at else "firmware", [escaped(f"{name}: {path or 'not found'}")]
    if survey.ovmf is None:
        yield "OVMF", [escaped(survey.ovmf_problem or "not looked for")]
    else:
        yield "OVMF", [escaped(str(survey.ovmf.code)), escaped(str(survey.ovmf.variables))]


def _trial(trial: Trial) -> str:
    if trial.speed is None:
        return trial.refusal
    read = f"{max(0.1, 1e6 * trial.speed.port_read_seconds):.1f} us a port read"
    return f"{speed_text(trial.speed)}; {read}; -cpu {trial.cpu}"


def _xen(survey: XenSurvey) -> Iterator[Fact]:
    if survey.version:
        yield "Xen", [escaped(survey.version)]
    if survey.program is not None:
        yield "program", [escaped(str(survey.program))]
    where = "this host does not run on Xen"
    if survey.control_domain:
        where = "this host is the control domain"
    elif survey.on_xen:
        where = "this host is a guest of Xen, without control of it"
    yield "dom0", [where]
    there = [name for name, loads in survey.libraries if loads]
    lacking = [name for name, loads in survey.libraries if not loads]
    yield "libraries", [f"{', '.join(there) or 'none'} of {len(survey.libraries)}"]
    if there and lacking:
        yield "", [f"not found: {', '.join(lacking)}"]


def _host(host: Host) -> Iterator[Fact]:
    yield "system", [escaped(f"{host.system}, {host.kernel}, {host.architecture}")]
    yield "processor", [escaped(f"{host.processor}, {host.cores} core{'' if host.cores == 1 else 's'}")]
    if host.memory_size:
        yield "memory", [f"{size_text(host.memory_size)}, {size_text(host.memory_available)} available"]
    yield "pvefi", [f"{__version__}, Python {host.python}"]


def _ways_out(found: Findings) -> Iterator[Fact]:
    """Yield what helps each thing that does not work."""
    helps = [("embedded", found.embedded.way_out), ("qemu", found.qemu.way_out)]
    helps += [(trial.name.upper(), trial.way_out) for trial in found.qemu.trials]
    helps += [("OVMF", found.qemu.ovmf_way_out)]
    if found.xen.on_xen:  # another hypervisor below the host is more than what is asked for
        helps += [("xen", found.xen.way_out)]
    for name, way_out in helps:
        if way_out:
            yield name, [escaped(way_out)]

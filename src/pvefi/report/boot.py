# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of one boot, for a terminal, a mail or a program: the last step of the flow."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from pvefi.report.calls import call_count_lines, calls_to_json, last_call_lines
from pvefi.report.handoff import given_facts, handoff_to_json, long_sections, path_facts, short_sections
from pvefi.report.text import Fact, fact_lines, section, size_text, width_of
from pvefi.trace.columns import print_lines
from pvefi.trace.show import verdict_message
from pvefi.trace.spelling import escaped
from pvefi.trace.values import Json
from pvefi.verdict import BootResult, Outcome, Verdict, succeeded

__all__ = ["SCHEMA", "VERSION", "render", "to_json"]

SCHEMA = "pvefi/boot"
VERSION = 1

_BEYOND_HANDOFF = (Outcome.USER_SPACE, Outcome.POWERED_OFF, Outcome.REBOOTED, Outcome.LEFT)


def render(result: BootResult, console: Console) -> None:
    """Print the report: the verdict, the facts in the order of interest, then the long tables."""
    width = width_of(console)
    print_lines([_verdict_line(result), *fact_lines(_facts(result, width), width)], console)
    handoff = result.handoff
    if succeeded(result) and result.verdict.outcome in _BEYOND_HANDOFF:
        return  # a whole user space has run: what services it called, a trace tells better
    if not result.profile:
        return  # nobody was there to be called
    if handoff is None:
        print_lines(section("last calls", last_call_lines(result.calls)), console)
        print_lines(call_count_lines(result.calls, width), console)
        return
    print_lines(short_sections(handoff, width), console)
    print_lines(call_count_lines(result.calls, width), console)
    print_lines(long_sections(handoff, width), console)


def _verdict_line(result: BootResult) -> Text:
    verdict: Verdict = result.verdict
    style = "bold green" if succeeded(result) else "bold red"
    return Text.assemble((verdict.outcome.value, style), f": {verdict_message(verdict)}")


def _facts(result: BootResult, width: int | None) -> list[Fact]:
    handoff = result.handoff
    profile = f", {result.profile} profile" if result.profile else ""
    cpus = f", {result.cpus} CPUs" if result.cpus > 1 else ""
    seed = "" if result.seed is None else f", seed {result.seed}"
    how = (
        f"{result.machine} machine, {result.entry} entry{profile}, "
        f"{size_text(result.memory_size)} of memory{cpus}{seed}"
    )
    facts: list[Fact] = [
        ("image", [escaped(result.image), f"sha256 {result.image_sha256}"]),
        ("boot", [escaped(how)]),
        ("machine", [escaped(result.machine_about)]),
    ]
    if result.variables:
        facts.append(("variables", [escaped(result.variables)]))
    if result.esp:
        facts.append(("volume", [escaped(result.esp)]))
    if result.faults:
        facts.append(("injected", list(result.faults)))
    if handoff is not None:
        facts += path_facts(handoff, width)
    if passed := _milestones(result):
        facts.append(("passed", [passed]))
    facts.append(("time", [_time(result)]))
    if handoff is None and result.calls_made:
        facts.append(("services", [_services(result)]))
    if result.instructions is not None:
        before = result.instructions_to_image
        told = "" if before is None else f"; {before:,} of them before the image's first"
        facts.append(("instructions", [f"{result.instructions:,}{told}"]))
    if handoff is not None:
        facts += given_facts(handoff)
    return facts


def _milestones(result: BootResult) -> str:
    """Return when the boot passed what: "image 0.08 s, ExitBootServices 0.41 s"."""
    passed = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in result.milestones.items())
    times = "" if not result.restarts else f"; after {result.restarts} resets"
    return passed + times


def _time(result: BootResult) -> str:
    spent = f"{result.seconds:.2f} s"
    if not result.calls_made and not result.host_seconds:
        return spent
    share = f" ({100 * result.host_seconds / result.seconds:.1f} %)" if result.seconds > 0 else ""
    calls = f"{result.calls_made:,} call{'' if result.calls_made == 1 else 's'}"
    if result.calls_made > len(result.calls):
        calls += f", {len(result.calls):,} of them kept for this report"
    return f"{spent}; {result.host_seconds:.3f} s{share} of it on the host side, in {calls}"


def _services(result: BootResult) -> str:
    """Return how many services were called, and how many calls were refused."""
    called = len({call.service for call in result.calls})
    refused = sum(1 for call in result.calls if call.why)
    return f"{called} different ones called, {refused} calls refused; --trace FILE keeps every call"


def to_json(result: BootResult) -> dict[str, Json]:
    """Return the report as one document: numbers as numbers, bytes as hexadecimal."""
    verdict = result.verdict
    status: Json = None
    if verdict.status is not None:
        status = {"value": int(verdict.status), "name": verdict.status.efi_name}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "image": {"path": result.image, "sha256": result.image_sha256},
        "machine": result.machine,
        "machine_about": result.machine_about,
        "entry": result.entry,
        "profile": result.profile or None,
        "memory_size": result.memory_size,
        "cpus": result.cpus,
        "command_line": result.command_line,
        "initrd": result.initrd or None,
        "variables": result.variables or None,
        "esp": result.esp or None,
        "boot_info": result.boot_info,
        "seed": result.seed,
        "faults": list(result.faults),
        "verdict": {"outcome": verdict.outcome.value, "message": verdict.message, "status": status},
        "goal": result.goal.value,
        "seconds": round(result.seconds, 6),
        "milestones": {name.value: round(seconds, 6) for name, seconds in result.milestones.items()},
        "restarts": result.restarts,
        "host_seconds": round(result.host_seconds, 6),
        "instructions": result.instructions,
        "instructions_to_image": result.instructions_to_image,
        "calls_made": result.calls_made,
        "calls": calls_to_json(result.calls),
        "handoff": None if result.handoff is None else handoff_to_json(result.handoff),
    }

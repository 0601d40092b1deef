# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi boot`: runs an image through one of its entries and reports how that ended."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import click

from pvefi.boot import BootOptions, Observer, PreparedBoot, boot, not_started, prepare, prepare_all
from pvefi.cli import streams
from pvefi.cli.guest_console import GuestConsole
from pvefi.cli.options import SECONDS, SIZE
from pvefi.cli.status import ExitStatus
from pvefi.cli.streams import one_line
from pvefi.efi.profiles import PROFILES
from pvefi.entries import ENTRIES, BootInfo
from pvefi.errors import UsageError
from pvefi.machines.choose import MACHINES, choose_machine
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.jsonl import TraceHeader, TraceWriter
from pvefi.trace.show import verdict_line
from pvefi.verdict import BootResult, Outcome

__all__ = ["command"]

_PROFILES = "; ".join(f"{profile.name}: {profile.purpose}" for profile in PROFILES.values())


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--machine", type=click.Choice(MACHINES), default="auto", show_default=True, help="Where the guest runs."
)
@click.option(
    "--entry",
    type=click.Choice([*ENTRIES, "all"]),
    default="efi",
    show_default=True,
    help="The way into the image, or all that it has.",
)
@click.option(
    "--boot-info",
    type=click.Choice(["auto", *(way.value for way in BootInfo)]),
    default="auto",
    show_default=True,
    help="How the image is told what hypervisor it runs on; auto: by EFI's means where it has EFI.",
)
@click.option("--initrd", type=click.Path(path_type=Path), metavar="FILE", help="Initial ramdisk.")
@click.option("--cmdline", default="", metavar="TEXT", help="Kernel command line, or a program's arguments.")
@click.option(
    "--memory", "memory_size", type=SIZE, default="512M", show_default=True, help="RAM, with K, M or G."
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="linux",
    show_default=True,
    help=f"What of EFI is offered. {_PROFILES}.",
)
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write every call here: a file, a device, or a pipe that is read.",
)
@click.option("--count", is_flag=True, help="Count the guest's instructions, exactly; slower.")
@click.option("--seed", type=int, metavar="N", help="Fix all randomness that the guest gets.")
@click.option(
    "--until",
    type=click.Choice(["handoff"]),
    default="handoff",
    show_default=True,
    help="Where a kernel's boot is to end.",
)
@click.option(
    "--timeout",
    type=SECONDS,
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this much time, at most 30 days.",
)
@click.option(
    "as_json", "--json", is_flag=True, help="One JSON document on stdout; the guest's text goes to stderr."
)
def command(
    image: Path,
    machine: str,
    entry: str,
    boot_info: str,
    initrd: Path | None,
    cmdline: str,
    memory_size: int,
    profile: str,
    trace_file: Path | None,
    count: bool,
    seed: int | None,
    until: str,  # likewise
    timeout: float,
    as_json: bool,
) -> ExitStatus:
    """Boot IMAGE, a kernel or an EFI program, and say how that ended.

    A kernel runs to the hand-off: the moment the kernel proper gets control. A program runs to its end;
    EFI_SUCCESS is exit status 0, any other status 1. With --entry all, every entry that the image has is
    taken in turn, and a table compares them.
    """
    options = BootOptions(
        image=image,
        machine=choose_machine(machine),
        entry=entry,
        boot_info=None if boot_info == "auto" else BootInfo(boot_info),
        profile=profile,
        initrd=initrd,
        command_line=cmdline,
        memory_size=memory_size,
        seed=seed,
        count=count,
        timeout=timeout,
    )
    if entry != "all":
        result = _boot(prepare(options), trace_file, to_stderr=as_json)
        _report(result, as_json=as_json)
        return told([result])
    if trace_file is not None:
        raise UsageError("--trace expects one boot, found --entry all", "name one entry")
    boots = prepare_all(options)
    results = []
    for prepared in boots:
        if not as_json:
            click.echo(f"--- {prepared.options.entry} ---")
        try:
            results.append(_boot(prepared, None, to_stderr=as_json))
        except UsageError as error:  # this entry cannot be taken; the others still can
            results.append(not_started(prepared, str(error)))
    _report_all(results, as_json=as_json)
    return told(results)


def told(results: list[BootResult]) -> ExitStatus:
    """Return the exit status, after a line on stderr for every boot that has failed."""
    worst = ExitStatus.OK
    for result in results:
        status = exit_status(result)
        if status != ExitStatus.OK:
            streams.flush()
            which = f"{result.entry}: " if len(results) > 1 else ""
            click.echo(f"pvefi: {which}{one_line(verdict_line(result.verdict))}", err=True)
        worst = max(worst, status)
    return worst


def _boot(prepared: PreparedBoot, trace_file: Path | None, *, to_stderr: bool) -> BootResult:
    with ExitStack() as stack:
        trace = stack.enter_context(_trace(trace_file, prepared)) if trace_file else None
        console = stack.enter_context(GuestConsole(to_stderr=to_stderr))
        result = boot(
            prepared,
            Observer(
                console=console.write,
                call=trace.append if trace else lambda _: None,
                stage=console.stage,
            ),
        )
        if trace:
            trace.end(result.verdict)
    return result


def exit_status(result: BootResult) -> ExitStatus:
    """Return the exit status that stands for how a boot ended."""
    match result.verdict.outcome:
        case Outcome.HANDOFF | Outcome.POWERED_OFF | Outcome.REBOOTED:
            return ExitStatus.OK
        case Outcome.EXITED if result.verdict.status == EfiStatus.SUCCESS:
            return ExitStatus.OK
        case Outcome.TIMED_OUT:
            return ExitStatus.TIMEOUT
        case Outcome.NOT_STARTED:
            return ExitStatus.BAD_INPUT
        case _:
            return ExitStatus.GUEST_FAILED


def _trace(path: Path, prepared: PreparedBoot) -> TraceWriter:
    options = prepared.options
    for used in (options.image, options.initrd):
        if used is not None and path.exists() and path.samefile(used):
            raise UsageError(f"{path}: expected a file to write the trace to, found the input itself")
    if path.is_file() and any(os.path.samestat(path.stat(), os.fstat(stream)) for stream in (1, 2)):
        raise UsageError(
            f"{path}: expected a file to write the trace to, found the one that the output goes to"
        )
    header = TraceHeader(
        image=str(options.image),
        image_sha256=prepared.image.sha256,
        machine=options.machine.name,
        entry=options.entry,
        profile=options.profile,
        memory_size=options.memory_size,
        command_line=options.command_line,
        initrd=str(options.initrd or ""),
        seed=options.seed,
        counted=options.count,
    )
    return TraceWriter(path, header)


def _report(result: BootResult, *, as_json: bool) -> None:
    from pvefi.report.boot import render, to_json

    if as_json:
        click.echo(json.dumps(to_json(result), indent=2))
        return
    from rich.console import Console

    render(result, Console())


def _report_all(results: list[BootResult], *, as_json: bool) -> None:
    from pvefi.report.boots import render_all, to_json_all

    if as_json:
        click.echo(json.dumps(to_json_all(results), indent=2))
        return
    from rich.console import Console

    render_all(results, Console())

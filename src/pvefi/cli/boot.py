# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi boot`: runs an image through one of its entries and reports how that ended."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from pvefi.boot import Observer, boot
from pvefi.cli import streams
from pvefi.cli.guest_console import GuestConsole
from pvefi.cli.machine_options import MachineChoice, machine_options
from pvefi.cli.options import PROFILE, SECONDS
from pvefi.cli.status import ExitStatus
from pvefi.cli.streams import one_line
from pvefi.cli.supervised import under_supervisor, watched_over
from pvefi.cli.terminal import Terminal
from pvefi.efi.intervention import parse_fault
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.entries import ENTRIES, BootInfo
from pvefi.errors import MachineError, UsageError
from pvefi.image import EntryKind
from pvefi.legacy import Legacy
from pvefi.machines import ForeignWay
from pvefi.prepare import BootOptions, PreparedBoot, not_started, prepare, prepare_all, prepare_foreign
from pvefi.trace.jsonl import TraceHeader, TraceWriter
from pvefi.trace.show import verdict_line
from pvefi.verdict import BootResult, Goal, Outcome, Verdict, succeeded

__all__ = ["command"]

_LOADERS = (ForeignWay.LINUX, ForeignWay.PVH, ForeignWay.XEN_PVH, ForeignWay.XEN_PV)
_ON_XEN = (ForeignWay.XEN_PVH, ForeignWay.XEN_PV)
_MEMORY_SIZE = 512 << 20
_PROFILES = "; ".join(f"{profile.name}: {profile.purpose}" for profile in PROFILES.values())


@click.command()
@click.argument("image", type=click.Path(path_type=Path), required=False)
@click.option(
    "--entry",
    type=click.Choice([*ENTRIES, *(way.value for way in _LOADERS), "all"]),
    default="efi",
    show_default=True,
    help="The way into the image, or all that it has; qemu-linux, qemu-pvh, xen-pvh and xen-pv are QEMU's "
    "and Xen's own loaders.",
)
@click.option(
    "--boot-info",
    type=click.Choice(["auto", *(way.value for way in BootInfo)]),
    default="auto",
    show_default=True,
    help="How the image is told what hypervisor it runs on; auto: by EFI's means where it has EFI.",
)
@click.option("--initrd", type=click.Path(path_type=Path), metavar="FILE", help="Initial ramdisk.")
@click.option(
    "--cmdline",
    metavar="TEXT",
    help="Kernel command line, or a program's arguments; when not given, for a kernel on QEMU "
    "console=ttyS0, on Xen console=hvc0.",
)
@click.option(
    "--profile",
    type=PROFILE,
    default="linux",
    show_default=True,
    metavar="NAME|FILE",
    help=f"What of EFI is offered: a profile of pvefi's, or the file of one. {_PROFILES}.",
)
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write every call here: a file, a device, or a pipe that is read.",
)
@click.option(
    "--vars",
    "variables",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep non-volatile variables here: OVMF's file of them, or one of 'pvefi vars new'.",
)
@click.option(
    "--esp",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Serve this directory as the volume that IMAGE comes from; the guest can read all in it.",
)
@click.option(
    "--inject",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Make a service call fail: SERVICE#CALL=STATUS, or SERVICE#CALL with :exhausted, :short-buffer or "
    ":stale-key; without #CALL each call; repeatable.",
)
@click.option("--count", is_flag=True, help="Count the guest's instructions, exactly; slower.")
@click.option("--seed", type=int, metavar="N", help="Fix all randomness that the guest gets.")
@click.option(
    "--until",
    type=click.Choice([goal.value for goal in Goal]),
    help="Where a kernel's boot is to end: at its hand-off, at its first process, or at its own end. "
    "The default is exit on QEMU and Xen, handoff elsewhere and with --entry all, there on Xen userspace.",
)
@machine_options
@click.option(
    "--timeout",
    type=SECONDS,
    metavar="SECONDS",
    help="Give up after this much time, at most 30 days; 300 when not given, none at a terminal that the "
    "guest has for itself.",
)
@click.option(
    "as_json", "--json", is_flag=True, help="One JSON document on stdout; the guest's text goes to stderr."
)
def command(
    image: Path | None,
    choice: MachineChoice,
    entry: str,
    boot_info: str,
    initrd: Path | None,
    cmdline: str | None,
    profile: Profile,
    trace_file: Path | None,
    variables: Path | None,
    esp: Path | None,
    faults: tuple[str, ...],
    count: bool,
    seed: int | None,
    until: str | None,
    timeout: float | None,
    as_json: bool,
) -> ExitStatus:
    """Boot IMAGE, a kernel or an EFI program, and say how that ended.

    On QEMU and Xen a kernel runs until it switches itself off, and has the terminal as its console; on the
    embedded machine it runs to the hand-off: the moment the kernel proper gets control. A program runs to its
    end; EFI_SUCCESS is exit status 0, any other status 1. With --entry all, every entry that the image has is
    taken in turn, and a table compares them. IMAGE may be left out where --xl-config names a kernel.
    """
    xen, wish = choice.xen()
    image = _named(image or wish.kernel)
    foreign = _foreign(entry, choice)
    if foreign in _ON_XEN and choice.machine == "auto":
        choice = replace(choice, machine="xen")
    if entry == "all" and choice.on_xen:
        until = until or Goal.USERSPACE.value
    to_handoff = until == Goal.HANDOFF or (until is None and (entry == "all" or count))
    if choice.keep_guest and (choice.deterministic or foreign is not None):
        with_what = str(foreign) if foreign is not None else "--deterministic"
        raise UsageError(f"--keep-guest expects a guest that can go on without pvefi, found {with_what}")
    if foreign is not None and (to_handoff or trace_file):
        raise UsageError(f"{foreign} boots without pvefi's services: expected no --trace and no hand-off")
    if count and choice.machine == "auto" and not choice.deterministic:
        choice = replace(choice, machine="embedded")
    machine = choice.machine_for(watched=to_handoff, foreign=foreign is not None, xen=xen)
    if count and machine.runs_kernels and not choice.deterministic:
        raise UsageError("--count expects the embedded machine or --deterministic, found neither")
    goal = Goal(until) if until else (Goal.EXIT if machine.runs_kernels and not to_handoff else Goal.HANDOFF)
    if goal is not Goal.HANDOFF and not machine.runs_kernels:
        raise UsageError(
            f"--until {goal} expects a machine that runs kernels, found {machine.name}", "--machine qemu does"
        )
    options = BootOptions(
        image=image,
        machine=machine,
        entry=entry,
        boot_info=None if boot_info == "auto" else BootInfo(boot_info),
        profile=profile,
        initrd=initrd or wish.ramdisk,
        command_line=wish.command_line if cmdline is None else cmdline,
        memory_size=choice.memory_size or wish.memory_size or _MEMORY_SIZE,
        seed=0 if choice.deterministic and seed is None else seed,
        count=count and not choice.deterministic,
        timeout=timeout or (None if goal is Goal.EXIT and Terminal().interactive else 300.0),
        goal=goal,
        cpus=choice.cpus or wish.cpus or 1,
        disks=choice.disks,
        restarts=wish.restarts and not choice.no_reboot,
        variables=variables,
        esp=esp,
        faults=tuple(parse_fault(fault) for fault in faults),
    )
    if entry != "all":
        result = _boot_one(options, foreign, trace_file, to_stderr=as_json)
        _report(result, as_json=as_json)
        return told([result])
    for option, given in (("--trace", trace_file), ("--inject", faults)):
        if given:
            raise UsageError(f"{option} expects one boot, found --entry all", "name one entry")
    results = [_boot_of_several(prepared, to_stderr=as_json) for prepared in prepare_all(options)]
    _report_all(results, as_json=as_json)
    return told(results)


def _boot_of_several(prepared: PreparedBoot, *, to_stderr: bool) -> BootResult:
    """Boot; where that cannot be, the others still can, and what they have told is not to be lost."""
    if not to_stderr:
        click.echo(f"--- {prepared.options.entry} ---")
    try:
        return _boot(prepared, None, to_stderr=to_stderr)
    except UsageError as error:
        return not_started(prepared, str(error))
    except MachineError as error:
        return replace(not_started(prepared, ""), verdict=Verdict(Outcome.DIED, str(error)))


def _named(image: Path | None) -> Path:
    if image is None:
        raise UsageError("expected an image to boot, found none", "pvefi boot IMAGE")
    return image


def _foreign(entry: str, choice: MachineChoice) -> ForeignWay | None:
    """Return who else than pvefi is to boot the image, None for nobody."""
    if choice.by_ovmf:
        if entry != "efi":
            raise UsageError(f"--firmware ovmf boots by the entry efi, found --entry {entry}")
        return ForeignWay.OVMF
    if choice.on_xen and entry == EntryKind.PVH:
        return ForeignWay.XEN_PVH
    return ForeignWay(entry) if entry in _LOADERS else None


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


def _boot_one(
    options: BootOptions, foreign: ForeignWay | None, trace_file: Path | None, *, to_stderr: bool
) -> BootResult:
    if foreign is not None:
        return _boot(prepare_foreign(options, foreign), trace_file, to_stderr=to_stderr)
    if options.machine.name != "xen":
        return _boot(prepare(options), trace_file, to_stderr=to_stderr)
    with watched_over(options, under_supervisor()) as (watched, legacy):
        return _boot(prepare(watched), trace_file, to_stderr=to_stderr, legacy=legacy)


def _boot(
    prepared: PreparedBoot, trace_file: Path | None, *, to_stderr: bool, legacy: Legacy | None = None
) -> BootResult:
    if trace_file is not None and legacy is not None and legacy.taken_over:
        # What the process before has written is another trace, and stays.
        trace_file = trace_file.with_name(f"{trace_file.name}.{os.getpid()}")
    with ExitStack() as stack:
        trace = stack.enter_context(_trace(trace_file, prepared)) if trace_file else None
        keyboard = Terminal() if prepared.options.machine.runs_kernels else None
        if keyboard is not None:
            stack.enter_context(keyboard)
        interactive = keyboard is not None and keyboard.interactive and not to_stderr
        console = stack.enter_context(GuestConsole(to_stderr=to_stderr, interactive=interactive))
        result = boot(
            prepared,
            Observer(
                console=console.write,
                call=trace.append if trace else lambda _: None,
                stage=console.stage,
                serial=console.serial,
                keyboard=keyboard if keyboard is not None and keyboard.reads else None,
                notice=lambda text: click.echo(f"pvefi: {one_line(text)}", err=True),
            ),
            legacy,
        )
        if trace:
            trace.end(result.verdict)
    return result


def exit_status(result: BootResult) -> ExitStatus:
    """Return the exit status that stands for how a boot ended."""
    if succeeded(result):
        return ExitStatus.OK
    match result.verdict.outcome:
        case Outcome.TIMED_OUT:
            return ExitStatus.TIMEOUT
        case Outcome.NOT_STARTED:
            return ExitStatus.BAD_INPUT
        case Outcome.DIED:
            return ExitStatus.NO_MACHINE
        case _:
            return ExitStatus.GUEST_FAILED


def _trace(path: Path, prepared: PreparedBoot) -> TraceWriter:
    options = prepared.options
    for used in (options.image, options.initrd, options.variables):
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
        profile=options.profile.name,
        memory_size=options.memory_size,
        command_line=prepared.request.command_line,
        initrd=str(options.initrd or ""),
        esp=str(options.esp or ""),
        seed=options.seed,
        counted=options.count,
        faults=tuple(str(fault) for fault in options.faults),
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

# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi boot`: runs an image through one of its entries and reports how that ended."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import click

from pvefi.boot import Observer, boot
from pvefi.cli import streams
from pvefi.cli.guest_console import GuestConsole
from pvefi.cli.options import SECONDS, SIZE
from pvefi.cli.status import ExitStatus
from pvefi.cli.streams import one_line
from pvefi.cli.terminal import Terminal
from pvefi.efi.profiles import PROFILES
from pvefi.entries import ENTRIES, BootInfo
from pvefi.errors import UsageError
from pvefi.machines import ForeignWay
from pvefi.machines.choose import FIRMWARE, MACHINES, QemuWish, choose_machine
from pvefi.machines.qemu.accelerator import ACCELERATORS
from pvefi.machines.qemu.command import MachineType
from pvefi.prepare import BootOptions, PreparedBoot, not_started, prepare, prepare_all, prepare_foreign
from pvefi.trace.jsonl import TraceHeader, TraceWriter
from pvefi.trace.show import verdict_line
from pvefi.verdict import BootResult, Goal, Outcome, succeeded

__all__ = ["command"]

_PROFILES = "; ".join(f"{profile.name}: {profile.purpose}" for profile in PROFILES.values())


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--machine", type=click.Choice(MACHINES), default="auto", show_default=True, help="Where the guest runs."
)
@click.option(
    "--entry",
    type=click.Choice([*ENTRIES, ForeignWay.LINUX.value, ForeignWay.PVH.value, "all"]),
    default="efi",
    show_default=True,
    help="The way into the image, or all that it has; qemu-linux and qemu-pvh are QEMU's own loaders.",
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
    help="Kernel command line, or a program's arguments; for a kernel on QEMU console=ttyS0 when not given.",
)
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
    type=click.Choice([goal.value for goal in Goal]),
    help="Where a kernel's boot is to end: at its hand-off, at its first process, or at its own end. "
    "The default is exit on QEMU, handoff elsewhere and with --entry all.",
)
@click.option("--cpus", type=click.IntRange(1, 255), default=1, show_default=True, help="How many CPUs.")
@click.option(
    "--disk",
    "disks",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A disk (virtio-blk): raw contents, or QCOW2 by the name .qcow2. Several in their order.",
)
@click.option("--no-reboot", is_flag=True, help="End when the guest resets, instead of starting it anew.")
@click.option(
    "--deterministic",
    is_flag=True,
    help="Make every run like the other: time by instructions, a fixed clock, seed 0 unless given.",
)
@click.option(
    "--keep-guest",
    is_flag=True,
    help="Let a guest that is past ExitBootServices live on when pvefi ends.",
)
@click.option(
    "--firmware",
    type=click.Choice(FIRMWARE),
    default="auto",
    show_default=True,
    help="What QEMU runs before the trampoline, auto: the quickest; with ovmf OVMF boots the image instead.",
)
@click.option("--qemu", metavar="FILE", envvar="PVEFI_QEMU", help="The QEMU to run.")
@click.option(
    "--qemu-machine",
    type=click.Choice([kind.value for kind in MachineType]),
    help="QEMU's machine type; q35 when not given.",
)
@click.option(
    "--accel",
    type=click.Choice(ACCELERATORS),
    default="auto",
    show_default=True,
    help="How QEMU executes the guest; auto: KVM where it runs and is faster, else TCG.",
)
@click.option("--cpu", default="", metavar="MODEL", help="QEMU's CPU model.")
@click.option(
    "--qemu-arg", "qemu_arguments", multiple=True, metavar="WORD", help="One more word for QEMU; repeatable."
)
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
    image: Path,
    machine: str,
    entry: str,
    boot_info: str,
    initrd: Path | None,
    cmdline: str | None,
    memory_size: int,
    profile: str,
    trace_file: Path | None,
    count: bool,
    seed: int | None,
    until: str | None,
    cpus: int,
    disks: tuple[Path, ...],
    no_reboot: bool,
    deterministic: bool,
    keep_guest: bool,
    firmware: str,
    qemu: str | None,
    qemu_machine: str | None,
    accel: str,
    cpu: str,
    qemu_arguments: tuple[str, ...],
    timeout: float | None,
    as_json: bool,
) -> ExitStatus:
    """Boot IMAGE, a kernel or an EFI program, and say how that ended.

    On QEMU a kernel runs until it switches itself off, and has the terminal as its console; on the embedded
    machine it runs to the hand-off: the moment the kernel proper gets control. A program runs to its end;
    EFI_SUCCESS is exit status 0, any other status 1. With --entry all, every entry that the image has is
    taken in turn, and a table compares them.
    """
    foreign = ForeignWay(entry) if entry in (ForeignWay.LINUX, ForeignWay.PVH) else None
    if firmware == "ovmf":
        if entry != "efi":
            raise UsageError(f"--firmware ovmf boots by the entry efi, found --entry {entry}")
        foreign = ForeignWay.OVMF
    wish = QemuWish(
        program=qemu,
        machine_type=MachineType(qemu_machine) if qemu_machine else None,
        accelerator=accel,
        cpu=cpu,
        firmware="" if firmware == "ovmf" else firmware,
        foreign=foreign is not None,
        arguments=qemu_arguments,
        exact=deterministic,
        outlives=keep_guest,
    )
    to_handoff = until == Goal.HANDOFF or (until is None and (entry == "all" or count))
    chosen = choose_machine(machine, wish, to_the_end=not to_handoff)
    if foreign is not None and (to_handoff or trace_file):
        raise UsageError(f"{foreign} boots without pvefi's services: expected no --trace and no hand-off")
    goal = Goal(until) if until else (Goal.EXIT if chosen.runs_kernels and not to_handoff else Goal.HANDOFF)
    if goal is not Goal.HANDOFF and not chosen.runs_kernels:
        raise UsageError(
            f"--until {goal} expects a machine that runs kernels, found {chosen.name}", "--machine qemu does"
        )
    options = BootOptions(
        image=image,
        machine=chosen,
        entry=entry,
        boot_info=None if boot_info == "auto" else BootInfo(boot_info),
        profile=profile,
        initrd=initrd,
        command_line=cmdline if cmdline is not None else ("console=ttyS0" if chosen.runs_kernels else ""),
        memory_size=memory_size,
        seed=0 if deterministic and seed is None else seed,
        count=count,
        timeout=timeout or (None if goal is Goal.EXIT and Terminal().interactive else 300.0),
        goal=goal,
        cpus=cpus,
        disks=disks,
        restarts=not no_reboot,
    )
    if entry != "all":
        prepared = prepare(options) if foreign is None else prepare_foreign(options, foreign)
        result = _boot(prepared, trace_file, to_stderr=as_json)
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
            ),
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

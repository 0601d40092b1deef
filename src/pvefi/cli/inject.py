# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi inject`: has every call of a boot fail in each way that the specification allows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from pvefi.cli.options import PROFILE, SECONDS, SIZE
from pvefi.cli.status import ExitStatus
from pvefi.efi.profiles import Profile
from pvefi.entries import ENTRIES
from pvefi.errors import UsageError
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, PreparedBoot, prepare

__all__ = ["command"]


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--entry",
    type=click.Choice(list(ENTRIES)),
    default="efi",
    show_default=True,
    help="The way into the image.",
)
@click.option("--initrd", type=click.Path(path_type=Path), metavar="FILE", help="Initial ramdisk.")
@click.option("--cmdline", metavar="TEXT", help="Kernel command line, or a program's arguments.")
@click.option(
    "--esp",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Serve this directory as the volume that IMAGE comes from; the guest can read all in it.",
)
@click.option(
    "--profile",
    type=PROFILE,
    metavar="NAME|FILE",
    default="linux",
    show_default=True,
    help="What of EFI is offered.",
)
@click.option(
    "--memory", "memory_size", type=SIZE, default="512M", show_default=True, help="RAM, with K, M or G."
)
@click.option(
    "only",
    "--only",
    multiple=True,
    metavar="GLOB",
    help="Only services that match, by whole name or last part: 'Locate*', OutputString. Repeatable.",
)
@click.option(
    "plan_only", "--plan", is_flag=True, help="Say what would be tried; boots once, without faults."
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Fix all randomness that the guest gets.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="How many boots run at once; as many as there are CPUs when not given.",
)
@click.option(
    "--timeout",
    type=SECONDS,
    metavar="SECONDS",
    help="The CPU time after which a boot hangs; when not given, three times what the boot without faults "
    "takes, and 5 seconds more.",
)
@click.option(
    "--machine",
    type=click.Choice(["embedded", "qemu"]),
    default="embedded",
    show_default=True,
    help="Where the guest runs: what is tried is told apart only on the embedded machine.",
)
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def command(
    image: Path,
    entry: str,
    initrd: Path | None,
    cmdline: str | None,
    esp: Path | None,
    profile: Profile,
    memory_size: int,
    only: tuple[str, ...],
    plan_only: bool,
    seed: int,
    jobs: int | None,
    timeout: float | None,
    machine: str,
    as_json: bool,
) -> ExitStatus:
    """Boot IMAGE once for each fault that a call of its may have, and say what comes of it.

    For every service call of a boot, that is every status that the specification allows, a stale map key, no
    memory, a short buffer. A kernel is booted to its hand-off, a program to its end. Exit status 1 says that
    a fault made it crash or hang.
    """
    if machine != "embedded":
        raise UsageError(
            f"expected the embedded machine, where boots can branch, found {machine}",
            f"pvefi boot --machine {machine} --inject tries one fault",
        )
    prepared = prepare(
        BootOptions(
            image=image,
            machine=EmbeddedMachine(),
            entry=entry,
            profile=profile,
            initrd=initrd,
            command_line=cmdline,
            memory_size=memory_size,
            seed=seed,
            esp=esp,
        )
    )
    return _inject(prepared, only, jobs or os.cpu_count() or 1, timeout, plan_only=plan_only, as_json=as_json)


def _inject(
    prepared: PreparedBoot,
    only: tuple[str, ...],
    jobs: int,
    timeout: float | None,
    *,
    plan_only: bool,
    as_json: bool,
) -> ExitStatus:
    from rich.console import Console
    from rich.progress import Progress

    from pvefi.evaluate.inject.document import Experiment, plan_to_json, to_json
    from pvefi.evaluate.inject.plan import make_plan
    from pvefi.evaluate.inject.run import boot_trunk, try_faults
    from pvefi.evaluate.inject.text import finding_lines, plan_lines
    from pvefi.trace.columns import print_lines, width_of

    screen = Console(stderr=True)
    # No thread of its own to draw it: a process that forks has one thread.
    with Progress(console=screen, auto_refresh=False, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("without faults", total=None)
        bar.refresh()
        trunk = boot_trunk(prepared, timeout)
        plan = make_plan(trunk.boot.calls, trunk.boot.calls_made, only)
        if only and not plan.injections:
            raise UsageError(
                f"expected a call of {', '.join(only)} to make fail, found none", "--plan says which"
            )
        findings = {}
        if not plan_only:
            bar.update(task, description="with faults", total=len(plan.injections))
            bar.refresh()
            for found in try_faults(prepared, trunk, plan, jobs):
                findings[found.injection] = found
                bar.update(task, advance=1, description=str(found.injection.fault), refresh=True)
    ordered = tuple(findings[one] for one in plan.injections if one in findings)
    made = Experiment(prepared.options, trunk.boot, plan, ordered)
    if as_json:
        click.echo(json.dumps(plan_to_json(made) if plan_only else to_json(made), indent=2))
    else:
        console = Console()
        lines = plan_lines if plan_only else finding_lines
        # Whole: a command that goes on below could not be copied.
        print_lines(lines(made, width_of(console)), console, whole=True)
    return ExitStatus.GUEST_FAILED if made.bad else ExitStatus.OK

# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi evaluate`: boots images through every entry on every machine, and reports what that says of them."""

from __future__ import annotations

import importlib
import json
import shlex
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvefi.cli import streams
from pvefi.cli.options import PROFILE, SECONDS, SIZE
from pvefi.cli.status import ExitStatus
from pvefi.cli.streams import one_line
from pvefi.efi.profiles import Profile
from pvefi.errors import MachineError, UsageError
from pvefi.profile_file import profile_to_text

if TYPE_CHECKING:
    from pvefi.cli.evaluate_progress import Shown
    from pvefi.evaluate.document import Section
    from pvefi.evaluate.engines.engine import Engine
    from pvefi.evaluate.evaluation import Looked
    from pvefi.evaluate.plan import Plan
    from pvefi.evaluate.run import Evaluation

__all__ = ["command"]

_XEN_BY_NAME = "workers try it with --machines xen only"
_FOR_REPORTS = ("pvefi.evaluate.analysis", "pvefi.evaluate.report", "altair", "vl_convert")
_OVERHEAD = 256 << 20
"""Bytes that a boot takes besides the guest's memory."""


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--entries", metavar="LIST", help="Only these ways into an image, separated by commas.")
@click.option("--machines", metavar="LIST", help="Only these machines: embedded, qemu, xen.")
@click.option("--initrd", type=click.Path(path_type=Path), metavar="FILE", help="Initial ramdisk.")
@click.option("--cmdline", metavar="TEXT", help="Kernel command line, or a program's arguments.")
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="How often each boot runs that is timed.",
)
@click.option("--memory", type=SIZE, default="512M", show_default=True, help="RAM, with K, M or G.")
@click.option("--timeout", type=SECONDS, default=300.0, show_default=True, help="Give a boot up after it.")
@click.option(
    "--profile",
    type=PROFILE,
    default="linux",
    show_default=True,
    metavar="NAME|FILE",
    help="What of EFI is offered.",
)
@click.option("--seed", type=int, metavar="N", help="Fix all randomness that guests get.")
@click.option("--jobs", type=click.IntRange(1, 4096), metavar="N", help="How many boots run at once.")
@click.option("--scheduler", metavar="ADDRESS", help="Run the boots on the Dask cluster of this scheduler.")
@click.option("--resume", is_flag=True, help="Go on with the results that DIR has.")
@click.option("--qemu", metavar="FILE", envvar="PVEFI_QEMU", help="The QEMU to run.")
@click.option("--qemu-machine", type=click.Choice(["q35", "pc", "microvm"]), help="QEMU's machine type.")
@click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="How QEMU executes guests on their way to user space.",
)
@click.option("--cpu", metavar="MODEL", help="QEMU's CPU model.")
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where results and reports go.",
)
@click.option("as_json", "--json", is_flag=True, help="Print report.json's document.")
def command(
    images: tuple[Path, ...],
    entries: str | None,
    machines: str | None,
    initrd: Path | None,
    cmdline: str | None,
    repeat: int,
    memory: int,
    timeout: float,
    profile: Profile,
    seed: int | None,
    jobs: int | None,
    scheduler: str | None,
    resume: bool,
    qemu: str | None,
    qemu_machine: str | None,
    accel: str,
    cpu: str | None,
    directory: Path,
    as_json: bool,
) -> ExitStatus:
    """Boot every IMAGE through every entry on every machine, and write reports into DIR.

    Besides pvefi's entries, QEMU's own loaders and OVMF boot the images, for comparison. Each boot runs in a
    process of its own. Reports are report.html, report.md and report.json.
    """
    if jobs is not None and scheduler is not None:
        raise UsageError("expected --jobs or --scheduler, found both")
    with ExitStack() as stack:
        engine = _engine(jobs, scheduler, memory, stack, ahead=not resume)
        from pvefi.cli.evaluate_progress import Shown
        from pvefi.evaluate.evaluation import Watcher, evaluate, lacking, look
        from pvefi.evaluate.journal import Journal
        from pvefi.evaluate.plan import MACHINES, WAYS, Wish, make_plan

        looked = look(images, initrd)
        options = {"program": qemu, "machine_type": qemu_machine, "accelerator": accel, "cpu": cpu}
        wish = Wish(
            entries=_listed("--entries", entries, WAYS),
            machines=_listed("--machines", machines, MACHINES),
            initrd=looked.initrd,
            command_line=cmdline,
            repeat=repeat,
            memory_size=memory,
            profile=profile_to_text(profile),
            seed=seed,
            timeout=timeout,
            machine_options={name: said for name, said in options.items() if said and said != "auto"},
        )
        # What the workers of a cluster have, they alone know.
        missing = {"xen": _XEN_BY_NAME} if scheduler and wish.machines is None else {}
        plan = make_plan(looked.images, wish, missing if scheduler else lacking(wish))
        if not plan.tasks:
            raise _nothing(looked, plan)
        shown = stack.enter_context(Shown())
        journal = Journal(directory, resume=resume, notice=shown.notice)
        evaluation = evaluate(
            looked,
            plan,
            engine,
            journal,
            Watcher(planned=shown.planned, happened=shown.happened, notice=shown.notice, idle=_look_ahead),
            command=shlex.join(["pvefi", *_words()]),
            repeat=repeat,
        )
        shown.phase("writing the reports")
        told = _sections(evaluation)
        reports = _write(evaluation, told, directory, shown)
    if as_json:
        from pvefi.evaluate.report import document

        click.echo(json.dumps(document(evaluation, told), indent=2))
    else:
        _summarise(evaluation, reports)
    _tell_failure(evaluation)
    status = exit_status(evaluation)
    return max(status, ExitStatus.BAD_INPUT) if journal.broken or not reports else status


def _look_ahead() -> None:
    """Import what writes the reports, while a CPU has nothing else to do."""

    def imports() -> None:
        with suppress(ImportError):  # it is told where it is missed
            for name in _FOR_REPORTS:
                importlib.import_module(name)

    threading.Thread(target=imports, daemon=True).start()


def _words() -> tuple[str, ...]:
    """Return the command line, as `main` has kept it."""
    words: tuple[str, ...] = click.get_current_context().find_root().obj or ()
    return words


def _listed(option: str, text: str | None, known: Iterable[str]) -> tuple[str, ...] | None:
    """Return the names in a list, in the order in which they are known; None for no list."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = tuple(known)
    for name in names:
        if name not in known:
            raise UsageError(f"{option} expects some of {', '.join(known)}, found {name!r:.40}")
    if not names:
        raise UsageError(f"{option} expects some of {', '.join(known)}, found none")
    return tuple(name for name in known if name in names)


def _nothing(looked: Looked, plan: Plan) -> UsageError | MachineError:
    """Return the error of an evaluation that has nothing to run: the first reason; say the others."""
    from pvefi.evaluate.summary import gap_words
    from pvefi.evaluate.task import Problem

    gaps = [gap for gap in (*looked.gaps, *plan.gaps) if gap.problem is not Problem.NONE] or plan.gaps
    for gap in gaps[1:]:
        click.echo(f"pvefi: {one_line(gap_words(gap))}", err=True)
    text = f"nothing can be run: {gap_words(gaps[0])}"
    machines_only = all(gap.problem is Problem.MACHINE for gap in gaps)
    return MachineError(text) if machines_only else UsageError(text)


def _engine(jobs: int | None, scheduler: str | None, memory: int, stack: ExitStack, *, ahead: bool) -> Engine:
    """Return what runs the boots; what it holds is let go with `stack`. With `ahead` it begins now."""
    if scheduler is not None:
        from pvefi.evaluate.engines.cluster import ClusterEngine

        return ClusterEngine(scheduler)
    from pvefi.evaluate.engines.local import LocalEngine
    from pvefi.machines.survey import survey_host

    if jobs is None:
        host = survey_host()
        room = host.memory_available // (memory + _OVERHEAD) or 1
        jobs = max(1, min(host.cores, room))
    engine = stack.enter_context(closing(LocalEngine(jobs)))
    if ahead:
        engine.start()
    return engine


def _sections(evaluation: Evaluation) -> tuple[Section, ...]:
    from pvefi.evaluate.analysis import sections

    return sections(evaluation)


def _write(
    evaluation: Evaluation, told: Sequence[Section], directory: Path, shown: Shown
) -> tuple[Path, ...]:
    """Write the reports and return their files; none where that fails, and why is said."""
    from pvefi.evaluate.report import write_reports

    try:
        written = write_reports(evaluation, told, directory)
    except OSError as error:
        shown.notice(f"{directory}: cannot write the reports: {error.strerror or error}")
        return ()
    if written.lacking:
        shown.notice(written.lacking)
    return tuple(path for path in written.paths if path.parent == directory)


def exit_status(evaluation: Evaluation) -> ExitStatus:
    """Return the worst of how the boots ended, and of what was asked for and is missing."""
    from pvefi.evaluate.outcome import Ending, ending
    from pvefi.evaluate.task import Problem

    statuses = {
        Ending.REACHED: ExitStatus.OK,
        Ending.FAILED: ExitStatus.GUEST_FAILED,
        Ending.INPUT: ExitStatus.BAD_INPUT,
        Ending.MACHINE: ExitStatus.NO_MACHINE,
        Ending.TIMED_OUT: ExitStatus.TIMEOUT,
    }
    missing = {Problem.INPUT: ExitStatus.BAD_INPUT, Problem.MACHINE: ExitStatus.NO_MACHINE}
    return max(
        [
            ExitStatus.OK,
            *(statuses[ending(result)] for result in evaluation.results),
            *(missing.get(gap.problem, ExitStatus.OK) for gap in evaluation.gaps),
        ]
    )


def _tell_failure(evaluation: Evaluation) -> None:
    from pvefi.evaluate.summary import failure_line

    if failure := failure_line(evaluation):
        streams.flush()
        click.echo(f"pvefi: {one_line(failure)}", err=True)


def _summarise(evaluation: Evaluation, reports: Sequence[Path]) -> None:
    from rich.console import Console

    from pvefi.evaluate.summary import summary_lines
    from pvefi.trace.columns import print_lines

    print_lines(summary_lines(evaluation), Console())
    if reports:
        click.echo(f"reports: {one_line(', '.join(map(str, reports)))}")

# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi minimise`: finds the smallest set of services and protocols that an image needs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from pvefi.cli.options import PROFILE, SECONDS, SIZE
from pvefi.cli.status import ExitStatus
from pvefi.cli.streams import one_line
from pvefi.efi.profiles import Profile
from pvefi.entries import ENTRIES
from pvefi.errors import UsageError
from pvefi.files import replace_file

__all__ = ["command"]


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--goal",
    metavar="GOAL",
    help="What IMAGE is to reach: handoff, userspace (on QEMU), or exit=STATUS; handoff for a kernel and "
    "exit=0 for a program when not given.",
)
@click.option(
    "--entry",
    type=click.Choice(list(ENTRIES)),
    default="efi",
    show_default=True,
    help="The way into the image.",
)
@click.option(
    "--initrd",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Initial ramdisk; a kernel has pvefi's own first process in one when not given.",
)
@click.option("--cmdline", metavar="TEXT", help="Kernel command line, or a program's arguments.")
@click.option(
    "--profile",
    type=PROFILE,
    metavar="NAME|FILE",
    default="linux",
    show_default=True,
    help="What there is to take away from.",
)
@click.option(
    "--memory", "memory_size", type=SIZE, default="512M", show_default=True, help="RAM, with K, M or G."
)
@click.option(
    "output",
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the profile here.",
)
@click.option("--strict", is_flag=True, help="Keep also what the image reaches its goal differently without.")
@click.option("--whole-boots", is_flag=True, help="Boot anew for each experiment, instead of branching.")
@click.option("--no-confirm", is_flag=True, help="Do not try on QEMU what was found.")
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Fix all randomness of the guest."
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
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long one boot may take.",
)
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def command(
    image: Path,
    goal: str | None,
    entry: str,
    initrd: Path | None,
    cmdline: str | None,
    profile: Profile,
    memory_size: int,
    output: Path | None,
    strict: bool,
    whole_boots: bool,
    no_confirm: bool,
    seed: int,
    jobs: int | None,
    timeout: float,
    as_json: bool,
) -> ExitStatus:
    """Find by experiment which services and protocols IMAGE needs to reach its goal.

    Each is taken away alone, then all that can go together. The result is a profile that --profile takes.
    Exit status 1 says that IMAGE does not reach the goal even with everything, or that QEMU refutes what was
    found.
    """
    from pvefi.evaluate.minimise.goal import parse_goal
    from pvefi.evaluate.minimise.run import Wish

    if output is not None:
        _check_output(output)
    wish = Wish(
        image=image,
        profile=profile,
        wanted=parse_goal(goal) if goal is not None else None,
        entry=entry,
        initrd=initrd,
        command_line=cmdline,
        memory_size=memory_size,
        seed=seed,
        jobs=jobs or os.cpu_count() or 1,
        timeout=timeout,
        strict=strict,
        whole_boots=whole_boots,
        confirms=not no_confirm,
    )
    return _minimise(wish, output, as_json=as_json)


def _check_output(output: Path) -> None:
    """Raise UsageError when no file can be written there: before a search that takes minutes."""
    if output.is_dir():
        raise UsageError(f"{output}: expected the name of a file to write, found a directory", "-o FILE")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: expected a folder that is there, found none", "-o")
    if not os.access(output.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{output}: expected a folder that can be written, found one that cannot", "-o")


def _minimise(wish: object, output: Path | None, *, as_json: bool) -> ExitStatus:
    from rich.console import Console
    from rich.progress import Progress

    from pvefi.evaluate.minimise.document import profile_document, to_json
    from pvefi.evaluate.minimise.run import Wish, minimise
    from pvefi.evaluate.minimise.search import NotReached
    from pvefi.evaluate.minimise.tables import sections
    from pvefi.evaluate.minimise.text import section_lines
    from pvefi.report.json_node import Node
    from pvefi.trace.columns import print_lines, width_of

    assert isinstance(wish, Wish)
    screen = Console(stderr=True)
    # No thread of its own to draw it: a process that forks has one thread.
    with Progress(console=screen, auto_refresh=False, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("boots", total=None)

        def tell(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of, refresh=True)

        try:
            made = minimise(wish, tell)
        except NotReached as error:
            text = f"{wish.image}: the goal is not reached, though nothing lacks: {error}"
            click.echo(f"pvefi: {one_line(text)}", err=True)
            return ExitStatus.GUEST_FAILED
    document = to_json(made)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        console = Console()
        print_lines(section_lines(sections(Node(document, "the result")), width_of(console)), console)
    if output is not None:
        replace_file(output, (json.dumps(profile_document(made), indent=2) + "\n").encode())
    return ExitStatus.GUEST_FAILED if made.confirmation.confirmed is False else ExitStatus.OK

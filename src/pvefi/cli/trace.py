# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi trace`: reads the files that `pvefi boot --trace FILE` writes."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from pvefi.cli.status import ExitStatus
from pvefi.trace import show as showing
from pvefi.trace import summary as summing
from pvefi.trace.columns import print_lines
from pvefi.trace.jsonl import event_to_json, read_trace, trace_to_json
from pvefi.trace.spelling import TEXT_LIMIT

__all__ = ["command"]


@click.group(no_args_is_help=False)
def command() -> None:
    """Read the trace that a boot wrote with --trace."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "services",
    "-e",
    "--service",
    multiple=True,
    metavar="GLOB",
    help="Only services that match, by whole name or last part: 'Locate*', OutputString. Repeatable.",
)
@click.option("-Z", "--errors", is_flag=True, help="Only calls that were refused.")
@click.option(
    "limit",
    "-s",
    "--string-size",
    default=TEXT_LIMIT,
    show_default=True,
    type=click.IntRange(min=0, max=1 << 20),
    metavar="N",
    help="Cut strings and buffers after N characters or bytes.",
)
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def show(file: Path, services: tuple[str, ...], errors: bool, limit: int, as_json: bool) -> None:
    """Print the calls of a trace, a line each; reads like strace, and has its letters for options."""
    trace = read_trace(file)
    if as_json:
        chosen = showing.select(trace.events, services, refusals_only=errors)
        calls = [event_to_json(event) for event in chosen]
        document = {"schema": "pvefi/trace-calls", "version": 1, **trace_to_json(trace), "calls": calls}
        click.echo(json.dumps(document, indent=2))
        return
    showing.render(trace, Console(), services, refusals_only=errors, limit=limit)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def summary(file: Path, as_json: bool) -> None:
    """Count the calls of a trace by service, with host time and refusals, the way strace -c does."""
    trace = read_trace(file)
    counts = summing.summarize(trace.events)
    if as_json:
        click.echo(json.dumps({**summing.to_json(counts), **trace_to_json(trace)}, indent=2))
        return
    console = Console()
    summing.render(counts, console)
    console.print()
    console.print(showing.end_text(trace), soft_wrap=True)


@command.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "-U",
    "--context",
    default=1,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Show N equal calls around each difference.",
)
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def diff(a: Path, b: Path, context: int, as_json: bool) -> ExitStatus:
    """Compare the calls of two traces: what differs first, then everything, then the counts by service.

    Service, arguments and outputs by name, and statuses are compared; addresses and map keys by the part they
    play, times and reasons not at all. Exit status 1 says that calls or ends differ.
    """
    from pvefi.trace.diff import diff_traces
    from pvefi.trace.diff_json import diff_to_json
    from pvefi.trace.diff_text import diff_lines

    names = str(a), str(b)
    made = diff_traces(read_trace(a), read_trace(b))
    if as_json:
        click.echo(json.dumps(diff_to_json(made, names), indent=2))
    else:
        print_lines(diff_lines(made, names, context), Console())
    return ExitStatus.OK if made.equal else ExitStatus.DIFFERENT

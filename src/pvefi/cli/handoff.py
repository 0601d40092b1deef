# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi handoff`: reads what the documents of `pvefi boot --json` say of the hand-off."""

from __future__ import annotations

import json

import click

from pvefi.cli.status import ExitStatus
from pvefi.errors import UsageError

__all__ = ["command"]


@click.group(no_args_is_help=False)
def command() -> None:
    """Read the hand-offs in documents that `pvefi boot --json` wrote."""


@command.command()
@click.argument("a")
@click.argument("b")
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def diff(a: str, b: str, as_json: bool) -> ExitStatus:
    """Compare what two kernels were given, field by field, with each field's meaning.

    A and B are files that `pvefi boot --json` wrote; FILE:ENTRY or FILE:NUMBER selects one of several boots.
    What only stands at another address, by KASLR or an allocation, is marked @ where that can be told. Exit
    status 1 says that the hand-offs differ, or that one boot has none.
    """
    from pvefi.report.boot_document import read_boot
    from pvefi.report.handoff_diff import diff_boots
    from pvefi.report.handoff_diff_text import diff_lines, diff_to_json

    made = diff_boots(read_boot(a), read_boot(b))
    if made.a.handoff is None and made.b.handoff is None:
        raise UsageError(
            f"expected a hand-off to compare, found none in {made.a.name} ({made.a.verdict}) "
            f"nor in {made.b.name} ({made.b.verdict})"
        )
    if as_json:
        click.echo(json.dumps(diff_to_json(made), indent=2))
    else:
        from rich.console import Console

        from pvefi.trace.columns import print_lines

        print_lines(diff_lines(made), Console())
    return ExitStatus.OK if made.equal else ExitStatus.DIFFERENT

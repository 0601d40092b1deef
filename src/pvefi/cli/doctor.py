# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi doctor`: says which machines work on this host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pvefi.cli.status import ExitStatus

if TYPE_CHECKING:
    from pvefi.report.doctor import Findings

__all__ = ["command"]


@click.command()
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--qemu",
    metavar="FILE",
    envvar="PVEFI_QEMU",
    help="The QEMU to try, a path or a name on PATH.  [default: qemu-system-x86_64; env: PVEFI_QEMU]",
)
def command(as_json: bool, qemu: str | None) -> ExitStatus:
    """Try every machine with a small guest and say which ones work here, and what to install for the rest.

    The exit status is 0 when at least one works.
    """
    from pvefi.machines.survey import survey_embedded, survey_host, survey_qemu, survey_xen
    from pvefi.report.doctor import Findings

    found = Findings(survey_embedded(), survey_qemu(qemu or None), survey_xen(), survey_host())
    if as_json:
        from pvefi.report.doctor_json import doctor_to_json

        click.echo(json.dumps(doctor_to_json(found), indent=2))
    else:
        _show(found)
    return ExitStatus.OK if found.any_works else ExitStatus.NO_MACHINE


def _show(found: Findings) -> None:
    from rich.console import Console

    from pvefi.report.doctor import doctor_lines
    from pvefi.report.text import print_lines, width_of

    console = Console()
    print_lines(doctor_lines(found, width_of(console)), console)

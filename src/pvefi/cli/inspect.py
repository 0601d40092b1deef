# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi inspect`: says what image files are and which entries they have."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from pvefi.cli.status import ExitStatus
from pvefi.errors import PvefiError
from pvefi.image import Image, inspect

__all__ = ["command"]


@click.command()
@click.argument("files", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def command(files: tuple[Path, ...], as_json: bool) -> ExitStatus:
    """Say what each IMAGE is and which entries it has.

    A file that is no image is one line on stderr and exit status 2; the others are still shown.
    """
    images: list[Image] = []
    errors: list[tuple[str, PvefiError]] = []
    for at, path in enumerate(files):
        try:
            image = inspect(path)
        except PvefiError as error:
            if len(files) == 1 and not as_json:
                raise
            _complain(error)
            errors.append((str(path), error))
            continue
        if as_json:
            images.append(image)
        else:
            _show(image, first=at == 0)
    if as_json:
        from pvefi.report.inspect_json import inspect_to_json

        click.echo(json.dumps(inspect_to_json(images, errors), indent=2))
    return ExitStatus.BAD_INPUT if errors else ExitStatus.OK


def _show(image: Image, *, first: bool) -> None:
    from rich.console import Console

    from pvefi.report.inspect import image_lines
    from pvefi.report.text import print_lines, width_of

    console = Console()
    if not first:
        console.print()
    print_lines(image_lines(image, width_of(console)), console)


def _complain(error: PvefiError) -> None:
    from pvefi.trace.spelling import escaped

    sys.stdout.flush()
    click.echo(f"pvefi: {escaped(str(error))}", err=True)

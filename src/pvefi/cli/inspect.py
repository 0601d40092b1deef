# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi inspect`: says what image files are and which entries they have."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pvefi.cli.status import ExitStatus
from pvefi.errors import PvefiError
from pvefi.image import Image

__all__ = ["command"]


@click.command()
@click.argument(
    "files", metavar="FILE|DIRECTORY...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
def command(files: tuple[Path, ...], as_json: bool) -> ExitStatus:
    """Say what each FILE is and which entries it has, and so each file in a DIRECTORY.

    A file that is no image is one line on stderr and exit status 2; the others are still shown.
    """
    images: list[Image] = []
    errors: list[tuple[str, PvefiError]] = []
    shown = 0
    for path, found in _inspected(files):
        if isinstance(found, PvefiError):
            if len(files) == 1 and not as_json and path == files[0]:
                raise found
            _complain(found)
            errors.append((str(path), found))
        elif as_json:
            images.append(found)
        else:
            _show(found, first=shown == 0)
            shown += 1
    if as_json:
        from pvefi.report.inspect_json import inspect_to_json

        click.echo(json.dumps(inspect_to_json(images, errors), indent=2))
    return ExitStatus.BAD_INPUT if errors else ExitStatus.OK


def _inspected(given: tuple[Path, ...]) -> Iterator[tuple[Path, Image | PvefiError]]:
    """Yield every file and what it holds, in order; on a terminal a line says how far it is."""
    from pvefi.image.many import inspect_many
    from pvefi.image.walk import files_of

    found = list(files_of(given))
    sys.stdout.flush()  # processes made by fork would write it again
    results = inspect_many([path for path, error in found if error is None])
    progress = _Progress(len(found))
    try:
        for at, (path, error) in enumerate(found):
            if error is not None:
                yield path, error
                continue
            progress.show(at, path)
            result = next(results)
            progress.clear()
            yield result
    finally:
        progress.clear()
        results.close()  # its processes end with it


class _Progress:
    """A line on stderr that is gone before anything else is written; nothing when that is no terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._live = total > 1 and sys.stderr is not None and sys.stderr.isatty()

    def show(self, at: int, path: Path) -> None:
        """Say which file is waited for."""
        if self._live:
            from pvefi.trace.spelling import escaped

            text = f"inspecting {at + 1} of {self._total}: {escaped(path.name)}"
            self._write(text[: shutil.get_terminal_size().columns - 1])

    def clear(self) -> None:
        """Take the line away."""
        if self._live:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


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

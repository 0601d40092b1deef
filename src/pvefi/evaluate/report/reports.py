# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the three reports and their pictures into a directory: each file whole, or as it was before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path

from pvefi.evaluate.document import Picture, Section
from pvefi.evaluate.report.charts import svg_of
from pvefi.evaluate.report.document import document, picture_names
from pvefi.evaluate.report.html import html
from pvefi.evaluate.report.markdown import markdown
from pvefi.evaluate.report.plain import plain
from pvefi.evaluate.report.svg import inline, standalone
from pvefi.evaluate.run import Evaluation
from pvefi.files import replace_file

__all__ = ["Written", "write_reports"]

_LABEL = 300


@dataclass(frozen=True)
class Written:
    """The files that were written. `lacking` says what is missing and the way out, or nothing."""

    paths: tuple[Path, ...]
    lacking: str = ""


@dataclass(frozen=True)
class _Drawn:
    """A picture for the page, and as a file."""

    inline: str
    standalone: str


def write_reports(evaluation: Evaluation, sections: Sequence[Section], directory: Path) -> Written:
    """Write report.json, report.md, pictures/ and report.html into the directory, which is there.

    Without the extra `evaluate` it is the first two, and `lacking` says so. OSError where one cannot be
    written: those before it are there, and what it would have replaced stays.
    """
    paths = [directory / "report.json", directory / "report.md"]
    replace_file(paths[0], f"{dumps(document(evaluation, sections), separators=(',', ':'))}\n".encode())
    drawn: list[_Drawn] | None = None
    lacking = ""
    try:
        drawn = [_draw(part) for section in sections for part in section.parts if isinstance(part, Picture)]
        page = html(evaluation, sections, [one.inline for one in drawn])
    except ModuleNotFoundError as error:
        lacking = (
            f"report.html: expected the packages that draw it, found no module {error.name!r} "
            "(pip install 'pvefi[evaluate]')"
        )
    replace_file(paths[1], markdown(evaluation, sections, pictures=drawn is not None).encode())
    if drawn is None or lacking:
        return Written(tuple(paths), lacking)
    folder = directory / "pictures"
    folder.mkdir(exist_ok=True)
    for name, one in zip(picture_names(sections), drawn, strict=True):
        paths.append(folder / f"{name}.svg")
        replace_file(paths[-1], one.standalone.encode())
    paths.append(directory / "report.html")
    replace_file(paths[-1], page.encode())
    return Written(tuple(paths))


def _draw(picture: Picture) -> _Drawn:
    svg = svg_of(picture)
    label = plain(f"{picture.title}. {picture.about}" if picture.about else picture.title, _LABEL)
    return _Drawn(inline(svg, label), standalone(svg, label))

# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the three reports and their pictures into a directory: each file whole, or as it was before."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path

from pvefi.evaluate.document import Picture, PictureKind, Section
from pvefi.evaluate.report.charts import svg_of
from pvefi.evaluate.report.document import document, picture_names
from pvefi.evaluate.report.html import html
from pvefi.evaluate.report.markdown import markdown
from pvefi.evaluate.report.plain import plain, slug
from pvefi.evaluate.report.svg import inline, standalone
from pvefi.evaluate.run import Evaluation
from pvefi.files import own_folder, put_file

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
    written: those before it are there, and what it would have replaced stays. Symbolic links are replaced,
    and not followed. Pictures of an earlier run that are none of this one are removed.
    """
    paths = [directory / "report.json", directory / "report.md"]
    put_file(paths[0], f"{dumps(document(evaluation, sections), separators=(',', ':'))}\n".encode())
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
    put_file(paths[1], markdown(evaluation, sections, pictures=drawn is not None).encode())
    if drawn is None or lacking:
        return Written(tuple(paths), lacking)
    folder = directory / "pictures"
    own_folder(folder)
    for name, one in zip(picture_names(sections), drawn, strict=True):
        paths.append(folder / f"{name}.svg")
        put_file(paths[-1], one.standalone.encode())
    _remove_stale(folder, paths)
    paths.append(directory / "report.html")
    put_file(paths[-1], page.encode())
    return Written(tuple(paths))


def _remove_stale(folder: Path, written: Collection[Path]) -> None:
    """Remove pictures of an earlier run: files of a name that pvefi gives and that it has not written now."""
    kinds = "|".join(re.escape(slug(kind.value)) for kind in PictureKind)
    for path in folder.glob("*.svg"):
        if re.fullmatch(rf"({kinds})(-\d+)?\.svg", path.name) and path not in written:
            path.unlink()


def _draw(picture: Picture) -> _Drawn:
    svg = svg_of(picture)
    label = plain(f"{picture.title}. {picture.about}" if picture.about else picture.title, _LABEL)
    return _Drawn(inline(svg, label), standalone(svg, label))

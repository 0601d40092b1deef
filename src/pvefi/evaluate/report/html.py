# SPDX-License-Identifier: GPL-2.0-or-later
"""An evaluation's report as one HTML file that needs no network and, but for comfort, no script.

Whatever a guest wrote is text in it: Jinja2 escapes, and the page's own policy forbids every script and style
but the two that it came with, and every request.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from pvefi.evaluate.document import Cell, Mark, Picture, Section, Table
from pvefi.evaluate.report import summary
from pvefi.evaluate.report.palette import COLOURS
from pvefi.evaluate.report.plain import names_apart, plain, slug
from pvefi.evaluate.report.signs import LEGEND, SIGNS, marks_of
from pvefi.evaluate.run import Evaluation

__all__ = ["html"]

_CELL = 1000
_PARAGRAPH = 10_000
_MOST = 2000
"""Rows of any table; all are in report.json."""
_TALL = 30
"""Rows from which on a table scrolls in its own box, under its headings."""
_SHORT_NOTE = 60
"""Letters up to which a cell's note stands in it, not below the table."""
_SHORT_NAME = 32
"""Letters up to which a row's name is kept on one line."""
_WORDY = 80
"""Letters from which on a cell is a sentence: a table of such has its cells below one another on a phone."""
_ADDRESS = re.compile(r"0x[0-9a-f]{1,16}")
_BYTES = re.compile(r"(?:0x)?[0-9a-f]{8,}(?:\.\.\.)?")
"""What is set in letters of one width; bytes may break anywhere, as a hash does on a phone."""
_CLASSES: Mapping[Mark, str] = {
    Mark.GOOD: "g",
    Mark.BAD: "b",
    Mark.DIFFERS: "d",
    Mark.MOVED: "m",
    Mark.MISSING: "x",
    Mark.BEST: "s",
}


@dataclass(frozen=True)
class _Cell:
    """A cell as the template writes it: `note` stands in it, `number` leads to one below the table."""

    text: str
    mark: str
    note: str
    number: int


@dataclass(frozen=True)
class _Table:
    title: str
    about: str
    headings: tuple[str, ...]
    rows: tuple[tuple[_Cell, ...], ...]
    notes: tuple[str, ...]
    more: int
    classes: str
    folded: bool
    tall: bool


@dataclass(frozen=True)
class _Picture:
    title: str
    about: str
    svg: str
    table: _Table


@dataclass(frozen=True)
class _Section:
    name: str
    title: str
    short: str
    text: tuple[str, ...]
    parts: tuple[_Table | _Picture, ...]


def html(evaluation: Evaluation, sections: Sequence[Section], pictures: Sequence[str]) -> str:
    """Return the page; `pictures` are the SVGs for each picture of `sections`, in order.

    ModuleNotFoundError where the extra `evaluate` is not installed.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    missing = summary.missing(evaluation)
    style = _colours() + _signs() + _aligned(sections) + _own("report.css")
    script = _own("report.js")
    drawn = iter(pictures)
    names = names_apart([slug(section.name) for section in sections])
    return environment.from_string(_own("report.html.j2")).render(
        title=summary.TITLE,
        subject=", ".join(dict.fromkeys(image.release or image.file.name for image in evaluation.images)),
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        command=plain(evaluation.command, _PARAGRAPH),
        facts=[
            (plain(name, _CELL), [plain(text, _PARAGRAPH) for text in texts])
            for name, texts in summary.facts(evaluation)
        ],
        images=_table(summary.images(evaluation)),
        missing=_table(missing) if missing.rows else None,
        bad=any(one.mark is Mark.BAD for row in missing.rows for one in row),
        sections=[_section(one, name, drawn) for one, name in zip(sections, names, strict=True)],
        legend=[(_CLASSES[mark], LEGEND[mark][2:]) for mark in marks_of(sections) if mark in LEGEND],
    )


def _section(section: Section, name: str, drawn: Iterator[str]) -> _Section:
    return _Section(
        name=name,
        title=plain(section.title, _CELL),
        short=plain(section.short or section.title, _CELL),
        text=tuple(plain(text, _PARAGRAPH) for text in section.text),
        parts=tuple(
            _table(part) if isinstance(part, Table) else _picture(part, next(drawn)) for part in section.parts
        ),
    )


def _picture(picture: Picture, svg: str) -> _Picture:
    table = _table(picture.table)
    return _Picture(plain(picture.title, _CELL), plain(picture.about, _PARAGRAPH), svg, table)


def _table(table: Table) -> _Table:
    notes: dict[str, int] = {}
    rows = tuple(tuple(_cell(one, notes) for one in row) for row in table.rows[:_MOST])
    short = all(len(row[0].text) <= _SHORT_NAME for row in rows)
    wordy = not table.numeric and any(len(one.text) > _WORDY for row in rows for one in row)
    return _Table(
        title=plain(table.title, _CELL),
        about=plain(table.about, _PARAGRAPH),
        headings=tuple(plain(heading, _CELL) for heading in table.headings),
        rows=rows,
        notes=tuple(notes),
        more=max(0, len(table.rows) - _MOST),
        classes=" ".join(
            [
                *(f"n{at + 1}" for at in sorted(table.numeric)),
                *(["r"] if short else []),
                *(["w"] if wordy else []),
            ]
        ),
        folded=table.folded,
        tall=len(rows) >= _TALL,
    )


def _cell(one: Cell, notes: dict[str, int]) -> _Cell:
    text, note = plain(one.text, _CELL), plain(one.note, _CELL)
    letters = "k" if _ADDRESS.fullmatch(text) else "h" if _BYTES.fullmatch(text) else ""
    mark = f"{_CLASSES.get(one.mark, '')} {letters}".strip()
    if not note or len(note) <= _SHORT_NOTE:
        return _Cell(text, mark, note, 0)
    return _Cell(text, mark, "", notes.setdefault(note, len(notes) + 1))


def _colours() -> str:
    """Return the style that gives the palette's names their colours, and pictures theirs."""
    variables = "".join(f"--{name}:light-dark({one.light},{one.dark});" for name, one in COLOURS.items())
    classes = "".join(f".{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in COLOURS)
    return f":root{{{variables}}}{classes}\n"


def _signs() -> str:
    """Return the style that sets a mark's sign before its cell; who hears the page hears a word."""
    return "".join(
        f'.{_CLASSES[mark]}::before{{content:"{sign} "/"{mark.value}: "}}\n' for mark, sign in SIGNS.items()
    )


def _aligned(sections: Sequence[Section]) -> str:
    """Return the style that aligns columns of numbers right, for every number that a column has here."""
    tables = [
        part if isinstance(part, Table) else part.table for section in sections for part in section.parts
    ]
    columns = sorted({3}.union(*(table.numeric for table in tables)))  # 3: the size of an image
    return "".join(f".n{at + 1} :is(td,th):nth-child({at + 1}){{text-align:right}}\n" for at in columns)


def _own(name: str) -> str:
    return resources.files("pvefi.evaluate.report").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

# SPDX-License-Identifier: GPL-2.0-or-later
"""An evaluation's report as Markdown, which reads on GitHub and as it stands, in a mail.

Text of guests and files stays text: what GitHub Flavored Markdown would make something of is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from pvefi.evaluate.document import Cell, Mark, Picture, Section, Table
from pvefi.evaluate.minimise.claim import SOURCE
from pvefi.evaluate.report import summary
from pvefi.evaluate.report.document import picture_names
from pvefi.evaluate.report.plain import plain
from pvefi.evaluate.report.signs import LEGEND, SIGNS, marks_of
from pvefi.evaluate.run import Evaluation

__all__ = ["markdown", "section_markdown"]

_CELL = 400
_PARAGRAPH = 10_000
_SHOWN = 25
"""Rows of a table that is not folded."""
_MOST = 200
"""Rows of any table."""
_SPECIAL = re.compile(r"[\\`*\[\]<>|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|&(?=#?\w+;)|(?<=:)(?=//)|@(?=\w)")
_FIRST = re.compile(r"(?:[#+=-]|\d+[.)])")


def markdown(evaluation: Evaluation, sections: Sequence[Section], pictures: bool) -> str:
    """Return the report; it refers to the files of its pictures where there are any."""
    return "\n".join(_lines(evaluation, sections, pictures)) + "\n"


def _lines(evaluation: Evaluation, sections: Sequence[Section], pictures: bool) -> Iterator[str]:
    yield f"# {summary.TITLE}"
    yield ""
    yield from _fenced(plain(evaluation.command, _PARAGRAPH))
    yield ""
    for name, texts in summary.facts(evaluation):
        for text in texts:
            yield f"- {_safe(name, _CELL)}: {_safe(text, _PARAGRAPH)}"
    yield ""
    yield from _table(summary.images(evaluation))
    missing = summary.missing(evaluation)
    if missing.rows:
        yield from _table(missing)
    else:
        yield "Nothing that was asked for is missing."
        yield ""
    names = iter(picture_names(sections))
    for section in sections:
        yield from _section(section, names if pictures else None, 2)
    signs = [LEGEND[mark] for mark in marks_of(sections) if mark in LEGEND]
    if signs:
        yield f"Signs: {', '.join(signs)}."
        yield ""
    yield "All values are in report.json, each boot's own document in results/."


def section_markdown(section: Section, level: int = 2) -> str:
    """Return one section alone, its title a heading of this level, without pictures but with their tables."""
    return "\n".join(_section(section, None, level))


def _section(section: Section, names: Iterator[str] | None, level: int) -> Iterator[str]:
    yield f"{'#' * level} {_safe(section.title, _CELL)}"
    yield ""
    for text in section.text:
        yield _paragraph(text)
        yield ""
    for part in section.parts:
        if isinstance(part, Table):
            yield from _table(part)
        else:
            yield from _picture(part, next(names) if names else "")


def _picture(picture: Picture, name: str) -> Iterator[str]:
    if name:
        yield f"![{_safe(picture.title, _CELL)}](pictures/{name}.svg)"
        yield ""
    if picture.about:
        yield _paragraph(picture.about)
        yield ""
    yield from _table(picture.table, folded=bool(name))


def _table(table: Table, folded: bool = False) -> Iterator[str]:
    long = folded or table.folded or len(table.rows) > _SHOWN
    if long:
        title = html.escape(plain(table.title, _CELL))  # GitHub takes a block of HTML as it stands
        yield f"<details><summary>{title}, {len(table.rows):,} rows</summary>"
        yield ""
    elif table.title:
        yield f"**{_safe(table.title, _CELL)}**"
        yield ""
    if table.about:
        yield _paragraph(table.about)
        yield ""
    yield f"| {' | '.join(_safe(heading, _CELL) or ' ' for heading in table.headings)} |"
    yield f"|{'|'.join('---:' if at in table.numeric else '---' for at in range(len(table.headings)))}|"
    notes: dict[str, int] = {}
    for row in table.rows[:_MOST]:
        yield f"| {' | '.join(_cell(one, notes) for one in row)} |"
    yield ""
    if len(table.rows) > _MOST:
        yield f"{len(table.rows) - _MOST:,} more rows are in report.json."
        yield ""
    for note, number in notes.items():
        yield f"{number}. {note}"
    if notes:
        yield ""
    if long:
        yield "</details>"
        yield ""


def _cell(one: Cell, notes: dict[str, int]) -> str:
    """Return a cell's text, with the number of its note, which it adds to `notes` where it is new."""
    text = _safe(one.text, _CELL)
    if one.mark is Mark.MISSING and text != "-":
        text = f"*{text}*"
    elif sign := SIGNS.get(one.mark):
        text = f"{sign} {text}"
    if not one.note:
        return text
    number = notes.setdefault(_safe(one.note, _CELL), len(notes) + 1)
    return f"{text} ({number})"


def _paragraph(text: str) -> str:
    """Return a paragraph, in which the one page that pvefi itself refers to is a link."""
    safe = f"<{SOURCE}>".join(_safe(one, _PARAGRAPH) for one in text.split(SOURCE))
    return f"\\{safe}" if _FIRST.match(safe) and not safe[0].isdigit() else safe


def _safe(text: str, limit: int) -> str:
    """Return text that Markdown and GitHub show as it stands."""
    return _SPECIAL.sub(_escape, plain(text, limit))


def _escape(found: re.Match[str]) -> str:
    match found[0]:
        case "&":
            return "&amp;"
        case "":
            return "\\"  # https:\//: no link is made of it
        case "@":
            return "\\@"
    return f"\\{found[0]}"


def _fenced(text: str) -> Iterator[str]:
    """Yield a block of code, its fence longer than any within."""
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall("`+", text))]))
    yield f"{fence}sh"
    yield text
    yield fence

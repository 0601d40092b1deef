# SPDX-License-Identifier: GPL-2.0-or-later
"""Pros and cons: the points that the 2016 page argues by hand, each with what this run shows on it."""

from __future__ import annotations

from collections.abc import Sequence

from pvefi.evaluate.analysis.argument_evidence import Evidence, Point, Speaks, evidence_of
from pvefi.evaluate.analysis.argument_objections import AGAINST_EFI
from pvefi.evaluate.analysis.argument_points import FOR_EFI, FOR_EFI_LAST, ISSUES
from pvefi.evaluate.analysis.argument_questions import QUESTIONS
from pvefi.evaluate.analysis.argument_services import SERVICES
from pvefi.evaluate.analysis.results import shown
from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.run import Evaluation

__all__ = ["arguments_section"]

_LONGEST = 1200  # characters of what a run shows on one point
_MARKS = {
    Speaks.FOR: Mark.GOOD,
    Speaks.AGAINST: Mark.BAD,
    Speaks.UNDECIDED: Mark.NONE,
    Speaks.MEASURED: Mark.NONE,
    Speaks.NOTHING: Mark.MISSING,
}


def arguments_section(evaluation: Evaluation) -> Section:
    """Return the page's points and its open questions, with the figures of this run that bear on each."""
    evidence = evidence_of(evaluation)
    tables = (
        _table("Issues with boot entries", ISSUES, evidence),
        _table("Why use EFI for HVMLite", (*FOR_EFI, *SERVICES, *FOR_EFI_LAST), evidence),
        _table("Points against using EFI", AGAINST_EFI, evidence),
        _table("Remaining questions", QUESTIONS, evidence),
    )
    text = (
        'In 2016 a page on kernelnewbies.org, "Linux x86 Xen EFI boot entry evaluation" '
        "(https://kernelnewbies.org/KernelProjects/x86-xen-efi), argued whether Xen's new guest type should "
        "enter Linux by the EFI entry. These are its headings, its points in this project's words, and what "
        "this run shows on each. The last column says whether that speaks for the point, not for EFI.",
        "It follows from the boots of this run alone: with other images, entries or machines it may be "
        "otherwise.",
    )
    return Section("arguments", "Pros and cons, as argued in 2016", text, tables, "Pros and cons")


def _table(title: str, points: Sequence[Point], evidence: Evidence) -> Table:
    rows = []
    for point in points:
        found = point.find(evidence)
        mark = _MARKS[found.speaks]
        rows.append(
            (
                cell(point.heading),
                cell(point.says),
                Cell(shown(found.shows, _LONGEST), None, note=shown(found.note)),
                Cell(found.speaks.value, found.speaks.name.lower(), mark),
            )
        )
    return Table(title, ("the page's heading", "its point", "what this run shows", "speaks"), tuple(rows))

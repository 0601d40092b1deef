# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi minimise` has found as sections of tables, from its document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.minimise.search import Effect
from pvefi.report.json_node import Node

__all__ = ["sections"]

_MARKS = {Effect.FAILED.value: Mark.BAD, Effect.DEGRADED.value: Mark.DIFFERS, Effect.NOTHING.value: Mark.GOOD}
_DIFFERENCES_SHOWN = 4


def sections(document: Node) -> tuple[Section, ...]:
    """Return what is needed, what each loss did, and the claims if any; UsageError for no such document."""
    trials = document.member("trials").elements()
    needed = [one.text() for one in document.member("needed").elements()]
    parts = (_losses(document, trials, needed), _differences(trials))
    found = Section("minimise", "The smallest profile", tuple(_text(document, needed)), parts)
    claims = _claims(document)
    if not claims.rows:
        return (found,)  # the page speaks of kernels
    text = f"What {document.member('page').text()} claims, and what this run found."
    return found, Section("minimise-claims", "Against the page of 2016", (text,), (claims,))


def _text(document: Node, needed: Sequence[str]) -> Iterator[str]:
    goal, image = document.member("goal").text(), document.member("image").text()
    base = document.member("with_everything")
    yield (
        f"{image}, entry {document.member('entry').text()}, goal {goal}, seed "
        f"{document.member('seed').number()}. With everything: {base.member('how').text()}, after "
        f"{base.member('calls').number():,} calls."
    )
    unused = [one.text() for one in document.member("unused").elements()]
    kinds = [one for one in needed if one.isupper()]
    yield (
        f"Needed are {len(needed) - len(kinds)} services and {len(kinds)} protocols: {', '.join(needed)}."
        if needed
        else "Nothing is needed."
    )
    yield (
        f"{len(unused)} services and protocols that are offered are never used; "
        f"{document.member('boots').number()} boots were tried."
    )
    confirmation = document.member("confirmation")
    confirmed, why = confirmation.member("confirmed").value, confirmation.member("why").text()
    word = {True: "Confirmed on QEMU", False: "Refuted on QEMU"}.get(bool(confirmed), "")
    yield f"{'Not confirmed on QEMU' if confirmed is None else word}: {why}."


def _losses(document: Node, trials: Sequence[Node], needed: Sequence[str]) -> Table:
    refusals = list(dict.fromkeys(_refusal(one) for one in trials if one.member("refusal").value is not None))
    refused = document.member("profile").member("refusals").members()
    rows = []
    for use in document.member("uses").elements():
        thing = use.member("thing").text()
        own = [one for one in trials if one.member("thing").text() == thing]
        alone = [one for one in own if one.member("alone").value is True]
        last = "needed" if thing in needed else refused[thing].text() if thing in refused else "left out"
        rows.append(
            (
                cell(thing),
                cell(use.member("calls").number()),
                *(_effect(alone, refusal) for refusal in refusals),
                cell(last, Mark.NONE if thing in needed else Mark.GOOD),
            )
        )
    about = (
        "What came of taking each away alone, by what it then answered; a service that returns no status has "
        "the same in all columns. The last column is the profile: what is needed, or how it is refused."
    )
    headings = ("service or protocol", "calls", *refusals, "in the profile")
    return Table("Taken away alone", headings, tuple(rows), about, frozenset({1}))


def _refusal(one: Node) -> str:
    value = one.member("refusal").value
    return value if isinstance(value, str) else ""


def _effect(trials: Sequence[Node], refusal: str) -> Cell:
    found = [one for one in trials if _refusal(one) in (refusal, "")]
    if not found:
        return cell(None, Mark.MISSING)
    effect = found[0].member("effect").text()
    qemu = found[0].member("on_qemu")
    note = "" if qemu.value is None else f"on QEMU: {qemu.member('effect').text()}"
    return Cell(effect, effect, _MARKS.get(effect, Mark.NONE), note)


def _differences(trials: Sequence[Node]) -> Table:
    answers: dict[tuple[str, str, str], list[str]] = {}
    for one in trials:
        effect = one.member("effect").text()
        if one.member("alone").value is not True or effect == Effect.NOTHING.value:
            continue
        told = [one.member("how").text()] if effect == Effect.FAILED.value else _shown(_differing(one))
        text = "; ".join([*told, *_on_qemu(one.member("on_qemu"))])
        key = one.member("thing").text(), effect, text
        answers.setdefault(key, []).append(_refusal(one) or "no status")
    rows = [
        (cell(thing), cell(", ".join(statuses)), cell(effect, _MARKS[effect]), cell(text))
        for (thing, effect, text), statuses in answers.items()
    ]
    headings = ("without", "which answers", "effect", "what happened, or is different")
    about = "What degrades was tried on QEMU, too, where that was there, to compare the kernel's messages."
    return Table("What is different without it", headings, tuple(rows), about)


def _differing(one: Node) -> list[str]:
    return [line.text() for line in one.member("differences").elements()]


def _shown(lines: Sequence[str]) -> list[str]:
    if len(lines) > _DIFFERENCES_SHOWN:
        return [*lines[:_DIFFERENCES_SHOWN], f"{len(lines) - _DIFFERENCES_SHOWN} further differences"]
    return list(lines)


def _on_qemu(qemu: Node) -> list[str]:
    """Return what the same loss did on QEMU: of what the kernel said there, or how that boot failed."""
    if qemu.value is None:
        return []
    if qemu.member("effect").text() == Effect.FAILED.value:
        return [f"on QEMU: {qemu.member('how').text()}"]
    log = [line for line in _differing(qemu) if line.startswith("kernel log")]
    return [f"on QEMU: {line}" for line in _shown(log)] or ["on QEMU: the kernel's messages are the same"]


def _claims(document: Node) -> Table:
    rows = []
    for one in document.member("claims").elements():
        holds = one.member("holds").value
        mark = Mark.NONE if holds is None else Mark.GOOD if holds is True else Mark.BAD
        verdict = "-" if holds is None else "holds" if holds is True else "does not hold"
        rows.append(
            (
                cell(one.member("thing").text()),
                cell(one.member("claim").text()),
                cell(one.member("found").text()),
                Cell(verdict, holds, mark),
            )
        )
    return Table("Claims", ("service or protocol", "the page", "this run", ""), tuple(rows))

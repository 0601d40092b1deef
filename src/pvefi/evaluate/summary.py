# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of an evaluation in a few lines for a terminal: what ran and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from pvefi.evaluate.outcome import Ending, ending, words
from pvefi.evaluate.run import Evaluation, Gap
from pvefi.evaluate.task import Problem, TaskKind, TaskResult
from pvefi.trace.spelling import escaped

__all__ = ["failure_line", "gap_words", "summary_lines"]

_WORDS_AT_MOST = 300  # characters of a verdict, which may quote a guest
_FAILURES_AT_MOST = 20


def summary_lines(evaluation: Evaluation) -> list[Text]:
    """Return the lines: one a way into an image and machine, then the failures and the gaps."""
    lines = [Text(evaluation.effort)]
    groups: dict[tuple[str, str, str], list[TaskResult]] = {}
    for result in evaluation.results:
        task = result.task
        groups.setdefault((task.image.name, task.machine, task.entry), []).append(result)
    widths = [max((len(escaped(key[column])) for key in groups), default=0) for column in range(3)]
    for key, results in groups.items():
        names = "  ".join(escaped(name).ljust(width) for name, width in zip(key, widths, strict=True))
        lines.append(Text.assemble(f"  {names}", *_kinds(results)))
    lines += _told(
        "failed", [f"{result.task.label}: {_short(words(result))}" for result in _failures(evaluation)]
    )
    lines += _told("missing", map(gap_words, evaluation.gaps))
    return lines


def gap_words(gap: Gap) -> str:
    """Return what is missing and why; an error about a file names it already."""
    return _short(gap.why if gap.why.startswith(gap.what) else f"{gap.what}: {gap.why}")


def failure_line(evaluation: Evaluation) -> str:
    """Return in one line what failed, and what is missing that was asked for; empty where nothing is."""
    failed = [result for result in evaluation.results if ending(result) is not Ending.REACHED]
    missing = [gap for gap in evaluation.gaps if gap.problem is not Problem.NONE]
    told = []
    if failed:
        many = f"{len(failed)} of {len(evaluation.results)} boots did not reach what they were to"
        told.append(f"{many}, the first: {failed[0].task.label}: {_short(words(failed[0]))}")
    if missing:
        many = f"{len(missing)} thing{'s'[: len(missing) > 1]} asked for cannot be had"
        told.append(f"{many}, the first: {gap_words(missing[0])}")
    return "; ".join(told)


def _kinds(results: Sequence[TaskResult]) -> Iterator[str | tuple[str, str]]:
    """Yield for each kind of boot how many of them reached what they were to."""
    for kind in TaskKind:
        endings = [ending(result) for result in results if result.task.kind is kind]
        if endings:
            reached = endings.count(Ending.REACHED)
            many = f" {reached}/{len(endings)}" if len(endings) > 1 else ""
            word = f"{kind}{many}" if reached == len(endings) else f"{kind}{many} {_worst(endings)}"
            yield "  "
            yield (word, "green" if reached == len(endings) else "red")


def _worst(endings: Sequence[Ending]) -> Ending:
    return max(endings, key=list(Ending).index)


def _failures(evaluation: Evaluation) -> list[TaskResult]:
    return [result for result in evaluation.results if ending(result) is not Ending.REACHED]


def _told(title: str, told: Iterable[str]) -> Iterator[Text]:
    texts = list(told)
    if not texts:
        return
    yield Text(f"{title}:")
    for text in texts[:_FAILURES_AT_MOST]:
        yield Text(f"  {escaped(text)}")
    if len(texts) > _FAILURES_AT_MOST:
        yield Text(f"  and {len(texts) - _FAILURES_AT_MOST} more: see the reports")


def _short(text: str) -> str:
    return text if len(text) <= _WORDS_AT_MOST else f"{text[:_WORDS_AT_MOST]}..."

# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi evaluate` shows while it runs: what runs and is left, in a pipe nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pvefi.cli.streams import one_line
from pvefi.evaluate.engines.engine import Finished, Happening, Lost, Notice, Started
from pvefi.evaluate.outcome import Ending, ending
from pvefi.evaluate.task import Task, TaskResult

__all__ = ["Shown"]

_RUNNING_AT_MOST = 3
"""Names of running boots that fit into a line."""


class Shown:
    """The progress of an evaluation on stderr; lines of notices stay."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._line = self._progress.add_task("", total=None, failed="")
        self._running: dict[str, str] = {}
        self._failed = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._progress.stop()

    def planned(self, tasks: Sequence[Task], done: Mapping[str, TaskResult]) -> None:
        """Take what is to run, and say how much of it is there already."""
        self._progress.update(self._line, total=len(tasks), completed=len(done))
        if done:
            self.notice(f"{len(done)} of {len(tasks)} boots are there already, {len(tasks) - len(done)} run")

    def happened(self, happening: Happening) -> None:
        """Take what has happened to a task."""
        match happening:
            case Started(task=task):
                self._running[task.id] = task.label
            case Finished(result=result):
                self._running.pop(result.task.id, None)
                self._failed += ending(result) is not Ending.REACHED
                self._progress.advance(self._line)
            case Lost(task=task, why=why):
                self._running.pop(task.id, None)
                self.notice(f"{task.label} runs again: {why}")
            case Notice(text=notice):
                self.notice(notice)
        names = list(self._running.values())
        more = f" and {len(names) - _RUNNING_AT_MOST} more" if len(names) > _RUNNING_AT_MOST else ""
        text = escape(one_line(", ".join(names[:_RUNNING_AT_MOST]) + more))
        failed = f"[red]{self._failed} failed[/red]" if self._failed else ""
        self._progress.update(self._line, description=text, failed=failed)

    def phase(self, text: str) -> None:
        """Show what is done now besides running boots."""
        self._progress.update(self._line, description=text)

    def notice(self, text: str) -> None:
        """Say something that the user should know."""
        line = f"pvefi: {one_line(text)}"
        if self._progress.disable:
            click.echo(line, err=True)
        else:
            self._progress.console.print(line, markup=False, highlight=False)

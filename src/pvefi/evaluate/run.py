# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole evaluation as a value: what was asked for, what there is of it, and what is missing and why."""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.evaluate.task import BootHost, FileRef, Problem, TaskResult

__all__ = ["Evaluation", "Gap", "Host", "ImageFacts"]


@dataclass(frozen=True)
class ImageFacts:
    """One image: its file, what `pvefi inspect` calls it, its kernel's release, the entries that it has.

    `is_kernel` says whether user space can be expected of it; `bits` are those of that kernel, 64 or 32.
    `ways` are the names of all that can boot it: entries that pvefi takes, and of ForeignWay. One that is
    `unified` brings its kernel's command line and initrd.
    """

    file: FileRef
    kind: str
    release: str
    entries: tuple[str, ...]
    is_kernel: bool
    ways: tuple[str, ...]
    bits: int = 64
    unified: bool = False


@dataclass(frozen=True)
class Gap:
    """Something that is not there: an image, a machine, an entry of an image.

    With Problem.NONE nobody has asked for it by name: it is told, and no failure.
    """

    what: str
    problem: Problem
    why: str


@dataclass(frozen=True)
class Host:
    """Who made an evaluation, in words that go into a report; `machines` says what each machine is.

    The boots may have run elsewhere: see `Evaluation.hosts`.
    """

    cpu: str
    cpus: int
    system: str
    python: str
    pvefi: str
    machines: tuple[tuple[str, str], ...]
    name: str = ""


@dataclass(frozen=True)
class Evaluation:
    """All that a report is made of.

    `command` is the command line that repeats it; `repeat` is how often each timed boot ran, `jobs` how many
    ran at once. `results` are in the plan's order; `reused` of them come from an earlier run that this one
    went on with. `seconds` is the wall clock of this run.
    """

    command: str
    started: str
    seconds: float
    repeat: int
    jobs: int
    host: Host
    images: tuple[ImageFacts, ...]
    machines: tuple[str, ...]
    results: tuple[TaskResult, ...]
    gaps: tuple[Gap, ...]
    reused: int = 0

    @property
    def hosts(self) -> tuple[BootHost, ...]:
        """The hosts that boots ran on, each once, in the order of the results."""
        return tuple(dict.fromkeys(result.host for result in self.results if result.host is not None))

    @property
    def boot_seconds(self) -> float:
        """What all boots took, one after the other, in seconds of wall clock; the earlier run's too."""
        told = [result.boot.get("seconds") for result in self.results]
        return float(sum(seconds for seconds in told if isinstance(seconds, int | float)))

    @property
    def effort(self) -> str:
        """How many boots there are and what they took, in words."""
        boots = len(self.results)
        ran = boots - self.reused
        told = f"{boots:,} boot{'s'[: boots != 1]} of {self.boot_seconds:.1f} s together"
        now = f"in {self.seconds:.1f} s, {self.jobs} at once"
        if not self.reused:
            return f"{told}, run {now}"
        if not ran:
            return f"{told}, all by an earlier run"
        return f"{told}, {self.reused:,} by an earlier run and {ran:,} now {now}"

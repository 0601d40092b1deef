# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that pvefi promises, made of what the measurements gave: pure, so that tests need no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

__all__ = ["BootSample", "Figure", "Samples", "Table", "figures_of", "to_json"]

SCHEMA = "pvefi/bench"
VERSION = 1

JsonObject = dict[str, object]

_DIGITS: Mapping[str, int] = MappingProxyType(
    {"": 0, "x": 3, "MB": 1, "KiB": 0, "us": 1, "ms": 1, "%": 2, "s": 3}
)
"""Digits after the point by unit; "" counts."""


@dataclass(frozen=True)
class BootSample:
    """One boot in a process of its own.

    Times are in seconds, but in microseconds in `calls`: (service, time). Sizes are in bytes.
    """

    outcome: str
    seconds: float
    host_seconds: float
    calls: tuple[tuple[str, float], ...]
    anonymous_memory: int
    instructions: int | None
    instructions_to_image: int | None


@dataclass(frozen=True)
class Samples:
    """Everything that one run of the bench measured, in the order of measuring."""

    boots: tuple[BootSample, ...]
    busy: tuple[BootSample, ...]
    counted: tuple[BootSample, ...]
    inspect_seconds: tuple[float, ...]
    import_seconds: tuple[float, ...]
    all_entries_ratios: tuple[float, ...]
    directory_seconds: tuple[float, ...]
    directory_memory: tuple[int, ...]


@dataclass(frozen=True)
class Figure:
    """One figure: `values` are its repeats in `unit`; it is met when their median is below `limit`.

    With `at_most` the limit itself is good too.
    """

    name: str
    what: str
    unit: str
    limit: float | None
    values: tuple[float, ...]
    how: str
    at_most: bool = False

    @property
    def median(self) -> float:
        """The figure itself."""
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None for a figure without one, which only explains others."""
        if self.limit is None:
            return None
        return self.median <= self.limit if self.at_most else self.median < self.limit

    @property
    def reach(self) -> str:
        """The target in words, empty where there is none."""
        if self.limit is None:
            return ""
        return f"{'at most' if self.at_most else 'under'} {self.limit:,g} {self.unit}".strip()

    def text(self, value: float) -> str:
        """Return `value` with its unit, in as many digits as it deserves."""
        return f"{value:,.{_DIGITS[self.unit]}f} {self.unit}".strip()

    @property
    def spread(self) -> str:
        """The lowest and the highest value."""
        low, high = (f"{value:,.{_DIGITS[self.unit]}f}" for value in (min(self.values), max(self.values)))
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Table:
    """Measurements without a target, as text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figures_of(samples: Samples) -> list[Figure]:
    """Return the figures in the order of the documentation."""
    boots = samples.boots
    return [
        Figure(
            "host-share",
            "time outside the emulator",
            "%",
            10,
            tuple(100 * boot.host_seconds / boot.seconds for boot in boots),
            "first instruction to hand-off: all that runs in the doorbell's hook, reading the mailbox to "
            "publishing the answer; making the environment and loading the image are in it",
        ),
        Figure(
            "service",
            "a service call, host time",
            "us",
            20,
            tuple(median(times) for boot in boots if (times := [time for _, time in boot.calls])),
            "median over all calls of a boot, without a trace file: finding the service, decoding, the body "
            "and the event's values; reading the mailbox, keeping the event and publishing are not in it",
        ),
        Figure(
            "service-in-a-row",
            "the same, called in a row",
            "us",
            None,
            tuple(median(times) for boot in samples.busy if (times := [time for _, time in boot.calls])),
            "no target: a program that calls AllocatePool and FreePool in turn, so that caches are warm",
        ),
        Figure(
            "get-memory-map",
            "GetMemoryMap, host time",
            "us",
            60,
            tuple(median(times) for boot in boots if (times := _times(boot, "GetMemoryMap"))),
            "median over its calls in a boot of the kernel",
        ),
        Figure(
            "instructions-to-image",
            "instructions before the image's first",
            "",
            2000,
            tuple(float(boot.instructions_to_image or 0) for boot in samples.counted),
            "from the trampoline's first; exact, by the counter of --count",
        ),
        Figure(
            "inspect",
            "pvefi inspect --json",
            "s",
            0.6,
            samples.inspect_seconds,
            "wall clock of the whole process, its output into a pipe",
        ),
        Figure(
            "import",
            "importing pvefi.cli",
            "s",
            0.15,
            samples.import_seconds,
            "wall clock around the import statement in a fresh interpreter",
        ),
        Figure(
            "all-entries",
            "--entry all against single boots",
            "x",
            1.1,
            samples.all_entries_ratios,
            "wall clock of the whole process, over the sum of five processes that take one entry each",
        ),
        Figure(
            "inspect-directory",
            "pvefi inspect --json of 40 kernels",
            "s",
            12,
            samples.directory_seconds,
            "wall clock of the whole process; a directory of copies of four Debian kernels (lz4, xz, zstd)",
        ),
        Figure(
            "inspect-directory-memory",
            "the same, memory",
            "MB",
            400,
            tuple(memory / 1e6 for memory in samples.directory_memory),
            "highest sum of the proportional set sizes of its processes, sampled every 50 ms",
        ),
        Figure(
            "anonymous-memory",
            "anonymous memory",
            "MB",
            150,
            tuple(boot.anonymous_memory / 1e6 for boot in boots),
            "RssAnon while the CPU stands at the hand-off; guest RAM is shared memory and not in it",
        ),
        Figure(
            "boot",
            "first instruction to hand-off",
            "s",
            None,
            tuple(boot.seconds for boot in boots),
            "wall clock; no target, but what the first figure is a share of",
        ),
    ]


def _times(boot: BootSample, service: str) -> list[float]:
    return [time for name, time in boot.calls if name == service]


def to_json(
    machine: JsonObject, image: JsonObject, figures: Sequence[Figure], tables: Sequence[Table] = ()
) -> JsonObject:
    """Return the one document of `--json`; `met` is whether every figure with a target reaches it."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "machine": machine,
        "image": image,
        "figures": [_figure(figure) for figure in figures if figure.values],
        "tables": [
            {"title": table.title, "head": list(table.head), "rows": list(map(list, table.rows))}
            for table in tables
        ],
        "met": all_met(figures),
    }


def all_met(figures: Iterable[Figure]) -> bool:
    """Return whether every figure with a target was measured and reaches it."""
    return all(bool(figure.values) and bool(figure.met) for figure in figures if figure.limit is not None)


def _figure(figure: Figure) -> JsonObject:
    return {
        "name": figure.name,
        "what": figure.what,
        "unit": figure.unit,
        "reach": figure.limit,
        "at_most": figure.at_most,
        "median": figure.median,
        "lowest": min(figure.values),
        "highest": max(figure.values),
        "met": figure.met,
        "values": list(figure.values),
        "how": figure.how,
    }

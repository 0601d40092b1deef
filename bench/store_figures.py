# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of variables that last, made of what the measurements gave: pure, as `figures` is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.figures import Figure, Table
from tests.efi.varstore.kills import Killed

__all__ = ["GuestSample", "StoreSamples", "store_figures_of", "store_tables_of"]


@dataclass(frozen=True)
class GuestSample:
    """What one boot's guest took for 200 reads and 20 writes through efivarfs, by its own clock."""

    read_ms: float
    write_ms: float

    @property
    def together_ms(self) -> float:
        """Reads and writes."""
        return self.read_ms + self.write_ms


@dataclass(frozen=True)
class StoreSamples:
    """Everything that one run of the bench measured of variables; each round gave one of all but `killed`.

    `sets` are us of SetVariable and of a block written beside it, `gets` us with few variables and with many,
    `opens` ms of an empty store and a full one, `guests` pvefi's and OVMF's.
    """

    sets: Sequence[tuple[float, float]] = ()
    gets: Sequence[tuple[float, float]] = ()
    opens: Sequence[tuple[float, float]] = ()
    guests: Sequence[tuple[GuestSample, GuestSample]] = ()
    killed: Sequence[Killed] = ()


def store_figures_of(samples: StoreSamples) -> list[Figure]:
    """Return the figures in the order of the documentation."""
    writers = sum(one.writers for one in samples.killed)
    changes = sum(one.changes for one in samples.killed)
    return [
        Figure(
            "set-variable",
            "SetVariable that lasts, to a 4 KiB write+fsync",
            "x",
            3,
            tuple(ours / write for ours, write in samples.sets),
            "ratio of the medians of 300 each, in turn, on one file system: a changed variable of 64 bytes "
            "in OVMF's store, from doorbell to answer on the host; a block of another file, in place",
            at_most=True,
        ),
        Figure(
            "get-variable-few",
            "GetVariable, 10 variables in the store",
            "us",
            30,
            tuple(few for few, _ in samples.gets),
            "median of 3,000 calls as Linux makes them, from doorbell to answer on the host: decoding "
            "through the guest's page tables, the body, staging, the event; not QEMU's part, nor the mailbox",
        ),
        Figure(
            "get-variable-many",
            "GetVariable, 5,000 variables in the store",
            "us",
            30,
            tuple(many for _, many in samples.gets),
            "the same in turn with them, in a store of 2 MiB: OVMF's has no room for so many",
        ),
        Figure(
            "get-variable-growth",
            "GetVariable, 5,000 variables to 10",
            "x",
            2,
            tuple(many / few for few, many in samples.gets),
            "ratio of the two, a round each",
            at_most=True,
        ),
        Figure(
            "open-store-empty",
            "opening OVMF's store of 540,672 bytes, empty",
            "ms",
            20,
            tuple(empty for empty, _ in samples.opens),
            "for writing: lock, read, check, list all variables",
        ),
        Figure(
            "open-store-full",
            "the same, full of small variables",
            "ms",
            20,
            tuple(full for _, full in samples.opens),
            "some 1,800 of 64 bytes",
        ),
        Figure(
            "guest-variables",
            "200 reads, 20 writes in the guest, to OVMF",
            "x",
            1,
            tuple(ours.together_ms / theirs.together_ms for ours, theirs in samples.guests),
            "efivarfs on q35 under TCG, by the guest's clock; pvefi's writes last, OVMF's are in the host's "
            "page cache (pflash on a raw file, cache=writeback, QEMU's default)",
            at_most=True,
        ),
        Figure(
            "killed-lost",
            f"{writers:,} writers killed: lost changes",
            "",
            0,
            tuple([float(sum(one.lost for one in samples.killed))] if samples.killed else []),
            f"kill -9 at random moments; of {changes:,} changes that the writers told to last",
            at_most=True,
        ),
        Figure(
            "killed-corrupt",
            "the same: unsound stores",
            "",
            0,
            tuple([float(sum(one.corrupt for one in samples.killed))] if samples.killed else []),
            "that do not open, lack a variable, or hold a value that nobody wrote",
            at_most=True,
        ),
    ]


def store_tables_of(samples: StoreSamples) -> list[Table]:
    """Return what has no target: what the ratios are of."""
    tables = []
    if samples.sets:
        tables.append(
            Table(
                "A change that lasts, us",
                ("SetVariable", "4 KiB write+fsync"),
                (tuple(f"{median(one):,.0f}" for one in zip(*samples.sets, strict=True)),),
            )
        )
    if samples.guests:
        kinds = zip(("pvefi", "OVMF"), zip(*samples.guests, strict=True), strict=True)
        tables.append(
            Table(
                "Variables in the guest, ms by its clock",
                ("under", "200 reads", "20 writes"),
                tuple(
                    (
                        name,
                        f"{median(one.read_ms for one in found):,.0f}",
                        f"{median(one.write_ms for one in found):,.0f}",
                    )
                    for name, found in kinds
                ),
            )
        )
    if samples.killed:
        tables.append(
            Table(
                "Killed writers",
                ("store", "writers", "changes told to last", "lost", "unsound stores"),
                tuple(
                    (name, f"{one.writers:,}", f"{one.changes:,}", str(one.lost), str(one.corrupt))
                    for name, one in zip(
                        ("OVMF's of 2 MiB", "small, cleared away at most changes"),
                        samples.killed,
                        strict=True,
                    )
                ),
            )
        )
    return tables

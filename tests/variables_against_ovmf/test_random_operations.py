# SPDX-License-Identifier: GPL-2.0-or-later
"""The same random operations under pvefi and under OVMF: same statuses, same outputs, same final store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.variables_against_ovmf.batch import Batch, Operations, differences, draw, numbered
from tests.variables_against_ovmf.conftest import NewStore
from tests.variables_against_ovmf.hosts import OvmfHost, Pvefi, run_both
from tests.variables_against_ovmf.known import KNOWN
from tests.variables_against_ovmf.model import NV, Held, Key, Model
from tests.variables_against_ovmf.operations import ExitBootServices, Outcome
from tests.variables_against_ovmf.shrink import shortest
from tests.variables_against_ovmf.stores import read_by_pvefi, read_by_virt_firmware

OPERATIONS = 2000
SHOWN = 3
"""Differences that a failure makes as short as they can be."""
PLAIN, SECURE = "OVMF_CODE_4M.fd", "OVMF_CODE_4M.secboot.fd"
_FIRST_KNOWN = 0x4000

RUNS = [
    pytest.param(("embedded", PLAIN, 1), id="embedded-seed-1"),
    pytest.param(("qemu", PLAIN, 2), id="qemu-seed-2", marks=pytest.mark.full),
    pytest.param(("embedded", SECURE, 3), id="embedded-secboot-seed-3", marks=pytest.mark.full),
    *(
        pytest.param(("embedded", PLAIN, number), id=f"embedded-seed-{number}", marks=pytest.mark.full)
        for number in range(4, 14)
    ),
]


@dataclass(frozen=True)
class Ran:
    """What the two made of one list."""

    batch: Batch
    ours: list[Outcome]
    theirs: list[Outcome]
    our_store: Path
    their_store: Path
    differ: Callable[[Sequence[Operations]], list[bool]]

    def random(self) -> list[Operations]:
        return [one for one in self.batch.sequences if one not in _known()]


def _known() -> list[Operations]:
    return [numbered(one.operations, number) for number, one in enumerate(KNOWN, _FIRST_KNOWN)]


@pytest.fixture(scope="module", params=RUNS)
def ran(
    request: pytest.FixtureRequest,
    pvefi: Callable[[str], Pvefi],
    ovmf: Callable[[str], OvmfHost],
    new_store: NewStore,
) -> Ran:
    machine, code, number = request.param
    ours, theirs = pvefi(machine), ovmf(code)
    batch = Batch([*draw(number, OPERATIONS // 2), *_known()], draw(number, OPERATIONS // 2, runtime=True))

    def differ(sequences: Sequence[Operations]) -> list[bool]:
        renamed = [numbered(one, at) for at, one in enumerate(sequences)]
        runtime = [one for one in renamed if ExitBootServices() in one]
        batch = Batch([one for one in renamed if one not in runtime], runtime)
        our, their, _, _ = run_both(ours, theirs, batch.operations(), new_store, "shrink")
        bad = {one.sequence for one in differences(batch, our, their)}
        order = batch.sequences
        return [order.index(one) in bad for one in renamed]

    return Ran(batch, *run_both(ours, theirs, batch.operations(), new_store, "all"), differ)


def test_random_operations_come_to_the_same(ran: Ran) -> None:
    random = ran.random()
    assert sum(map(len, random)) >= OPERATIONS
    found = [
        one
        for one in differences(ran.batch, ran.ours, ran.theirs)
        if ran.batch.sequences[one.sequence] in random
    ]
    lines = [str(one) for one in found]
    for one in found[:SHOWN]:
        least = shortest(one.before, ran.differ)
        lines += ["", f"shortest, of sequence {one.sequence}:", *map(str, least)]
    assert not found, "\n".join(lines)


def test_what_is_known_to_differ_does_and_not_otherwise(ran: Ran) -> None:
    ours, theirs = ran.batch.split(ran.ours), ran.batch.split(ran.theirs)
    for known, operations in zip(KNOWN, _known(), strict=True):
        at = ran.batch.sequences.index(operations)
        found = [" ".join(one.status.name or "" for one in outcomes[at]) for outcomes in (ours, theirs)]
        assert found == [known.ours, known.theirs], known.title


def test_the_final_stores_hold_the_same(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    expected: dict[Key, Held] = {}
    for operations, outcomes in zip(ran.batch.sequences, ran.batch.split(ran.ours), strict=True):
        if operations in _known():
            continue
        model = Model()
        for operation, outcome in zip(operations, outcomes, strict=True):
            model.carry_out(operation, outcome.status)
        expected |= {key: held for key, held in model.variables.items() if held.attributes & NV}
    known = {
        vendor
        for one in _known()
        for operation in one
        if (vendor := getattr(operation, "vendor", None)) is not None
    }
    ours = read_by_pvefi(ran.our_store)
    for found in (
        ours,
        read_by_pvefi(ran.their_store),
        read_by_virt_firmware(ran.our_store, monkeypatch),
        read_by_virt_firmware(ran.their_store, monkeypatch),
    ):
        random = {key: one for key, one in found.items() if key[1] not in known}
        assert random == {key: one for key, one in ours.items() if key[1] not in known}
        assert {key: (one[0], one[1]) for key, one in random.items()} == {
            key: (held.attributes, held.data) for key, held in expected.items()
        }
    assert len(expected) > OPERATIONS // 100

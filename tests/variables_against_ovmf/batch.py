# SPDX-License-Identifier: GPL-2.0-or-later
"""Many random sequences of operations as one list for a guest, and which of them two hosts see differently.

A sequence has vendors of its own, so that none meets another's variables; those of the specification's own
vendor are deleted at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from pvefi.spec.uefi.status import EfiStatus
from tests.variables_against_ovmf.differences import WRONG, rule_for
from tests.variables_against_ovmf.machine import VENDORS, VariableMachine
from tests.variables_against_ovmf.model import BS, NV, RT, Key, Limits, Model, text
from tests.variables_against_ovmf.operations import (
    ExitBootServices,
    GetNextVariableName,
    GetVariable,
    Operation,
    Outcome,
    QueryVariableInfo,
    SetVariable,
    Walk,
)

STEPS = 50
"""Operations of one sequence, at most."""

Operations = list[Operation]

_FIRST = frozenset(vendor.wire[:4] for vendor in VENDORS)
_EXIT: Operations = [ExitBootServices()]
"""What happens once in a run, whatever number of sequences have it."""


class _Recorder(VariableMachine):
    """Notes operations; the model says what they will come to."""

    recorded: ClassVar[list[Operations]]

    def __init__(self) -> None:
        super().__init__()
        self._noted: Operations = []

    def perform(self, operation: Operation) -> EfiStatus:
        self._noted.append(operation)
        allowed = self.model.allowed(operation)
        return EfiStatus.SUCCESS if EfiStatus.SUCCESS in allowed else min(allowed)

    def teardown(self) -> None:
        for (name, vendor), held in sorted(self.model.variables.items()):
            if vendor == GLOBAL_VARIABLE:
                self.do(SetVariable(name + bytes(2), vendor, held.attributes, None))
        self.recorded.append(self._noted)


def draw(number: int, operations: int, *, runtime: bool = False) -> list[Operations]:
    """Return random sequences with so many operations together, the same ones for the same `number`."""

    class Recorder(_Recorder):
        recorded: ClassVar[list[Operations]] = []
        at_runtime: ClassVar[bool] = runtime

    while (drawn := sum(map(len, Recorder.recorded))) < operations:
        run_state_machine_as_test(
            seed(number << 32 | drawn)(Recorder),
            settings=settings(
                max_examples=1 + (operations - drawn) // STEPS,
                stateful_step_count=STEPS,
                phases=[Phase.generate],
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    return [numbered(one, at + (0x8000 if runtime else 0)) for at, one in enumerate(Recorder.recorded) if one]


def is_mine(vendor: Guid) -> bool:
    """Whether `vendor` is one of VENDORS, or one that a sequence has instead."""
    return vendor.wire[:4] in _FIRST and vendor.wire[6:] == VENDORS[0].wire[6:]


def numbered(operations: Sequence[Operation], number: int) -> Operations:
    """Return the operations with vendors that only sequence `number` has."""

    def own(vendor: Guid | None) -> Guid | None:
        if vendor is None or not is_mine(vendor):
            return vendor
        return Guid(vendor.wire[:4] + number.to_bytes(2, "little") + vendor.wire[6:])

    return [
        replace(one, vendor=own(one.vendor))
        if isinstance(one, SetVariable | GetVariable | GetNextVariableName)
        else one
        for one in operations
    ]


@dataclass(frozen=True)
class Batch:
    """Sequences for one run of a guest: `boot` ones, and `runtime` ones, that go on after ExitBootServices.

    What a runtime sequence does before it is done before the one ExitBootServices of the run.
    """

    boot: Sequence[Operations] = ()
    runtime: Sequence[Operations] = ()

    def _parts(self) -> list[tuple[int, Operations]]:
        """Return what is done in its order, each part with the number of its sequence, -1 for the run's."""
        parts: list[tuple[int, Operations]] = [(-1, [QueryVariableInfo(NV | BS | RT)])]
        parts += list(enumerate(self.boot))
        late: list[tuple[int, Operations]] = []
        for number, one in enumerate(self.runtime, len(self.boot)):
            end = one.index(ExitBootServices())
            # What all share must not be made while others use it.
            before = late if any(is_shared(operation) for operation in one[:end]) else parts
            before.append((number, one[:end]))
            late += [(number, _EXIT), (number, one[end + 1 :])]
        if self.runtime:
            parts.append((-1, _EXIT))
        return parts + late

    @property
    def sequences(self) -> list[Operations]:
        """Every sequence."""
        return [*self.boot, *self.runtime]

    def operations(self) -> Operations:
        """Return the list for a guest."""
        return [one for number, part in self._parts() if number < 0 or part is not _EXIT for one in part]

    def split(self, outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
        """Return what came of each sequence's operations."""
        found: list[list[Outcome]] = [[] for _ in self.sequences]
        at = 0
        exited = Outcome(EfiStatus.SUCCESS)
        for number, part in self._parts():
            if number >= 0 and part is _EXIT:
                found[number].append(exited)
                continue
            if number < 0 and part is _EXIT:
                exited = outcomes[at]
            elif number >= 0:
                found[number] += outcomes[at : at + len(part)]
            at += len(part)
        return found


def is_shared(operation: Operation) -> bool:
    """Whether the operation makes or changes what every sequence may use."""
    return isinstance(operation, SetVariable) and operation.vendor == GLOBAL_VARIABLE


@dataclass(frozen=True)
class Difference:
    """Where two hosts went apart, or one of them and the specification."""

    sequence: int
    at: int
    operation: Operation
    what: str
    before: Operations = field(repr=False)

    def __str__(self) -> str:
        return f"sequence {self.sequence}, operation {self.at}: {self.operation}: {self.what}"


def differences(batch: Batch, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[Difference]:
    """Return the first difference of each sequence that no rule knows."""
    found: list[Difference] = []
    ours_by, theirs_by = batch.split(ours), batch.split(theirs)
    baseline = _remaining(ours[0]), _remaining(theirs[0])
    for number, operations in enumerate(batch.sequences):
        model, their_model = Model(), Model(Limits(volatile=0x3FFC4))
        for at, operation in enumerate(operations):
            our, their = ours_by[number][at], theirs_by[number][at]
            what = _difference(model, their_model, operation, our, their, baseline)
            if what:
                found.append(Difference(number, at, operation, what, operations[: at + 1]))
                break
            model.carry_out(operation, our.status)
            their_model.carry_out(operation, their.status)
    return found


def _difference(
    model: Model,
    their_model: Model,
    operation: Operation,
    ours: Outcome,
    theirs: Outcome,
    baseline: tuple[int, int],
) -> str:
    """Return how two outcomes differ, and not in a way that a rule knows."""
    if complaint := model.complaint(operation, ours):
        return f"pvefi: {ours}: {complaint}"
    rule = rule_for(model, operation, ours.status, theirs.status)
    complaint = their_model.complaint(operation, theirs)
    if complaint and rule not in WRONG:
        return f"OVMF: {theirs}: {complaint}"
    if ours.status is not theirs.status:
        return "" if rule else f"pvefi: {ours}, OVMF: {theirs}"
    if isinstance(operation, QueryVariableInfo) and ours.status is EfiStatus.SUCCESS:
        return _different_sizes(model, operation, ours, theirs, baseline)
    if isinstance(operation, GetVariable) and ours != theirs and not rule:
        return f"pvefi: {ours}, OVMF: {theirs}"
    if isinstance(operation, Walk):
        mine = {key[1] for key in model.variables} - {GLOBAL_VARIABLE}
        return _different_walks(ours, theirs, mine)
    return ""


def _different_sizes(
    model: Model, query: QueryVariableInfo, ours: Outcome, theirs: Outcome, baseline: tuple[int, int]
) -> str:
    if not query.attributes & NV:
        return ""  # VOLATILE_ROOM
    whole, left, one = ours.outputs
    their_whole, their_left, their_one = theirs.outputs
    assert isinstance(left, int)
    assert isinstance(their_left, int)
    same = (whole, one) == (their_whole, their_one)
    if not model.runtime:  # ROOM_LATER
        same = same and left - baseline[0] == their_left - baseline[1]
    return "" if same else f"pvefi: {ours}, OVMF: {theirs}, at first {baseline}"


def _different_walks(ours: Outcome, theirs: Outcome, vendors: set[Guid]) -> str:
    mine, other = ({key for key in walked(one) if key[1] in vendors} for one in (ours, theirs))
    return "" if mine == other else f"pvefi: {mine}, OVMF: {other}"


def walked(outcome: Outcome) -> set[Key]:
    """Return the names that a Walk has found."""
    found: list[tuple[bytes, Guid, int | None]] = list(outcome.outputs)  # type: ignore[arg-type]
    return {(text(name), vendor) for name, vendor, _ in found}


def _remaining(outcome: Outcome) -> int:
    left = outcome.outputs[1]
    assert isinstance(left, int)
    return left

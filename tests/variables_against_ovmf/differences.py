# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules by which two answers to a random operation may differ; docs/variables.md has each."""

from __future__ import annotations

from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from pvefi.spec.uefi.status import EfiStatus
from tests.variables_against_ovmf.model import DEFINED, HARDWARE_ERROR, Model
from tests.variables_against_ovmf.operations import (
    GetNextVariableName,
    GetVariable,
    Operation,
    QueryVariableInfo,
    SetVariable,
)

SEVERAL = "several faults in one call"
ORDER = "the order of variables"
NOTHING = "appending nothing to a global variable that cannot be"
MEANINGLESS = "room for attributes that mean nothing"
VOLATILE_RECORDS = "room for hardware error records that are volatile"
ROOM_LATER = "room after ExitBootServices"
VOLATILE_ROOM = "how large a volatile variable may be"
REFUSED = "what GetVariable writes when Data is NULL and should not be"
WRONG = frozenset({MEANINGLESS, REFUSED})
"""The rules by which OVMF's answer is not right; by the others both are."""
RULES = WRONG | {SEVERAL, ORDER, NOTHING, VOLATILE_RECORDS, ROOM_LATER, VOLATILE_ROOM}


def rule_for(model: Model, operation: Operation, ours: EfiStatus, theirs: EfiStatus) -> str:
    """Return the name of the rule that knows why the two statuses differ; empty for none."""
    faults = model.faults(operation)
    told = ours, theirs
    match operation:
        case _ if len(faults) > 1 and {ours, theirs} <= set().union(*faults):
            return SEVERAL
        case SetVariable() if told == (EfiStatus.SUCCESS, EfiStatus.INVALID_PARAMETER) and (
            operation.vendor == GLOBAL_VARIABLE and faults and not operation.data_size
        ):
            return NOTHING  # and nothing is made
        case GetVariable() if told == (EfiStatus.INVALID_PARAMETER,) * 2 and operation.room is None:
            return REFUSED
        case GetNextVariableName() if not faults:
            return ORDER  # each answer is checked by itself
        case QueryVariableInfo() if theirs is EfiStatus.SUCCESS and operation.attributes & ~DEFINED:
            return MEANINGLESS
        case QueryVariableInfo() if told == (EfiStatus.UNSUPPORTED, EfiStatus.INVALID_PARAMETER) and (
            operation.attributes & HARDWARE_ERROR
        ):
            return VOLATILE_RECORDS
    return ""

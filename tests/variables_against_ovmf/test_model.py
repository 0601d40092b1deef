# SPDX-License-Identifier: GPL-2.0-or-later
"""pvefi's variable services against the model: random operations, each answer and each byte written."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import settings

from pvefi.spec.uefi.status import EfiStatus
from tests.variables_against_ovmf.batch import STEPS
from tests.variables_against_ovmf.in_process import InProcess
from tests.variables_against_ovmf.machine import VariableMachine
from tests.variables_against_ovmf.operations import Operation

EXAMPLES = 15
"""Sequences of STEPS operations each."""


class AgainstTheModel(VariableMachine):
    def __init__(self) -> None:
        super().__init__()
        self.host = InProcess()

    def perform(self, operation: Operation) -> EfiStatus:
        outcome = self.host.carry_out(operation)
        complaint = self.model.complaint(operation, outcome)
        assert not complaint, f"{operation}: {outcome}: {complaint}"
        return outcome.status


class AfterBootServices(AgainstTheModel):
    at_runtime: ClassVar[bool] = True


TestBootServices = AgainstTheModel.TestCase
TestBootServices.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
TestAfterBootServices = AfterBootServices.TestCase
TestAfterBootServices.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)

# SPDX-License-Identifier: GPL-2.0-or-later
"""A store that one of the two has filled, and cleared of what was deleted, goes on under the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pvefi.spec.uefi.status import EfiStatus
from tests.variables_against_ovmf.conftest import NewStore
from tests.variables_against_ovmf.hosts import OvmfHost, Pvefi, run_to_the_end
from tests.variables_against_ovmf.machine import VENDORS
from tests.variables_against_ovmf.model import APPEND, BS, NV, RT, Held, Model
from tests.variables_against_ovmf.operations import (
    ExitBootServices,
    GetVariable,
    Operation,
    Outcome,
    QueryVariableInfo,
    SetVariable,
    Walk,
    wide,
)
from tests.variables_against_ovmf.stores import read_by_pvefi, read_by_virt_firmware

VENDOR = VENDORS[0]
USUAL = NV | BS | RT
LARGE = 30_000
COUNT = 12
"""Large variables, of which a store of 256 KiB has room for eight."""


def _name(number: int) -> bytes:
    return wide(f"Large{number:02}")


def _set(number: int, value: int, size: int = LARGE, attributes: int = USUAL) -> SetVariable:
    return SetVariable(_name(number), VENDOR, attributes, bytes([value]) * size)


def _delete(number: int) -> SetVariable:
    return SetVariable(_name(number), VENDOR, USUAL, None)


def _look() -> list[Operation]:
    """Return how to see everything."""
    gets = [GetVariable(_name(number), VENDOR, LARGE + 1, LARGE + 1) for number in range(COUNT)]
    return [Walk(), *gets, QueryVariableInfo(USUAL)]


FILL: list[Operation] = [
    QueryVariableInfo(USUAL),
    *(_set(number, number) for number in range(COUNT)),
    *(_delete(number) for number in (1, 3)),
    *(_set(number, number + 0x40) for number in (0, 2, 9, 10, 11)),
    *(_set(0, value, size=1000) for value in range(5)),
    _set(2, 0x77, size=1, attributes=USUAL | APPEND),
    *_look(),
]
"""Until there is no room, what was deleted and replaced cleared away, and again."""
GO_ON: list[Operation] = [
    *_look(),
    _delete(4),
    _set(5, 0x85),
    *(_set(0, value, size=200) for value in range(5)),
    *_look(),
]


def followed(model: Model, operations: list[Operation], outcomes: list[Outcome]) -> list[EfiStatus]:
    """Have the model follow, check what was read, and return the statuses."""
    for operation, outcome in zip(operations, outcomes, strict=True):
        if outcome.status is not EfiStatus.OUT_OF_RESOURCES:
            complaint = model.complaint(operation, outcome)
            assert not complaint, f"{operation}: {outcome}: {complaint}"
        model.carry_out(operation, outcome.status)
    return [outcome.status for outcome in outcomes]


def held(model: Model) -> dict[bytes, Held]:
    return {name: one for (name, _), one in model.variables.items()}


@pytest.mark.parametrize("first", ["pvefi", pytest.param("ovmf", marks=pytest.mark.full)])
def test_a_store_that_one_has_filled_goes_on_under_the_other(
    first: str,
    pvefi: Callable[[str], Pvefi],
    ovmf: Callable[[str], OvmfHost],
    new_store: NewStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts: list[Pvefi | OvmfHost] = [pvefi("embedded"), ovmf("OVMF_CODE_4M.fd")]
    store, model = new_store("store.fd"), Model()
    if first == "ovmf":
        hosts.reverse()
    for host, operations in zip((*hosts, hosts[0]), (FILL, GO_ON, GO_ON), strict=True):
        statuses = followed(model, operations, run_to_the_end(host, operations, store))
        if operations is FILL:
            assert EfiStatus.OUT_OF_RESOURCES in statuses
        found = read_by_pvefi(store)
        assert found == read_by_virt_firmware(store, monkeypatch)
        assert {name: Held(one[0], one[1]) for (name, _), one in found.items()} == held(model)


@pytest.mark.full
def test_both_have_room_for_as_much(
    pvefi: Callable[[str], Pvefi], ovmf: Callable[[str], OvmfHost], new_store: NewStore
) -> None:
    """What differs is the room that OVMF's own variables take: the store has had them from the beginning."""
    our_host, their_host = pvefi("embedded"), ovmf("OVMF_CODE_4M.fd")
    theirs = new_store("theirs.fd")
    run_to_the_end(their_host, [QueryVariableInfo(USUAL)], theirs)
    ours = new_store("ours.fd")
    ours.write_bytes(theirs.read_bytes())
    our = followed(Model(), FILL, run_to_the_end(our_host, FILL, ours))
    their = followed(Model(), FILL, run_to_the_end(their_host, FILL, theirs))
    assert our == their


@pytest.mark.full
def test_after_boot_services_pvefi_clears_away_what_was_replaced_and_ovmf_does_not(
    pvefi: Callable[[str], Pvefi], ovmf: Callable[[str], OvmfHost], new_store: NewStore
) -> None:
    our_host, their_host = pvefi("embedded"), ovmf("OVMF_CODE_4M.fd")
    operations = [ExitBootServices(), *(_set(0, value) for value in range(COUNT))]
    our = followed(Model(), operations, run_to_the_end(our_host, operations, new_store("ours.fd")))
    assert set(our) == {EfiStatus.SUCCESS}
    theirs = run_to_the_end(their_host, operations, new_store("theirs.fd"))
    assert followed(Model(), operations, theirs)[-1] is EfiStatus.OUT_OF_RESOURCES

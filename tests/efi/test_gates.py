# SPDX-License-Identifier: GPL-2.0-or-later
"""Gates: one a service, told from each other by their index."""

from __future__ import annotations

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.gates import Gates, unimplemented
from pvefi.efi.service import Service
from pvefi.guest import load_trampoline
from pvefi.spec.uefi.status import EfiStatus

TRAMPOLINE = load_trampoline()


def body(_efi: object) -> None:
    pass


def named(name: str) -> Service[..., None]:
    return Service(name, "", body)


def test_a_service_keeps_its_gate() -> None:
    gates = Gates(TRAMPOLINE)
    one, two = named("One"), named("Two")
    first = gates.address(one)
    assert gates.address(two) == first + TRAMPOLINE.symbols["GATE_SIZE"]
    assert gates.address(one) == first == TRAMPOLINE.gate(0)
    assert (gates.service(0), gates.service(1)) == (one, two)


@pytest.mark.parametrize("index", [1, 399, 400, 0x1000, 0xFFFF_FFFF])
def test_gates_that_nobody_was_given_have_no_service(index: int) -> None:
    gates = Gates(TRAMPOLINE)
    gates.address(named("One"))
    assert gates.service(index) is None


def test_gates_run_out_with_a_clear_error() -> None:
    gates = Gates(TRAMPOLINE)
    for number in range(400):
        gates.address(named(f"Service{number}"))
    with pytest.raises(IndexError, match="gate 400"):
        gates.address(named("One more"))


def test_environments_have_gates_of_their_own() -> None:
    first, second = Gates(TRAMPOLINE), Gates(TRAMPOLINE)
    first.address(named("One"))
    assert second.service(0) is None


def test_a_service_without_a_body_says_so() -> None:
    service = unimplemented("LoadImage", "UEFI 2.10 §7.4.1")
    assert (service.name, service.spec, service.doc) == ("LoadImage", "UEFI 2.10 §7.4.1", "Not implemented.")
    with pytest.raises(EfiError, match="not implemented") as refusal:
        service(None, 1, 2, 3, 4)
    assert refusal.value.status == EfiStatus.UNSUPPORTED

# SPDX-License-Identifier: GPL-2.0-or-later
"""The coverage that docs/environment.md shows is what an environment really offers."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import count
from typing import Any

import pytest

from build_docs import make_sample
from pvefi.efi import boot, coverage, runtime
from pvefi.efi.profiles import PROFILES
from pvefi.efi.service import Service, service
from pvefi.spec.uefi.guids import GUID_NAMES
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import TableHeader

SERVICES = [*boot.SERVICES.values(), *runtime.SERVICES.values()]


@service("Example", "UEFI 2.10 §7.2.1")
def example(_efi: object) -> None:
    """Do something with `memory_type`.

    NOT_FOUND: there is none, `OUT_OF_RESOURCES` is not meant. INVALID_PARAMETER: EFI_NATIVE_INTERFACE is
    asked for, or NOT_FOUND would be wrong. OUT_OF_RESOURCES.
    """


def test_statuses_are_read_from_the_docstring_in_order_and_once() -> None:
    found = coverage.statuses_of(example)
    assert found == (EfiStatus.NOT_FOUND, EfiStatus.INVALID_PARAMETER, EfiStatus.OUT_OF_RESOURCES)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_gate_of_an_environment_is_covered(profile: str) -> None:
    gates = make_sample(PROFILES[profile]).gates
    rung: list[Service[..., Any]] = []
    for index in count():
        behind = gates.service(index)
        if behind is None:
            break
        rung.append(behind)
    offers = (*coverage.boot_services(), *coverage.runtime_services(), *coverage.protocol_functions())
    covered = {offer.name: offer for offer in offers}
    assert {one.name for one in rung} <= set(covered)
    for one in rung:
        assert covered[one.name].implemented == (one.doc != "Not implemented."), one.name


@pytest.mark.parametrize("profile", PROFILES)
def test_an_environment_installs_no_protocol_that_its_profile_does_not_name(profile: str) -> None:
    efi = make_sample(PROFILES[profile])
    installed = {guid for handle in efi.handles.handles() for guid in efi.handles.protocols(handle)}
    assert {GUID_NAMES[guid] for guid in installed - PROFILES[profile].protocols} == set()


def test_slots_stand_at_their_offsets() -> None:
    boot_services = {offer.name: offer.offset for offer in coverage.boot_services()}
    # UEFI 2.10 §4.4.1: RaiseTPL is the first after the header; Linux, asm-offsets of efi_boot_services.
    assert boot_services["RaiseTPL"] == TableHeader.SIZE
    assert boot_services["ExitBootServices"] == 0xE8
    assert boot_services["CreateEventEx"] == 0x170


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_status_that_a_body_raises_itself_stands_in_its_docstring(service: Service[..., Any]) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(service.body)))
    raised = {
        node.attr
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "EfiError"
        for node in ast.walk(call)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "EfiStatus"
    }
    named = {status.name for status in coverage.statuses_of(service)}
    assert raised <= named or not service.returns_status

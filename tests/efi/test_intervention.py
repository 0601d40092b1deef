# SPDX-License-Identifier: GPL-2.0-or-later
"""Injected faults: how they are written, and what each does to its call and to the calls that follow."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.efi.coverage import boot_services, protocol_functions, runtime_services
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.firmware import Firmware
from pvefi.efi.host_directory import HostDirectory
from pvefi.efi.intervention import (
    SHORT_BUFFERS,
    WITHOUT_STATUS,
    Arrival,
    Fault,
    FaultKind,
    Interventions,
    parse_fault,
)
from pvefi.efi.pages import FREE
from pvefi.efi.protocols import file, rng, simple_file_system
from pvefi.efi.service import Arguments, Service
from pvefi.efi.varstore.store import Variable
from pvefi.errors import UsageError
from pvefi.guest.mailbox import Return
from pvefi.spec.uefi import files, guids
from pvefi.spec.uefi.memory import AllocateType, MemoryType
from pvefi.spec.uefi.service_statuses import SERVICE_STATUSES
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.events import Address
from tests.efi.boot.guest import SCRATCH, FakeGuest
from tests.efi.test_firmware import Bell

RESULT, SIZE_AT, BUFFER, OTHER = SCRATCH + 0x2000, SCRATCH + 0x2100, SCRATCH + 0x3000, SCRATCH + 0x2200
STACK = SCRATCH + 0x1000

# ---------------------------------------------------------------- the grammar

_CALLS = st.none() | st.integers(1, 999_999_999)
_ERRORS = [status for status in EfiStatus if status is not EfiStatus.SUCCESS]
_WITH_STATUS = sorted(set(SERVICE_STATUSES) - WITHOUT_STATUS)
FAULTS = (
    st.builds(
        Fault, st.sampled_from(_WITH_STATUS), _CALLS, st.just(FaultKind.STATUS), st.sampled_from(_ERRORS)
    )
    | st.builds(Fault, st.sampled_from(sorted(SERVICE_STATUSES)), _CALLS, st.just(FaultKind.EXHAUSTED))
    | st.builds(Fault, st.sampled_from(sorted(SHORT_BUFFERS)), _CALLS, st.just(FaultKind.SHORT_BUFFER))
    | st.builds(Fault, st.just("ExitBootServices"), _CALLS, st.just(FaultKind.STALE_KEY))
)


@given(FAULTS)
def test_what_a_fault_is_written_as_is_read_as_the_same_fault(fault: Fault) -> None:
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "GetMemoryMap#2=EFI_OUT_OF_RESOURCES",
            Fault("GetMemoryMap", 2, FaultKind.STATUS, EfiStatus.OUT_OF_RESOURCES),
        ),
        (
            "GetVariable=EFI_DEVICE_ERROR",
            Fault("GetVariable", None, FaultKind.STATUS, EfiStatus.DEVICE_ERROR),
        ),
        ("ExitBootServices#1:stale-key", Fault("ExitBootServices", 1, FaultKind.STALE_KEY)),
        ("AllocatePool#3:exhausted", Fault("AllocatePool", 3, FaultKind.EXHAUSTED)),
        ("GetMemoryMap#1:short-buffer", Fault("GetMemoryMap", 1, FaultKind.SHORT_BUFFER)),
        (
            "EFI_RNG_PROTOCOL.GetRNG#1=EFI_NOT_READY",
            Fault("EFI_RNG_PROTOCOL.GetRNG", 1, FaultKind.STATUS, EfiStatus.NOT_READY),
        ),
    ],
)
def test_faults_are_typed_like_this(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert str(fault) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "SERVICE#CALL=STATUS"),
        ("GetMemoryMap", "SERVICE#CALL=STATUS"),
        ("GetMemoryMap#0=EFI_NOT_FOUND", "SERVICE#CALL=STATUS"),
        ("GetMemoryMap#-1=EFI_NOT_FOUND", "SERVICE#CALL=STATUS"),
        ("GetMemoryMap=EFI_NOT_FOUND\n", "SERVICE#CALL=STATUS"),
        ("GetMemoryMop=EFI_NOT_FOUND", "did you mean GetMemoryMap?"),
        ("GetMemoryMap=EFI_SUCCESS", "never without effect"),
        ("GetMemoryMap=EFI_NOT_FUOND", "did you mean EFI_NOT_FOUND?"),
        ("GetMemoryMap=EFI_NOT_FUOND", "expected a status of UEFI"),
        ("GetMemoryMap=NOT_FOUND", "did you mean EFI_NOT_FOUND?"),
        ("GetMemoryMap:broken", "stale-key, exhausted, short-buffer"),
        ("GetMemoryMap:status", "stale-key, exhausted, short-buffer"),
        ("GetMemoryMap:stale-key", "ExitBootServices"),
        ("AllocatePool:short-buffer", "fills a caller's buffer"),
        ("CopyMem=EFI_DEVICE_ERROR", "returns a status"),
    ],
)
def test_what_is_no_fault_is_refused_with_what_is_wrong(text: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    assert found in str(caught.value)


def test_the_services_without_a_status_are_those_that_return_none() -> None:
    offered = {offer.name for offer in (*boot_services(), *runtime_services(), *protocol_functions())}
    modules = {offer.module for offer in (*boot_services(), *runtime_services()) if offer.module}
    services = [
        value
        for module in modules
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, Service)
    ]
    assert {one.name for one in services if not one.returns_status} == WITHOUT_STATUS <= offered


def test_every_short_buffer_names_a_parameter_of_its_service() -> None:
    for offer in (*boot_services(), *runtime_services(), *protocol_functions()):
        if offer.name in SHORT_BUFFERS:
            assert EfiStatus.BUFFER_TOO_SMALL in SERVICE_STATUSES[offer.name]
    named = {name for name, statuses in SERVICE_STATUSES.items() if EfiStatus.BUFFER_TOO_SMALL in statuses}
    assert named == set(SHORT_BUFFERS)


# ---------------------------------------------------------------- what they do


def bell(*faults: str) -> Bell:
    made = Bell()
    interventions = Interventions(parse_fault(fault) for fault in faults)
    made.firmware = Firmware(
        made._make, made._enter, made.calls.append, lambda: None, interventions=interventions
    )
    return made.boot()


def status(answer: object) -> EfiStatus:
    assert isinstance(answer, Return), answer
    return EfiStatus(answer.value)


def word(made: Bell, address: int) -> int:
    return int.from_bytes(made.guest.memory.read(address, 8), "little")


def put(made: Bell, address: int, value: int) -> None:
    made.guest.memory.write(address, value.to_bytes(8, "little"))


def allocate_pool(made: Bell, size: int = 64) -> EfiStatus:
    return status(made.call("AllocatePool", MemoryType.LOADER_DATA, size, RESULT, stack=STACK))


def memory_map(made: Bell, size: int = 0x1000) -> EfiStatus:
    put(made, SIZE_AT, size)
    put(made, STACK + 0x28, OTHER + 16)  # DescriptorVersion
    return status(made.call("GetMemoryMap", SIZE_AT, BUFFER, OTHER, OTHER + 8, stack=STACK))


def test_a_status_is_given_to_the_call_that_it_is_for_and_has_no_effect() -> None:
    made = bell("AllocatePool#2=EFI_OUT_OF_RESOURCES")
    answers = [allocate_pool(made)]
    put(made, RESULT, 0x1234)
    answers.append(allocate_pool(made))
    assert word(made, RESULT) == 0x1234
    answers.append(allocate_pool(made))
    assert answers == [EfiStatus.SUCCESS, EfiStatus.OUT_OF_RESOURCES, EfiStatus.SUCCESS]
    assert [event.why for event in made.calls] == ["", "injected", ""]
    assert dict(made.calls[1].arguments)["Size"] == 64


def test_a_fault_without_a_number_is_of_each_call() -> None:
    made = bell("AllocatePool=EFI_OUT_OF_RESOURCES")
    assert [allocate_pool(made) for _ in range(3)] == [EfiStatus.OUT_OF_RESOURCES] * 3


def test_calls_are_counted_for_each_service_alone() -> None:
    made = bell("GetMemoryMap#2=EFI_INVALID_PARAMETER")
    answers = [memory_map(made), allocate_pool(made), memory_map(made), memory_map(made)]
    assert [answer.name for answer in answers] == ["SUCCESS", "SUCCESS", "INVALID_PARAMETER", "SUCCESS"]


def test_an_argument_that_would_be_refused_does_not_hide_an_injected_status() -> None:
    made = bell("AllocatePool=EFI_DEVICE_ERROR")
    assert status(made.call("AllocatePool", MemoryType.LOADER_DATA, 64, 0)) == EfiStatus.DEVICE_ERROR
    assert made.calls[0].why == "injected"


def test_a_warning_has_the_services_effect() -> None:
    made = bell("AllocatePool#1=EFI_WARN_STALE_DATA")
    assert allocate_pool(made) == EfiStatus.WARN_STALE_DATA
    assert status(made.call("FreePool", word(made, RESULT))) == EfiStatus.SUCCESS


def test_a_warning_does_not_hide_a_failure() -> None:
    made = bell("FreePool#1=EFI_WARN_STALE_DATA")
    assert status(made.call("FreePool", 0xDEAD000)) == EfiStatus.INVALID_PARAMETER
    assert made.calls[0].why.startswith("injected: ")


def test_a_service_outside_the_profile_can_be_answered_otherwise() -> None:
    made = Bell("minimal")
    interventions = Interventions([parse_fault("CalculateCrc32=EFI_DEVICE_ERROR")])
    made.firmware = Firmware(
        made._make, made._enter, made.calls.append, lambda: None, interventions=interventions
    )
    assert status(made.boot().call("CalculateCrc32", 0, 0, 0)) == EfiStatus.DEVICE_ERROR


def test_a_stale_key_is_stale_because_the_map_has_changed() -> None:
    made = bell("ExitBootServices#1:stale-key")
    key = made.efi.pages.key
    answer = status(made.call("ExitBootServices", made.image, key))
    assert (answer, made.efi.pages.key != key) == (EfiStatus.INVALID_PARAMETER, True)
    assert made.calls[-1].why == f"injected: the map key is stale: expected {key + 1}, found {key}"
    made.call("ExitBootServices", made.image, made.efi.pages.key)
    assert made.calls[-1].status == EfiStatus.SUCCESS


def test_exhausted_memory_is_gone_for_pool_and_pages_and_can_be_given_back() -> None:
    made = bell("AllocatePool#2:exhausted")
    assert allocate_pool(made) == EfiStatus.SUCCESS
    kept = word(made, RESULT)
    assert allocate_pool(made) == EfiStatus.OUT_OF_RESOURCES
    assert made.calls[-1].why.startswith("injected: no ")
    assert not any(span.name == FREE for span in made.efi.pages.spans)
    pages = status(
        made.call("AllocatePages", AllocateType.ANY_PAGES, MemoryType.LOADER_DATA, 1, RESULT, stack=STACK)
    )
    assert pages == EfiStatus.OUT_OF_RESOURCES
    assert not made.calls[-1].why.startswith("injected")
    assert status(made.call("FreePool", kept)) == EfiStatus.SUCCESS
    assert allocate_pool(made) == EfiStatus.SUCCESS


def test_exhausted_memory_is_in_the_memory_map() -> None:
    made = bell("AllocatePool#1:exhausted")
    allocate_pool(made)
    assert all(one.type != MemoryType.CONVENTIONAL for one in made.efi.pages.descriptors())


def test_a_short_buffer_has_the_needed_size_stored_and_fits_when_it_is_asked_again() -> None:
    made = bell("GetMemoryMap#1:short-buffer")
    assert memory_map(made) == EfiStatus.BUFFER_TOO_SMALL
    needed = word(made, SIZE_AT)
    assert needed == len(made.efi.pages.packed())
    assert made.calls[-1].why.startswith("injected: the memory map takes ")
    assert memory_map(made, needed) == EfiStatus.SUCCESS


ACCESS = VariableAttribute.BOOTSERVICE_ACCESS


def with_variables(made: Bell, *names: str) -> None:
    for name in names:
        made.efi.volatile_variables.put(Variable(name, guids.GLOBAL_VARIABLE, ACCESS, b"value"))


def test_a_variable_does_not_fit_into_a_short_buffer() -> None:
    made = bell("GetVariable#1:short-buffer")
    with_variables(made, "Here")
    name, vendor = made.guest.put("Here\0".encode("utf-16-le")), made.guest.guid(guids.GLOBAL_VARIABLE)
    put(made, SIZE_AT, 100)
    put(made, STACK + 0x28, BUFFER)
    answers = [status(made.call("GetVariable", name, vendor, 0, SIZE_AT, stack=STACK)) for _ in range(2)]
    assert (answers, word(made, SIZE_AT)) == ([EfiStatus.BUFFER_TOO_SMALL, EfiStatus.SUCCESS], 5)


def test_the_next_name_does_not_fit_into_a_short_buffer() -> None:
    made = bell("GetNextVariableName#1:short-buffer")
    with_variables(made, "Here")
    vendor = made.guest.guid(guids.GLOBAL_VARIABLE)
    made.guest.memory.write(BUFFER, bytes(64))
    put(made, SIZE_AT, 64)
    assert status(made.call("GetNextVariableName", SIZE_AT, BUFFER, vendor)) == EfiStatus.BUFFER_TOO_SMALL
    assert word(made, SIZE_AT) > 2
    assert status(made.call("GetNextVariableName", SIZE_AT, BUFFER, vendor)) == EfiStatus.SUCCESS


def served(guest: FakeGuest, service: Service[..., Any], fault: str, *words: int) -> Any:
    """Serve one call with a fault, as a body is served."""
    for at, value in enumerate(words[4:]):
        guest.memory.write(STACK + 0x28 + 8 * at, value.to_bytes(8, "little"))
    first = (*words, 0, 0, 0, 0)[:4]
    arguments = Arguments(guest.memory, (first[0], first[1], first[2], first[3]), STACK)
    return Interventions.serve(parse_fault(fault), guest.efi, service, arguments, [])


def test_the_random_algorithms_do_not_fit_into_a_short_buffer(guest: FakeGuest) -> None:
    guest.memory.write(SIZE_AT, (64).to_bytes(8, "little"))
    with pytest.raises(EfiError, match="EFI_BUFFER_TOO_SMALL: injected: the list takes 16 bytes"):
        served(guest, rng.get_info, "EFI_RNG_PROTOCOL.GetInfo:short-buffer", 0, SIZE_AT, BUFFER)
    assert int.from_bytes(guest.memory.read(SIZE_AT, 8), "little") == 16


def test_a_directory_entry_does_not_fit_and_of_a_file_as_much_is_read_as_there_is_room_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    directory = HostDirectory(tmp_path)
    guest = FakeGuest(directory=directory)
    simple_file_system.install(guest.efi, guest.efi.handles.install(0, guids.DEVICE_PATH_PROTOCOL, 0))
    root = guest.pointer()
    simple_file_system.open_volume(guest.efi, Address(0), root)
    number = guest.number(0x100)
    fault = "EFI_FILE_PROTOCOL.Read:short-buffer"
    steps = served(guest, file.read, fault, root.get(), number.address, BUFFER)
    with pytest.raises(EfiError, match="EFI_BUFFER_TOO_SMALL: injected: "):
        guest.run(steps)
    assert number.get() > 80
    opened = guest.pointer()
    file.open_file(guest.efi, root.get(), opened, "file", files.READING, files.FileAttribute(0))
    number = guest.number(0x100)
    guest.run(served(guest, file.read, fault, opened.get(), number.address, BUFFER))
    assert (number.get(), guest.memory.read(BUFFER, 8)) == (8, b"contents")
    directory.close()


def test_every_call_is_told_before_it_is_served_and_may_get_faults_from_there_on() -> None:
    seen: list[str] = []

    def arriving(efi: Environment, arrival: Arrival) -> tuple[Fault, ...]:
        assert efi is made.efi
        seen.append(f"{arrival.place} {arrival.service.decode(arrival.arguments)[1]}")
        return (parse_fault("AllocatePool=EFI_OUT_OF_RESOURCES"),) if arrival.place.call == 2 else ()

    made = Bell()
    made.firmware = Firmware(
        made._make, made._enter, made.calls.append, lambda: None, interventions=Interventions((), arriving)
    )
    made.boot()
    answers = [allocate_pool(made, size) for size in (10, 20, 30)]
    assert seen == ["AllocatePool#1 10", "AllocatePool#2 20", "AllocatePool#3 30"]
    assert answers == [EfiStatus.SUCCESS, EfiStatus.OUT_OF_RESOURCES, EfiStatus.OUT_OF_RESOURCES]

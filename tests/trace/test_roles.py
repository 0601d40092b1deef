# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pvefi.spec.uefi.memory import MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address, CallEvent, Value
from pvefi.trace.roles import Part, compared_calls
from pvefi.trace.spelling import Named
from tests.trace.made import call


def parts(*events: CallEvent) -> list[Part]:
    """Return the parts of the last call that are arguments or outputs."""
    return [part for part in compared_calls(events)[-1].parts if part.kind in ("argument", "output")]


def key(value: Value, name: str = "Size") -> object:
    return parts(call(arguments=((name, value),)))[0].key


def test_an_address_of_the_guests_own_is_only_null_or_not() -> None:
    assert key(Address(0x1000)) == key(Address(0x2000))
    assert key(Address(0x1000)) != key(Address(0))
    assert key(None) == key(Address(0))


def test_a_number_is_no_address() -> None:
    assert key(0x1000) != key(Address(0x1000))
    assert key(1) != key(2)


def test_a_member_read_from_a_file_is_its_number() -> None:
    assert key(Named(2, "MemoryType", "EfiLoaderData")) == key(MemoryType.LOADER_DATA)


def test_text_and_buffers_are_compared_by_value() -> None:
    assert key("a") != key("b")
    assert key(b"a") != key("a")


def test_an_address_that_a_call_gave_out_is_its_output() -> None:
    given = call(3, "AllocatePool", outputs=(("Buffer", Address(0x5000)),))
    (buffer,) = parts(given, call(4, "FreePool", arguments=(("Buffer", Address(0x5000)),)))
    assert str(buffer.origin) == "Buffer of call 3"
    assert buffer.told


def test_an_address_given_out_again_belongs_to_the_last_call() -> None:
    first = call(3, "AllocatePool", outputs=(("Buffer", Address(0x5000)),))
    again = call(5, "AllocatePages", outputs=(("Memory", Address(0x5000)),))
    (buffer,) = parts(first, again, call(6, arguments=(("Memory", Address(0x5000)),)))
    assert str(buffer.origin) == "Memory of call 5"


def test_null_is_given_out_by_nobody() -> None:
    given = call(3, "LocateProtocol", outputs=(("Interface", Address(0)),))
    (interface,) = parts(given, call(4, arguments=(("This", Address(0)),)))
    assert interface.origin is None


def test_a_map_key_is_that_of_the_map() -> None:
    fetched = call(8, "GetMemoryMap", outputs=(("MapKey", 14),))
    (map_key,) = parts(fetched, call(9, "ExitBootServices", arguments=(("MapKey", 14),)))
    assert str(map_key.origin) == "MapKey of call 8"
    assert parts(fetched)[0].key == parts(call(8, "GetMemoryMap", outputs=(("MapKey", 99),)))[0].key


def test_a_map_key_that_no_call_gave_is_another() -> None:
    fetched = call(8, "GetMemoryMap", outputs=(("MapKey", 14),))
    stale, fresh = (
        compared_calls([fetched, call(9, "ExitBootServices", arguments=(("MapKey", number),))])[-1]
        for number in (13, 14)
    )
    assert stale.key != fresh.key


def test_the_time_of_day_is_not_compared() -> None:
    one, two = (compared_calls([call(1, "GetTime", outputs=(("Time", time),))])[0] for time in (b"1", b"2"))
    assert one.key == two.key


def test_times_counts_and_reasons_are_not_compared() -> None:
    one = call(1, status=EfiStatus.NOT_FOUND, host_us=1.0, instructions=5, why="profile linux")
    two = call(9, status=EfiStatus.NOT_FOUND, host_us=2.0, instructions=7, why="profile minimal")
    assert compared_calls([one])[0].key == compared_calls([two])[0].key


def test_status_result_and_depth_are_compared() -> None:
    plain = compared_calls([call()])[0].key
    assert compared_calls([call(status=EfiStatus.NOT_FOUND)])[0].key != plain
    assert compared_calls([call(result=4)])[0].key != plain
    assert compared_calls([call(depth=2)])[0].key != plain

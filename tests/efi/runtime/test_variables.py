# SPDX-License-Identifier: GPL-2.0-or-later
"""Variable services on a fresh guest: variables that nobody signs."""

from __future__ import annotations

import pytest

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.variables import (
    get_next_variable_name,
    get_variable,
    query_variable_info,
    set_variable,
)
from pvefi.efi.service import InOut
from pvefi.efi.varstore.memory import MAXIMUM_VARIABLE_SIZE, STORAGE_SIZE
from pvefi.efi.varstore.store import Variable
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.signature_list import CERT_X509
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest, value_of
from tests.efi.failing_store import FailingStore

NULL = Address(0)
VENDOR = Guid.parse("11111111-2222-3333-4444-555555555555")
NV, BS, RT = (
    VariableAttribute.NON_VOLATILE,
    VariableAttribute.BOOTSERVICE_ACCESS,
    VariableAttribute.RUNTIME_ACCESS,
)
APPEND = VariableAttribute.APPEND_WRITE
INDICATIONS = ("OsIndicationsSupported", guids.GLOBAL_VARIABLE)
MODES = {
    "SetupMode": b"\1",
    "AuditMode": b"\0",
    "DeployedMode": b"\0",
    "SecureBoot": b"\0",
    "VendorKeys": b"\0",
    "SignatureSupport": CERT_X509.wire,
}
OWN = [INDICATIONS, *((name, guids.GLOBAL_VARIABLE) for name in MODES)]
"""The variables of the firmware's own."""


def put(
    guest: FakeGuest,
    name: str = "Test",
    data: bytes = b"data",
    attributes: int = NV | BS | RT,
    vendor: Guid = VENDOR,
) -> None:
    address = guest.put(data) if data else NULL
    set_variable(guest.efi, name, vendor, VariableAttribute(attributes), len(data), address)


def read(guest: FakeGuest, name: str = "Test", vendor: Guid = VENDOR, room: int = 0x10000) -> bytes:
    size, buffer = guest.number(room), guest.put(bytes(room))
    get_variable(guest.efi, name, vendor, None, size, buffer)
    return guest.memory.read(buffer, value_of(size))


def attributes_of(guest: FakeGuest, name: str = "Test", vendor: Guid = VENDOR) -> int:
    found = guest.number(size=4)
    with pytest.raises(EfiError, match="EFI_BUFFER_TOO_SMALL"):
        get_variable(guest.efi, name, vendor, found, guest.number(0), NULL)
    return value_of(found)


def names(guest: FakeGuest) -> list[tuple[str, Guid]]:
    """Return all variables, in the order in which a guest finds them."""
    found: list[tuple[str, Guid]] = []
    name = guest.text("")
    guest.put(bytes(1024))
    vendor = vendor_pointer(guest)
    while True:
        size = guest.number(1024)
        try:
            get_next_variable_name(guest.efi, size, name, vendor)
        except EfiError as error:
            if error.status is EfiStatus.NOT_FOUND:
                return found
            raise
        text = guest.memory.read(name.address, value_of(size)).decode("utf-16-le", "surrogatepass")
        assert text.endswith("\0")
        found.append((text[:-1], Guid(guest.memory.read(vendor.address, 16))))


def room(guest: FakeGuest, attributes: int = NV | BS | RT) -> tuple[int, int, int]:
    numbers = [guest.number() for _ in range(3)]
    query_variable_info(guest.efi, VariableAttribute(attributes), *numbers)
    whole, left, largest = (value_of(number) for number in numbers)
    return whole, left, largest


def refused(status: str) -> pytest.RaisesExc[EfiError]:
    return pytest.raises(EfiError, match=f"EFI_{status}:")


# ---------------------------------------------------------------- reading


def test_what_was_set_is_read_with_its_attributes(guest: FakeGuest) -> None:
    put(guest, data=b"\x01\x02\x03")
    assert read(guest) == b"\x01\x02\x03"
    assert attributes_of(guest) == NV | BS | RT


def test_a_buffer_that_is_too_small_is_told_the_size_and_not_written(guest: FakeGuest) -> None:
    put(guest, data=b"abcdef")
    size, buffer = guest.number(5), guest.put(b"xxxxx")
    with refused("BUFFER_TOO_SMALL"):
        get_variable(guest.efi, "Test", VENDOR, None, size, buffer)
    assert value_of(size) == 6
    assert guest.memory.read(buffer, 5) == b"xxxxx"


def test_null_for_a_buffer_that_would_do_is_refused(guest: FakeGuest) -> None:
    put(guest)
    with refused("INVALID_PARAMETER"):
        get_variable(guest.efi, "Test", VENDOR, None, guest.number(4), NULL)


@pytest.mark.parametrize(
    ("name", "vendor"), [("test", VENDOR), ("Test", guids.GLOBAL_VARIABLE), ("", VENDOR)]
)
def test_a_variable_is_one_name_under_one_vendor(guest: FakeGuest, name: str, vendor: Guid) -> None:
    put(guest)
    with refused("NOT_FOUND"):
        read(guest, name, vendor)


def test_a_guest_without_keys_is_in_setup_mode_and_images_are_not_verified(guest: FakeGuest) -> None:
    for name, data in MODES.items():
        assert read(guest, name, guids.GLOBAL_VARIABLE) == data
        assert attributes_of(guest, name, guids.GLOBAL_VARIABLE) == BS | RT


def test_the_firmware_says_that_it_takes_no_indications(guest: FakeGuest) -> None:
    assert read(guest, *INDICATIONS) == bytes(8)
    assert attributes_of(guest, *INDICATIONS) == BS | RT


# ---------------------------------------------------------------- enumeration


def test_every_variable_is_named_once(guest: FakeGuest) -> None:
    put(guest, "A")
    put(guest, "A", vendor=guids.SHIM_LOCK)
    put(guest, "\ud800B", attributes=BS)
    put(guest, "A", b"changed")
    assert names(guest) == [*OWN, ("\ud800B", VENDOR), ("A", VENDOR), ("A", guids.SHIM_LOCK)]


def test_a_name_that_does_not_fit_is_told_its_size(guest: FakeGuest) -> None:
    size, name = guest.number(2), guest.text("")
    vendor = vendor_pointer(guest)
    with refused("BUFFER_TOO_SMALL"):
        get_next_variable_name(guest.efi, size, name, vendor)
    assert value_of(size) == 2 * len("OsIndicationsSupported") + 2
    assert guest.memory.read(vendor.address, 16) == VENDOR.wire


def vendor_pointer(guest: FakeGuest, vendor: Guid = VENDOR) -> InOut[Guid]:
    return InOut(guest.memory, guest.guid(vendor), Guid.SIZE, None)


def test_there_is_no_going_on_from_a_variable_that_is_not_there(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match=r"EFI_INVALID_PARAMETER: no variable Boot0001-.* to go on from"):
        get_next_variable_name(guest.efi, guest.number(18), guest.text("Boot0001"), vendor_pointer(guest))


@pytest.mark.parametrize("size", [0, 1, 2, 16, 17])
def test_a_name_that_does_not_end_in_its_buffer_is_refused(guest: FakeGuest, size: int) -> None:
    with pytest.raises(EfiError, match=f"EFI_INVALID_PARAMETER: .*without an end in {size // 2} characters"):
        get_next_variable_name(guest.efi, guest.number(size), guest.text("Boot0001"), vendor_pointer(guest))


def test_a_buffer_that_does_not_end_a_name_is_not_left(guest: FakeGuest) -> None:
    name = guest.text("")
    name.address = Address(SIZE - 4)
    guest.memory.write(name.address, b"a\0b\0")
    with refused("INVALID_PARAMETER"):
        get_next_variable_name(guest.efi, guest.number(4), name, vendor_pointer(guest))
    with pytest.raises(GuestFault):
        get_next_variable_name(guest.efi, guest.number(1 << 63), name, vendor_pointer(guest))


# ---------------------------------------------------------------- writing


def test_setting_again_replaces_and_appending_lengthens(guest: FakeGuest) -> None:
    put(guest, data=b"one")
    put(guest, data=b"two")
    put(guest, data=b" and three", attributes=NV | BS | RT | APPEND)
    assert read(guest) == b"two and three"
    assert attributes_of(guest) == NV | BS | RT


def test_appending_to_nothing_creates_and_appending_nothing_does_nothing(guest: FakeGuest) -> None:
    put(guest, "None", b"", NV | BS | RT | APPEND)
    put(guest, "New", b"data", NV | BS | RT | APPEND)
    put(guest, "New", b"", NV | BS | RT | APPEND)
    assert names(guest) == [*OWN, ("New", VENDOR)]
    assert read(guest, "New") == b"data"


@pytest.mark.parametrize(("data", "attributes"), [(b"", NV | BS | RT), (b"data", 0), (b"", 0), (b"x", NV)])
def test_no_data_or_no_access_deletes(guest: FakeGuest, data: bytes, attributes: int) -> None:
    put(guest)
    put(guest, data=data, attributes=attributes)
    assert names(guest) == OWN
    with refused("NOT_FOUND"):
        put(guest, data=data, attributes=attributes)


@pytest.mark.parametrize("attributes", [BS, NV | BS, BS | RT, BS | APPEND])
@pytest.mark.parametrize("data", [b"other", b""])
def test_other_attributes_than_before_are_refused(guest: FakeGuest, attributes: int, data: bytes) -> None:
    put(guest)
    with refused("INVALID_PARAMETER"):
        put(guest, data=data, attributes=attributes)
    assert read(guest) == b"data"


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        (NV | RT, "INVALID_PARAMETER"),
        (NV | BS | RT | 0x100, "INVALID_PARAMETER"),
        (NV | BS | RT | 0x80000000, "INVALID_PARAMETER"),
        (NV | BS | RT | 0xA0, "INVALID_PARAMETER"),
        (NV | BS | RT | 0x08, "INVALID_PARAMETER"),
        (NV | BS | RT | 0x10, "UNSUPPORTED"),
    ],
)
def test_attributes_that_no_variable_can_have_are_refused(
    guest: FakeGuest, attributes: int, status: str
) -> None:
    with refused(status):
        put(guest, attributes=attributes)
    assert names(guest) == OWN


def test_a_variable_needs_a_name_and_data_an_address(guest: FakeGuest) -> None:
    with refused("INVALID_PARAMETER"):
        put(guest, "")
    with refused("INVALID_PARAMETER"):
        set_variable(guest.efi, "Test", VENDOR, NV | BS | RT, 1, NULL)


@pytest.mark.parametrize(
    "name", ["SecureBoot", "SetupMode", "OsIndicationsSupported", "PlatformRecovery0001", "dbDefault"]
)
@pytest.mark.parametrize("data", [b"\1", b""])
def test_the_firmware_s_own_variables_are_write_protected(guest: FakeGuest, name: str, data: bytes) -> None:
    with refused("WRITE_PROTECTED"):
        put(guest, name, data, BS | RT, guids.GLOBAL_VARIABLE)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("Boot0001", NV | BS | RT),
        ("BootOrder", NV | BS | RT),
        ("BootCurrent", BS | RT),
        ("Key00FF", NV | BS | RT),
    ],
)
def test_variables_that_the_specification_defines_are_set(
    guest: FakeGuest, name: str, attributes: int
) -> None:
    put(guest, name, b"\0\0", attributes, guids.GLOBAL_VARIABLE)
    assert read(guest, name, guids.GLOBAL_VARIABLE) == b"\0\0"


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        ("Boot001", guids.GLOBAL_VARIABLE),
        ("Boot00010", guids.GLOBAL_VARIABLE),
        ("Boot000G", guids.GLOBAL_VARIABLE),
        ("Boot000a", guids.GLOBAL_VARIABLE),
        ("Boot####x", guids.GLOBAL_VARIABLE),
        ("BootCurrent", guids.GLOBAL_VARIABLE),
        ("PK", guids.GLOBAL_VARIABLE),
        ("db", guids.IMAGE_SECURITY_DATABASE),
        ("HwErrRec0001", guids.HARDWARE_ERROR_VARIABLE),
        ("Mine", guids.IMAGE_SECURITY_DATABASE),
    ],
)
def test_what_the_specification_s_vendors_do_not_have_is_refused(
    guest: FakeGuest, name: str, vendor: Guid
) -> None:
    with refused("INVALID_PARAMETER"):
        put(guest, name, vendor=vendor)


@pytest.mark.parametrize(
    ("name", "vendor", "status"),
    [
        ("HwErrRec000A", guids.HARDWARE_ERROR_VARIABLE, "UNSUPPORTED"),
        ("HwErrRec00A", guids.HARDWARE_ERROR_VARIABLE, "INVALID_PARAMETER"),
        ("HwErrRec000A", VENDOR, "INVALID_PARAMETER"),
    ],
)
def test_a_hardware_error_record_has_its_own_name_and_there_is_none_all_the_same(
    guest: FakeGuest, name: str, vendor: Guid, status: str
) -> None:
    with refused(status):
        put(guest, name, attributes=NV | BS | RT | 0x8, vendor=vendor)


# ---------------------------------------------------------------- room


def test_a_variable_of_the_largest_size_fits_and_none_larger(guest: FakeGuest) -> None:
    _, _, largest = room(guest)
    assert largest == MAXIMUM_VARIABLE_SIZE >= 32 << 10
    data = bytes(largest - 2 * len("Test\0"))
    put(guest, data=data)
    assert read(guest) == data
    for text, attributes in ((b"x", NV | BS | RT | APPEND), (data + b"x", NV | BS | RT)):
        with refused("INVALID_PARAMETER"):
            put(guest, data=text, attributes=attributes)
    assert read(guest) == data


@pytest.mark.parametrize("attributes", [NV | BS | RT, BS, NV | BS | 0x20, NV | BS | 0x80])
@pytest.mark.parametrize("size", [1 << 20, 1 << 32, (1 << 64) - 1])
def test_a_size_that_nothing_has_is_refused_and_not_read(
    guest: FakeGuest, attributes: int, size: int
) -> None:
    with refused("INVALID_PARAMETER"):
        set_variable(guest.efi, "Test", VENDOR, VariableAttribute(attributes), size, guest.put(b"x"))


@pytest.mark.parametrize("length", [0x1000, 0x7EFF, 0x7FFD])
def test_a_long_name_counts_as_data_does(guest: FakeGuest, length: int) -> None:
    name = "\ud800" * length
    put(guest, name, b"d")
    assert read(guest, name) == b"d"
    with refused("INVALID_PARAMETER"):
        put(guest, name, bytes(MAXIMUM_VARIABLE_SIZE - 2 * length - 1))
    with refused("INVALID_PARAMETER"):
        put(guest, "\ud800" * 0x7FFF, b"d")
    found = guest.text(name)
    with refused("NOT_FOUND"):
        get_next_variable_name(guest.efi, guest.number(2 * length + 2), found, vendor_pointer(guest))


@pytest.mark.parametrize("attributes", [NV | BS | RT, BS])
def test_the_room_that_is_told_is_all_the_room_there_is(guest: FakeGuest, attributes: int) -> None:
    before = room(guest, attributes)
    assert before[0] == STORAGE_SIZE
    for number in range(1000):
        _, _, largest = room(guest, attributes)
        if largest < 100:
            break
        put(guest, f"{number:03}", bytes(largest - 8), attributes)
    _, left, largest = room(guest, attributes)
    assert left < 200
    with refused("OUT_OF_RESOURCES"):
        put(guest, "full", bytes(max(1, largest)), attributes)
    put(guest, "000", b"", attributes)
    assert room(guest, attributes)[1] > left
    other = BS if attributes & NV else NV | BS
    put(guest, "other", attributes=other)


def test_replacing_needs_no_room_for_both(guest: FakeGuest) -> None:
    for name in "abcd":
        put(guest, name, bytes(min(room(guest)[2] - 4, 60 << 10)))
    put(guest, "d", bytes(60 << 10))
    assert len(read(guest, "d")) == 60 << 10


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        (0, "INVALID_PARAMETER"),
        (NV, "INVALID_PARAMETER"),
        (RT, "INVALID_PARAMETER"),
        (BS | 0x100, "INVALID_PARAMETER"),
        (BS | 0x10, "UNSUPPORTED"),
        (RT | 0x108, "UNSUPPORTED"),
    ],
)
def test_room_for_what_cannot_be_is_not_told(guest: FakeGuest, attributes: int, status: str) -> None:
    with refused(status):
        room(guest, attributes)


def test_room_is_told_whether_or_not_one_means_to_append(guest: FakeGuest) -> None:
    assert room(guest, NV | BS | APPEND) == room(guest, NV | BS)


# ---------------------------------------------------------------- after ExitBootServices


def test_variables_for_boot_services_are_gone_from_sight(guest: FakeGuest) -> None:
    put(guest, "Boot", attributes=NV | BS)
    put(guest, "Run")
    guest.efi.phase = Phase.RUNTIME
    assert names(guest) == [*OWN, ("Run", VENDOR)]
    with refused("NOT_FOUND"):
        read(guest, "Boot")
    with refused("INVALID_PARAMETER"):
        get_next_variable_name(guest.efi, guest.number(10), guest.text("Boot"), vendor_pointer(guest))
    with refused("WRITE_PROTECTED"):
        put(guest, "Boot")
    with refused("INVALID_PARAMETER"):
        room(guest, NV | BS)


def test_only_lasting_variables_are_set_by_an_operating_system(guest: FakeGuest) -> None:
    put(guest, "Volatile", attributes=BS | RT)
    put(guest, "Lasting")
    guest.efi.phase = Phase.RUNTIME
    put(guest, "Lasting", b"changed")
    put(guest, "New")
    put(guest, "New", b"")
    assert read(guest, "Lasting") == b"changed"
    assert read(guest, "Volatile") == b"data"
    for data in (b"changed", b""):
        with refused("WRITE_PROTECTED"):
            put(guest, "Volatile", data, BS | RT)
    for attributes in (BS | RT, NV | BS, BS):
        with refused("INVALID_PARAMETER"):
            put(guest, "Another", attributes=attributes)


# ---------------------------------------------------------------- resets


def test_non_volatile_variables_outlive_a_reset_and_volatile_ones_do_not(guest: FakeGuest) -> None:
    put(guest, "Lasting")
    put(guest, "Boot", attributes=NV | BS)
    put(guest, "Volatile", attributes=BS | RT)
    guest.efi.phase = Phase.RUNTIME
    guest.reset()
    assert names(guest) == [*OWN, ("Lasting", VENDOR), ("Boot", VENDOR)]
    assert read(guest, "Lasting") == b"data"


def test_two_guests_do_not_share_variables(guest: FakeGuest) -> None:
    put(guest)
    assert names(FakeGuest()) == OWN


@pytest.mark.parametrize("prefix", ["Boot", "Driver", "Key", "SysPrep", "PlatformRecovery"])
def test_the_pattern_of_numbered_names_is_no_name(guest: FakeGuest, prefix: str) -> None:
    with refused("INVALID_PARAMETER"):
        put(guest, f"{prefix}####", vendor=guids.GLOBAL_VARIABLE)


# ---------------------------------------------------------------- what a file may have


@pytest.mark.parametrize("attributes", [0, BS | RT])
def test_a_volatile_variable_in_the_guest_s_store_counts_as_absent(guest: FakeGuest, attributes: int) -> None:
    kept = guest.surroundings.kept.variables
    kept.put(Variable("Test", VENDOR, VariableAttribute(BS | RT), b"old"))
    before = names(guest)
    assert ("Test", VENDOR) not in before
    for act in (lambda: read(guest), lambda: put(guest, data=b"", attributes=attributes)):
        with refused("NOT_FOUND"):
            act()
    put(guest, attributes=BS | RT)
    put(guest, data=b"", attributes=BS | RT)
    with refused("NOT_FOUND"):
        read(guest)
    put(guest)
    assert read(guest) == b"data"
    assert names(guest) == [*before, ("Test", VENDOR)]


def test_the_firmware_s_own_are_found_once_whatever_the_guest_s_store_has(guest: FakeGuest) -> None:
    kept = guest.surroundings.kept.variables
    for name in ("SetupMode", "Last"):
        kept.put(Variable(name, guids.GLOBAL_VARIABLE, NV | BS | RT, b"\7"))
    assert names(guest) == [*OWN, ("Last", guids.GLOBAL_VARIABLE)]
    assert read(guest, "SetupMode", guids.GLOBAL_VARIABLE) == b"\1"


@pytest.mark.parametrize("attributes", [NV | BS, NV | BS | VariableAttribute.AUTHENTICATED_WRITE_ACCESS])
def test_keys_and_what_is_counted_are_not_deleted_without_a_signature(
    guest: FakeGuest, attributes: int
) -> None:
    vendor, status = (
        (VENDOR, "WRITE_PROTECTED")
        if attributes & VariableAttribute.AUTHENTICATED_WRITE_ACCESS
        else (guids.IMAGE_SECURITY_DATABASE, "SECURITY_VIOLATION")
    )
    held = Variable("db", vendor, VariableAttribute(attributes), b"x")
    guest.surroundings.kept.variables.put(held)
    with refused(status):
        put(guest, "db", b"", 0, vendor)
    assert guest.surroundings.kept.variables.get("db", vendor) == held


# ---------------------------------------------------------------- going through many


def test_going_through_many_variables_lists_them_a_few_times_only(guest: FakeGuest) -> None:
    store = FailingStore(guest.surroundings.kept)
    for number in range(200):
        put(guest, f"N{number}")
    assert len(names(guest)) == len(OWN) + 200
    assert store.walks <= 3


def test_what_changes_on_the_way_is_met_as_it_then_is(guest: FakeGuest) -> None:
    kept = guest.surroundings.kept.variables
    for name in "ABC":
        put(guest, name)
    walked: list[str] = []
    place = guest.text("")
    guest.put(bytes(64))
    vendor = vendor_pointer(guest)
    while True:
        try:
            get_next_variable_name(guest.efi, guest.number(64), place, vendor)
        except EfiError as error:
            if error.status is EfiStatus.NOT_FOUND:
                break
            raise
        walked.append(place.get(64))
        match walked[-1]:
            case "A":
                kept.remove("B", VENDOR)  # as the firmware itself may
                put(guest, "D")
            case "D":
                kept.put(Variable("E", VENDOR, NV | BS, b"x"))
            case "E":
                guest.efi.phase = Phase.RUNTIME
                kept.put(Variable("F", VENDOR, NV | BS, b"x"))
                with refused("INVALID_PARAMETER"):
                    get_next_variable_name(guest.efi, guest.number(64), place, vendor)
                guest.efi.phase = Phase.BOOT
    assert walked[len(OWN) :] == ["A", "C", "D", "E", "F"]

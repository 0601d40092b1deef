# SPDX-License-Identifier: GPL-2.0-or-later
"""The handle database: installations, openings and the rules between them."""

from __future__ import annotations

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.handles import HandleDatabase
from pvefi.layout import Guid
from pvefi.spec.uefi.handles import OpenProtocolAttributes as Attributes
from pvefi.spec.uefi.status import EfiStatus

DISK = Guid.parse("11111111-0000-0000-0000-000000000001")
PATH = Guid.parse("11111111-0000-0000-0000-000000000002")
OTHER = Guid.parse("11111111-0000-0000-0000-000000000003")

BY_DRIVER, EXCLUSIVE, CHILD = Attributes.BY_DRIVER, Attributes.EXCLUSIVE, Attributes.BY_CHILD_CONTROLLER
GET, TEST, BY_HANDLE = Attributes.GET_PROTOCOL, Attributes.TEST_PROTOCOL, Attributes.BY_HANDLE_PROTOCOL


def refusal(status: EfiStatus, why: str = "") -> pytest.RaisesExc[EfiError]:
    return pytest.raises(EfiError, match=f"EFI_{status.name}: .*{why}")


@pytest.fixture
def db() -> HandleDatabase:
    return HandleDatabase()


@pytest.fixture
def device(db: HandleDatabase) -> int:
    return db.install(0, DISK, 0x1000)


@pytest.fixture
def agent(db: HandleDatabase, device: int) -> int:
    return db.install(0, PATH, 0x2000)


@pytest.fixture
def other(db: HandleDatabase, agent: int) -> int:
    return db.install(0, PATH, 0x3000)


def test_a_handle_looks_like_a_pointer(device: int) -> None:
    assert device
    assert device % 8 == 0


def test_a_handle_lives_as_long_as_its_last_protocol(db: HandleDatabase, device: int) -> None:
    assert db.install(device, PATH, 0x2000) == device
    db.uninstall(device, DISK, 0x1000)
    assert device in db
    db.uninstall(device, PATH, 0x2000)
    assert device not in db
    assert db.handles() == ()
    with refusal(EfiStatus.INVALID_PARAMETER, "no longer, a handle"):
        db.install(device, DISK, 0x1000)
    assert db.install(0, DISK, 0x1000) != device


def test_handles_and_protocols_keep_their_order(db: HandleDatabase) -> None:
    first, second = db.install(0, PATH, 1), db.install(0, DISK, 2)
    db.install(first, DISK, 3)
    db.install(first, OTHER, 4)
    assert db.handles() == (first, second)
    assert db.handles_with(DISK) == (second, first)
    assert db.protocols(first) == (PATH, DISK, OTHER)


def test_a_protocol_is_on_a_handle_once(db: HandleDatabase, device: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "already"):
        db.install(device, DISK, 0x5000)
    assert db.interface(device, DISK) == 0x1000


def test_an_interface_may_be_null(db: HandleDatabase) -> None:
    handle = db.install(0, DISK, 0)
    assert db.interface(handle, DISK) == 0
    assert db.interface(handle, PATH) is None
    assert db.interface(1, PATH) is None


def test_only_what_is_installed_can_be_uninstalled(db: HandleDatabase, device: int) -> None:
    for guid, interface in ((DISK, 0x1001), (PATH, 0x1000)):
        with refusal(EfiStatus.NOT_FOUND):
            db.uninstall(device, guid, interface)
        with refusal(EfiStatus.NOT_FOUND):
            db.reinstall(device, guid, interface, 5)
    with refusal(EfiStatus.INVALID_PARAMETER):
        db.uninstall(device + 8, DISK, 0x1000)


def test_reinstalling_replaces_the_interface_and_makes_it_the_newest(db: HandleDatabase, device: int) -> None:
    later = db.install(0, DISK, 0x2000)
    db.reinstall(device, DISK, 0x1000, 0x1100)
    assert db.interface(device, DISK) == 0x1100
    assert db.handles_with(DISK) == (later, device)


@pytest.mark.parametrize("attributes", [0, 3, 0x18, 0x30 | 1, 0x40, 0xFFFFFFFF])
def test_attributes_that_do_not_exist_are_refused(
    db: HandleDatabase, device: int, agent: int, attributes: int
) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "no attributes"):
        db.open(device, DISK, agent, device, attributes)


def test_what_a_handle_does_not_have_is_unsupported(db: HandleDatabase, device: int, agent: int) -> None:
    with refusal(EfiStatus.UNSUPPORTED):
        db.open(device, OTHER, agent, 0, GET)


@pytest.mark.parametrize("attributes", [CHILD, BY_DRIVER, BY_DRIVER | EXCLUSIVE, EXCLUSIVE])
def test_who_holds_a_protocol_must_be_a_handle(
    db: HandleDatabase, device: int, agent: int, attributes: int
) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "agent 0x0"):
        db.open(device, DISK, 0, agent, attributes)
    if attributes != EXCLUSIVE:
        with refusal(EfiStatus.INVALID_PARAMETER, "controller 0x7"):
            db.open(device, DISK, agent, 7, attributes)


def test_a_handle_is_no_child_of_itself(db: HandleDatabase, device: int, agent: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "itself"):
        db.open(device, DISK, agent, device, CHILD)


def test_openings_that_are_equal_are_counted(db: HandleDatabase, device: int, agent: int) -> None:
    for _ in range(3):
        assert db.open(device, DISK, agent, 0, GET) == 0x1000
    db.open(device, DISK, agent, device, GET)
    told = [
        (item.agent_handle, item.controller_handle, item.attributes, item.open_count)
        for item in db.open_information(device, DISK)
    ]
    assert told == [(agent, 0, GET, 3), (agent, device, GET, 1)]


def test_an_opening_by_nobody_is_not_noted(db: HandleDatabase, device: int) -> None:
    db.open(device, DISK, 0, 0, GET)
    db.open(device, DISK, 0x1234, 0, TEST)
    assert db.open_information(device, DISK) == ()


def test_open_information_of_what_is_not_there_is_not_found(db: HandleDatabase, device: int) -> None:
    with refusal(EfiStatus.NOT_FOUND):
        db.open_information(device, PATH)
    with refusal(EfiStatus.NOT_FOUND):
        db.open_information(3, PATH)


@pytest.mark.parametrize(
    ("held", "wanted", "by_same", "by_other"),
    [
        (BY_DRIVER, BY_DRIVER, "ALREADY_STARTED", "ACCESS_DENIED"),
        (BY_DRIVER, EXCLUSIVE, "ACCESS_DENIED", "ACCESS_DENIED"),
        (BY_DRIVER, BY_DRIVER | EXCLUSIVE, "ACCESS_DENIED", "ACCESS_DENIED"),
        (EXCLUSIVE, BY_DRIVER, "ACCESS_DENIED", "ACCESS_DENIED"),
        (EXCLUSIVE, EXCLUSIVE, "ACCESS_DENIED", "ACCESS_DENIED"),
        (EXCLUSIVE, BY_DRIVER | EXCLUSIVE, "ACCESS_DENIED", "ACCESS_DENIED"),
        (BY_DRIVER | EXCLUSIVE, BY_DRIVER, "ACCESS_DENIED", "ACCESS_DENIED"),
        (BY_DRIVER | EXCLUSIVE, EXCLUSIVE, "ACCESS_DENIED", "ACCESS_DENIED"),
        (BY_DRIVER | EXCLUSIVE, BY_DRIVER | EXCLUSIVE, "ALREADY_STARTED", "ACCESS_DENIED"),
        (CHILD, BY_DRIVER, "", ""),
        (GET, EXCLUSIVE, "", ""),
        (BY_DRIVER | EXCLUSIVE, GET, "", ""),
        (EXCLUSIVE, CHILD, "", ""),
    ],
)
def test_who_may_open_what_another_has_open(
    db: HandleDatabase,
    device: int,
    agent: int,
    other: int,
    held: int,
    wanted: int,
    by_same: str,
    by_other: str,
) -> None:
    db.open(device, DISK, agent, agent, held)
    for who, status in ((agent, by_same), (other, by_other)):
        if status:
            with refusal(EfiStatus[status]):
                db.open(device, DISK, who, agent, wanted)
    if not by_other:
        assert db.open(device, DISK, other, agent, wanted) == 0x1000


def test_closing_ends_every_opening_by_that_agent_for_that_controller(
    db: HandleDatabase, device: int, agent: int, other: int
) -> None:
    db.open(device, DISK, agent, other, GET)
    db.open(device, DISK, agent, other, GET)
    db.open(device, DISK, agent, other, BY_DRIVER)
    db.open(device, DISK, agent, 0, TEST)
    db.close(device, DISK, agent, other)
    assert [item.controller_handle for item in db.open_information(device, DISK)] == [0]
    with refusal(EfiStatus.NOT_FOUND):
        db.close(device, DISK, agent, other)
    db.open(device, DISK, other, other, BY_DRIVER)


def test_closing_with_a_handle_that_is_none_is_refused(db: HandleDatabase, device: int, agent: int) -> None:
    db.open(device, DISK, agent, 0, GET)
    for arguments in ((1, DISK, agent, 0), (device, DISK, 0, 0), (device, DISK, agent, 9)):
        with refusal(EfiStatus.INVALID_PARAMETER):
            db.close(*arguments)
    with refusal(EfiStatus.NOT_FOUND):
        db.close(device, OTHER, agent, 0)


@pytest.mark.parametrize("attributes", [BY_DRIVER, EXCLUSIVE, CHILD])
def test_what_somebody_holds_stays_installed(
    db: HandleDatabase, device: int, agent: int, other: int, attributes: int
) -> None:
    db.open(device, DISK, agent, other, attributes)
    db.open(device, DISK, agent, other, GET)
    with refusal(EfiStatus.ACCESS_DENIED):
        db.uninstall(device, DISK, 0x1000)
    with refusal(EfiStatus.ACCESS_DENIED):
        db.reinstall(device, DISK, 0x1000, 0x1100)
    assert len(db.open_information(device, DISK)) == 2
    db.close(device, DISK, agent, other)
    db.uninstall(device, DISK, 0x1000)


@pytest.mark.parametrize("attributes", [GET, TEST, BY_HANDLE])
def test_what_was_only_asked_for_can_go(db: HandleDatabase, device: int, agent: int, attributes: int) -> None:
    db.open(device, DISK, agent, 0, attributes)
    db.uninstall(device, DISK, 0x1000)
    assert device not in db


def test_a_registration_sees_each_installation_once_and_begins_with_the_oldest(
    db: HandleDatabase, device: int
) -> None:
    registration = db.register(DISK, 77)
    later = db.install(0, DISK, 0x2000)
    db.install(0, PATH, 0x3000)
    for expected in ((device, 0x1000), (later, 0x2000)):
        assert db.next_registered(registration) == expected
        assert db.next_registered(registration) == expected
        db.advance(registration)
    assert db.next_registered(registration) is None
    db.advance(registration)
    db.reinstall(device, DISK, 0x1000, 0x1100)
    assert db.next_registered(registration) == (device, 0x1100)


def test_an_installation_that_is_gone_is_not_told(db: HandleDatabase, device: int) -> None:
    registration = db.register(DISK, 77)
    db.uninstall(device, DISK, 0x1000)
    assert db.next_registered(registration) is None


def test_events_are_told_in_order_of_registration_until_they_are_closed(db: HandleDatabase) -> None:
    registration = db.register(DISK, 5)
    db.register(PATH, 6)
    db.register(DISK, 4)
    assert db.registered_events(DISK) == (5, 4)
    db.unregister(5)
    assert db.registered_events(DISK) == (4,)
    with refusal(EfiStatus.INVALID_PARAMETER, "no registration"):
        db.next_registered(registration)


def test_a_guest_that_never_stops_installing_runs_out_of_resources(db: HandleDatabase) -> None:
    with refusal(EfiStatus.OUT_OF_RESOURCES):
        for at in range(1 << 15):
            db.install(0, DISK, at)
    assert len(db.handles()) == 1 << 14
    for handle in db.handles()[:3]:
        interface = db.interface(handle, DISK)
        assert interface is not None
        db.uninstall(handle, DISK, interface)
    db.install(0, DISK, 1)


def test_of_several_protocols_all_are_installed_or_none(db: HandleDatabase, device: int) -> None:
    for wrong in ([(PATH, 1), (DISK, 2)], [(PATH, 1), (PATH, 2)]):
        with refusal(EfiStatus.INVALID_PARAMETER, "already"):
            db.install_all(device, wrong)
        assert db.protocols(device) == (DISK,)
    with refusal(EfiStatus.INVALID_PARAMETER):
        db.install_all(0, [(PATH, 1), (PATH, 2)])
    assert db.handles() == (device,)
    assert db.protocols(db.install_all(0, [(PATH, 1), (DISK, 2)])) == (PATH, DISK)


def test_of_several_protocols_all_are_uninstalled_or_none(
    db: HandleDatabase, device: int, agent: int
) -> None:
    db.install(device, PATH, 0x2000)
    for wrong in ([(DISK, 0x1000), (PATH, 1)], [(DISK, 0x1000), (DISK, 0x1000)]):
        with refusal(EfiStatus.NOT_FOUND):
            db.uninstall_all(device, wrong)
        assert db.protocols(device) == (DISK, PATH)
    db.open(device, PATH, agent, 0, EXCLUSIVE)
    with refusal(EfiStatus.ACCESS_DENIED):
        db.uninstall_all(device, [(DISK, 0x1000), (PATH, 0x2000)])
    db.close(device, PATH, agent, 0)
    db.uninstall_all(device, [(DISK, 0x1000), (PATH, 0x2000)])
    assert device not in db

# SPDX-License-Identifier: GPL-2.0-or-later
"""The handle database: which handle has which protocols, and who uses them — UEFI 2.10 §7.3.

The environment installs its own protocols here before the image starts; the services of boot/protocols.py
then work on it. Interfaces are guest addresses that nobody here dereferences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pvefi.efi.errors import EfiError
from pvefi.layout import Guid
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.handles import OpenProtocolAttributes, OpenProtocolInformationEntry
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["FIRST_HANDLE", "FIRST_REGISTRATION", "HandleDatabase"]

FIRST_HANDLE = 0xEF1_0000_0000
"""Handles look like pointers, as in other firmware, but lie where no guest has memory.

A program that mistakes one for a structure faults at once, at an address that says what it did. None is used
twice, so that one that outlived its protocols is recognised.
"""
FIRST_REGISTRATION = 0xEF1_8000_0000
"""Registrations are told from handles by their value, too."""

_LIMIT = 1 << 14
"""More handles, interfaces and openings than any guest needs; a runaway one must not fill the host.

A service may have to look at all of them: this bounds its time, too.
"""

_BY_DRIVER = OpenProtocolAttributes.BY_DRIVER
_EXCLUSIVE = OpenProtocolAttributes.EXCLUSIVE
_PASSING = (
    OpenProtocolAttributes.BY_HANDLE_PROTOCOL
    | OpenProtocolAttributes.GET_PROTOCOL
    | OpenProtocolAttributes.TEST_PROTOCOL
)
_NEEDS_CONTROLLER = (OpenProtocolAttributes.BY_CHILD_CONTROLLER, _BY_DRIVER, _BY_DRIVER | _EXCLUSIVE)
_NEEDS_AGENT = (*_NEEDS_CONTROLLER, _EXCLUSIVE)
_LEGAL = frozenset({*_NEEDS_AGENT, *_PASSING})

_Opener = tuple[int, int, int]
"""Agent, controller and attributes: what makes two openings one entry with a count."""


@dataclass(slots=True, eq=False)
class _Installed:
    """A protocol interface on a handle; `serial` numbers installations, `openers` count openings."""

    handle: int
    guid: Guid
    interface: int
    serial: int
    openers: dict[_Opener, int]


@dataclass(slots=True)
class _Registration:
    guid: Guid
    event: int
    position: int


class HandleDatabase:
    """All handles of one boot in order of creation, with their protocols in order of installation."""

    def __init__(self) -> None:
        self._handles: dict[int, dict[Guid, _Installed]] = {}
        self._by_protocol: dict[Guid, dict[int, _Installed]] = {}
        self._registrations: dict[int, _Registration] = {}
        self._serial = 0
        self._next_handle = FIRST_HANDLE
        self._next_registration = FIRST_REGISTRATION
        self._size = 0

    def __contains__(self, handle: int) -> bool:
        return handle in self._handles

    def handles(self) -> tuple[int, ...]:
        """Return every handle."""
        return tuple(self._handles)

    def handles_with(self, guid: Guid) -> tuple[int, ...]:
        """Return the handles that support `guid`, in the order in which it was installed on them."""
        return tuple(self._by_protocol.get(guid, ()))

    def interface(self, handle: int, guid: Guid) -> int | None:
        """Return the interface of `guid` on `handle`, or None; an interface may be 0."""
        found = self._handles.get(handle, {}).get(guid)
        return None if found is None else found.interface

    def protocols(self, handle: int) -> tuple[Guid, ...]:
        """Return the protocols of `handle`; EfiError INVALID_PARAMETER when it is none."""
        return tuple(self._protocols(handle))

    def install(self, handle: int, guid: Guid, interface: int) -> int:
        """Put `guid` on `handle`, on a new one when that is 0, and return it — UEFI 2.10 §7.3.2.

        The events of `registered_events(guid)` are then to be signalled.
        EfiError: INVALID_PARAMETER (no handle, protocol already there), OUT_OF_RESOURCES.
        """
        return self.install_all(handle, [(guid, interface)])

    def install_all(self, handle: int, interfaces: Sequence[tuple[Guid, int]]) -> int:
        """As install, all of `interfaces` or none of them — UEFI 2.10 §7.3.17."""
        there = set(self._protocols(handle)) if handle else set()
        for guid, _ in interfaces:
            # EFI_INVALID_PARAMETER when "Protocol is already installed on the handle specified by Handle".
            if guid in there:
                raise EfiError(
                    EfiStatus.INVALID_PARAMETER, f"{guid_name(guid)} is on handle {handle:#x} already"
                )
            there.add(guid)
        self._grow(len(interfaces))
        if not handle:
            handle = self._next_handle
            self._next_handle += 0x10
            self._handles[handle] = {}
        for guid, interface in interfaces:
            self._serial += 1
            made = _Installed(handle, guid, interface, self._serial, {})
            self._handles[handle][guid] = made
            self._by_protocol.setdefault(guid, {})[handle] = made
        return handle

    def uninstall(self, handle: int, guid: Guid, interface: int) -> None:
        """Take `guid` off `handle`, and the handle away with its last protocol — UEFI 2.10 §7.3.3.

        EfiError: INVALID_PARAMETER (no handle), NOT_FOUND, ACCESS_DENIED (still in use).
        """
        self.uninstall_all(handle, [(guid, interface)])

    def uninstall_all(self, handle: int, interfaces: Sequence[tuple[Guid, int]]) -> None:
        """As uninstall, all of `interfaces` or none of them — UEFI 2.10 §7.3.18."""
        going = {guid: self._unused(handle, guid, interface) for guid, interface in interfaces}
        if len(going) < len(interfaces):
            raise EfiError(EfiStatus.NOT_FOUND, "one protocol is named twice")
        for guid, found in going.items():
            self._size -= 1 + len(found.openers)
            del self._handles[handle][guid]
            del self._by_protocol[guid][handle]
            if not self._by_protocol[guid]:
                del self._by_protocol[guid]
        # "If the last protocol interface is removed from a handle, the handle is freed".
        if going and not self._handles[handle]:
            del self._handles[handle]

    def withdraw(self, handle: int, guid: Guid) -> None:
        """Take `guid` off `handle`, whoever has it open; the handle stays, even with nothing on it."""
        found = self._handles[handle].pop(guid)
        self._size -= 1 + len(found.openers)
        del self._by_protocol[guid][handle]
        if not self._by_protocol[guid]:
            del self._by_protocol[guid]

    def reinstall(self, handle: int, guid: Guid, old: int, new: int) -> None:
        """Replace the interface of `guid` on `handle` — UEFI 2.10 §7.3.4; signal as after `install`.

        EfiError: as uninstall.
        """
        found = self._unused(handle, guid, old)
        self._size -= len(found.openers)
        found.openers.clear()
        found.interface = new
        self._serial += 1
        found.serial = self._serial
        by_handle = self._by_protocol[guid]
        by_handle[handle] = by_handle.pop(handle)

    def open(self, handle: int, guid: Guid, agent: int, controller: int, attributes: int) -> int:
        """Return the interface of `guid` on `handle`, noting that `agent` has it open — UEFI 2.10 §7.3.9.

        An agent of 0, which only the passing attributes allow, is not noted.
        EfiError: INVALID_PARAMETER, UNSUPPORTED, ACCESS_DENIED, ALREADY_STARTED, OUT_OF_RESOURCES.
        """
        there = self._protocols(handle)
        if attributes not in _LEGAL:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{attributes:#x} are no attributes to open with")
        if attributes in _NEEDS_AGENT:
            self._require("agent", agent)
        if attributes in _NEEDS_CONTROLLER:
            self._require("controller", controller)
        # "Attributes is BY_CHILD_CONTROLLER and Handle is identical to ControllerHandle."
        if attributes == OpenProtocolAttributes.BY_CHILD_CONTROLLER and handle == controller:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{handle:#x} is no child controller of itself")
        found = there.get(guid)
        if found is None:
            raise EfiError(EfiStatus.UNSUPPORTED, f"handle {handle:#x} has no {guid_name(guid)}")
        if attributes & (_BY_DRIVER | _EXCLUSIVE):
            _check_sharing(found, agent, attributes)
        if agent in self._handles:
            opener = (agent, controller, attributes)
            if opener not in found.openers:
                self._grow()
            found.openers[opener] = found.openers.get(opener, 0) + 1
        return found.interface

    def close(self, handle: int, guid: Guid, agent: int, controller: int) -> None:
        """Forget every opening of `guid` on `handle` by `agent` for `controller` — UEFI 2.10 §7.3.10.

        EfiError: INVALID_PARAMETER (a handle that is none), NOT_FOUND (not open so).
        """
        found = self._protocols(handle).get(guid)
        self._require("agent", agent)
        if controller:
            self._require("controller", controller)
        if found is None:
            raise EfiError(EfiStatus.NOT_FOUND, f"handle {handle:#x} has no {guid_name(guid)}")
        if not self._drop(found, [key for key in found.openers if key[:2] == (agent, controller)]):
            raise EfiError(
                EfiStatus.NOT_FOUND, f"{agent:#x} does not have {guid_name(guid)} open on {handle:#x}"
            )

    def open_information(self, handle: int, guid: Guid) -> tuple[OpenProtocolInformationEntry, ...]:
        """Return who has `guid` open on `handle` — UEFI 2.10 §7.3.11; EfiError NOT_FOUND."""
        found = self._handles.get(handle, {}).get(guid)
        if found is None:
            raise EfiError(EfiStatus.NOT_FOUND, f"handle {handle:#x} has no {guid_name(guid)}")
        return tuple(OpenProtocolInformationEntry(*key, count) for key, count in found.openers.items())

    def register(self, guid: Guid, event: int) -> int:
        """Return a registration for `event` to be signalled at installations of `guid` — UEFI 2.10 §7.3.5."""
        self._grow()
        registration = self._next_registration
        self._next_registration += 0x10
        self._registrations[registration] = _Registration(guid, event, 0)
        return registration

    def unregister(self, event: int) -> None:
        """Drop every registration of `event`, which is closed."""
        for key in [key for key, value in self._registrations.items() if value.event == event]:
            del self._registrations[key]
            self._size -= 1

    def registered_events(self, guid: Guid) -> tuple[int, ...]:
        """Return the events to signal when `guid` was installed or reinstalled, in order of registration."""
        return tuple(value.event for value in self._registrations.values() if value.guid == guid)

    def next_registered(self, registration: int) -> tuple[int, int] | None:
        """Return handle and interface of the next installation that `registration` was not given yet.

        The first is the oldest: EDK2 also starts with what was there before the registration.
        EfiError: INVALID_PARAMETER when `registration` is none.
        """
        found = self._next(registration)
        return None if found is None else (found.handle, found.interface)

    def advance(self, registration: int) -> None:
        """Go on from what `next_registered` returned, once the guest has it."""
        found = self._next(registration)
        if found is not None:
            self._registrations[registration].position = found.serial

    def _next(self, registration: int) -> _Installed | None:
        known = self._registrations.get(registration)
        if known is None:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{registration:#x} is no registration")
        installed: Iterable[_Installed] = self._by_protocol.get(known.guid, {}).values()
        return next((found for found in installed if found.serial > known.position), None)

    def _protocols(self, handle: int) -> dict[Guid, _Installed]:
        self._require("handle", handle)
        return self._handles[handle]

    def _require(self, what: str, handle: int) -> None:
        if handle not in self._handles:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{what} {handle:#x} is not, or no longer, a handle")

    def _grow(self, count: int = 1) -> None:
        if self._size + count > _LIMIT:
            raise EfiError(EfiStatus.OUT_OF_RESOURCES, f"the handle database has room for {_LIMIT} entries")
        self._size += count

    def _drop(self, found: _Installed, keys: list[_Opener]) -> bool:
        for key in keys:
            del found.openers[key]
        self._size -= len(keys)
        return bool(keys)

    def _unused(self, handle: int, guid: Guid, interface: int) -> _Installed:
        """Return what is installed as said, once nobody holds it who would have to agree."""
        found = self._protocols(handle).get(guid)
        if found is None or found.interface != interface:
            raise EfiError(
                EfiStatus.NOT_FOUND, f"handle {handle:#x} has no {guid_name(guid)} at {interface:#x}"
            )
        # Openings by HandleProtocol, GET and TEST end with the interface; drivers, children and exclusive
        # users hold it. EFI_ACCESS_DENIED: "still being used by a driver that will not release it".
        for agent, _, attributes in found.openers:
            if not attributes & _PASSING:
                raise EfiError(EfiStatus.ACCESS_DENIED, f"{agent:#x} has {guid_name(guid)} open")
        return found


def _check_sharing(found: _Installed, agent: int, attributes: int) -> None:
    """Refuse an opening by a driver, or an exclusive one, that others do not allow — UEFI 2.10 §7.3.9."""
    name = guid_name(found.guid)
    for other, _, held in found.openers:
        # "Attributes is BY_DRIVER [or BY_DRIVER|EXCLUSIVE] and there is an item on the open list with an
        # attribute of [the same] whose agent handle is the same as AgentHandle."
        if attributes & _BY_DRIVER and held == attributes and other == agent:
            raise EfiError(EfiStatus.ALREADY_STARTED, f"{agent:#x} has {name} open by driver already")
    for other, _, held in found.openers:
        if held & _EXCLUSIVE:
            raise EfiError(EfiStatus.ACCESS_DENIED, f"{other:#x} has {name} open exclusively")
        # An exclusive opening would first have to disconnect the driver; no driver here lets go.
        if held & _BY_DRIVER:
            raise EfiError(EfiStatus.ACCESS_DENIED, f"driver {other:#x} has {name} open")

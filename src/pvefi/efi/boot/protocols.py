# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol handler services on one handle — UEFI 2.10 §7.3; those that search are in locate.py."""

from __future__ import annotations

from collections.abc import Iterable

from pvefi.efi.boot.device_paths import longest_match
from pvefi.efi.boot.memory import allocate_result
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import UINT32, UINTN, Handle, InOut, Out, Pointer, VarArgs, service
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi.device_path import END, DevicePathError, read_device_path
from pvefi.spec.uefi.guids import DEVICE_PATH_PROTOCOL
from pvefi.spec.uefi.handles import (
    EFI_NATIVE_INTERFACE,
    OpenProtocolAttributes,
    OpenProtocolInformationEntry,
)
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address

__all__ = [
    "close_protocol",
    "handle_protocol",
    "install_multiple_protocol_interfaces",
    "install_protocol_interface",
    "open_protocol",
    "open_protocol_information",
    "protocols_per_handle",
    "register_protocol_notify",
    "reinstall_protocol_interface",
    "uninstall_multiple_protocol_interfaces",
    "uninstall_protocol_interface",
]

_PAIRS_AT_MOST = 64  # protocols in one call; EDK2's longest list has 20


def _signal_installed(efi: Environment, protocols: Iterable[Guid]) -> None:
    for protocol in protocols:
        for event in efi.handles.registered_events(protocol):
            efi.events.signal(event)


def _pairs(efi: Environment, arguments: VarArgs) -> list[tuple[Guid, int]]:
    """Return the protocols and interfaces of a list that ends with NULL, all read before any is used."""
    pairs: list[tuple[Guid, int]] = []
    words = iter(arguments)
    for pointer in words:
        if not pointer:
            return pairs
        if len(pairs) == _PAIRS_AT_MOST:
            break
        protocol, interface = Guid(efi.memory.read(pointer, Guid.SIZE)), next(words)
        arguments.shown += [("Protocol", protocol), ("Interface", Address(interface))]
        pairs.append((protocol, interface))
    raise EfiError(EfiStatus.INVALID_PARAMETER, f"no NULL ends the list after {_PAIRS_AT_MOST} protocols")


@service("InstallProtocolInterface", "UEFI 2.10 §7.3.2")
def install_protocol_interface(
    efi: Environment, handle: InOut[Handle], protocol: Guid, interface_type: UINT32, interface: Pointer
) -> None:
    """Put a protocol on a handle, or on a new one.

    INVALID_PARAMETER: `handle` or `protocol` is NULL, `interface_type` is not EFI_NATIVE_INTERFACE, the
    handle is none, or has the protocol already. OUT_OF_RESOURCES.
    """
    if interface_type != EFI_NATIVE_INTERFACE:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"interface type {interface_type} does not exist")
    handle.set(Address(efi.handles.install(handle.get(), protocol, interface)))
    _signal_installed(efi, [protocol])


@service("UninstallProtocolInterface", "UEFI 2.10 §7.3.3")
def uninstall_protocol_interface(
    efi: Environment, handle: Handle, protocol: Guid, interface: Pointer
) -> None:
    """Take a protocol off a handle, and the handle away with its last one.

    NOT_FOUND: the handle has no such interface. ACCESS_DENIED: somebody holds it.
    INVALID_PARAMETER: `handle` is none, or `protocol` is NULL.
    """
    efi.handles.uninstall(handle, protocol, interface)


@service("ReinstallProtocolInterface", "UEFI 2.10 §7.3.4")
def reinstall_protocol_interface(
    efi: Environment, handle: Handle, protocol: Guid, old_interface: Pointer, new_interface: Pointer
) -> None:
    """Replace a protocol's interface, and notify as for a new one.

    NOT_FOUND: the handle has no such old interface. ACCESS_DENIED: somebody holds it.
    INVALID_PARAMETER: `handle` is none, or `protocol` is NULL.
    """
    efi.handles.reinstall(handle, protocol, old_interface, new_interface)
    _signal_installed(efi, [protocol])


@service("RegisterProtocolNotify", "UEFI 2.10 §7.3.5")
def register_protocol_notify(
    efi: Environment, protocol: Guid, event: Handle, registration: Out[Pointer]
) -> None:
    """Let an event be signalled whenever a protocol is installed.

    INVALID_PARAMETER: `event` is none, or `protocol` or `registration` is NULL. OUT_OF_RESOURCES.
    """
    if event not in efi.events:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{event:#x} is not, or no longer, an event")
    registration.set(Address(efi.handles.register(protocol, event)))


@service("HandleProtocol", "UEFI 2.10 §7.3.7")
def handle_protocol(efi: Environment, handle: Handle, protocol: Guid, interface: Out[Pointer]) -> None:
    """Give the interface of a protocol that a handle has.

    UNSUPPORTED: it does not have it; `interface` then is NULL.
    INVALID_PARAMETER: `handle` is none, or `protocol` or `interface` is NULL.
    """
    attributes = OpenProtocolAttributes.BY_HANDLE_PROTOCOL
    interface.set(_open(efi, handle, protocol, interface, 0, 0, attributes))


@service("OpenProtocol", "UEFI 2.10 §7.3.9")
def open_protocol(
    efi: Environment,
    handle: Handle,
    protocol: Guid,
    interface: Out[Pointer] | None,
    agent_handle: Handle,
    controller_handle: Handle,
    attributes: UINT32,
) -> None:
    """Give the interface of a protocol that a handle has, and note who uses it, and how.

    INVALID_PARAMETER: a handle is none where one is needed, `attributes` make no sense, `protocol` is NULL,
    or `interface` is although EFI_OPEN_PROTOCOL_TEST_PROTOCOL is not asked for. UNSUPPORTED: the handle does
    not have the protocol; `interface` then is NULL. ACCESS_DENIED: another use rules this one out.
    ALREADY_STARTED: the agent has it open as a driver; `interface` is given nevertheless. OUT_OF_RESOURCES.
    """
    # "Interface is optional for this attribute value, so it is ignored".
    wanted = None if attributes == OpenProtocolAttributes.TEST_PROTOCOL else interface
    if interface is None and attributes != OpenProtocolAttributes.TEST_PROTOCOL:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Interface is NULL")
    found = _open(efi, handle, protocol, wanted, agent_handle, controller_handle, attributes)
    if wanted is not None:
        wanted.set(found)


def _open(
    efi: Environment,
    handle: int,
    protocol: Guid,
    interface: Out[Pointer] | None,
    agent: int,
    controller: int,
    attributes: int,
) -> Address:
    """Return the interface, or refuse having stored what callers may rely on even then, as EDK2 does."""
    try:
        return Address(efi.handles.open(handle, protocol, agent, controller, attributes))
    except EfiError as error:
        if interface is not None:
            if error.status == EfiStatus.UNSUPPORTED:
                interface.set(Address(0))
            elif error.status == EfiStatus.ALREADY_STARTED:
                interface.set(Address(efi.handles.interface(handle, protocol) or 0))
        if error.status == EfiStatus.UNSUPPORTED and protocol not in efi.profile.protocols:
            raise efi.absent(protocol, error.status) from error
        raise


@service("CloseProtocol", "UEFI 2.10 §7.3.10")
def close_protocol(
    efi: Environment, handle: Handle, protocol: Guid, agent_handle: Handle, controller_handle: Handle
) -> None:
    """Forget that an agent has a protocol open.

    NOT_FOUND: it has not. INVALID_PARAMETER: a handle is none, or `protocol` is NULL.
    """
    efi.handles.close(handle, protocol, agent_handle, controller_handle)


@service("OpenProtocolInformation", "UEFI 2.10 §7.3.11")
def open_protocol_information(
    efi: Environment,
    handle: Handle,
    protocol: Guid,
    entry_buffer: Out[Pointer],
    entry_count: Out[UINTN],
) -> None:
    """List who has a protocol open, in pool memory that the caller frees.

    NOT_FOUND: the handle does not have the protocol. INVALID_PARAMETER: a pointer is NULL. OUT_OF_RESOURCES.
    """
    entries = efi.handles.open_information(handle, protocol)
    data = b"".join(entry.pack() for entry in entries)
    # A caller frees the buffer of an empty list, too.
    entry_buffer.set(allocate_result(efi, data or bytes(OpenProtocolInformationEntry.SIZE)))
    entry_count.set(len(entries))


@service("ProtocolsPerHandle", "UEFI 2.10 §7.3.14")
def protocols_per_handle(
    efi: Environment,
    handle: Handle,
    protocol_buffer: Out[Pointer],
    protocol_buffer_count: Out[UINTN],
) -> None:
    """List the protocols of a handle, as pointers to GUIDs, in pool memory that the caller frees.

    INVALID_PARAMETER: `handle` is none, or a pointer is NULL. OUT_OF_RESOURCES.
    """
    protocols = efi.handles.protocols(handle)
    # The GUIDs stand behind the pointers to them, in the same piece of pool memory.
    address = allocate_result(efi, bytes((8 + Guid.SIZE) * len(protocols)))
    first = address + 8 * len(protocols)
    pointers = (first + Guid.SIZE * at for at in range(len(protocols)))
    data = b"".join(pointer.to_bytes(8, "little") for pointer in pointers)
    efi.memory.write(address, data + b"".join(guid.wire for guid in protocols))
    protocol_buffer.set(address)
    protocol_buffer_count.set(len(protocols))


@service("InstallMultipleProtocolInterfaces", "UEFI 2.10 §7.3.17")
def install_multiple_protocol_interfaces(efi: Environment, handle: InOut[Handle], arguments: VarArgs) -> None:
    """Put several protocols on a handle, or on a new one: all or none.

    ALREADY_STARTED: a device path in the list is installed on some handle. INVALID_PARAMETER: `handle` is
    NULL or none, it has one of the protocols, or no NULL ends the list. OUT_OF_RESOURCES.
    """
    pairs = _pairs(efi, arguments)
    # A handle has one device path: a second one in the list is refused with the list.
    path = next((interface for protocol, interface in pairs if protocol == DEVICE_PATH_PROTOCOL), 0)
    # EFI_ALREADY_STARTED: "A Device Path Protocol instance was passed in that is already present in the
    # handle database."
    if path and _is_installed(efi, path):
        raise EfiError(EfiStatus.ALREADY_STARTED, f"another handle has the device path at {path:#x}")
    if pairs:
        handle.set(Address(efi.handles.install_all(handle.get(), pairs)))
        _signal_installed(efi, [protocol for protocol, _ in pairs])


def _is_installed(efi: Environment, device_path: int) -> bool:
    try:
        wanted = read_device_path(efi.memory, device_path)
    except (DevicePathError, GuestFault):
        return False
    found = longest_match(efi, DEVICE_PATH_PROTOCOL, wanted)
    # As in EDK2, some handle has the path when nothing of it is left to look for.
    return found is not None and wanted[found[0] :] == END


@service("UninstallMultipleProtocolInterfaces", "UEFI 2.10 §7.3.18")
def uninstall_multiple_protocol_interfaces(efi: Environment, handle: Handle, arguments: VarArgs) -> None:
    """Take several protocols off a handle: all or none.

    INVALID_PARAMETER: `handle` is none, lacks one of the interfaces, somebody holds one, or no NULL ends the
    list.
    """
    try:
        efi.handles.uninstall_all(handle, _pairs(efi, arguments))
    except EfiError as error:
        # EDK2 has the one status for whatever kept an interface from being uninstalled.
        raise EfiError(EfiStatus.INVALID_PARAMETER, error.why) from error

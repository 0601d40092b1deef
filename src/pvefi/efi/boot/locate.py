# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol handler services that search the handle database — UEFI 2.10 §7.3."""

from __future__ import annotations

import struct
from typing import Annotated

from pvefi.efi.boot.device_paths import longest_match
from pvefi.efi.boot.memory import allocate_result
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import UINTN, Handle, In, InOut, Out, Pointer, service
from pvefi.layout import Guid, Scalar
from pvefi.spec.uefi.device_path import DevicePathError, read_device_path
from pvefi.spec.uefi.device_path_text import text
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.handles import LocateSearchType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address

__all__ = ["locate_device_path", "locate_handle", "locate_handle_buffer", "locate_protocol"]

_TEXT_AT_MOST = 200  # characters of a device path in a refusal's reason
_SEARCH_TYPE = Annotated[LocateSearchType, Scalar("I")]


def _search(
    efi: Environment, search_type: LocateSearchType, protocol: In[Guid] | None, search_key: int
) -> tuple[int, ...]:
    """Return the handles that match, at least one.

    EfiError: NOT_FOUND, INVALID_PARAMETER (no such search, or one without its key).
    """
    match search_type:
        case LocateSearchType.ALL_HANDLES:
            found, none = efi.handles.handles(), EfiError(EfiStatus.NOT_FOUND, "there are no handles")
        case LocateSearchType.BY_REGISTER_NOTIFY:
            new = efi.handles.next_registered(search_key)
            found = new[:1] if new else ()
            none = EfiError(EfiStatus.NOT_FOUND, f"nothing new for registration {search_key:#x}")
        case LocateSearchType.BY_PROTOCOL:
            if protocol is None:
                raise EfiError(EfiStatus.INVALID_PARAMETER, "Protocol is NULL")
            # "Protocol ... is only valid if SearchType is ByProtocol": what else it points at is nothing.
            wanted = protocol.get()
            found, none = efi.handles.handles_with(wanted), efi.absent(wanted, EfiStatus.NOT_FOUND)
        case _:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{search_type.name} is no way to search")
    if not found:
        raise none
    return found


def _found(efi: Environment, search_type: LocateSearchType, search_key: int) -> None:
    """Note that the guest got what it searched: a registration gives each installation once."""
    if search_type == LocateSearchType.BY_REGISTER_NOTIFY:
        efi.handles.advance(search_key)


@service("LocateHandle", "UEFI 2.10 §7.3.6")
def locate_handle(
    efi: Environment,
    search_type: _SEARCH_TYPE,
    protocol: In[Guid] | None,
    search_key: Pointer,
    buffer_size: InOut[UINTN],
    buffer: Pointer,
) -> None:
    """Store the handles that match.

    NOT_FOUND: there are none. BUFFER_TOO_SMALL: they do not fit; `buffer_size` then holds their size.
    INVALID_PARAMETER: the search does not exist or lacks its key, `buffer_size` is NULL, or `buffer` is
    although it has a size.
    """
    given = buffer_size.get()
    if given and not buffer:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"Buffer of {given} bytes is NULL")
    handles = _search(efi, search_type, protocol, search_key)
    buffer_size.set(8 * len(handles))
    if given < 8 * len(handles):
        raise EfiError(
            EfiStatus.BUFFER_TOO_SMALL, f"{len(handles)} handles take {8 * len(handles)} bytes, given {given}"
        )
    efi.memory.write(buffer, struct.pack(f"<{len(handles)}Q", *handles))
    _found(efi, search_type, search_key)


@service("LocateHandleBuffer", "UEFI 2.10 §7.3.15")
def locate_handle_buffer(
    efi: Environment,
    search_type: _SEARCH_TYPE,
    protocol: In[Guid] | None,
    search_key: Pointer,
    no_handles: Out[UINTN],
    buffer: Out[Pointer],
) -> None:
    """Store the handles that match in pool memory that the caller frees.

    NOT_FOUND: there are none; `no_handles` then is 0 and `buffer` NULL. INVALID_PARAMETER: the search does
    not exist or lacks its key, or a pointer is NULL. OUT_OF_RESOURCES.
    """
    no_handles.set(0)
    buffer.set(Address(0))
    handles = _search(efi, search_type, protocol, search_key)
    buffer.set(allocate_result(efi, struct.pack(f"<{len(handles)}Q", *handles)))
    no_handles.set(len(handles))
    _found(efi, search_type, search_key)


@service("LocateProtocol", "UEFI 2.10 §7.3.16")
def locate_protocol(
    efi: Environment, protocol: In[Guid], registration: Pointer, interface: Out[Pointer]
) -> None:
    """Give the first interface of a protocol, or the next new one of a registration.

    NOT_FOUND: there is none; `interface` then is NULL.
    INVALID_PARAMETER: `protocol` or `interface` is NULL, or `registration` is none.
    """
    interface.set(Address(0))
    if registration:
        new = efi.handles.next_registered(registration)
        if new is None:
            raise EfiError(EfiStatus.NOT_FOUND, f"nothing new for registration {registration:#x}")
        interface.set(Address(new[1]))
        efi.handles.advance(registration)
        return
    wanted = protocol.get()
    handles = efi.handles.handles_with(wanted)
    if not handles:
        raise efi.absent(wanted, EfiStatus.NOT_FOUND)
    interface.set(Address(efi.handles.interface(handles[0], wanted) or 0))


@service("LocateDevicePath", "UEFI 2.10 §7.3.8")
def locate_device_path(
    efi: Environment, protocol: Guid, device_path: InOut[Pointer], device: Out[Handle] | None
) -> None:
    """Find the handle with a protocol whose device path leads furthest, and store what is left of the path.

    NOT_FOUND: no handle with the protocol has a device path that `device_path` begins with.
    INVALID_PARAMETER: `protocol` or `device_path` is NULL or no device path, or `device` is although there is
    a match.
    """
    address = device_path.get()
    if not address:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "the device path is NULL")
    try:
        wanted = read_device_path(efi.memory, address)
    except DevicePathError as error:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"no device path at {address:#x}: {error}") from error
    if not efi.handles.handles_with(protocol):
        raise efi.absent(protocol, EfiStatus.NOT_FOUND)
    found = longest_match(efi, protocol, wanted)
    if found is None:
        path_text = text(wanted)[:_TEXT_AT_MOST]
        raise EfiError(EfiStatus.NOT_FOUND, f"no handle with {guid_name(protocol)} leads to {path_text!r}")
    if device is None:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Device is NULL")
    size, handle = found
    device.set(Address(handle))
    device_path.set(Address(address + size))
